"""The earlier name of `collection_handle`, which stands in users' pickles; it stays importable."""

from __future__ import annotations

from typing import Any

from hybrid_search.integrations import collection_handle


def __getattr__(name: str) -> Any:
    return getattr(collection_handle, name)
