"""Locations of stores in a form that may be shown: a server's URL can hold a password or a key.

Messages, logs, the journal and servers' answers show a location in this form; the real one stays inside the client.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from hybrid_search.errors import ConfigError

HIDDEN = "…"
_SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]+:/+", re.ASCII)  # one letter is a drive of Windows
_ADDRESS = re.compile(r"(?://)?[^\s/\\:@]{2,}:.*@.*|[^\s/\\]*@[^\s/\\]+:\d+", re.DOTALL)
_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/+[^\s'\"<>]+", re.ASCII)
_BETWEEN = re.compile(r",(?=\s*https?:/)", re.IGNORECASE)
"""The commas between the URLs of several peers."""
_KEYS = ("api-key", "api_key", "apikey")
_ENCODE = "In a user, a password or a key, signs such as / ? # @ : [ have to be percent-encoded."


class ServerUrl(NamedTuple):
    """The parts of a server's URL. `address` has no secret in it.

    Args:
        address: scheme, host, port and path.
        user: name and password; None if the URL has none.
        api_key: from the query.
    """

    address: str
    scheme: str
    host: str
    port: int | None
    user: tuple[str, str] | None = None
    api_key: str | None = None


def is_server(location: str) -> bool:
    """Say whether a location names a server rather than a folder.

    >>> is_server("HTTP://localhost:6333"), is_server("C:/store"), is_server("store")
    (True, False, False)

    Raises:
        ConfigError: it is neither: an address without `http://`, or another kind of URL.
    """
    scheme = _SCHEME.match(location)
    if scheme and scheme[0].strip().lower().startswith(("http:", "https:")):
        return True
    if scheme or _ADDRESS.fullmatch(location):
        shown = shown_location(location)
        raise ConfigError(f"{shown} is neither a folder nor the URL of a server. Write http://HOST:6333 for a server.")
    return False


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address; of names only `localhost`.

    >>> [is_loopback(host) for host in ("127.0.0.21", "::1", "localhost", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def peer_urls(location: str) -> list[str]:
    """Return the URLs of a location of one server, or of the peers of a cluster.

    >>> peer_urls("http://a:6333, http://b:6333")
    ['http://a:6333', 'http://b:6333']
    """
    return [url for part in _BETWEEN.split(location) if (url := part.strip())]


def shown_location(location: str) -> str:
    """Remove what may be secret from a location.

    That is the user and password, the query and the fragment of a URL. A folder stays as it is. A location that can be
    read in two ways is hidden entirely.

    >>> shown_location("http://user:secret@host:6333/path?api-key=secret"), shown_location("/data/store")
    ('http://host:6333/path', '/data/store')
    >>> shown_location("http://user:se/cret@host:6333"), shown_location("user:secret@host:6333")
    ('http://…', '…@host:6333')
    """
    if _BETWEEN.search(location):
        return ",".join(shown_location(url) for url in peer_urls(location))
    scheme = _SCHEME.match(location)
    if scheme is None:
        return f"{HIDDEN}@{location.rpartition('@')[2]}" if _ADDRESS.fullmatch(location) else location
    rest = location[scheme.end() :]
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(place) :]:  # in a path, or behind a password that is not percent-encoded
        return f"{scheme[0].strip()}{HIDDEN}"
    host, colon, port = place.rpartition("@")[2].rpartition(":")
    if colon and not port.isdecimal() and not port.endswith("]"):  # of `user:password` the host was forgotten
        port = HIDDEN
    path = re.split(r"[?#]", rest[len(place) :], maxsplit=1)[0]
    return f"{scheme[0].strip()}{host}{colon}{port}{path}"


def without_secrets(text: str) -> str:
    """Remove what may be secret from every URL in a text, for example in an error message.

    >>> without_secrets("No answer from 'http://u:p@host:6333/x?api-key=k'.")
    "No answer from 'http://host:6333/x'."
    """
    return _IN_TEXT.sub(lambda match: shown_location(match[0]), text)


def shown_command(arguments: Sequence[str]) -> str:
    """Return a command line for storing, with what may be secret removed from the URLs in its arguments.

    >>> shown_command(["hybrid-search", "--store=http://u:p@host:6333", "index", "a b"])
    'hybrid-search --store=http://host:6333 index a b'
    """
    return " ".join(_shown_argument(each) for each in arguments)


def _shown_argument(argument: str) -> str:
    """Return one argument without secrets. From the start of a URL on, everything counts as the URL, blanks too."""
    option, sign, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    begin = re.search(r"[A-Za-z][A-Za-z0-9+.-]+:/", value)
    at = begin.start() if begin else 0
    return f"{option}{sign}{value[:at]}{shown_location(value[at:])}"


def server_url(url: str) -> ServerUrl:
    """Parse the URL of a server.

    Raises:
        ConfigError: it is none; the message shows nothing secret.
    """
    shown = shown_location(url)
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:  # whose message quotes it
        host, port = "", None
    if not host or HIDDEN in shown:
        raise ConfigError(f"{shown} is not the URL of a server. Write http://HOST:6333. {_ENCODE}")
    keys = [value for name, value in parse_qsl(parts.query) if name.lower() in _KEYS]
    named = parts.username is not None
    user = (unquote(parts.username or ""), unquote(parts.password or "")) if named else None
    return ServerUrl(shown, parts.scheme, host, port, user, keys[0] if keys else None)
