"""Filters: `ast.py` has them as values, `parser.py` reads them from a text, `matcher.py` says what they mean.

`syntax.py` is what the three share. Values only: stores translate a tree into their engine's filter.
"""

from hybrid_search.filters.ast import (
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
