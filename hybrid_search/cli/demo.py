"""`hybrid-search demo`."""

from __future__ import annotations

import json
import shutil
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_search.cli import options
from hybrid_search.cli.command import given
from hybrid_search.cli.console import note, out
from hybrid_search.cli.progress import ended, watching
from hybrid_search.cli.render import index_summary
from hybrid_search.cli.result_view import results_text
from hybrid_search.errors import CorpusError, ManifestMismatch

if TYPE_CHECKING:
    from hybrid_search.settings import Settings

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
    films = movies_folder()
    with watching(progress, collection=COLLECTION, sources=[str(films)]) as watchers:
        try:
            indexer = Indexer.open(COLLECTION, settings=settings, profile=profile)
            report = indexer.index(films, **watchers._asdict())
        except ManifestMismatch:
            if not _holds_only(films, settings):
                raise
            note(f"The collection {COLLECTION!r} was built with other models, and holds nothing but films: built anew.")
            indexer = Indexer.open(COLLECTION, settings=settings, profile=profile, replace=True)
            report = indexer.index(films, **watchers._asdict())
    ended(progress, report)
    out.print(index_summary(report))
    with Searcher.open(COLLECTION, settings=settings) as searcher:
        searcher.warm_up()
        for query in QUERIES:
            out.print()
            out.print(results_text(searcher.search(query, k=3), out.width))
    note(f"\nYour turn:  {_program()} search 'an old man and the sea' -c {COLLECTION}")
    note(f"Your files: {_program()} index FOLDER -c notes")
    note(f"            {_program()} search 'your question' -c notes")


def _holds_only(films: Path, settings: Settings) -> bool:
    """Whether the collection has no other documents: an earlier demo, which may be built anew."""
    from hybrid_search.collection.models import open_store_for

    with (films / "corpus.jsonl").open(encoding="utf-8") as lines:
        doc_ids = {json.loads(line)["_id"] for line in lines}
    store = open_store_for(None, settings)
    found = store.manifest(COLLECTION)
    if found is None:
        return True
    writer = store.writer(COLLECTION, found)
    try:
        return doc_ids.issuperset(writer.doc_ids())
    finally:
        writer.close()


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
