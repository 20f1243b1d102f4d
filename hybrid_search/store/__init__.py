"""Storing and searching points: the only room that imports qdrant_client or qdrant_edge.

A folder is the Qdrant engine inside this process, a URL is a Qdrant server. Both give the same answers, and one
contract test holds them to it. In reading order:

    schema              what a point carries, and the checks before an engine gets it
    edge/, server/      the two stores: `store` opens, `reader` searches, `writer` fills
    filter_translation  a filter as an engine's filter; filter_conditions: one test of it
    bm25                BM25 as a sparse encoder, on the engine's tokenizer
    point_checks        what `verify` looks for in every point
    names               names for shell completion, without an engine

It imports protocols, filters, manifest, types, errors and _util, and nothing of its sibling rooms.
"""

from __future__ import annotations

from pathlib import Path

from hybrid_search._util.locations import is_server
from hybrid_search.protocols import Store
from hybrid_search.store.certificates import USUAL, Certificates


def open_store(
    location: str | Path,
    *,
    api_key: str | None = None,
    timeout_s: float = 30.0,
    retry_s: float = 60.0,
    search_timeout_s: float = 5.0,
    certificates: Certificates = USUAL,
    patient: bool = False,
) -> Store:
    """Open the store at a location: `http(s)://...` is a server, anything else a folder.

    Args:
        location: the folder or URL. `http://USER:PASSWORD@HOST` sends both to the proxy in front of a server, and
            `?api-key=KEY` is the API key; neither is ever shown. The peers of a cluster are separated by commas.
        api_key: of a server; a key in the URL takes precedence.
        timeout_s: seconds that one request to a server may take.
        retry_s: seconds for which a writer keeps trying when a server stops answering.
        search_timeout_s: seconds within which a search's request to a server is answered or fails.
        certificates: of the connection to a server.
        patient: wait for a server that does not answer yet, as long as a writer does.

    Raises:
        ConfigError: it is neither, or an API key or a password would travel unencrypted.
        StoreUnavailable: the server does not answer within `timeout_s`.
    """
    if is_server(str(location)):
        from hybrid_search.store.server.store import ServerStore

        return ServerStore.connect(
            str(location),
            api_key=api_key,
            timeout_s=timeout_s,
            retry_s=retry_s,
            search_timeout_s=search_timeout_s,
            certificates=certificates,
            patient=patient,
        )
    from hybrid_search.store.edge.store import EdgeStore

    return EdgeStore(location)
