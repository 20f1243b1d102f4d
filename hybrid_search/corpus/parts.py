"""The pieces that a conversion yields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Unreadable(ValueError):
    """The file cannot be converted; the message is the reason."""


class Part(NamedTuple):
    """A piece of a converted file.

    Args:
        kind: `title`; `text` (one per page of a PDF); `passed_over`; `guessed`.
        text: the title or the text; the kind of what was left out; the encoding that was guessed.
        number: how much was left out.
    """

    kind: str
    text: str
    number: int = 0


def left_out(counts: Mapping[str, int]) -> Iterator[Part]:
    """Yield a part for each kind of which something was left out."""
    return (Part("passed_over", kind, number) for kind, number in counts.items() if number)
