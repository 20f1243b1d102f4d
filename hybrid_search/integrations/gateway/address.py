"""Where a server listens."""

from __future__ import annotations

import socket

from hybrid_search.errors import ConfigError

BACKLOG = 1024
"""Callers that have not been accepted yet; the operating system may take fewer."""


def listen(host: str, port: int, advice: str) -> socket.socket:
    """Open a socket that listens.

    Args:
        host: an address or a name.
        port: 0 for any that is free.
        advice: what to do where it cannot, as a sentence.

    Raises:
        ConfigError: it cannot: another program does, or it is no address of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        shown = f"[{host}]" if ":" in host else host
        raise ConfigError(f"Cannot listen at {shown}:{port}: {error.strerror or error}. {advice}") from error
    except (UnicodeError, ValueError) as error:
        raise ConfigError(f"Cannot listen at {host!r}: it is no address. {advice}") from error
