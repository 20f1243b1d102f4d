"""A small Qdrant server for tests: the part of its REST interface that the server store uses, over the client's own
in-memory form. It listens on this machine alone, keeps nothing, and can be told to be away for a while.

In this process: `with QdrantOverHttp() as server: ServerStore.connect(server.url)`.
In one of its own: `with child() as url: ...`, or `python tests/qdrant_over_http.py PORT`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from qdrant_client import QdrantClient, models  # noqa: TID253

Trouble = str
"""`close`: no answer, and nothing is done. `lost`: it is done, and the answer is lost. `503`, `429`: no, try later."""

NAME_CONFIG: Any = TypeAdapter(models.VectorNameConfig)
SELECTOR: Any = TypeAdapter(models.PointsSelector)


class Collections:
    """What the paths mean. One request at a time: the in-memory form is not made for more."""

    def __init__(self) -> None:
        self._client = QdrantClient(":memory:")
        self._fields: dict[str, dict[str, str]] = {}
        self.known_issues: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, body: Any) -> Any:
        """The result of a request; LookupError where nothing answers to it, ValueError where it is refused."""
        for verb, pattern, function in ROUTES:
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                with self._lock:
                    return function(self, *map(unquote, match.groups()), body)
        raise LookupError(f"no such path: {method} {path}")

    def issues(self, _: Any) -> Any:
        return {"issues": self.known_issues}

    def listed(self, _: Any) -> Any:
        return self._client.get_collections()

    def aliases(self, _: Any) -> Any:
        return self._client.get_aliases()

    def move_aliases(self, body: Any) -> Any:
        asked = models.ChangeAliasesOperation.model_validate(body)
        return self._client.update_collection_aliases(asked.actions)

    def exists(self, name: str, _: Any) -> Any:
        return {"exists": self._client.collection_exists(name)}

    def create(self, name: str, body: Any) -> Any:
        asked = models.CreateCollection.model_validate(body)
        self._fields[name] = {}
        return self._client.create_collection(
            name, asked.vectors, sparse_vectors_config=asked.sparse_vectors, metadata=asked.metadata
        )

    def describe(self, name: str, _: Any) -> Any:
        found = to_jsonable_python(self._client.get_collection(name))
        fields = self._fields[self._real(name)]
        return {**found, "payload_schema": {path: {"data_type": kind, "points": 0} for path, kind in fields.items()}}

    def change(self, name: str, body: Any) -> Any:
        return self._client.update_collection(name, metadata=models.UpdateCollection.model_validate(body).metadata)

    def delete(self, name: str, _: Any) -> Any:
        self._fields.pop(name, None)
        return self._client.delete_collection(name)

    def index_field(self, name: str, body: Any) -> Any:
        asked = models.CreateFieldIndex.model_validate(body)
        self._client.get_collection(name)
        self._fields[self._real(name)][asked.field_name] = models.PayloadSchemaType(asked.field_schema).value
        return done()

    def change_points(self, name: str, body: Any) -> Any:
        asked = [models.SetPayloadOperation.model_validate(each) for each in body["operations"]]
        self._client.batch_update_points(name, asked)
        return [done() for _ in asked]

    def create_vector(self, name: str, vector: str, body: Any) -> Any:
        return self._client.create_vector_name(name, vector, NAME_CONFIG.validate_python(body))

    def delete_vector(self, name: str, vector: str, _: Any) -> Any:
        return self._client.delete_vector_name(name, vector)

    def upsert(self, name: str, body: Any) -> Any:
        asked = models.PointsList.model_validate(body)
        return self._client.upsert(name, asked.points, update_filter=asked.update_filter, update_mode=asked.update_mode)

    def retrieve(self, name: str, body: Any) -> Any:
        asked = models.PointRequest.model_validate(body)
        return self._client.retrieve(name, asked.ids, with_payload=asked.with_payload, with_vectors=asked.with_vector)

    def scroll(self, name: str, body: Any) -> Any:
        asked = models.ScrollRequest.model_validate(body)
        found, following = self._client.scroll(
            name,
            asked.filter,
            limit=asked.limit,
            offset=asked.offset,
            with_payload=asked.with_payload,
            with_vectors=asked.with_vector or False,
        )
        return {"points": found, "next_page_offset": following}

    def count(self, name: str, body: Any) -> Any:
        asked = models.CountRequest.model_validate(body)
        return self._client.count(name, asked.filter, exact=bool(asked.exact))

    def query(self, name: str, body: Any) -> Any:
        asked = models.QueryRequestBatch.model_validate(body)
        return self._client.query_batch_points(name, asked.searches)

    def query_one(self, name: str, body: Any) -> Any:
        return self._client.query_batch_points(name, [models.QueryRequest.model_validate(body)])[0]

    def delete_points(self, name: str, body: Any) -> Any:
        return self._client.delete(name, SELECTOR.validate_python(body))

    def set_vectors(self, name: str, body: Any) -> Any:
        return self._client.update_vectors(name, models.UpdateVectors.model_validate(body).points) or done()

    def _real(self, name: str) -> str:
        aliases = {alias.alias_name: alias.collection_name for alias in self._client.get_aliases().aliases}
        return aliases.get(name, name)


NAME = r"/collections/([^/]+)"
ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", r"/issues", Collections.issues),
    ("GET", r"/collections", Collections.listed),
    ("GET", r"/aliases", Collections.aliases),
    ("POST", r"/collections/aliases", Collections.move_aliases),
    ("GET", f"{NAME}/exists", Collections.exists),
    ("PUT", NAME, Collections.create),
    ("GET", NAME, Collections.describe),
    ("PATCH", NAME, Collections.change),
    ("DELETE", NAME, Collections.delete),
    ("PUT", f"{NAME}/index", Collections.index_field),
    ("PUT", f"{NAME}/vectors/([^/]+)", Collections.create_vector),
    ("DELETE", f"{NAME}/vectors/([^/]+)", Collections.delete_vector),
    ("PUT", f"{NAME}/points", Collections.upsert),
    ("POST", f"{NAME}/points", Collections.retrieve),
    ("POST", f"{NAME}/points/scroll", Collections.scroll),
    ("POST", f"{NAME}/points/count", Collections.count),
    ("POST", f"{NAME}/points/query", Collections.query_one),
    ("POST", f"{NAME}/points/query/batch", Collections.query),
    ("POST", f"{NAME}/points/delete", Collections.delete_points),
    ("PUT", f"{NAME}/points/vectors", Collections.set_vectors),
    ("POST", f"{NAME}/points/batch", Collections.change_points),
]


def done() -> Any:
    return {"operation_id": 0, "status": "completed"}


class QdrantOverHttp:
    """The server. `asked` has (method, path) of every request, those it was away for too.

    Set `trouble` to a function of (method, path) that says what is wrong with a request, or None.
    """

    def __init__(self, port: int = 0) -> None:
        self.asked: list[tuple[str, str]] = []
        self.trouble: Callable[[str, str], Trouble | None] = lambda method, path: None
        self._collections = Collections()
        self._away: tuple[Trouble, float] = ("close", 0.0)
        self._http = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> QdrantOverHttp:
        self._thread = threading.Thread(target=self.serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def serve(self) -> None:
        self._http.serve_forever(poll_interval=0.02)

    def away(self, seconds: float, how: Trouble = "close") -> None:
        """Be away from now on for so long."""
        self._away = (how, time.monotonic() + seconds)

    def trouble_with(self, method: str, path: str) -> Trouble | None:
        self.asked.append((method, path))
        how, until = self._away
        return how if time.monotonic() < until else self.trouble(method, path)

    def respond(self, method: str, path: str, raw: bytes) -> tuple[int, Any, str]:
        """(status, result, what is wrong)."""
        try:
            return 200, self._collections.answer(method, path, json.loads(raw or b"null")), ""
        except LookupError as error:
            return 404, None, str(error)
        except ValidationError as error:
            return 422, None, str(error)
        except ValueError as error:  # the in-memory form has no codes
            text = str(error)
            status = 404 if "not found" in text else 409 if "already exists" in text else 400
            return status, None, text

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def take(self) -> None:
                split = urlsplit(self.path)
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if split.path == "/away":  # not Qdrant's: for tests of another process
                    asked = {key: values[0] for key, values in parse_qs(split.query).items()}
                    server.away(float(asked["seconds"]), asked.get("how", "close"))
                    return self.send(200, True)
                if split.path == "/":  # what clients ask to compare versions
                    return self.send_json(200, {"title": "qdrant", "version": version("qdrant-client")})
                trouble = server.trouble_with(self.command, split.path)
                if trouble in ("503", "429"):
                    return self.send(int(trouble), None, "not now")
                if trouble != "close":
                    status, result, wrong = server.respond(self.command, split.path, raw)
                    if trouble != "lost":
                        self.send(status, result, wrong)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = take

            def send(self, status: int, result: Any, wrong: str = "") -> None:
                told = "ok" if status == 200 else {"error": wrong}
                self.send_json(status, {"result": to_jsonable_python(result), "status": told, "time": 0.0})

            def send_json(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                # Who asks may have gone away in the meantime.
                with suppress(ConnectionError):
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                    if status == 429:
                        self.send_header("Retry-After", "1")
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@contextmanager
def child() -> Iterator[str]:
    """A server in a process of its own, which outlives whatever happens to this one's threads; gives its URL."""
    process = subprocess.Popen([sys.executable, __file__, "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def send_away(url: str, seconds: float, how: Trouble = "close") -> None:
    """Tell a server, in whatever process, to be away."""
    urllib.request.urlopen(f"{url}/away?seconds={seconds}&how={how}", data=b"").close()


if __name__ == "__main__":
    here = QdrantOverHttp(int(sys.argv[1]))
    print(here.url, flush=True)
    here.serve()
