"""Fill a collection from a CIFF file, the inverted index that search engines exchange.

    import_ciff("impacts", "index.ciff", corpus="corpus.jsonl")

The frequency of a term in a document becomes its weight. The file has no texts: the documents' are empty, or those of a
corpus. What an export of our own says in `report.json` is heeded, as of Anserini's vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace as with_values
from functools import partial
from pathlib import Path

from typing_extensions import Unpack

from hybrid_search._util.printable import storable
from hybrid_search.errors import CorpusError
from hybrid_search.indexing.progress import IndexReport
from hybrid_search.interop.ciff.reader import CiffFile
from hybrid_search.interop.ciff.texts import Texts
from hybrid_search.interop.import_anserini import ExportReport, as_stored, find_report, leg_asked
from hybrid_search.interop.term_legs import Idf
from hybrid_search.interop.term_vectors import FillOptions, TermVectors, fill_collection

FORMAT = "ciff"


def import_ciff(
    collection: str,
    file: str | Path,
    *,
    corpus: str | Path | None = None,
    model: str | None = None,
    scale: float | None = None,
    idf: Idf | None = None,
    on_report: Callable[[ExportReport], None] | None = None,
    **options: Unpack[FillOptions],
) -> IndexReport:
    """Fill a collection from the index of any engine. The whole file is checked before the first document is written.

    What is there already and has not changed is left alone, what has changed is replaced. Cut short, it goes on where
    it stopped when it is called again. Postings are sorted in temporary files, in bounded memory; the terms and their
    numbers are in memory.

    Args:
        collection: made where it is not there.
        file: to read; one that ends in `.gz` is compressed.
        corpus: a file of JSON lines, `{"_id", "title", "text"}`, that has the documents' texts.
        model: whose vocabulary the terms are of, as `import_anserini` has it.
        scale: divides the weights; the report's when not given, else 1.
        idf: which side has the inverse document frequency, as `import_anserini` has it.
        on_report: called with what an export of our own says, where one was found.
        options: as `fill_collection` has them; `prune` deletes documents that the file does not hold.

    Returns:
        What was done. `passed_over` counts documents that the corpus lacks, besides what `fill_collection` counts.

    Raises:
        CorpusError: a file cannot be read, is damaged or no CIFF; an id comes twice; the corpus has the text of no
            document, or is invalid. Nothing was written.
        StoreFull: there is no room for temporary files.
        HybridSearchError: whatever else `fill_collection` raises.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise CorpusError(f"{path} is no file. Nothing was written.")
    report = find_report([path], FORMAT)
    leg = leg_asked(report, on_report, model, idf, scale)
    with ExitStack() as stack:
        texts = stack.enter_context(closing(Texts(Path(corpus).expanduser()))) if corpus is not None else None
        ciff = stack.enter_context(CiffFile(path))
        filled = fill_collection(collection, partial(read_documents, ciff, report, texts), leg, **options)
        if texts is None:
            return filled
        return with_values(filled, passed_over={**filled.passed_over, **texts.passed_over()})


def read_documents(ciff: CiffFile, report: ExportReport | None, texts: Texts | None) -> Iterator[TermVectors]:
    """Yield the documents of a file with their texts.

    Args:
        ciff: the file.
        report: what an export of our own says of it.
        texts: by the documents' ids; of an export of our own those of passages, `ID#0`, have texts of their own.

    Raises:
        CorpusError: an id or a term is not written as an export writes them, or the corpus has no text at all.
    """
    name = storable(str(ciff.path))
    if texts is not None:
        texts.start_over()
    for found in ciff.documents():
        origin = f"{name}, byte {found.offset}"
        try:
            doc_id, number, weights = as_stored(found.doc_id, found.weights, report)
        except ValueError as error:
            raise CorpusError(f"{origin}: {error}. Nothing was written.") from error
        if texts is None:
            yield TermVectors(doc_id, "", weights=weights, origin=origin, number=number)
        else:
            passage = f"{doc_id}#{number}"
            document = texts.of(passage if _is_passage(found.doc_id, number, report) else doc_id)
            yield TermVectors(
                doc_id, document.text, document.title, document.metadata, weights, origin=origin, number=number
            )
    if texts is not None:
        texts.check()


def _is_passage(exported: str, number: int, report: ExportReport | None) -> bool:
    return report is not None and report.passages and exported.endswith(f"#{number}")
