"""What an operation may answer, for the OpenAPI document: the objects of `json_objects`, and errors as a status."""

from typing import Annotated, Any, Literal

from typing_extensions import TypedDict

from hybrid_search._util.json_objects import CollectionDict, Says

Responses = dict[int | str, dict[str, Any]]


class ServedCollectionDict(CollectionDict):
    """A collection that can be searched."""

    modes: Annotated[list[str], Says("The ways to search it, the usual one first.")]


class CollectionsDict(TypedDict):
    """What this server serves."""

    collections: list[ServedCollectionDict]
    reranker: Annotated[str | None, Says("The cross-encoder that `rerank` uses; null where there is none.")]


class HealthDict(TypedDict):
    """The server answers."""

    status: Literal["ok"]
    version: str


class ErrorDict(TypedDict):
    """What went wrong, with which value, and what to do; `kind` is the same in one word, for programs."""

    error: str
    kind: str


SAID = {
    400: "What was sent is no JSON, or names a Host that is not served.",
    401: "The API key is missing, or another.",
    404: "There is no such collection.",
    408: "The body did not come in time.",
    413: "The body is too long.",
    415: "The body is of another type.",
    422: "A value is invalid: out of range, a filter that cannot be read, a leg that is not there.",
    503: "Too many requests, too slow, or the store or a model is not there. Try again after Retry-After seconds.",
}
HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    503: {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}},
}


def answers(shape: Any, description: str, *codes: int) -> Responses:
    """Return the responses of an operation that answers with a JSON object.

    Args:
        shape: the object's type.
        description: of the answer.
        codes: the errors that it may answer with; a wrong Host is possible everywhere.
    """
    return {200: {"model": shape, "description": description}, **errors(*codes)}


def text(media_type: str, description: str, *codes: int) -> Responses:
    """Return the responses of an operation that answers with a text; else as `answers`."""
    content = {media_type: {"schema": {"type": "string"}}}
    return {200: {"description": description, "content": content}, **errors(*codes)}


def errors(*codes: int) -> Responses:
    """Return the errors that an operation may answer with."""
    return {
        code: {"model": ErrorDict, "description": SAID[code], **({"headers": HEADERS[code]} if code in HEADERS else {})}
        for code in sorted({400, *codes})
    }
