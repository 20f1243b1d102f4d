"""Each check on values of its own: installs, model files, how models read, searches for a known chunk, segments."""

import importlib.metadata
import uuid
from dataclasses import replace

import pytest

from hybrid_search.diagnostics import install, model_files
from hybrid_search.diagnostics.collection_models import check_reading
from hybrid_search.diagnostics.collection_points import check_idf, check_searches, check_segments, check_vectors
from hybrid_search.diagnostics.diagnosis import Diagnosis, Report, guarded
from hybrid_search.encoders import hub
from hybrid_search.encoders.bundled.package import OWN_FOLDER
from hybrid_search.encoders.catalog import card
from hybrid_search.encoders.term_cards import WORDS
from hybrid_search.manifest import Layout, LegSpec, Manifest
from hybrid_search.protocols import Reading
from hybrid_search.store.survey import PROBE_DEPTH, Probe, Survey, probe_legs, scan_points
from hybrid_search.types import SparseVector, point_id_of
from tests.fake_models import FAKE_CARDS, FakeSparse

CARDS_BY_NAME = {one.name: one for one in FAKE_CARDS}
LEGS = {"sparse": LegSpec("m", "f"), "dense": LegSpec("m", "f", dim=384)}
SURVEY = Survey(Manifest("custom", LEGS, 256), 1_000, 500, {"sparse": 1_000, "dense": 1_000}, {"sparse": False})


def states(diagnoses):
    return [one.state for one in diagnoses]


@pytest.fixture
def distribution(monkeypatch):
    """What is installed, and what the package asks for; both may be changed."""
    here = {"numpy": "2.0", "rich": "13.9", "accelerate": "1.0"}
    asked = ["numpy>=1.26", "rich<15,>=13.9", 'tomli>=2; python_version < "3.0"', 'accelerate>=1; extra == "train"']
    asked += ['datasets>=3; extra == "train"', 'torch>=2; extra == "train"', 'torch>=2; extra == "torch"']

    def version(name):
        if name not in here:
            raise importlib.metadata.PackageNotFoundError(name)
        return here[name]

    class Metadata(dict):
        def get_all(self, name):
            return ["train", "torch"]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: asked)
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: Metadata({"Requires-Python": ">=3.10"}))
    return here


def test_packages_that_fit_are_no_fault(distribution):
    assert states(install.check_packages()) == ["ok"]
    assert states(install.check_python()) == ["ok"]


def test_a_package_that_is_not_installed_is_unchecked(distribution, tmp_path):
    """It runs from a checkout, say."""
    checks = {one.check: one.state for one in install.check_install(tmp_path, None)}
    assert checks["packages"] == "unchecked"
    assert "python" not in checks
    distribution["hybrid-search-qdrant"] = "0.1"
    checks = {one.check: one.state for one in install.check_install(tmp_path, None)}
    assert (checks["packages"], checks["python"]) == ("ok", "ok")


@pytest.mark.parametrize(("name", "version"), [("numpy", "1.0"), ("rich", "16.1"), ("numpy", None)])
def test_packages_that_are_missing_or_do_not_fit_are_named(distribution, name, version):
    distribution.pop(name)
    if version:
        distribution[name] = version
    (one,) = install.check_packages()
    assert (one.state, name in one.text, version is None or version in one.text) == ("problem", True, True)
    assert one.command.startswith("pip install")


def test_another_python_is_a_problem(distribution, monkeypatch):
    monkeypatch.setattr(install.platform, "python_version", lambda: "3.8.2")
    (one,) = install.check_python()
    assert one.state == "problem"
    assert "3.8.2" in one.text


def test_an_extra_that_is_there_in_part_is_told(distribution):
    """Of `train` one of the two packages that only it brings is there; `torch`, of which nothing is, was not wanted."""
    found = list(install.check_extras())
    assert states(found) == ["warning", "ok"]
    assert "train" in found[0].command
    distribution.update(datasets="3.0", torch="2.5")
    assert states(install.check_extras()) == ["ok"]
    for name in ("accelerate", "datasets"):
        del distribution[name]
    assert states(install.check_extras()) == ["ok"]


def test_a_folder_that_cannot_be_made_is_a_problem(tmp_path):
    (tmp_path / "file").touch()
    assert states(install.check_folder("cache", tmp_path / "file" / "models")) == ["problem"]
    assert states(install.check_folder("cache", tmp_path / "new" / "models")) == ["ok"]
    assert not (tmp_path / "new").exists()


def test_little_room_is_a_warning(tmp_path, monkeypatch):
    assert states(install.check_disk("store", tmp_path)) in (["ok"], ["warning"])
    monkeypatch.setattr(install, "LOW_DISK", 1 << 62)
    monkeypatch.setattr(install, "LOW_MEMORY", 1 << 62)
    assert states([*install.check_disk("store", tmp_path), *install.check_memory()]) == ["warning", "warning"]


def test_the_bundled_model_is_the_one_that_was_made():
    assert states(model_files.check_own_files(OWN_FOLDER)) == ["ok"]


def test_damaged_and_missing_files_of_the_bundled_model_are_told(tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((OWN_FOLDER / "tokenizer.json").read_bytes()[:-1] + b"!")
    found = list(model_files.check_own_files(tmp_path))
    assert states(found) == ["problem", "problem"]
    assert "is missing" in found[0].text
    assert "other bytes" in found[1].text


def test_damaged_files_of_a_cached_model_are_told(monkeypatch, tmp_path):
    check = hub.FileCheck("model.onnx", tmp_path, 1, "", True)
    model = card("prithivida/Splade_PP_en_v1", "sparse")
    monkeypatch.setattr(hub, "verify", lambda *_: [check, check._replace(sound=None)])
    assert states(model_files.check_cached(model, tmp_path)) == ["ok"]
    monkeypatch.setattr(hub, "verify", lambda *_: [check, check._replace(sound=False)])
    (one,) = model_files.check_cached(model, tmp_path)
    assert (one.state, one.command) == ("problem", "hybrid-search models download prithivida/Splade_PP_en_v1")


@pytest.mark.parametrize("answers", [True, False])
def test_a_hub_that_does_not_answer_is_information(monkeypatch, answers):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub, "hub_answers", lambda: answers)
    (one,) = model_files.check_hub()
    assert one.state == "ok"
    assert ("does not answer" in one.text) is not answers


@pytest.mark.parametrize(("long", "expected"), [(0, "ok"), (4, "ok"), (5, "warning"), (100, "warning")])
def test_truncated_chunks_are_counted(long, expected):
    encoder = FakeSparse(CARDS_BY_NAME["fake/sparse-2"])
    texts = ["word " * 30] * long + ["short"] * (100 - long)
    (one,) = check_reading("c", "sparse", LegSpec("m", "f", max_tokens=20), encoder, texts, "index")
    assert (one.check, one.state) == ("truncated chunks", expected)
    assert f"{long}%" in one.text


def test_tokens_that_no_model_knows_are_counted():
    class Knows(FakeSparse):
        def readings(self, texts):
            return [Reading(10, 9 if "漢" in text else 0) for text in texts]

        def reading_of_query(self, text):
            raise NotImplementedError

    encoder = Knows(CARDS_BY_NAME["fake/sparse"])
    for texts, expected in ((["a"] * 9, "ok"), (["a", "漢字"], "warning"), ([], "ok")):
        (one,) = check_reading("c", "sparse", LegSpec("m", "f"), encoder, texts, "index")
        assert (one.check, one.state) == ("unknown tokens", expected)


@pytest.mark.parametrize(
    ("model", "is_adopted", "needed", "stored", "expected"),
    [
        ("Qdrant/bm25", True, False, False, "problem"),  # its manifest says what the store does
        ("Qdrant/bm25", True, True, True, "ok"),
        ("prithivida/Splade_PP_en_v1", True, True, True, "problem"),
        ("prithivida/Splade_PP_en_v1", True, False, False, "ok"),
        ("Qdrant/bm25", False, False, False, "ok"),  # imported, with the frequencies in the weights
        ("Qdrant/bm25", False, True, False, "problem"),
        ("Qdrant/bm25", False, False, True, "problem"),
        (WORDS, False, True, True, "ok"),  # weights that came with the documents
        (WORDS, False, False, False, "ok"),
        ("gone/model", False, True, False, "problem"),
    ],
)
def test_the_idf_modifier_is_compared_in_both_directions(model, is_adopted, needed, stored, expected):
    legs = {"sparse": LegSpec(model, "f", needs_idf=needed, vector="s")}
    manifest = Manifest("custom", legs, 256, adopted=Layout("langchain", "page_content") if is_adopted else None)
    (one,) = check_idf("c", "c", replace(SURVEY, manifest=manifest, idf={"s": stored}))
    assert (one.state, bool(one.command)) == (expected, expected == "problem")
    (lost,) = check_idf("c", "c", replace(SURVEY, manifest=manifest, idf={}))
    assert lost.state == "problem"


def test_a_sparse_leg_may_lack_some_vectors_and_a_dense_one_none():
    def judged(sparse, dense):
        return states(check_vectors("c", "c", replace(SURVEY, vectors={"sparse": sparse, "dense": dense})))

    assert judged(1_000, 1_000) == ["ok", "ok"]
    assert judged(999, 999) == ["ok", "problem"]
    assert judged(500, 1_000) == ["warning", "ok"]
    assert judged(0, 0) == ["problem", "problem"]


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        (Probe("dense", "a#0", 1, 1.0, None), "ok"),
        (Probe("dense", "a#0", 40, 1.0, 1.0), "ok"),  # forty times the same text
        (Probe("dense", "a#0", 0, 1.0, 1.0), "ok"),  # more often than the list is long
        (Probe("dense", "a#0", 0, 1.0, 0.5), "problem"),
        (Probe("dense", "a#0", 0, 1.0, None), "problem"),
        (Probe("dense", "a#0", 0, None, None), "problem"),
        (Probe("dense", "a#0", 1, 0.2, None), "problem"),
        (Probe("sparse", "a#0", 7, 3.0, None), "ok"),
        (Probe("sparse", "a#0", 0, 3.0, 4.0), "ok"),  # others weigh more
        (Probe("sparse", "a#0", 0, 3.0, 2.0), "problem"),
        (Probe("sparse", "a#0", 0, None, 2.0), "problem"),
    ],
)
def test_a_known_chunk_has_to_be_where_its_score_puts_it(probe, expected):
    found = list(check_searches("c", "c", replace(SURVEY, probes=[probe])))
    assert {one.state for one in found if one.text.startswith(probe.leg)} == {expected}


def test_a_leg_is_searched_by_a_vector_that_it_holds():
    points = {point_id_of(f"d#{number}"): f"d#{number}" for number in range(30)}
    vector = SparseVector.of([1], [2.0])
    third = list(points)[3]

    def search(leg, asked, limit, only):
        return [(third, 4.0)] if only == third else [(uuid.uuid4(), 9.0)] * limit

    probes = probe_legs(
        ["sparse", "dense"], points, lambda leg, ids: {third: vector} if leg == "sparse" else {}, search
    )
    assert probes == [Probe("sparse", "d#3", 0, 4.0, 9.0)]
    assert PROBE_DEPTH == 100


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"segments": 8, "indexed": 1_000}, "ok"),
        ({"segments": 1, "indexed": 0, "points": 100_000}, "ok"),
        ({"segments": 4, "indexed": 0, "vectors": {"sparse": 0, "dense": 100_000}}, "warning"),
        ({"segments": 400, "indexed": 2_000}, "warning"),
        ({"segments": 1, "indexed": 2_000, "trouble": "it is being optimized"}, "warning"),
        ({}, "unchecked"),
    ],
)
def test_segments_are_judged(changes, expected):
    assert check_segments("c", "c", replace(SURVEY, **changes)).state == expected


def test_a_scan_that_stops_early_says_nothing_of_documents():
    points = [
        (point_id_of(f"d#{number}"), {"chunk_id": f"d#{number}", "doc_id": "d", "number": number}) for number in (1, 2)
    ]
    assert scan_points(points, 1).headless == 0
    assert scan_points(points).headless == 1
    assert scan_points(points, 2).headless == 1


@pytest.mark.parametrize(
    "payload", [{}, {"chunk_id": 1}, {"chunk_id": "a#0", "doc_id": "a", "number": "0"}, {"chunk_id": None}]
)
def test_any_odd_payload_is_foreign(payload):
    assert scan_points([(uuid.uuid4(), payload)]).foreign == 1


def test_a_survey_survives_json():
    full = replace(SURVEY, scan=scan_points([]), probes=[Probe("dense", "a#0", 1, 1.0, None)], sample=[{"text": "é"}])
    assert Survey.from_dict(full.to_dict()) == full


def test_what_a_check_found_before_it_broke_is_kept():
    def check():
        yield Diagnosis("a", "b", "ok", "at http://user:secret@host:6333")
        raise KeyError("x")

    first, second = guarded("a", "b", check)
    assert "secret" not in first.text
    assert (second.state, second.text) == ("unchecked", "KeyError: 'x'")
    assert not Report([first, second]).found
