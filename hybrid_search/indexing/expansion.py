"""The expansion in a job: how documents and a file of expansions fit together, and what a new sparse leg reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from hybrid_search.collection.expansion import Expand, expansion_for
from hybrid_search.collection.models import OnDownload
from hybrid_search.corpus.expansions import Expansions, read_expansions, with_expansion
from hybrid_search.corpus.ledger import Ledger
from hybrid_search.indexing.chunker import GENERATED
from hybrid_search.indexing.progress import Expanded, JobProgress
from hybrid_search.indexing.sources import SAMPLE_DOCUMENTS
from hybrid_search.manifest import Manifest
from hybrid_search.settings import Settings
from hybrid_search.types import Chunk, Document, Kind

NAMED = 5
"""Ids that are named of each kind."""


class LegTexts(NamedTuple):
    """What a leg reads of chunks.

    Args:
        of: returns its texts.
        sample: chunks from which to measure the mean length.
    """

    of: Callable[[Sequence[Chunk]], list[str]]
    sample: int = SAMPLE_DOCUMENTS


def counted(
    documents: Iterator[Document], expansions: Expansions | None, ledger: Ledger, progress: JobProgress
) -> Iterator[Document]:
    """Yield the documents; at their end count those without an expansion, and the expansions without a document.

    Args:
        documents: those that go into the ledger while they are read.
        expansions: of the job; None for no file of them.
        ledger: all documents of the run once they have been read.
        progress: gets the counts.
    """
    yield from documents
    if expansions is not None:
        progress.expanded = _fit(expansions, ledger)


def _fit(expansions: Expansions, ledger: Ledger) -> Expanded:
    documents, unused = 0, 0
    unused_ids: list[str] = []
    for doc_id in expansions.doc_ids():
        if doc_id in ledger:
            documents += 1
            continue
        unused += 1
        if len(unused_ids) < NAMED:
            unused_ids.append(doc_id)
    without = len(ledger) - documents
    bare = (doc_id for doc_id in ledger.doc_ids() if not expansions.of(doc_id))
    return Expanded(documents, without, unused, tuple(islice(bare, min(NAMED, without))), tuple(unused_ids))


@contextmanager
def leg_texts(
    collection: str, manifest: Manifest, kind: Kind, settings: Settings, on_download: OnDownload | None
) -> Iterator[LegTexts]:
    """Open what a leg of an existing collection reads of its chunks: a sparse one their expansions too.

    Args:
        collection: its name.
        manifest: what it was built with.
        kind: of the leg.
        settings: where model files are kept.
        on_download: called while a model is fetched.

    Raises:
        ManifestMismatch: the file of expansions is gone, or has changed.
        HybridSearchError: as for `expansion_for` and `read_expansions`.
    """
    expansion = expansion_for(collection, manifest, None, settings, on_download) if kind == "sparse" else None
    if expansion is None:
        yield LegTexts(lambda chunks: [chunk.searchable for chunk in chunks])
    elif expansion.generate is not None:
        yield LegTexts(_generating(expansion.generate), GENERATED)
    else:
        with closing(read_expansions(Path(expansion.spec.source))) as file:
            yield LegTexts(lambda chunks: [with_expansion(part.searchable, file.of(part.doc_id)) for part in chunks])


def _generating(generate: Expand) -> Callable[[Sequence[Chunk]], list[str]]:
    def texts_of(chunks: Sequence[Chunk]) -> list[str]:
        texts = [chunk.searchable for chunk in chunks]
        return list(map(with_expansion, texts, generate(texts)))

    return texts_of
