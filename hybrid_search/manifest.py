"""What a collection was built with, kept beside its points: the collection knows its maker."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from hybrid_search._util.arguments import is_number, shown
from hybrid_search.errors import InvalidArgument
from hybrid_search.types import Kind, LegName, Vector, in_order

SCHEMA = 2
"""Of the manifest. 1 knew the legs `sparse` and `dense` only; it is read as it is."""

LAID_OUT = 3
"""Of a manifest that says how payloads are laid out, for others or by others; earlier versions refuse it."""

Precision = Literal["fp32", "int8", "bf16", "fp16"]
"""What a network's products are computed in; `fp32` is as its files are."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
SIDES = ("queries", "documents")
_SHADOW_KEY = "beside"
"""What `LegSpec.shadow` is called on disk and in JSON, where names do not change."""

_TAKEN = ("hybrid", "none", "points", "documents", "auto", "rerank")


@dataclass(frozen=True, slots=True)
class Sparsity:
    """What is kept of the vectors of a sparse leg, of queries first and of documents second.

    Args:
        max_active_dims: the heaviest weights, so many at most; 0 for all.
        min_weight: no lighter ones.

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
        """From numbers by side, `queries` and `documents`; None where none is given.

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
    """One leg as a collection was built with it.

    Args:
        model: the card's name.
        fingerprint: of the encoder (files and settings); a search with any other is refused.
        dim: length of the dense vector, 0 for sparse.
        needs_idf: the store multiplies in the inverse document frequency.
        max_tokens: what the model reads of a chunk, 0 for everything.
        average_tokens: BM25's mean document length, measured on the corpus; 0 where it does not apply.
        vector: the vector's name in the store, which a leg keeps when its own name changes; empty for the leg's own.
        shadow: a shadow leg is searched when it is named, and is no part of `hybrid`. On disk the key is `beside`.
        precision: of the model's products.
        sparsity: what is kept of its sparse vectors.
        unnamed: its vector has no name in the store, as the only dense vector of many collections.
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
        """Build the JSON object. It lacks what earlier versions did not know where that says nothing: they read it."""
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
        """Read one back. Raises TypeError, ValueError or AttributeError where it is none."""
        given = dict(data)
        if _SHADOW_KEY in given:
            given["shadow"] = given.pop(_SHADOW_KEY)
        if "sparsity" in given:
            given["sparsity"] = Sparsity(**{name: tuple(pair) for name, pair in given["sparsity"].items()})
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a chunk lie in payloads that others wrote.

    Each but the first and the last is the name of a field of the payload, written as in a filter (`meta.source_id`);
    empty for none. Where a text lies on the way it is read as JSON.

    Args:
        name: whose it is: `langchain`, `llamaindex`, `haystack`, `mcp`, or `given`.
        text: the chunk's text.
        metadata: what holds the metadata; empty where the fields lie in the payload itself.
        title: the document's title.
        doc_id: which document a chunk is of; empty where each point is a document of its own.
        start: where the chunk begins in its document, in characters.
        end: where it ends; a start and the text's length say the same.
        origin: where the document was read.
        hidden: names in the payload itself that are no metadata.
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
        """Read one back. Raises TypeError or KeyError where it is none."""
        return cls(**{**data, "hidden": tuple(data["hidden"])})


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a collection was built with. It lies beside the points, so a collection knows its maker.

    Args:
        profile: `splade`, `bundled` or `custom`, by the models of the legs `sparse` and `dense`.
        legs: by leg name; one or more.
        chunk_tokens: tokens a chunk may take in any leg's model, 0 for one chunk a document.
        overlap_tokens: tokens that neighbouring chunks share at most.
        created: ISO 8601, UTC; does not count for the fingerprint.
        schema: version of this layout.
        stamped: the fingerprint that is in the documents' stamps, where legs have changed since; empty for its own.
        layout: whose payload keys stand beside ours, so that they can read the collection too; empty for nobody's.
        adopted: how somebody else laid out the collection, which is only read; None for one of ours.
        roots: the folders that its files come from, as in `corpus.roots`; None where it was built before those.
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

    def fingerprint(self) -> str:
        """A hash over everything that changes what is stored for a document."""
        legs = {name: [leg.model, leg.fingerprint, leg.average_tokens] for name, leg in self.legs.items()}
        parts = [self.schema, legs, self.chunk_tokens, self.overlap_tokens, *([self.layout] if self.layout else [])]
        content = json.dumps(parts, sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def stamp_base(self) -> str:
        """What goes into the stamps of documents. It outlasts changes of legs, for those touch every document."""
        return self.stamped or self.fingerprint()

    def vectors(self) -> dict[LegName, str]:
        """The name of each leg's vector in the store."""
        return {leg: "" if spec.unnamed else spec.vector or leg for leg, spec in self.legs.items()}

    def fused(self) -> tuple[LegName, ...]:
        """The legs of the `hybrid` mode, in order: all but the shadow legs."""
        return in_order(leg for leg, spec in self.legs.items() if not spec.shadow)

    def with_legs(self, legs: Mapping[LegName, LegSpec], profile: str) -> Manifest:
        """The same collection with other legs, whose documents need no new stamps."""
        schema = max(self.schema, SCHEMA)
        return replace(self, legs=dict(legs), profile=profile, schema=schema, stamped=self.stamp_base())

    def to_dict(self) -> dict[str, Any]:
        """Without what earlier versions did not know, where it says nothing: they read it."""
        found = {**asdict(self), "legs": {leg: spec.to_dict() for leg, spec in self.legs.items()}}
        if self.roots is None:
            del found["roots"]
        return {key: value for key, value in found.items() if key not in ("layout", "adopted") or value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Manifest:
        """Read one back.

        Raises:
            ValueError: a field is missing, or the schema is newer than this version reads.
        """
        try:
            if data["schema"] > LAID_OUT:
                raise ValueError(
                    f"schema {data['schema']} is newer than this version reads ({LAID_OUT}); update hybrid-search"
                )
            found = {**data, "legs": {leg: LegSpec.from_dict(spec) for leg, spec in data["legs"].items()}}
            if data.get("adopted"):
                found["adopted"] = Layout.from_dict(data["adopted"])
            return cls(**found)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a manifest: {error}") from error


def check_leg_name(name: str) -> LegName:
    """Give a new leg's name back if it can be one.

    Raises:
        InvalidArgument: anything but small letters, digits, `_` and `-`, or a word that means something else.

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
    """Dense vectors of a collection: their length, how they are compared, and whether a point has many of them."""

    dim: int
    distance: str
    many: bool


class Foreign(NamedTuple):
    """What a collection that somebody else may have made is like.

    Args:
        points: how many it has.
        dense: its dense vectors by name, the empty name for that without one.
        sparse: whether the store multiplies in the inverse document frequency, by the name of its sparse vectors.
        payloads: of some points.
        vectors: of the same points, by name.
        manifest: it has, where it was adopted before or made by us.
    """

    points: int
    dense: Mapping[str, DenseVectors]
    sparse: Mapping[str, bool]
    payloads: Sequence[Mapping[str, Any]]
    vectors: Sequence[Mapping[str, Vector]]
    manifest: Manifest | None
