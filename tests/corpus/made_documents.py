"""The smallest files of word processors, PDF, HTML and notebooks that hold something, made by hand."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def pdf(pages: Sequence[str], title: str = "") -> bytes:
    """A PDF with a page for each text, a line for each of its lines; an empty text is an empty page."""
    count = len(pages)
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(count))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
    ]
    for n, text in enumerate(pages):
        lines = "".join(f"({line}) Tj 0 -20 Td " for line in text.split("\n"))
        stream = f"BT /F1 12 Tf 72 700 Td {lines}ET" if text else ""
        font = f"/Resources << /Font << /F1 {3 + 2 * count} 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {4 + 2 * n} 0 R {font} >>")
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects += ["<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>", f"<< /Title ({title}) >>"]
    return pdf_of(objects)


def form(fields: Sequence[str], notes: Sequence[str] = (), text: str = "Printed") -> bytes:
    """A PDF of one page with a form: `fields` and `notes` are what their dictionaries hold beside the usual entries."""
    page = 3
    widgets = [f"<< /Type /Annot /Subtype /Widget /Rect [9 9 99 99] /P {page} 0 R {field} >>" for field in fields]
    others = [f"<< /Type /Annot /Rect [9 9 99 99] {note} >>" for note in notes]
    first = 6
    kids = [f"{first + n} 0 R" for n in range(len(widgets) + len(others))]
    stream = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET" if text else ""
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [{' '.join(kids[: len(widgets)])}] >> >>",
        f"<< /Type /Pages /Kids [{page} 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Annots [{' '.join(kids)}] "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        *widgets,
        *others,
        "<< /Title (A form) >>",
    ]
    return pdf_of(objects)


def pdf_of(objects: Sequence[str]) -> bytes:
    """A PDF file of its objects: the catalogue first, the document's information last."""
    data, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R /Info {size - 1} 0 R >>\n"
    return data + f"{end}startxref\n{len(data)}\n%%EOF\n".encode()


def word(paragraphs: Sequence[tuple[str, str]], title: str = "", more: Mapping[str, str] | None = None) -> bytes:
    """A Word document of (style, text), the style being `Heading1`, `Heading2` or empty.

    `more` are other parts by name: the inside of their root elements, or of the body where the name is `body`.
    """
    more = dict(more or {})
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>'
        for style, text in paragraphs
    )
    body += more.pop("body", "")
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="Heading{level}"><w:name w:val="heading {level}"/></w:style>'
        for level in (1, 2)
    )
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{kind}.document.main+xml"/>'
        f'<Override PartName="/word/styles.xml" ContentType="{kind}.styles+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/_rels/document.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>',
        "word/styles.xml": f'<w:styles xmlns:w="{_WORD}">{styles}</w:styles>',
    }
    for name, inside in more.items():
        parts[name] = f'<w:root xmlns:w="{_WORD}">{inside}</w:root>'
    if title:
        dc = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
        parts["docProps/core.xml"] = (
            f"<cp:coreProperties xmlns:cp='x' {dc}><dc:title>{title}</dc:title></cp:coreProperties>"
        )
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return held.getvalue()


def notebook(*cells: tuple[Any, ...], **metadata: Any) -> bytes:
    """A notebook of (`markdown` or `code`, text, outputs...)."""
    made = [
        {"cell_type": kind, "metadata": {}, "source": text.splitlines(keepends=True), "outputs": outputs}
        for kind, text, *outputs in cells
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": made}).encode()
