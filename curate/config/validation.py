"""Plain values against a pydantic model; what is wrong, in one plain sentence for each value.

Values are validated strictly as JSON, so that an integer field takes neither ``true`` nor ``3.0`` nor ``"3"``, while a
list serves for a tuple and a string for a path. What is allowed (names, choices, ranges) is looked up in the model's
JSON schema: errors and editors speak from one source.
"""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_json

from curate.config.yaml import Where
from curate.errors import ConfigError, Problem, nearest

M = TypeVar("M", bound=BaseModel)

_MAPPINGS = ("dict_type", "model_type", "mapping_type", "model_attributes_type")
_KINDS = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type"), "a list"),
    **dict.fromkeys(_MAPPINGS, "a mapping (`key: value`)"),
    "string_type": "a string",
    "path_type": "a path",
    "finite_number": "a finite number",
    "none_required": "empty",
}
_BOUNDS = {
    "minimum": ("ge", "at least"),
    "exclusiveMinimum": ("gt", "more than"),
    "maximum": ("le", "at most"),
    "exclusiveMaximum": ("lt", "less than"),
}
_RANGES = ("greater_than_equal", "greater_than", "less_than_equal", "less_than")
_LENGTHS = {
    "too_short": ("min_length", "have at least", "item"),
    "too_long": ("max_length", "have at most", "item"),
    "string_too_short": ("min_length", "have at least", "character"),
    "string_too_long": ("max_length", "have at most", "character"),
}
_CHOICES = ("literal_error", "enum", "const", "union_tag_invalid")


def validate(model: type[M], value: Mapping[str, Any], given: Mapping[str, Any]) -> M:
    """An instance of `model`.

    Parameters
    ----------
    model
        The model.
    value
        What a person wrote.
    given
        Fields that the caller fills in.

    Raises
    ------
    ConfigError
        One problem for each value at fault, with its path within `value`.
    """
    try:
        return model.model_validate_json(to_json({**value, **given}), strict=True)
    except ValidationError as error:
        raise ConfigError(_problems(error, model, value, given.keys())) from None


def _problems(
    error: ValidationError, model: type[BaseModel], value: Mapping[str, Any], given: Collection[str]
) -> list[Problem]:
    schema = model.model_json_schema()
    found: dict[Where, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        found.setdefault(_where(details, value), []).append(details)
    # A value of a union is tried as each member; where one member got further into it, the others do not matter.
    deepest = [where for where in found if not any(len(o) > len(where) and o[: len(where)] == where for o in found)]
    return [_problem(where, found[where], schema, value, given) for where in deepest]


def _where(details: ErrorDetails, value: Any) -> Where:
    """Path of the value at fault: pydantic's location without the names of union members in it."""
    where: list[str | int] = []
    for step in details["loc"]:
        if step in _steps(value):
            value = value[step]
            where.append(step)
    if details["type"] == "missing":
        where.append(details["loc"][-1])
    elif details["type"].startswith("union_tag"):
        where.append(details.get("ctx", {})["discriminator"].strip("'"))
    return tuple(where)


def _steps(value: Any) -> Collection[str | int]:
    """Keys of a mapping, or indices of a list."""
    if isinstance(value, Mapping):
        return value.keys()
    return range(len(value)) if isinstance(value, list) else ()


def _problem(
    where: Where, errors: Sequence[ErrorDetails], schema: Mapping[str, Any], value: Any, given: Collection[str]
) -> Problem:
    """One problem for all that is wrong with one value."""
    kinds = [details["type"] for details in errors]
    allowed = _allowed(schema, where)
    if "missing" in kinds or "union_tag_not_found" in kinds:
        return Problem(where, "is missing", allowed[0].get("description", "") if allowed else "")
    if "extra_forbidden" in kinds:
        names = {name for rule in _allowed(schema, where[:-1]) for name in rule.get("properties", ())}
        return Problem(where, f"unknown key {where[-1]!r}", nearest(str(where[-1]), names - set(given)))
    if errors[0]["loc"][-1:] == ("[key]",):
        return Problem(where, f"the key {_rule(errors[0], ())}")
    for step in where:
        value = value[step]
    choices = [choice for rule in allowed for choice in rule.get("enum", [rule["const"]] if "const" in rule else [])]
    # A string where one of several names or a mapping may stand is a name spelled wrong.
    unmeant = _MAPPINGS if isinstance(value, str) else ()
    if choices and all(kind in _CHOICES or kind in unmeant for kind in kinds):
        close = difflib.get_close_matches(str(value), map(str, choices), n=1)
        hint = f"did you mean {close[0]!r}?" if close else ""
        return Problem(where, f"{_shown(value)} is not one of {', '.join(map(_shown, choices))}", hint)
    rules = dict.fromkeys(_rule(details, allowed) for details in errors)
    whole = isinstance(value, Mapping) and "value_error" in kinds  # a model's own rule, which names what it speaks of
    counted = any(kind in ("too_short", "too_long") for kind in kinds)
    got = "" if whole else f", got {len(value) if counted else _shown(value)}"
    return Problem(where, _joined(list(rules)) + got, _hint(kinds, value))


def _rule(details: ErrorDetails, allowed: Sequence[Mapping[str, Any]]) -> str:
    """What the value must be."""
    kind, context = details["type"], details.get("ctx", {})
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}"
    if kind in _RANGES:
        limits = {name: rule[name] for rule in allowed for name in _BOUNDS if name in rule}
        passed = {name: context[key] for name, (key, _) in _BOUNDS.items() if key in context}
        if not passed.items() <= limits.items():
            limits = passed
        return "must be " + " and ".join(f"{_BOUNDS[name][1]} {limit}" for name, limit in limits.items())
    if kind in _LENGTHS:
        key, verb, noun = _LENGTHS[kind]
        return f"must {verb} {context[key]} {noun}{'s' if context[key] != 1 else ''}"
    if kind in _CHOICES:
        return f"must be {context.get('expected', context.get('expected_tags'))}"
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}"
    return str(context["error"]) if "error" in context else details["msg"][:1].lower() + details["msg"][1:]


def _joined(rules: Sequence[str]) -> str:
    """Several rules, of which one would do."""
    return " or ".join([rules[0], *(rule.removeprefix("must be ") for rule in rules[1:])])


def _hint(kinds: Collection[str], value: Any) -> str:
    if "bool_type" in kinds and str(value).lower() in ("yes", "no", "on", "off"):
        return "YAML 1.2 writes a truth value as true or false"
    if "string_type" in kinds and isinstance(value, int | float):
        return f'quotes make it a string: "{_shown(value)}"'
    if "int_type" in kinds and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    return ""


def _shown(value: Any) -> str:
    """A value as a person wrote it; long strings are cut, and a mapping or list is named as such."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, Mapping | Sequence):
        kind = "mapping" if isinstance(value, Mapping) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    if value is None:
        return "nothing"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _allowed(schema: Mapping[str, Any], where: Where) -> list[Mapping[str, Any]]:
    """The parts of a JSON schema that speak of the value at a path; several where it may be one of several things."""
    rules = list(_members(schema, schema))
    for step in where:
        rules = [rule for outer in rules for part in _parts(outer, step) for rule in _members(part, schema)]
    return rules


def _members(rule: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield rule
    if "$ref" in rule:
        yield from _members(schema["$defs"][rule["$ref"].rpartition("/")[2]], schema)
    for part in (*rule.get("anyOf", ()), *rule.get("oneOf", ()), *rule.get("allOf", ())):
        yield from _members(part, schema)


def _parts(rule: Mapping[str, Any], step: str | int) -> Iterator[Mapping[str, Any]]:
    """Rules for a key of a mapping or an item of a list."""
    if isinstance(step, int):
        prefix = rule.get("prefixItems", ())
        part = prefix[step] if step < len(prefix) else rule.get("items")
    else:
        part = rule.get("properties", {}).get(step, rule.get("additionalProperties"))
        yield from (part for pattern, part in rule.get("patternProperties", {}).items() if re.search(pattern, step))
    if isinstance(part, Mapping):
        yield part
