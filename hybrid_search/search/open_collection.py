"""A collection that is open, in one state: what every stage of a search reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from hybrid_search.errors import CollectionChanged
from hybrid_search.protocols import CollectionReader, Encoder
from hybrid_search.types import LEGS, LegName, in_order

Payload = Mapping[str, Any]
"""What the store has of a chunk."""

Payloads = Callable[[Sequence[str]], Mapping[str, Payload]]
"""The payloads of chunks by their ids; those of other chunks may be there, too."""


class OpenCollection(NamedTuple):
    """What a searcher has open.

    Args:
        collection: its name.
        reader: of the collection.
        encoders: by leg.
        shown: the legs of which every hit tells.
        idf: what is known of inverse document frequencies, by leg and dimension; filled as explanations need them.
    """

    collection: str
    reader: CollectionReader
    encoders: Mapping[LegName, Encoder]
    shown: tuple[LegName, ...]
    idf: dict[LegName, dict[int, float]]


def open_collection(collection: str, reader: CollectionReader, encoders: Mapping[LegName, Encoder]) -> OpenCollection:
    """Return an open collection with its encoders, of which nothing else is known yet."""
    return OpenCollection(collection, reader, encoders, in_order({*LEGS, *encoders}), {})


def payload_cache(opened: OpenCollection) -> Payloads:
    """Return the payloads of one query: each chunk is read from the store once, whichever stages need it.

    Raises:
        CollectionChanged: on a call: a chunk that was found has gone since; it lies on a server, and somebody writes
            to it.
    """
    known: dict[str, Payload] = {}

    def payloads(chunk_ids: Sequence[str]) -> Mapping[str, Payload]:
        unread = [chunk_id for chunk_id in dict.fromkeys(chunk_ids) if chunk_id not in known]
        if unread:
            known.update(opened.reader.payloads(unread))
        gone = next((chunk_id for chunk_id in unread if chunk_id not in known), None)
        if gone is not None:
            raise CollectionChanged(
                f"Collection {opened.collection!r} was changed while it was searched: {gone!r} is gone. Search again."
            )
        return known

    return payloads


def inverse_frequencies(reader: CollectionReader, leg: LegName, dimensions: Sequence[int]) -> dict[int, float]:
    """Return what the store multiplies dimensions of a query with; 0 for one that no document has."""
    return reader.inverse_frequencies(leg, dimensions) if dimensions else {}


def known_frequencies(opened: OpenCollection, leg: LegName, dimensions: Sequence[int]) -> Mapping[int, float]:
    """Return inverse document frequencies of dimensions, and of others; the store is asked for those not known yet."""
    known = opened.idf.setdefault(leg, {})
    lacking = [dimension for dimension in dimensions if dimension not in known]
    known.update(inverse_frequencies(opened.reader, leg, lacking))
    return known
