"""Pickled and copied as it was made: by its fields, without what it has opened."""

from __future__ import annotations

from typing import Any

from typing_extensions import Self

from hybrid_search.settings import Settings


class Remade:
    """For pydantic models whose private attributes can be made again from their fields."""

    def __reduce__(self) -> Any:
        fields: dict[str, Any] = dict(self)  # type: ignore[call-overload]
        if fields.get("searcher") is not None:
            raise TypeError("An open Searcher cannot be pickled; give the collection's name, and its store, instead.")
        if fields.get("settings") is not None:
            fields["settings"] = Settings(**fields["settings"].model_dump())  # of a class that can be pickled
        return remade, (type(self), fields)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return type(self)(**dict(self))  # type: ignore[call-overload]


def remade(kind: type[Any], fields: dict[str, Any]) -> Any:
    return kind(**fields)
