"""What every verb shares: the global options, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import shlex
import shutil
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from rich.console import Console
from rich.markup import escape

from hybrid_search.errors import HybridSearchError, InvalidArgument

if TYPE_CHECKING:
    from hybrid_search.settings import Settings

OK, NOTHING_FOUND, USAGE, FAILED, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 130


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to `_run`; rich would exit with 1, which means "nothing found" here."""
        raise BrokenPipeError


out = _Console(highlight=False)
err = _Console(stderr=True, highlight=False)

_PANEL = "Global options"
Store = Annotated[
    str | None,
    typer.Option(metavar="PLACE", help="A folder, or http(s)://... of a Qdrant server.", rich_help_panel=_PANEL),
]
Config = Annotated[str | None, typer.Option(metavar="FILE", help="A TOML file of settings.", rich_help_panel=_PANEL)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=_PANEL)]


@dataclass
class Given:
    """The global options, wherever on the line they stood."""

    store: str | None = None
    config: str | None = None
    debug: bool = False

    def take(self, store: str | None, config: str | None, debug: bool) -> None:
        self.store, self.config, self.debug = store or self.store, config or self.config, debug or self.debug

    def settings(self, *, device: str | None = None) -> Settings:
        from hybrid_search.settings import load_settings

        return load_settings(self.config, store=self.store, device=device)


given = Given()


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command: it takes the global options as well, and its errors end as messages with an exit code."""

    @functools.wraps(function)
    def command(*, store: str | None, config: str | None, debug: bool, **options: Any) -> None:
        given.take(store, config, debug)
        if not given.debug:
            warnings.simplefilter("ignore")
        logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
        _run(functools.partial(function, **options))

    hints = get_type_hints(function, include_extras=True)
    shared = {"store": (Store, None), "config": (Config, None), "debug": (Debug, False)}
    parameters = [
        parameter.replace(annotation=hints[name]) for name, parameter in inspect.signature(function).parameters.items()
    ]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters += [
        inspect.Parameter(name, keyword, default=default, annotation=hint) for name, (hint, default) in shared.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {**hints, **{name: hint for name, (hint, _) in shared.items()}}
    return command


def _run(function: Callable[[], None]) -> None:
    try:
        try:
            function()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        err.print("Interrupted.", style="yellow")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not an error, and nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(OK) from None
    except HybridSearchError as error:
        if given.debug:
            traceback.print_exc()
        complain(str(error))
        raise typer.Exit(USAGE if isinstance(error, InvalidArgument) else FAILED) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if given.debug:
            traceback.print_exc()
        complain(f"{type(error).__name__}: {error}. This is a fault of ours; --debug shows where.")
        raise typer.Exit(FAILED) from None


@contextlib.contextmanager
def paging() -> Iterator[None]:
    """What is printed in here goes through the pager where it is longer than the terminal is high."""
    if not (out.is_terminal and sys.stdin.isatty() and shutil.which((os.environ.get("PAGER") or "less").split()[0])):
        yield
        return
    with out.capture() as captured:
        yield
    text = captured.get()
    if text.count("\n") < out.height:
        out.file.write(text)
        return
    # R: colours and links as they are; F: leave at once where it fits after all; X: leave it on the screen.
    env = {**os.environ, "LESS": os.environ.get("LESS", "RFX")}
    command = shlex.split(os.environ.get("PAGER") or "less")
    subprocess.run(command, input=text.encode("utf-8", "replace"), env=env, check=False)


def complain(message: str) -> None:
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)


def note(message: str) -> None:
    err.print(escape(message), style="dim", soft_wrap=True)
