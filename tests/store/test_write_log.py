"""The log of writes: what comes back is what was written, and of a log that is cut or damaged what stood before."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_search.errors import StoreFull
from hybrid_search.store.edge import write_log
from hybrid_search.store.edge.write_log import (
    AddVector,
    Delete,
    DropVector,
    IndexField,
    SetPayload,
    SetVectors,
    Upsert,
    WriteLog,
    encode_write,
    read_writes,
    scan,
)
from hybrid_search.store.schema import StoredPoint, payload_json
from hybrid_search.types import SparseVector

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
DENSE = st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3).map(lambda v: np.array(v, np.float32))
SPARSE = st.dictionaries(st.integers(0, 2**31 - 1), st.floats(0.125, 8, width=32), max_size=4).map(
    lambda pairs: SparseVector.of(list(pairs), list(pairs.values()))
)
IDS = st.uuids(version=5)
VECTORS = st.fixed_dictionaries({}, optional={"dense": DENSE, "sparse": SPARSE.filter(len), "": DENSE})


def stored(point, payload, vectors):
    return StoredPoint(point, vectors, payload, payload_json(payload))


POINTS = st.builds(stored, IDS, st.dictionaries(TEXT, JSON, max_size=3), VECTORS)
WRITES = st.one_of(
    st.builds(Upsert, st.lists(POINTS, max_size=4, unique_by=lambda point: point.id)),
    st.builds(SetVectors, TEXT, st.dictionaries(IDS, SPARSE.filter(len), max_size=3)),
    st.builds(SetVectors, TEXT, st.dictionaries(IDS, DENSE, max_size=3)),
    st.builds(SetPayload, st.lists(IDS, max_size=4), st.dictionaries(TEXT, JSON, max_size=3)),
    st.builds(Delete, st.lists(IDS, max_size=4)),
    st.builds(IndexField, TEXT, st.sampled_from(["keyword", "integer"])),
    st.builds(AddVector, TEXT, st.integers(0, 4096), st.booleans()),
    st.builds(DropVector, TEXT),
)


def plain(write):
    """A write as values that compare."""

    def vector(one):
        if isinstance(one, SparseVector):
            return ("sparse", one.indices.tolist(), one.values.tolist())
        return ("dense", np.asarray(one).tolist())

    if isinstance(write, Upsert):
        return [(p.id, dict(p.payload), {name: vector(v) for name, v in p.vectors.items()}) for p in write.points]
    if isinstance(write, SetVectors):
        return (write.name, {point: vector(v) for point, v in write.vectors.items()})
    return (type(write).__name__, *write)


def logged(file: Path, some: list) -> WriteLog:
    log = WriteLog.begin(file, "token")
    for write in some:
        log.append(encode_write(write), len(write.ids()))
    log.close()
    return log


@settings(max_examples=60, deadline=None)
@given(some=st.lists(WRITES, max_size=5))
def test_what_was_written_comes_back(tmp_path_factory, some):
    file = tmp_path_factory.mktemp("log") / "changed"
    logged(file, some)
    found = scan(file)
    assert (found.after, len(found.ends) - 1, found.damaged) == ("token", len(some), False)
    assert [plain(write) for write in read_writes(file, found)] == [plain(write) for write in some]


@pytest.fixture
def three(tmp_path):
    """A log of three writes; gives its file and where each ends."""
    some = [
        Upsert([stored(uuid.uuid4(), {"text": f"number {n}"}, {"dense": np.ones(3, np.float32)})]) for n in range(3)
    ]
    file = tmp_path / "changed"
    logged(file, some)
    return file, scan(file).ends


def test_a_log_that_was_cut_off_anywhere_holds_the_writes_before(three):
    file, ends = three
    data = file.read_bytes()
    for length in range(ends[0], len(data)):
        file.write_bytes(data[:length])
        found = scan(file)
        assert found.ends == [end for end in ends if end <= length]
        assert not found.damaged
        assert len(list(read_writes(file, found))) == len(found.ends) - 1


def test_a_log_with_a_byte_changed_anywhere_holds_the_writes_before_and_says_so(three):
    file, ends = three
    data = file.read_bytes()
    for place in range(len(data)):
        file.write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
        found = scan(file)
        if place < ends[0]:
            assert found.after != "token"
            continue
        assert found.ends == [end for end in ends if end <= place]
        assert found.damaged


@pytest.mark.parametrize(
    "text", [b"", b"{}\n", b"[]\n", b'{"format": 2, "after": "x"}\n', b'{"format": 1, "after": "x"}']
)
def test_what_is_no_log_holds_nothing(tmp_path, text):
    file = tmp_path / "changed"
    file.write_bytes(text)
    assert scan(file)[:3] == ("", [0], 0)


def test_a_log_is_gone_on_with_behind_its_last_whole_write(three):
    file, ends = three
    os.truncate(file, ends[-1] - 1)
    log = WriteLog.resume(file)
    assert (log.after, log.points) == ("token", 2)
    log.append(encode_write(DropVector("x")), 0)
    log.close()
    assert [type(write).__name__ for write in read_writes(file, scan(file))] == ["Upsert", "Upsert", "DropVector"]


def test_a_full_disk_leaves_a_log_as_it_was(three, monkeypatch):
    file, ends = three
    log = WriteLog.resume(file)
    real, left = os.write, [10]

    def write(handle, data):
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real(handle, bytes(data)[: left[0]])
        left[0] -= count
        return count

    monkeypatch.setattr(write_log, "os", SimpleNamespace(**{**vars(os), "write": write}))
    with pytest.raises(StoreFull, match="What was indexed so far is kept"):
        log.append(encode_write(DropVector("x")), 0)
    left[0] = 10**6
    log.append(encode_write(DropVector("y")), 0)
    log.close()
    assert [plain(write) for write in read_writes(file, scan(file))][3:] == [("DropVector", "y")]
    assert scan(file).ends[:4] == ends
