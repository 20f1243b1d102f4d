"""The options of a search as fields of pydantic, for whatever makes a form, a schema or a tool of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from pydantic.fields import FieldInfo

from hybrid_search.search.options import Option


def field_of(option: Option, *, strict: bool | None = None, **said: Any) -> tuple[Any, FieldInfo]:
    """Return an option as `pydantic.create_model` takes it: its type, with the bounds, and its default and help.

    Args:
        option: of `search_options()`; `dataclasses.replace` narrows its bounds.
        strict: refuse values of another type; the model's own way when not given.
        said: more keywords of pydantic's `Field`, such as another `description`.
    """
    return annotation_of(option, strict=strict), Field(
        **{"default": option.default, "description": option.help, **said}
    )


def annotation_of(option: Option, *, strict: bool | None = None) -> Any:
    """Return the type of an option with its bounds, which are those of the number where None is allowed, too."""
    limits = limits_of(option)
    if strict is not None:
        limits["strict"] = strict
    if not limits:
        return option.type
    numeric = option.scalar in (int, float)
    kind: Any = option.scalar if numeric else option.type
    limited: Any = Annotated[kind, Field(**limits)]
    return limited | None if numeric and option.optional else limited


def limits_of(option: Option) -> dict[str, Any]:
    """Return the bounds of a number as keywords of pydantic's `Field`; none for what is no number."""
    if option.scalar not in (int, float):
        return {}
    bounds = {"ge": option.least, "gt": option.above, "le": option.most}
    limits: dict[str, Any] = {name: bound for name, bound in bounds.items() if bound is not None}
    return {**limits, "allow_inf_nan": False} if option.scalar is float else limits
