"""From the words on a command line to values: what typer leaves to us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from typer.core import TyperCommand, TyperGroup

from hybrid_search._util.printable import printable
from hybrid_search.corpus.decoding import without_surrogates

RERANK = "--rerank"


class Command(TyperCommand):
    """A command that refuses an option with two values, of which it would take the last without a word."""

    OPTIONAL: ClassVar[tuple[str, ...]] = ()
    """Options that may stand without a value: they take what follows if that is no option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for option in self.OPTIONAL:
            args = valued(args, option)
        with _legible_errors():
            refuse_repeated(ctx, args)
            return super().parse_args(ctx, args)


class RerankCommand(Command):
    """A command with `--rerank [MODEL]`."""

    OPTIONAL = (RERANK,)


class HttpCommand(Command):
    """A command with `--http [HOST:PORT]`."""

    OPTIONAL = ("--http",)


class CommandGroup(TyperGroup):
    """The program, whose own options are refused like those of its verbs."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _legible_errors():
            refuse_repeated(ctx, args)
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command of the first words: `evaluate init` is one beside `evaluate`."""
        words = " ".join(args[:2])
        if len(args) > 1 and words in self.commands:
            return words, self.commands[words], args[2:]
        return super().resolve_command(ctx, args)


def valued(arguments: Sequence[str], option: str = RERANK) -> list[str]:
    """Return the arguments, with an empty value put behind an option that has none.

    >>> valued(["music", "--rerank", "-c", "films"])
    ['music', '--rerank', '', '-c', 'films']
    >>> valued(["--rerank", "a/b", "--", "--rerank"])
    ['--rerank', 'a/b', '--', '--rerank']
    """
    completed: list[str] = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            return completed + list(arguments[place:])
        completed.append(argument)
        following = arguments[place + 1 : place + 2]
        if argument == option and (not following or following[0].startswith("-")):
            completed.append("")
    return completed


def refuse_repeated(ctx: Any, args: Sequence[str]) -> None:
    """Fail, as any wrong option does, where one that takes a single value is given several."""
    if ctx.resilient_parsing:  # to complete a line that is not finished
        return
    parser = ctx.command.make_parser(ctx)
    single = set()
    for option in {id(one): one for one in (*parser._long_opt.values(), *parser._short_opt.values())}.values():
        if option.action in ("store", "store_const"):
            option.action = option.action.replace("store", "append")
            single.add(option.dest)
    typed_values, _, _ = parser.parse_args(list(args))
    for parameter in ctx.command.get_params(ctx):
        values = list(dict.fromkeys(typed_values.get(parameter.name) or ())) if parameter.name in single else []
        if len(values) > 1:
            quoted = " and ".join(str(value) if isinstance(value, bool) else repr(value) for value in values)
            ctx.fail(f"{' / '.join(parameter.opts)} is given {len(values)} values, {quoted}. Give it one.")


def typed(argument: str) -> str:
    """Return what was typed as text: bytes are read as UTF-8, whatever the locale says; invalid ones become U+FFFD."""
    try:
        return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return without_surrogates(argument)


@contextmanager
def _legible_errors() -> Iterator[None]:
    """Make usage errors printable: they quote the command line, whatever signs stand in it."""
    try:
        yield
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str):
            error.message = printable(message)  # type: ignore[attr-defined]
        raise
