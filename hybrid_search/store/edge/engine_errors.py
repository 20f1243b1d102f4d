"""Turning what the embedded engine raises into our errors. It has no error types of its own, and it panics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hybrid_search.errors import CollectionDamaged, StoreError, StoreFull


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turn whatever the engine raises, panics included, into our errors."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, StoreError):
        raise
    except BaseException as error:
        text = str(error)
        if type(error).__name__ == "PanicException":
            raise CollectionDamaged(
                f"The engine gave up on {path}: {text[:300]}. Build the collection again from its sources (--replace)."
            ) from error
        if not isinstance(error, Exception):
            raise
        if "No space left" in text:
            raise StoreFull(
                f"The disk under {path} is full: {text[:300]}. What was indexed so far is kept. Free some space and "
                "run it again."
            ) from error
        if "Permission denied" in text:
            raise StoreError(
                f"{path} cannot be opened: the engine needs to write even to read: {text[:300]}"
            ) from error
        raise StoreError(f"The engine refused, at {path}: {text[:300]}") from error
