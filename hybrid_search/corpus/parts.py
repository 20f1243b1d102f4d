"""What a conversion gives, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Unreadable(ValueError):
    """The file cannot be converted; the message is the reason."""


class Part(NamedTuple):
    """What a conversion gives.

    Args:
        kind: `title`; `text`, of a PDF page by page; `passed_over`; `guessed`.
        text: the title or the text; the kind of what was left out; the encoding that was guessed.
        number: how much was left out.
    """

    kind: str
    text: str
    number: int = 0


def left_out(counts: Mapping[str, int]) -> Iterator[Part]:
    """By kind what was left out; nothing for what there was none of."""
    return (Part("passed_over", kind, number) for kind, number in counts.items() if number)
