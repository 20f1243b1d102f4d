"""The earlier name of `hybrid_search.filters`, which stands in users' files; it stays importable."""

from hybrid_search.filters import (
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
