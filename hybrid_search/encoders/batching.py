"""Batches that waste little: texts of one length together, a bounded number of tokens each, the order restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def batches(lengths: Sequence[int], *, budget: int, limit: int) -> Iterator[NDArray[np.intp]]:
    """Yield the places of the texts of each batch, shortest texts first, every place exactly once.

    A batch is padded to its longest text, so its cost is that length times its size; sorting keeps the padding small.

    Args:
        lengths: tokens of each text, as the model reads it.
        budget: tokens of a batch, padding included; a single text may exceed it.
        limit: texts of a batch.

    >>> [batch.tolist() for batch in batches([5, 1, 9, 2], budget=8, limit=4)]
    [[1, 3], [0], [2]]
    """
    order = np.argsort(np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        full = end == len(order) or end - start == limit
        if full or (end - start + 1) * max(1, lengths[order[end]]) > budget:
            yield order[start:end]
            start = end


def readable(text: str) -> str:
    """The text without lone surrogates, which no tokenizer accepts; a pair of them becomes the character it stands for.

    >>> readable("caf\\u00e9 \\ud83d"), readable("\\ud83d\\ude00")
    ('café \ufffd', '😀')
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
