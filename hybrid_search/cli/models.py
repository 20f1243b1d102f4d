"""`hybrid-search models`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hybrid_search._util.printable import one_line
from hybrid_search.cli import completion, options
from hybrid_search.cli.command import FAILED, command, global_options
from hybrid_search.cli.console import note, out
from hybrid_search.cli.options import PRECISIONS, choice, device_of
from hybrid_search.cli.progress import progress_display
from hybrid_search.cli.render import comparison_table, figures_table, models_table
from hybrid_search.cli.streams import print_json

if TYPE_CHECKING:
    from hybrid_search.manifest import Precision
    from hybrid_search.settings import Settings
    from hybrid_search.types import ModelCard

app = typer.Typer(no_args_is_help=True, help="List, show, download and verify models.")

KINDS = ("sparse", "dense", "hybrid", "reranker")


def _cards(name: str) -> list[ModelCard]:
    """Return every card of this name; a profile names two, or one for both legs."""
    from hybrid_search.encoders.catalog import PROFILES, card, cards, kind_of
    from hybrid_search.errors import UnknownModel

    if name in PROFILES:
        return list(dict.fromkeys([card(PROFILES[name].sparse, "sparse"), card(PROFILES[name].dense, "dense")]))
    found_cards = [one for one in cards() if one.name.lower() == name.lower()]
    if not found_cards:
        from pathlib import Path

        if Path(name).is_dir():
            return [card(name, kind_of(name))]
        raise UnknownModel(name, [*PROFILES, *(one.name for one in cards())])
    return found_cards


@command(app, "list")
def list_(
    kind: Annotated[str | None, typer.Option(metavar="|".join(KINDS))] = None,
    format: options.Format = "table",
) -> None:
    """List the models known by name, which of them are on this machine, and what is published of their quality.

    Example: `hybrid-search models list --kind sparse`
    """
    from hybrid_search.encoders import hub
    from hybrid_search.encoders.catalog import Kind, cards

    choice(format, ("table", "json"), "--format")
    if kind is not None:
        choice(kind, KINDS, "--kind")
    cache_dir = global_options.settings().cache_dir
    rows = [(one, hub.is_here(one, cache_dir)) for one in cards(cast("Kind | None", kind))]
    if format == "json":
        print_json([{**asdict(one), "here": here} for one, here in rows])
    else:
        out.print(models_table(rows), soft_wrap=True)
        figures = figures_table([one for one, _ in rows])
        if figures:
            out.print(figures, soft_wrap=True)


@command(app, "show")
def show(name: Annotated[str, typer.Argument(help="A model or a profile.", autocompletion=completion.models)]) -> None:
    """Show a model's card, as JSON.

    Example: `hybrid-search models show prithivida/Splade_PP_en_v1`
    """
    print_json([asdict(one) for one in _cards(name)], indent=2)


@command(app, "download")
def download(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Models or profiles.", autocompletion=completion.models)
    ],
) -> None:
    """Fetch models now, so that later runs need no network.

    Example: `hybrid-search models download splade`
    """
    from hybrid_search.encoders import hub

    cache_dir = global_options.settings().cache_dir
    for one in [card for name in names for card in _cards(name)]:
        if one.source:
            with progress_display("auto") as callbacks:
                folder = hub.repaired(one, cache_dir, on_progress=partial(callbacks.on_download, one.name))
            _say(f"{one.name}: {folder}")
        else:
            _say(f"{one.name}: nothing to download")


@command(app, "verify")
def verify(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Models or profiles.", autocompletion=completion.models)
    ],
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="int8|bf16|fp16", help="Measure instead what this precision costs against fp32, in nDCG@10."
        ),
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option("--dataset", metavar="FOLDER", help="A BEIR folder to measure on; may be repeated."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="auto|cpu|cuda", help="The device to measure on; auto takes a GPU where there is one."),
    ] = None,
    format: options.Format = "table",
) -> None:
    """Check the files of models against their checksums, or measure what a precision costs.

    Example: `hybrid-search models verify bundled/all-MiniLM-L6-v2 --precision int8 --dataset datasets/movies`
    """
    from hybrid_search.encoders import hub

    choice(format, ("table", "json"), "--format")
    if precision is not None or datasets:
        return _compare(
            names, precision or "", datasets or [], global_options.settings(device=device_of(device)), format
        )
    cache_dir = global_options.settings().cache_dir
    broken = False
    for one in [card for name in names for card in _cards(name)]:
        for check in hub.verify(one, cache_dir):
            state = {True: "sound", False: "DAMAGED", None: "nothing to compare with"}[check.sound]
            broken = broken or check.sound is False
            _say(f"{one.name}  {check.name}  {check.size:,} bytes  {check.sha256[:16]}  {state}")
    if broken:
        note("Fetch damaged files again: hybrid-search models download NAME")
        raise typer.Exit(FAILED)


def _compare(names: list[str], precision: str, datasets: list[str], settings: Settings, format: str) -> None:
    from hybrid_search.evaluation.precision import compare

    other = cast("Precision", choice(precision, PRECISIONS[1:], "--precision"))
    with progress_display("auto") as callbacks:
        comparisons = [
            compare(one, other, datasets, settings, callbacks._asdict()) for name in names for one in _cards(name)
        ]
    if format == "json":
        print_json([comparison.to_dict() for comparison in comparisons])
    else:
        for comparison in comparisons:
            out.print(comparison_table(comparison))


def _say(line: str) -> None:
    """Print a line of names, in which brackets are not markup."""
    out.print(one_line(line), soft_wrap=True, markup=False)
