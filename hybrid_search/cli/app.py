"""`hybrid-search`: the verbs, put together."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import hybrid_search
from hybrid_search.cli import (
    collections,
    compare,
    demo,
    doctor,
    evaluate,
    evaluate_init,
    explain,
    export,
    guide,
    import_,
    index,
    mcp,
    models,
    search,
    serve,
    status,
    streams,
    train,
    tune,
)
from hybrid_search.cli.command import FAILED, OK, Config, Debug, Store, command, global_options
from hybrid_search.cli.console import complain
from hybrid_search.cli.tui import command as tui
from hybrid_search.cli.values import CommandGroup, HttpCommand, RerankCommand

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Hybrid search that shows its evidence: SPLADE++ and dense vectors in Qdrant, fused by reciprocal rank.",
    epilog="First steps: `hybrid-search demo`, then `hybrid-search index FOLDER -c NAME` and "
    "`hybrid-search search 'your question' -c NAME`. All about it: `hybrid-search guide`.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hybrid-search {hybrid_search.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    store: Store = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    global_options.take(store, config, debug)


command(app, "demo")(demo.demo)
command(app, "guide")(guide.guide)
command(app, "index")(index.index)
command(app, "status")(status.status)
command(app, "doctor")(doctor.doctor)
command(app, "search", RerankCommand)(search.search)
command(app, "explain", RerankCommand)(explain.explain)
command(app, "evaluate", RerankCommand)(evaluate.evaluate)
command(app, "evaluate init")(evaluate_init.init)
command(app, "compare")(compare.compare)
command(app, "tune", RerankCommand)(tune.tune)
command(app, "train")(train.train)
command(app, "tui")(tui.tui)
command(app, "mcp", HttpCommand)(mcp.mcp)
command(app, "serve", RerankCommand)(serve.serve)
app.add_typer(export.app, name="export")
app.add_typer(import_.app, name="import")
app.add_typer(collections.app, name="collections")
app.add_typer(models.app, name="models")


def main() -> None:
    """Run the program; the console script `hybrid-search`."""
    streams.prepare()
    try:
        app(prog_name="hybrid-search")
    except streams.ReaderGone:
        sys.exit(OK)
    except streams.OutputLost as error:
        complain(str(error))
        sys.exit(FAILED)
    finally:
        streams.finish()
