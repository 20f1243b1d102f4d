"""Weights of a query's terms, as they are typed or given by a program."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from numbers import Real
from typing import Any

from hybrid_search._util.arguments import shown
from hybrid_search.corpus.decoding import without_surrogates
from hybrid_search.errors import InvalidArgument

LIGHTEST, HEAVIEST = 1e-30, 1e30
"""The least and the greatest weight of a term: sums of products with them still fit into 32 bits."""

EXAMPLE = "heart=2.1 attack=1.4"


def parse_weights(text: str) -> dict[str, float]:
    """Parse terms with their weights, divided by blanks; terms with blanks or quotes in them are quoted as in a shell.

    The last `=` separates a term from its weight; a term without one weighs 1. Repeated terms add up.

    Raises:
        InvalidArgument: there is no term, a weight is no number above 0, or a quote is not closed.

    >>> parse_weights("heart=2.1 attack 'new york'=1 a=b=2 attack=0.5")
    {'heart': 2.1, 'attack': 1.5, 'new york': 1.0, 'a=b': 2.0}
    """
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise InvalidArgument(
            f"The vector is {shown(text)}: {str(error).lower()}. Write terms as {EXAMPLE}, and a term that holds a "
            'quote as "don\'t"=1.'
        ) from None
    weights: dict[str, float] = {}
    for part in parts:
        term, equals, value = part.rpartition("=")
        weight = _number(value) if equals else 1.0
        name = term if equals else part
        weights[name] = weights.get(name, 0.0) + _weight(name, value if weight is None else weight)
    return check_term_weights(weights)


def check_term_weights(weights: Mapping[Any, Any]) -> dict[str, float]:
    """Return the weights of terms as plain numbers; a lone surrogate in a term becomes U+FFFD.

    Raises:
        InvalidArgument: there is no term, a term is no text or empty, or a weight is no number above 0.
    """
    if not weights:
        raise InvalidArgument(f"The vector has no term. Give terms with their weights, such as {EXAMPLE}.")
    checked: dict[str, float] = {}
    for term, value in weights.items():
        if not isinstance(term, str) or not term.strip():
            raise InvalidArgument(f"A term of the vector is {shown(term)}; a term is a text that is not empty.")
        name = without_surrogates(term)
        checked[name] = checked.get(name, 0.0) + _weight(term, value)
    return checked


def _weight(term: object, value: Any) -> float:
    """Return the weight of a term as a plain number.

    Raises:
        InvalidArgument: it is no number in `LIGHTEST`..`HEAVIEST`.
    """
    try:
        number = float("nan") if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:
        number = float("inf")
    if not LIGHTEST <= number <= HEAVIEST:
        raise InvalidArgument(
            f"The weight of {shown(term)} is {shown(value)}; it must be a number in {LIGHTEST:g}..{HEAVIEST:g}."
        )
    return number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
