"""`hybrid-search serve`."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_search._util.extras import check_extra
from hybrid_search.cli import options
from hybrid_search.cli.command import global_options
from hybrid_search.cli.console import note
from hybrid_search.cli.search_options import takes_search_options
from hybrid_search.errors import InvalidArgument

if TYPE_CHECKING:
    from hybrid_search.search.request import Options


@takes_search_options("rerank")
def serve(
    *,
    collection: Annotated[
        list[str] | None,
        options.collection_option("Serve this one, opened at once; may be repeated. [all]"),
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="The port; 0 takes a free one.")] = 8080,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name by which callers may call this machine; may be repeated."),
    ] = None,
    search: Options,
    max_k: Annotated[int, typer.Option(metavar="N", help="Documents that a caller may ask for.")] = 100,
    max_depth: Annotated[int, typer.Option(metavar="N", help="Chunks that a caller may have a leg hand on.")] = 1000,
    at_once: Annotated[int, typer.Option(metavar="N", help="Requests at a time; more are told to come again.")] = 64,
    threads: Annotated[int, typer.Option(metavar="N", help="Searches that run at a time.")] = 4,
    timeout_s: Annotated[float, typer.Option(metavar="S", help="Seconds that a request may take.")] = 30.0,
) -> None:
    """Serve searches over HTTP: a page for people at /, JSON for programs, counts for Prometheus.

    On this machine alone unless --host says otherwise; then callers need the key in HYBRID_SEARCH_SERVE_API_KEY.

    Example: `hybrid-search serve -c movies`
    """
    check_extra("serve", "The HTTP server")
    from hybrid_search._util.locations import is_loopback
    from hybrid_search.integrations.gateway import server
    from hybrid_search.integrations.gateway.address import listen
    from hybrid_search.integrations.http import Limits, create_app
    from hybrid_search.integrations.http.middleware import LOOPBACK

    settings = global_options.settings()
    key = settings.serve_api_key
    if not key and not is_loopback(host):
        raise InvalidArgument(
            f"--host is {host!r}, which other machines can reach, and no API key is set. Set one, "
            "export HYBRID_SEARCH_SERVE_API_KEY=..., or leave --host out to serve this machine alone."
        )
    # Who brings the key is no page of another site, so with one any name will do where every address is listened at.
    anything = host in ("0.0.0.0", "::") and not allow_host
    own = f"[{host}]" if ":" in host else host
    limits = Limits(k=max_k, depth=max_depth, at_once=at_once, threads=threads, timeout_s=timeout_s)
    app = create_app(
        settings=settings,
        collections=collection,
        rerank=search["rerank"],
        limits=limits,
        allowed_hosts=None if anything else [*LOOPBACK, own, *(allow_host or [])],
    )
    searchers = app.state.service.searchers
    names = searchers.names()
    for name in collection or []:
        with searchers.use(name) as searcher:  # what is wrong with it is said now
            searcher.warm_up(rerank=search["rerank"])
    listening = listen(host, port, "Take another --port (0: a free one) or --host.")
    shown = f"http://{own}:{listening.getsockname()[1]}/"
    note(f"Serving {', '.join(names) or 'no collection yet'} at {shown} (API: {shown}docs). Ctrl+C stops it.")
    for number in (signal.SIGINT, signal.SIGTERM):
        # The server raises what stopped it once more when it is done; being asked to stop is no error.
        signal.signal(number, lambda *_: None)
    server.run(app, listening, limits.bounds(), grace_s=timeout_s + 5)
    note("Stopped.")
