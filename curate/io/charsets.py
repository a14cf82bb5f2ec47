"""Decode the bytes of a web page, following the order of the WHATWG's encoding sniffing algorithm.

The encoding comes from a byte order mark, then the HTTP header, then a ``<meta>`` tag or XML declaration in the first
4096 bytes, and then from resiliparse's detector (HTML Standard, section 13.2.3.2, which scans 1024 bytes). Labels have
the meaning that browsers give them: ``iso-8859-1`` is windows-1252, ``gb2312`` is gb18030 (w3lib).

Browsers show garbage if the declared encoding is wrong. Here, an encoding that leaves more than one replacement
character per thousand characters is rejected, and the next one is tried. UTF-8 is not rejected if the text has more
well-formed multi-byte characters than replacement characters, because text in another encoding is hardly ever
well-formed UTF-8.
"""

from collections.abc import Iterator
from typing import NamedTuple

REPLACEMENT = "\ufffd"
_TOLERATED = 1000  # characters per replacement character; one more is tolerated, as a page may be cut in a character
_SNIFFED = 1 << 17  # bytes given to the detector
_WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


class Decoded(NamedTuple):
    """Decoded text of a page.

    Parameters
    ----------
    text
        The text, with U+FFFD for bytes that cannot be decoded.
    charset
        Name of the Python codec.
    origin
        Source of the encoding: ``bom``, ``header``, ``meta``, ``detected`` or ``default``.
    replaced
        Number of replacement characters that decoding inserted.
    """

    text: str
    charset: str
    origin: str
    replaced: int


def decode(data: bytes, declared: str | None = None, *, html: bool = True) -> Decoded:
    r"""Decode the bytes of a page.

    Parameters
    ----------
    data
        Bytes of the page.
    declared
        Charset in the Content-Type of the HTTP header, if there is one.
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
            replaced -= data[mark:].decode(charset, "ignore").count(REPLACEMENT)  # those of the page itself
        decoded = Decoded(text, charset, origin, replaced)
        if replaced <= 1 + len(text) // _TOLERATED or (charset == "utf-8" and _well_formed(text) > replaced):
            return decoded
        first = first or decoded
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
        # A tag that is readable as ASCII cannot be UTF-16, whatever it declares (HTML Standard, 13.2.3.2).
        yield "utf-8" if charset in _WIDE else charset, "meta", 0
    detected = detect_encoding(data, max_len=_SNIFFED, html5_compatible=False)
    if detected and (charset := resolve_encoding(detected)):
        yield charset, "detected", 0
    yield "cp1252", "default", 0


def _well_formed(text: str) -> int:
    """Count the characters of several bytes that were decoded without an error."""
    return len(text) - len(text.encode("ascii", "ignore")) - text.count(REPLACEMENT)


def _text_codec(charset: str) -> bool:
    """Return whether a codec decodes bytes to text. Python also has codecs such as ``base64`` and ``idna``."""
    import codecs

    return codecs.lookup(charset)._is_text_encoding and charset not in _UNSAFE  # type: ignore[attr-defined]


_UNSAFE = {"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7", "mbcs", "oem"}
