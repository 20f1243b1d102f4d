"""Tells which files are source code, and loads the grammars that know where code may be cut."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, NamedTuple


class _Language(NamedTuple):
    """A language: its suffixes, its grammar's package and the function that returns it; empty for no grammar."""

    suffixes: tuple[str, ...]
    package: str = ""
    function: str = "language"


_LANGUAGES = {
    "bash": _Language((".sh", ".bash", ".zsh"), "tree_sitter_bash"),
    "c": _Language((".c", ".h"), "tree_sitter_c"),
    "cpp": _Language((".cpp", ".cc", ".cxx", ".hpp", ".hh", ".hxx"), "tree_sitter_cpp"),
    "csharp": _Language((".cs",), "tree_sitter_c_sharp"),
    "go": _Language((".go",), "tree_sitter_go"),
    "java": _Language((".java",), "tree_sitter_java"),
    "javascript": _Language((".js", ".mjs", ".cjs", ".jsx"), "tree_sitter_javascript"),
    "julia": _Language((".jl",)),
    "kotlin": _Language((".kt", ".kts"), "tree_sitter_kotlin"),
    "lua": _Language((".lua",), "tree_sitter_lua"),
    "perl": _Language((".pl", ".pm")),
    "php": _Language((".php",), "tree_sitter_php", "language_php"),
    "python": _Language((".py", ".pyi"), "tree_sitter_python"),
    "r": _Language((".r",)),
    "ruby": _Language((".rb",), "tree_sitter_ruby"),
    "rust": _Language((".rs",), "tree_sitter_rust"),
    "scala": _Language((".scala",), "tree_sitter_scala"),
    "sql": _Language((".sql",), "tree_sitter_sql"),
    "swift": _Language((".swift",), "tree_sitter_swift"),
    "tsx": _Language((".tsx",), "tree_sitter_typescript", "language_tsx"),
    "typescript": _Language((".ts", ".mts", ".cts"), "tree_sitter_typescript", "language_typescript"),
}
CODE = "code:"
"""The prefix of the markup of source code; the language follows."""

CODE_MARKUP = {suffix: f"{CODE}{name}" for name, language in _LANGUAGES.items() for suffix in language.suffixes}
"""Suffix, in lower case -> the markup of a document that is read from such a file."""


def is_code(markup: str) -> bool:
    """Return whether a markup is source code with an installed grammar; without a grammar, code is plain text."""
    return markup.startswith(CODE) and grammar(markup.removeprefix(CODE)) is not None


@cache
def grammar(language: str) -> Any:
    """Return the tree-sitter grammar of a language; None if it has none or its package (extra `code`) is missing."""
    known = _LANGUAGES.get(language)
    if known is None or not known.package:
        return None
    try:
        return getattr(import_module(known.package), known.function)()
    except (ImportError, AttributeError):
        return None
