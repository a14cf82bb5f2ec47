"""What of a document a judge is shown: its beginning, its middle, its end, or some of each, lines kept.

`curate.text.excerpts` serves models that read one line; a judge sees menus and lists by their line breaks, and has to
be told where text was left out, or it takes the seam for a fault of the document.
"""

from typing import Literal, get_args

View = Literal["spread", "head", "middle", "tail"]
VIEWS: tuple[View, ...] = get_args(View)
GAP = "[...]"
_SEEK = 64  # characters: how far a cut moves to fall between words


def excerpt(text: str, max_chars: int, view: View) -> str:
    r"""At most about `max_chars` characters of `text`; where some are left out stands ``[...]``.

    Parameters
    ----------
    text
        The document.
    max_chars
        Characters taken; the marks come on top.
    view
        ``spread`` takes a third each from the beginning, the middle and the end.

    Examples
    --------
    >>> excerpt("one two three four five six seven", 12, "head")
    'one two\n[...]'
    >>> excerpt("one two three four five six seven", 12, "tail")
    '[...]\nsix seven'
    >>> excerpt("to be", 12, "spread")
    'to be'
    """
    if len(text) <= max_chars:
        return text.strip()
    size = max_chars // 3 if view == "spread" else max_chars
    starts = {"head": 0, "middle": (len(text) - size) // 2, "tail": len(text) - size}
    chosen = [starts[place] for place in (("head", "middle", "tail") if view == "spread" else (view,))]
    parts = [GAP] if chosen[0] > 0 else []
    for start in chosen:
        parts += [_between_words(text, start, start + size), GAP]
    return "\n".join(parts if chosen[-1] + size < len(text) else parts[:-1])


def _between_words(text: str, start: int, end: int) -> str:
    """The part from `start` to `end` without the pieces of words that the cuts left, where words are short."""
    part = text[start:end]
    if start > 0 and not text[start - 1].isspace():
        head = next((at for at, char in enumerate(part[:_SEEK]) if char.isspace()), 0)
        part = part[head:]
    if end < len(text) and not text[end].isspace():
        tail = next((at for at, char in enumerate(reversed(part[-_SEEK:])) if char.isspace()), 0)
        part = part[: len(part) - tail]
    return part.strip()
