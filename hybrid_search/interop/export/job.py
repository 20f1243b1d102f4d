"""One export on its way: what every format needs of the collection, and what it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util import batched
from hybrid_search.indexing.progress import JobProgress
from hybrid_search.interop.export.folder import PART_BYTES, ExportFolder, Tally
from hybrid_search.interop.export.quantization import EIGHT_BITS, NONE, Idf, Quantization, quantization, quantized
from hybrid_search.interop.export.queries import ExportedQuery, encoded_queries, heaviest
from hybrid_search.interop.export.source import READ_BATCH, ExportSource, SourceChunk, Statistics
from hybrid_search.interop.export.verify import Weighted


class ExportOptions(NamedTuple):
    """What is asked of an export.

    Args:
        queries: a file of JSON lines, `{"_id", "text"}`.
        quantize: how weights become whole numbers, in the formats that want these; see `quantization`.
        idf: which side carries the inverse document frequency, where the leg needs it.
        verify: compare the rankings afterwards.
        part_bytes: largest size of a file of lines.
        semantic_text: the id of the engine's own inference endpoint, which is to make the sparse vectors there.
        form: of the engine's fields, where it has several; empty for the format's first.
    """

    queries: Path | None = None
    quantize: str = EIGHT_BITS
    idf: Idf = "queries"
    verify: bool = False
    part_bytes: int = PART_BYTES
    semantic_text: str = ""
    form: str = ""


class Format(NamedTuple):
    """A format of another engine.

    Args:
        name: of it.
        write: writes the documents, the queries and what else the engine needs.
        documents: reads the documents' words and weights back from the folder, by the ids in the files.
        queries: reads the queries' words and weights back, by their ids in the files.
        readme: the commands that load and search it, as Markdown, for this export.
        quantizes: it holds whole numbers.
        whole: it holds nothing but whole numbers.
        dense: it holds dense vectors too.
        escape: what becomes of a word.
        longest_term: characters of the longest word that the engine keeps whole; 0 for any.
        smallest: the least weight that the engine takes.
        check: refuses a collection or options that the format cannot hold, before anything is written.
    """

    name: str
    write: Callable[[ExportJob], None]
    documents: Callable[[Path], Iterator[Weighted]]
    queries: Callable[[Path], Mapping[str, Mapping[str, float]]]
    readme: Callable[[ExportJob], str]
    quantizes: bool = False
    whole: bool = False
    dense: bool = False
    escape: Callable[[str], str] = str
    longest_term: int = 0
    smallest: float = 0.0
    check: Callable[[ExportSource, ExportOptions], None] = lambda source, options: None


@dataclass
class ExportJob:
    """One export on its way.

    Args:
        format: what is written.
        source: the collection.
        folder: what is written into.
        options: what is asked.
        progress: of the job.
        facts: what a format has to say besides.
    """

    format: Format
    source: ExportSource
    folder: ExportFolder
    options: ExportOptions
    progress: JobProgress
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def tally(self) -> Tally:
        """What did not survive until now."""
        return self.folder.tally

    @property
    def statistics(self) -> Statistics:
        """What is known of all chunks."""
        return self.source.statistics

    @cached_property
    def queries(self) -> list[ExportedQuery]:
        """The queries, encoded."""
        return encoded_queries(self.source, self.options.queries, self.options.idf)

    @property
    def idf_in_documents(self) -> bool:
        """Whether the documents' weights carry the inverse document frequency."""
        return self.source.spec.needs_idf and self.options.idf == "documents"

    @cached_property
    def factors(self) -> Quantization:
        """How weights become whole numbers; floats stay in formats that hold floats."""
        if not self.format.quantizes:
            return Quantization(NONE, 0.0, 0.0)
        most = self.statistics.heaviest(with_idf=self.idf_in_documents)
        return quantization(self.options.quantize, most, heaviest(self.queries))

    def chunks(self) -> Iterator[SourceChunk]:
        """Yield every chunk, and tell how far it came."""
        for some in batched(self.source.chunks(), READ_BATCH):
            yield from some
            self.progress.add(sum(chunk.payload["number"] == 0 for chunk in some), len(some))

    def document_weights(self, chunk: SourceChunk) -> dict[str, float]:
        """Return the words and weights of a chunk as the format has them, and count what is lost."""
        weights: NDArray[np.floating] = chunk.weights
        if self.idf_in_documents:
            weights = weights * self.statistics.idf(chunk.dimensions)
        if not len(weights):
            self.tally.count("chunks_without_terms", chunk.export_id)
        return self._named(chunk.terms, self._numbers(weights, self.factors.documents), "document")

    def query_weights(self, query: ExportedQuery) -> dict[str, float]:
        """Return the words and weights of a query as the format has them, and count what is lost.

        Words that no document has are left out: they find nothing.
        """
        self.tally.lost["query_weights_of_terms_that_no_document_has"] += int((~query.known).sum())
        terms = [term for term, known in zip(query.terms, query.known, strict=True) if known]
        found = self._named(terms, self._numbers(query.weights[query.known], self.factors.queries), "query")
        if not found:
            self.tally.count("queries_without_terms", query.query_id)
        return found

    def _numbers(self, weights: NDArray[np.floating], factor: float) -> list[float]:
        if factor:
            numbers: list[float] = quantized(weights, factor).tolist()
            return numbers
        return [float(str(weight)) for weight in weights.astype(np.float32)]

    def _named(self, terms: Sequence[str], numbers: Iterable[float], side: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for term, number in zip(terms, numbers, strict=True):
            escaped = self.format.escape(term)
            if not number > 0:
                self.tally.lost[f"{side}_weights_that_became_0"] += 1
            elif number < self.format.smallest:
                self.tally.lost[f"{side}_weights_too_small"] += 1
            elif self.format.longest_term and len(escaped) > self.format.longest_term:
                self.tally.count(f"{side}_terms_too_long", term[:64])
            else:
                if escaped != term:
                    self.tally.lost[f"{side}_terms_escaped"] += 1
                found[escaped] = number
        return found
