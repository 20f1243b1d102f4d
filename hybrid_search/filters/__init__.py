"""The filter language: `ast` has filters as values, `parser` reads them from text, `matcher` defines what they mean.

`syntax` is what the three share: names, escapes, dates. `mismatch` explains why a filter finds nothing. A store
translates the tree into its engine's filter (`store.filter_translation`). Imports errors and _util.
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
