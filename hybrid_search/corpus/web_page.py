"""Converts HTML to Markdown through its parsed tree (Beautiful Soup, markdownify): what a reader of the page sees.

What a browser sets apart stands apart here. Hidden elements, scripts, styles and comments are left out. So is what
belongs to the site and not to the page: navigation, and the marks beside headings that link to themselves, unless
hardly anything else would remain. `aria-hidden` hides nothing from the eye and is kept; so are headers and footers,
where titles, authors and addresses stand.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bs4 import BeautifulSoup
from bs4.builder import ParserRejectedMarkup
from bs4.element import NavigableString, PreformattedString, Tag

from hybrid_search._util import quiet_warnings
from hybrid_search.corpus.web_markdown import APART, Writer, display_of, name_set

MAX_DEPTH = 150
"""Levels of nested elements; deeper ones lose their tags and keep their text. Browsers stop at 512."""

HIDDEN, NAVIGATION, PERMALINKS = "hidden elements", "navigation", "permalinks"
FEW_WORDS = 10
FEW = 0.1
"""If fewer than `FEW_WORDS` words, and less than this share of the page, are not navigation, the navigation is kept."""

_CODE = name_set("script style title")
_UNSEEN = name_set("template noscript")
_BREADCRUMBS = name_set("breadcrumb breadcrumbs")
_SKIP = re.compile(r"(?:skip|jump) to\b|(?:skip|jump) (?:the )?navigation\b", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\r\n\f]{2,}")
_AS_WRITTEN = ("pre", "textarea", "listing", "xmp", "plaintext")
_LOOK_BACK = 64

_CELLS = name_set("td th")
_GROUPS = name_set("thead tbody tfoot")
_ENDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "li": (name_set("li"), name_set("ul ol menu")),
    **dict.fromkeys(("dt", "dd"), (name_set("dt dd"), name_set("dl"))),
    "option": (name_set("option"), name_set("select datalist optgroup")),
    "optgroup": (name_set("option optgroup"), name_set("select")),
    **dict.fromkeys(_CELLS, (_CELLS, name_set("table tr"))),
    "tr": (_CELLS | {"tr"}, name_set("table")),
    **dict.fromkeys(_GROUPS, (_CELLS | _GROUPS | {"tr", "colgroup", "caption"}, name_set("table"))),
}
"""Element -> the open elements that it ends implicitly, and those that it does not look beyond."""

_PARAGRAPH = (name_set("p"), name_set("button caption object table td th"))
_ENDS_PARAGRAPHS = name_set(
    "address article aside blockquote center details dialog dir div dl fieldset figcaption figure footer form h1 h2 h3 "
    "h4 h5 h6 header hgroup hr main menu nav ol p pre search section summary table ul"
)


class Page(NamedTuple):
    """A page: its title, its text as Markdown, and how much was left out, by kind."""

    title: str
    markdown: str
    passed_over: Mapping[str, int]


def read_page(html: str, *, first_row_is_header: bool = False) -> Page:
    """Return the title and the text of a page, and what was left out of it.

    Args:
        html: the page.
        first_row_is_header: for tables that mark no header; on web pages such tables are as often mere layout.
    """
    soup = _parse(html)
    named = next((each for each in soup.find_all("title") if each.find_parent("svg") is None), None)
    title = " ".join(named.get_text().split()) if named is not None else ""
    kinds = _kinds(soup)
    words = _words(soup, kinds)
    rest = words[""]
    if rest < FEW_WORDS and rest < FEW * (rest + words[NAVIGATION]):
        kinds = {key: kind for key, kind in kinds.items() if kind != NAVIGATION}
    writer = Writer(kinds.keys(), first_row_is_header=first_row_is_header)
    markdown = writer.convert_soup(soup).replace("\u00ad", "").strip()
    return Page(title, markdown, _counts(soup, kinds) | writer.passed_over())


class _Tree(BeautifulSoup):  # type: ignore[misc]
    """The tree of a page, with the end tags that HTML lets authors omit, and no deeper than `MAX_DEPTH`."""

    def __init__(self, html: str) -> None:
        self._cut: Counter[str] = Counter()
        super().__init__(html, "html.parser", multi_valued_attributes=None)

    def handle_starttag(self, name: str, namespace: Any, nsprefix: Any, attrs: Any, *more: Any, **named: Any) -> Any:
        self._end_implied(name)
        if len(self.tagStack) > MAX_DEPTH and self._may_go(name, attrs):
            self._cut[name] += 1
            self._set_apart(name)
            return None
        return super().handle_starttag(name, namespace, nsprefix, attrs, *more, **named)

    def handle_endtag(self, name: str, nsprefix: Any = None) -> None:
        if self._cut[name]:
            self._cut[name] -= 1
            self._set_apart(name)
        else:
            super().handle_endtag(name, nsprefix)

    def handle_data(self, data: str) -> None:
        """Shorten white space where a browser does so too: markdownify takes quadratic time for a long one."""
        if not any(self.open_tag_counter.get(name) for name in _AS_WRITTEN):
            data = _BLANKS.sub(lambda match: "\n" if "\n" in match[0] else " ", data)
        super().handle_data(data)

    def _may_go(self, name: str, attrs: Any) -> bool:
        holds_nothing = self.builder.can_be_empty_element(name)
        return not holds_nothing and name not in ("script", "style") and not _is_hidden(name, dict(attrs))

    def _set_apart(self, name: str) -> None:
        if name in APART:
            self.handle_data("\n")

    def _end_implied(self, name: str) -> None:
        rules = [_ENDS[name]] if name in _ENDS else []
        if name in _ENDS_PARAGRAPHS and self.open_tag_counter.get("p"):
            rules.append(_PARAGRAPH)
        for ended, borders in rules:
            outermost = ""
            for tag in reversed(self.tagStack[-_LOOK_BACK:]):
                if tag.name in borders:
                    break
                outermost = tag.name if tag.name in ended else outermost
            if outermost:
                super().handle_endtag(outermost)


def _parse(html: str) -> BeautifulSoup:
    html = _without_open_ends(html)
    with quiet_warnings():  # that it looks like a file's name, or like XML
        try:
            return _Tree(html)
        except ParserRejectedMarkup:  # the parser of the standard library knows few declarations
            return _Tree(html.replace("<![", "<! ["))


def _without_open_ends(html: str) -> str:
    """Escape what begins a tag or comment that never ends; the parser would search for each end anew."""
    for end, begin, instead in ((">", "<", "&lt;"), ("-->", "<!--", "&lt;!--"), ("]>", "<![", "<! [")):
        at = html.rfind(end) + 1
        html = html[:at] + html[at:].replace(begin, instead)
    return html


def _kinds(soup: BeautifulSoup) -> dict[int, str]:
    """Return, by `id()`, the elements that are left out and their kind; the elements inside are of the same kind."""
    found: dict[int, str] = {}
    for tag in soup.find_all(True):
        kind = found.get(id(tag.parent)) or _kind(tag)
        if kind:
            found[id(tag)] = kind
    return found


def _kind(tag: Tag) -> str:
    name, attrs = str(tag.name), tag.attrs
    if name in _CODE:
        return name
    if _is_hidden(name, attrs):
        return HIDDEN
    roles = str(attrs.get("role") or "").lower().split()
    classes = str(attrs.get("class") or "").lower().split()
    if name == "nav" or "navigation" in roles or _BREADCRUMBS.intersection(classes):
        return NAVIGATION
    if "breadcrumb" in str(attrs.get("aria-label") or "").lower():
        return NAVIGATION
    return _link_kind(tag) if name == "a" else ""


def _link_kind(tag: Tag) -> str:
    """Return the kind of a link that skips the navigation or points at its own heading; empty for others."""
    if "#" not in str(tag.attrs.get("href") or ""):
        return ""
    text = tag.get_text().strip()
    if _SKIP.match(text):
        return NAVIGATION
    is_mark = len(text) == 1 and not text.isalnum()
    return PERMALINKS if is_mark else ""


def _is_hidden(name: str, attrs: Mapping[str, Any]) -> bool:
    if name in _UNSEEN or ("hidden" in attrs and str(attrs["hidden"]).lower() != "until-found"):
        return True
    style = attrs.get("style")
    return bool(style) and display_of(str(style)) == "none"


def _words(soup: BeautifulSoup, kinds: Mapping[int, str]) -> Counter[str]:
    """Count the words of the page by kind; the empty string is the kind of what stays."""
    found: Counter[str] = Counter()
    for text in soup.find_all(string=True):
        if not isinstance(text, PreformattedString):
            found[kinds.get(id(text.parent), "")] += len(text.split())
    return found


def _counts(soup: BeautifulSoup, kinds: Mapping[int, str]) -> dict[str, int]:
    """Count the elements left out, by kind; one inside another counts once, code never."""
    outermost = (kinds[id(tag)] for tag in _tags(soup) if id(tag) in kinds and id(tag.parent) not in kinds)
    return dict(Counter(kind for kind in outermost if kind not in _CODE))


def _tags(soup: BeautifulSoup) -> Iterator[Tag]:
    return (each for each in soup.descendants if isinstance(each, Tag) and not isinstance(each, NavigableString))
