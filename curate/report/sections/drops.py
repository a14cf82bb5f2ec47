"""Which rules of `select` drop what, and which of them would not be missed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypedDict

from curate.config.units import number, percent, plural
from curate.report.charts import BLUE, ORANGE, SKY, Chart, Panel, Series, draw, overlaid, whole
from curate.report.page import PageSection, PageTable, table
from curate.report.record import RunRecord, StageRecord
from curate.report.section import Report, Section
from curate.rules.manifest import RuleEntry, SelectBody

LARGE = 0.9  # share of a source beyond which a rule is named, as `curate plan` does for a sample


class RuleCounts(RuleEntry):
    """A rule, and documents of which it is the first rule that is true, any rule, the only one."""

    first: int
    any: int
    only: int


class LargeDrop(TypedDict):
    """A rule that is true of most documents of a source."""

    rule: str
    source: str
    documents: int
    of: int


class DropFacts(TypedDict):
    """Rules of one `select` stage, and those that drop almost all of a source."""

    stage: str
    documents: int
    rules: list[RuleCounts]
    large: list[LargeDrop]


def facts(run: RunRecord) -> list[DropFacts]:
    """Per `select`: its rules with their counts, and rules that are true of more than 90 % of a source."""
    return [_of_stage(stage) for stage in run.of("select")]


def _of_stage(stage: StageRecord) -> DropFacts:
    body = stage.body(SelectBody)
    flow = body["flow"]
    rules: list[RuleCounts] = [
        {
            **rule,
            "first": sum(counts["dropped"].get(rule["name"], 0) for counts in flow.values()),
            "any": sum(counts.get(rule["name"], 0) for counts in body["fired"].values()),
            "only": sum(counts.get(rule["name"], 0) for counts in body["alone"].values()),
        }
        for rule in body["rules"]
    ]
    large: list[LargeDrop] = [
        {"rule": rule, "source": source, "documents": count, "of": flow[source]["in"]}
        for source, counts in body["fired"].items()
        for rule, count in counts.items()
        if count > LARGE * flow[source]["in"]
    ]
    documents = sum(counts["in"] for counts in flow.values())
    return {"stage": stage.name, "documents": documents, "rules": rules, "large": large}


def page(facts: Sequence[DropFacts], _: Report) -> PageSection:
    """Documents that each rule is true of, alone and after the rules above it."""
    charts = [_chart(stage, several=len(facts) > 1) for stage in facts if any(rule["any"] for rule in stage["rules"])]
    tables = [_table(stage, several=len(facts) > 1) for stage in facts]
    idle = [rule["name"] for stage in facts for rule in stage["rules"] if not rule["any"]]
    lead = f"Never true: {', '.join(idle)}." if idle else ""
    alarms = [
        f"{drop['rule']} drops {percent(drop['documents'], drop['of'])} of {drop['source']}: is it meant for it?"
        for stage in facts
        for drop in stage["large"]
    ]
    return PageSection("drops", "Drop reasons", _finding(facts[-1]), lead, alarms, charts, tables)


def _finding(stage: DropFacts) -> str:
    rules = stage["rules"]
    most = max(rules, key=lambda rule: rule["any"], default=None)
    if most is None or not most["any"]:
        return "No rule drops any document" if rules else "There are no rules, so every document is kept"
    finding = f"{most['name']} drops the most: {number(most['any'])} of {plural(stage['documents'], 'document')}"
    return f"{finding}, {number(most['only'])} of them for no other reason" if len(rules) > 1 else finding


def _which(stage: DropFacts, *, several: bool) -> str:
    return f" of {stage['stage']}" if several else ""


def _chart(stage: DropFacts, *, several: bool) -> Chart:
    rules = stage["rules"]
    series = [
        Series("true", SKY, [rule["any"] for rule in rules]),
        Series("true, and no rule above it", BLUE, [rule["first"] for rule in rules]),
        Series("true, and no other rule", ORANGE, [rule["only"] for rule in rules]),
    ]
    notes = [percent(rule["any"], stage["documents"]) for rule in rules]
    panel = Panel("", "documents", [rule["name"] for rule in rules], series, notes)
    which = _which(stage, several=several)
    caption = f"Documents that each rule{which} is true of, in the order of the rules, with their share."
    return draw(f"drops-{stage['stage']}", caption, _finding(stage), partial(overlaid, [panel], format_value=whole))


def _table(stage: DropFacts, *, several: bool) -> PageTable:
    text: dict[str, Callable[[RuleCounts], str]] = {
        "rule": lambda rule: rule["name"],
        "drops when": lambda rule: rule["when"],
        "sources": lambda rule: ", ".join(rule["sources"] or ["all"]),
    }
    counts: dict[str, Callable[[RuleCounts], str]] = {
        "true": lambda rule: number(rule["any"]),
        "share of documents": lambda rule: percent(rule["any"], stage["documents"]),
        "no rule above it": lambda rule: number(rule["first"]),
        "no other rule": lambda rule: number(rule["only"]),
    }
    return table(f"Documents that each rule{_which(stage, several=several)} drops", stage["rules"], text, counts)


SECTION = Section("drops", 20, facts, page, needs=("select",))
