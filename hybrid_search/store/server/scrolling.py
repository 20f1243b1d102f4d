"""Reading every point of a collection on a server, page by page, as large as the server allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from hybrid_search.store.server.client_errors import LimitExceeded

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

T = TypeVar("T")

SCROLL_PAGE = 1_000


class Ask(Protocol):
    """Runs a call on the client: `RetryingClient.call`, or a reader's `_ask`."""

    def __call__(self, call: Callable[[QdrantClient], T], /) -> T: ...


def scroll_payloads(
    ask: Ask, real: Callable[[], str], wanted: models.Filter | None, fields: bool | list[str]
) -> Iterator[dict[str, Any]]:
    """Yield the payload of every chunk that passes a filter, reading page by page."""
    return (record.payload or {} for record in scroll_points(ask, real, wanted, fields))


def scroll_points(
    ask: Ask,
    real: Callable[[], str],
    wanted: models.Filter | None,
    fields: bool | list[str],
    vectors: list[str] | None = None,
) -> Iterator[models.Record]:
    """Yield every point that passes a filter with these fields and vectors, reading page by page."""
    offset, size = None, SCROLL_PAGE
    while True:
        page, offset, size = scroll_page(ask, real, wanted, fields, vectors, offset=offset, size=size)
        yield from page
        if offset is None:
            return


def scroll_page(
    ask: Ask,
    real: Callable[[], str],
    wanted: models.Filter | None,
    fields: bool | list[str],
    vectors: bool | list[str] | None = None,
    *,
    offset: Any = None,
    size: int = SCROLL_PAGE,
) -> tuple[list[models.Record], Any, int]:
    """Return a page of points, the offset of the next one, and the size of a page that the server allows."""
    while True:
        try:
            page, following = ask(
                lambda client, size=size: client.scroll(  # type: ignore[misc]
                    real(), wanted, limit=size, offset=offset, with_payload=fields, with_vectors=vectors or False
                )
            )
            return page, following, size
        except LimitExceeded as error:
            if not 0 < error.most < size:
                raise
            size = error.most
