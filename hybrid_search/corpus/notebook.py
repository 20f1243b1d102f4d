"""Converts Jupyter notebooks to Markdown: cells in order, code between fences, printed output below it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hybrid_search.corpus.embedded import IMAGES, without_pictures
from hybrid_search.corpus.parts import Part, Unreadable, left_out

MAX_OUTPUT = 2_000
"""Characters of each output: people search a notebook for its numbers, not for all rows of a table."""

OUTPUTS = "notebook outputs"

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TICKS = re.compile(r"`{3,}")
_REPRESENTATION = re.compile(r"<[^<>\n]{1,200}>\s*\Z")


def read_notebook(data: bytes) -> Iterator[Part]:
    """Yield the title a notebook declares, its text, and what was left out of it.

    Raises:
        Unreadable: the data is not a notebook of version 4 or newer.
    """
    try:
        notebook: Any = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not a notebook: {error}") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise Unreadable("not a notebook of version 4 or newer: it has no list of cells")
    metadata = _mapping(notebook.get("metadata"))
    language = _mapping(metadata.get("language_info")).get("name") or _mapping(metadata.get("kernelspec")).get(
        "language"
    )
    counts: Counter[str] = Counter()
    texts = [text for cell in notebook["cells"] for text in _cell(_mapping(cell), str(language or "python"), counts)]
    title = metadata.get("title")
    yield Part("title", title if isinstance(title, str) else "")
    yield Part("text", "\n\n".join(texts))
    yield from left_out(counts)


def _cell(cell: dict[str, Any], language: str, counts: Counter[str]) -> Iterator[str]:
    source = _join(cell.get("source"))
    kind = cell.get("cell_type")
    if kind != "code":
        source, pictures = without_pictures(source)
        counts[IMAGES] += pictures
        if source.strip():
            yield source if kind == "markdown" else _fence(source)
        return
    if source.strip():
        yield _fence(source, language)
    outputs = cell.get("outputs")
    for output in outputs if isinstance(outputs, list) else ():
        text = _output(_mapping(output), counts)
        if len(text) > MAX_OUTPUT:
            text = text[:MAX_OUTPUT]
            counts[f"{OUTPUTS} cut"] += 1
        if text.strip():
            yield _fence(text)


def _output(output: dict[str, Any], counts: Counter[str]) -> str:
    """Return the text of an output; what it shows otherwise is counted."""
    kind = output.get("output_type")
    if kind == "stream":
        return _printed(_join(output.get("text")))
    if kind == "error":
        return _printed(f"{output.get('ename') or ''}: {output.get('evalue') or ''}")
    data = _mapping(output.get("data"))
    counts[IMAGES] += any(name.startswith("image/") for name in data)
    text = _printed(_join(data.get("text/markdown") or data.get("text/plain")))
    only_stands_for_it = len(data) > 1 and "text/markdown" not in data and bool(_REPRESENTATION.match(text))
    if text.strip() and not only_stands_for_it:
        return text
    counts[OUTPUTS] += bool(data) and not any(name.startswith("image/") for name in data)
    return ""


def _printed(text: str) -> str:
    """Return what a terminal would finally show: without colours, and with only the last state of overwritten lines."""
    lines = _ESCAPE.sub("", text.replace("\r\n", "\n")).split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2].rstrip() for line in lines).strip("\n")


def _fence(text: str, language: str = "") -> str:
    fence = max((*_TICKS.findall(text), "``"), key=len) + "`"
    end = "" if text.endswith("\n") else "\n"
    return f"{fence}{language}\n{text}{end}{fence}"


def _join(lines: Any) -> str:
    if isinstance(lines, list):
        return "".join(line for line in lines if isinstance(line, str))
    return lines if isinstance(lines, str) else ""


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
