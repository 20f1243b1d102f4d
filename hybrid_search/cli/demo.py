"""`hybrid-search demo`."""

from __future__ import annotations

import shutil
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from hybrid_search.cli import options
from hybrid_search.cli.progress import watching
from hybrid_search.cli.render import index_summary, results_text
from hybrid_search.cli.verb import given, note, out
from hybrid_search.errors import CorpusError

COLLECTION = "movies"
QUERIES = (
    "A movie about music",
    "prizefighting",
    "kestrel falconry Barnsley",
)


def demo(
    profile: options.Profile = "auto",
    progress: Annotated[str, typer.Option(metavar="auto|bar|json|none")] = "auto",
) -> None:
    """Index a small collection of films, run three searches, and show where each hit came from.

    Example: `hybrid-search demo`
    """
    from hybrid_search.indexer import Indexer
    from hybrid_search.searcher import Searcher

    settings = given.settings()
    with watching(progress) as watchers:
        indexer = Indexer.open(COLLECTION, settings=settings, profile=profile)
        report = indexer.index(movies_folder(), **watchers._asdict())
    out.print(index_summary(report))
    with Searcher.open(COLLECTION, settings=settings) as searcher:
        searcher.warm_up()
        for query in QUERIES:
            out.print()
            out.print(results_text(searcher.search(query, k=3), out.width))
    note(f"\nYour turn:  {_program()} search 'an old man and the sea' -c {COLLECTION}")
    note(f"Your files: {_program()} index FOLDER -c notes")
    note(f"            {_program()} search 'your question' -c notes")


def _program() -> str:
    """What to type for this program: its name where the shell finds it, else the path it was started by."""
    return "hybrid-search" if shutil.which("hybrid-search") else sys.argv[0]


def movies_folder() -> Path:
    """The demo collection: inside the installed package, or beside it in a checkout.

    Raises:
        CorpusError: it is in neither place.
    """
    package = Path(str(resources.files("hybrid_search")))
    for folder in (package / "data" / "movies", package.parent / "datasets" / "movies"):
        if (folder / "corpus.jsonl").is_file():
            return folder
    raise CorpusError(f"The demo collection is neither in {package} nor beside it. Install hybrid-search again.")
