"""Bytes of a web page to text, in the order of the WHATWG's encoding sniffing algorithm.

A byte order mark, then the HTTP header, then a ``<meta>`` tag or XML declaration in the first 4096 bytes, then a guess
from the bytes (HTML Standard, section 13.2.3.2, which prescans 1024 bytes), by resiliparse's detector. Labels mean what
browsers take them to mean: ``iso-8859-1`` is windows-1252, ``gb2312`` is gb18030 (w3lib).

Where browsers show garbage we look further: a declared encoding that does not fit the bytes, which leaves more than one
replacement character in a thousand characters, gives way to the next one in the order. UTF-8 stays as long as more of
it is well formed than not: no other encoding looks like it by chance.
"""

from collections.abc import Iterator
from typing import NamedTuple

REPLACEMENT = "\ufffd"
_TOLERATED = 1000  # characters per replacement character; and one, as a page that is cut may end in half a character
_SNIFFED = 1 << 17  # bytes that the detector sees
_WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


class Decoded(NamedTuple):
    """Text of a page.

    Parameters
    ----------
    text
        With U+FFFD for what cannot be decoded.
    charset
        Name of Python's codec.
    origin
        Who said so: ``bom``, ``header``, ``meta``, ``detected`` or ``default``.
    replaced
        Replacement characters that decoding put in.
    """

    text: str
    charset: str
    origin: str
    replaced: int


def decode(data: bytes, declared: str | None = None, *, html: bool = True) -> Decoded:
    r"""Decode a page.

    Parameters
    ----------
    data
        The page.
    declared
        Charset of the HTTP header's Content-Type.
    html
        Whether to look for a declaration in the page itself.

    Examples
    --------
    >>> decode(b'<meta charset="shift_jis"><p>\x93\xfa\x96{')[:3]
    ('<meta charset="shift_jis"><p>日本', 'cp932', 'meta')
    >>> decode("Grüße".encode("cp1252"), "utf-8", html=False).charset != "utf-8"
    True
    """
    first: Decoded | None = None
    for charset, origin, mark in _candidates(data, declared, html):
        text = data[mark:].decode(charset, "replace")
        replaced = text.count(REPLACEMENT)
        if replaced:
            replaced -= data[mark:].decode(charset, "ignore").count(REPLACEMENT)  # those that the page itself has
        found = Decoded(text, charset, origin, replaced)
        if replaced <= 1 + len(text) // _TOLERATED or (charset == "utf-8" and _well_formed(text) > replaced):
            return found
        first = first or found
    return first or Decoded(data.decode("cp1252", "replace"), "cp1252", "default", 0)


def _candidates(data: bytes, declared: str | None, html: bool) -> Iterator[tuple[str, str, int]]:  # noqa: FBT001
    from resiliparse.parse.encoding import detect_encoding
    from w3lib.encoding import html_body_declared_encoding, read_bom, resolve_encoding

    charset, mark = read_bom(data)
    if charset and mark:
        yield charset, "bom", len(mark)
    if declared and (charset := resolve_encoding(declared)) and _text_codec(charset):
        yield charset, "header", 0
    if html and (charset := html_body_declared_encoding(data)) and _text_codec(charset):
        # What a tag in ASCII says of itself cannot be UTF-16 (HTML Standard, 13.2.3.2).
        yield "utf-8" if charset in _WIDE else charset, "meta", 0
    found = detect_encoding(data, max_len=_SNIFFED, html5_compatible=False)
    if found and (charset := resolve_encoding(found)):
        yield charset, "detected", 0
    yield "cp1252", "default", 0


def _well_formed(text: str) -> int:
    """Characters of several bytes."""
    return len(text) - len(text.encode("ascii", "ignore")) - text.count(REPLACEMENT)


def _text_codec(charset: str) -> bool:
    """Whether it decodes bytes to text: Python also has codecs such as ``base64`` and ``idna``."""
    import codecs

    return codecs.lookup(charset)._is_text_encoding and charset not in _UNSAFE  # type: ignore[attr-defined]


_UNSAFE = {"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7", "mbcs", "oem"}
