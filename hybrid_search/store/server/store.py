"""Collections on a Qdrant server or cluster, through qdrant-client.

A collection NAME is an alias of `NAME__v1`, `NAME__v2`, ... A rebuild fills the next version beside the current one,
and moves the alias at the end in one atomic call. The manifest is stored in the collection's own metadata.
"""

from __future__ import annotations

import base64
import re
import warnings
from typing import TYPE_CHECKING

from hybrid_search._util.locations import ServerUrl, server_url, shown_location
from hybrid_search.errors import CollectionDamaged, CollectionNotFound, ConfigError, StoreError
from hybrid_search.manifest import Foreign, Manifest
from hybrid_search.protocols import CollectionInfo, Verification
from hybrid_search.store.schema import check_name
from hybrid_search.store.server.connection import (
    CollectionGone,
    RetryingClient,
    RetryPolicy,
    interactive,
    is_open,
    server_errors,
)
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
REST_PORT, GRPC_PORT = 6333, 6334
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def with_key(url: str, api_key: str | None) -> tuple[ServerUrl, str | None]:
    """Parse a URL and return it with the API key to use: the URL's own, else the given one.

    Raises:
        ConfigError: it is no URL, or a key or a password would travel unencrypted to another machine.
    """
    place = server_url(url)
    api_key = place.api_key or api_key
    if (api_key or place.user) and place.scheme == "http" and place.host not in LOOPBACK:
        secret = "An API key" if api_key else "A password"
        raise ConfigError(f"{secret} would go to {place.address} unencrypted. Use an https:// URL.")
    return place, api_key


class ServerStore:
    """Collections on one server.

    Args:
        client: an open `QdrantClient`; `connect` makes one from a URL.
        location: for messages, without user and password.
        retry_s: seconds for which a writer keeps trying when the server does not answer; 0 for no retry. A search
            tries three times within a second.
    """

    def __init__(self, client: QdrantClient, location: str = "the Qdrant client", *, retry_s: float = RETRY_S) -> None:
        self._client = client
        self._location = location = shown_location(location)
        self._patience = RetryPolicy(retry_s)
        self._writing, self._reading = (
            RetryingClient(client, location, self._patience),
            RetryingClient(client, location, interactive(retry_s)),
        )

    @classmethod
    def connect(
        cls, url: str, *, api_key: str | None = None, timeout_s: float = 30.0, retry_s: float = RETRY_S
    ) -> ServerStore:
        """Connect to a server with one request, without retries. Uses gRPC where its port is open.

        Raises:
            ConfigError: it is no URL, or an API key or a password would travel unencrypted to another machine.
            StoreUnavailable: the server does not answer within `timeout_s`.
        """
        from qdrant_client import QdrantClient

        place, api_key = with_key(url, api_key)
        port = place.port or (443 if place.scheme == "https" else REST_PORT)
        # Behind any other port the usual gRPC port may belong to another server.
        grpc = port == REST_PORT and is_open(place.host, GRPC_PORT)
        with server_errors(place.address), warnings.catch_warnings():
            # The key over plain http is judged above, and the version check below is a real request.
            warnings.simplefilter("ignore")
            client = QdrantClient(
                url=place.address,
                port=port,
                api_key=api_key,
                headers=basic_auth_header(place.user),
                timeout=max(1, round(timeout_s)),
                prefer_grpc=grpc,
                grpc_port=GRPC_PORT,
                check_compatibility=False,
            )
            try:
                client.get_collections()
            except BaseException:
                client.close()
                raise
        return cls(client, place.address, retry_s=retry_s)

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
        real = self._require(name)
        try:
            return open_reader(self._reading, real, name, self._now)
        except CollectionGone:  # replaced just now
            return open_reader(self._reading, self._require(name), name, self._now)

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
        line = RetryingClient(self._client, self._location, self._patience)
        return ServerWriter(line, real, live, name, manifest, older=self._older, resumed=resumed)

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
        self._client.close()

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


def basic_auth_header(user: tuple[str, str] | None) -> dict[str, str]:
    """Return the header for the user and the password of a URL; the client itself ignores them.

    Source: RFC 7617, The 'Basic' HTTP Authentication Scheme.
    """
    if user is None:
        return {}
    return {"authorization": f"Basic {base64.b64encode(':'.join(user).encode()).decode()}"}


def _version_of(name: str, real: str | None) -> int:
    """Return the number of a version of `name`, from 1; 0 where `real` is no version."""
    found = re.fullmatch(re.escape(name) + r"__v(\d+)", real or "")
    return int(found.group(1)) if found else 0
