"""Flags of `index` that are commands of their own now. They work for one more release, and say what to type instead."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hybrid_search._util.printable import one_line
from hybrid_search.cli import export, import_
from hybrid_search.cli.add_leg import KINDS, add_leg
from hybrid_search.cli.command import global_options
from hybrid_search.cli.console import note
from hybrid_search.cli.streams import print_json
from hybrid_search.errors import InvalidArgument

AddLeg = Annotated[str | None, typer.Option(metavar="NAME=MODEL", hidden=True)]
SaveEncodings = Annotated[Path | None, typer.Option(metavar="FILE", hidden=True)]
FromEncodings = Annotated[Path | None, typer.Option(metavar="FILE", hidden=True)]

_ANYWHERE = ("collection", "progress", "workers", "max_memory", "store", "config", "debug")
"""Options that any of them goes with; `--workers` and `--max-memory` have nothing to do there."""

_OF_LEGS = ("precision", "device", "max_active_dims", "min_weight", "wait")
_OF_LOADS = ("replace", "prune", "wait")


def run_instead(context: typer.Context) -> bool:
    """Run the command that an old flag of `index` stands for.

    Returns:
        Whether that was all there was to do; false where `index` has sources to read, or no old flag is given.

    Raises:
        InvalidArgument: the flag does not go with another option, or the file cannot be written.
    """
    values = context.params
    if values["from_encodings"] is not None:
        _import(context, Path(values["from_encodings"]))
    elif values["save_encodings"] is not None:
        return _export(context, Path(values["save_encodings"]))
    elif values["add_leg"] is not None:
        _add_leg(context, values["add_leg"])
    else:
        return False
    return True


def export_too(context: typer.Context) -> None:
    """Write what `index` has filled to the file of `--save-encodings`, if one is named."""
    if (file := context.params["save_encodings"]) is not None:
        export.parquet(Path(file), context.params["collection"], context.params["progress"])


def _import(context: typer.Context, file: Path) -> None:
    values = context.params
    command = f"import parquet {_quoted(file)} -c {_quoted(values['collection'])}"
    if wrong := _others(context, (*_ANYWHERE, *_OF_LOADS, "from_encodings")):
        raise InvalidArgument(
            f"--from-encodings does not go with {', '.join(wrong)}: the file says what is indexed and with which "
            f"models. Write: {global_options.program()} {command} [--replace] [--prune]"
        )
    _hint("--from-encodings", command + _written(context, _OF_LOADS), values)
    import_.parquet(file, values["collection"], **{name: values[name] for name in (*_OF_LOADS, "progress")})


def _export(context: typer.Context, file: Path) -> bool:
    values = context.params
    command = f"export parquet {_quoted(file)} -c {_quoted(values['collection'])}"
    others = _others(context, (*_ANYWHERE, "wait", "save_encodings"))
    alone = "SOURCE" not in others
    if wrong := others if alone else [name for name in others if name in ("--dry-run", "--watch", "--add-leg")]:
        raise InvalidArgument(
            f"--save-encodings{' without SOURCE' if alone else ''} does not go with {', '.join(wrong)}: it writes what "
            f"a collection holds. Write: {global_options.program()} {command}, or name a SOURCE to index first."
        )
    from hybrid_search.interop.writer import check_target

    check_target(file)
    _hint("--save-encodings", command, values)
    if alone:
        export.parquet(file, values["collection"], values["progress"])
    return alone


def _add_leg(context: typer.Context, text: str) -> None:
    values = context.params
    leg, model, kind = _leg_and_model(text)
    if _others(context, (*_ANYWHERE, *_OF_LEGS, "add_leg")):
        raise InvalidArgument(
            "--add-leg takes -c, --precision, --device, --max-active-dims, --min-weight, --wait and --progress "
            "only: it reads the texts that are stored."
        )
    command = f"collections add-leg {_quoted(values['collection'])} {_quoted(leg)} {_quoted(model)}"
    command += f" --kind {kind}" if kind else ""
    _hint("--add-leg", command + _written(context, _OF_LEGS), values)
    options = {name: values[name] for name in (*_OF_LEGS, "progress")}
    add_leg(values["collection"], leg, model, kind, **options)


def _leg_and_model(text: str) -> tuple[str, str, str | None]:
    """Read `name=model`, `name=model:sparse` or `name=model:dense`.

    >>> _leg_and_model("new=acme/both:dense")
    ('new', 'acme/both', 'dense')

    Raises:
        InvalidArgument: anything else.
    """
    leg, _, model = text.partition("=")
    if not leg or not model:
        raise InvalidArgument(f"--add-leg is {text!r}; write NAME=MODEL, such as --add-leg new=./my-model.")
    for kind in KINDS:
        if model.endswith(f":{kind}"):
            return leg, model.removesuffix(f":{kind}"), kind
    return leg, model, None


def _others(context: typer.Context, allowed: Iterable[str]) -> list[str]:
    """Return the names, as they are typed, of all other options that have another value than when left out."""
    return [
        str(parameter.metavar) if parameter.param_type_name == "argument" else parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in allowed and _is_given(parameter, context.params)
    ]


def _is_given(parameter: Any, values: Mapping[str, Any]) -> bool:
    value = values[parameter.name]
    # 0 and 0.0 ask for something, and are equal to False.
    return value is not None and value is not False and value not in ("", [], ()) and value != parameter.default


def _written(context: typer.Context, names: Iterable[str]) -> str:
    """Return those options of the line that the new command takes too, as they are typed."""
    words = []
    for parameter in context.command.params:
        if parameter.name in names and _is_given(parameter, context.params):
            value = context.params[parameter.name]
            words.append(parameter.opts[0] if value is True else f"{parameter.opts[0]} {_quoted(value)}")
    return "".join(f" {word}" for word in words)


def _quoted(value: object) -> str:
    return shlex.quote(one_line(str(value)))


def _hint(flag: str, command: str, values: Mapping[str, Any]) -> None:
    """Say in one line what to type instead; where stderr is read by a machine, as an event."""
    text = f"`index {flag}` is going to be removed. Type instead: {global_options.program()} {command}"
    if values["progress"] == "json":
        print_json({"event": "deprecated", "message": text}, sys.stderr)
    else:
        note(text)
