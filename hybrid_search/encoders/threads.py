"""How a processor's cores are shared: one text on all of them, or batches side by side.

The operators between the products of a network are small and divide badly, so two batches on half of the cores each
finish sooner than one after the other on all of them; a single text finishes soonest on all. So a model has up to two
sessions: a wide one for single queries, and a narrow one, of which two batches run at once.
"""

from __future__ import annotations

from hybrid_search._util import cpu_count

LANES = 2
"""Batches at once. More would hold more memory, for little."""


def lanes_of(threads: int | None) -> tuple[int, int]:
    """How many batches run at once, and on how many threads each.

    Args:
        threads: of a model; None means every core that this process may use.

    >>> lanes_of(1), lanes_of(2), lanes_of(16)
    ((1, 1), (2, 1), (2, 8))
    """
    cores = threads or cpu_count()
    return (1, cores) if cores < LANES else (LANES, cores // LANES)
