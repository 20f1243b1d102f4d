"""Reads PDF page by page through PDFium: printed text, form values and notes."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from hybrid_search.corpus.parts import Part, Unreadable, left_out

MAX_ANNOTATIONS = 10_000
"""Annotations read per page; the rest is counted."""

_PROGRAM_TITLE = re.compile(r"(?:Microsoft (?:Word|PowerPoint|Excel) - )|untitled\Z", re.IGNORECASE)
_UNSEEN = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
_NOT_NOTES = (raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP, raw.FPDF_ANNOT_WIDGET)
_CHOICES = (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON)
_NO_VALUE = (raw.FPDF_FORMFIELD_PUSHBUTTON, raw.FPDF_FORMFIELD_SIGNATURE, raw.FPDF_FORMFIELD_UNKNOWN)


def read_pdf(data: bytes) -> Iterator[Part]:
    """Yield the title of a PDF, the text of each page, and what was left out.

    Below a page's printed text stand its form values, as `name: value`, and the texts of its notes.

    Raises:
        Unreadable: the data is encrypted, damaged, or not a PDF.
    """
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower():
            raise Unreadable("the PDF is encrypted; save a copy without a password") from None
        raise Unreadable("not a PDF that can be read; it is damaged or something else") from None
    with suppress(pdfium.PdfiumError):
        document.init_forms()
    title = document.get_metadata_dict().get("Title", "").strip()
    yield Part("title", _PROGRAM_TITLE.sub("", title))
    counts = Counter({"attachments": max(0, raw.FPDFDoc_GetAttachmentCount(document))})
    for number in range(len(document)):
        text = ""
        with suppress(pdfium.PdfiumError):  # one damaged page does not take the others with it
            page = document[number]
            text = _page(page, document.formenv, counts)
            page.close()
        counts["pages without text"] += not text
        yield Part("text", text)
    if counts["pages without text"] < len(document):
        yield from left_out(counts)


def _page(page: Any, forms: Any, counts: Counter[str]) -> str:
    # PDFium puts U+0002 where it joined the halves of a word.
    printed = page.get_textpage().get_text_bounded().replace("\r\n", "\n").replace("\x02", "")
    return "\n\n".join(filter(None, (_join_lines(printed).strip(), "\n".join(_annotations(page, forms, counts)))))


def _annotations(page: Any, forms: Any, counts: Counter[str]) -> Iterator[str]:
    """Yield the form values of a page and the texts of its notes."""
    number = raw.FPDFPage_GetAnnotCount(page)
    counts["annotations"] += max(0, number - MAX_ANNOTATIONS)
    for place in range(min(number, MAX_ANNOTATIONS)):
        annotation = raw.FPDFPage_GetAnnot(page, place)
        if not annotation:
            continue
        try:
            line = "" if raw.FPDFAnnot_GetFlags(annotation) & _UNSEEN else _said(annotation, forms)
        finally:
            raw.FPDFPage_CloseAnnot(annotation)
        if line:
            yield line


def _said(annotation: Any, forms: Any) -> str:
    kind = raw.FPDFAnnot_GetSubtype(annotation)
    if kind == raw.FPDF_ANNOT_WIDGET:
        return _field(annotation, forms) if forms is not None else ""
    if kind in _NOT_NOTES:
        return ""
    return _wide(lambda *to: raw.FPDFAnnot_GetStringValue(annotation, b"Contents", *to))


def _field(annotation: Any, forms: Any) -> str:
    """Return the name and value of a form field that is filled in; empty otherwise."""
    kind = raw.FPDFAnnot_GetFormFieldType(forms, annotation)
    if kind in _NO_VALUE or (kind in _CHOICES and not raw.FPDFAnnot_IsChecked(forms, annotation)):
        return ""
    value = _wide(lambda *to: raw.FPDFAnnot_GetFormFieldValue(forms, annotation, *to))
    if kind == raw.FPDF_FORMFIELD_LISTBOX:
        value = ", ".join(_selected(annotation, forms)) or value
    if not value:
        return ""
    name = _wide(lambda *to: raw.FPDFAnnot_GetFormFieldAlternateName(forms, annotation, *to))
    name = name or _wide(lambda *to: raw.FPDFAnnot_GetFormFieldName(forms, annotation, *to))
    return f"{name}: {value}" if name else value


def _selected(annotation: Any, forms: Any) -> Iterator[str]:
    for place in range(min(raw.FPDFAnnot_GetOptionCount(forms, annotation), MAX_ANNOTATIONS)):
        if raw.FPDFAnnot_IsOptionSelected(forms, annotation, place):
            yield _wide(lambda *to, place=place: raw.FPDFAnnot_GetOptionLabel(forms, annotation, place, *to))


def _wide(fill: Callable[..., int]) -> str:
    """Return a UTF-16 text from PDFium: ask for its size, then have the buffer filled."""
    size = fill(None, 0)
    if size <= 2:  # the ending NUL alone
        return ""
    room = ctypes.create_string_buffer(size)
    fill(ctypes.cast(room, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    text = room.raw[: size - 2].decode("utf-16-le", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").strip()


def _join_lines(text: str) -> str:
    """Join the lines of a sentence, so that chunks are cut between sentences instead."""
    lines: list[str] = []
    for line in text.split("\n"):
        goes_on = bool(lines) and line[:1].islower() and lines[-1].strip() != "" and lines[-1][-1:] not in ".!?:;"
        if goes_on:
            lines[-1] += " " + line
        else:
            lines.append(line)
    return "\n".join(lines)
