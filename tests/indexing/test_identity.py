"""A document is the same one however its file is named, and stands where its file is now."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from hybrid_search import Indexer
from hybrid_search.corpus.roots import Roots, holds, resolve
from hybrid_search.store.edge.store import EdgeStore
from tests.store.conftest import in_memory

LEGS = {"sparse": "fake/sparse", "dense": "fake/dense"}


@pytest.fixture(params=["edge", "server"])
def store(request, tmp_path):
    store = EdgeStore(tmp_path / "store") if request.param == "edge" else in_memory()
    yield store
    store.close()


@pytest.fixture
def index(fakes, settings, store):
    def index(*sources, prune=False, replace=False, **more):
        indexer = Indexer.open("c", store=store, settings=settings, replace=replace, **LEGS)
        return indexer.index([*sources], prune=prune, **more)

    return index


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """Write files below a folder that is the working one as well."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def write(*names, text="Something about"):
        for name in names:
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            (here / name).write_text(f"{text} {name}.\n")
        return here

    return write


def stored(store):
    """The origin of each document by its id."""
    with closing(store.reader("c")) as reader:
        ids = sorted(reader.doc_ids())
        return {payload["doc_id"]: payload["origin"] for payload in reader.payloads([f"{i}#0" for i in ids]).values()}


def counts(report):
    return {"new": report.documents, "unchanged": report.unchanged, "moved": report.moved, "replaced": report.replaced}


def test_two_sources_with_the_same_names_are_different_documents(texts, index, store):
    here = texts("p1/docs/README.md", "p2/docs/README.md")
    index("p1/docs")
    assert counts(index("p2/docs")) == {"new": 1, "unchanged": 0, "moved": 0, "replaced": 0}
    assert stored(store) == {
        "README.md": str(here / "p1/docs/README.md"),
        "docs//README.md": str(here / "p2/docs/README.md"),
    }
    assert counts(index("p1/docs", "p2/docs"))["unchanged"] == 2
    assert counts(index("p2/docs", "p1/docs"))["unchanged"] == 2


def test_one_file_is_one_document_whatever_it_is_named_through(texts, index, store):
    texts("p/docs/a.md", "p/docs/b.md")
    report = index("p", "p/docs", "p/docs/a.md")
    assert (report.documents, report.repeated, report.failed) == (2, 3, 0)
    assert list(stored(store)) == ["docs/a.md", "docs/b.md"]
    for sources in (["p/docs/a.md"], ["p/docs"], ["p"], ["./p/../p/docs"], [Path("p/docs").resolve()]):
        report = index(*sources)
        assert (report.documents, report.moved) == (0, 0)
    assert len(stored(store)) == 2


def test_the_narrower_source_first(texts, index, store):
    texts("p/docs/a.md", "p/b.md")
    index("p/docs/a.md")
    index("p/docs")
    report = index("p")
    assert (report.documents, report.unchanged) == (1, 1)
    assert list(stored(store)) == ["a.md", "p//b.md"]


def test_ids_do_not_depend_on_the_folder_one_stands_in(texts, index, store, monkeypatch):
    here = texts("p/docs/a.md", "p/docs/sub/b.md")
    index("p/docs")
    before = stored(store)
    monkeypatch.chdir(here / "p/docs/sub")
    assert counts(index(".."))["unchanged"] == 2
    assert counts(index("b.md"))["unchanged"] == 1
    assert counts(index("."))["unchanged"] == 1
    assert stored(store) == before
    assert all(Path(origin).is_file() for origin in before.values())


@pytest.mark.parametrize("name", ["docs", "manual"])
def test_a_source_that_moved_keeps_its_ids_and_is_not_encoded_again(texts, index, store, fakes, name):
    here = texts("p1/docs/a.md", "p1/docs/b.md", "p1/docs/sub/c.md")
    index("p1/docs")
    (here / "p3").mkdir()
    shutil.move(here / "p1/docs", here / "p3" / name)
    passes = sum(len(model.calls) for model in fakes.loaded)
    report = index(f"p3/{name}", prune=True)
    assert counts(report) == {"new": 0, "unchanged": 3, "moved": 3, "replaced": 0}
    assert report.removed == 0
    assert sum(len(model.calls) for model in fakes.loaded) == passes
    assert stored(store) == {
        each: str(here / "p3" / name / each)
        for each in ("a.md", "b.md", os.path.join("sub", "c.md"))  # noqa: PTH118
    }


def test_every_chunk_of_what_moved_knows_where_it_stands(texts, index, store):
    here = texts("p1/long.txt", text="stone river " * 300)
    index("p1")
    shutil.move(here / "p1", here / "p2")
    index("p2")
    with closing(store.reader("c")) as reader:
        ids = [f"long.txt#{n}" for n in range(reader.info().points)]
        assert {payload["origin"] for payload in reader.payloads(ids).values()} == {str(here / "p2/long.txt")}
        assert len(ids) > 5


def test_what_moved_and_changed_is_an_update(texts, index, store):
    here = texts("p1/a.md", "p1/b.md")
    index("p1")
    shutil.move(here / "p1", here / "p2")
    texts("p2/b.md", text="Something else in")
    assert counts(index("p2")) == {"new": 1, "unchanged": 1, "moved": 1, "replaced": 0}


def test_another_source_does_not_take_the_place_of_one_that_is_gone(texts, index, store):
    here = texts("p1/a.md", "p1/b.md")
    index("p1")
    shutil.rmtree(here / "p1")
    texts("p2/x.md", "p2/y.md")
    index("p2")
    assert list(stored(store)) == ["a.md", "b.md", "p2//x.md", "p2//y.md"]


def test_rows_that_take_the_place_of_rows_elsewhere_are_counted_with_both_origins(texts, index, store):
    here = texts("x.md")
    rows = [{"_id": f"d{n}", "text": f"stone {n}"} for n in range(3)]
    for name, word in (("one", "stone"), ("two", "river")):
        (here / name).mkdir()
        lines = [json.dumps({**row, "text": row["text"].replace("stone", word)}) for row in rows]
        (here / name / "rows.jsonl").write_text("\n".join(lines))
    index("one/rows.jsonl")
    report = index("two/rows.jsonl")
    assert report.replaced == 3
    [first, *_] = report.replacements
    assert first == ("d0", f"{here / 'one/rows.jsonl'}:1", f"{here / 'two/rows.jsonl'}:1")


def test_a_row_on_another_line_is_told_from_one_that_changed(texts, index, store):
    here = texts("x.md")
    file = here / "rows.jsonl"
    rows = [json.dumps({"_id": f"d{n}", "text": f"stone {n}"}) for n in range(3)]
    file.write_text("\n".join(rows))
    index(file)
    file.write_text("\n".join([json.dumps({"_id": "new", "text": "river"}), *rows]))
    assert counts(index(file)) == {"new": 1, "unchanged": 3, "moved": 3, "replaced": 0}
    assert stored(store)["d0"] == f"{file}:2"


def test_documents_made_in_memory_do_not_move(fakes, settings, store):
    indexer = Indexer.open("c", store=store, settings=settings, **LEGS)
    indexer.index([{"_id": "a", "text": "stone"}, {"_id": "b", "text": "river"}])
    assert counts(indexer.index([{"_id": "b", "text": "river"}, {"_id": "a", "text": "stone"}]))["moved"] == 0


def test_a_collection_built_before_keeps_its_ids_and_is_told_once(texts, index, store, caplog):
    here = texts("p1/docs/a.md", "p1/docs/b.md", "p2/docs/c.md")
    index("p1/docs")
    forget_roots(store)
    report = index("p1/docs")
    assert counts(report)["unchanged"] == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "keep their ids" in caplog.text
    caplog.clear()
    index("p2/docs")
    assert list(stored(store)) == ["a.md", "b.md", "docs//c.md"]
    assert not caplog.records
    assert stored(store)["a.md"] == str(here / "p1/docs/a.md")


def test_a_collection_built_before_from_several_folders_keeps_its_ids(texts, index, store):
    texts("one/a.md", "two/a.md")
    index("one", "two")
    # What earlier versions called them.
    manifest = store.manifest("c")
    with closing(store.writer("c", manifest)) as writer:
        writer.publish(replace(manifest, roots={str(Path(name).resolve()): f"{name}/" for name in ("one", "two")}))
    index("one", "two", prune=True)
    assert list(stored(store)) == ["one/a.md", "two/a.md"]
    forget_roots(store)
    assert counts(index("two", "one"))["unchanged"] == 2
    assert list(stored(store)) == ["one/a.md", "two/a.md"]


def forget_roots(store):
    manifest = store.manifest("c")
    with closing(store.writer("c", manifest)) as writer:
        writer.publish(replace(manifest, roots=None))


def test_a_dry_run_counts_the_same(texts, index, store):
    here = texts("p1/a.md", "p1/b.md")
    index("p1")
    shutil.move(here / "p1", here / "p2")
    assert counts(index("p2", dry_run=True)) == {"new": 0, "unchanged": 2, "moved": 2, "replaced": 0}
    assert counts(index("p2")) == {"new": 0, "unchanged": 2, "moved": 2, "replaced": 0}


def test_links_to_folders_lead_to_one_document(texts, index, store):
    here = texts("p/a.md")
    (here / "link").symlink_to("p")
    index("p")
    assert counts(index("link"))["unchanged"] == 1
    assert counts(index("link/a.md"))["unchanged"] == 1
    assert list(stored(store)) == ["a.md"]


def test_names_that_are_no_unicode(texts, index, store):
    here = texts("p/a.md")
    odd = os.fsencode(here / "p") + b"/b\xff.md"
    try:
        Path(os.fsdecode(odd)).write_text("odd")
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    index("p")
    assert list(stored(store)) == ["a.md", "b\\xff.md"]
    assert counts(index(Path(os.fsdecode(odd))))["unchanged"] == 1


# ---------------------------------------------------------------- roots alone


def test_a_new_root_has_a_name_of_its_own(tmp_path):
    for name in ("one/docs", "two/docs", "three/docs"):
        (tmp_path / name).mkdir(parents=True)
    sources = [tmp_path / name for name in ("one/docs", "two/docs", "three/docs")]
    roots = resolve(sources, {}, lambda _: 0)
    assert list(roots.prefixes.values()) == ["", "docs//", "docs-2//"]
    assert resolve(sources[::-1], roots.prefixes, lambda _: 0) == roots


def test_a_folder_holds_what_is_below_it_and_not_what_begins_like_it():
    assert holds("/a/b", "/a/b/c")
    assert holds("/", "/a")
    assert not holds("/a/b", "/a/bc")
    assert Roots({"/a": "", "/a/b": "b//"}, {}).above("/a/b/c.md") == "/a/b"
    assert Roots({"/new": ""}, {"/old": "/new"}).origin_now("/old/a.md:3") == "/new/a.md:3"
