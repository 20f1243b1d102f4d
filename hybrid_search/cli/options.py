"""Options that more than one verb takes, and the reading of their small languages."""

from __future__ import annotations

from typing import Annotated

import typer

from hybrid_search.errors import InvalidArgument

Collection = Annotated[str, typer.Option("-c", "--collection", metavar="NAME", help="The collection.")]
Profile = Annotated[
    str,
    typer.Option(
        metavar="auto|splade|bundled|FOLDER",
        help="The models of a new collection: a set of them (auto takes what is at hand), or a model folder.",
    ),
]
Sparse = Annotated[str | None, typer.Option(metavar="MODEL", help="A sparse model or model folder; 'none' for no leg.")]
Dense = Annotated[str | None, typer.Option(metavar="MODEL", help="A dense model or model folder; 'none' for no leg.")]

Legs = Annotated[
    str | None,
    typer.Option(
        metavar="A,B", help="Of a new collection: sparse, dense, bm25 (Qdrant's own, no model).  [sparse,dense]"
    ),
]


def numbers(text: str, option: str) -> dict[str, float]:
    """Read `name=number,...`.

    Raises:
        InvalidArgument: anything else.

    >>> numbers("sparse=1,dense=0.5", "--weights")
    {'sparse': 1.0, 'dense': 0.5}
    """
    pairs = {}
    for part in text.split(","):
        name, equals, value = part.rpartition("=")
        try:
            pairs[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise InvalidArgument(f"{option} is {text!r}; write name=number, such as {option} sparse=1,dense=0.5.")
    return pairs


def choice(value: str, allowed: tuple[str, ...], option: str) -> str:
    """The value, if it is one of those allowed.

    Raises:
        InvalidArgument: it is not.
    """
    if value not in allowed:
        raise InvalidArgument(f"{option} is {value!r}; take one of: {', '.join(allowed)}.")
    return value


def names(text: str) -> tuple[str, ...]:
    """Read `a,b,c`.

    >>> names("title, text,")
    ('title', 'text')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())
