"""Detection of personal data: e-mail addresses, public IP addresses, phone numbers, bank accounts and card numbers.

A scan over the bytes finds the few candidates: at-signs, dotted quads, runs of colons and of digits. Regular
expressions, checksums and libraries test only the candidates and the text around them. ``docs/clean.md`` defines each
kind of personal data.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.cleaning.pii_candidates import AT, COLONS, COUNTRY, DIGITS, QUAD, candidates

Kind = Literal["email", "iban", "card", "phone", "ip"]
KINDS: tuple[Kind, ...] = ("email", "iban", "card", "phone", "ip")
"""Kinds by priority: of two overlapping matches, the kind listed first is kept, then the match that starts first."""

BEFORE, AFTER = 64, 40  # bytes of context before and after a candidate
_READERS: dict[int, tuple[Kind, ...]] = {
    AT: ("email",),
    QUAD: ("ip",),
    COLONS: ("ip",),
    DIGITS: ("card", "phone"),
    COUNTRY: ("iban",),
}


class PersonalData(NamedTuple):
    """Spans of personal data in a batch, sorted and without overlaps; shape (spans,) each.

    Attributes
    ----------
    starts, ends
        Byte positions in the data of the batch.
    kinds
        Indices into `KINDS`.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    kinds: NDArray[np.int64]


Reader = Callable[[str, str, str], Iterator[tuple[int, int]]]
"""Maps the text before a candidate, the candidate and the text after it to the start and end of each match in it."""


def find(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], kinds: tuple[str, ...], regions: tuple[str, ...] = ("US",)
) -> PersonalData:
    """Find personal data.

    Parameters
    ----------
    data, offsets
        Document i is ``data[offsets[i]:offsets[i + 1]]``.
    kinds
        Kinds to find, a subset of `KINDS`.
    regions
        Countries (ISO 3166) whose phone numbers also match in national form, if a word such as *phone* precedes them.

    Examples
    --------
    >>> text = b"Mail jo@mail.example.org, or ping 8.8.4.4 for version 1.2.3.4."
    >>> spans = find(np.frombuffer(text, np.uint8), np.array([0, len(text)]), ("email", "ip"))
    >>> [(KINDS[kind], text[start:end]) for start, end, kind in zip(*spans)]
    [('email', b'jo@mail.example.org'), ('ip', b'8.8.4.4')]
    """
    readers: dict[str, Reader] = {
        "email": _emails,
        "iban": _ibans,
        "card": _cards,
        "phone": lambda before, text, after: _phones(before, text, after, regions),
        "ip": _addresses,
    }
    rows: list[tuple[int, int, int]] = []
    rejected = -1  # end of the last rejected dotted quad: a quad after "1.2.3.4 to" is not an address either
    candidate_kinds = [candidate_kind for candidate_kind, read in _READERS.items() if set(read) & set(kinds)]
    for start, end, candidate_kind, first, last in candidates(data, offsets, candidate_kinds):
        before = _decode(data, max(first, start - BEFORE), start)
        text = data[start:end].tobytes().decode("ascii")
        after = _decode(data, end, min(last, end + AFTER))
        if (
            candidate_kind == QUAD
            and max(first, start - BEFORE) <= rejected
            and _JOINED.fullmatch(_decode(data, rejected, start))
        ):
            rejected = end
            continue
        count = len(rows)
        for kind in _READERS[candidate_kind]:
            if kind in kinds:
                matches = readers[kind](before, text, after)
                rows += [(start + a, start + b, KINDS.index(kind)) for a, b in matches]
        if candidate_kind == QUAD and len(rows) == count:
            rejected = end
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    return _without_overlaps(PersonalData(*columns))


def _without_overlaps(personal_data: PersonalData) -> PersonalData:
    """Return a subset without overlaps, which prefers kinds that come first in `KINDS`, then earlier starts."""
    from curate.text.spans import disjoint

    order = np.lexsort((-personal_data.ends, personal_data.starts))
    starts, ends, kinds = (column[order] for column in personal_data)
    kept = np.zeros(len(starts), np.bool_)
    for kind in range(len(KINDS)):
        free = (kinds == kind) & ~_touches(starts, ends, starts[kept], ends[kept])
        rows = np.flatnonzero(free)
        kept[rows[disjoint(starts[rows], ends[rows])]] = True
    return PersonalData(starts[kept], ends[kept], kinds[kept])


def _touches(
    starts: NDArray[np.int64], ends: NDArray[np.int64], other_starts: NDArray[np.int64], other_ends: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which spans overlap at least one of the other spans, which must be sorted and disjoint."""
    return np.searchsorted(other_ends, starts, side="right") < np.searchsorted(other_starts, ends, side="left")


def _decode(data: NDArray[np.uint8], start: int, end: int) -> str:
    """Decode context, and drop the characters that its bounds cut in two."""
    return data[start:end].tobytes().decode(errors="ignore")


def _left(before: str, text: str, position: int) -> str:
    """Return the text before a position in a candidate. A candidate may be a whole table of numbers."""
    return text[position - BEFORE : position] if position >= BEFORE else before + text[:position]


def _right(text: str, position: int, after: str) -> str:
    """Return the text after a position in a candidate."""
    return text[position : position + AFTER] if len(text) - position >= AFTER else text[position:] + after


# -- e-mail ------------------------------------------------------------------------------------------------------------

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(
    rf"(?<![A-Za-z0-9._%+'!#$&*=?^`{{|}}~-])"
    rf"(?P<local>[A-Za-z0-9_](?:[A-Za-z0-9_%+'&=-]|\.(?!\.)){{0,63}})(?<!\.)@(?P<domain>(?:{_LABEL}\.)+(?P<top>[A-Za-z]{{2,24}}|xn--[A-Za-z0-9-]{{2,59}}))"
    r"(?![A-Za-z0-9@-]|\.[A-Za-z0-9])"
)
_FILES = frozenset(
    [
        *("png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "css", "scss", "js", "jsx", "ts", "tsx"),
        *("json", "xml", "html", "htm", "php", "pdf", "txt", "yml", "yaml", "exe", "dll", "jar"),
    ]
)
_REMOTE = re.compile(r":(?!//)[\w~./-]*[/.]\w")  # git@host:path


def _emails(before: str, text: str, after: str) -> Iterator[tuple[int, int]]:
    text = text.rstrip(".-")
    start = re.search(r"[A-Za-z0-9_]", text)
    match = _EMAIL.match(text, start.start()) if start else None
    if match is None or match["top"].lower() in _FILES or (match["local"].isdigit() and match["domain"][:1].isdigit()):
        return
    if before.endswith("//") or (":" in before and re.search(r"//[^\s/]*:\Z", before)):
        return  # the user of a URL
    if match["local"] == "git" and _REMOTE.match(after):
        return
    yield match.start(), match.end()


# -- IP addresses ------------------------------------------------------------------------------------------------------

_NO_ADDRESS = re.compile(
    r"(?:\b(?:versions?|vers?|releases?|released|builds?|revisions?|revs?|sections?|sects?|secs?|chapters?|clauses?|articles?"
    r"|paragraphs?|paras?|figures?|figs?|tables?|appendix|annex|steps?|rules?|oids?|firmware|drivers?|patch|updates?|upgraded?|downgraded?"
    r"|kernel|sdk|api|requires?|needs|dewey|schedule|part|parts|item|items|exercise|problem|theorem|lemma|eq|equation|ch|v)"
    r"|§)\.?(?:\s+(?:number|no|to|from|of|is|was|in))?\.?[\s:=#(\"'\u201c*`~<>^-]*\Z",
    re.IGNORECASE,
)
_NUMBER_BEFORE = re.compile(r"[\w.$%#\\+§]\Z|(?<!\d\.\d)(?<!\d\.\d\d)(?<!\d\.\d\d\d),\Z")
_PRODUCT = re.compile(r"[^\s\d/][-_/]\Z|[^/]/\Z|^/\Z")  # package-1.2.3.4, Chrome/49.0.2.124
_NO_ADDRESS_AFTER = re.compile(
    r"\s*(?:%|°|(?:release|version|firmware|build|update|beta|alpha|rc\d*|sdk)\b)|[-_+~]?[A-Za-z_]|[-+~]\d+[A-Za-z]|\.\w",
    re.IGNORECASE,
)
_NETWORK = re.compile(
    r"\b(?:ip|ips|ipv4|ipv6|inet|addr|addrs|address|addresses|servers?|dns|nameservers?|resolvers?|hosts?|hostname|ping|pinged"
    r"|gateways?|routers?|subnets?|netmask|cidr|network|ports?|proxy|firewall|client|clients|peers?|ssh|telnet|traceroute|whois"
    r"|connect(?:ed|s|ing)?|connections?|login|logged|requests?)\b|//|@\Z",
    re.IGNORECASE,
)
_RESOLVERS = frozenset(("8.8.8.8", "8.8.4.4", "9.9.9.9"))  # well-known addresses; 1.1.1.1 may also be a section
_TRIPLE = re.compile(r"(?<![\d.])\d+\.\d+\.\d+(?!\.?\d)")  # a version number, which hints at other versions nearby
_HEXTETS = 3  # minimum number of groups that are written out; otherwise "in 2006::" would be an address
_JOINED = re.compile(r"[\s,;/&|–-]*(?:(?:to|and|or|through|thru|until|till|vs|versus|than|from|into)\b)?[\s.,v]*", re.I)
_SMALL = 32  # four numbers below this are more likely a version, a section or a date than an address
_OID_ARCS, _OID_SECOND = 2, 40  # the first number of an object identifier is 0 to 2, the second 0 to 39


def _addresses(before: str, text: str, after: str) -> Iterator[tuple[int, int]]:
    if ":" in text:
        if (
            re.match(r"[23][0-9A-Fa-f]{3}:", text)
            and not re.search(r"[\w:.]\Z", before)
            and not re.match(r"\w|:", after)
        ):
            try:
                public = IPv6Address(text).is_global and len(text.replace("::", ":").strip(":").split(":")) >= _HEXTETS
            except ValueError:
                return
            if public:
                yield 0, len(text)
        return
    if _is_public(text) and not _is_number(before, text, after):
        yield 0, len(text)


def _is_public(text: str) -> bool:
    parts = text.split(".")
    if any(len(part) > 3 or (len(part) > 1 and part[0] == "0") or int(part) > 255 for part in parts):
        return False
    address = ip_address(text)
    return isinstance(address, IPv4Address) and address.is_global and not address.is_multicast


def _is_number(before: str, text: str, after: str) -> bool:
    """Return whether the context shows that a dotted quad is a version, section or object identifier."""
    if _NUMBER_BEFORE.search(before) or _PRODUCT.search(before):
        return True
    if _NO_ADDRESS.search(before) or _NO_ADDRESS_AFTER.match(after):
        return True
    first, second, *rest = map(int, text.split("."))
    unlikely = max(first, second, *rest) < _SMALL or (first <= _OID_ARCS and second < _OID_SECOND)
    line = before.rpartition("\n")[2]
    if text in _RESOLVERS or not (unlikely or _TRIPLE.search(line)):
        return False
    return not (_NETWORK.search(line) or re.match(r":\d|/\d\d?\b", after))


# -- phone numbers -----------------------------------------------------------------------------------------------------

_INTERNATIONAL = re.compile(r"\+[1-9](?:[ .\-/()]{0,2}\d){6,14}(?!\d)")
_AMERICAN = re.compile(
    r"(?<![\d+])(?:\+?1[ .-]?)?(?:\([2-9]\d\d\) ?|(?P<mark>[2-9]\d\d[-. ]))[2-9]\d\d(?P<last>[-. ])\d{4}(?!\d)"
)
_SPOKEN = re.compile(
    r"\b(?:phones?|telephones?|tel|mobile|mob|cell|fax|call|calls|whatsapp|hotline|helpline|telefon|tél|téléphone|handy)"
    r"(?:\s+(?:us|me|him|her|them|no|nr|number|now|today|is|at|on|line|free|:))*[.:\s#(]*\Z",
    re.IGNORECASE,
)
_LEAST_DIGITS = 7  # minimum number of digits, country code included
_AFTER_NUMBER = re.compile(r"[A-Za-z_@%€$£]|[.,]\d|-[\dA-Za-z]|/\d")


def _phones(before: str, text: str, after: str, regions: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    number_end = 0
    for match in _INTERNATIONAL.finditer(text):
        size = 0 if re.search(r"[\w+*/^=.]\Z", _left(before, text, match.start())) else _international(match[0])
        number_end = match.start() + size
        if size and not _AFTER_NUMBER.match(_right(text, number_end, after)):
            yield match.start(), number_end
    for match in _AMERICAN.finditer(text, number_end):
        if _is_american(match, _left(before, text, match.start())) and not _AFTER_NUMBER.match(
            _right(text, match.end(), after)
        ):
            number_end = match.end()
            yield match.span()
    if not number_end and _SPOKEN.search(before) and _is_national(text, regions) and not _AFTER_NUMBER.match(after):
        yield 0, len(text)


def _is_american(match: re.Match[str], before: str) -> bool:
    """Return whether a match is a phone number, such as `(212) 555-0123`, `212-555-0123` or `212.555.0123`."""
    if re.search(r"[\w.,/#=$€£\\:-]\Z", before) and not re.search(r"[A-Za-z]{2,}[.:]\Z", before):
        return False
    mark = match["mark"]
    if mark is None:
        return True
    if mark[-1] != match["last"]:
        return mark[-1] != "." and _spoken(before)
    return mark[-1] != " " or _spoken(before) or match[0].startswith("+")


def _spoken(before: str) -> bool:
    """Return whether the text before a number ends with a word such as *phone* or *call*."""
    return bool(_SPOKEN.search(before))


@cache
def _phonenumbers():
    import phonenumbers

    return phonenumbers


def _international(text: str) -> int:
    """Return the length of the longest prefix that is a valid phone number, or 0. The rest may be, e.g., a date.

    North American numbers only need the right form, because the library rejects the 555 numbers that people write.
    """
    library = _phonenumbers()
    while len(digits := re.sub(r"\D", "", text)) >= _LEAST_DIGITS:
        if re.fullmatch(r"1[2-9]\d\d[2-9]\d{6}", digits):
            return len(text)
        try:
            if library.is_valid_number(library.parse("+" + digits)):
                return len(text)
        except library.NumberParseException:
            return 0
        shorter = re.sub(r"[ .\-/()]+\d+\Z", "", text)
        if shorter == text:
            return 0
        text = shorter
    return 0


def _is_national(text: str, regions: tuple[str, ...]) -> bool:
    library = _phonenumbers()
    for region in regions:
        try:
            if library.is_valid_number(library.parse(text, region)):
                return True
        except library.NumberParseException:
            continue
    return False


# -- bank accounts and cards -------------------------------------------------------------------------------------------

_GROUPS = re.compile(
    r"(?<!\d)\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}(?!\d)|(?<!\d)\d{4}([ -])\d{6}\2\d{4,5}(?!\d)|(?<![\d])\d{13,19}(?!\d)"
)
_CARD = re.compile(
    r"4\d{12}(?:\d{3}){0,2}"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}"  # Discover
    r"|3(?:0[0-5]|[68]\d|9\d)\d{11}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|62\d{14,17}"  # UnionPay
)


def _cards(before: str, text: str, after: str) -> Iterator[tuple[int, int]]:
    from stdnum import luhn

    for match in _GROUPS.finditer(text):
        left, right = _left(before, text, match.start()), _right(text, match.end(), after)
        if re.search(r"[\w.,/+#$=]\Z|\d-\Z", left) and not re.search(r"[A-Za-z][.,]\Z|#\Z", left):
            continue
        if re.match(r"[\w/]|[.,-]\d", right):
            continue
        if " " in match[0] and (re.search(r"\b\d{4} \Z", left) or re.match(r" \d{4}\b", right)):
            continue  # the match is part of a longer row of groups
        digits = re.sub(r"\D", "", match[0])
        if _CARD.fullmatch(digits) and luhn.is_valid(digits):
            yield match.span()


def _ibans(before: str, text: str, after: str) -> Iterator[tuple[int, int]]:
    """Yield the longest prefix of the candidate that has the form of an IBAN and correct check digits."""
    from stdnum import iban

    if re.search(r"\w\Z", before):
        return
    ends = [match.end() for match in re.finditer(r"[A-Z0-9](?![A-Z0-9])", text)]
    if re.match(r"[^\W_]", after):
        ends = ends[:-1]
    for end in reversed(ends):
        compact = text[:end].replace(" ", "")
        if len(compact) >= 15 and iban.is_valid(compact, check_country=False):
            yield 0, end
            return
