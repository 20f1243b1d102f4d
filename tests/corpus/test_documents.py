"""PDF, Word, HTML and notebooks: what is read of them, and what a bad one is called."""

from __future__ import annotations

import importlib.util
import io
import os
import zipfile

import pytest

from hybrid_search._util import extras
from hybrid_search.corpus import readers, reading
from hybrid_search.corpus.documents import NEEDS, read_document
from hybrid_search.corpus.readers import read
from hybrid_search.types import Document, Failure, PassedOver, Place
from tests.corpus.made_documents import form, notebook, pdf, word
from tests.odd_reading import InThisProcess

needed = {package for packages in NEEDS.values() for package in packages}
extra = pytest.mark.skipif(
    not all(importlib.util.find_spec(package) for package in needed), reason="the extra `documents` is not installed"
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder, so that sources and origins are short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_as(name, data):
    return next(read_document(data, origin=name, name=name))


@extra
def test_a_pdf_is_a_document_with_a_place_for_each_page():
    data = pdf(["First page", "", "Third page"], title="Report of the year")
    assert read_as("a.pdf", data) == Document(
        "a.pdf",
        "First page\n\nThird page",
        "Report of the year",
        {"path": "a.pdf", "suffix": ".pdf"},
        "a.pdf",
        places=(Place(0, {"page": 1}), Place(12, {"page": 3})),
    )


@extra
def test_lines_of_a_pdf_that_go_on_are_joined_to_sentences():
    found = read_as("a.pdf", pdf(["The end of\nthis line goes on.\nthe next one:\n- does not"]))
    assert found.text == "The end of this line goes on.\nthe next one:\n- does not"


def lines(data):
    return read_as("a.pdf", data).text.split("\n")


@extra
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (["/FT /Tx /T (name) /V (Ann Lee)"], ["name: Ann Lee"]),
        (["/FT /Tx /T (name) /TU (Your name) /V (Ann Lee)"], ["Your name: Ann Lee"]),
        (["/FT /Tx /T (name) /V <FEFF004D00FC006C006C00650072>"], ["name: Müller"]),
        (["/FT /Tx /Ff 4096 /T (note) /V (two\\nlines)"], ["note: two", "lines"]),
        (["/FT /Tx /T (empty)", "/FT /Tx /T (blank) /V ( )"], []),
        (["/FT /Ch /Ff 131072 /T (colour) /Opt [(red) (blue)] /V (blue)"], ["colour: blue"]),
        (
            ["/FT /Ch /Ff 2097152 /T (fruit) /Opt [(fig) (plum) (pear)] /V [(fig) (pear)] /I [0 2]"],
            ["fruit: fig, pear"],
        ),
        (["/FT /Btn /T (agreed) /V /Yes /AS /Yes /AP << /N << /Yes 4 0 R /Off 4 0 R >> >>"], ["agreed: Yes"]),
        (["/FT /Btn /T (agreed) /V /Off /AS /Off /AP << /N << /Yes 4 0 R /Off 4 0 R >> >>"], []),
        (["/FT /Btn /Ff 65536 /T (send) /V (Send)"], []),
        (["/FT /Tx /T (seen) /V (a)", "/FT /Tx /F 2 /T (hidden) /V (b)"], ["seen: a"]),
        (["/FT /Tx /T (name) /V (Ann) /F 4", "/FT /Tx /T (name) /V (Ann) /F 4"], ["name: Ann", "name: Ann"]),
    ],
)
def test_what_is_filled_in_stands_behind_the_text_of_the_page(fields, said):
    assert lines(form(fields)) == ["Printed", *(["", *said] if said else [])]


@extra
@pytest.mark.parametrize(
    ("notes", "said"),
    [
        (["/Subtype /Text /Contents (A note)"], ["A note"]),
        (["/Subtype /FreeText /Contents (Typed on it) /DA (/F1 9 Tf)"], ["Typed on it"]),
        (["/Subtype /Highlight /QuadPoints [0 0 1 0 0 1 1 1] /Contents (Why so?)"], ["Why so?"]),
        (["/Subtype /Text /Contents (one)", "/Subtype /Popup /Parent 7 0 R /Contents (one)"], ["one"]),
        (["/Subtype /Link /Contents (a link) /A << /S /URI /URI (http://x.y) >>"], []),
        (["/Subtype /Text /Contents (seen)", "/Subtype /Text /F 2 /Contents (hidden)"], ["seen"]),
        (["/Subtype /Stamp /Contents <FEFF00E9>", "/Subtype /Ink"], ["é"]),
    ],
)
def test_notes_stand_behind_the_text_of_the_page(notes, said):
    assert lines(form([], notes)) == ["Printed", *(["", *said] if said else [])]


@extra
def test_a_page_that_is_only_filled_in_has_a_text_and_its_place():
    found = read_as("a.pdf", form(["/FT /Tx /T (name) /V (Ann)"], text=""))
    assert (found.text, found.places) == ("name: Ann", (Place(0, {"page": 1}),))


@extra
def test_pages_without_text_are_counted_where_others_have_one():
    items = read_document(pdf(["one", "", ""]), origin="a.pdf", name="a.pdf")
    assert list(items)[1:] == [PassedOver("a.pdf", "pages without text", 2)]


@extra
@pytest.mark.parametrize(
    "field",
    [
        "/T (x)",
        "/FT /Tx /V 7 /T 8",
        "/FT /Tx /V [(a)] /T (x)",
        "/FT /Ch /T (x) /V (a) /Opt 5",
        "/FT /Tx /Parent 6 0 R /V (a)",
        "/FT /Btn /T (x) /V (a)",
    ],
)
def test_odd_fields_and_notes_do_not_lose_the_page(field):
    found = read_as("a.pdf", form([field], [field, "/Subtype /Text /Contents 5", "/Subtype 7"]))
    assert found.text.startswith("Printed")


@extra
@pytest.mark.parametrize(("given", "title"), [("Microsoft Word - plan.doc", "plan.doc"), ("Untitled", ""), ("", "")])
def test_what_a_program_calls_a_pdf_is_no_title(given, title):
    assert read_as("a.pdf", pdf(["text"], given)).title == title


@extra
def test_word():
    data = word([("Heading1", "Tea"), ("", "Hot."), ("Heading2", "Green"), ("", "From China.")])
    found = read_as("a.docx", data)
    assert found.text == "# Tea\n\nHot.\n\n## Green\n\nFrom China."
    assert (found.title, found.markup) == ("Tea", "markdown")
    assert [place.metadata for place in found.places] == [{"heading": "Tea"}, {"heading": "Tea > Green"}]
    assert [found.text[place.start :][:4] for place in found.places] == ["# Te", "## G"]
    assert read_as("a.docx", word([("", "Text")], title="On &amp; off")).title == "On & off"


PAGE = """<!doctype html><html><head><meta charset="{charset}"><title>
  Café </title><style>p {{ color: red }}</style><script>alert("no")</script></head><body><h1>Über</h1>
<script type="text/javascript">var hidden = 1;</script><p onclick="bad()">Some <b>bold</b> word.</p><!-- a comment -->
<template>later</template><noscript>turn it on</noscript>
<img alt="A cat" src="data:image/png;base64,iVBORw0KGgo"></body></html>"""


@extra
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "cp1252"])
@pytest.mark.parametrize("suffix", [".html", ".htm"])
def test_html_without_its_scripts_and_styles(charset, suffix):
    found = read_as("a" + suffix, PAGE.format(charset=charset).encode(charset))
    assert found.title == "Café"
    assert found.text.split() == ["#", "Über", "Some", "**bold**", "word.", "A", "cat"]
    assert found.places == (Place(found.text.index("#"), {"heading": "Über"}),)


@extra
def test_html_nested_too_deeply_is_plain_text_and_quiet(capfd):
    found = read_as("a.html", b"<div>" * 5000 + b"deep" + b"</div>" * 5000)
    assert found.text == "deep"
    assert capfd.readouterr() == ("", "")


@extra
def test_notebook():
    data = notebook(("markdown", "# Try\n\nIt works."), ("code", "# no heading\nprint(1)"), ("markdown", "## More"))
    found = read_as("a.ipynb", data)
    assert found.text == "# Try\n\nIt works.\n\n```python\n# no heading\nprint(1)\n```\n\n## More"
    assert (found.title, [place.metadata["heading"] for place in found.places]) == ("Try", ["Try", "Try > More"])
    assert read_as("a.ipynb", notebook(("code", "1"), title="Named")).title == "Named"


def texts_and_counts(name, data):
    document, *left = read_document(data, origin=name, name=name)
    return document.text, {item.kind: item.count for item in left}


@pytest.mark.parametrize(
    ("output", "shown", "counted"),
    [
        ({"output_type": "stream", "name": "stdout", "text": ["0.93\n", "0.94\n"]}, "0.93\n0.94", {}),
        ({"output_type": "stream", "text": "10%\r50%\r100%\n\x1b[31mred\x1b[0m"}, "100%\nred", {}),
        ({"output_type": "execute_result", "data": {"text/plain": ["42"]}}, "42", {}),
        ({"output_type": "execute_result", "data": {"text/plain": "a  b", "text/html": "<table>"}}, "a  b", {}),
        ({"output_type": "display_data", "data": {"text/markdown": "**x**", "text/plain": "<M>"}}, "**x**", {}),
        ({"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": ["..."]}, "KeyError: 'x'", {}),
        (
            {"output_type": "display_data", "data": {"image/png": "iVBO", "text/plain": "<Figure size 9x9>"}},
            "",
            {"images": 1},
        ),
        ({"output_type": "display_data", "data": {"text/html": "<p>"}}, "", {"notebook outputs": 1}),
        (
            {"output_type": "display_data", "data": {"application/x": {}, "text/plain": "<W object>"}},
            "",
            {"notebook outputs": 1},
        ),
        ({"output_type": "stream", "text": "x" * 5000}, "x" * 2000, {"notebook outputs cut": 1}),
        ({"output_type": "stream", "text": "has ``` in it"}, "has ``` in it", {}),
        ({"output_type": "stream", "text": 7}, "", {}),
        (7, "", {}),
    ],
)
def test_what_the_cells_of_a_notebook_printed(output, shown, counted):
    text, counts = texts_and_counts("a.ipynb", notebook(("code", "run()", output)))
    fence = "````" if "```" in shown else "```"
    assert text == "```python\nrun()\n```" + (f"\n\n{fence}\n{shown}\n{fence}" if shown else "")
    assert counts == counted


def test_odd_notebooks():
    data = notebook(("raw", "raw text"), ("markdown", "![p](data:image/png;base64,AAAA)"), language_info={"name": "R"})
    assert texts_and_counts("a.ipynb", data) == ("```\nraw text\n```\n\np", {"images": 1})
    odd = b'{"metadata": 5, "cells": [7, {}, {"cell_type": "code", "source": ["x = 1"], "outputs": 3}]}'
    assert texts_and_counts("a.ipynb", odd)[0] == "```python\nx = 1\n```"


PARAGRAPH = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>"


@extra
def test_headers_footers_and_comments_stand_behind_the_text_once():
    more = {
        "word/header1.xml": PARAGRAPH.format("Quince &amp; Sons") + PARAGRAPH.format("File 47"),
        "word/header2.xml": PARAGRAPH.format("Quince &amp; Sons") + PARAGRAPH.format("File 47"),
        "word/footer1.xml": "<w:p><w:r><w:t>Page</w:t><w:tab/><w:t>1</w:t></w:r></w:p>",
        "word/comments.xml": "".join(
            f'<w:comment w:id="{number}">{PARAGRAPH.format(text)}</w:comment>'
            for number, text in enumerate(("Why so?", "Ok"))
        ),
        "word/footnotes.xml": "",
        "word/charts/chart1.xml": "",
        "word/embeddings/a.xlsx": "",
    }
    text, counts = texts_and_counts("a.docx", word([("Heading1", "Tea"), ("", "Hot.")], more=more))
    assert text == "# Tea\n\nHot.\n\nQuince & Sons\nFile 47\n\nPage 1\n\nWhy so?\n\nOk"
    assert counts == {"charts": 1, "attachments": 1}


@extra
def test_text_boxes_are_read_once():
    box = "<w:p><w:r><w:drawing><w:txbxContent>{}</w:txbxContent></w:drawing></w:r></w:p>"
    more = {"body": box.format(PARAGRAPH.format("In a box")) + PARAGRAPH.format("After it.")}
    text, _ = texts_and_counts("a.docx", word([("", "Before.")], more=more))
    assert sorted(text.split("\n\n")) == ["After it.", "Before.", "In a box"]


@extra
def test_the_first_row_of_a_table_of_word_is_its_header():
    cell = "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>"
    rows = "".join(f"<w:tr>{''.join(cell.format(text) for text in row)}</w:tr>" for row in (("A", "B"), ("1", "2")))
    text, _ = texts_and_counts("a.docx", word([], more={"body": f"<w:tbl>{rows}</w:tbl>"}))
    assert text == "| A | B |\n| --- | --- |\n| 1 | 2 |"


def zipped(name) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(name, "text")
    return held.getvalue()


def bomb() -> bytes:
    data = bytearray(word([("", "x")]))
    place = data.rindex(b"PK\x01\x02")  # the last entry of the directory; its size, unpacked
    data[place + 24 : place + 28] = (2 << 30).to_bytes(4, "little")
    return bytes(data)


@extra
@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.pdf", b"", "the file is empty"),
        ("a.pdf", b"%PDF-1.4\nrubbish", "not a PDF that can be read; it is damaged or something else"),
        ("a.pdf", b"hello", "not a PDF that can be read; it is damaged or something else"),
        ("a.pdf", pdf([""]), "no text: its 1 page holds pictures only, or nothing; text recognition (OCR) makes such"),
        ("a.docx", b"PK\x03\x04rubbish", "not a Word document that can be read; it is damaged or something else"),
        ("a.docx", b"\xd0\xcf\x11\xe0" + bytes(600), "encrypted, or in the format of Word 97; save it as .docx"),
        ("a.docx", word([]), "no text"),
        ("a.docx", word([("", "<broken")]), "no text"),
        ("a.docx", zipped("a.txt"), "cannot be converted (OSError: "),
        ("a.docx", bomb(), "unpacks to 2,04"),
        ("a.html", b"<p> </p>", "no text"),
        ("a.html", bytes(range(256)) * 9, "looks binary"),
        ("a.ipynb", b"{", "not a notebook: "),
        ("a.ipynb", b"[1]", "not a notebook of version 4 or newer: it has no list of cells"),
        ("a.ipynb", notebook(), "no text"),
    ],
)
def test_a_bad_file_is_a_failure(name, data, reason):
    found = read_as(name, data)
    assert isinstance(found, Failure)
    assert found.reason.startswith(reason)


@extra
def test_an_encrypted_pdf_is_called_so():
    plain = pdf(["secret"])
    # A user password that nobody knows: the check value of the standard security handler does not fit the empty one.
    encryption = (
        f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{'ab' * 32}> /U <{'cd' * 32}> /P -4 >> /ID [<00> <00>] >>"
    )
    head, _, tail = plain.rpartition(b">>\nstartxref")
    found = read_as("a.pdf", head + encryption.encode() + b"\nstartxref" + tail)
    assert found == Failure("a.pdf", "the PDF is encrypted; save a copy without a password")


@extra
def test_bad_files_among_good_ones(here):
    (here / "a.pdf").write_bytes(b"%PDF-1.4 broken")
    (here / "b.pdf").write_bytes(pdf(["one", "two"]))
    (here / "c.docx").write_bytes(zipfile.ZIP_DEFLATED.to_bytes(4, "big"))
    (here / "d.html").write_text("<p>three</p>")
    (here / "e.txt").write_text("four")
    found = [item.text if isinstance(item, Document) else item.origin for item in read(["."])]
    assert found == [f".{os.sep}a.pdf", "one\n\ntwo", f".{os.sep}c.docx", "three", "four"]


@extra
def test_too_large_a_file_is_not_converted(here, monkeypatch):
    monkeypatch.setattr(readers, "BoundedProcess", InThisProcess)
    monkeypatch.setattr(reading, "MAX_DOCUMENT_BYTES", 1 << 20)
    (here / "a.pdf").write_bytes(pdf(["text"]) + bytes(1 << 20))
    assert list(read(["a.pdf"])) == [Failure("a.pdf", "larger than 1 MB, too large for one document; split it")]


def test_without_the_extra_each_such_file_is_a_failure_with_the_way_out(here, monkeypatch):
    monkeypatch.setattr(readers, "BoundedProcess", InThisProcess)
    monkeypatch.setattr(extras, "find_spec", lambda package: None)
    for suffix in NEEDS:
        (here / f"a{suffix}").write_bytes(b"anything")
    (here / "b.txt").write_text("text")
    *failures, last = read(["."])
    assert last.text == "text"
    assert [failure.reason for failure in failures] == [
        f"Reading {suffix} files needs the 'documents' extra. Install it: pip install 'hybrid-search-qdrant[documents]'"
        for suffix in sorted(NEEDS)
    ]
    assert list(read(["a.pdf"])) == [Failure("a.pdf", failures[-1].reason)]
