"""An option as a value: name, type, default, bounds and help, read from the field of a dataclass that defines it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property, lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import annotated_types
from typing_extensions import Doc

from hybrid_search._util.arguments import flags, number, plain, shown, text, whole
from hybrid_search.errors import InvalidArgument


class Notation(NamedTuple):
    """How an option is written and read as text, where its type does not say it.

    Args:
        metavar: stands for the value in help, such as `EXPR`.
        unset: what None means, such as `no limit`.
        unit: of a number, such as `milliseconds`.
    """

    metavar: str = ""
    unset: str = ""
    unit: str = ""


@dataclasses.dataclass(frozen=True)
class Option:
    """One option, as every interface may offer it.

    Args:
        name: its keyword.
        type: as annotated, without metadata: `int`, `int | None`, a `Literal`, a union.
        default: where it is not given.
        least: the smallest number allowed; None for no limit, as for the next two.
        most: the greatest number allowed.
        above: the number must be greater than this one.
        choices: the texts allowed; empty where others are, too.
        help: one sentence.
        metavar: stands for the value in help.
        unset: what None means; empty where None is nothing special.
        unit: of a number; empty where it counts.
    """

    name: str
    type: Any
    default: Any
    least: float | None = None
    most: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    help: str = ""
    metavar: str = ""
    unset: str = ""
    unit: str = ""

    @cached_property
    def optional(self) -> bool:
        """Whether None is allowed."""
        return NoneType in _members(self.type)

    @cached_property
    def scalar(self) -> type[int] | type[float] | type[bool] | type[str] | None:
        """The plain type of a value that is not None: `str` for choices, None for a type that is none of the four."""
        if self.choices:
            return str
        kinds = [member for member in _members(self.type) if member is not NoneType]
        return kinds[0] if len(kinds) == 1 and kinds[0] in (int, float, bool, str) else None

    def check(self, value: Any) -> Any:
        """Return a value as a plain Python one, if it is of the type and within the bounds.

        A type that is none of `int`, `float`, `bool`, `str` and choices passes as it is.

        Raises:
            InvalidArgument: it is of another type, or out of bounds.
        """
        if value is None and self.optional:
            return None
        if self.choices:
            return _choice(self.name, value, self.choices)
        if self.scalar is int:
            return whole(self.name, value, *(None if end is None else int(end) for end in (self.least, self.most)))
        if self.scalar is float:
            return plain(self._number(value))
        if self.scalar is bool:
            flags(**{self.name: value})
        return text(self.name, value) if self.scalar is str else value

    def _number(self, value: Any) -> float:
        bounds = {">=": self.least, ">": self.above, "<=": self.most}
        limits = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None)
        expected = " ".join(filter(None, ("a number", f"of {self.unit}" if self.unit else "", limits)))
        low = [bound for bound in (self.least, self.above) if bound is not None]
        least = max(low, default=float("-inf"))
        found = number(self.name, value, expected, least=least, above=least == self.above)
        if self.most is not None and found > self.most:
            raise InvalidArgument(f"{self.name} is {shown(value)}; it must be {expected}.")
        return found


def read_options(request: type) -> tuple[Option, ...]:
    """Return the options that a dataclass defines, one for each field that its caller may give, in their order.

    A field is `Annotated` with `Doc` (the help), bounds of `annotated_types`, and where need be a `Notation`.
    """
    return _read(request)


@lru_cache(maxsize=32)
def _read(request: type) -> tuple[Option, ...]:
    hints = get_type_hints(request, include_extras=True)
    return tuple(_option(field, hints[field.name]) for field in dataclasses.fields(request) if field.init)


def _option(field: dataclasses.Field[Any], hint: Any) -> Option:
    kind, *metadata = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    notation = next((one for one in metadata if isinstance(one, Notation)), Notation())
    choices = tuple(text for one in _members(kind) if get_origin(one) is Literal for text in get_args(one))
    if not all(get_origin(one) is Literal or one is NoneType for one in _members(kind)):
        choices = ()  # other texts are allowed, too
    usual = "|".join(choices) if choices else "N" if _is_numeric(kind) else field.name.upper()
    return Option(
        name=field.name,
        type=kind,
        default=field.default,
        choices=choices,
        help=next((one.documentation for one in metadata if isinstance(one, Doc)), ""),
        metavar=notation.metavar or usual,
        unset=notation.unset,
        unit=notation.unit,
        **_bounds(metadata),
    )


def _bounds(metadata: list[Any]) -> Mapping[str, Any]:
    """Return the bounds among the metadata of a field, by the names that `Option` has for them."""
    names = {"ge": "least", "le": "most", "gt": "above"}
    each = [part for one in metadata for part in (one if isinstance(one, annotated_types.GroupedMetadata) else [one])]
    return {
        name: getattr(part, bound)
        for part in each
        if isinstance(part, (annotated_types.Ge, annotated_types.Le, annotated_types.Gt))
        for bound, name in names.items()
        if hasattr(part, bound)
    }


def _is_numeric(kind: Any) -> bool:
    return bool({int, float} & set(_members(kind)))


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise InvalidArgument(f"{name} is {shown(value)}; take one of: {', '.join(choices)}.")
    return value
