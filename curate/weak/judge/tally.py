"""What came of the questions: votes and abstentions by kind, tokens, and how far prompts agree."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from curate.weak.judge.answers import KINDS
from curate.weak.judge.asking import Outcome
from curate.weak.manifest import PromptAgreement, PromptCounts, PromptSpending, Verdicts

MOST_UNMAPPED = 0.05  # share of a prompt's answers that may say nothing before it is warned of


class Tally:
    """Counts of outcomes, added one by one, the prompts of a document in a row.

    Parameters
    ----------
    prompts
        Names, in their order.
    """

    def __init__(self, prompts: Sequence[str]) -> None:
        self._votes: dict[str, Counter[str]] = {name: Counter() for name in prompts}
        self._kinds: dict[str, Counter[str]] = {name: Counter() for name in prompts}
        self._tokens: dict[str, Counter[str]] = {name: Counter() for name in prompts}
        self._requests: dict[str, set[bytes]] = {name: set() for name in prompts}
        self._spent: dict[str, Counter[str]] = {name: Counter() for name in prompts}
        self._seconds = dict.fromkeys(prompts, 0.0)
        self._pairs: Counter[tuple[str, str, str, str]] = Counter()
        self._document: object = None
        self._ballot: dict[str, str] = {}

    def add(self, prompt: str, outcome: Outcome, *, document: object) -> None:
        """Count one outcome; `document` is equal for questions about the same one."""
        if document != self._document:
            self._close_document()
            self._document = document
        self._votes[prompt][outcome.vote or "unanswered"] += 1
        if outcome.kind:
            self._kinds[prompt][outcome.kind] += 1
        if outcome.vote in ("keep", "drop"):
            self._ballot[prompt] = outcome.vote
        for call in outcome.calls:
            if call.key not in self._requests[prompt]:
                self._requests[prompt].add(call.key)
                self._tokens[prompt]["prompt"] += call.answer.prompt_tokens
                self._tokens[prompt]["completion"] += call.answer.completion_tokens
            self._spent[prompt]["cached" if call.seconds is None else "answered"] += 1
            self._seconds[prompt] += call.seconds or 0.0

    def _close_document(self) -> None:
        for one, other in combinations(self._votes, 2):
            if one in self._ballot and other in self._ballot:
                self._pairs[one, other, self._ballot[one], self._ballot[other]] += 1
        self._ballot = {}

    def summary(self) -> Verdicts:
        """Per prompt and per pair of prompts, and warnings: equal whether answers came from the cache or not."""
        self._close_document()
        prompts = {name: self._prompt(name) for name in self._votes}
        return {"prompts": prompts, "pairs": self._agreements(), "warnings": list(_warnings(prompts))}

    def spent(self) -> dict[str, PromptSpending]:
        """Per prompt: requests that this run got answered, those that were in the cache, and seconds of waiting."""
        return {
            name: {
                "answered": self._spent[name]["answered"],
                "cached": self._spent[name]["cached"],
                "seconds": round(self._seconds[name], 3),
            }
            for name in self._votes
        }

    def _prompt(self, name: str) -> PromptCounts:
        votes = self._votes[name]
        return {
            "asked": votes.total(),
            "keep": votes["keep"],
            "drop": votes["drop"],
            "abstain": votes["abstain"],
            "unanswered": votes["unanswered"],
            "kinds": {kind: self._kinds[name][kind] for kind in KINDS},
            "requests": len(self._requests[name]),
            "tokens": {"prompt": self._tokens[name]["prompt"], "completion": self._tokens[name]["completion"]},
        }

    def _agreements(self) -> list[PromptAgreement]:
        """Of each pair, documents on which both voted, on how many alike, and Cohen's kappa (1960)."""
        found: list[PromptAgreement] = []
        for one, other in combinations(self._votes, 2):
            counts = {(a, b): self._pairs[one, other, a, b] for a in ("keep", "drop") for b in ("keep", "drop")}
            both, alike = sum(counts.values()), counts["keep", "keep"] + counts["drop", "drop"]
            found.append({"one": one, "other": other, "both": both, "alike": alike, "kappa": _kappa(counts)})
        return found


def _kappa(counts: dict[tuple[str, str], int]) -> float | None:
    """Agreement beyond chance; None where one of the two always says the same.

    Examples
    --------
    >>> _kappa({("keep", "keep"): 20, ("keep", "drop"): 5, ("drop", "keep"): 10, ("drop", "drop"): 15})
    0.4
    """
    both = sum(counts.values())
    ones = counts["keep", "keep"] + counts["keep", "drop"]
    others = counts["keep", "keep"] + counts["drop", "keep"]
    if ones in (0, both) or others in (0, both):
        return None
    chance = ones * others + (both - ones) * (both - others)  # times both^2
    return round((both * (counts["keep", "keep"] + counts["drop", "drop"]) - chance) / (both * both - chance), 6)


def _warnings(prompts: dict[str, PromptCounts]) -> list[str]:
    said = []
    for name, counts in prompts.items():
        answered, unmapped = counts["asked"] - counts["unanswered"], sum(counts["kinds"].values())
        if unmapped > MOST_UNMAPPED * answered:
            kinds = ", ".join(f"{count} {kind}" for kind, count in counts["kinds"].items() if count)
            said.append(f"{unmapped} of {answered} answers to {name!r} say nothing that its rules know: {kinds}")
        if answered and not counts["keep"] and not counts["drop"]:
            said.append(f"{name!r} never voted")
    return said
