"""The MCP server over streamable HTTP: who may reach it, and who may ask.

Bound to this machine unless asked otherwise. A page in a browser on this machine must not reach it under another name
(DNS rebinding), so `Host` and `Origin` are compared with what was allowed; beyond this machine a token is needed too.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings

from hybrid_search.errors import ConfigError, InvalidArgument

if TYPE_CHECKING:
    from mcp.server import MCPServer

HOST, PORT, PATH = "127.0.0.1", 8765, "/mcp"
MAX_BODY = 1 << 20
_STOP_S = 5
_PORT = re.compile(r"(?P<host>)(?P<port>[0-9]{1,5})")
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|(?![0-9]+$)[^\s:/@\[\]]*)(:(?P<port>[0-9]{0,5}))?")

App = Callable[[Any, Any, Any], Awaitable[None]]


class Address(NamedTuple):
    """Where to listen; port 0 is any that is free."""

    host: str = HOST
    port: int = PORT

    @property
    def is_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def address_of(text: str) -> Address:
    """Read `HOST:PORT`, of which either may be left out.

    Raises:
        InvalidArgument: it is none.

    >>> [str(address_of(text)) for text in ("", ":80", "8000", "localhost", "[::1]:9")]
    ['127.0.0.1:8765', '127.0.0.1:80', '127.0.0.1:8000', 'localhost:8765', '[::1]:9']
    """
    found = _PORT.fullmatch(text) or _ADDRESS.fullmatch(text)
    host, port = (found["host"] or "", int(found["port"] or PORT)) if found else ("", -1)
    if not 0 <= port < 65_536:
        raise InvalidArgument(f"{text!r} is no address to listen at; write HOST:PORT, such as {Address()}.")
    return Address(host.strip("[]") or HOST, port)


def check(address: Address, hosts: Sequence[str], token: str) -> None:
    """Refuse to be open to others by accident.

    Raises:
        InvalidArgument: an address beyond this machine without names to be called by.
        ConfigError: the same without a token.
    """
    if address.is_loopback:
        return
    if not hosts:
        raise InvalidArgument(
            f"{address} can be reached from other machines. If that is meant, say by which name they call it: "
            "--allow-host NAME, and set a token."
        )
    if len(token) < 16:
        raise ConfigError(
            f"{address} can be reached from other machines, so a token of 16 characters or more is needed. "
            "Set HYBRID_SEARCH_MCP_TOKEN, and let clients send 'Authorization: Bearer TOKEN'."
        )


def listen(address: Address) -> socket.socket:
    """A socket that listens there.

    Raises:
        ConfigError: it cannot: another program does, or it is no address of this machine.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        try:
            if os.name != "nt":  # where it would let two programs have one port
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(place)
            found.listen(128)
        except BaseException:
            found.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"Cannot listen at {address}: {error.strerror or error}. Choose another HOST:PORT."
        ) from error
    return found


def app_of(
    server: MCPServer[Any], address: Address, *, hosts: Sequence[str] = (), origins: Sequence[str] = (), token: str = ""
) -> App:
    """The server as an ASGI app.

    Args:
        server: the MCP server.
        address: where it listens.
        hosts: further names, with or without a port, that requests may have as `Host`.
        origins: further values that browsers may send as `Origin`; those of the address itself are allowed.
        token: asked of every request where it is not empty, as `Authorization: Bearer TOKEN`.
    """
    own = {address.host, "localhost", "127.0.0.1", "::1"} if address.is_loopback else {address.host}
    named = [str(Address(host, address.port)) for host in sorted(own)]
    named += [form for host in hosts for form in ((host,) if _has_port(host) else (host, f"{host}:{address.port}"))]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=named,
        allowed_origins=[f"http://{host}" for host in named] + list(origins),
    )
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=MAX_BODY,
        transport_security=security,
        host=address.host,
    )
    return _with_token(app, token) if token else app


def serve(app: App, found: socket.socket) -> None:
    """Answer until SIGINT or SIGTERM; what is being answered then is answered to the end."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=_STOP_S, lifespan="on", server_header=False
    )
    uvicorn.Server(config).run(sockets=[found])


def _with_token(app: App, token: str) -> App:
    expected = f"Bearer {token}".encode()

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        given = next((value for name, value in scope.get("headers", ()) if name == b"authorization"), b"")
        if scope["type"] == "lifespan" or secrets.compare_digest(given, expected):
            await app(scope, receive, send)
            return
        headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"A token is needed: Authorization: Bearer TOKEN\n"})

    return guarded


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit() and not (host.count(":") > 1 and not host.startswith("["))
