"""The manifest: what a collection was built with, stored beside its points, so that search loads the same models."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from hybrid_search._util.arguments import is_number, shown
from hybrid_search.errors import InvalidArgument
from hybrid_search.search_defaults import SearchDefaults
from hybrid_search.types import Kind, LegName, Vector, in_order

SCHEMA = 2
"""Version of the manifest. Version 1 knew only the legs `sparse` and `dense`, and is still read."""

LAID_OUT = 3
"""Version of a manifest with a payload layout, for or by other programs; earlier versions of this package refuse it."""

EXPANDED = 4
"""Version of a manifest with a document expansion: earlier versions, which would index without it, refuse it."""

TUNED = 5
"""Version of a manifest with search defaults: earlier versions, which would search without them, refuse it."""

Precision = Literal["fp32", "int8", "bf16", "fp16"]
"""The number format in which a network computes; `fp32` means as its files are."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
SIDES = ("queries", "documents")
_SHADOW_KEY = "beside"
"""What `LegSpec.shadow` is called on disk and in JSON, where names do not change."""

_TAKEN = ("hybrid", "none", "points", "documents", "auto", "rerank")


@dataclass(frozen=True, slots=True)
class Sparsity:
    """Pruning limits for the vectors of a sparse leg: for queries first, for documents second.

    Args:
        max_active_dims: how many of the heaviest weights to keep; 0 for all.
        min_weight: the smallest weight to keep.

    Raises:
        InvalidArgument: an invalid number.
    """

    max_active_dims: tuple[int, int] = (0, 0)
    min_weight: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        pairs = (self.max_active_dims, self.min_weight)
        if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 and all(map(is_number, pair)) for pair in pairs):
            raise InvalidArgument(
                f"max_active_dims is {shown(pairs[0])} and min_weight {shown(pairs[1])}; both must be two numbers, of "
                "queries and of documents, each 0 (no limit) or more."
            )
        if min(self.max_active_dims) < 0 or min(self.min_weight) < 0:
            raise InvalidArgument(
                f"max_active_dims is {self.max_active_dims} and min_weight {self.min_weight} (queries, documents); "
                "both must be 0 (no limit) or more."
            )

    @classmethod
    def of(
        cls, max_active_dims: Mapping[str, float] | None = None, min_weight: Mapping[str, float] | None = None
    ) -> Sparsity | None:
        """Make the limits from numbers by side, `queries` and `documents`; None where none is given.

        Raises:
            InvalidArgument: another side, or dimensions that are no whole number from 1 on.

        >>> Sparsity.of({"documents": 120}, {"queries": 0.1})
        Sparsity(max_active_dims=(0, 120), min_weight=(0.1, 0.0))
        """
        if not max_active_dims and not min_weight:
            return None
        dims, weights = max_active_dims or {}, min_weight or {}
        wrong = sorted({*dims, *weights} - set(SIDES))
        if wrong:
            raise InvalidArgument(f"There is no side {wrong[0]!r} of a sparse vector's limits: {' and '.join(SIDES)}.")
        for side, number in dims.items():
            if not is_number(number) or number < 1 or number != int(number):
                raise InvalidArgument(
                    f"max_active_dims of {side} is {shown(number)}; it must be a whole number from 1 on."
                )
        queries, documents = (int(dims.get(side, 0)) for side in SIDES)
        return cls((queries, documents), (float(weights.get(SIDES[0], 0)), float(weights.get(SIDES[1], 0))))


@dataclass(frozen=True, slots=True)
class LegSpec:
    """One leg of a collection, as it was built.

    Args:
        model: the card's name.
        fingerprint: of the encoder (files and settings); a search with any other is refused.
        dim: length of the dense vector, 0 for sparse.
        needs_idf: the store multiplies by the inverse document frequency.
        max_tokens: longest input of the model, 0 for no limit.
        average_tokens: BM25's mean document length, measured on the corpus; 0 where it does not apply.
        vector: the vector's name in the store, which stays when the leg is renamed; empty for the leg's name.
        shadow: it is a shadow leg: searched only when named, and no part of `hybrid`. Stored as `beside`.
        precision: in which the model computes.
        sparsity: pruning limits for its sparse vectors.
        unnamed: its vector has no name in the store, like the only dense vector of many collections.
    """

    model: str
    fingerprint: str
    dim: int = 0
    needs_idf: bool = False
    max_tokens: int = 0
    average_tokens: float = 0.0
    vector: str = ""
    shadow: bool = False
    precision: Precision = "fp32"
    sparsity: Sparsity = Sparsity()
    unnamed: bool = False

    @property
    def kind(self) -> Kind:
        return "dense" if self.dim else "sparse"

    @property
    def beside(self) -> bool:
        """Whether it is a shadow leg, under the name that this had in earlier versions."""
        return self.shadow

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON, without default values of fields that earlier versions do not know."""
        found = {_SHADOW_KEY if name == "shadow" else name: value for name, value in asdict(self).items()}
        if self.precision == "fp32":
            del found["precision"]
        if self.sparsity == Sparsity():
            del found["sparsity"]
        if not self.unnamed:
            del found["unnamed"]
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LegSpec:
        """Rebuild one from its dict. Raises TypeError, ValueError or AttributeError if it is none."""
        given = dict(data)
        if _SHADOW_KEY in given:
            given["shadow"] = given.pop(_SHADOW_KEY)
        if "sparsity" in given:
            given["sparsity"] = Sparsity(**{name: tuple(pair) for name, pair in given["sparsity"].items()})
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Expansion:
    """A document expansion: what sparse legs encode behind the text of a chunk, and nobody else sees.

    Args:
        source: the file's path, or the model's name; does not count for the fingerprint.
        fingerprint: of the file's content, or of the model's files.
        samples: texts that a model generates for each chunk; 0 for a file, which has the texts.
        max_length: tokens of a generated text at most.
        top_k: tokens that sampling chooses from at each step.
        seed: of the sampling.
    """

    source: str
    fingerprint: str
    samples: int = 0
    max_length: int = 0
    top_k: int = 0
    seed: int = 0

    def __str__(self) -> str:
        settings = f", {self.samples} samples" if self.samples else ""
        return f"{self.source} ({self.fingerprint[:12]}{settings})"

    def facts(self) -> list[Any]:
        """Return all that changes the texts."""
        return [self.fingerprint, self.samples, self.max_length, self.top_k, self.seed]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a chunk are in payloads that other programs wrote.

    Except for `name` and `hidden`, each is the name of a payload field, written as in a filter (`meta.source_id`), or
    empty for none. A text on the way to the field is parsed as JSON.

    Args:
        name: whose it is: `langchain`, `llamaindex`, `haystack`, `mcp`, or `given`.
        text: the chunk's text.
        metadata: the field with the metadata; empty where its fields are in the payload itself.
        title: the document's title.
        doc_id: the document's id; empty where each point is a document of its own.
        start: where the chunk begins in its document, in characters.
        end: where it ends; may be replaced by a start and the text's length.
        origin: where the document was read.
        hidden: keys of the payload that are no metadata.
    """

    name: str
    text: str
    metadata: str = ""
    title: str = ""
    doc_id: str = ""
    start: str = ""
    end: str = ""
    origin: str = ""
    hidden: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Layout:
        """Rebuild one from its dict. Raises TypeError or KeyError if it is none."""
        return cls(**{**data, "hidden": tuple(data["hidden"])})


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a collection was built with. It is stored beside the points.

    Args:
        profile: `splade`, `bundled` or `custom`, by the models of the legs `sparse` and `dense`.
        legs: by leg name; one or more.
        chunk_tokens: longest chunk, in tokens of any leg's model; 0 for one chunk a document.
        overlap_tokens: largest overlap of neighbouring chunks, in tokens.
        created: ISO 8601, UTC; does not count for the fingerprint.
        schema: version of this format.
        stamped: the fingerprint inside the documents' version hashes, if legs have changed since; empty for its own.
        layout: the program whose payload keys are stored beside ours, so that it can read them too; empty for none.
        adopted: the layout of a collection by another program, which is read only; None for one of ours.
        roots: the folders that its files come from, as in `corpus.roots`; None where it was built before those.
        expansion: what its sparse legs encode besides titles and texts; None for nothing.
        search: what its searches use where they do not say; None for the product's own. Not part of the fingerprint.
    """

    profile: str
    legs: Mapping[LegName, LegSpec]
    chunk_tokens: int
    overlap_tokens: int = 0
    created: str = ""
    schema: int = SCHEMA
    stamped: str = ""
    layout: str = ""
    adopted: Layout | None = None
    roots: Mapping[str, str] | None = None
    expansion: Expansion | None = None
    search: SearchDefaults | None = None

    def fingerprint(self) -> str:
        """Return a hash over everything that changes what is stored for a document."""
        legs = {name: [leg.model, leg.fingerprint, leg.average_tokens] for name, leg in self.legs.items()}
        parts = [self.schema, legs, self.chunk_tokens, self.overlap_tokens, *([self.layout] if self.layout else [])]
        if self.expansion is not None:
            parts.append({"expansion": self.expansion.facts()})
        content = json.dumps(parts, sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def stamp_base(self) -> str:
        """Return what goes into the documents' version hashes.

        It stays the same when legs change: such a change touches every document anyway.
        """
        return self.stamped or self.fingerprint()

    def vectors(self) -> dict[LegName, str]:
        """Return the name of each leg's vector in the store."""
        return {leg: "" if spec.unnamed else spec.vector or leg for leg, spec in self.legs.items()}

    def fused(self) -> tuple[LegName, ...]:
        """Return the legs of the `hybrid` mode, in order: all but the shadow legs."""
        return in_order(leg for leg, spec in self.legs.items() if not spec.shadow)

    def with_legs(self, legs: Mapping[LegName, LegSpec], profile: str) -> Manifest:
        """Return the same collection with other legs. The documents' version hashes stay valid."""
        schema = max(self.schema, SCHEMA)
        search = self.search and self.search.for_legs(legs)
        stamped = self.stamp_base()
        return replace(self, legs=dict(legs), profile=profile, schema=schema, stamped=stamped, search=search)

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON, without default values of fields that earlier versions do not know."""
        found = {**asdict(self), "legs": {leg: spec.to_dict() for leg, spec in self.legs.items()}}
        del found["search"]
        if self.search is not None:
            found |= {"search": self.search.to_dict(), "schema": TUNED, "untuned": self.schema}
        if self.roots is None:
            del found["roots"]
        return {key: value for key, value in found.items() if key not in ("layout", "adopted", "expansion") or value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Manifest:
        """Rebuild one from its dict.

        Raises:
            ValueError: a field is missing, or the schema is newer than this version reads.
        """
        try:
            if data["schema"] > TUNED:
                raise ValueError(
                    f"schema {data['schema']} is newer than this version reads ({TUNED}); update hybrid-search"
                )
            if data["schema"] == TUNED:
                own = {name: value for name, value in data.items() if name != "untuned"}
                data = {**own, "schema": data["untuned"], "search": SearchDefaults.from_dict(data["search"])}
            found = {**data, "legs": {leg: LegSpec.from_dict(spec) for leg, spec in data["legs"].items()}}
            if data.get("adopted"):
                found["adopted"] = Layout.from_dict(data["adopted"])
            if data.get("expansion"):
                found["expansion"] = Expansion(**data["expansion"])
            return cls(**found)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a manifest: {error}") from error


def check_leg_name(name: str) -> LegName:
    """Validate and return the name of a new leg.

    Raises:
        InvalidArgument: anything but lowercase letters, digits, `_` and `-`, or a word with another meaning.

    >>> check_leg_name("bm25")
    'bm25'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _TAKEN:
        raise InvalidArgument(
            f"A leg cannot be called {shown(name)}: take small letters, digits, '_' and '-', start with a letter, at "
            f"most 40 characters, and none of {', '.join(_TAKEN)}."
        )
    return name


class DenseVectors(NamedTuple):
    """Dense vectors of a collection: their length, their distance, and whether a point has several of them."""

    dim: int
    distance: str
    many: bool


class Foreign(NamedTuple):
    """What a collection of another program consists of.

    Args:
        points: their number.
        dense: the dense vectors by name; an unnamed one has the empty name.
        sparse: by the name of a sparse vector, whether the store multiplies by the inverse document frequency.
        payloads: of some points.
        vectors: of the same points, by name.
        manifest: the collection's, if it was adopted before or made by us.
    """

    points: int
    dense: Mapping[str, DenseVectors]
    sparse: Mapping[str, bool]
    payloads: Sequence[Mapping[str, Any]]
    vectors: Sequence[Mapping[str, Vector]]
    manifest: Manifest | None
