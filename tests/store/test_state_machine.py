"""Random operations on both stores against a model of plain dicts: what readers find, whatever writers do or die of.

In a folder writers are processes of their own, which are killed for good, also while they are at what they were asked
for; on a server they are left as they are. A reader that is open keeps its answers in a folder, whatever happens.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from hybrid_search.manifest import Manifest
from hybrid_search.store.edge import generations
from hybrid_search.store.edge.manifest_file import read_record
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import SparseVector
from tests.store.conftest import TRUE_SERVERS, in_memory
from tests.store.model_points import (
    NEW,
    Points,
    act,
    legs_of,
    payload,
    queries,
    scores,
    swapped,
    vector_of,
    with_new,
    written,
)
from tests.store.store_points import manifest_of
from tests.writer_driver import Forker, KillableWriter

DOCUMENTS = st.integers(0, 6).map(lambda number: f"d{number}")


class State(NamedTuple):
    """The points of a collection, and what they are searched by."""

    points: Points
    manifest: Manifest

    def copy(self) -> State:
        return State(deepcopy(self.points), self.manifest)


class LocalWriter:
    """A writer that is asked as one in another process is."""

    def __init__(self, store: Any, name: str, manifest: Manifest, replace: bool) -> None:
        self._writer = store.writer(name, manifest, replace=replace)
        self.resumed = self._writer.resumed

    def ask(self, asked: dict[str, Any]) -> Any:
        return act(self._writer, **asked)

    def kill(self) -> bool:
        """Never hear of it again."""
        return True

    def close(self) -> None:
        self._writer.close()


class StoreMachine(RuleBasedStateMachine):
    """Drives one collection.

    published: what a new reader finds. work: what a writer goes on with that does not replace. building: what one goes
    on with that does. `direct` stores have no difference between the first two once something is published.
    """

    store: Any
    forker: Forker | None
    prefix: str
    number = 0

    def __init__(self) -> None:
        super().__init__()
        StoreMachine.number += 1
        self.name = f"{self.prefix}-{StoreMachine.number}"
        self.direct = not isinstance(self.store, EdgeStore)
        self.published: State | None = None
        self.work: State | None = None
        self.building: State | None = None
        self.writer: Any = None
        self.replaces = False
        self.version = 0
        self.readers: list[tuple[Any, State]] = []

    # ------------------------------------------------------------ writers

    @property
    def state(self) -> State:
        """What the writer fills."""
        return self.building if self.replaces else self.work  # type: ignore[return-value]

    def put(self, state: State) -> None:
        if self.replaces:
            self.building = state
            return
        self.work = state
        if self.direct and self.published is not None:
            self.published = state

    @precondition(lambda self: self.writer is None)
    @rule(replace=st.booleans())
    def open(self, replace: bool) -> None:
        self.replaces = replace and self.published is not None
        manifest = manifest_of() if replace else self.store.manifest(self.name) or manifest_of()
        begun = self.building if self.replaces else self.work
        if self.forker is None:
            self.writer = LocalWriter(self.store, self.name, manifest, replace)
        else:
            self.writer = KillableWriter(self.forker, self.store.folder, self.name, manifest, replace)
        if begun is None:
            self.put(State({}, manifest_of()))

    @precondition(lambda self: self.writer is not None)
    @rule(documents=st.lists(DOCUMENTS, min_size=1, max_size=4, unique=True))
    def upsert(self, documents: list[str]) -> None:
        self.version += 1
        points = dict(self.state.points)
        for document in documents:
            for number in range(3):
                points.pop(f"{document}#{number}", None)
            points |= written(document, self.version, self.state.manifest)
        self.writer.ask({"what": "upsert", "documents": [[d, self.version] for d in documents], "clean": True})
        self.put(State(points, self.state.manifest))

    @precondition(lambda self: self.writer is not None and self.state.points)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        there = sorted({chunk.rpartition("#")[0] for chunk in self.state.points})
        gone = data.draw(st.lists(st.sampled_from(there), min_size=1, unique=True))
        chunks = [f"{document}#{number}" for document in gone for number in range(3)]
        self.writer.ask({"what": "delete", "chunk_ids": chunks})
        left = {chunk: stored for chunk, stored in self.state.points.items() if chunk not in chunks}
        self.put(State(left, self.state.manifest))

    @precondition(lambda self: self.writer is not None and self.state.points)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        heads = {chunk: stored for chunk, stored in self.state.points.items() if chunk.endswith("#0")}
        some = data.draw(st.lists(st.sampled_from(sorted(heads)), min_size=1, unique=True))
        self.version += 1
        folder = f"folder {self.version}/"
        documents = {chunk.removesuffix("#0"): heads[chunk].chunks for chunk in some}
        moved = [[document, chunks, f"{folder}{document}.txt"] for document, chunks in documents.items()]
        self.writer.ask({"what": "move", "moved": moved})
        points = {
            chunk: stored._replace(folder=folder) if chunk.rpartition("#")[0] in documents else stored
            for chunk, stored in self.state.points.items()
        }
        self.put(State(points, self.state.manifest))

    def is_live(self) -> bool:
        """Whether the writer fills what readers have."""
        return self.writer is not None and self.published is not None and not self.replaces

    def has_room_for_a_leg(self) -> bool:
        called = self.state.manifest.vectors() if self.is_live() else {"new": ""}
        return "new" not in called and NEW.vector not in called.values()

    @precondition(has_room_for_a_leg)
    @rule(part=st.floats(0, 1), finish=st.booleans())
    def add_leg(self, part: float, finish: bool) -> None:
        """The rest of it is done by a later one, or by nobody."""
        self.version += 1
        self.writer.ask({"what": "extend"})
        lacking = sorted(c for c, stored in self.state.points.items() if NEW.vector not in stored.vectors)
        some = lacking if finish else lacking[: int(len(lacking) * part)]
        if some:
            self.writer.ask({"what": "set", "chunk_ids": some, "version": self.version})
        points = {
            c: stored._replace(vectors={**stored.vectors, **({NEW.vector: self.version} if c in some else {})})
            for c, stored in self.state.points.items()
        }
        self.put(State(points, self.state.manifest))
        if finish:
            self.writer.ask({"what": "publish", "new": True})
            self.put(State(points, with_new(self.state.manifest)))
            self.published = self.work if self.direct else self.work.copy()

    def relabelled(self, manifest: Manifest) -> None:
        self.put(State(self.state.points, manifest))
        self.published = State(self.published.points, manifest)

    @precondition(lambda self: self.is_live() and "new" in self.state.manifest.legs)
    @rule()
    def swap(self) -> None:
        self.writer.ask({"what": "swap"})
        self.relabelled(swapped(self.state.manifest))

    @precondition(lambda self: self.is_live() and "new" in self.state.manifest.legs)
    @rule()
    def drop_leg(self) -> None:
        """The leg beside goes, with its vectors."""
        legs = {leg: spec for leg, spec in self.state.manifest.legs.items() if leg != "new"}
        self.writer.ask({"what": "drop"})
        manifest = self.state.manifest.with_legs(legs, "custom")
        self.relabelled(manifest)
        kept = set(manifest.vectors().values())
        points = {
            c: stored._replace(vectors={name: v for name, v in stored.vectors.items() if name in kept})
            for c, stored in self.state.points.items()
        }
        self.put(State(points, manifest))

    @precondition(lambda self: self.writer is not None)
    @rule()
    def publish(self) -> None:
        self.writer.ask({"what": "publish", "new": False})
        self.has_published()

    def has_published(self) -> None:
        state = self.state
        if self.replaces:
            self.building, self.replaces = None, False
        self.work = state
        self.published = state if self.direct else state.copy()

    @precondition(lambda self: self.writer is not None)
    @rule()
    def flush(self) -> None:
        self.writer.ask({"what": "flush"})

    @precondition(lambda self: self.writer is not None)
    @rule()
    def close(self) -> None:
        self.writer.close()
        self.writer = None

    @precondition(lambda self: self.writer is not None)
    @rule()
    def kill(self) -> None:
        self.writer.kill()
        self.writer = None

    @precondition(lambda self: self.writer is not None and self.forker is not None)
    @rule(documents=st.lists(DOCUMENTS, min_size=1, max_size=4, unique=True), step=st.integers(1, 12))
    def kill_while_it_writes(self, documents: list[str], step: int) -> None:
        """What it wrote last is there, or is not: its removals, and what it put in their place."""
        before = self.state
        self.version += 1
        chunks = [f"{document}#{number}" for document in documents for number in range(3)]
        removed = {chunk: stored for chunk, stored in before.points.items() if chunk not in chunks}
        wrote = dict(removed)
        for document in documents:
            wrote |= written(document, self.version, before.manifest)
        asked = {"what": "upsert", "documents": [[d, self.version] for d in documents], "clean": True}
        replaces = self.replaces
        answered = self.killed_at(asked, step)
        self.settle(replaces, [wrote] if answered else [before.points, removed, wrote])

    @precondition(lambda self: self.writer is not None and self.forker is not None)
    @rule(step=st.integers(1, 260))
    def kill_while_it_publishes(self, step: int) -> None:
        """Readers have all of the old, or all of the new."""
        before = self.token()
        self.killed_at({"what": "publish", "new": False}, step)
        if self.token() != before:
            self.has_published()

    def token(self) -> str:
        """Which state of the points readers have."""
        folder = generations.current(self.store.folder / self.name)
        return "" if folder is None else read_record(folder).token

    def killed_at(self, asked: dict[str, Any], step: int) -> bool:
        """Have the writer kill itself at a step of what it is asked for, or when it has answered; whether it has."""
        answered = self.writer.dies_of({**asked, "step": step})
        self.writer = None
        return answered

    def settle(self, replaces: bool, allowed: list[Points]) -> None:
        """Find out, by the next writer, which of these it has been."""
        self.open(replaces)
        found = self.writer.ask({"what": "versions"})
        fitting = [points for points in allowed if versions(points) == found]
        assert fitting, (found, [versions(points) for points in allowed])
        self.put(State(fitting[-1], self.state.manifest))

    # ------------------------------------------------------------ readers

    @precondition(lambda self: self.published is not None and len(self.readers) < 3)
    @rule()
    def open_reader(self) -> None:
        self.readers.append((self.store.reader(self.name), self.published.copy()))

    @precondition(lambda self: self.readers)
    @rule()
    def close_reader(self) -> None:
        self.readers.pop(0)[0].close()

    def read(self) -> dict[str, Any] | None:
        """What a new reader finds."""
        if self.name not in self.store.names():
            return None
        reader = self.store.reader(self.name)
        try:
            return answers(reader)
        finally:
            reader.close()

    @invariant()
    def a_new_reader_finds_what_was_published_last(self) -> None:
        found = self.read()
        if self.published is None:
            assert found is None
        else:
            check(found, self.published)

    @invariant()
    def open_readers_find_what_they_opened(self) -> None:
        for reader, state in self.readers:
            if not self.direct:
                check(answers(reader), state)

    @invariant()
    def a_writer_finds_what_was_written(self) -> None:
        if self.writer is not None:
            assert self.writer.ask({"what": "versions"}) == versions(self.state.points)

    def teardown(self) -> None:
        for reader, _ in self.readers:
            reader.close()
        if self.writer is not None:
            self.writer.close()
        for one in self.store.verify() if not self.direct else []:
            assert one.whole, one.to_dict()
        if self.published is not None and not self.direct:
            self.store.delete(self.name)


def versions(points: Points) -> list[list[Any]]:
    return [[chunk, stored.version] for chunk, stored in sorted(points.items())]


def answers(reader: Any) -> dict[str, Any]:
    """All that a reader tells."""
    found = [dict(answer) for answer in reader.retrieve(queries(reader.manifest), 1_000)]
    chunks = sorted({chunk for answer in found for chunk in answer})
    vectors = {leg: reader.vectors(leg, chunks) for leg, _ in legs_of(reader.manifest)}
    info = reader.info()
    counts = (info.points, info.documents, sorted(reader.doc_ids()))
    return {
        "legs": reader.manifest.legs,
        "scores": found,
        "payloads": reader.payloads(chunks),
        "vectors": vectors,
        "counts": counts,
    }


def check(found: dict[str, Any], state: State) -> None:
    assert found["legs"] == state.manifest.legs
    heads = sorted(chunk.removesuffix("#0") for chunk in state.points if chunk.endswith("#0"))
    assert found["counts"] == (len(state.points), len(heads), heads)
    for ours, theirs in zip(found["scores"], scores(state.points, state.manifest), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
    assert found["payloads"] == {chunk: payload(chunk, stored) for chunk, stored in state.points.items()}
    called = state.manifest.vectors()
    for leg, spec in legs_of(state.manifest):
        name = called[leg]
        there = {c for c, stored in state.points.items() if name in stored.vectors}
        assert found["vectors"][leg].keys() == there
        for chunk in there:
            wanted = vector_of(chunk, name, state.points[chunk].vectors[name], spec.dim)
            ours = found["vectors"][leg][chunk]
            same = ours == wanted if isinstance(ours, SparseVector) else np.allclose(ours, wanted, atol=1e-6)
            assert same, (leg, chunk)


@pytest.fixture(scope="module")
def forker(tmp_path_factory):
    """In a short path: those of sockets may not be long."""
    made = Forker(tmp_path_factory.mktemp("s"))
    yield made
    made.close()


def model(store, forker, prefix):
    """The machine of one store."""
    return type("Machine", (StoreMachine,), {"store": store, "forker": forker, "prefix": prefix})


def bounded(examples, steps):
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=examples < 50,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # a failure is told as it came: to make it smaller takes minutes
        print_blob=True,
    )


def machine_of(kind, request, tmp_path, prefix):
    if kind == "folder":
        return model(EdgeStore(tmp_path / "store"), request.getfixturevalue("forker"), prefix)
    if kind.startswith("server-"):
        return model(request.getfixturevalue("true_server")(kind.removeprefix("server-")), None, prefix)
    return model(in_memory() if kind == "client" else request.getfixturevalue("over_http"), None, prefix)


KINDS = [
    pytest.param("folder", marks=pytest.mark.skipif(sys.platform == "win32", reason="forks and kills")),
    "client",
    "server",
    *TRUE_SERVERS,
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_does_what_its_model_does(kind, request, tmp_path, prefix):
    run_state_machine_as_test(machine_of(kind, request, tmp_path, prefix), settings=bounded(6, 16))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_store_does_what_its_model_does_for_long(kind, request, tmp_path, prefix):
    run_state_machine_as_test(machine_of(kind, request, tmp_path, prefix), settings=bounded(150, 40))
