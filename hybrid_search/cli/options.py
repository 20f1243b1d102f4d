"""Options that more than one command takes, and the reading of their small languages."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from hybrid_search import manifest
from hybrid_search._util.arguments import COMMA
from hybrid_search._util.arguments import numbers as numbers
from hybrid_search.cli import completion
from hybrid_search.cli.values import typed
from hybrid_search.errors import InvalidArgument


def query_or_vector(context: typer.Context, value: list[str] | None) -> list[str]:
    """Return the words of a query; refuse none, unless the weights of terms are given instead."""
    given = any(context.params.get(name) is not None for name in ("vector", "vectors"))
    if not (value or given or context.resilient_parsing):
        context.fail("Missing argument 'QUERY'. Say what to look for, in any words, or give --vector.")
    return value or []


Query = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="QUERY",
        help="What to look for, in any words; several are one query, quoted or not. May be left out with --vector.",
        callback=query_or_vector,
    ),
]


def collection_option(help: str) -> Any:
    """Return the option `-c`, which names a collection, with the help that a command gives it."""
    return typer.Option("-c", "--collection", metavar="NAME", help=help, autocompletion=completion.collections)


Collection = Annotated[str, collection_option("The collection.")]
CollectionName = Annotated[
    str, typer.Argument(metavar="NAME", help="The collection.", autocompletion=completion.collections)
]
Replace = Annotated[bool, typer.Option("--replace", help="Build the collection anew beside the old one, then swap.")]
Wait = Annotated[float, typer.Option(metavar="SECONDS", help="Seconds to wait for another job on this collection.")]
Progress = Annotated[
    str,
    typer.Option(metavar="auto|bar|json|none", help="Show the work as a bar, as JSON lines on stderr, or not at all."),
]
Format = Annotated[str, typer.Option(metavar="table|json", help="Print a table for people or JSON for programs.")]
Profile = Annotated[
    str,
    typer.Option(
        metavar="auto|splade|bundled|FOLDER",
        help="The models of a new collection: a set of them (auto takes what is at hand), or a model folder.",
        autocompletion=completion.profiles,
    ),
]
Sparse = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="A sparse model or model folder; 'none' for no leg.",
        autocompletion=completion.sparse_models,
    ),
]
Dense = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="A dense model or model folder; 'none' for no leg.",
        autocompletion=completion.dense_models,
    ),
]

Legs = Annotated[
    str | None,
    typer.Option(
        metavar="A,B",
        help="The legs of a new collection: sparse, dense, bm25 (Qdrant's own, no model).  [sparse,dense]",
    ),
]

Layout = Annotated[
    str | None,
    typer.Option(
        metavar="langchain|llamaindex|haystack|mcp",
        help="Make a new collection on a server readable for this framework's Qdrant integration, too.",
    ),
]

Precision = Annotated[
    str | None,
    typer.Option(
        metavar="fp32|int8|bf16|fp16",
        help="The number format that models compute in: fp32 is exact, int8 faster, bf16 faster on processors that "
        "have it, fp16 faster on GPUs.  [fp32, or as it was built]",
    ),
]
MaxActiveDims = Annotated[
    str,
    typer.Option(
        metavar="SIDE=N,...",
        help="Keep only the heaviest N weights of each sparse vector, such as queries=60,documents=250.",
    ),
]
MinWeight = Annotated[
    str, typer.Option(metavar="SIDE=W,...", help="Drop weights of sparse vectors below W, such as documents=0.1.")
]
PRECISIONS = ("fp32", "int8", "bf16", "fp16")
Device = Annotated[
    str | None,
    typer.Option(
        metavar="auto|cpu|cuda", help="The device that models run on; auto takes a GPU where there is one.  [auto]"
    ),
]
DEVICES = ("auto", "cpu", "cuda")


def device_of(value: str | None) -> str | None:
    """Validate and return a device; None stays None.

    Raises:
        InvalidArgument: it is invalid.
    """
    return None if value is None else choice(value, DEVICES, "--device")


def precision_of(value: str | None) -> manifest.Precision | None:
    """Validate and return a precision; None stays None.

    Raises:
        InvalidArgument: it is invalid.
    """
    return None if value is None else cast("manifest.Precision", choice(value, PRECISIONS, "--precision"))


def sparsity_of(max_active_dims: str, min_weight: str) -> manifest.Sparsity | None:
    """Return the limits of sparse vectors by side; None where both texts are empty.

    Raises:
        InvalidArgument: one of them is invalid.
    """
    example = "queries=60,documents=250"
    dims = numbers(max_active_dims, "--max-active-dims", example) if max_active_dims else {}
    weights = numbers(min_weight, "--min-weight", "queries=0.1,documents=0.1") if min_weight else {}
    return manifest.Sparsity.of(dims, weights)


def choice(value: str, allowed: tuple[str, ...], option: str) -> str:
    """Return the value, if it is one of those allowed.

    Raises:
        InvalidArgument: it is not.
    """
    if value not in allowed:
        raise InvalidArgument(f"{option} is {value!r}; take one of: {', '.join(allowed)}.")
    return value


def names(text: str) -> tuple[str, ...]:
    """Read `a,b,c`; a comma in brackets divides nothing.

    >>> names("title, text,")
    ('title', 'text')
    >>> names("P(rel=2,judged_only=True)@5,AP")
    ('P(rel=2,judged_only=True)@5', 'AP')
    """
    return tuple(part.strip() for part in COMMA.split(text) if part.strip())


def query_of(words: list[str]) -> str:
    """Join the words of a query, which the shell has taken apart.

    >>> query_of(["what", "did we", "decide"])
    'what did we decide'
    """
    return " ".join(map(typed, words))
