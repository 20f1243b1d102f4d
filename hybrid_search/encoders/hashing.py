"""Hashes model files, makes fingerprints of the hashes, and dimensions of words.

Hashing half a gigabyte takes a second, so hashes are remembered by (path, size, modification time) in a small JSON file
in the cache folder. If that file cannot be read or written, the hash is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path

from hybrid_search._util import atomic_write
from hybrid_search._util.unicode_text import nfc
from hybrid_search.types import ModelCard

_MEMORY = "file-hashes.json"
# A file written this recently can change again without a visible change of its time.
_SETTLED_S = 2.0


def file_hash(path: Path, cache_dir: Path, *, trust_memory: bool = True) -> str:
    """Return the SHA-256 of a file's content, as 64 hex digits.

    Args:
        path: the file; links are followed.
        cache_dir: where hashes are remembered; it need not exist or be writable.
        trust_memory: False reads the content even if a hash is remembered.

    Raises:
        OSError: the file cannot be read.
    """
    real = path.resolve()
    status = real.stat()
    key, state = str(real), [status.st_size, status.st_mtime_ns]
    if trust_memory:
        known = _remembered(cache_dir).get(key)
        if known is not None and known[:2] == state:
            return str(known[2])
    digest = hashlib.sha256()
    with real.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    found = digest.hexdigest()
    if time.time() - status.st_mtime > _SETTLED_S:
        _remember(cache_dir, key, [*state, found])
    return found


def fingerprint_of(card: ModelCard, hashes: Mapping[str, str], **facts: object) -> str:
    """Return a hash of a model's files and of the parts of its card that change its output, as 32 hex digits.

    It contains no path and no name, so it is the same on every machine and for every name of the same files.

    Args:
        card: the model.
        hashes: file name inside the model's folder -> SHA-256.
        facts: whatever else changes the output (pooling, constants).
    """
    content = {
        "family": card.family,
        "max_tokens": card.max_tokens,
        "query_prefix": card.query_prefix,
        "document_prefix": card.document_prefix,
        "files": dict(hashes),
        "facts": facts,
        # Only where a card says so: cards of earlier versions have neither, and keep their fingerprints.
        **({"max_active_dims": list(card.max_active_dims)} if any(card.max_active_dims) else {}),
        **({"unweighted": card.unweighted} if card.unweighted else {}),
    }
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def dimension_of(term: str) -> int:
    """Return the dimension of a term of an open vocabulary, in 0 .. 2**31 - 1.

    It is 31 bits of a hash of the term's normal form C in UTF-8: the first four bytes of BLAKE2b, big-endian, without
    the highest bit. Collections on disk are made with it. Source: RFC 7693.

    >>> dimension_of("film"), dimension_of("##s")
    (1386861738, 1600763769)
    """
    digest = hashlib.blake2b(nfc(term).encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFF_FFFF


def _remembered(cache_dir: Path) -> dict[str, list[object]]:
    try:
        found = json.loads((cache_dir / _MEMORY).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: entry for key, entry in found.items() if isinstance(entry, list) and len(entry) == 3}


def _remember(cache_dir: Path, key: str, entry: list[object]) -> None:
    known = _remembered(cache_dir)
    known[key] = entry
    with contextlib.suppress(OSError):
        cache_dir.mkdir(parents=True, exist_ok=True)
        atomic_write(cache_dir / _MEMORY, json.dumps(known, indent=0).encode())
