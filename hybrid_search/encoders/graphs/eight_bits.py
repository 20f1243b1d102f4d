"""Products in eight bits."""

from __future__ import annotations

from hybrid_search.encoders.graphs.derived import Made
from hybrid_search.encoders.graphs.skeleton import Maps


def in_eight_bits(made: Made, maps: Maps) -> Made:
    """To come."""
    return made
