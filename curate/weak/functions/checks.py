"""What can be seen to be wrong with labeling functions before any data is read."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from curate import storage
from curate.errors import Problem, nearest
from curate.rules.presets import PRESETS, alike
from curate.rules.sql import columns_of, complaint
from curate.weak.functions.config import Function, twice, voters
from curate.weak.functions.python import accepts, load_functions, resource_paths
from curate.weak.functions.text import pattern_complaint

MOST = 127  # functions: a document's top contributions name them by an int8


def column_problems(
    functions: Mapping[str, Function], language: str | None, columns: pa.Schema, sources: Sequence[str]
) -> Iterator[Problem]:
    """Expressions, columns, sources and thresholds that do not fit; unknown columns are the pipeline's to report."""
    for key, function in functions.items():
        place = ("functions", key)
        expressions = {"when": function.when, "where": function.where}
        for field, sql in expressions.items():
            wrong = sql and (complaint(sql, columns) or _text_complaint(sql))
            if wrong:
                yield Problem((*place, field), f"{sql!r}: {wrong}")
        for position, source in enumerate(function.sources or ()):
            if sources and source not in sources:
                hint = nearest(source, sources)
                yield Problem((*place, "sources", position), f"there is no source {source!r}", hint)
        yield from _type_problems(place, function, columns)
        yield from _threshold_problems(place, function)
    yield from _name_problems(functions, language)


def _text_complaint(sql: str) -> str:
    return (
        "the text is not read here; look at it with `words`, `regex` or `python`" if "text" in columns_of(sql) else ""
    )


def _type_problems(place: tuple[str, str], function: Function, columns: pa.Schema) -> Iterator[Problem]:
    """Columns of another type than the function can look at."""
    wanted = {"score": ("numbers", _is_number), "by": ("text", is_text), "column": ("the words of votes", is_text)}
    for field, (what, fits) in wanted.items():
        name = getattr(function, field)
        if name in columns.names and not fits(columns.field(name).type):
            yield Problem((*place, field), f"{name!r} holds {columns.field(name).type}, not {what}")


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds strings, as they are or in a dictionary."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(value) or pa.types.is_large_string(value)


def _threshold_problems(place: tuple[str, str], function: Function) -> Iterator[Problem]:
    rules = {rule.name: rule for rule in PRESETS.get(function.preset or "", ())}
    for name, threshold in function.thresholds.items():
        if name not in rules:
            said = f"the preset {function.preset!r} has no rule {name!r}"
            yield Problem((*place, "thresholds", name), said, nearest(name, rules))
        elif threshold is not None and not alike(threshold, rules[name].threshold):
            said = f"must be of the kind of {rules[name].threshold!r}, the preset's own, got {threshold!r}"
            yield Problem((*place, "thresholds", name), said)


def _name_problems(functions: Mapping[str, Function], language: str | None) -> Iterator[Problem]:
    """Names that two different functions have, and too many functions."""
    for kept, other in twice(functions, language):
        rule = kept if kept.function.kind == "preset" else other
        said = f"is called {kept.name!r}, as a rule of {rule.function.preset!r} is, and they do not say the same"
        if kept.function.kind == other.function.kind:
            said = f"its rule {kept.name!r} is one of {kept.key!r} too, with another threshold or slice"
        yield Problem(("functions", other.key), said, "choose another name, or leave the rule out with `thresholds`")
    count = len(voters(functions, language))
    if count > MOST:
        yield Problem(("functions",), f"{count} functions, rules of presets counted one by one, but at most {MOST} fit")
    if not count:
        yield Problem(("functions",), "no function is left: all rules are left out")


def file_problems(functions: Mapping[str, Function]) -> Iterator[Problem]:
    """Files that are not there or hold nothing of use, patterns that do not parse, Python that cannot be called."""
    for key, function in functions.items():
        if function.words is not None:
            yield from _list_problems(key, function.words)
        if function.regex is not None and (wrong := pattern_complaint(function.regex)):
            yield Problem(("functions", key, "regex"), f"{function.regex!r} is no regular expression: {wrong}")
        if function.python is not None:
            yield from _python_problems(key, function, function.python)


def _list_problems(key: str, path: str) -> Iterator[Problem]:
    from curate.text.wordlists import read_entries

    place, hint = ("functions", key, "words"), "one word or phrase a line, # before comments"
    if not storage.exists(path):
        yield Problem(place, f"there is no file {path!r}", hint)
        return
    try:
        entries = read_entries(storage.read_bytes(path).decode("utf-8"))
    except UnicodeDecodeError:
        yield Problem(place, f"{path!r} is not UTF-8 text", hint)
        return
    if not any(letter.isalnum() for entry in entries for letter in entry):
        yield Problem(place, f"{path!r} lists no word", hint)


def _python_problems(key: str, function: Function, path: str) -> Iterator[Problem]:
    place = ("functions", key, "python")
    if not storage.exists(path):
        yield Problem(place, f"there is no file {path!r}")
        return
    try:
        found = load_functions(path)
    except ValueError as error:
        yield Problem(place, f"{path!r} {error}")
        return
    name = function.function or key
    if name not in found:
        hint = nearest(name, found) if found else "put @labeling_function(columns=[...]) over a function of it"
        field = "function" if function.function else "python"
        yield Problem(("functions", key, field), f"{path!r} has no labeling function {name!r}", hint)
        return
    wrong = accepts(found[name], function.parameters)
    if wrong:
        yield Problem(("functions", key, "parameters" if function.parameters else "python"), f"{name!r} {wrong}")
    for resource, file in resource_paths(found[name], path).items():
        if not storage.exists(file):
            yield Problem(place, f"the resource {resource!r} of {name!r} is not there: no file {file!r}")
