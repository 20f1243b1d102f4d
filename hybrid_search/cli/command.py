"""What all commands share: the global options, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import functools
import inspect
import logging
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from hybrid_search._util.locations import shown_location
from hybrid_search._util.printable import printable
from hybrid_search.cli import streams
from hybrid_search.cli.console import complain, err, warn
from hybrid_search.cli.values import Command
from hybrid_search.errors import HybridSearchError, InvalidArgument

if TYPE_CHECKING:
    from hybrid_search.settings import Settings

OK, NOTHING_FOUND, USAGE, FAILED, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 130

_PANEL = "Global options"
Store = Annotated[
    str | None,
    typer.Option(metavar="PLACE", help="A folder, or http(s)://... of a Qdrant server.", rich_help_panel=_PANEL),
]
Config = Annotated[str | None, typer.Option(metavar="FILE", help="A TOML file of settings.", rich_help_panel=_PANEL)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=_PANEL)]


@dataclass
class GlobalOptions:
    """The global options, wherever on the line they stood."""

    store: str | None = None
    config: str | None = None
    debug: bool = False

    def take(self, store: str | None, config: str | None, debug: bool) -> None:
        """Take what stands at one place of the line.

        Raises:
            InvalidArgument: something else stood at another place.
        """
        self.debug = debug or self.debug
        for name, value in (("store", store), ("config", config)):
            before = getattr(self, name)
            if value and before and value != before:
                raise InvalidArgument(
                    f"--{name} is given 2 values, {before!r} before the verb and {value!r} behind it. Give it one."
                )
            setattr(self, name, value or before)

    def reset(self) -> None:
        """Forget what an earlier command line of this process has set."""
        self.store, self.config, self.debug = None, None, False

    def program(self) -> str:
        """Return the beginning of a command line to be typed: the program, with the store and the config in use."""
        words = ["hybrid-search"]
        words += ["--store", shlex.quote(shown_location(self.store))] if self.store else []
        words += ["--config", shlex.quote(self.config)] if self.config else []
        return " ".join(words)

    def settings(self, *, device: str | None = None) -> Settings:
        from hybrid_search.settings import load_settings

        return load_settings(self.config, store=self.store, device=device)


global_options = GlobalOptions()


def command(
    app: typer.Typer, name: str, cls: type[Command] = Command
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command of a program or group, under a name. The function itself stays as it is."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name, cls=cls)(_with_global_options(function))
        return function

    return register


def _with_global_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes the global options as well, and whose errors end as messages with an exit code."""

    @functools.wraps(function)
    def command(*, store: str | None, config: str | None, debug: bool, **options: Any) -> None:
        def take_and_do() -> None:
            global_options.take(store, config, debug)
            _log_to_stderr()
            function(**options)

        _run(take_and_do)

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
    except streams.ReaderGone:
        streams.drop_stdout()
        raise typer.Exit(OK) from None
    except HybridSearchError as error:
        _show_trace()
        complain(str(error))
        raise typer.Exit(USAGE if isinstance(error, InvalidArgument) else FAILED) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        _show_trace()
        complain(f"{type(error).__name__}: {error}. This is a fault of ours; --debug shows where.")
        raise typer.Exit(FAILED) from None


def _show_trace() -> None:
    """Print, with `--debug`, where the current error came from."""
    if global_options.debug:
        sys.stderr.write(printable(traceback.format_exc()))


class _Formatter(logging.Formatter):
    """Log lines quote whatever they like."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _log_to_stderr() -> None:
    """Send what this package and others log to stderr, and with --debug their warnings too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    if global_options.debug:
        warnings.showwarning = warn
    else:
        warnings.simplefilter("ignore")
