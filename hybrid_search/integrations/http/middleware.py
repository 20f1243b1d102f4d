"""What every request passes before it is routed: its Host and its key; and what is counted of it."""

from __future__ import annotations

import hmac
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hybrid_search.integrations.gateway.refusals import Refused, response_to
from hybrid_search.integrations.http.service import OPEN_PATHS, PATHS, Service

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    # For what is no page; the pages bring their own.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Guard:
    """Refuses what may not be asked, counts what is answered."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        status, began = 500, perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refused(scope)
        app: ASGIApp = self.app if refused is None else response_to(refused)
        try:
            await app(scope, receive, sending)
        finally:
            path = scope["path"] if scope["path"] in PATHS else "other"
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.service.metrics.request(method, path, status, perf_counter() - began)

    def _refused(self, scope: Scope) -> Refused | None:
        headers, service = Headers(scope=scope), self.service
        host = host_of(headers.get("host", ""))
        if service.hosts is not None and host not in service.hosts:
            # A page of another site can make its own name mean this machine; the name it then sends gives it away.
            return Refused(400, "WrongHost", f"Host {host!r} is not served here. Name it when starting: --allow-host.")
        if service.key and scope["path"] not in OPEN_PATHS and not _matches(headers.getlist("authorization"), service):
            message = "An API key is needed: send the header 'Authorization: Bearer KEY'."
            return Refused(401, "Unauthorized", message, www_authenticate="Bearer")
        return None


def host_of(header: str) -> str:
    """Return the name in a Host header, without its port.

    >>> [host_of("LocalHost:8080"), host_of("[::1]:8080"), host_of("a.example.")]
    ['localhost', '[::1]', 'a.example']
    """
    name, colon, port = header.rpartition(":")
    return (name if colon and port.isdecimal() else header).lower().rstrip(".")


def _matches(given: list[str], service: Service) -> bool:
    """Return whether the key is there, in a time that says nothing about where it differs."""
    scheme, _, key = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    same = hmac.compare_digest(key.strip().encode("utf-8", "replace"), service.key.encode("utf-8", "replace"))
    return same and scheme.lower() == "bearer"
