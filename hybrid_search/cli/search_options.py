"""The options of a search on the command line: made from `SearchRequest`, which has their types, bounds and help."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import typer

from hybrid_search._util.arguments import numbers
from hybrid_search.cli import completion
from hybrid_search.cli.options import choice
from hybrid_search.cli.values import typed
from hybrid_search.search import request
from hybrid_search.search.options import Option

ORDER: tuple[str, ...] = ("k", "offset", "mode", "fusion", "rrf_k", "weights", "depth")
ORDER += ("rerank", "rerank_depth", "rerank_budget_ms", "where", "min_confidence", "min_score", "explain", "fold")
"""Of the options in help. One that does not stand here comes last."""

PARAMETER = "search"
"""The parameter of a command that stands for these options."""


def weights_of(value: str) -> dict[str, float] | Literal["auto"] | None:
    """Read `leg=number,...` or `auto`; None of an empty text.

    Raises:
        InvalidArgument: anything else.
    """
    if value == "auto":
        return "auto"
    return numbers(value, "--weights") if value else None


def rerank_of(value: str) -> bool | str:
    """Read what `--rerank` asks for: the usual model where none is named, one by name or folder, or `none`."""
    return False if value == "none" else value or True


@dataclass(frozen=True)
class Spelling:
    """How an option is written where that does not follow from the request.

    Args:
        flags: instead of `--its-name`.
        read: makes the value of the text; the text as it was typed when not given.
        completion: offers values to a shell.
        help: instead of the request's sentence.
        default: instead of the request's; `...` for the same, None where the command finds it.
        unset: what the command finds then, in words.
    """

    flags: tuple[str, ...] = ()
    read: Callable[[str], Any] | None = None
    completion: Callable[..., Any] | None = None
    help: str = ""
    default: Any = ...
    unset: str = ""


SPELLINGS: Mapping[str, Spelling] = {
    "k": Spelling(flags=("-k",)),
    "mode": Spelling(completion=completion.modes),
    "weights": Spelling(read=weights_of),
    "rerank": Spelling(read=rerank_of, completion=completion.rerankers),
}


def takes_search_options(
    *names: str, without: Collection[str] = (), **changes: Mapping[str, Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command options of a search. They stand in its help where its parameter `search` stands.

    The command gets their values there as one dict, checked, ready for `Searcher.search(query, **search)`. An option
    whose default the command finds is in it only where it is given.

    Args:
        names: of the options; all that `SearchRequest` has when not given.
        without: options that the command does not offer.
        changes: by option, fields of its `Spelling` that differ for this command.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        options = {
            option.name: (option, replace(SPELLINGS.get(option.name, Spelling()), **changes.get(option.name, {})))
            for option in _ordered()
            if (not names or option.name in names) and option.name not in without
        }

        @functools.wraps(function)
        def command(**values: Any) -> None:
            search = {name: _read(*options[name], values.pop(name)) for name in options}
            search = {name: value for name, value in search.items() if value is not None or options[name][0].optional}
            request.SearchRequest(**search)  # what is wrong with it is said before a model is loaded
            function(**values, **{PARAMETER: search})

        made = [_parameter(option, spelling) for option, spelling in options.values()]
        signature = inspect.signature(function)
        parameters = list(_replaced(signature, made))
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        return command

    return decorate


def _ordered() -> list[Option]:
    """Return the options of a search in the order of help."""
    return sorted(
        request.search_options(), key=lambda option: ORDER.index(option.name) if option.name in ORDER else len(ORDER)
    )


def _replaced(signature: inspect.Signature, made: list[inspect.Parameter]) -> Iterator[inspect.Parameter]:
    """Yield the parameters of a command, all by keyword, with those made in the place of the one that they are for."""
    for parameter in signature.parameters.values():
        if parameter.name == PARAMETER:
            yield from made
        else:
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _parameter(option: Option, spelling: Spelling) -> inspect.Parameter:
    """Return an option as typer takes it."""
    default = option.default if spelling.default is ... else spelling.default
    kind: Any = option.scalar or str
    name = f"--{option.name.replace('_', '-')}"
    flags = spelling.flags or (name,)
    if option.scalar is bool and not spelling.flags and default is not False:
        flags = (f"{name}/--no-{option.name.replace('_', '-')}",)
    unset = (spelling.unset or option.unset) if default is None else ""
    declared = typer.Option(
        *flags,
        metavar=None if option.scalar is bool else option.metavar,
        help=f"{spelling.help or option.help}  [{unset}]"
        if unset and default is None
        else spelling.help or option.help,
        autocompletion=spelling.completion,
    )
    annotation = Annotated[kind | None if default is None else kind, declared]  # type: ignore[valid-type]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _read(option: Option, spelling: Spelling, value: Any) -> Any:
    """Return the value of an option for what was typed; None where nothing was.

    Raises:
        InvalidArgument: it cannot be read, or is none of the choices.
    """
    if not isinstance(value, str):
        return value
    if option.choices:
        return choice(value, option.choices, f"--{option.name.replace('_', '-')}")
    return typed(value) if spelling.read is None else spelling.read(value)
