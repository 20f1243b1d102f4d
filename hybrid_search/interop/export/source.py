"""A collection on its way out: its chunks with the words and weights of one sparse leg, and what is known of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hybrid_search._util import batched
from hybrid_search._util.mapped_files import release_mapped
from hybrid_search.collection.models import ModelSet, load_models, open_store_for
from hybrid_search.errors import CollectionChanged, InvalidArgument, StoreError
from hybrid_search.interop.chunks import iter_chunk_ids, unfinished
from hybrid_search.interop.export.escaping import export_id
from hybrid_search.manifest import LegSpec
from hybrid_search.protocols import CollectionReader, SparseEncoder, Store
from hybrid_search.settings import Settings
from hybrid_search.types import LegName, SparseVector

READ_BATCH = 256
"""Chunks that are read at once."""

RELEASE_EVERY = 16
"""After so many batches the memory of mapped files is given back; that costs about a millisecond, and reading again."""


class SourceChunk(NamedTuple):
    """One chunk of a collection.

    Args:
        export_id: its document's id, with `#number` where the document has several.
        payload: as stored.
        terms: the words of its sparse vector, as the model's vocabulary has them.
        dimensions: of the same, shape (active dims,), rising.
        weights: of the same, float32, without the inverse document frequency.
        dense: of each dense leg that was asked for, its vector.
    """

    export_id: str
    payload: Mapping[str, Any]
    terms: list[str]
    dimensions: NDArray[np.int32]
    weights: NDArray[np.float32]
    dense: Mapping[LegName, NDArray[np.float32]]


@dataclass(frozen=True)
class Statistics:
    """What is known of all chunks of a sparse leg.

    Args:
        chunks: their number.
        empty: how many have no weight.
        weights: their number over all chunks.
        passages: some document has several chunks.
        dimensions: those that occur, rising.
        frequencies: in how many chunks each occurs.
        peaks: the largest weight of each.
    """

    chunks: int
    empty: int
    weights: int
    passages: bool
    dimensions: NDArray[np.int64]
    frequencies: NDArray[np.int64]
    peaks: NDArray[np.float32]

    def frequency(self, dimensions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return in how many chunks dimensions occur, 0 for those that do not."""
        if not self.dimensions.size:
            return np.zeros(len(dimensions), np.int64)
        places = np.minimum(np.searchsorted(self.dimensions, dimensions), self.dimensions.size - 1)
        return np.where(self.dimensions[places] == dimensions, self.frequencies[places], 0)

    def idf(self, dimensions: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return `ln(1 + (N - df + 0.5) / (df + 0.5))`, as the engine multiplies it in; N counts chunks with a vector.

        Source: Robertson & Zaragoza, The Probabilistic Relevance Framework, 2009, in the form of Lucene.
        """
        found = self.frequency(dimensions)
        return np.log1p((self.chunks - self.empty - found + 0.5) / (found + 0.5))

    def heaviest(self, *, with_idf: bool) -> float:
        """Return the largest weight of all chunks, 0 where there is none."""
        if not self.peaks.size:
            return 0.0
        return float((self.peaks * self.idf(self.dimensions)).max() if with_idf else self.peaks.max())


class ExportSource:
    """A collection that is open to be read from its first chunk to its last, as often as needed.

    Args:
        collection: its name.
        reader: of it.
        leg: the sparse one whose words are exported.
        dense: the dense legs whose vectors are wanted.
        settings: where its models are.
        place: the folder of its store; empty for a server.
    """

    def __init__(
        self,
        collection: str,
        reader: CollectionReader,
        leg: LegName,
        dense: tuple[LegName, ...],
        settings: Settings,
        place: str = "",
    ) -> None:
        self.collection, self.reader, self.leg, self.dense = collection, reader, leg, dense
        self._settings, self._place = settings, place

    @property
    def spec(self) -> LegSpec:
        """The sparse leg, as it was built."""
        return self.reader.manifest.legs[self.leg]

    @cached_property
    def models(self) -> ModelSet:
        """The models of the legs that leave, which queries are encoded with. Loaded when first needed."""
        manifest = self.reader.manifest
        kept = {leg: spec for leg, spec in manifest.legs.items() if leg in (self.leg, *self.dense)}
        return load_models(self.collection, replace(manifest, legs=kept), self._settings)

    @cached_property
    def statistics(self) -> Statistics:
        """What is known of all chunks. Reads every sparse vector once.

        Raises:
            InvalidArgument: a weight is below 0.
            CollectionChanged, StoreError: as `chunks`.
        """
        return _count(self)

    def chunks(self) -> Iterator[SourceChunk]:
        """Yield every chunk, document by document, in the same order each time.

        Raises:
            StoreError: a document is being written.
        """
        stored_as = self.reader.manifest.vectors()[self.leg]
        for chunk_ids in self.batches():
            payloads = self.reader.payloads(chunk_ids)
            vectors = self.reader.vectors(self.leg, chunk_ids)
            dense = {leg: self.reader.vectors(leg, chunk_ids) for leg in self.dense}
            for chunk_id in chunk_ids:
                if chunk_id not in payloads:
                    raise unfinished(self.collection, chunk_id)
                payload = payloads[chunk_id]
                vector = cast(SparseVector, vectors.get(chunk_id, _EMPTY))
                yield SourceChunk(
                    export_id(payload["doc_id"], payload["number"], payload["chunks"] if payload["number"] == 0 else 2),
                    payload,
                    stored_terms(payload, stored_as, vector) or self.names(vector.indices),
                    vector.indices,
                    vector.values,
                    {leg: cast(Any, found[chunk_id]) for leg, found in dense.items() if chunk_id in found},
                )

    def batches(self) -> Iterator[list[str]]:
        """Yield the ids of every chunk, some at a time. What the store maps of its files is given back on the way."""
        for number, chunk_ids in enumerate(batched(iter_chunk_ids(self.collection, self.reader), READ_BATCH), 1):
            yield chunk_ids
            if number % RELEASE_EVERY == 0 and self._place:
                release_mapped(self._place)

    def names(self, dimensions: NDArray[np.integer]) -> list[str]:
        """Return a word for each dimension, of which no two that occur in the collection have the same.

        The model may show two entries of its vocabulary as one word, such as RoBERTa's with and without a blank before
        it; all but the first then have their number behind them: `music#4097`.
        """
        named = cast(SparseEncoder, self.models.encoders[self.leg]).terms(dimensions.tolist())
        return [self._numbered.get(number, name) for number, name in zip(dimensions.tolist(), named, strict=True)]

    @cached_property
    def _numbered(self) -> dict[int, str]:
        dimensions = self.statistics.dimensions.tolist()
        names = cast(SparseEncoder, self.models.encoders[self.leg]).terms(dimensions)
        first = dict(zip(reversed(names), reversed(dimensions), strict=True))
        pairs = zip(dimensions, names, strict=True)
        return {number: f"{name}#{number}" for number, name in pairs if first[name] != number}

    def close(self) -> None:
        """Close the collection."""
        self.reader.close()


_EMPTY = SparseVector.of([], [])


def open_source(
    collection: str,
    settings: Settings,
    *,
    store: str | Path | Store | None = None,
    leg: LegName | None = None,
    dense: bool = False,
) -> ExportSource:
    """Open a collection to be exported.

    Args:
        collection: its name.
        settings: where store and models are.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        leg: the sparse leg that is exported; when not given `sparse`, or the only sparse one.
        dense: read the vectors of the dense legs, too.

    Raises:
        InvalidArgument: there is no such sparse leg, or several to choose from.
        StoreError: the collection was adopted.
        CollectionNotFound, CollectionDamaged, StoreUnavailable: see there.
    """
    opened = open_store_for(store, settings)
    place, reader = opened.location, opened.reader(collection)
    try:
        manifest = reader.manifest
        if manifest.adopted:
            raise StoreError(
                f"Collection {collection!r} was adopted: its points are somebody else's, and cannot be exported. Index "
                "its documents into a collection of your own, and export that."
            )
        sparse = [name for name, spec in manifest.legs.items() if spec.kind == "sparse"]
        chosen = leg or ("sparse" if "sparse" in sparse else sparse[0] if len(sparse) == 1 else "")
        if chosen not in sparse:
            raise InvalidArgument(
                f"Collection {collection!r} has no sparse leg {chosen!r}; it has {', '.join(sparse) or 'none'}. "
                "Name one of them with --leg."
            )
        others = tuple(name for name, spec in manifest.legs.items() if dense and spec.kind == "dense")
        return ExportSource(collection, reader, chosen, others, settings, place if Path(place).is_dir() else "")
    except BaseException:
        reader.close()
        raise


def stored_terms(payload: Mapping[str, Any], name: str, vector: SparseVector) -> list[str]:
    """Return the words that are stored with a chunk's vector; none where its model knows them.

    Args:
        payload: the chunk's.
        name: the vector's name in the store.
        vector: it.

    Raises:
        CollectionChanged: what is stored does not fit the vector.
    """
    stored = payload.get("terms", {}).get(name)
    if stored is None:
        return []
    if len(stored) != len(vector):
        raise CollectionChanged(
            f"Chunk {payload['chunk_id']!r} has {len(vector)} weights, and {len(stored)} words to them: it is being "
            "written, or damaged. Export again when no job writes to the collection."
        )
    return list(stored)


def _count(source: ExportSource) -> Statistics:
    chunks, empty, weights, passages = 0, 0, 0, False
    frequencies: dict[int, int] = {}
    peaks: dict[int, float] = {}
    for chunk_ids in source.batches():
        found = [cast(SparseVector, vector) for vector in source.reader.vectors(source.leg, chunk_ids).values()]
        chunks, weights = chunks + len(chunk_ids), weights + sum(map(len, found))
        empty += len(chunk_ids) - sum(1 for vector in found if len(vector))
        passages = passages or any(not chunk_id.endswith("#0") for chunk_id in chunk_ids)
        if found:
            _add(
                np.concatenate([v.indices for v in found]),
                np.concatenate([v.values for v in found]),
                frequencies,
                peaks,
            )
    order = sorted(frequencies)
    return Statistics(
        chunks,
        empty,
        weights,
        passages,
        np.array(order, np.int64),
        np.array([frequencies[dimension] for dimension in order], np.int64),
        np.array([peaks[dimension] for dimension in order], np.float32),
    )


def _add(
    dimensions: NDArray[np.int32], values: NDArray[np.float32], frequencies: dict[int, int], peaks: dict[int, float]
) -> None:
    """Count the weights of some chunks.

    Raises:
        InvalidArgument: one is below 0.
    """
    if not values.size:
        return
    if values.min() < 0:
        raise InvalidArgument(
            f"A weight is {values.min():g}: the model gives weights below 0, which no other engine takes. Export "
            "another sparse leg (--leg)."
        )
    order = np.argsort(dimensions, kind="stable")
    unique, starts, counts = np.unique(dimensions[order], return_index=True, return_counts=True)
    heaviest = np.maximum.reduceat(values[order], starts)
    for dimension, count, peak in zip(unique.tolist(), counts.tolist(), heaviest.tolist(), strict=True):
        frequencies[dimension] = frequencies.get(dimension, 0) + count
        peaks[dimension] = max(peaks.get(dimension, 0.0), peak)
