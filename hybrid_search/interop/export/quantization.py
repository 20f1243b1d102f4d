"""Weights as whole numbers, for engines that count: how they are scaled, and what is lost."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from hybrid_search.errors import InvalidArgument

Idf = Literal["queries", "documents"]
"""Which side carries the inverse document frequency, of a leg that needs it."""

EIGHT_BITS, NONE = "8bit", "none"
LARGEST = 255
FACTORS = {"splade": 100.0, "pyserini": 51.2}
"""By name. Sources: Formal et al., splade (`create_anserini.py`: x100); Pyserini (`round(w / 5 * 256)`)."""

TOPIC_FACTOR = 100.0
"""Of topics whose tokens are repeated, where weights are floats."""


class Quantization(NamedTuple):
    """How weights become whole numbers: `round(weight * factor)`, ties to even.

    Args:
        name: as it was asked for.
        documents: the factor of documents' weights; 0 leaves them floats.
        queries: the factor of queries' weights; 0 leaves them floats.
    """

    name: str
    documents: float
    queries: float


def quantization(name: str, heaviest_document: float, heaviest_query: float) -> Quantization:
    """Return the factors of a quantization.

    `8bit` makes the heaviest weight of each side 255; `splade`, `pyserini` and a number are the factor of both sides;
    `none` leaves both sides floats.

    Args:
        name: one of these.
        heaviest_document: the largest weight of the documents, 0 where there is none.
        heaviest_query: the largest weight of the queries, 0 where there is none.

    Raises:
        InvalidArgument: another name, or a number that is not finite and above 0.
    """
    check_quantization(name)
    if name == NONE:
        return Quantization(name, 0.0, 0.0)
    if name == EIGHT_BITS:
        return Quantization(name, *(LARGEST / most if most else 1.0 for most in (heaviest_document, heaviest_query)))
    factor = FACTORS.get(name) or float(name)
    return Quantization(name, factor, factor)


def check_quantization(name: str) -> None:
    """Refuse a name that is none of a quantization and no factor.

    Raises:
        InvalidArgument: it is.
    """
    if name in (EIGHT_BITS, NONE, *FACTORS):
        return
    try:
        factor = float(name)
    except ValueError:
        factor = math.nan
    if not (math.isfinite(factor) and factor > 0):
        names = ", ".join((EIGHT_BITS, *FACTORS, NONE))
        raise InvalidArgument(f"quantize is {name!r}; it must be one of {names}, or a number above 0 to multiply by.")


def check_idf(side: str) -> Idf:
    """Return the side that carries the inverse document frequency.

    Raises:
        InvalidArgument: it is neither.
    """
    sides: tuple[Idf, ...] = get_args(Idf)
    for known in sides:
        if side == known:
            return known
    raise InvalidArgument(f"idf is {side!r}; it must be one of {', '.join(sides)}.")


def quantized(weights: NDArray[np.floating], factor: float) -> NDArray[np.int64]:
    """Return weights as whole numbers, some of which may be 0.

    Raises:
        InvalidArgument: a number leaves 31 bits, which is what engines count with.
    """
    numbers = np.rint(np.asarray(weights, np.float64) * factor)
    if numbers.size and numbers.max() > np.iinfo(np.int32).max:
        raise InvalidArgument(
            f"A weight of {float(weights.max()):g} times {factor:g} is above 2^31; take a smaller factor to quantize."
        )
    return numbers.astype(np.int64)
