"""Where points live. The only room that imports qdrant_client or qdrant_edge.

A folder is the engine inside this process, a URL is a Qdrant server; both give the same answers, which one contract
test holds. May import protocols, types, manifest and errors; nothing of the sibling rooms.
"""

from __future__ import annotations

from pathlib import Path

from hybrid_search._util.locations import is_server
from hybrid_search.protocols import Store


def open_store(
    location: str | Path, *, api_key: str | None = None, timeout_s: float = 30.0, retry_s: float = 60.0
) -> Store:
    """Open the store that a location names: `http(s)://...` a server, anything else a folder.

    Args:
        location: the folder or URL. `http://USER:PASSWORD@HOST` sends both to what stands before a server, and
            `?api-key=KEY` is the API key; neither is shown anywhere.
        api_key: of a server; one in its URL goes before it.
        timeout_s: seconds that one request to a server may take.
        retry_s: seconds for which writing goes on trying when a server stops answering.

    Raises:
        ConfigError: it is neither, or an API key or a password would travel unencrypted.
        StoreUnavailable: the server does not answer within `timeout_s`.
    """
    if is_server(str(location)):
        from hybrid_search.store.server.store import ServerStore

        return ServerStore.connect(str(location), api_key=api_key, timeout_s=timeout_s, retry_s=retry_s)
    from hybrid_search.store.edge.store import EdgeStore

    return EdgeStore(location)
