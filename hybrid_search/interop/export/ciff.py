"""CIFF, the Common Index File Format: an inverted index of whole-number impacts, and topics.

Documents are numbered in the order in which the collection gives them. The frequency of a term in a document is its
impact, its weight as a whole number above 0; the length of a document is the sum of its impacts, as of an index of
pseudo documents that repeat each term so often. Terms stand in the order of their UTF-8 bytes, as Lucene has them.
Source: osirrc/ciff, `CommonIndexFileFormat.proto`, `ExportAnseriniLuceneIndex`, `ReadCIFF`.

In memory are the terms, a number for each, and some postings; the rest is in temporary files inside the folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search import __version__
from hybrid_search.errors import InvalidArgument
from hybrid_search.interop.chunks import disk_errors
from hybrid_search.interop.ciff import messages
from hybrid_search.interop.ciff.messages import Header, document_message, header_message, list_start
from hybrid_search.interop.ciff.reader import CiffFile
from hybrid_search.interop.ciff.stream import LARGEST
from hybrid_search.interop.ciff.turning import (
    AT_ONCE,
    POSTING,
    Postings,
    PostingsFile,
    Range,
    postings_file,
    ranges_of,
    sort_into,
    sorted_by_key,
    temporary_file,
)
from hybrid_search.interop.export import anserini
from hybrid_search.interop.export.escaping import CONTROLS, escaper
from hybrid_search.interop.export.job import ExportJob, Format
from hybrid_search.interop.export.readme import readme as page
from hybrid_search.interop.export.verify import Weighted

INDEX = "index.ciff"
COPIED = 1 << 20

escape_term = escaper(rf"\s{CONTROLS}")
"""Queries part terms by blanks, and PISA keeps terms as lines."""


class _Gathered(NamedTuple):
    """What was read of the collection: its terms in order, where each term stood first, and counts."""

    terms: list[str]
    ranks: NDArray[np.int32]
    documents: int
    impacts: int


def write(job: ExportJob) -> None:
    """Write the index and the topics."""
    folder = job.folder.partial
    with temporary_file(folder) as records, postings_file(folder) as spooled, postings_file(folder) as turned:
        gathered = _gather(job, spooled, records)
        job.folder.write(INDEX, _index(gathered, spooled, turned, records))
        job.facts["postings"] = spooled.count
    if job.options.queries is not None:
        anserini.write_topics(job)


def _gather(job: ExportJob, spooled: PostingsFile, records: IO[bytes]) -> _Gathered:
    """Read every chunk: its postings go to one file, and its record to another."""
    numbers: dict[str, int] = {}
    documents = impacts = 0
    for chunk in job.chunks():
        weights = job.document_weights(chunk)
        block = np.empty(len(weights), POSTING)
        block["key"] = [numbers.setdefault(term, len(numbers)) for term in weights]
        block["other"], block["weight"] = documents, list(weights.values())
        spooled.append(block)
        length = int(sum(weights.values()))
        if length > LARGEST:
            raise InvalidArgument(
                f"The impacts of {chunk.export_id!r} sum to {length:,}, above 2^31; take a smaller factor to quantize."
            )
        with disk_errors(spooled.place):
            records.write(document_message(documents, chunk.export_id, length))
        documents, impacts = documents + 1, impacts + length
    terms = sorted(numbers)
    ranks = np.empty(len(terms), np.int32)
    ranks[[numbers[term] for term in terms]] = np.arange(len(terms), dtype=np.int32)
    return _Gathered(terms, ranks, documents, impacts)


def _index(gathered: _Gathered, spooled: PostingsFile, turned: PostingsFile, records: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of the file."""
    lists, documents, impacts = len(gathered.terms), gathered.documents, gathered.impacts
    average = impacts / documents if documents else 0.0
    description = f"Impacts as term frequencies, written by hybrid-search {__version__}"
    yield header_message(
        Header(messages.VERSION, lists, documents, lists, documents, impacts, average, description),
    )
    spooled.flush()
    counts = np.zeros(lists, np.int64)
    for block in spooled.blocks(0, spooled.count):
        counts += np.bincount(gathered.ranks[block["key"]], minlength=lists)
    ranges = ranges_of(counts)
    sort_into(spooled, turned, ranges, lambda keys: gathered.ranks[keys])
    for part in ranges:
        few = part.last - part.first <= AT_ONCE
        yield from _lists(turned, part, gathered.terms) if few else _long_list(turned, part, gathered.terms)
    records.seek(0)
    while copied := records.read(COPIED):
        yield copied


def _lists(turned: PostingsFile, part: Range, terms: list[str]) -> Iterator[bytes]:
    """Yield the lists of some terms."""
    postings = sorted_by_key(turned.read(part.first, part.last))
    keys, numbers, impacts = postings["key"], postings["other"], postings["weight"]
    firsts = np.flatnonzero(np.diff(keys, prepend=-1))
    gaps = np.diff(numbers, prepend=0)
    gaps[firsts] = numbers[firsts]
    content = messages.posting_bytes(gaps, impacts)
    ends = np.cumsum(messages.posting_sizes(gaps, impacts))
    sums = np.add.reduceat(impacts, firsts, dtype=np.int64).tolist()
    lasts = [*firsts[1:].tolist(), len(postings)]
    place = 0
    for first, last, impact in zip(firsts.tolist(), lasts, sums, strict=True):
        end = int(ends[last - 1])
        yield list_start(terms[keys[first]], last - first, impact, end - place)
        yield content[place:end].tobytes()
        place = end


def _long_list(turned: PostingsFile, part: Range, terms: list[str]) -> Iterator[bytes]:
    """Yield the list of a term with more postings than are held at once; they lie in the order of the documents."""

    def blocks() -> Iterator[tuple[NDArray[np.int32], Postings]]:
        last = 0
        for block in turned.blocks(part.first, part.last):
            yield np.diff(block["other"], prepend=np.int32(last)), block
            last = block["other"][-1]

    size = sum(int(messages.posting_sizes(gaps, block["weight"]).sum()) for gaps, block in blocks())
    if size > LARGEST:
        raise InvalidArgument(f"The postings of {terms[part.end - 1]!r} have {size:,} bytes; CIFF holds up to 2^31.")
    impacts = sum(int(block["weight"].sum(dtype=np.int64)) for _, block in blocks())
    yield list_start(terms[part.end - 1], part.last - part.first, impacts, size)
    for gaps, block in blocks():
        yield messages.posting_bytes(gaps, block["weight"]).tobytes()


def documents(folder: Path) -> Iterator[Weighted]:
    """Yield the ids of the documents with their terms' impacts, of the file alone."""
    with CiffFile(folder / INDEX, folder) as file:
        for document in file.documents():
            yield document.doc_id, document.weights


def queries(folder: Path) -> Mapping[str, Mapping[str, float]]:
    """Return the terms' weights of each query."""
    return anserini.queries(folder)


COMMANDS = f"""
`{INDEX}` has the impact of each term in a document as its term frequency. An engine has to add up these numbers as they
are: no BM25 over them.

## PISA

    cargo install ciff
    ciff2pisa --ciff-file {INDEX} --output coll
    lexicon build coll.terms coll.termlex
    lexicon build coll.documents coll.doclex
    compress_inverted_index --encoding block_simdbp --collection coll --output coll.idx
    create_wand_data --collection coll --block-size 40 --scorer quantized --output coll.bmw
    sed 's/\\t/:/' {anserini.TSV} > topics.pisa
    evaluate_queries --encoding block_simdbp --index coll.idx --wand coll.bmw --algorithm block_max_wand \\
      --scorer quantized --weighted --tokenizer whitespace --terms coll.termlex --documents coll.doclex \\
      -k 1000 --queries topics.pisa > run.trec

PISA takes a query's id from what stands before the first colon.

## Lucene and Anserini

    CiffImporter {INDEX} lucene-index

`CiffImporter` is that of `lucene-ciff` (informagi). `hybrid-search export anserini` writes what Anserini indexes
itself.

## Terrier

    bin/terrier -P com.github.terrierteam:terrier-ciff:0.2 ciff-ingest {INDEX}

Search it with the weighting model `Tf` and no term pipeline.

## JASS

    ciff_to_JASS {INDEX} -passthrough -2

Without `-passthrough` it makes BM25 of the impacts.

## Check

    ReadCIFF -input {INDEX}

The length of a document is the sum of its impacts, so both checks of `ReadCIFF` pass.

## And back

    hybrid-search evaluate DATASET --from-run run.trec
    hybrid-search import ciff {INDEX} -c NAME
"""


def readme(job: ExportJob) -> str:
    """Return the commands of the engines that read CIFF."""
    return page(job, "engines that read CIFF", COMMANDS)


FORMAT = Format("ciff", write, documents, queries, readme, quantizes=True, whole=True, escape=escape_term)
