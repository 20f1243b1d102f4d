"""Routes on which an address and a body are read strictly, before FastAPI makes models of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl

from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from hybrid_search.errors import InvalidArgument
from hybrid_search.integrations.gateway.refusals import JSON, Refused
from hybrid_search.integrations.gateway.strict_json import Unreadable, read_json
from hybrid_search.integrations.http.requests import MAX_NAMES, check_names


class StrictRequest(Request):
    """A request whose fields stand in its body if it has one, else in its address."""

    @property
    def query_params(self) -> QueryParams:
        """The fields of the address, each once at most.

        Raises:
            Unreadable: its percent-encoded bytes are no UTF-8.
            InvalidArgument: a field stands there twice, there are too many, or one takes an object.
        """
        if self.method == "POST":
            return QueryParams()
        pairs = _pairs(self.scope["query_string"])
        names = [name for name, _ in pairs]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise InvalidArgument(f"{name} is given more than once.")
        if dict(pairs).get("weights", "auto") != "auto":
            raise InvalidArgument("weights by leg are for POST; in an address only weights=auto can stand.")
        return QueryParams(pairs)

    async def json(self) -> Any:
        """Return what the body says.

        Raises:
            Unreadable: it is no JSON.
            InvalidArgument: an object in it has too many names.
        """
        if not hasattr(self, "_value"):
            self._value = read_json(await self.body())
            check_names(self._value)
        return self._value


class StrictRoute(APIRoute):
    """A route that takes a form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request; of a body, its type and its JSON are judged before all else."""
        answer = super().get_route_handler()
        form = self.body_field.field_info.annotation.__name__ if self.body_field else ""

        async def strict(request: Request) -> Response:
            strict_request = StrictRequest(request.scope, request.receive)
            if request.method == "POST":
                media_type(request, JSON)
                if not isinstance(await strict_request.json(), dict):  # FastAPI would look for attributes in it
                    raise InvalidArgument(f"the body: input should be a valid dictionary or instance of {form}.")
            answered: Response = await answer(strict_request)
            return answered

        return strict


def media_type(request: Request, *allowed: str) -> str:
    """Return the type of the body, if it is one of these.

    Raises:
        Refused: it is another. A page of another site cannot send these without asking first, and is told no.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in allowed:
        said = f"is {given!r}" if given else "is missing"
        raise Refused(415, "UnsupportedMediaType", f"The Content-Type {said}; send {' or '.join(allowed)}.")
    return given


def _pairs(query: bytes) -> list[tuple[str, str]]:
    text = query.decode("ascii", "replace")
    if text.count("&") >= MAX_NAMES:
        raise InvalidArgument(f"The address has more than {MAX_NAMES} fields.")
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise Unreadable(f"The address is no UTF-8: {error.reason}, in {error.object[:60]!r}.") from None
