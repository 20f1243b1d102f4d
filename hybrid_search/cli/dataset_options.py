"""The options by which a command is told its judged queries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_search.cli.console import note
from hybrid_search.errors import InvalidArgument

if TYPE_CHECKING:
    from hybrid_search.evaluation.datasets import Parts

Dataset = Annotated[
    str | None, typer.Argument(help="A BEIR folder, or a name that ir_datasets knows: beir/scifact/test.")
]
Split = Annotated[str | None, typer.Option(metavar="NAME", help="Take this split of the DATASET: dev, train.  [test]")]
Topics = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Instead of DATASET: TREC topics, or lines of id<TAB>text.")
]
Qrels = Annotated[Path | None, typer.Option(metavar="FILE", help="The TREC judgements of the --topics.")]
Documents = Annotated[
    Path | None, typer.Option(metavar="PATH", help="The documents of the --topics, where no -c NAME has them all.")
]


def tell_fetching(dataset: str | None, parts: Parts) -> None:
    """Say on stderr what may be fetched first.

    Raises:
        InvalidArgument: neither a dataset nor files of one are given.
    """
    from hybrid_search.evaluation.datasets import before_fetching

    if dataset is None and not any(parts.values()):
        raise InvalidArgument(
            "There is no DATASET. Name a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv; a dataset of "
            "ir_datasets; or --topics FILE and --qrels FILE."
        )
    fetching = before_fetching(dataset, parts.get("split"))
    if fetching:
        note(fetching)
