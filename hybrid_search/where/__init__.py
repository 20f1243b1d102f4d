"""The earlier name of `hybrid_search.filters`, which stands in users' files; it stays importable."""

from hybrid_search.filters import *  # noqa: F403
from hybrid_search.filters import __all__ as __all__
