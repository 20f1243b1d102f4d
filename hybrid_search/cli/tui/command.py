"""`hybrid-search tui`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_search._util.extras import check_extra
from hybrid_search.cli import options
from hybrid_search.cli.command import FAILED, global_options
from hybrid_search.cli.search import Built, BuiltDense, BuiltSparse
from hybrid_search.cli.search_options import takes_search_options
from hybrid_search.errors import InvalidArgument, StoreError

if TYPE_CHECKING:
    from hybrid_search.search.request import Options
    from hybrid_search.searcher import Searcher


@takes_search_options("k", k={"default": 20, "help": "Documents a page."})
def tui(
    *,
    collection: Annotated[
        str | None,
        options.collection_option("The collection; choose on the screen if left out."),
    ] = None,
    search: Options,
    profile: Built = "auto",
    sparse: BuiltSparse = None,
    dense: BuiltDense = None,
) -> None:
    """Search as you type, on the whole screen, and see why each hit is one.

    Example: `hybrid-search tui -c movies`
    """
    check_extra("tui", "The full-screen search")
    if not on_terminal():
        raise InvalidArgument(
            "tui needs a terminal to draw on, and this is none. Where input or output is a pipe or a file, take: "
            "hybrid-search search QUERY -c NAME"
        )
    from hybrid_search.cli.tui.app import SearchApp
    from hybrid_search.collection.models import open_store_for
    from hybrid_search.searcher import Searcher

    settings = global_options.settings()

    def opened(name: str) -> Searcher:
        return Searcher.open(name, settings=settings, profile=profile, sparse=sparse, dense=dense)

    names = [collection] if collection else open_store_for(None, settings).names()
    if not names:
        raise StoreError("There is no collection to search yet. Build one: hybrid-search index SOURCE -c NAME")
    if len(names) == 1:
        searcher = opened(names[0])  # its errors end as those of `search` do, with a message and an exit code
        app = SearchApp(names, lambda name: searcher, k=search["k"])
    else:
        app = SearchApp(names, opened, k=search["k"])
    with _quiet():
        app.run()
    if app.return_code:
        raise typer.Exit(FAILED)


def on_terminal() -> bool:
    """Return whether a person sees what is drawn and can press keys."""
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress log lines meanwhile: they would be written across the screen."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
