"""Fingerprints of what an evaluation was over: equal ones mean that two of them can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hybrid_search.corpus.trec import Dataset
from hybrid_search.manifest import Manifest

_BLOCK = 1 << 20


def dataset_fingerprints(data: Dataset, corpus: str) -> dict[str, str]:
    """Return a hash each of the corpus, and of the judged queries and the qrels, these in any order.

    Args:
        data: queries and qrels.
        corpus: the digest of `corpus_hash`.
    """
    return {
        "corpus": corpus,
        "queries": _hash_of(f"{query.query_id}\t{query.text}" for query in data.queries),
        "qrels": _hash_of(f"{qrel.query_id}\t{qrel.doc_id}\t{qrel.relevance}" for qrel in data.qrels),
    }


def model_fingerprints(manifest: Manifest) -> dict[str, str]:
    """Return the name and the fingerprint of each leg's model."""
    return {leg: f"{spec.model} {spec.fingerprint}" for leg, spec in manifest.legs.items()}


def corpus_hash(corpus: Path | None) -> Any:
    """Return the hash of a corpus file, to which more can be added; of nothing where there is none."""
    found = hashlib.blake2b(digest_size=16)
    if corpus is None:
        return found
    with corpus.open("rb") as stream:
        while block := stream.read(_BLOCK):
            found.update(block)
    return found


def _hash_of(lines: Iterable[str]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for line in sorted(lines):
        found.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return found.hexdigest()
