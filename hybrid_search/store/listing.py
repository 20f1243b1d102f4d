"""Names of collections and of their legs for shell completion, without loading the engine or the server's client."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hybrid_search._util.locations import is_server

PATIENCE_S = 1.0
"""Seconds that a server may take to answer: somebody has pressed a key and waits."""


def names(location: str, api_key: str | None = None) -> list[str]:
    """List the collections of a store, including those of other programs on a server.

    Raises:
        ConfigError: the location is no folder and no URL, or a secret would travel unencrypted.
        OSError, ValueError: the store cannot be read now.
    """
    if not is_server(location):
        from hybrid_search.store.edge.generations import folder_names

        return folder_names(Path(location).expanduser())
    # The others hold the counts of a version.
    names = (name for name in _collections_by_name(location, api_key) if "__idf_" not in name)
    return sorted({re.sub(r"__v\d+\Z", "", name) for name in names})


def legs(location: str, name: str, api_key: str | None = None) -> list[str]:
    """List the legs of a collection.

    Raises:
        HybridSearchError: no collection has this name, or it is damaged.
        OSError, ValueError, KeyError: the store cannot be read now, or the collection is not ours.
    """
    if not is_server(location):
        from hybrid_search.store.edge.store import EdgeStore

        return list(EdgeStore(location).info(name).manifest.legs)
    from hybrid_search.store.server.reader import MANIFEST_KEY

    real = _collections_by_name(location, api_key).get(name, name)
    found = _get(location, f"/collections/{quote(real, safe='')}", api_key)
    return list(found["config"]["metadata"][MANIFEST_KEY]["legs"])


def _collections_by_name(location: str, api_key: str | None) -> dict[str, str]:
    """Map every name, alias or not, to its collection."""
    real = [one["name"] for one in _get(location, "/collections", api_key)["collections"]]
    aliases = _get(location, "/aliases", api_key)["aliases"]
    return {name: name for name in real} | {one["alias_name"]: one["collection_name"] for one in aliases}


def _get(location: str, path: str, api_key: str | None) -> Any:
    import urllib.request

    from hybrid_search._util.locations import peer_urls
    from hybrid_search.store.server.clients import basic_auth_header, with_key

    place, api_key = with_key(peer_urls(location)[0], api_key)
    headers = {**(basic_auth_header(place.user) or {}), **({"api-key": api_key} if api_key else {})}
    request = urllib.request.Request(place.address.rstrip("/") + path, headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)["result"]
