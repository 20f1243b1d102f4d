"""`hybrid-search collections add-leg`."""

from __future__ import annotations

from typing import Annotated, cast, get_args

import typer

from hybrid_search.cli import completion, options
from hybrid_search.cli.command import global_options
from hybrid_search.cli.console import note
from hybrid_search.cli.index_view import show_report
from hybrid_search.cli.options import choice, device_of, precision_of, sparsity_of
from hybrid_search.cli.progress import progress_display
from hybrid_search.types import Kind

KINDS: tuple[Kind, ...] = get_args(Kind)


def add_leg(
    name: options.CollectionName,
    leg: Annotated[str, typer.Argument(metavar="LEG", help="The name of the new leg.")],
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A model or model folder.", autocompletion=completion.encoders),
    ],
    kind: Annotated[
        str | None,
        typer.Option(metavar="|".join(KINDS), help="Which vectors to take of a model that gives both.  [sparse]"),
    ] = None,
    precision: options.Precision = None,
    device: options.Device = None,
    max_active_dims: options.MaxActiveDims = "",
    min_weight: options.MinWeight = "",
    wait: options.Wait = 0.0,
    progress: options.Progress = "auto",
) -> None:
    """Put a leg with another model beside those of a collection: the stored texts are encoded, no source is read.

    Searches do not use the new leg until `--mode` names it or `collections join-leg` takes it into `hybrid`.

    Example: `hybrid-search collections add-leg movies new ./my-model`
    """
    from hybrid_search.indexing.add_leg import add_leg

    wanted = None if kind is None else cast("Kind", choice(kind, KINDS, "--kind"))
    try:
        with progress_display(progress, collection=name, leg=leg) as callbacks:
            report = add_leg(
                name,
                leg,
                model,
                kind=wanted,
                precision=precision_of(precision),
                sparsity=sparsity_of(max_active_dims, min_weight),
                settings=global_options.settings(device=device_of(device)),
                wait_s=wait,
                **callbacks._asdict(),
            )
    except KeyboardInterrupt:
        note(f"\nWhat was encoded so far is kept. Run the same command again to finish the leg {leg!r}.")
        raise
    show_report(report, progress)
    note(f"The leg {leg!r} stands beside the others. Search it: --mode {leg}. See old and new side by side:")
    note(f"  hybrid-search evaluate DATASET -c {name}")
    note(f"Give it the place of another: hybrid-search collections swap-leg {name} OLD {leg}")
