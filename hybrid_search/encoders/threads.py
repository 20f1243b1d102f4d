"""Divides a processor's cores between batches that run at once.

The operators between the matrix products of a network are small and parallelise badly. Two batches on half of the cores
each therefore finish sooner than one after the other on all cores; a single text finishes soonest on all. So a model
has up to two sessions: a wide one for single queries, and a narrow one that runs two batches at once.
"""

from __future__ import annotations

from hybrid_search._util import cpu_count

CONCURRENCY = 2
"""Batches at once. More would take more memory for little gain."""


def split_cores(threads: int | None) -> tuple[int, int]:
    """Return how many batches run at once, and on how many threads each.

    Args:
        threads: threads of a model; None means every core that this process may use.

    >>> split_cores(1), split_cores(2), split_cores(16)
    ((1, 1), (2, 1), (2, 8))
    """
    cores = threads or cpu_count()
    return (1, cores) if cores < CONCURRENCY else (CONCURRENCY, cores // CONCURRENCY)
