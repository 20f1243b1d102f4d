"""Caches the token ids of the last batch per vocabulary, so that legs with the same tokenizer tokenize a batch once.

The legs of a collection encode the same texts one after another, and SPLADE++ and most dense models share BERT's
vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Ids = NDArray[np.int32]
"""Token ids of one text, shape (length,)."""

Read = Callable[[Sequence[str], int], list[Ids]]
"""Takes texts and room, returns bare pieces: all of a text's, or more than the room; room 0 means all."""

MARGIN = 32
"""Pieces needed beyond the room, because the last ones before a cut may differ from those of the whole text."""

_MOST_CHARACTERS = 1 << 20
# Parts of a tokenizer that add to the bare pieces or cut them, and do not change them.
_AROUND = ("truncation", "padding", "post_processor")


class _Piece(NamedTuple):
    ids: Ids
    whole: bool


class TokenCache:
    """The pieces of the texts that were read last. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, _Piece] = {}

    def pieces(self, read: Read, texts: Sequence[str], room: int) -> list[Ids]:
        """Return what `read` gives for these texts; it is called only for those not read last, or not far enough."""
        with self._lock:  # another leg with this vocabulary waits, and finds them read
            known = self._known
            missing = [text for text in dict.fromkeys(texts) if not _enough(known.get(text), room)]
            fresh = dict(zip(missing, read(missing, room), strict=True)) if missing else {}
            found = {text: known[text] if text not in fresh else _piece(fresh[text], room) for text in texts}
            if fresh:
                self._known = found if sum(map(len, found)) <= _MOST_CHARACTERS else {}
            return [found[text].ids for text in texts]


def token_cache_for(tokenizer: Tokenizer, cut: str) -> TokenCache:
    """Return the cache shared by all tokenizers that split like this one and cut on the same side."""
    parts = json.loads(tokenizer.to_str())
    parts = {name: part for name, part in parts.items() if name not in _AROUND}
    key = hashlib.blake2b(json.dumps([cut, parts], sort_keys=True).encode(), digest_size=16).hexdigest()
    return _VOCABULARIES.setdefault(key, TokenCache())


_VOCABULARIES: dict[str, TokenCache] = {}


def _piece(ids: Ids, room: int) -> _Piece:
    # More than the room: there may be others that were not read.
    return _Piece(ids, room == 0 or len(ids) <= room)


def _enough(piece: _Piece | None, room: int) -> bool:
    return piece is not None and (piece.whole or 0 < room <= len(piece.ids) - MARGIN)
