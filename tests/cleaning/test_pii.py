"""Personal data in all its forms, and what only looks like it."""

import numpy as np
import pytest

from curate.cleaning.pii import KINDS, find

EMAIL = [
    "jo@example.com",
    "first.last+tag@mail.example.co.uk",
    "a_b-c%d@sub-domain.example.museum",
    "x@xn--bcher-kva.example",
    "<jo.doe@uni-koeln.de>",
    "mailto:jo@example.org?subject=hi",
    "(jo@example.org)",
    "Write to jo@example.org.",
    "jo@example.org, ann@example.org; bob@example.org",
    "E-Mail:jo@example.org",
    "jo'ann o'neil@example.org",
    "JO@EXAMPLE.ORG",
    "git@example.com or so",
]
NO_EMAIL = [
    "icon@2x.png",
    "logo@3x.jpg",
    "@decorator",
    "user@localhost",
    "git@github.com:owner/repo.git",
    "https://user@host.example.org/path",
    "ftp://user:secret@host.example.org/",
    "package@1.2.3",
    "a@b",
    "x @ y.com",
    "foo..bar@",
    "4@5.com",
    "@handle.bsky.social",
    "A @ B.C",
    "a@.com",
    "jo@-example.org",
]
IP = [
    "8.8.8.8",
    "the server at 93.184.216.34 answered",
    "from 203.14.5.6 to",
    "http://93.184.216.34/index.html",
    "93.184.216.34:8080",
    "93.184.216.0/24",
    "IP: 1.2.3.4",
    "ip address 5.6.7.8",
    "ping 1.1.1.1",
    "[93.184.216.34]",
    "root@93.184.216.34",
    "93.184.216.34.",
    "host=93.184.216.34",
    "93.184.216.34, 93.184.216.35",
    "93.184.216.34,93.184.216.35",
    "93.184.216.34-93.184.216.40",
    "2001:4860:4860::8888",
    "[2a00:1450:4001:81b::200e]:443",
    "2606:4700:0:0:0:0:6810:85e5",
]
NO_IP = [
    "version 1.2.3.4",
    "v1.2.3.4",
    "Version: 80.112.3.4",
    "ver. 80.112.3.4",
    "release 93.184.216.34",
    "upgrade from version 45.2.3.40 to 45.2.3.41",
    "firmware 45.2.3.40",
    "1.3.6.1",
    "1.3.6.1.4.1",
    "1.3.6.1.4.1.311.21.20",
    "OID 2.5.29.15",
    "2.5.29.15",
    "urn:oid:2.5.29.37",
    "section 4.2.27.3",
    "Section 12.34.56.78",
    "§ 45.3.2.1",
    "§45.3.2.1",
    "see Figure 21.3.2.1",
    "1.2.3.4 Scope of the rules",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "127.0.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "169.254.1.1",
    "224.0.0.1",
    "100.64.0.1",
    "192.0.2.1",
    "198.51.100.7",
    "256.1.1.1",
    "93.184.216.034",
    "93.184.216",
    "93.184.216.34.5",
    "Chrome/49.0.2.124",
    "libfoo-45.2.3.40.tar.gz",
    "foo_45.2.3.40",
    "Firefox 45.2.3.40-beta",
    "45.2.3.40rc1",
    "the 93.184.216.34% rise",
    "34.216.184.93.in-addr.arpa",
    "$1.234.567.89",
    "12.05.2024",
    "12.5.20.24",
    "1,234.56.78.90",
    "12:34:56",
    "std::vector",
    "::1",
    "fe80::1",
    "2001:db8::1",
    "00:1A:2B:3C:4D:5E",
    "dead::beef",
    "01:23:45:67:89:ab:cd:ef",
    "abc::def::ghi",
    "12::34",
    "3.11.2.10",
    "1.1.1.1",
    "in 2006::",
    "3.3.1, 3.3.5 and 3.3.9.45",
]
PHONE = [
    "(212) 555-0123",
    "212-555-0123",
    "212.555.0123",
    "1-800-555-0199",
    "+1 212 555 0123",
    "+1-212-555-0123",
    "+1 (212) 555-0123",
    "+12125550123",
    "call 212 555 0123 now",
    "Phone: 2125550123",
    "Tel.: (212)555-0123",
    "+49 30 901820",
    "+44 20 7946 0958",
    "+33 1 42 68 53 00",
    "+86 10 6552 9988",
    "+49 (0)30 901820",
    "on +44 20 7946 0958 2 times",
    "Fax 212-555-0123, or mail",
]
NO_PHONE = [
    "2024-01-15",
    "15-01-2024",
    "2024-01-15 12:30:00",
    "123-45-6789",
    "978-3-16-148410-0",
    "ISBN 9783161484100",
    "1990-1995 and 2000-2005",
    "3.1415926535",
    "1234567890",
    "123 456 789 012",
    "1,234,567,890",
    "12345-6789",
    "$212.555.0123",
    "212-555-0123-99",
    "0212-555-0123",
    "A212-555-0123",
    "212-555-01234",
    "x = +12345678",
    "+10 000 000",
    "2+1234567890",
    "112-555-0123",
    "192.168.100.200",
    "0.212.555.0123",
    "10 11 12 13 14 15 16 17",
    "212 555 0123",
    "arXiv:2107.06499",
    "call 911",
]
IBAN = [
    "DE89 3704 0044 0532 0130 00",
    "DE89370400440532013000",
    "GB29NWBK60161331926819",
    "FR14 2004 1010 0505 0001 3M02 606",
    "NO9386011117947",
    "IBAN:CH9300762011623852957.",
    "MT84MALT011000012345MTLCAST001S",
    "IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFF",
]
NO_IBAN = [
    "DE88 3704 0044 0532 0130 00",
    "DE8937040044053201300",
    "XX89370400440532013000",
    "GB29NWBK60161331926818",
    "ADE89370400440532013000",
    "de89370400440532013000",
    "US12345678901234567890",
    "DE89370400440532013000A1",
]
CARD = [
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "4111111111111111",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "3782 822463 10005",
    "6011111111111117",
    "30569309025904",
    "3530111333300000",
    "card: 4012888888881881.",
    "4222222222222",
    "in July 4111 1111 1111 1111 2 times",
]
NO_CARD = [
    "4111 1111 1111 1112",
    "4111111111111112",
    "1234567812345670",
    "0000000000000000",
    "9999999999999995",
    "4111 11111111 1111",
    "4111-1111 1111-1111",
    "4111111111111111.5",
    "0.4111111111111111",
    "41111111111111111111",
    "a4111111111111111",
    "4111111111111111/2",
    "4111 1111 1111 1111 1111 1111",
    "1234 4111 1111 1111 1111",
]
POSITIVE = {"email": EMAIL, "ip": IP, "phone": PHONE, "iban": IBAN, "card": CARD}
NEGATIVE = {"email": NO_EMAIL, "ip": NO_IP, "phone": NO_PHONE, "iban": NO_IBAN, "card": NO_CARD}


def found(text: str, kinds=KINDS, regions=("US",)) -> list[tuple[str, str]]:
    data = text.encode()
    spans = find(np.frombuffer(data, np.uint8), np.array([0, len(data)]), kinds, regions)
    return [(KINDS[kind], data[start:end].decode()) for start, end, kind in zip(*spans, strict=True)]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in POSITIVE.items() for text in texts])
def test_found(kind: str, text: str) -> None:
    hits = found(text)
    assert hits, text
    assert {name for name, _ in hits} == {kind}
    for around in (f"x\n{text}\ny", f"Ünïcödé «{text}» 東京"):
        assert found(around) == hits


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in NEGATIVE.items() for text in texts])
def test_not_found(kind: str, text: str) -> None:
    assert kind not in dict(found(text, kinds=(kind,)))


def test_runs_of_colons_and_dots_are_read_once() -> None:
    """Two million of them, which would take hours if each colon read to the end."""
    address = "2a00:1450:4001:81b::200e"
    assert found(":." * 1_000_000 + f" [{address}], {address}.", kinds=("ip",)) == [("ip", address)] * 2
