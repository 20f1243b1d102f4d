"""A small Qdrant server for tests: the part of its REST interface that the server store uses, over the client's own
in-memory form. It listens on this machine alone, keeps nothing, and can be told to be away for a while.

In this process: `with QdrantOverHttp() as server: ServerStore.connect(server.url)`.
In one of its own: `with child() as url: ...`, or `python tests/qdrant_over_http.py PORT`.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from qdrant_client import QdrantClient, models  # noqa: TID253

sys.path.append(str(Path(__file__).resolve().parents[1]))  # as a program of its own it stands alone
from tests.faults import Faults
from tests.qdrant_double import recorded_answers
from tests.qdrant_double.cluster import PEERS, Cluster
from tests.qdrant_double.description import describe
from tests.qdrant_double.handler import handler_of
from tests.qdrant_double.process import child as child
from tests.qdrant_double.process import send_away as send_away
from tests.qdrant_double.refusals import Refused, refuse_filter, refuse_points, translate
from tests.qdrant_double.strict_mode import StrictMode

CLIENT_VERSION = version("qdrant-client")

Trouble = str
"""`close`: no answer, and nothing is done. `lost`: it is done, and the answer is lost. `503`, `429`: no, try later."""

NAME_CONFIG: Any = TypeAdapter(models.VectorNameConfig)
SELECTOR: Any = TypeAdapter(models.PointsSelector)


class Collections:
    """What the paths mean. One request at a time: the in-memory form is not made for more."""

    def __init__(self) -> None:
        self._client = QdrantClient(":memory:")
        self._fields: dict[str, dict[str, str]] = {}
        self._settings: dict[str, dict[str, Any]] = {}
        self._strict: dict[str, StrictMode] = {}
        self._snapshots: dict[str, list[dict[str, Any]]] = {}
        self._operations = 0
        self.cluster: Cluster | None = None
        self.known_issues: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, body: Any) -> Any:
        """The result of a request; LookupError where nothing answers to it, Refused or ValueError otherwise."""
        for verb, pattern, function in ROUTES:
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                with self._lock:
                    names = [unquote(name) for name in match.groups()]
                    if names:
                        self._keep_limits(function, self._real(names[0]), body)
                    return self._told(function(self, *names, body))
        raise LookupError(f"no such path: {method} {path}")

    def _told(self, result: Any) -> Any:
        """A result as the server tells it: nothing for what a model leaves open, and each change with a number."""
        found = to_jsonable_python(result, exclude_none=isinstance(result, (BaseModel, list)))
        for each in found if isinstance(found, list) else [found]:
            if isinstance(each, dict) and "operation_id" in each:
                self._operations += 1
                each["operation_id"] = self._operations
        return found

    def _keep_limits(self, function: Callable[..., Any], name: str, body: Any) -> None:
        refuse_filter(body)
        strict, fields = self._strict.get(name), self._fields.get(name, {})
        if self.cluster and name in self._settings and function in READING:
            self.cluster.refuse_read(self._settings[name])
        if strict is None:
            return
        if function in (Collections.query, Collections.query_one):
            strict.search(body.get("searches", [body]), fields, batch="searches" in body)
        elif function is Collections.upsert:
            strict.upsert(len(body.get("points", ())))
        elif function in READING:
            strict.read(body, fields)
        elif function in (Collections.delete_points, Collections.set_vectors, Collections.change_points):
            strict.change(body, fields)

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
        if name in self._aliases():
            told = f"Can't create collection with name {name}. Alias with the same name already exists"
            raise Refused(400, f"Wrong input: {told}")
        if self._client.collection_exists(name):
            raise translate(f"Collection {name} already exists")
        self._fields[name] = {}
        self._settings[name] = {"names_sparse": "sparse_vectors" in body}
        if self.cluster:
            self._settings[name]["shard_number"] = len(PEERS)
        self._set(name, body)
        return self._client.create_collection(
            name, asked.vectors, sparse_vectors_config=asked.sparse_vectors, metadata=asked.metadata
        )

    def describe(self, name: str, _: Any) -> Any:
        parameters = to_jsonable_python(self._client.get_collection(name).config.params, exclude_none=True)
        real = self._real(name)
        return describe(parameters, self._local(name), self._settings[real], self._fields[real])

    def change(self, name: str, body: Any) -> Any:
        asked = models.UpdateCollection.model_validate(body)
        if asked.metadata is not None:
            self._client.update_collection(name, metadata=asked.metadata)
        self._set(self._real(name), {**body, "metadata": self._client.get_collection(name).config.metadata})
        return True

    def delete(self, name: str, _: Any) -> Any:
        there = name in self._fields
        for part in (self._fields, self._settings, self._strict, self._snapshots):
            part.pop(name, None)
        return there and self._client.delete_collection(name)

    def peers(self, _: Any) -> Any:
        return self.cluster.about() if self.cluster else {"status": "disabled"}

    def shards(self, name: str, _: Any) -> Any:
        local, real = self._local(name), self._real(name)
        settings = {"shard_number": 1, **self._settings[real]}
        alive = [each for each, place in local.ids.items() if not local.deleted[place]]
        return (self.cluster or Cluster()).shards(real, settings, alive)

    def optimizations(self, name: str, _: Any) -> Any:
        return recorded_answers.optimizations(self.describe(name, None))

    def memory(self, name: str, _: Any) -> Any:
        return recorded_answers.memory(self.describe(name, None))

    def make_snapshot(self, name: str, _: Any) -> Any:
        self._client.get_collection(name)
        made = recorded_answers.snapshot(name)
        self._snapshots.setdefault(self._real(name), []).append(made)
        return made

    def snapshots(self, name: str, _: Any) -> Any:
        self._client.get_collection(name)
        return self._snapshots.get(self._real(name), [])

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
        local = self._local(name)
        sizes = {vector: params.size for vector, params in local.vectors_config.items()}
        if isinstance(body.get("points"), list):
            refuse_points(body["points"], sizes, {*local.sparse_vectors, *local.multivectors_config})
        asked, refused = models.PointsList.model_validate(body), None
        if self.cluster:
            real = self._real(name)
            written, refused = self.cluster.reachable(real, self._settings[real], body["points"])
            asked = models.PointsList.model_validate({**body, "points": written})
        told = self._client.upsert(name, asked.points, update_filter=asked.update_filter, update_mode=asked.update_mode)
        if refused:
            raise refused
        return told

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
        return {"points": to_jsonable_python(found, exclude_none=True), "next_page_offset": following}

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

    def _set(self, name: str, body: dict[str, Any]) -> None:
        """Keep what a request set, as its server would describe it."""
        told = {key: value for key, value in body.items() if key not in ("vectors", "sparse_vectors")}
        told.update(body.get("params") or {})
        limits = told.get("strict_mode_config")
        if limits is not None:
            limits = {**self._settings[name].get("strict_mode_config", {}), **limits}
            told["strict_mode_config"] = limits
            self._strict.pop(name, None)
            if limits.get("enabled"):
                self._strict[name] = StrictMode(limits)
        self._settings[name].update(told)

    def _local(self, name: str) -> Any:
        """The in-memory collection itself."""
        self._client.get_collection(name)
        return self._client._client.collections[self._real(name)]

    def _aliases(self) -> dict[str, str]:
        return {alias.alias_name: alias.collection_name for alias in self._client.get_aliases().aliases}

    def _real(self, name: str) -> str:
        return self._aliases().get(name, name)


READING = (Collections.query, Collections.query_one, Collections.retrieve, Collections.scroll, Collections.count)

NAME = r"/collections/([^/]+)"
ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", r"/issues", Collections.issues),
    ("GET", r"/collections", Collections.listed),
    ("GET", r"/cluster", Collections.peers),
    ("GET", f"{NAME}/cluster", Collections.shards),
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
    ("GET", f"{NAME}/optimizations", Collections.optimizations),
    ("GET", f"{NAME}/memory", Collections.memory),
    ("POST", f"{NAME}/snapshots", Collections.make_snapshot),
    ("GET", f"{NAME}/snapshots", Collections.snapshots),
]


def done() -> Any:
    return {"operation_id": 0, "status": "completed"}


class QdrantOverHttp:
    """The server. `asked` has (method, path) of every request, those it was away for too.

    It says that it is as old as the client, since other programs' clients warn of an older server.
    Set `trouble` to a function of (method, path) that says what is wrong with a request, or None; `faults` has more, by
    rule. With an `api_key` or a `read_only_key` nothing is answered without one.
    """

    def __init__(
        self,
        port: int = 0,
        version: str = CLIENT_VERSION,
        api_key: str | None = None,
        read_only_key: str | None = None,
    ) -> None:
        self.version = version
        self.api_key = api_key
        self.read_only_key = read_only_key
        self.faults = Faults()
        self.ended = threading.Event()
        self.asked: list[tuple[str, str]] = []
        self.trouble: Callable[[str, str], Trouble | None] = lambda method, path: None
        self._collections = Collections()
        self._away: tuple[Trouble, float] = ("close", 0.0)
        self._http = ThreadingHTTPServer(("127.0.0.1", port), handler_of(self))
        self._down_s: float | None = None
        self._down = threading.Event()
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> QdrantOverHttp:
        self._thread = threading.Thread(target=self.serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def serve(self) -> None:
        """Serve until the end, with the pauses that `restart` makes."""
        while True:
            self._http.serve_forever(poll_interval=0.02)
            seconds, self._down_s = self._down_s, None
            if seconds is None or self.ended.is_set():
                return
            self._http.server_close()
            self._down.set()
            if self.ended.wait(seconds):
                return
            self._http = ThreadingHTTPServer(("127.0.0.1", self.port), handler_of(self))

    def restart(self, seconds: float) -> None:
        """Be gone: the port refuses, from now on for so long; then the same data is there again."""
        self._down.clear()
        self._down_s = seconds
        self._http.shutdown()
        self._down.wait(30)

    def gather_peers(self) -> Cluster:
        """Be one of three peers from now on; gives the cluster, whose peers may be killed."""
        self._collections.cluster = Cluster()
        return self._collections.cluster

    def away(self, seconds: float, how: Trouble = "close") -> None:
        """Be away from now on for so long."""
        self._away = (how, time.monotonic() + seconds)

    def trouble_with(self, method: str, path: str) -> Trouble | None:
        self.asked.append((method, path))
        how, until = self._away
        return how if time.monotonic() < until else self.trouble(method, path)

    def respond(self, method: str, path: str, raw: bytes, wait: bool = True) -> tuple[int, Any, Refused | None]:
        """(status, result, what is wrong)."""
        try:
            result = self._collections.answer(method, path, json.loads(raw or b"null"))
            if not wait and isinstance(result, dict) and "operation_id" in result:
                result["status"] = "acknowledged"
            return 200, result, None
        except Refused as error:
            refused = error
        except LookupError:
            return 404, None, None
        except ValidationError as error:
            refused = Refused(422, f"Validation error in JSON body: {error}")
        except ValueError as error:  # the in-memory form has no codes
            refused = translate(str(error))
        return refused.status, None, refused


if __name__ == "__main__":
    here = QdrantOverHttp(int(sys.argv[1]))
    print(here.url, flush=True)
    here.serve()
