"""Documents that say the same in the same words."""

from __future__ import annotations

import re

_WORDS = re.compile(r"\w+")
_SHINGLE = 5
ALIKE = 0.9
"""From this share of common shingles on, two texts are one."""


def shingles(text: str) -> frozenset[int]:
    """The hashes of every five words in a row, case and signs aside; of a shorter text the hash of all of it.

    A text without words has none.

    Source: Broder, On the Resemblance and Containment of Documents, 1997.
    """
    words = _WORDS.findall(text.lower())
    rows = [tuple(words[start : start + _SHINGLE]) for start in range(len(words) - _SHINGLE + 1)]
    return frozenset(map(hash, rows or ([tuple(words)] if words else [])))


def alike(one: frozenset[int], other: frozenset[int], share: float = ALIKE) -> bool:
    """Whether two sets of shingles are of near-identical texts: their Jaccard similarity is at least `share`, 0..1.

    >>> alike(shingles("The quick brown fox jumps."), shingles("the quick brown fox JUMPS"))
    True
    """
    if not one or min(len(one), len(other)) < share * max(len(one), len(other)):
        return False
    return len(one & other) >= share * len(one | other)
