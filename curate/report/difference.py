"""How two texts differ, in words: the longest matching blocks of difflib, with a little of what stands around them."""

import difflib

WORDS = 2000  # of each text that are compared: matching takes quadratic time
CHANGES = 8
AROUND = 3  # words shown on either side of a change
SPAN = 12  # words shown of one side of a change


def difference(text: str, other: str) -> tuple[str, ...]:
    """The first places in which two texts differ, one line each, as ``[-here-]`` and ``{+there+}``.

    Parameters
    ----------
    text, other
        Compared are their first `WORDS` words; white space does not count.

    Examples
    --------
    >>> difference("the cat sat on the mat", "the cat lay on the mat today")
    ('the cat [-sat-] {+lay+} on the mat', 'on the mat {+today+}')
    >>> difference("the  cat", "the cat")
    ()
    """
    here, there = text.split()[:WORDS], other.split()[:WORDS]
    blocks = difflib.SequenceMatcher(None, here, there, autojunk=False).get_opcodes()
    changes = [block for block in blocks if block[0] != "equal"]
    lines = []
    for _, first, last, start, stop in changes[:CHANGES]:
        before, after = here[max(first - AROUND, 0) : first], here[last : last + AROUND]
        gone = [f"[-{_cut(here[first:last])}-]"] if last > first else []
        come = [f"{{+{_cut(there[start:stop])}+}}"] if stop > start else []
        lines.append(" ".join([*before, *gone, *come, *after]))
    if len(changes) > CHANGES:
        lines.append(f"and {len(changes) - CHANGES} more")
    return tuple(lines)


def _cut(words: list[str]) -> str:
    more = f" ... {len(words) - SPAN} more words" if len(words) > SPAN else ""
    return " ".join(words[:SPAN]) + more
