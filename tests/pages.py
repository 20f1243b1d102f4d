"""README, CONTRIBUTING and the pages of the guide, as tests read them: blocks, commands and numbers."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import typer

from hybrid_search.cli.app import app
from hybrid_search.cli.values import valued
from tests.conftest import ROOT

GUIDE = ROOT / "hybrid_search" / "guide"
OUTSIDE = [file for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if file.is_file()]
"""Pages that are not in the package; a test against an installed package has none of them."""

PAGES = [*OUTSIDE, *sorted(GUIDE.glob("*.md"))]

FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}[^\n]*\n)+", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: where it begins, its language, what stands behind the language, and its lines."""

    page: str
    line: int
    language: str
    words: tuple[str, ...]
    code: str
    info: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def needs(self) -> str:
        return self.info.get("needs", "")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, of one language or of all."""
    found = []
    text = text_of(page)
    for match in FENCE.finditer(text):
        first, *words = match["info"].split() or [""]
        info = dict(word.split("=", 1) for word in words if "=" in word)
        line = text.count("\n", 0, match.start()) + 1
        plain = tuple(word for word in words if "=" not in word)
        found.append(Block(page.stem, line, first, plain, match["code"], info))
    return [block for block in found if language in (None, block.language)]


def all_blocks(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, language)]


def block(page: str, language: str, word: str = "") -> Block:
    """The one block of a page in a language, with a word behind it where it has several."""
    [found] = [one for one in all_blocks(language) if one.page == page and (not word or word in one.words)]
    return found


def prose(page: Path) -> str:
    """A page without its fenced and indented blocks and its front matter."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text_of(page), flags=re.DOTALL)
    return INDENTED.sub("\n", FENCE.sub("\n", text))


@cache
def program() -> typer.core.TyperGroup:
    """The click command of the whole program."""
    return typer.main.get_command(app)


@cache
def commands_by_words() -> dict[str, typer.core.TyperCommand]:
    """Every verb as the words that call it, with its click command."""

    def walk(command, words):
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*words, name))
        if not getattr(command, "commands", None):
            yield " ".join(words), command

    return dict(walk(program(), ()))


def calls(line: str) -> list[list[str]]:
    """The calls of `hybrid-search` on a line of shell, each as the words behind the program's name."""
    found = []
    for part in re.split(r"\s\|\s|&&|;", line):
        words = shlex.split(part, comments=True)
        if "hybrid-search" in words:
            behind = words[words.index("hybrid-search") + 1 :]
            found.append(behind[: behind.index(">")] if ">" in behind else behind)
    return found


def shell_lines(block: Block) -> list[str]:
    return [line for line in block.code.splitlines() if line.strip() and not line.startswith("#")]


def named_calls(page: Path) -> list[list[str]]:
    """Every call that a page shows, in a block or in a line; of `index ... --watch` too, which leaves the name out."""
    found = [call for block in blocks(page, "sh") for line in shell_lines(block) for call in calls(line)]
    verbs = {words.split()[0] for words in commands_by_words()}
    for code in INLINE.findall(prose(page)):
        if code.startswith("hybrid-search ") or (code.split()[0] in verbs and " -" in code):
            found += calls(code if code.startswith("hybrid-search ") else f"hybrid-search {code}")
    return found


def wrong_with(call: list[str]) -> str:
    """What is wrong with a call: no such verb, or no such option; empty where nothing is."""
    group = program()
    context = typer.Context(group, info_name="hybrid-search")
    words = list(call)
    while words and getattr(group, "commands", None):
        if words[0] in ("--store", "--config"):
            words = words[2:]
        elif words[0].startswith("-"):
            known = {name for parameter in group.get_params(context) for name in parameter.opts}
            return "" if words[0] in known | {"-h"} else f"no such option {words[0]}"
        elif words[0] not in group.commands:
            return f"no such verb {words[0]!r}"
        else:
            two = " ".join(words[:2])  # `evaluate init` is a verb beside `evaluate`
            name = two if len(words) > 1 and two in group.commands else words[0]
            words = words[len(name.split()) :]
            group = group.commands[name]
            context = typer.Context(group, parent=context, info_name=group.name)
    for option in getattr(group, "OPTIONAL", ()):
        words = valued(words, option)
    if getattr(group, "commands", None) or words == ["-h"]:
        return ""
    try:
        group.make_parser(context).parse_args(words)
    except Exception as error:
        return str(getattr(error, "message", error))
    return ""
