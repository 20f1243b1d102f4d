"""The encoding of a page: who says it, in which order they are believed, and what the names mean."""

from __future__ import annotations

import codecs
import time

import pytest

pytest.importorskip("webencodings", reason="the extra `documents` is not installed")

from hybrid_search.corpus.decoding import Undecodable
from hybrid_search.corpus.web_encoding import declared, page_text

QUOTES = b"\x93We don\x92t sell caf\xe9 beans\x94 \x97 said the owner."
QUOTED = "“We don’t sell café beans” — said the owner."


@pytest.mark.parametrize(
    "label", ["iso-8859-1", "ISO8859-1", "latin1", "us-ascii", "l1", "windows-1252", " Latin1 ", "x-cp1252"]
)
@pytest.mark.parametrize(
    "meta",
    [
        '<meta charset="{}">',
        "<meta charset={}>",
        "<META CHARSET='{}' />",
        '<meta http-equiv="Content-Type" content="text/html; charset={}">',
        "<meta content='text/html;charset={}' http-equiv=content-type>",
        '<?xml version="1.0" encoding="{}"?>',
    ],
)
def test_names_of_western_encodings_mean_windows_1252(label, meta):
    if " " in label and "=" + "{}" in meta:
        label = label.strip()
    assert page_text(meta.format(label).encode() + QUOTES).text.endswith(QUOTED)


@pytest.mark.parametrize(
    ("label", "encoding", "text"),
    [
        ("gb2312", "gb18030", "简体中文镕喆"),
        ("gbk", "gb18030", "简体中文镕"),
        ("gb_2312-80", "gb18030", "简体"),
        ("shift_jis", "cp932", "表示①髙橋～"),
        ("x-sjis", "cp932", "表示②"),
        ("euc-kr", "cp949", "한국어 똠방"),
        ("ks_c_5601-1987", "cp949", "한국어 펲"),
        ("big5", "big5hkscs", "繁體中文嘅"),
        ("euc-jp", "euc_jp", "日本語"),
        ("iso-2022-jp", "iso2022_jp", "日本語"),
        ("hz-gb-2312", "hz", "简体"),
        ("iso-2022-kr", "iso2022_kr", "한국어"),
        ("iso-8859-9", "cp1254", "“İstanbul” €"),
        ("latin5", "cp1254", "ığüşöç"),
        ("tis-620", "cp874", "ภาษาไทย…"),
        ("iso-8859-11", "cp874", "ไทย"),
        ("koi8-r", "koi8-r", "Привет"),
        ("koi8-u", "koi8-u", "Привіт"),
        ("windows-1251", "cp1251", "Привет"),
        ("iso-8859-2", "iso8859-2", "Łódź"),
        ("iso-8859-15", "iso8859-15", "10 €"),
        ("macintosh", "mac-roman", "Müller—“é”"),
        ("866", "cp866", "Привет"),
        ("x-user-defined", "cp1252", "café"),
    ],
)
def test_a_name_means_what_browsers_mean_by_it(label, encoding, text):
    found = page_text(f"<html><meta charset={label}><p>{text}".encode(encoding))
    assert found.text.endswith(text)
    assert not found.encoding.guessed


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_a_byte_order_mark_comes_first(mark):
    encoding = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le"}.get(mark, "utf-16-be")
    assert page_text(mark + "<meta charset=koi8-r>Straße".encode(encoding)).text == "<meta charset=koi8-r>Straße"


def test_valid_utf8_comes_before_what_the_page_says():
    assert page_text("<meta charset=iso-8859-1>Straße".encode()).text.endswith("Straße")


@pytest.mark.parametrize("label", ["utf-8", "utf-16", "nonsense", "", "x" * 500, "\u00fc"])
def test_a_name_that_does_not_help_is_passed_over(label):
    text = "Où est passée la clé de la bibliothèque ?"
    found = page_text(f"<meta charset='{label}'>{text}".encode("cp1252"))
    assert found.text.endswith(text)
    assert found.encoding.guessed
    assert page_text(f"<meta charset='{label}'>{text}".encode("cp1252"), "cp1252").encoding == ("cp1252", False)


def test_one_bad_byte_does_not_lose_the_page():
    data = "<meta charset=utf-8><p>Straße</p>\n<p>Übung</p>\n".encode() + b"<p>caf\xe9</p>\n"
    assert page_text(data).text.endswith("<p>Straße</p>\n<p>Übung</p>\n<p>caf\ufffd</p>\n")
    assert page_text(b"<meta charset=shift_jis>\x81\xff ok").text.endswith(" ok")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"<!-- <meta charset=koi8-r> --><meta charset=cp866>", "cp866"),
        (b"<script>'<meta charset=koi8-r>'</script><meta charset=cp866>", "cp866"),
        (b"<p title='<meta charset=koi8-r>'><meta charset=cp866>", "cp866"),
        (b"<metadata charset=koi8-r><meta charset=cp866>", "cp866"),
        (b"<meta name=x content='text/html; charset=koi8-r'><meta charset=cp866>", "cp866"),
        (b"<meta charset=cp866 charset=koi8-r>", "cp866"),
        (b"<meta charset=cp866><meta charset=koi8-r>", "cp866"),
        (b"<meta\n\tcharset\n=\n'cp866'>", "cp866"),
        (b"<?xml version='1.0' encoding='koi8-r'?><meta charset=cp866>", "cp866"),
        (b"<?xml version='1.0' standalone='yes' encoding='koi8-r'?><html>", "koi8-r"),
        (b"<!-- <?xml encoding='koi8-r'?> -->", ""),
        (b"charset=koi8-r <meta http-equiv=refresh content='charset=koi8-r'>", ""),
        (b"<!-- <meta charset=koi8-r>", ""),
        (b"<![x]><meta charset=cp866>", ""),
        (b"", ""),
    ],
)
def test_what_the_page_says(head, name):
    assert declared(head) == name


def test_what_is_no_text_is_refused():
    with pytest.raises(Undecodable):
        page_text(bytes(range(256)) * 9)


@pytest.mark.parametrize("junk", [b"<meta ", b"<", b"<!--", b"<?xml ", b"<meta charset='", b" ", b"<?xml encoding='"])
def test_looking_for_it_takes_no_time(junk):
    began = time.perf_counter()
    page_text(junk * (500_000 // len(junk)) + b"\xe9")
    assert time.perf_counter() - began < 5
