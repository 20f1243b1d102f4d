"""Adopting what somebody else wrote: what is found out, what is refused, and that searching it is searching."""

import json

import numpy as np
import pytest
from qdrant_client import models  # noqa: TID253

from hybrid_search import Indexer, Searcher, adopt, save_encodings
from hybrid_search.collection.adopt import cosine
from hybrid_search.errors import CollectionNotFound, InvalidArgument, StoreError, UnknownModel
from hybrid_search.filters.matcher import matches
from hybrid_search.manifest import Manifest
from hybrid_search.store.server.store import ServerStore
from hybrid_search.types import SparseVector
from tests import servers
from tests.fake_models import DIM, FAKE_CARDS, FakeDense, FakeSparse
from tests.random_filters import random_condition, random_metadata, seeded

pytestmark = pytest.mark.usefixtures("fakes")

CARDS = {card.name: card for card in FAKE_CARDS}
# (point, text, metadata): two books in chunks, and one text that is of none.
PARTS = [
    (11, "The whale swims in the cold sea.", {"source": "moby", "start_index": 40, "year": 1851}),
    (12, "Call me by my name, says the sailor.", {"source": "moby", "start_index": 0, "year": 1851}),
    (13, "The captain hates the white whale.", {"source": "moby", "start_index": 80, "year": 1851}),
    (21, "A man alone on an island in the sea.", {"source": "crusoe", "start_index": 0, "year": 1719}),
    (22, "He finds a footprint in the sand.", {"source": "crusoe", "start_index": 50, "year": 1719}),
    (31, "A recipe for a soup of fish.", None),
]
COSINE = models.Distance.COSINE


@pytest.fixture
def client(server_client):
    return server_client


@pytest.fixture
def store(client):
    return ServerStore(client, "http://qdrant.test")


def write(
    client, name="theirs", parts=PARTS, *, distance=COSINE, size=DIM, dense=("",), sparse=(), idf=False, payload=None
):
    """A collection as langchain-qdrant writes it, or with other payloads, and with vectors of these names."""
    payload = payload or (lambda text, metadata: {"page_content": text, "metadata": metadata})
    modifier = models.Modifier.IDF if idf else None
    client.create_collection(
        name,
        vectors_config={called: models.VectorParams(size=size, distance=distance) for called in dense},
        sparse_vectors_config={called: models.SparseVectorParams(modifier=modifier) for called in sparse},
    )
    encoder, other = FakeDense(CARDS["fake/dense"]), FakeSparse(CARDS["fake/sparse"])
    points = []
    for point, text, metadata in parts:
        vectors = {called: encoder.dense(text)[:size].tolist() for called in dense}
        for called in sparse:
            vector = other.sparse(text)
            vectors[called] = models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
        points.append(models.PointStruct(id=point, vector=vectors, payload=payload(text, metadata)))
    if points:
        client.upsert(name, points)


def both(store, settings, name="theirs", **options):
    return adopt(name, dense="fake/dense", sparse="fake/sparse", store=store, settings=settings, **options)


# ---------------------------------------------------------------- as chunks of documents


def test_points_are_documents_or_chunks_of_some(client, store, settings):
    write(client)
    found = adopt("theirs", dense="fake/dense", store=store, settings=settings)
    assert (found.layout.text, found.layout.start, found.layout.doc_id) == ("page_content", "metadata.start_index", "")
    with Searcher.open("theirs", store=store, settings=settings) as searcher:
        hits = searcher.search("the whale in the sea").hits
        assert len(hits) == len(PARTS)
        assert hits[0].doc_id == "11"
        assert hits[0].passages[0].chunk_id == "11#0"

    found = adopt("theirs", dense="fake/dense", fields={"doc_id": "metadata.source"}, store=store, settings=settings)
    assert found.points == len(PARTS)
    assert store.info("theirs")[:3] == ("theirs", 3, 6)
    with Searcher.open("theirs", store=store, settings=settings) as searcher:
        hits = searcher.search("the white whale swims in the sea", k=3).hits
        assert hits[0].doc_id == "moby"
        assert {hit.doc_id for hit in hits} == {"moby", "crusoe", "31"}
        assert {p.chunk_id for p in hits[0].passages} == {"moby#p11", "moby#p12", "moby#p13"}
        assert {p.start for p in hits[0].passages} == {0, 40, 80}
        why = searcher.explain("the whale", "moby", where="year > 1800")
        assert (why.verdict, why.chunks, why.passing) == ("shown", 3, 3)
        assert searcher.explain("the whale", "moby", where="year < 1800").verdict == "filtered out"
        assert searcher.explain("the whale", "nobody").verdict == "not indexed"


def test_chunks_are_known_by_point_and_by_number(client, store, settings):
    write(client, sparse=("s",))
    both(store, settings, fields={"doc_id": "metadata.source"})
    reader = store.reader("theirs")
    asked = ["moby#1", "31#0", "moby#p12", "moby#0", "crusoe#2", "moby#p21", "12#0", "x#y", "moby", "moby#7"]
    found = reader.payloads(asked)
    assert list(found) == ["moby#1", "31#0", "moby#p12", "moby#0"]
    assert [found[name]["chunk_id"] for name in found] == ["moby#p11", "31#0", "moby#p12", "moby#p12"]
    assert [(found[f"moby#{n}"]["number"], found[f"moby#{n}"]["chunks"]) for n in (0, 1)] == [(0, 3), (1, 3)]
    assert list(reader.doc_ids()) == ["moby", "crusoe", "31"]
    dense = reader.vectors("dense", ["moby#0", "moby#p11", "nobody#0"])
    assert list(dense) == ["moby#0", "moby#p11"]
    assert cosine(dense["moby#0"], FakeDense(CARDS["fake/dense"]).dense(PARTS[1][1])) == pytest.approx(1, abs=1e-6)
    sparse = reader.vectors("sparse", ["31#0"])["31#0"]
    assert sparse.indices.tolist() == FakeSparse(CARDS["fake/sparse"]).sparse(PARTS[5][1]).indices.tolist()
    with pytest.raises(InvalidArgument, match="no 'bm25' leg"):
        reader.vectors("bm25", ["31#0"])


def test_what_is_written_later_is_found(client, store, settings):
    write(client)
    adopt("theirs", dense="fake/dense", fields={"doc_id": "metadata.source"}, store=store, settings=settings)
    reader = store.reader("theirs")
    assert reader.info().documents == 3
    vector = FakeDense(CARDS["fake/dense"]).dense("new").tolist()
    client.upsert("theirs", [models.PointStruct(id=7, vector=vector, payload={"page_content": "new", "metadata": {}})])
    assert reader.info()[1:3] == (4, 7)
    assert reader.payloads(["7#0"])["7#0"]["text"] == "new"


# ---------------------------------------------------------------- what is found out


def hand_made(text, metadata):
    return {"body": {"plain": text}, **(metadata or {}), "isbn": 7}


def test_a_layout_of_nobody_is_told(client, store, settings):
    write(client, payload=hand_made)
    with pytest.raises(StoreError, match=r"The payloads have: body, isbn, source, start_index, year.*--text-field"):
        adopt("theirs", dense="fake/dense", store=store, settings=settings)
    with pytest.raises(StoreError, match="none of the first 6 points has a text in 'isbn'"):
        adopt("theirs", dense="fake/dense", fields={"text": "isbn"}, store=store, settings=settings)
    with pytest.raises(InvalidArgument, match="no part 'words'"):
        adopt("theirs", dense="fake/dense", fields={"words": "isbn"}, store=store, settings=settings)
    with pytest.raises(InvalidArgument, match="is no field's name"):
        adopt("theirs", dense="fake/dense", fields={"text": "a..b"}, store=store, settings=settings)
    fields = {"text": "body.plain", "doc_id": "source"}
    found = adopt("theirs", dense="fake/dense", fields=fields, store=store, settings=settings)
    assert (found.layout.name, found.layout.metadata, found.layout.hidden) == ("given", "", ("body",))
    with Searcher.open("theirs", store=store, settings=settings) as searcher:
        [hit] = searcher.search("whale", where="isbn = 7 and year > 1800").hits
        assert hit.metadata == {"source": "moby", "start_index": hit.metadata["start_index"], "year": 1851, "isbn": 7}
        with pytest.raises(InvalidArgument, match="no document has a field body"):
            searcher.search("whale", where="exists(body)")


def test_vectors_are_chosen_by_name_where_there_are_several(client, store, settings):
    write(client, dense=("", "b"), sparse=("s", "t"))
    for leg in ("dense", "sparse"):
        with pytest.raises(InvalidArgument, match=f"several {leg} vectors; name one: --{leg}-vector") as caught:
            adopt("theirs", **{leg: f"fake/{leg}"}, store=store, settings=settings)
        assert "'' (16 dimensions, Cosine), 'b' (16 dimensions, Cosine); sparse vectors 's', 't'" in str(caught.value)
    with pytest.raises(InvalidArgument, match="no dense vectors 'c'"):
        adopt("theirs", dense="fake/dense", dense_vector="c", store=store, settings=settings)
    for name in ("", "b"):
        found = both(store, settings, dense_vector=name, sparse_vector="t")
        assert found.manifest.vectors() == {"dense": name, "sparse": "t"}
        with Searcher.open("theirs", store=store, settings=settings) as searcher:
            [hit] = searcher.search("whale", k=1, explain=True)
            assert hit.legs["dense"].rank == hit.legs["sparse"].rank == 1
            assert hit.matched_terms


@pytest.mark.parametrize("idf", [True, False])
def test_the_store_is_believed_about_idf(client, store, settings, idf):
    write(client, sparse=("s",), idf=idf)
    found = adopt("theirs", sparse="fake/sparse", store=store, settings=settings)
    assert found.manifest.legs["sparse"].needs_idf is idf
    assert found.notes == ("It has dense vectors too, which are not searched: no --dense was named.",)
    with Searcher.open("theirs", store=store, settings=settings) as searcher:
        for hit in searcher.search("the whale", explain=True):
            given = sum(term.contribution for term in hit.matched_terms)
            assert given == pytest.approx(hit.legs["sparse"].score, abs=1e-4)


# ---------------------------------------------------------------- what is refused


def test_a_model_that_did_not_write_the_vectors_is_refused(client, store, settings):
    write(client, sparse=("s",))
    with pytest.raises(StoreError, match=r"are not those of fake/dense-2: .* expected 0.99 or more.*--no-check"):
        adopt("theirs", dense="fake/dense-2", store=store, settings=settings)
    with pytest.raises(StoreError, match="sparse vectors 's' of 'theirs' are not those of fake/sparse-2"):
        adopt("theirs", sparse="fake/sparse-2", store=store, settings=settings)
    assert store.names() == []
    found = adopt("theirs", dense="fake/dense-2", check=False, store=store, settings=settings)
    assert "do not agree with fake/dense-2" in found.notes[0]
    assert store.names() == ["theirs"]
    # And what was said wrong is said anew.
    assert adopt("theirs", dense="fake/dense", store=store, settings=settings).agreement["dense"] > 0.999
    assert store.manifest("theirs").legs["dense"].model == "fake/dense"


@pytest.mark.parametrize("distance", [models.Distance.EUCLID, models.Distance.MANHATTAN])
def test_distances_that_are_less_where_it_is_better_are_refused(client, store, settings, distance):
    write(client, distance=distance)
    with pytest.raises(StoreError, match=f"compared by {distance.value}, where less is better"):
        adopt("theirs", dense="fake/dense", store=store, settings=settings)


def test_dot_products_are_searched(client, store, settings):
    write(client, distance=models.Distance.DOT)
    adopt("theirs", dense="fake/dense", store=store, settings=settings)
    with Searcher.open("theirs", store=store, settings=settings) as searcher:
        assert searcher.search("A recipe for a soup of fish.").hits[0].doc_id == "31"


def test_what_cannot_be_adopted(client, store, settings, tmp_path):
    write(client, "small", size=8)
    write(client, "empty", parts=[])
    write(client, "many")
    client.create_collection(
        "colbert",
        vectors_config=models.VectorParams(
            size=DIM,
            distance=COSINE,
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
        ),
    )
    client.upsert("colbert", [models.PointStruct(id=1, vector=[[1.0] * DIM] * 2, payload={"text": "x"})])
    how = {"dense": "fake/dense", "store": store, "settings": settings}
    Indexer.open("ours", sparse="none", **how).index([{"_id": "a", "text": "x"}])
    for name, kind, words in (
        ("small", StoreError, "have 8 dimensions, those of fake/dense 16"),
        ("empty", StoreError, "has no points yet"),
        ("colbert", StoreError, "many a point"),
        ("ours", InvalidArgument, "was made by hybrid-search"),
        ("nothing", CollectionNotFound, "nothing"),
    ):
        with pytest.raises(kind, match=words):
            adopt(name, **how)
    with pytest.raises(InvalidArgument, match=r"No model is named. Collection 'many' has dense vectors '' \(16 dim"):
        adopt("many", store=store, settings=settings)
    with pytest.raises(InvalidArgument, match="no sparse vectors for fake/sparse"):
        adopt("many", sparse="fake/sparse", store=store, settings=settings)
    with pytest.raises(UnknownModel):
        adopt("many", dense="fake/dnse", store=store, settings=settings)
    with pytest.raises(InvalidArgument, match="all its collections are ours"):
        adopt("many", dense="fake/dense", settings=settings)
    assert store.names() == ["ours"]


def test_what_was_adopted_is_only_read(client, store, settings, tmp_path):
    write(client)
    adopt("theirs", dense="fake/dense", store=store, settings=settings)
    before = client.scroll("theirs", limit=100, with_vectors=True)
    with pytest.raises(StoreError, match="was adopted: langchain writes it"):
        Indexer.open("theirs", store=store, settings=settings).index([{"_id": "a", "text": "x"}])
    with pytest.raises(StoreError, match="was adopted"):
        store.delete("theirs")
    with pytest.raises(StoreError, match="was adopted"):
        Indexer.open("theirs", store=store, settings=settings, replace=True, dense="fake/dense", sparse="none").index(
            [{"_id": "a", "text": "x"}]
        )
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    with pytest.raises(StoreError, match="was adopted: its points are somebody else's"):
        save_encodings("theirs", tmp_path / "saved.parquet", store=store, settings=settings)
    assert client.scroll("theirs", limit=100, with_vectors=True) == before


# ---------------------------------------------------------------- filters


@pytest.mark.parametrize("metadata", ["meta", ""], ids=["inside", "at the top"])
def test_filters_mean_there_what_they_say(client, store, settings, metadata):
    rng = seeded(8)
    made = [(n + 1, f"some text {n}", random_metadata(rng)) for n in range(80)]
    inside = lambda text, found: {"text": text, "meta": found} if metadata else {"text": text, **found}  # noqa: E731
    write(client, parts=made, payload=inside)
    adopt("theirs", dense="fake/dense", fields={"metadata": metadata, "title": ""}, store=store, settings=settings)
    reader = store.reader("theirs")
    payloads = reader.payloads([f"{n}#0" for n, *_ in made])
    assert all(payloads[f"{n}#0"]["metadata"] == found for n, _, found in made)
    vector, answered = np.ones(DIM, np.float32), 0
    for _ in range(150):
        condition = random_condition(rng)
        try:
            [found] = reader.retrieve([("dense", vector)], 1_000, condition)
        except InvalidArgument:
            continue  # no document has the field
        answered += 1
        assert {name for name, _ in found} == {name for name, one in payloads.items() if matches(condition, one)}, (
            condition
        )
    assert answered > 100
    assert "author.name" in reader.fields()


# ---------------------------------------------------------------- manifest, command line


def test_a_manifest_comes_back_as_it_was(client, store, settings):
    write(client, sparse=("s",))
    found = both(store, settings).manifest
    assert Manifest.from_dict(json.loads(json.dumps(found.to_dict()))) == found == store.manifest("theirs")
    assert found.schema == 3  # which earlier versions refuse, by name
    plain = Manifest("custom", {}, 0).to_dict()
    assert plain["schema"] == 2
    assert not {"layout", "adopted"} & plain.keys()


def test_an_alias_is_adopted_like_a_name(client, store, settings):
    write(client, "theirs-2026")
    alias = models.CreateAlias(collection_name="theirs-2026", alias_name="theirs")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    adopt("theirs", dense="fake/dense", store=store, settings=settings)
    assert store.names() == ["theirs", "theirs-2026"]
    with Searcher.open("theirs", store=store, settings=settings) as searcher:
        assert len(searcher.search("whale")) == len(PARTS)


def test_cosines_of_odd_vectors():
    nothing = SparseVector.of([], [])
    one = SparseVector.of([1, 2], [1.0, 2.0])
    assert cosine(one, one) == pytest.approx(1)
    assert cosine(one, nothing) == cosine(np.zeros(2), np.ones(2)) == cosine(one, np.ones(2)) == 0.0


def test_adopting_on_the_command_line(fakes, tmp_path, model_cache, monkeypatch, server_url):
    from typer.testing import CliRunner

    from hybrid_search.cli.app import app

    client = servers.client_of(server_url)
    write(client, sparse=("s",))
    client.close()
    monkeypatch.setenv("HYBRID_SEARCH_STORE", server_url)
    monkeypatch.setenv("HYBRID_SEARCH_CACHE_DIR", str(model_cache))
    monkeypatch.setenv("HYBRID_SEARCH_CONFIG", str(tmp_path / "empty.toml"))
    (tmp_path / "empty.toml").write_text("")

    def run(*arguments):
        return CliRunner().invoke(app, arguments)

    asked = ("collections", "adopt", "theirs", "--dense", "fake/dense")
    refused = run("search", "whale", "-c", "theirs")
    assert refused.exit_code == 3
    assert "hybrid-search collections adopt theirs --dense MODEL" in refused.stderr
    assert run(*asked[:3], "--dense", "fake/dense-2").exit_code == 3
    done = run(
        *asked, "--sparse", "fake/sparse", "--doc-id-field", "metadata.source", "--title-field", "metadata.source"
    )
    assert (done.exit_code, done.stdout) == (0, "")
    assert "Adopted 'theirs': 6 points, layout langchain, texts in 'page_content'" in done.stderr
    assert "sparse 1.0000, dense 1.0000" in done.stderr
    found = json.loads(run("search", "white whale", "-c", "theirs", "--format", "json").stdout)
    assert (found["mode"], found["hits"][0]["doc_id"], found["hits"][0]["title"]) == ("hybrid", "moby", "moby")
    listed = json.loads(run("collections", "list", "--format", "json").stdout)
    assert [(one["name"], one["documents"], one["chunks"]) for one in listed] == [("theirs", 3, 6)]
    assert run("collections", "delete", "theirs", "--yes").exit_code == 3
    shown = json.loads(run("collections", "show", "theirs").stdout)
    assert shown["manifest"]["adopted"]["doc_id"] == "metadata.source"
