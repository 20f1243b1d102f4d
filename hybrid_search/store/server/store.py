"""Collections on a Qdrant server or cluster, through qdrant-client.

A collection NAME is an alias of `NAME__v1`, `NAME__v2`, ... A rebuild fills the next version beside the current one,
and moves the alias at the end in one atomic call. The manifest is stored in the collection's own metadata.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from hybrid_search._util.locations import shown_location
from hybrid_search.errors import CollectionDamaged, CollectionNotFound, StoreError
from hybrid_search.manifest import Foreign, Manifest
from hybrid_search.protocols import CollectionInfo, Verification
from hybrid_search.store.certificates import USUAL, Certificates
from hybrid_search.store.schema import check_name
from hybrid_search.store.server.client_errors import CollectionGone
from hybrid_search.store.server.clients import close_all, open_clients, peers_of
from hybrid_search.store.server.connection import RetryingClient, RetryPolicy, interactive
from hybrid_search.store.server.foreign import described, open_reader, read_only
from hybrid_search.store.server.frequencies import drop_version
from hybrid_search.store.server.reader import MANIFEST_KEY, ServerReader, manifest_of
from hybrid_search.store.server.survey import leftovers_of, notices_of, survey
from hybrid_search.store.server.verify import verify_collection
from hybrid_search.store.server.writer import ServerWriter, create, write_manifest
from hybrid_search.store.survey import Leftover, Notice, Survey

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

RETRY_S = 60.0
SEARCH_TIMEOUT_S = 5.0


class ServerStore:
    """Collections on one server.

    Args:
        client: an open `QdrantClient`; `connect` makes one from a URL.
        location: for messages, without user and password.
        retry_s: seconds for which a writer keeps trying when the server does not answer; 0 for no retry. A search
            tries three times within a second.
        others: clients of the other peers of a cluster.
        searching: the clients of searches, the first peer's first; by default the same.
        search_timeout_s: seconds within which each request of a search is answered or fails; 0 for the client's own.
    """

    def __init__(
        self,
        client: QdrantClient,
        location: str = "the Qdrant client",
        *,
        retry_s: float = RETRY_S,
        others: Sequence[QdrantClient] = (),
        searching: Sequence[QdrantClient] = (),
        search_timeout_s: float = 0.0,
    ) -> None:
        self._client, self._clients, self._quick = client, (client, *others), tuple(searching)
        self._location = location = shown_location(location)
        self._patience = RetryPolicy(retry_s)
        first, *rest = self._quick or self._clients
        self._writing = self._line(self._patience)
        self._reading = self._line(interactive(retry_s))
        self._searching = RetryingClient(first, location, interactive(retry_s, search_timeout_s), others=rest)

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retry_s: float = RETRY_S,
        search_timeout_s: float = SEARCH_TIMEOUT_S,
        certificates: Certificates = USUAL,
        patient: bool = False,
    ) -> ServerStore:
        """Connect to a server, or to the peers of a cluster, with one request each. Uses gRPC where it is answered.

        Args:
            url: `http://a:6333`, or of several peers `http://a:6333,http://b:6333`; one that answers suffices.
            api_key: for servers whose URL has none.
            timeout_s: seconds that one request may take.
            retry_s: as in the class.
            search_timeout_s: as in the class.
            certificates: of the connections.
            patient: wait for a server that does not answer yet, as long as a writer does.

        Raises:
            ConfigError: it is no URL, or an API key or a password would travel unencrypted to another machine.
            StoreUnavailable: the server does not answer in time.
        """
        peers = peers_of(url, api_key, certificates)
        location = ",".join(peer.place.address for peer in peers)
        wait = RetryPolicy(retry_s) if patient else RetryPolicy(0)
        connecting = RetryingClient(cast("QdrantClient", None), location, wait)
        clients, quick = connecting.call(lambda _: open_clients(peers, timeout_s, search_timeout_s))
        return cls(
            clients[0],
            location,
            retry_s=retry_s,
            others=clients[1:],
            searching=quick,
            search_timeout_s=search_timeout_s,
        )

    def _line(self, patience: RetryPolicy) -> RetryingClient:
        first, *others = self._clients
        return RetryingClient(first, self._location, patience, others=others)

    @property
    def location(self) -> str:
        return self._location

    def names(self) -> list[str]:
        """List the aliases of our versions, and the adopted collections. No other collection has a manifest."""
        aliases = self._reading.call(lambda client: client.get_aliases()).aliases
        others = self._reading.call(lambda client: client.get_collections()).collections
        behind = {one.name: one.name for one in others} | {one.alias_name: one.collection_name for one in aliases}
        return sorted(
            name
            for name, real in behind.items()
            if _version_of(name, real) or ("__v" not in real and self._is_adopted(real))
        )

    def reader(self, name: str) -> ServerReader:
        return self._open(self._searching, name)

    def patient_reader(self, name: str) -> ServerReader:
        """Open a collection for a job, which waits for the server as long as a writer does."""
        return self._open(self._writing, name)

    def _open(self, line: RetryingClient, name: str) -> ServerReader:
        real = self._require(name)
        try:
            return open_reader(line, real, name, self._now)
        except CollectionGone:  # replaced just now
            return open_reader(line, self._require(name), name, self._now)

    def described(self, name: str) -> Foreign:
        """Describe a collection, whoever made it. Raises CollectionNotFound."""
        return described(self._reading, self._require(name), name)

    def adopt(self, name: str, manifest: Manifest) -> None:
        """Write a manifest into a collection of another program, so that it is searched by that from now on."""
        write_manifest(self._writing, self._require(name), manifest)

    def info(self, name: str) -> CollectionInfo:
        return self.reader(name).info()

    def manifest(self, name: str) -> Manifest | None:
        live = self._live(self._writing, name)
        real = live or self._unfinished(self._writing, name, live)
        return None if real is None else manifest_of(self._writing, real, name)

    def writer(self, name: str, manifest: Manifest, *, replace: bool = False, wait_s: float = 0.0) -> ServerWriter:
        """Open for writing. `wait_s` has no effect: a server accepts several writers."""
        live = self._live(self._writing, name)
        if live is not None and not _version_of(name, live):
            found = manifest_of(self._writing, live, name)
            if found.adopted:
                raise read_only(name, found)
            if replace:
                raise StoreError(
                    f"{name!r} in {self._location} stands for {live!r}, which a new version cannot replace. "
                    "Index into a new name: hybrid-search index SOURCE -c NEW_NAME"
                )
        real = None if replace else live
        resumed = False
        if real is None:
            real = self._unfinished(self._writing, name, live)
            if real and replace and not self._same(real, name, manifest):
                self._drop(real)
                real = None
            resumed = real is not None
        if real is None:
            real = f"{name}__v{_version_of(name, live) + 1}"
            create(self._writing, real, manifest)
        return ServerWriter(self._line(self._patience), real, live, name, manifest, older=self._older, resumed=resumed)

    def verify(self, name: str | None = None) -> list[Verification]:
        names = self.names() if name is None else [name]
        return [verify_collection(self._reading, self._require(one), one) for one in names]

    def survey(self, name: str) -> Survey:
        return survey(self._reading, self._require(name), name)

    def leftovers(self) -> list[Leftover]:
        return list(leftovers_of(self._reading))

    def notices(self) -> list[Notice]:
        return list(notices_of(self._reading))

    def delete(self, name: str) -> None:
        versions = self._versions(name)
        if not versions:
            versions = [self._require(name)]
            found = manifest_of(self._writing, versions[0], name)
            if found.adopted:  # what others made is not ours to delete
                raise read_only(name, found)
        for real in versions:
            self._drop(real)

    def close(self) -> None:
        self._writing.cancel()
        close_all([*self._clients, *self._quick])

    def _require(self, name: str) -> str:
        real = self._now(name)
        if real is None and self._unfinished(self._reading, name, None):
            raise StoreError(
                f"Collection {name!r} in {self._location} is being built and has not been finished yet. "
                "Run the same `hybrid-search index` command again to finish it."
            )
        if real is None:
            raise CollectionNotFound(name, self.names(), self._location)
        return real

    def _versions(self, name: str) -> list[str]:
        """Return every version of a name, including unfinished ones."""
        found = self._writing.call(lambda client: client.get_collections()).collections
        return [version.name for version in found if _version_of(check_name(name), version.name)]

    def _older(self, real: str) -> list[str]:
        """Return the versions of the same name below one."""
        name = real.rpartition("__v")[0]
        return [version for version in self._versions(name) if _version_of(name, version) < _version_of(name, real)]

    def _now(self, name: str) -> str | None:
        return self._live(self._reading, name)

    def _live(self, line: RetryingClient, name: str) -> str | None:
        """Return the collection that a name stands for, or None."""
        check_name(name)
        for alias in line.call(lambda client: client.get_aliases()).aliases:
            if alias.alias_name == name:
                return str(alias.collection_name)
        return name if line.call(lambda client: client.collection_exists(name)) else None

    def _unfinished(self, line: RetryingClient, name: str, live: str | None) -> str | None:
        """Return the version above the live one, which a job began and did not publish; None for none."""
        following = f"{name}__v{_version_of(name, live) + 1}"
        return following if line.call(lambda client: client.collection_exists(following)) else None

    def _is_adopted(self, real: str) -> bool:
        metadata = self._reading.call(lambda client: client.get_collection(real)).config.metadata or {}
        return bool((metadata.get(MANIFEST_KEY) or {}).get("adopted"))

    def _same(self, real: str, name: str, manifest: Manifest) -> bool:
        """Say whether a version was built with this manifest."""
        try:
            return manifest_of(self._writing, real, name).fingerprint() == manifest.fingerprint()
        except CollectionDamaged:
            return False

    def _drop(self, real: str) -> None:
        drop_version(self._writing, real)


def _version_of(name: str, real: str | None) -> int:
    """Return the number of a version of `name`, from 1; 0 where `real` is no version."""
    found = re.fullmatch(re.escape(name) + r"__v(\d+)", real or "")
    return int(found.group(1)) if found else 0
