"""Filters as values: the small tree that `--where` is parsed into.

    from hybrid_search.filters import And, Compare, OneOf

    And((Compare("year", ">=", 1990), OneOf("genres", ("drama", "war"))))

equals `filters.parser.parse("year >= 1990 and genres in ('drama', 'war')")`. `str` of a tree gives a text with the same
meaning.

A field is a key of the metadata, written as in the language: `year`, `author.name` for nested keys, `"odd.key"` in
double quotes if it is no plain word. `title`, `text`, `doc_id` and `origin` are the document's own fields, whatever the
metadata has; `metadata.title` is the metadata's. `text` is the chunk's: a document is found if a chunk of it passes.

`matcher` defines what a condition means. The constructors check their arguments and raise FilterError.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from hybrid_search._util.unicode_text import words_of
from hybrid_search.errors import FilterError
from hybrid_search.filters.syntax import (
    Value,
    check_value,
    field_name,
    format_value,
    ordered_as,
    parse_timestamp,
    path_of,
)

Operator = Literal["=", "!=", "<", "<=", ">", ">="]

MAX_NESTING = 16
"""Deepest nesting of And, Or and Not. The embedded engine dies at about 1,000."""

OWN_FIELDS = ("title", "text", "doc_id", "origin")
OPERATORS = ("=", "!=", "<", "<=", ">", ">=")


class SourcePosition(NamedTuple):
    """Where a condition begins in a filter's text; columns count from 1."""

    text: str
    column: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """What all conditions on one field share: the field's name, as written, and its position."""

    field: str

    @property
    def path(self) -> tuple[str, ...]:
        """The field's keys, outermost first."""
        return path_of(self.field)


@dataclass(frozen=True, slots=True)
class Compare(Leaf):
    """Compares a value of the field with a given one. `!=` holds wherever `=` does not.

    Args:
        value: for `=` and `!=` a string, number, bool, or a date in a string; otherwise a number or a date.
    """

    op: Operator
    value: Value
    place: SourcePosition | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _settle(self)
        if self.op not in OPERATORS:
            raise FilterError(f"{self.op!r} compares nothing; take one of {' '.join(OPERATORS)}")
        check_value(self.value)
        if self.op not in ("=", "!="):
            _check_ordered(self.value, self.op)

    def __str__(self) -> str:
        return f"{self.field} {self.op} {format_value(self.value)}"


@dataclass(frozen=True, slots=True)
class OneOf(Leaf):
    """A value of the field equals one of the given values."""

    values: tuple[Value, ...]
    place: SourcePosition | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _settle(self)
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values:
            raise FilterError("an empty list can hold no value; write at least one")
        for value in self.values:
            check_value(value)

    def __str__(self) -> str:
        return f"{self.field} in ({', '.join(map(format_value, self.values))})"


@dataclass(frozen=True, slots=True)
class Between(Leaf):
    """A value of the field lies in low..high, both included: two numbers or two dates."""

    low: Value
    high: Value
    place: SourcePosition | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _settle(self)
        for value in (self.low, self.high):
            check_value(value)
            _check_ordered(value, "between")
        low, high = ordered_as(self.low), ordered_as(self.high)
        if isinstance(self.low, str) != isinstance(self.high, str):
            raise FilterError("between takes two numbers or two dates, not one of each")
        if low > high:
            raise FilterError(
                f"nothing lies between {format_value(self.low)} and {format_value(self.high)}; the lower comes first"
            )

    def __str__(self) -> str:
        return f"{self.field} between {format_value(self.low)} and {format_value(self.high)}"


@dataclass(frozen=True, slots=True)
class Match(Leaf):
    """A text in the field has all given words (`~`, ignoring case), or begins with the given text (`^=`, exactly).

    In scripts without blanks between words, such as Chinese and Thai, a run of characters is searched as a substring.
    """

    op: Literal["~", "^="]
    text: str
    place: SourcePosition | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _settle(self)
        if self.op not in ("~", "^="):
            raise FilterError(f"{self.op!r} matches nothing; take ~ for words or ^= for a beginning")
        if not isinstance(self.text, str):
            raise FilterError(f"{self.op} takes a text, not {self.text!r}")
        check_value(self.text)
        if not (words_of(self.text) if self.op == "~" else self.text):
            raise FilterError(f"{format_value(self.text)} has no {'word' if self.op == '~' else 'letter'} to look for")

    def __str__(self) -> str:
        return f"{self.field} {self.op} {format_value(self.text)}"


@dataclass(frozen=True, slots=True)
class Exists(Leaf):
    """The field has a value: it is present, and neither null nor an empty list."""

    place: SourcePosition | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _settle(self)

    def __str__(self) -> str:
        return f"exists({self.field})"


@dataclass(frozen=True, slots=True)
class Geo(Leaf):
    """A place in the field, `{"lat": ..., "lon": ...}` in degrees, is less than `metres` away from a point."""

    lat: float
    lon: float
    metres: float
    place: SourcePosition | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _settle(self)
        for value in (self.lat, self.lon, self.metres):
            check_value(value)
            if isinstance(value, (bool, str)):
                raise FilterError(f"{format_value(value)} is no number")
        if not -90 <= self.lat <= 90 or not -180 <= self.lon <= 180:
            raise FilterError(
                f"({self.lat}, {self.lon}) is no place: latitude -90..90 comes first, then longitude -180..180"
            )
        if self.metres <= 0:
            raise FilterError(f"nothing is nearer than {self.metres:g} m; take a distance above 0")

    def __str__(self) -> str:
        return (
            f"{self.field} within {format_value(self.metres)} m of ({format_value(self.lat)}, {format_value(self.lon)})"
        )


@dataclass(frozen=True, slots=True)
class And:
    """All conditions hold. Nested Ands are flattened."""

    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        _join(self, And)

    def __str__(self) -> str:
        return " and ".join(f"({c})" if isinstance(c, Or) else str(c) for c in self.conditions)


@dataclass(frozen=True, slots=True)
class Or:
    """At least one condition holds. Nested Ors are flattened."""

    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        _join(self, Or)

    def __str__(self) -> str:
        return " or ".join(map(str, self.conditions))


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold, including where the field is missing."""

    condition: Condition

    def __post_init__(self) -> None:
        _check_nesting(self)

    def __str__(self) -> str:
        inner = self.condition
        return f"not ({inner})" if isinstance(inner, (And, Or)) else f"not {inner}"


Test = Compare | OneOf | Between | Match | Exists | Geo
"""A condition on one field."""

Condition = Test | And | Or | Not


def leaves(condition: Condition) -> Iterator[Test]:
    """Return the conditions on single fields, from left to right."""
    if isinstance(condition, (And, Or)):
        for inner in condition.conditions:
            yield from leaves(inner)
    elif isinstance(condition, Not):
        yield from leaves(condition.condition)
    else:
        yield condition


def with_text(condition: Condition, text: str) -> Condition:
    """Return the same condition with the filter's text in every position."""
    if isinstance(condition, And):
        return And(tuple(with_text(inner, text) for inner in condition.conditions))
    if isinstance(condition, Or):
        return Or(tuple(with_text(inner, text) for inner in condition.conditions))
    if isinstance(condition, Not):
        return Not(with_text(condition.condition, text))
    return replace(condition, place=condition.place and SourcePosition(text, condition.place.column))


def _check_ordered(value: Value, op: str) -> None:
    if isinstance(value, bool) or (isinstance(value, str) and parse_timestamp(value) is None):
        raise FilterError(
            f"{op} takes a number or a date such as '2026-11-21', not {format_value(value)}. "
            "Texts can be compared with =, ~ (words) and ^= (beginning)"
        )


def _settle(leaf: Leaf) -> None:
    # One spelling a field, so that equal conditions are equal values.
    object.__setattr__(leaf, "field", field_name(path_of(leaf.field)))


def _join(node: And | Or, kind: type[And] | type[Or]) -> None:
    flat: list[Condition] = []
    for inner in node.conditions:
        flat += inner.conditions if isinstance(inner, kind) else [inner]
    if not flat:
        raise FilterError(f"{kind.__name__} needs at least one condition")
    object.__setattr__(node, "conditions", tuple(flat))
    _check_nesting(node)


def _check_nesting(condition: Condition) -> None:
    depth, level = 0, [condition]
    while level:
        level = [
            inner
            for node in level
            if isinstance(node, (And, Or, Not))
            for inner in ((node.condition,) if isinstance(node, Not) else node.conditions)
        ]
        depth += 1 if level else 0
    if depth > MAX_NESTING:
        raise FilterError(f"and, or and not are nested {depth} deep; {MAX_NESTING} is the limit")
