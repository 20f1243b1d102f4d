"""What callers give: one thing where several are expected, and values of another type, are refused by name."""

from pathlib import Path

import numpy as np
import pytest

from hybrid_search import Indexer, Searcher, Sparsity, add_leg, delete_documents
from hybrid_search._util import arguments
from hybrid_search.collection.models import open_store_for
from hybrid_search.corpus.fields import FieldMap
from hybrid_search.corpus.readers import read
from hybrid_search.errors import FusionError, HybridSearchError, InvalidArgument

BOTH = {"sparse": "fake/both", "dense": "fake/both"}
ROWS = [{"_id": "a", "text": "red apples"}, {"_id": "b", "text": "green pears"}, {"_id": "abc", "text": "plums"}]

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.fixture
def fruit(settings):
    Indexer.open("fruit", settings=settings, **BOTH).index(ROWS)
    return settings


def documents(settings):
    return open_store_for(None, settings).info("fruit").documents


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("legs", "sparse", r"legs is 'sparse', one value where a list of texts is expected: write legs=\['sparse'\]"),
        ("legs", [None], r"legs\[0\] is None; it must be a text"),
        ("legs", {"sparse": 1}, "legs is {'sparse': 1}; it must be a list of texts"),
        ("profile", 3, "profile is 3; it must be a text"),
        ("profile", None, "profile is None"),
        ("sparse", 3, "sparse is 3; it must be a text"),
        ("dense", ["x"], r"dense is \['x'\]; it must be a text"),
        ("chunk_tokens", "128", "chunk_tokens is '128'; it must be a whole number"),
        ("chunk_tokens", True, "chunk_tokens is True"),
        ("chunk_tokens", 64.0, "chunk_tokens is 64.0"),
        ("overlap_tokens", -1, "overlap_tokens is -1; it must be 0 or more"),
        ("overlap_tokens", "8", "overlap_tokens is '8'"),
        ("replace", "no", "replace is 'no'; it must be True or False"),
        ("replace", 0, "replace is 0"),
        ("wait_s", "1", "wait_s is '1'; it must be a number of seconds >= 0"),
        ("wait_s", -1, "wait_s is -1"),
        ("wait_s", float("nan"), "wait_s is nan"),
    ],
)
def test_options_of_a_collection_to_fill(settings, option, value, message):
    with pytest.raises(InvalidArgument, match=message):
        Indexer.open("fruit", settings=settings, **{**BOTH, option: value}).index(ROWS)
    assert open_store_for(None, settings).names() == []


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("globs", "*.md", r"globs is '\*.md', one value where a list of texts is expected: write globs=\['\*.md'\]"),
        ("globs", [3], r"globs\[0\] is 3"),
        ("globs", None, "globs is None"),
        ("prune", "yes", "prune is 'yes'; it must be True or False"),
        ("prune", 1, "prune is 1"),
        ("dry_run", "no", "dry_run is 'no'"),
        ("workers", "2", "workers is '2'"),
        ("workers", True, "workers is True"),
        ("workers", 1.0, "workers is 1.0"),
        ("workers", 0, "workers is 0"),
        ("max_memory", "2GB", "max_memory is '2GB'; it must be a whole number"),
        ("max_memory", 0, "max_memory is 0; it must be 1 or more"),
        ("fields", "title", "fields is 'title'; it must be a FieldMap"),
        ("fields", {"id_field": "sku"}, "fields is {'id_field': 'sku'}; it must be a FieldMap"),
    ],
)
def test_options_of_an_index_job(fruit, tmp_path, option, value, message):
    (tmp_path / "a.md").write_text("plums")
    for source in (ROWS[:1], [tmp_path]):
        with pytest.raises(InvalidArgument, match=message):
            Indexer.open("fruit", settings=fruit).index(source, **{option: value})
    assert documents(fruit) == 3


@pytest.mark.parametrize("source", [None, 3, True, b"notes", bytearray(b"x"), object(), {"_id": "a", "text": "x"}])
def test_sources_that_are_none(fruit, source):
    with pytest.raises(InvalidArgument, match="The source is "):
        Indexer.open("fruit", settings=fruit).index(source)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (b"notes", r"sources is b'notes', one value where a list of paths is expected"),
        ({"a": 1}, "it must be a list of paths"),
        ([3], r"sources\[0\] is 3; it must be a path"),
        ([None], r"sources\[0\] is None"),
        ("notes", "must be a list of paths, not the one path 'notes'"),
        (Path("notes"), "must be a list of paths, not the one path 'notes'"),
    ],
)
def test_sources_are_a_list_of_paths(sources, message):
    with pytest.raises(InvalidArgument, match=message):
        read(sources)


@pytest.mark.parametrize(
    "given",
    [{"text_fields": "title"}, {"text_fields": [3]}, {"id_field": 3}, {"title_field": ["t"]}, {"id_field": b"x"}],
)
def test_fields_are_named_by_texts(given):
    with pytest.raises(InvalidArgument, match=next(iter(given))):
        FieldMap(**given)
    assert FieldMap(text_fields=["title", "body"]).text_fields == ("title", "body")


@pytest.mark.parametrize("doc_ids", ["abc", b"abc", [1], ["a", None], {"a": 1}, 3])
def test_ids_to_remove_are_a_list_and_nothing_is_removed_where_they_are_not(fruit, doc_ids):
    with pytest.raises(InvalidArgument, match="doc_ids"):
        delete_documents("fruit", doc_ids, settings=fruit)
    assert documents(fruit) == 3
    assert delete_documents("fruit", (doc_id for doc_id in ["a", "nobody"]), settings=fruit) == 1
    assert delete_documents("fruit", {"b"}, settings=fruit) == 1


@pytest.mark.parametrize("name", [None, 3, b"fruit", ["fruit"], "", "a b", "x" * 121])
def test_names_of_collections(settings, name):
    for call in (
        lambda: Indexer.open(name, settings=settings),
        lambda: Searcher.open(name, settings=settings),
        lambda: delete_documents(name, ["a"], settings=settings),
    ):
        with pytest.raises(InvalidArgument, match="Collection name"):
            call()


def test_a_context_takes_a_whole_number_of_tokens(fruit):
    with Searcher.open("fruit", settings=fruit) as searcher:
        results = searcher.search("apples")
    for value in ("300", True, 2.5, None, -1, float("nan")):
        with pytest.raises(InvalidArgument, match="max_tokens is "):
            results.to_context(value)
    with pytest.raises(InvalidArgument, match="citations is 'no'"):
        results.to_context(300, citations="no")
    assert results.to_context(np.int64(300)).text


def test_a_message_shows_a_value_on_one_line_and_not_long():
    class Odd:
        def __repr__(self):
            raise RuntimeError("no")

    for value, said in (("a\nb" * 100, "'a\\nba"), (Odd(), "a Odd"), ("x" * 1_000, "xxx…"), (10**5000, "a int")):
        with pytest.raises(InvalidArgument) as caught:
            arguments.whole("k", value, 1, 3)
        message = str(caught.value)
        assert said in message
        assert "\n" not in message
        assert len(message) < 160


def test_weights_that_are_invalid_are_invalid_arguments_too():
    assert issubclass(FusionError, InvalidArgument)
    assert issubclass(InvalidArgument, (HybridSearchError, ValueError))


def test_lists_that_do_not_go_together():
    with pytest.raises(InvalidArgument, match="There are 2 documents, but 1 ids"):
        arguments.same_length(["a", "b"], "documents", ids=["1"], others=None)
    arguments.distinct("ids", ["a", "b"])
    with pytest.raises(InvalidArgument, match=r"ids\[2\] is 'a', as ids\[0\] is"):
        arguments.distinct("ids", ["a", "b", "a"])


@pytest.mark.parametrize(
    "given",
    [
        {"max_active_dims": "60"},
        {"max_active_dims": 60},
        {"max_active_dims": (60,)},
        {"max_active_dims": ("6", 0)},
        {"max_active_dims": (True, 0)},
        {"max_active_dims": (-1, 0)},
        {"min_weight": (0.0, float("nan"))},
        {"min_weight": (None, 0.0)},
        {"min_weight": (-0.1, 0.0)},
    ],
)
def test_limits_of_sparse_vectors_are_two_numbers(given):
    with pytest.raises(InvalidArgument, match=next(iter(given))):
        Sparsity(**given)


@pytest.mark.parametrize("leg", [None, 3, ["new"], b"new", "New", ""])
def test_a_leg_s_name_is_a_text(fruit, leg):
    with pytest.raises(InvalidArgument, match="leg cannot be called"):
        add_leg("fruit", leg, "fake/dense", settings=fruit)
