"""Every error this library raises on purpose.

    HybridSearchError
    ├── InvalidArgument          a value the caller gave is invalid (k=0, an empty query)
    │   ├── PastTheEnd           an offset beyond the documents that are found
    │   ├── FilterError          a filter cannot be read, or names a field that is not there
    │   └── FusionError          legs or weights do not fit together
    ├── ConfigError              a setting or the config file is wrong
    ├── CorpusError              a source cannot be read at all
    ├── ModelError               a model cannot be used
    │   ├── UnknownModel         no such card; names the near ones
    │   ├── ModelUnavailable     a known model whose files are not here and cannot be fetched
    │   └── MissingExtra         an optional package is not installed (also an ImportError)
    ├── StoreError               the store cannot do it
    │   ├── StoreUnavailable     a server that does not answer, or answers "later"
    │   ├── StoreBusy            another process writes to this collection
    │   ├── StoreFull            not enough space left on the disk
    │   ├── CollectionNotFound   no such collection; names the near ones
    │   ├── CollectionChanged    it was changed, or rebuilt, while it was read; reading again may go well
    │   ├── DocumentNotFound     a collection has no document of this id
    │   ├── CollectionDamaged    what is on disk is not what was written
    │   └── ManifestMismatch     built with other models or other chunking
    ├── MemoryExceeded           a job needs more memory than it was allowed
    ├── EvaluationError          a dataset, a run or a measure cannot be scored
    └── TrainingError            a training cannot begin, go on or be resumed; its checkpoints are kept

A message says what happened, with which value, what was expected, and what to do next. The values are fields as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any
from unicodedata import combining, east_asian_width

DISTRIBUTION = "hybrid-search-qdrant"
"""The name that pip installs; what is imported is `hybrid_search`, and the command is `hybrid-search`."""


class HybridSearchError(Exception):
    """The root: `except HybridSearchError` catches everything this library raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Some are made of other arguments than their message; it is what travels between processes.
        return _restored, (type(self), str(self), self.__dict__)


class InvalidArgument(HybridSearchError, ValueError):
    """A value the caller gave is invalid; the command line answers with exit code 2."""


class PastTheEnd(InvalidArgument):
    """An offset beyond the documents found; `documents` is their number."""

    def __init__(self, offset: int, documents: int, query: str) -> None:
        self.documents = documents
        found = "1 document is" if documents == 1 else f"{documents:,} documents are"
        super().__init__(f"offset is {offset}, but {found} found for {query!r}; take 0..{documents - 1}.")


class FilterError(InvalidArgument):
    """A filter (`--where`) cannot be parsed, or names a field that no document has.

    `reason` says why; `text` and `column`, from 1, say where. A tree made by hand has no text and no column.
    """

    def __init__(self, reason: str, text: str | None = None, column: int | None = None) -> None:
        self.reason = reason
        self.text = text
        self.column = column
        if text is None or column is None:
            super().__init__(f"The filter cannot be used: {reason}.")
        else:
            super().__init__(f"The filter cannot be used, at column {column}: {reason}.\n{_point_at(text, column)}")


class ConfigError(HybridSearchError):
    """A setting, an environment variable or the config file is wrong."""


class CorpusError(HybridSearchError):
    """A source cannot be read at all. (One bad document is a `Failure`, not an error.)"""


class ModelError(HybridSearchError):
    """A model cannot be used."""


class UnknownModel(ModelError):
    """No model card has this name."""

    def __init__(self, name: str, known: Sequence[str], kind: str = "model") -> None:
        self.name = name
        self.near = near(name, known)
        super().__init__(
            f"Unknown {kind} {name!r}.{_did_you_mean(self.near)} "
            "See `hybrid-search models list`, or give the path of a model folder."
        )


class ModelUnavailable(ModelError):
    """The model is known, but its files are not on this machine and could not be fetched."""


class MissingExtra(ModelError, ImportError):
    """An optional package is needed here and is not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        self.extra = extra
        super().__init__(f"{purpose} needs the {extra!r} extra. Install it: {install_line(extra)}")


class StoreError(HybridSearchError):
    """The store cannot do what was asked."""


class StoreUnavailable(StoreError):
    """The server does not answer, or answers that it cannot now. Retrying later may help."""


class StoreBusy(StoreError):
    """Another process is writing to this collection; the message names it."""


class StoreFull(StoreError):
    """There is not enough space left on the disk to go on safely."""


class CollectionChanged(StoreError):
    """The collection was changed, or rebuilt with other models, while it was read. Reading it again may succeed."""


class CollectionNotFound(StoreError):
    """The store has no collection of this name."""

    def __init__(self, name: str, existing: Sequence[str], location: str) -> None:
        self.name = name
        self.existing = tuple(existing)
        self.near = near(name, existing)
        hint = _did_you_mean(self.near)
        if not hint:
            some = ", ".join(sorted(existing)[:5])
            hint = f" It holds: {some}." if some else " It holds none yet."
        super().__init__(
            f"No collection {name!r} in {location}.{hint} Build it with: hybrid-search index SOURCE -c {name}"
        )


class DocumentNotFound(StoreError):
    """The collection has no document of this id."""

    def __init__(self, doc_id: str, collection: str) -> None:
        self.doc_id = doc_id
        self.collection = collection
        super().__init__(f"Collection {collection!r} has no document {doc_id!r}. Search it to find the ids it has.")


class CollectionDamaged(StoreError):
    """What is on disk is not what was written; the collection has to be rebuilt from its sources."""


class ManifestMismatch(StoreError):
    """The collection was built with other models or other chunking than requested."""

    def __init__(
        self,
        collection: str,
        what: str,
        found: object,
        wanted: object,
        way_out: str = "Leave the option out to go on with what it has",
    ) -> None:
        self.collection = collection
        self.what = what
        self.found = found
        self.wanted = wanted
        super().__init__(
            f"Collection {collection!r} was built with {what} {found}, not with {wanted}. "
            f"{way_out}, or rebuild it: "
            f"hybrid-search index SOURCE -c {collection} --replace ..."
        )


class MemoryExceeded(HybridSearchError):
    """A job uses more memory than it was allowed, even with the smallest batches. What it wrote is kept."""

    def __init__(self, held: int, allowed: int) -> None:
        self.held, self.allowed = held, allowed
        super().__init__(
            f"The job holds {held / 1e6:,.0f} MB with the smallest batches, more than the {allowed / 1e6:,.0f} MB of "
            "--max-memory. What was indexed so far is kept: allow more, take fewer --workers, or begin anew with a "
            "smaller profile."
        )


class FusionError(InvalidArgument):
    """The legs, the weights or the constant do not fit together."""


class EvaluationError(HybridSearchError):
    """A dataset, a run or a measure cannot be scored."""


class TrainingError(HybridSearchError):
    """A training cannot begin, continue, be resumed or be exported. What it has written so far is kept."""


def _restored(kind: type[HybridSearchError], message: str, values: dict[str, Any]) -> HybridSearchError:
    error = kind.__new__(kind)
    error.args = (message,)
    error.__dict__.update(values)
    return error


def install_line(extra: str) -> str:
    """Return what to type to install an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def near(name: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return up to three known names close to `name`, ignoring case, best first."""
    by_lower = {item.lower(): item for item in known}
    return tuple(by_lower[match] for match in get_close_matches(name.lower(), list(by_lower), n=3, cutoff=0.5))


def _point_at(text: str, column: int, room: int = 90) -> str:
    """Return the text around a column, which counts from 1, with a caret below it."""
    start = max(0, min(column - 1 - room // 2, len(text) - room))
    shown = "".join(letter if letter.isprintable() else " " for letter in text[start : start + room])
    before, after = "…" if start else "", "…" if start + room < len(text) else ""
    wide = sum(
        2 if east_asian_width(letter) in "WF" else not combining(letter) for letter in shown[: column - 1 - start]
    )
    return f"  {before}{shown}{after}\n  {' ' * (len(before) + wide)}^"


def _did_you_mean(names: Sequence[str]) -> str:
    return f" Did you mean {' or '.join(repr(name) for name in names)}?" if names else ""
