"""What Qdrant 1.18 refuses, in its own words. The in-memory form of the client refuses less, later, or otherwise."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any


class Refused(Exception):
    """A refusal: its status, its text, and the headers that come with it."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or {}


def translate(text: str) -> Refused:
    """Return the refusal that an error of the in-memory form stands for."""
    if match := re.fullmatch(r"Collection (.+) not found", text):
        return Refused(404, f"Not found: Collection `{match[1]}` doesn't exist!")
    if match := re.fullmatch(r"Collection (.+) already exists", text):
        return Refused(409, f"Wrong input: Collection `{match[1]}` already exists!")
    if match := re.fullmatch(r"Alias (.+) does not exist", text):
        return Refused(404, f"Not found: Alias {match[1]} does not exists!")
    if match := re.search(r"(?:Sparse|Dense) vector (.+) is not found in the collection", text):
        return Refused(400, f"Wrong input: Not existing vector name error: {match[1]}")
    return Refused(400, text if text.startswith("Wrong input: ") else f"Wrong input: {text}")


def refuse_filter(body: Any) -> None:
    """Refuse a filter that this version does not know: a match of a prefix is newer."""
    for condition in conditions(body):
        if "prefix" in condition.get("match", {}):
            # The whole body has been read when the server finds that no form fits it.
            column = len(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())
            text = "data did not match any variant of untagged enum MatchInterface"
            raise Refused(400, f"Format error in JSON body: {text} at line 1 column {column}")


def conditions(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every condition with a key in whatever part of a request."""
    if isinstance(value, dict):
        if isinstance(value.get("key"), str):
            yield value
        for each in value.values():
            yield from conditions(each)
    elif isinstance(value, list):
        for each in value:
            yield from conditions(each)


def refuse_points(points: list[dict[str, Any]], sizes: dict[str, int], others: set[str]) -> None:
    """Refuse points with a wrong id, shape, name or size. `sizes` has the dense vectors."""
    for place, point in enumerate(points):
        if "id" not in point:
            raise Refused(400, "Format error in JSON body: missing field `id`")
        refuse_id(point["id"])
        vectors = point.get("vector") or {}
        named = vectors if isinstance(vectors, dict) else {"": vectors}
        for name, vector in named.items():
            refuse_shape(place, vector)
            if name not in sizes and name not in others:
                raise Refused(400, f"Wrong input: Not existing vector name error: {name}")
            if name in sizes and isinstance(vector, list) and len(vector) != sizes[name]:
                told = f"expected dim: {sizes[name]}, got {len(vector)}" + (f" for vector '{name}'" if name else "")
                raise Refused(400, f"Wrong input: Vector dimension error: {told}")


def refuse_id(value: Any) -> None:
    """Refuse what is neither a number from 0 nor a UUID."""
    try:
        fits = value >= 0 if isinstance(value, int) else bool(uuid.UUID(value))
    except (ValueError, TypeError, AttributeError):
        fits = False
    if not fits:
        wanted = "is not a valid point ID, valid values are either an unsigned integer or a UUID"
        raise Refused(400, f"Format error in JSON body: value {value} {wanted}")


def refuse_shape(place: int, vector: Any) -> None:
    """Refuse a dense vector with a hole, and a sparse one that names a term twice."""
    if isinstance(vector, list) and None in vector:
        raise Refused(400, "Format error in JSON body: data did not match any variant of untagged enum VectorStruct")
    if isinstance(vector, dict) and "indices" in vector:
        where = f"points[{place}].vector.?.indices"
        if len(set(vector["indices"])) < len(vector["indices"]):
            raise Refused(422, f"Validation error in JSON body: [{where}: Validation error: must be unique [{{}}]]")
