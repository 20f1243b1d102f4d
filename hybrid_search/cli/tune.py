"""`hybrid-search tune`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_search.cli import completion, options
from hybrid_search.cli.command import global_options
from hybrid_search.cli.console import err, note, out
from hybrid_search.cli.dataset_options import Dataset, Documents, Qrels, Split, Topics, tell_fetching
from hybrid_search.cli.options import choice, device_of
from hybrid_search.cli.progress import progress_display
from hybrid_search.cli.search_options import rerank_of
from hybrid_search.cli.streams import print_json
from hybrid_search.errors import InvalidArgument

if TYPE_CHECKING:
    from hybrid_search.evaluation.datasets import Parts
    from hybrid_search.evaluation.tune import TuneReport
    from hybrid_search.settings import Settings


def tune(
    *,
    dataset: Dataset = None,
    split: Split = None,
    topics: Topics = None,
    qrels: Qrels = None,
    documents: Documents = None,
    collection: Annotated[
        str | None,
        options.collection_option("Tune this collection, instead of one that is built."),
    ] = None,
    profile: options.Profile = "auto",
    device: options.Device = None,
    measure: Annotated[
        str, typer.Option(metavar="MEASURE", help="What to be good at, as ir_measures writes it.")
    ] = "nDCG@10",
    rerank: Annotated[
        str | None,
        typer.Option(metavar="[MODEL]", help="Try a cross-encoder, too.", autocompletion=completion.rerankers),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="The same seed gives the same choice.")] = 0,
    apply: Annotated[
        bool, typer.Option("--apply", help="Let every search of the collection use the choice, if it is recommended.")
    ] = False,
    reset: Annotated[
        bool, typer.Option("--reset", help="Take no DATASET: take an applied choice back, and say what it was.")
    ] = False,
    format: options.Format = "table",
    progress: options.Progress = "auto",
) -> None:
    """Choose fusion, weights, depth and more for a collection, on queries with known answers.

    What the choice is worth is measured on queries that it was not made on. Nothing is changed without --apply.

    Example: `hybrid-search tune datasets/movies -c movies`
    """
    choice(format, ("table", "json"), "--format")
    settings = global_options.settings(device=device_of(device))
    if (apply or reset) and collection is None:
        raise InvalidArgument("Name the collection that is to be changed: -c NAME")
    if reset:
        return _reset(dataset, str(collection), settings)
    parts: Parts = {"split": split, "topics": topics, "qrels": qrels, "documents": documents}
    tell_fetching(dataset, parts)
    report = _tuned(dataset, parts, collection, profile, measure, rerank, seed, settings, progress)
    for remark in report.notes:
        note(remark)
    if format == "json":
        print_json(report.to_dict())
    else:
        from hybrid_search.cli.tune_view import report_text

        out.print(report_text(report, typed=dataset or "...", named=collection is not None, applying=apply))
    if apply:
        _apply(report, settings)


def _tuned(
    dataset: str | None,
    parts: Parts,
    collection: str | None,
    profile: str,
    measure: str,
    rerank: str | None,
    seed: int,
    settings: Settings,
    progress: str,
) -> TuneReport:
    from hybrid_search.evaluation.tune import tune
    from hybrid_search.search.rerank import default_name

    asked = None if rerank is None else rerank_of(rerank)
    reranker = default_name(settings) if asked is True else asked or None
    with progress_display(progress if collection is None else "none") as callbacks, _stages(progress) as tell:
        return tune(
            dataset,
            settings=settings,
            collection=collection,
            profile=profile,
            measure=measure,
            rerank=reranker,
            seed=seed,
            parts=parts,
            on_progress=tell,
            watch=callbacks._asdict(),
        )


@contextmanager
def _stages(kind: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show in one line of a terminal which stage tuning is in; nothing elsewhere."""
    if kind not in ("auto", "bar") or not err.is_terminal:
        yield lambda stage, done, whole: None
        return

    def tell(stage: str, done: int, whole: int) -> None:
        err.file.write(f"\r\x1b[K{stage} {done:,} of {max(done, whole):,}")
        err.file.flush()

    try:
        yield tell
    finally:
        err.file.write("\r\x1b[K")
        err.file.flush()


def _apply(report: TuneReport, settings: Settings) -> None:
    from hybrid_search.collection.defaults import set_search_defaults

    if report.verdict != "recommend":
        note(f"Nothing was applied: searches of {report.collection!r} stay as they are.")
        return
    set_search_defaults(report.collection, report.to_apply(), settings=settings)
    note(
        f"Every search of {report.collection!r} uses this from now on, where it does not say otherwise. "
        f"To take it back: hybrid-search tune -c {report.collection} --reset"
    )


def _reset(dataset: str | None, collection: str, settings: Settings) -> None:
    from hybrid_search.cli.result_view import tuned_line
    from hybrid_search.collection.defaults import set_search_defaults
    from hybrid_search.collection.models import open_store_for

    if dataset is not None:
        raise InvalidArgument(f"--reset takes no DATASET, and {dataset!r} is given.")
    before = open_store_for(None, settings).info(collection).manifest.search
    if before is None:
        note(f"Nothing was applied to {collection!r}: its searches use the usual settings.")
        return
    set_search_defaults(collection, None, settings=settings)
    note(f"Taken back from {collection!r}, {tuned_line(before.to_dict())}.")
