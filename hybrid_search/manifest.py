"""What a collection was built with, kept beside its points: the collection knows its maker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hybrid_search.types import LegName


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
    """

    model: str
    fingerprint: str
    dim: int = 0
    needs_idf: bool = False
    max_tokens: int = 0
    average_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a collection was built with. It lies beside the points, so a collection knows its maker.

    Args:
        profile: `splade`, `bundled` or `custom`.
        legs: by leg name; one or both.
        chunk_tokens: tokens a chunk may take in any leg's model, 0 for one chunk a document.
        overlap_tokens: tokens that neighbouring chunks share at most.
        created: ISO 8601, UTC; does not count for the fingerprint.
        schema: version of this layout.
    """

    profile: str
    legs: Mapping[LegName, LegSpec]
    chunk_tokens: int
    overlap_tokens: int = 0
    created: str = ""
    schema: int = 1

    def fingerprint(self) -> str:
        """A hash over everything that changes what is stored for a document."""
        legs = {name: [leg.model, leg.fingerprint, leg.average_tokens] for name, leg in self.legs.items()}
        content = json.dumps([self.schema, legs, self.chunk_tokens, self.overlap_tokens], sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Manifest:
        """Read one back.

        Raises:
            ValueError: a field is missing, or the schema is newer than this version reads.
        """
        try:
            if data["schema"] > 1:
                raise ValueError(f"schema {data['schema']} is newer than this version reads (1); update hybrid-search")
            legs = {leg: LegSpec(**spec) for leg, spec in data["legs"].items()}
            return cls(**{**data, "legs": legs})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a manifest: {error}") from error
