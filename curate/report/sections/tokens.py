"""Tokens of the documents that are kept; the page shows them in a tile and in the tables of other sections."""

from typing import TypedDict

from curate.artifact import Totals
from curate.config.units import format_count, number
from curate.mixture.manifest import Sizes, TokenizerFacts, TokensBody
from curate.report.page import Tile
from curate.report.record import RunRecord
from curate.report.section import Report, Section
from curate.report.sections import mixture


class TokenFacts(TypedDict):
    """Kept documents of all sources and of each, and the tokenizer that counted."""

    total: Sizes
    sources: dict[str, Sizes]
    tokenizer: TokenizerFacts


def facts(run: RunRecord) -> TokenFacts:
    """Documents kept, their tokens and bytes per source, and the tokenizer that counted them."""
    body = run.of("tokens")[-1].body(TokensBody)
    total = Totals({"documents": 0, "tokens": 0, "bytes": 0})
    for sizes in body["sources"].values():
        total.add(sizes)
    documents, tokens, size = (total.counts[key] for key in ("documents", "tokens", "bytes"))
    return {
        "total": {"documents": documents, "tokens": tokens, "bytes": size},
        "sources": body["sources"],
        "tokenizer": body["tokenizer"],
    }


def tiles(facts: TokenFacts, report: Report) -> list[Tile]:
    """Tokens that were kept, and those of the largest rung."""
    tokens, mixed = facts["total"]["tokens"], report.of(mixture.SECTION)
    detail = f"{format_count(mixed['rungs'][-1]['tokens'])} in the largest rung" if mixed else ""
    return [Tile("Tokens kept", format_count(tokens), detail, number(tokens))]


SECTION = Section("tokens", 160, facts, tiles=tiles, needs=("tokens",))
