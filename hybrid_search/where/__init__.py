"""Filters: `tree.py` has them as values, `parsing.py` reads them from a text, `holding.py` says what they mean.

`spelling.py` is what the three share. Values only: stores translate a tree into their engine's filter.
"""

from hybrid_search.where.tree import (
    MAX_NESTING,
    OWN_FIELDS,
    And,
    Between,
    Compare,
    Condition,
    Exists,
    Geo,
    Match,
    Not,
    OneOf,
    Or,
    Test,
    leaves,
)

__all__ = [
    "MAX_NESTING",
    "OWN_FIELDS",
    "And",
    "Between",
    "Compare",
    "Condition",
    "Exists",
    "Geo",
    "Match",
    "Not",
    "OneOf",
    "Or",
    "Test",
    "leaves",
]
