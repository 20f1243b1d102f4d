"""The handbook: one Markdown page a topic. `hybrid-search guide TOPIC` shows them, and README links to them.

A page begins with a heading of the first level and a paragraph, whose first sentence says what the page is for. A page
may have YAML front matter before that. This module imports nothing of the package and reads nothing but the pages.
"""

from __future__ import annotations

import re
from importlib.resources import files

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_COMMENT = re.compile(r"[ ]?<!--.*?-->", re.DOTALL)
_SENTENCE = re.compile(r"(.*?[.!?])(?=\s|$)", re.DOTALL)
_TO_PAGE = re.compile(r"\[([^]]+)\]\((?:\./)?([a-z-]+)\.md(?:#[^)]*)?\)")


def topics() -> tuple[str, ...]:
    """Return the names of all pages, sorted."""
    names = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".md") for name in names if name.endswith(".md")))


def page(topic: str) -> str:
    """Return a page as Markdown, without its comments; front matter stays.

    Raises:
        KeyError: no page has this name.
    """
    if topic not in topics():
        raise KeyError(topic)
    return _COMMENT.sub("", (files(__name__) / f"{topic}.md").read_text(encoding="utf-8"))


def without_front_matter(text: str) -> str:
    """Return a page from its heading on.

    >>> without_front_matter("---\\nname: a\\n---\\n# A\\n")
    '# A\\n'
    """
    return _FRONT_MATTER.sub("", text).lstrip()


def first_sentence(text: str) -> str:
    """Return what a page is for: the first sentence below its heading, on one line.

    >>> first_sentence("# Filters\\n\\nNarrow a search\\nby metadata. More text.\\n")
    'Narrow a search by metadata.'
    """
    paragraph = without_front_matter(text).partition("\n\n")[2].partition("\n\n")[0]
    found = _SENTENCE.match(paragraph)
    return " ".join((found[1] if found else paragraph).split())


def with_commands_for_links(text: str) -> str:
    """Return a page whose links to other pages name the command that shows them: a terminal cannot follow the links.

    >>> with_commands_for_links("See [filters](filters.md#dates).")
    'See filters (`hybrid-search guide filters`).'
    """
    return _TO_PAGE.sub(r"\1 (`hybrid-search guide \2`)", text)
