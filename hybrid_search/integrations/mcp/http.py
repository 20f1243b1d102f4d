"""The MCP server over streamable HTTP: which hosts it answers to, and who may ask.

It is bound to this machine by default. A web page in a browser on this machine must not reach it under another name
(DNS rebinding), so `Host` and `Origin` are compared with the allowed values. Beyond this machine a token is required.
"""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import Response

import hybrid_search
from hybrid_search._util.locations import is_loopback
from hybrid_search.errors import ConfigError, InvalidArgument
from hybrid_search.integrations.gateway.bounds import Bounds
from hybrid_search.integrations.gateway.gate import Gate
from hybrid_search.integrations.gateway.refusals import JSON, Refused, dumped, response_to
from hybrid_search.integrations.gateway.server import run
from hybrid_search.integrations.mcp.messages import error_of

if TYPE_CHECKING:
    from mcp.server import MCPServer

HOST, PORT, PATH, HEALTH = "127.0.0.1", 8765, "/mcp", "/healthz"
BOUNDS = Bounds()
_STOP_S = 5
_PORT = re.compile(r"(?P<host>)(?P<port>[0-9]{1,5})")
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|(?![0-9]+$)[^\s:/@\[\]]*)(:(?P<port>[0-9]{0,5}))?")

App = Callable[[Any, Any, Any], Awaitable[None]]


class Address(NamedTuple):
    """Where to listen; port 0 means any free port."""

    host: str = HOST
    port: int = PORT

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def address_of(text: str) -> Address:
    """Parse `HOST:PORT`. Either part may be missing.

    Raises:
        InvalidArgument: it is no address.

    >>> [str(address_of(text)) for text in ("", ":80", "8000", "localhost", "[::1]:9")]
    ['127.0.0.1:8765', '127.0.0.1:80', '127.0.0.1:8000', 'localhost:8765', '[::1]:9']
    """
    found = _PORT.fullmatch(text) or _ADDRESS.fullmatch(text)
    host, port = (found["host"] or "", int(found["port"] or PORT)) if found else ("", -1)
    if not 0 <= port < 65_536:
        raise InvalidArgument(f"{text!r} is no address to listen at; write HOST:PORT, such as {Address()}.")
    return Address(host.strip("[]") or HOST, port)


def check(address: Address, hosts: Sequence[str], token: str) -> None:
    """Refuse settings that would open the server to others by accident.

    Raises:
        InvalidArgument: an address beyond this machine without host names.
        ConfigError: an address beyond this machine without a token.
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


def app_of(
    server: MCPServer[Any], address: Address, *, hosts: Sequence[str] = (), origins: Sequence[str] = (), token: str = ""
) -> App:
    """Return the server as an ASGI app.

    Args:
        server: the MCP server.
        address: where it listens.
        hosts: further names, with or without a port, that requests may have as `Host`.
        origins: further values that browsers may send as `Origin`; those of the address itself are allowed.
        token: required in every request, unless empty, as `Authorization: Bearer TOKEN`.
    """
    own = {address.host, "localhost", "127.0.0.1", "::1"} if address.is_loopback else {address.host}
    named = [str(Address(host, address.port)) for host in sorted(own)]
    named += [form for host in hosts for form in ((host,) if _has_port(host) else (host, f"{host}:{address.port}"))]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=named,
        allowed_origins=[f"http://{host}" for host in named] + list(origins),
    )
    app: App = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=BOUNDS.body_bytes,
        transport_security=security,
        host=address.host,
    )
    return _entered(Gate(_readable(app), BOUNDS), app, token)


def serve(app: App, listening: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM. Requests that are being answered are finished."""
    run(app, listening, BOUNDS, grace_s=_STOP_S)


def _entered(gate: App, app: App, token: str) -> App:
    """Check a request before its body is read: its token, and that it is not an endless stream."""
    expected = f"Bearer {token}".encode()

    async def entered(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if scope["path"] == HEALTH and scope["method"] in ("GET", "HEAD"):
            answer: App = Response(dumped({"status": "ok", "version": hybrid_search.__version__}), media_type=JSON)
        elif token and not (len(given) == 1 and secrets.compare_digest(given[0], expected)):
            message = "A token is needed: Authorization: Bearer TOKEN"
            answer = response_to(Refused(401, "Unauthorized", message, www_authenticate="Bearer"))
        elif scope["path"] == PATH and scope["method"] not in ("POST", "OPTIONS"):
            # There is nothing that this server would say without being asked, so no stream to wait for it either.
            message = f"{scope['method'][:20]} is nothing that is answered here; send messages by POST."
            answer = response_to(Refused(405, "MethodNotAllowed", message, allow="POST"))
        else:
            answer = gate
        await answer(scope, receive, send)

    return entered


def _readable(app: App) -> App:
    """Return an app that gets only messages; everything else is answered with the protocol's error."""

    async def readable(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()  # the whole body: it stands behind the gate
        error = error_of(message["body"]) if scope["method"] == "POST" else None
        if error is not None:
            await Response(error.model_dump_json(), 400, media_type=JSON)(scope, receive, send)
            return
        given = [message]

        async def again() -> Any:
            return given.pop() if given else await receive()

        await app(scope, again, send)

    return readable


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit() and not (host.count(":") > 1 and not host.startswith("["))
