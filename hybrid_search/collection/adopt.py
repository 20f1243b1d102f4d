"""Takes in a collection that somebody else wrote on a Qdrant server, so that it is searched as it is.

What langchain-qdrant, LlamaIndex, Haystack, mcp-server-qdrant or a script wrote has no manifest, so its models are not
known. `adopt` is told them, finds out how the payloads are laid out, encodes a few of the stored texts again to see
that the models are right, and writes a manifest into the collection's own metadata. From then on it is searched like
any other. Nothing else is written, then or later: whoever made the collection goes on writing it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from hybrid_search._util import utc_now
from hybrid_search.collection.models import ModelRequest, ModelSet, OnDownload, fetch, open_store_for, spec_of
from hybrid_search.collection.profiles import NO_LEG, select_models
from hybrid_search.encoders.hybrid import encode
from hybrid_search.errors import InvalidArgument, StoreError
from hybrid_search.manifest import LAID_OUT, Foreign, Layout, LegSpec, Manifest, Precision
from hybrid_search.protocols import Encoder, Store
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.schema import check_name
from hybrid_search.store.server.payload_layouts import PARTS, encoded_forms, layout_of, named, text_in
from hybrid_search.types import LEGS, Kind, LegName, SparseVector, Vector

CHECKED = 3
"""Stored texts that are encoded again: the shortest, which no limit cuts, whoever had which."""

AGREE = 0.99
"""The cosine from which on two vectors are of the same model; int8 gives 0.994 to fp32, another model below 0.9."""

MIN_TEXT = 20
"""Characters of a text that is encoded again, where there are such."""

COMPARED = ("Cosine", "Dot")


class Adoption(NamedTuple):
    """What was found out about a collection.

    Args:
        manifest: that it has from here on.
        points: it holds.
        agreement: by leg the lowest cosine of a vector that is stored and one of the same text encoded again; without
            the legs that could not be compared.
        notes: what its owner may want to know.
    """

    manifest: Manifest
    points: int
    agreement: Mapping[LegName, float]
    notes: Sequence[str]

    @property
    def layout(self) -> Layout:
        return cast(Layout, self.manifest.adopted)


def adopt(
    collection: str,
    *,
    dense: str | None = None,
    sparse: str | None = None,
    layout: str | None = None,
    fields: Mapping[str, str] | None = None,
    dense_vector: str | None = None,
    sparse_vector: str | None = None,
    check: bool = True,
    precision: Precision | None = None,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    on_download: OnDownload | None = None,
) -> Adoption:
    """Make a collection that somebody else wrote searchable, under the models that wrote its vectors.

    Adopting once more takes the place of what was said before.

    Args:
        collection: its name on the server, or an alias of it.
        dense: the model of its dense vectors, or a folder; not given, they are not searched.
        sparse: the same for its sparse vectors.
        layout: `langchain`, `llamaindex`, `haystack` or `mcp`; found out when not given.
        fields: by part of a chunk the field of the payload that holds it, written as in a filter, instead of what is
            found out: `text`, `metadata`, `title`, `doc_id`, `start`, `end`, `origin`; empty for none. With a `doc_id`
            points are chunks of documents, and k counts those.
        dense_vector: the dense vectors' name, empty for those without one; needed where there are several.
        sparse_vector: the same for the sparse vectors.
        check: refuse models whose vectors are not those that are stored.
        precision: of the models that have a choice; the settings' when not given.
        store: a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        on_download: called with (model, bytes done, bytes in all) while a model is fetched.

    Raises:
        InvalidArgument: no model is named, no such layout, part or vector, or the collection was made by us.
        UnknownModel, ModelUnavailable: a model cannot be used.
        CollectionNotFound, StoreUnavailable: see there.
        StoreError: it has no points, its vectors are compared in a way that is not searched here, a model's are of
            another length or do not agree with those stored, or it is not known where the texts lie.
    """
    settings = settings or load_settings()
    opened = open_store_for(store, settings)
    foreign = opened.described(check_name(collection))
    asked = {leg: name for leg, name in (("dense", dense), ("sparse", sparse)) if name and name != NO_LEG}
    _check_foreign(collection, foreign, asked)
    payload_layout = layout_of(foreign.payloads, layout, _checked(fields))
    models = select_models(ModelRequest("auto", asked, sorted(asked), precision), settings)
    vectors = {
        leg: _vector(collection, foreign, leg, encoder, {"dense": dense_vector, "sparse": sparse_vector}[leg])
        for leg, encoder in models.encoders.items()
    }
    fetch(models, settings, on_download)
    agreement = _compared(foreign, payload_layout, models.encoders, vectors)
    for leg, cosine in agreement.items():
        if check and cosine < AGREE:
            raise _disagreement(collection, leg, models.encoders[leg], vectors[leg], cosine)
    specs = {leg: _spec(encoder, vectors[leg], foreign) for leg, encoder in models.encoders.items()}
    manifest = Manifest(models.profile, specs, 0, created=utc_now(), schema=LAID_OUT, adopted=payload_layout)
    opened.adopt(collection, manifest)
    return Adoption(manifest, foreign.points, agreement, _notes(models, foreign, vectors, agreement))


def _check_foreign(collection: str, foreign: Foreign, asked: Mapping[LegName, str]) -> None:
    if foreign.manifest is not None and foreign.manifest.adopted is None:
        raise InvalidArgument(
            f"Collection {collection!r} was made by hybrid-search and knows its models: search it as it is."
        )
    if not foreign.points:
        raise StoreError(
            f"Collection {collection!r} has no points yet, so nothing tells how it is laid out. Fill it first."
        )
    if not asked:
        raise InvalidArgument(
            f"No model is named. Collection {collection!r} has {_vectors_in_words(foreign)}. Name what wrote them: "
            "--dense MODEL, --sparse MODEL, or both."
        )


def _checked(fields: Mapping[str, str] | None) -> dict[str, str]:
    for part in fields or {}:
        if part not in PARTS:
            raise InvalidArgument(f"A layout has no part {part!r}; its parts are {', '.join(PARTS)}.")
    return dict(fields or {})


def _vector(collection: str, foreign: Foreign, leg: LegName, encoder: Encoder, asked: str | None) -> str:
    """Return the name of the vectors that a leg searches.

    Raises:
        InvalidArgument: there is none of this name, none at all, or several.
        StoreError: they cannot be searched here, or not by this model.
    """
    names = list(foreign.dense if leg == "dense" else foreign.sparse)
    if asked is None and len(names) != 1:
        which = (
            f"several {leg} vectors; name one: --{leg}-vector NAME"
            if names
            else f"no {leg} vectors for {encoder.card.name}"
        )
        raise InvalidArgument(f"Collection {collection!r} has {which}. It has {_vectors_in_words(foreign)}.")
    name = names[0] if asked is None else asked
    if name not in names:
        raise InvalidArgument(
            f"Collection {collection!r} has no {leg} vectors {name!r}. It has {_vectors_in_words(foreign)}."
        )
    if leg == "dense":
        one, dim = foreign.dense[name], encoder.card.dim
        if one.distance not in COMPARED or one.many:
            how = f"compared by {one.distance}, where less is better" if not one.many else "many a point"
            raise StoreError(
                f"The vectors {name!r} of {collection!r} are {how}; here a point has one vector, and a higher score is "
                "better. Index the documents into a new collection: hybrid-search index SOURCE -c NEW_NAME"
            )
        if one.dim != dim:
            raise StoreError(
                f"The vectors {name!r} of {collection!r} have {one.dim} dimensions, those of {encoder.card.name} "
                f"{dim}. Name the model that wrote them: --dense MODEL"
            )
    return name


def _vectors_in_words(foreign: Foreign) -> str:
    dense = [f"{name!r} ({one.dim} dimensions, {one.distance})" for name, one in foreign.dense.items()]
    sparse = [f"{name!r}{' (with IDF)' if idf else ''}" for name, idf in foreign.sparse.items()]
    return f"dense vectors {', '.join(dense) or 'none'}; sparse vectors {', '.join(sparse) or 'none'}"


def _compared(
    foreign: Foreign, layout: Layout, encoders: Mapping[LegName, Encoder], names: Mapping[LegName, str]
) -> dict[LegName, float]:
    """Return by leg the lowest cosine of stored vectors and those of the same texts encoded again."""
    agreement: dict[LegName, float] = {}
    for leg, encoder in encoders.items():
        rows = [
            (encoded_forms(payload, layout), vectors[names[leg]])
            for payload, vectors in zip(foreign.payloads, foreign.vectors, strict=True)
            if names[leg] in vectors and text_in(payload, layout).strip()
        ]
        rows.sort(key=lambda row: (len(row[0][0]) < MIN_TEXT, len(row[0][0])))
        rows = rows[:CHECKED]
        texts = [form for forms, _ in rows for form in forms]
        if not texts:
            continue
        again = iter(encode({leg: encoder}, texts)[leg])
        agreement[leg] = min(max(cosine(next(again), stored) for _ in forms) for forms, stored in rows)
    return agreement


def cosine(one: Vector, other: Vector) -> float:
    """Return the cosine of two vectors of one kind; 0 where one has no length.

    >>> cosine(np.array([1.0, 0.0]), np.array([3.0, 0.0]))
    1.0
    """
    if isinstance(one, SparseVector) and isinstance(other, SparseVector):
        product, lengths = one.dot(other), [float(np.linalg.norm(vector.values)) for vector in (one, other)]
    elif isinstance(one, SparseVector) or isinstance(other, SparseVector) or one.shape != other.shape:
        return 0.0
    else:
        product, lengths = float(np.dot(one, other)), [float(np.linalg.norm(vector)) for vector in (one, other)]
    return product / (lengths[0] * lengths[1]) if all(lengths) else 0.0


def _disagreement(collection: str, leg: LegName, encoder: Encoder, vector: str, cosine: float) -> StoreError:
    return StoreError(
        f"The {leg} vectors {vector!r} of {collection!r} are not those of {encoder.card.name}: of a few stored texts "
        f"encoded again one has a cosine of {cosine:.3f} to its vector, expected {AGREE} or more. Name the model that "
        f"wrote them (--{leg} MODEL) and the field that holds the texts it read (--text-field NAME), or go on anyway: "
        "--no-check"
    )


def _spec(encoder: Encoder, vector: str, foreign: Foreign) -> LegSpec:
    """Describe a leg over vectors that are there. How the store weighs them is the collection's, not the model's."""
    spec = named(spec_of(encoder), vector)
    return spec if spec.dim else replace(spec, needs_idf=foreign.sparse[vector])


def _notes(
    models: ModelSet, foreign: Foreign, names: Mapping[LegName, str], agreement: Mapping[LegName, float]
) -> tuple[str, ...]:
    notes = []
    for leg, encoder in models.encoders.items():
        kind: Kind = "dense" if encoder.card.kind == "dense" else "sparse"
        if leg not in agreement:
            notes.append(
                f"No vector {names[leg]!r} was among the first points, so the {leg} model could not be checked."
            )
        elif agreement[leg] < AGREE:
            notes.append(f"The {leg} vectors do not agree with {encoder.card.name} (cosine {agreement[leg]:.3f}).")
        if kind == "sparse" and encoder.card.needs_idf and not foreign.sparse[names[leg]]:
            notes.append(
                f"{encoder.card.name} wants inverse document frequencies, and the collection was made without "
                "(modifier idf): frequent words count as much as rare ones."
            )
    unused = [leg for leg in LEGS if leg not in names and (foreign.dense if leg == "dense" else foreign.sparse)]
    notes += [f"It has {leg} vectors too, which are not searched: no --{leg} was named." for leg in unused]
    return tuple(notes)
