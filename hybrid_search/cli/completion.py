"""What a shell is offered to complete a word. Nothing here opens a collection or loads a model or an engine.

A shell shows what it is given and nothing else, so whatever goes wrong gives no offers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import wraps

import typer

from hybrid_search._util.printable import one_line

Offer = Callable[[typer.Context, str], list[str]]


def _offering(words: Callable[[typer.Context], Iterable[str]]) -> Offer:
    """Return a function that offers those words which begin as what was typed and which a shell can be given."""

    @wraps(words)
    def offer(context: typer.Context, incomplete: str) -> list[str]:
        with suppress(Exception):
            return [word for word in words(context) if word.startswith(incomplete) and one_line(word) == word]
        return []

    # What typer goes by; `wraps` has put those of the wrapped function there.
    offer.__annotations__ = {"context": typer.Context, "incomplete": str, "return": list[str]}
    del offer.__wrapped__
    return offer


@_offering
def collections(context: typer.Context) -> Iterable[str]:
    """Return the collections of the store that the line names so far."""
    from hybrid_search.store.listing import names

    return names(*_store(context))


@_offering
def modes(context: typer.Context) -> Iterable[str]:
    """Return the modes of a collection: `hybrid` and each leg; the usual two legs where no collection is named yet."""
    return ("hybrid", *_legs(context))


@_offering
def legs(context: typer.Context) -> Iterable[str]:
    """Return the legs of the collection."""
    return _legs(context)


@_offering
def topics(context: typer.Context) -> Iterable[str]:
    """Return the topics of the guide."""
    from hybrid_search.guide import topics

    return topics()


@_offering
def profiles(context: typer.Context) -> Iterable[str]:
    """Return the names of the profiles."""
    from hybrid_search.encoders.catalog import PROFILES

    return ("auto", *PROFILES)


@_offering
def models(context: typer.Context) -> Iterable[str]:
    """Return the names of the models and of the profiles."""
    from hybrid_search.encoders.catalog import PROFILES, cards

    return (*PROFILES, *(card.name for card in cards()))


@_offering
def encoders(context: typer.Context) -> Iterable[str]:
    """Return the models that serve a leg of either kind."""
    from hybrid_search.encoders.catalog import cards

    return list(dict.fromkeys(card.name for card in (*cards("sparse"), *cards("dense"))))


@_offering
def sparse_models(context: typer.Context) -> Iterable[str]:
    """Return the models that serve a sparse leg, and the word for none."""
    return _models("sparse")


@_offering
def dense_models(context: typer.Context) -> Iterable[str]:
    """Return the models that serve a dense leg, and the word for none."""
    return _models("dense")


@_offering
def rerankers(context: typer.Context) -> Iterable[str]:
    """Return the models that re-rank."""
    from hybrid_search.encoders.catalog import cards

    return [card.name for card in cards("reranker")]


def _models(kind: str) -> list[str]:
    from hybrid_search.encoders.catalog import cards

    return [*(card.name for card in cards("sparse" if kind == "sparse" else "dense")), "none"]


def _legs(context: typer.Context) -> list[str]:
    from hybrid_search.store.listing import legs
    from hybrid_search.types import LEGS, in_order

    name = context.params.get("collection") or context.params.get("name")
    location, key = _store(context)
    return list(in_order(legs(location, name, key))) if isinstance(name, str) else list(LEGS)


def _store(context: typer.Context) -> tuple[str, str | None]:
    """Return the location of the store and its API key."""
    from hybrid_search._util.config_file import default_store, raw_setting

    def option(name: str) -> str | None:
        """Return the value of a global option, after the command or before it."""
        return context.params.get(name) or context.find_root().params.get(name)

    config = option("config")
    return option("store") or raw_setting("store", config) or default_store(), raw_setting("api_key", config)
