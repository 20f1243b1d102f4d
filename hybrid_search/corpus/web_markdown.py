"""Writes the elements of a page as Markdown: markdownify's rules, and others where its time or spacing is not right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import Any

from bs4.element import CData, PreformattedString
from markdownify import ATX, MarkdownConverter

from hybrid_search.corpus.embedded import IMAGES


def name_set(listed: str) -> frozenset[str]:
    """Split a list of names into a set."""
    return frozenset(listed.split())


_BLOCKS = name_set(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure "
    "footer form frameset h1 h2 h3 h4 h5 h6 header hgroup hr html legend li listing main menu nav ol optgroup option p "
    "plaintext pre search section summary table tbody td tfoot th thead tr ul xmp"
)
_SPACED = name_set(
    "area audio br button canvas embed iframe img input marquee meter object output progress rp rt select svg textarea "
    "video"
)
APART = _BLOCKS | _SPACED
"""Elements that a browser sets apart from the text around them, by lines or by space (HTML standard, section 15.3)."""

_PARTS = name_set("thead tbody tfoot")
"""The elements inside these have the rules."""

_APART_BY_STYLE = name_set("block flex flow-root grid inline-block inline-flex inline-grid list-item table")
_DISPLAY = re.compile(r"(?:^|;)\s*(?:display|(visibility))\s*:\s*([a-z-]+)", re.IGNORECASE)
_TICKS = re.compile(r"`{3,}")
_LINKED = re.compile(r"(?:https?|file|ftp):|[^:?#/]*(?:[/?]|\Z)", re.IGNORECASE)
_ENDING = re.compile(r"[\s()<>]")
_NO_VALUE = frozenset(("hidden", "password", "file", "color", "range"))
_MAX_SPAN = 100
_MAX_INDENTED = 8


def display_of(style: str) -> str:
    """Return how an element's own style displays it; empty if the style does not say, `none` if it is hidden."""
    display = ""
    for visibility, value in _DISPLAY.findall(style):
        if not visibility:
            display = value.lower()
        elif value.lower() in ("hidden", "collapse"):
            return "none"
    return display


class Writer(MarkdownConverter):  # type: ignore[misc]
    """Writes a tree as Markdown, without some of its elements.

    Args:
        left_out: the `id()` of the elements to leave out.
        first_row_is_header: for tables that mark no header.
    """

    def __init__(self, left_out: Collection[int], *, first_row_is_header: bool = False) -> None:
        super().__init__(heading_style=ATX, escape_asterisks=False, escape_underscores=False)
        self._left_out, self._first_row_is_header = left_out, first_row_is_header
        self._items: Counter[int] = Counter()
        self._tables: set[int] = set()
        self._images = self._nested = 0

    def passed_over(self) -> dict[str, int]:
        """Return what else was left out: kind -> number of pictures embedded in the page."""
        return {IMAGES: self._images} if self._images else {}

    def process_element(self, node: Any, parent_tags: Any = None) -> str:
        if id(node) in self._left_out:  # markdownify takes the white space beside a block away
            return "\n" if node.name in _BLOCKS else ""
        if isinstance(node, PreformattedString) and not isinstance(node, CData):
            return ""
        return str(super().process_element(node, parent_tags=parent_tags))

    def process_tag(self, node: Any, parent_tags: Any = None) -> str:
        is_item = node.name == "li"
        self._nested += is_item
        text = str(super().process_tag(node, parent_tags=parent_tags))
        self._nested -= is_item
        style = node.attrs.get("style")
        if style and node.name not in APART and display_of(style) in _APART_BY_STYLE:
            return str(self.convert_div(node, text, parent_tags or ()))
        return text

    def get_conv_fn(self, tag_name: str) -> Any:
        """Return the rule for an element: markdownify's or ours, else the one for what a browser sets apart."""
        found: Any = super().get_conv_fn(tag_name)
        if found is None and tag_name in APART and tag_name not in _PARTS:
            return self.convert_div if tag_name in _BLOCKS else self._spaced
        return found

    def _spaced(self, el: Any, text: str, parent_tags: Any) -> str:
        return f" {text.strip()} " if text.strip() else " "

    convert_video = _spaced

    def convert_br(self, el: Any, text: str, parent_tags: Any) -> str:
        return " " if "_inline" in parent_tags else "\n"

    def convert_a(self, el: Any, text: str, parent_tags: Any) -> str:
        """Write a link with its target if that is a page or a file."""
        inner = text.strip()
        href = str(el.attrs.get("href") or "").strip()
        if not inner or not href or "_noformat" in parent_tags or href[0] == "#" or not _LINKED.match(href):
            return text
        before, after = (" " if text[:1].isspace() else ""), (" " if text[-1:].isspace() else "")
        return f"{before}[{inner}]({_address(href)}){after}"

    def convert_img(self, el: Any, text: str, parent_tags: Any) -> str:
        """Write an image as its text, with its address if it has one of its own."""
        alt = " ".join(str(el.attrs.get("alt") or "").split())
        source = str(el.attrs.get("src") or "").strip()
        if source[:5].lower() == "data:":
            self._images += 1
            source = str(el.attrs.get("data-src") or "").strip()
        if not source or "_inline" in parent_tags:
            return f" {alt} "
        return f" ![{alt}]({_address(source)}) "

    def convert_input(self, el: Any, text: str, parent_tags: Any) -> str:
        """Write what a form field shows: its value, else its placeholder."""
        kind = str(el.attrs.get("type") or "text").lower()
        if kind in ("checkbox", "radio"):
            return " [x] " if "checked" in el.attrs else " [ ] "
        names = ("alt",) if kind == "image" else () if kind in _NO_VALUE else ("value", "placeholder")
        shown = next((str(el.attrs[name]) for name in names if el.attrs.get(name)), "")
        return f" {' '.join(shown.split())} "

    def convert_optgroup(self, el: Any, text: str, parent_tags: Any) -> str:
        return str(self.convert_div(el, f"{el.attrs.get('label') or ''}\n{text}", parent_tags))

    def convert_option(self, el: Any, text: str, parent_tags: Any) -> str:
        return str(self.convert_div(el, text.strip() or str(el.attrs.get("label") or ""), parent_tags))

    def convert_pre(self, el: Any, text: str, parent_tags: Any) -> str:
        """Write preformatted text between fences that are longer than any inside it."""
        if not text.strip() or "_inline" in parent_tags:
            return f" {text} "
        fence = max((*_TICKS.findall(text), "``"), key=len) + "`"
        return f"\n\n{fence}\n{text.strip(chr(10)).rstrip()}\n{fence}\n\n"

    convert_listing = convert_plaintext = convert_xmp = convert_pre

    def convert_li(self, el: Any, text: str, parent_tags: Any) -> str:
        """Write a list item, its other lines indented below its first. (markdownify counts all items before each.)"""
        parent = el.parent
        self._items[id(parent)] += 1
        bullet = "- "
        if parent is not None and parent.name == "ol":
            start = str(parent.attrs.get("start") or "")
            first = int(start) if start.isdecimal() and len(start) < 9 else 1
            bullet = f"{first + self._items[id(parent)] - 1}. "
        lines = text.strip().split("\n")
        indent = " " * len(bullet) if self._nested <= _MAX_INDENTED else ""
        rest = [indent + line if line.strip() else "" for line in lines[1:]]
        return "\n" + "\n".join([bullet + lines[0], *rest]) + "\n" if text.strip() else "\n"

    def convert_list(self, el: Any, text: str, parent_tags: Any) -> str:
        apart = "\n" if "li" in parent_tags else "\n\n"
        return apart + text.strip("\n") + apart

    convert_ul = convert_ol = convert_list

    def convert_dd(self, el: Any, text: str, parent_tags: Any) -> str:
        return f"\n{super().convert_dd(el, text, parent_tags)}"

    def convert_tr(self, el: Any, text: str, parent_tags: Any) -> str:
        """Write a table row; the first one with the rule that makes it a table, below an empty header if needed."""
        table = el.find_parent("table")
        row = "|" + text + "\n"
        if id(table) in self._tables:
            return row
        self._tables.add(id(table))
        cells = [cell for cell in el.children if getattr(cell, "name", "") in ("td", "th")]
        count = max(1, sum(_span(cell) for cell in cells))
        line = "|" + " --- |" * count + "\n"
        is_header = bool(cells) and (el.parent.name == "thead" or all(cell.name == "th" for cell in cells))
        is_header = is_header or self._first_row_is_header
        return row + line if is_header else "|" + "  |" * count + "\n" + line + row

    def convert_td(self, el: Any, text: str, parent_tags: Any) -> str:
        return " " + " ".join(text.split()).replace("|", "\\|") + " |" * _span(el)

    convert_th = convert_td


def _span(cell: Any) -> int:
    """Return how many columns a cell spans."""
    written = str(cell.attrs.get("colspan") or "")
    return max(1, min(_MAX_SPAN, int(written))) if written.isdecimal() and len(written) < 9 else 1


def _address(written: str) -> str:
    """Percent-encode the characters of an address that would end it in Markdown."""
    return _ENDING.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8")), written)
