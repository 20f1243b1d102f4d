"""Looking after an install, its models, its store and every collection, and saying what mends what was found.

for one in doctor("movies").diagnoses:
    print(one.subject, one.check, one.state, one.text, one.command)

Nothing is changed by it: no file of a store, no point on a server. (Hashes of model files are remembered in the model
cache, as by every search.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hybrid_search.collection.models import open_store_for
from hybrid_search.diagnostics.collection_models import check_models
from hybrid_search.diagnostics.collection_points import check_points
from hybrid_search.diagnostics.diagnosis import Diagnosis, Report, about, guarded
from hybrid_search.diagnostics.install import check_install
from hybrid_search.diagnostics.model_files import check_model_files
from hybrid_search.diagnostics.place import check_content, check_journal, check_room, check_store
from hybrid_search.errors import (
    CollectionDamaged,
    ConfigError,
    HybridSearchError,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from hybrid_search.protocols import Store
from hybrid_search.settings import Settings, load_settings
from hybrid_search.store.schema import check_name
from hybrid_search.store.survey import Survey, SurveyedStore


def doctor(
    collection: str | None = None,
    *,
    store: str | Path | Store | None = None,
    settings: Settings | None = None,
    config: str | Path | None = None,
    deep: bool = False,
) -> Report:
    """Check everything that a search or an index job depends on. Changes nothing.

    Args:
        collection: its name; None for every one of the store.
        store: a folder, a server's URL, or an open store; the settings' store when not given.
        settings: read from the environment and the config file when not given.
        config: that config file.
        deep: read every file and every point, as `verify` does, and every cached model.

    Raises:
        CollectionNotFound: the store has no such collection, nor a damaged or unfinished one.
        StoreError: another program made it, and it was not adopted.
    """
    found: list[Diagnosis] = []
    if settings is None:
        settings, found = _settings(config, store)
        if settings is None:
            return Report(found)
    opened, beginning = _open(store, settings)
    surveys, of_collections = ({}, beginning) if opened is None else _collections(opened, collection, settings, deep)
    used = {spec.model for survey in surveys.values() for spec in survey.manifest.legs.values()}
    folder = opened is not None and Path(opened.location).is_dir()
    found += check_install(settings.cache_dir, opened.location if opened and folder else None)
    found += check_model_files(settings, used, deep)
    return Report(found + of_collections)


def _settings(config: str | Path | None, store: object) -> tuple[Settings | None, list[Diagnosis]]:
    """Read the settings; where they cannot be read, return what is wrong with them."""
    given = store if isinstance(store, (str, Path)) else None
    try:
        settings = load_settings(config, store=None if given is None else str(given))
    except ConfigError as error:
        return None, [Diagnosis("settings", "install", "problem", str(error), "hybrid-search guide configuration")]
    return settings, [Diagnosis("settings", "install", "ok", "the environment and the config file can be read")]


def _open(store: str | Path | Store | None, settings: Settings) -> tuple[Store | None, list[Diagnosis]]:
    """Open the store; where it cannot be opened, return why."""
    try:
        return open_store_for(store, settings), []
    except HybridSearchError as error:
        return None, [Diagnosis("open", "store", "problem", str(error), "hybrid-search guide server")]


def _collections(
    store: Store, collection: str | None, settings: Settings, deep: bool
) -> tuple[dict[str, Survey], list[Diagnosis]]:
    """Return the surveys of the collections that can be read, and the findings on the store and on each of them."""
    if not isinstance(store, SurveyedStore):
        text = f"{store.location} is no store of this package, and tells nothing of itself"
        return {}, [Diagnosis("open", "store", "unchecked", text)]
    try:
        names = store.names()
        names = names if collection is None else [_known(store, collection, names)]
    except StoreUnavailable as error:
        return {}, [Diagnosis("open", "store", "problem", str(error), "hybrid-search guide server")]
    found = guarded("store", "store", check_store, store, None if collection is None else names)
    found += guarded("journal", "store", check_journal, store.location)
    surveys: dict[str, Survey] = {}
    for name in names:
        found += guarded("survey", f"collection {name}", _collection, store, name, settings, surveys, deep)
    if not names:
        found.append(Diagnosis("collections", "store", "ok", "there are none yet"))
    return surveys, found


def _known(store: SurveyedStore, collection: str, names: Sequence[str]) -> str:
    """Return the name of a collection that is there, or of which something is.

    Raises:
        CollectionNotFound: there is nothing of that name.
        StoreError: another program made it.
    """
    check_name(collection)
    if collection not in names and all(left.collection != collection for left in store.leftovers()):
        store.info(collection)  # which says why: there is none, or another program made it
    return collection


def _collection(
    store: SurveyedStore, name: str, settings: Settings, surveys: dict[str, Survey], deep: bool
) -> Iterator[Diagnosis]:
    """Yield the findings on one collection."""
    subject, rebuild = f"collection {name}", f"hybrid-search index SOURCE -c {name} --replace"
    try:
        survey = surveys[name] = store.survey(name)
    except (StoreUnavailable, StoreFull):
        raise  # nobody knows what is in it
    except StoreError as error:
        command = rebuild if isinstance(error, CollectionDamaged) else "hybrid-search collections list"
        yield Diagnosis("readable", subject, "problem", str(error), command)
    else:
        legs = ", ".join(survey.manifest.legs)
        yield Diagnosis("readable", subject, "ok", f"{about(survey.points, 'chunk')} with the legs {legs}")
        yield from guarded("models", subject, check_models, name, survey.manifest, survey.sample, settings)
        yield from guarded("points", subject, check_points, name, survey)
        yield from guarded("room", subject, check_room, store, name)
    if deep:
        yield from guarded("content", subject, check_content, store, name)
