"""`hybrid-search collections`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hybrid_search.cli import adopting
from hybrid_search.cli.options import choice
from hybrid_search.cli.render import collections_table, verification
from hybrid_search.cli.verb import FAILED, complain, given, note, out, verb
from hybrid_search.types import in_order

app = typer.Typer(no_args_is_help=True, help="List, show, verify and delete collections, and change their legs.")

app.command("adopt")(verb(adopting.adopt))

Name = Annotated[str, typer.Argument(help="The collection.")]
Leg = Annotated[str, typer.Argument(metavar="LEG", help="The leg.")]
Format = Annotated[str, typer.Option(metavar="table|json")]


@app.command("list")
@verb
def list_(format: Format = "table") -> None:
    """List the collections of the store.

    Example: `hybrid-search collections list`
    """
    from hybrid_search.errors import StoreError
    from hybrid_search.profiles import open_place

    choice(format, ("table", "json"), "--format")
    store = open_place(None, given.settings())
    infos = []
    for name in store.names():
        try:
            infos.append(store.info(name))
        except StoreError as error:
            note(str(error))
    if format == "json":
        typer.echo(json.dumps([info.to_dict() for info in infos]))
    elif infos:
        out.print(collections_table(infos))
    else:
        note(f"No collections in {store.location}. Make one: hybrid-search index SOURCE -c NAME")


@app.command("show")
@verb
def show(name: Name) -> None:
    """Show what a collection holds and what it was built with, as JSON.

    Example: `hybrid-search collections show movies`
    """
    from hybrid_search.profiles import open_place

    info = open_place(None, given.settings()).info(name)
    typer.echo(json.dumps({**info.counts(), "manifest": info.manifest.to_dict()}, indent=2))


@app.command("verify")
@verb
def verify(
    name: Annotated[str | None, typer.Argument(help="The collection; all of them where none is named.")] = None,
    format: Format = "table",
) -> None:
    """Compare all that a collection holds with what was written: every file, every byte, every point.

    Example: `hybrid-search collections verify movies`
    """
    from hybrid_search.verifying import verify

    choice(format, ("table", "json"), "--format")
    found = verify(name, settings=given.settings())
    if format == "json":
        typer.echo(json.dumps([one.to_dict() for one in found]))
    elif found:
        out.print(verification(found), soft_wrap=True)
    damaged = [one.collection for one in found if not one.whole]
    if damaged:
        complain(f"Damaged: {', '.join(damaged)}.")
        raise typer.Exit(FAILED)


@app.command("delete")
@verb
def delete(name: Name) -> None:
    """Delete a collection and everything in it.

    Example: `hybrid-search collections delete movies`
    """
    from hybrid_search.profiles import open_place

    store = open_place(None, given.settings())
    store.delete(name)
    note(f"Deleted {name!r} from {store.location}.")


@app.command("swap-leg")
@verb
def swap_leg(
    name: Name,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The leg whose name and place change hands.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The leg that gets them; the old one is kept as NEW.")],
) -> None:
    """Let two legs of a collection change names and places: one step, which the same command takes back.

    Example: `hybrid-search collections swap-leg movies sparse new`
    """
    from hybrid_search.changing import swap_legs

    manifest = swap_legs(name, old, new, settings=given.settings())
    note(f"{old!r} of {name!r} is {manifest.legs[old].model} now; {new!r} is {manifest.legs[new].model}.")


@app.command("join-leg")
@verb
def join_leg(name: Name, leg: Leg) -> None:
    """Take a leg that stands beside the others into `hybrid`.

    Example: `hybrid-search collections join-leg movies bm25`
    """
    from hybrid_search.changing import join_leg

    manifest = join_leg(name, leg, settings=given.settings())
    note(f"Hybrid search of {name!r} fuses {', '.join(manifest.fused())} now.")


@app.command("drop-leg")
@verb
def drop_leg(name: Name, leg: Leg) -> None:
    """Remove a leg of a collection and its vectors.

    Example: `hybrid-search collections drop-leg movies new`
    """
    from hybrid_search.changing import drop_leg

    manifest = drop_leg(name, leg, settings=given.settings())
    note(f"Dropped {leg!r} from {name!r}. It has: {', '.join(in_order(manifest.legs))}.")
