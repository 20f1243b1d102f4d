"""`hybrid-search mcp`: stdout belongs to the protocol alone, and a signal ends the server like an end of its input."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from hybrid_search._util.extras import check_extra
from hybrid_search.cli import options
from hybrid_search.cli.command import INTERRUPTED, global_options
from hybrid_search.cli.console import note
from hybrid_search.errors import InvalidArgument

if TYPE_CHECKING:
    from hybrid_search.integrations.searcher_pool import SearcherPool


def mcp(
    collection: Annotated[
        list[str] | None,
        options.collection_option("Serve this collection; may be repeated.  [all of the store]"),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:PORT]",
            help="Serve streamable HTTP instead of stdin and stdout.  [127.0.0.1:8765]",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further name that HTTP clients call this machine; may be repeated."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A web origin whose pages may ask, as https://host; may be repeated."),
    ] = None,
) -> None:
    """Serve collections to assistants and agents, over the Model Context Protocol.

    Example: `hybrid-search mcp -c movies`
    """
    check_extra("mcp", "The MCP server")
    if http is None and (allow_host or allow_origin):
        raise InvalidArgument("--allow-host and --allow-origin are for --http; there is no other machine on stdin.")
    with _stdout_aside() as wire:
        from hybrid_search.integrations.searcher_pool import SearcherPool

        settings = global_options.settings()
        with SearcherPool(settings=settings, only=collection or None) as collections:
            for name in collections.only or ():
                collections.store.info(name)  # one that is not there is said now, with its neighbours
            if http is None:
                _over_stdio(collections, wire)
            else:
                token = settings.mcp_token.get_secret_value() if settings.mcp_token else ""
                _over_http(collections, http, allow_host or [], allow_origin or [], token)


def _over_stdio(collections: SearcherPool, wire: int) -> None:
    import anyio

    from hybrid_search.integrations.mcp import server_of, stdio

    server = server_of(collections)
    if sys.stdin.isatty():
        note("An MCP server: a client is expected on stdin and stdout. End it with Ctrl-D or Ctrl-C.")
    with _stoppable_stdin() as (source, stopped):
        os.dup2(wire, 1)  # the library takes it for itself, and lets 1 be stderr while it serves
        try:
            anyio.run(stdio.serve, server, source)
        finally:
            _aside()
    if signal.SIGINT in stopped:
        raise typer.Exit(INTERRUPTED)


def _over_http(collections: SearcherPool, where: str, hosts: list[str], origins: list[str], token: str) -> None:
    from hybrid_search.integrations.gateway.address import listen
    from hybrid_search.integrations.mcp import http, server_of

    address = http.address_of(where)
    http.check(address, hosts, token)
    server = server_of(collections)
    with listen(address.host, address.port, "Choose another HOST:PORT.") as listening:
        address = address._replace(port=listening.getsockname()[1])
        app = http.app_of(server, address, hosts=hosts, origins=origins, token=token)
        note(f"Serving http://{address}{http.PATH} (Ctrl-C stops)")
        before = signal.signal(signal.SIGTERM, lambda number, frame: None)  # asked to stop, it has stopped: no fault
        try:
            http.serve(app, listening)
        finally:
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _stdout_aside() -> Iterator[int]:
    """Send all that is printed from here to the end of the process to stderr; yield the real stdout."""
    sys.stdout.flush()
    wire = os.dup(1)
    os.dup2(2, 1)
    try:
        yield wire
    finally:
        _aside()
        os.close(wire)


def _aside() -> None:
    os.dup2(2, 1)
    sys.stdout.flush()


@contextlib.contextmanager
def _stoppable_stdin() -> Iterator[tuple[BinaryIO, list[int]]]:
    """Yield a pipe with what comes from stdin, which SIGINT and SIGTERM close, and the list of the signals that came.

    For a read of stdin itself cannot be ended from inside. Nobody else can read it meanwhile.
    """
    source, (inner, feed) = os.dup(0), os.pipe()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    stopped: list[int] = []

    def pump() -> None:
        with contextlib.suppress(OSError):  # nobody reads any more
            while block := os.read(source, 1 << 16):
                while block:
                    block = block[os.write(feed, block) :]
        os.dup2(nothing, feed)

    def stop(number: int, frame: Any) -> None:
        stopped.append(number)
        os.dup2(nothing, feed)  # the pipe has no writer now: its reader comes to the end
        signal.signal(number, before[signal.Signals(number)])  # the second time it is meant at once

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    threading.Thread(target=pump, name="stdin", daemon=True).start()
    try:
        with os.fdopen(inner, "rb") as reading:
            yield reading, stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
