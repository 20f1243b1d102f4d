"""Opens the clients of a server, or of the peers of a cluster: addresses, keys, certificates, protocols."""

from __future__ import annotations

import base64
import logging
import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from hybrid_search._util.locations import ServerUrl, is_loopback, peer_urls, server_url
from hybrid_search.errors import ConfigError, HybridSearchError, StoreUnavailable
from hybrid_search.store.certificates import Certificates
from hybrid_search.store.server.client_errors import server_errors
from hybrid_search.store.server.connection import is_open

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

REST_PORT, GRPC_PORT = 6333, 6334
_log = logging.getLogger(__name__)


class Peer(NamedTuple):
    """One server, or one peer of a cluster, and how it is reached.

    Args:
        place: its URL, without secrets.
        api_key: for it; None for none.
        certificates: of the connection.
    """

    place: ServerUrl
    api_key: str | None
    certificates: Certificates

    @property
    def port(self) -> int:
        return self.place.port or (443 if self.place.scheme == "https" else REST_PORT)

    def client(self, timeout_s: float, *, grpc: bool) -> QdrantClient:
        """Open a client, which sends nothing yet.

        Args:
            timeout_s: of one request; the library takes whole seconds, so it is rounded up.
            grpc: over gRPC where there is a form of a request for it.
        """
        from qdrant_client import QdrantClient

        secure = self.place.scheme == "https"
        with warnings.catch_warnings():
            # The key over plain http is judged when the URL is read; the first request checks the version well enough.
            warnings.simplefilter("ignore")
            return QdrantClient(
                url=self.place.address,
                port=self.port,
                api_key=self.api_key,
                headers=basic_auth_header(self.place.user),
                timeout=max(1, math.ceil(timeout_s)),
                prefer_grpc=grpc,
                grpc_port=GRPC_PORT,
                grpc_options=self.certificates.grpc_options() if secure and grpc else None,
                check_compatibility=False,
                **(self.certificates.rest_options() if secure else {}),
            )

    def answering(self, timeout_s: float) -> tuple[QdrantClient, bool]:
        """Make one request, and return the client that it is answered on, and whether that speaks gRPC.

        Behind another port than the usual one the gRPC port may belong to another server. Where that port is open and
        no Qdrant answers there, the log says so.

        Raises:
            StoreUnavailable: it does not answer.
            ConfigError: it refuses the key, or speaks another protocol.
        """
        refused: HybridSearchError | None = None
        if self.port == REST_PORT and is_open(self.place.host, GRPC_PORT):
            try:
                return self._asked(timeout_s, grpc=True), True
            except StoreUnavailable as error:
                refused = error
        client = self._asked(timeout_s, grpc=False)
        if refused is not None:
            _log.warning("REST is used for %s; over gRPC it does not answer: %s", self.place.address, refused)
        return client, False

    def _asked(self, timeout_s: float, *, grpc: bool) -> QdrantClient:
        client = self.client(timeout_s, grpc=grpc)
        try:
            with server_errors(self.place.address):
                client.get_collections()
        except BaseException:
            client.close()
            raise
        return client


def peers_of(location: str, api_key: str | None, certificates: Certificates) -> list[Peer]:
    """Parse the URLs of a location, `http://a:6333` or `http://a:6333,http://b:6333`.

    Raises:
        ConfigError: one is no URL, or a key or a password would travel unencrypted to another machine.
    """
    return [Peer(*with_key(url, api_key), certificates) for url in peer_urls(location)]


def open_clients(
    peers: Sequence[Peer], timeout_s: float, search_timeout_s: float
) -> tuple[list[QdrantClient], list[QdrantClient]]:
    """Return the clients of all peers for everything, and those for searches, the peers that answer first.

    Raises:
        StoreUnavailable, ConfigError: none of the peers answers.
    """
    found: dict[Peer, tuple[QdrantClient, bool]] = {}
    errors: list[StoreUnavailable] = []
    try:
        for peer in peers:
            try:
                found[peer] = peer.answering(timeout_s)
            except StoreUnavailable as error:
                errors.append(error)
    except BaseException:
        close_all([client for client, _ in found.values()])
        raise
    if not found:
        raise errors[0]
    silent = {peer: (peer.client(timeout_s, grpc=False), False) for peer in peers if peer not in found}
    every = {**found, **silent}
    quick = [peer.client(search_timeout_s, grpc=grpc) for peer, (_, grpc) in every.items()]
    return [client for client, _ in every.values()], quick


def close_all(clients: Sequence[QdrantClient]) -> None:
    """Close clients; what one of them says about it is no news."""
    for client in clients:
        with suppress(Exception):
            client.close()


def with_key(url: str, api_key: str | None) -> tuple[ServerUrl, str | None]:
    """Parse a URL and return it with the API key to use: the URL's own, else the given one.

    Raises:
        ConfigError: it is no URL, or a key or a password would travel unencrypted to another machine.
    """
    place = server_url(url)
    api_key = place.api_key or api_key
    if (api_key or place.user) and place.scheme == "http" and not is_loopback(place.host):
        secret = "An API key" if api_key else "A password"
        raise ConfigError(f"{secret} would go to {place.address} unencrypted. Use an https:// URL.")
    return place, api_key


def basic_auth_header(user: tuple[str, str] | None) -> dict[str, str]:
    """Return the header for the user and the password of a URL; the client itself ignores them.

    Source: RFC 7617, The 'Basic' HTTP Authentication Scheme.
    """
    if user is None:
        return {}
    return {"authorization": f"Basic {base64.b64encode(':'.join(user).encode()).decode()}"}
