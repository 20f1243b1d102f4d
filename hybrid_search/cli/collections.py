"""`hybrid-search collections`."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_search._util.printable import printable
from hybrid_search.cli import add_leg, adopt, completion, move, options, snapshot
from hybrid_search.cli.command import FAILED, INTERRUPTED, command, global_options
from hybrid_search.cli.console import complain, note, out
from hybrid_search.cli.options import CollectionName as Name
from hybrid_search.cli.options import choice
from hybrid_search.cli.render import collections_table, verification_text
from hybrid_search.cli.streams import print_json
from hybrid_search.errors import InvalidArgument
from hybrid_search.types import in_order

if TYPE_CHECKING:
    from hybrid_search.protocols import Store

app = typer.Typer(no_args_is_help=True, help="List, show, verify, copy and delete collections, and change their legs.")

Leg = Annotated[str, typer.Argument(metavar="LEG", help="The leg.", autocompletion=completion.legs)]


@command(app, "list")
def list_(format: options.Format = "table") -> None:
    """List the collections of the store.

    Example: `hybrid-search collections list`
    """
    from hybrid_search.collection.models import open_store_for
    from hybrid_search.errors import StoreError

    choice(format, ("table", "json"), "--format")
    store = open_store_for(None, global_options.settings())
    infos = []
    for name in store.names():
        try:
            infos.append(store.info(name))
        except StoreError as error:
            note(str(error))
    if format == "json":
        print_json([info.to_dict() for info in infos])
    elif infos:
        out.print(collections_table(infos))
    else:
        note(f"No collections in {store.location}. Make one: hybrid-search index SOURCE -c NAME")


@command(app, "show")
def show(name: Name) -> None:
    """Show what a collection holds and what it was built with, as JSON.

    Example: `hybrid-search collections show movies`
    """
    from hybrid_search.collection.models import open_store_for

    info = open_store_for(None, global_options.settings()).info(name)
    print_json({**info.counts(), "manifest": info.manifest.to_dict()}, indent=2)


@command(app, "verify")
def verify(
    name: Annotated[
        str | None,
        typer.Argument(help="The collection; all of them where none is named.", autocompletion=completion.collections),
    ] = None,
    format: options.Format = "table",
) -> None:
    """Check every file, every byte and every point of a collection against what was written.

    Example: `hybrid-search collections verify movies`
    """
    from hybrid_search.diagnostics.verify import verify

    choice(format, ("table", "json"), "--format")
    verifications = verify(name, settings=global_options.settings())
    if format == "json":
        print_json([verification.to_dict() for verification in verifications])
    elif verifications:
        out.print(verification_text(verifications), soft_wrap=True)
    damaged = [verification.collection for verification in verifications if not verification.whole]
    if damaged:
        complain(f"Damaged: {', '.join(damaged)}.")
        raise typer.Exit(FAILED)


command(app, "adopt")(adopt.adopt)
command(app, "push")(move.push)
command(app, "pull")(move.pull)
command(app, "copy")(move.copy)
command(app, "snapshot")(snapshot.snapshot)
command(app, "restore")(snapshot.restore)


@command(app, "delete")
def delete(
    name: Name,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Delete without asking; needed where there is no terminal to ask on.")
    ] = False,
) -> None:
    """Delete a collection and everything in it, after a question.

    Example: `hybrid-search collections delete movies`
    """
    from hybrid_search.collection.models import open_store_for

    store = open_store_for(None, global_options.settings())
    goes = f"{name!r} from {store.location}: {_held(store, name)}"
    if not yes and not _agreed(goes, name):
        note("Nothing was deleted.")
        raise typer.Exit(INTERRUPTED)
    store.delete(name)
    note(f"Deleted {goes}.")


def _held(store: Store, name: str) -> str:
    """Return in words what goes with a collection.

    Raises:
        CollectionNotFound: there is none.
    """
    from hybrid_search.errors import CollectionNotFound, StoreError

    try:
        info = store.info(name)
    except CollectionNotFound:
        raise
    except StoreError:  # damaged, or not finished: it can be deleted all the same
        return "what it holds cannot be read"
    documents = "1 document" if info.documents == 1 else f"{info.documents:,} documents"
    return f"{documents} in {'1 chunk' if info.points == 1 else f'{info.points:,} chunks'}"


def _agreed(goes: str, name: str) -> bool:
    """Ask the person at the terminal, and return whether they want it gone.

    Raises:
        InvalidArgument: there is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidArgument(
            f"To delete {goes}, say so, for there is no terminal to ask on: "
            f"{global_options.program()} collections delete {shlex.quote(name)} --yes"
        )
    try:
        return typer.confirm(printable(f"Delete {goes}? It cannot be brought back."), err=True)
    except typer.Abort:
        return False


command(app, "add-leg")(add_leg.add_leg)


@command(app, "swap-leg")
def swap_leg(
    name: Name,
    old: Annotated[
        str,
        typer.Argument(
            metavar="OLD", help="The leg whose name and place change hands.", autocompletion=completion.legs
        ),
    ],
    new: Annotated[
        str,
        typer.Argument(
            metavar="NEW", help="The leg that gets them; the old one is kept as NEW.", autocompletion=completion.legs
        ),
    ],
) -> None:
    """Swap the names and places of two legs of a collection. The same command takes it back.

    Example: `hybrid-search collections swap-leg movies sparse new`
    """
    from hybrid_search.collection.legs import swap_legs

    manifest = swap_legs(name, old, new, settings=global_options.settings())
    note(f"{old!r} of {name!r} is {manifest.legs[old].model} now; {new!r} is {manifest.legs[new].model}.")


@command(app, "join-leg")
def promote_leg(name: Name, leg: Leg) -> None:
    """Include a shadow leg in `hybrid`.

    Example: `hybrid-search collections join-leg movies bm25`
    """
    from hybrid_search.collection.legs import promote_leg

    manifest = promote_leg(name, leg, settings=global_options.settings())
    note(f"Hybrid search of {name!r} fuses {', '.join(manifest.fused())} now.")


@command(app, "drop-leg")
def drop_leg(name: Name, leg: Leg) -> None:
    """Remove a leg of a collection and its vectors.

    Example: `hybrid-search collections drop-leg movies new`
    """
    from hybrid_search.collection.legs import drop_leg

    manifest = drop_leg(name, leg, settings=global_options.settings())
    note(f"Dropped {leg!r} from {name!r}. It has: {', '.join(in_order(manifest.legs))}.")
