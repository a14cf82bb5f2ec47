"""Charsets of pages: who is believed, in which order, and what happens when nobody is right."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.io.charsets import decode

GERMAN = "Größe, Übermaß und „Anführung“ – schöne Grüße aus München. " * 3
JAPANESE = "日本語のページです。文字コードの判定を確かめるための文章。" * 3
RUSSIAN = "Это страница на русском языке, чтобы проверить кодировку. " * 3


def page(text: str, charset: str | None = None) -> str:
    return (f'<html><head><meta charset="{charset}">' if charset else "<html><head>") + f"<p>{text}"


@pytest.mark.parametrize(
    ("text", "codec", "label"),
    [
        (GERMAN, "cp1252", "windows-1252"),
        (GERMAN, "cp1252", "iso-8859-1"),  # which means windows-1252, as the dashes and quotes show
        (GERMAN, "cp1252", "latin1"),
        (JAPANESE, "cp932", "shift_jis"),
        (JAPANESE, "cp932", "x-sjis"),
        (JAPANESE, "euc_jp", "euc-jp"),
        (JAPANESE, "iso2022_jp", "iso-2022-jp"),
        (RUSSIAN, "koi8-r", "koi8-r"),
        (RUSSIAN, "cp1251", "windows-1251"),
        ("中文网页，用来检验字符编码。朱镕基" * 3, "gb18030", "gb2312"),  # the last but one is not in GB 2312
        ("Ελληνική σελίδα", "iso8859-7", "iso-8859-7"),
        ("한국어 웹 페이지 똠방각하", "cp949", "euc-kr"),  # not all in EUC-KR
    ],
)
@pytest.mark.parametrize("origin", ["header", "meta"])
def test_declared(text: str, codec: str, label: str, origin: str) -> None:
    given = page(text, label if origin == "meta" else None)
    decoded = decode(given.encode(codec), label if origin == "header" else None)
    assert decoded == (given, decoded.charset, origin, 0)


@pytest.mark.parametrize("text", [GERMAN, JAPANESE, RUSSIAN])
@pytest.mark.parametrize("mark", ["utf-16-le", "utf-16-be", "utf-8"])
def test_a_byte_order_mark_goes_before_all(text: str, mark: str) -> None:
    marks = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE, "utf-8": codecs.BOM_UTF8}
    data = marks[mark] + page(text, "iso-8859-1").encode(mark)
    assert decode(data, "windows-1251") == (page(text, "iso-8859-1"), mark, "bom", 0)


def test_the_header_goes_before_the_tag() -> None:
    """Both fit the bytes, as any bytes are Cyrillic and Western letters."""
    data = page(GERMAN.replace("„", "").replace("“", ""), "koi8-r").encode("cp1252")
    assert decode(data, "windows-1252")[1:3] == ("cp1252", "header")
    assert decode(data)[1:3] == ("koi8-r", "meta")
    assert decode(data, "windows-1252", html=False)[1:3] == ("cp1252", "header")


@pytest.mark.parametrize("label", ["utf8mb4", "", "none", "base64", "unicode-escape", "utf-7", "idna"])
def test_labels_that_mean_nothing_are_passed_over(label: str) -> None:
    data = page(GERMAN, "utf-8").encode()
    assert decode(data, label)[1:3] == ("utf-8", "meta")
    assert decode(page(GERMAN, label).encode(), "utf-8")[1:3] == ("utf-8", "header")


def test_a_tag_in_ascii_is_not_utf_16() -> None:
    assert decode(page(GERMAN, "utf-16").encode())[:3] == (page(GERMAN, "utf-16"), "utf-8", "meta")


@pytest.mark.parametrize(("text", "codec"), [(GERMAN, "cp1252"), (RUSSIAN, "cp1251"), (JAPANESE, "cp932")])
def test_a_declaration_that_does_not_fit_gives_way(text: str, codec: str) -> None:
    given = page(text, "utf-8")
    assert decode(given.encode(codec), "utf-8")[0::2] == (given, "detected")


def test_undeclared() -> None:
    for text, codec in ((GERMAN, "cp1252"), (RUSSIAN, "koi8-r"), (JAPANESE, "euc_jp"), (GERMAN, "utf-8")):
        assert decode(page(text).encode(codec))[0::2] == (page(text), "detected")


def test_utf_8_with_a_few_bad_bytes_stays_utf_8() -> None:
    data = page(JAPANESE, "utf-8").encode()
    broken = data + b"\xff" * 20 + data
    decoded = decode(broken)
    assert decoded[1:] == ("utf-8", "meta", 20)
    assert decoded.text.count("\ufffd") == 20
    assert JAPANESE in decoded.text
    cut = page(GERMAN + "ü").encode()[:-1]  # as in records that are cut at a size
    assert decode(cut, "utf-8")[1:] == ("utf-8", "header", 1)


def test_replacement_characters_of_the_page_are_no_errors() -> None:
    assert decode(page("a \ufffd b \ufffd").encode(), "utf-8").replaced == 0


@given(data=st.binary(max_size=300), declared=st.sampled_from([None, "utf-8", "shift_jis", "x", "utf-16"]))
def test_any_bytes_are_some_text(data: bytes, declared: str | None) -> None:
    decoded = decode(data, declared)
    decoded.text.encode()  # no half surrogates
    assert decoded.origin in ("bom", "header", "meta", "detected", "default")
