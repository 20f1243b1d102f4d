"""CIFF out and in: what the library of Protocol Buffers reads and writes, and damage, memory and interruptions."""

import errno
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from hybrid_search.errors import CorpusError, InvalidArgument, StoreFull
from hybrid_search.indexer import Indexer
from hybrid_search.interop.ciff import reader, stream, turning
from hybrid_search.interop.ciff.reader import CiffFile
from hybrid_search.interop.ciff.wire import varint
from hybrid_search.interop.export import ciff, formats
from hybrid_search.interop.export.job import ExportOptions
from hybrid_search.interop.export.run import export_collection
from hybrid_search.interop.export.source import open_source
from hybrid_search.interop.import_ciff import import_ciff
from hybrid_search.searcher import Searcher
from hybrid_search.store.edge.store import EdgeStore
from hybrid_search.types import Document
from tests.conftest import ROOT
from tests.interop import ciff_messages as proto

WORDS = ["river", "stone", "apple", "cloud", "winter", "garden", "copper", "window", "letter", "ocean"]
SMALL = {"a": {"river": 3, "stone": 200}, "b": {}, "c": {"river": 1, "##s": 300, "ärger.": 70_000}}


def texts(count):
    """Documents of one chunk and of several, one without a word, and ids that have to be escaped."""
    random = np.random.default_rng(5)
    found = [Document(f"d{n}", " ".join(random.choice(WORDS, 3 + 9 * (n % 5)))) for n in range(count)]
    return [*found, Document("漢 字#2", "漢字 …"), Document("100%25", "river")]


@pytest.fixture
def built(settings, fakes):
    models = {"sparse": "fake/sparse-2", "dense": "none"}
    Indexer.open("c", settings=settings, **models).index(texts(30))
    return settings


@pytest.fixture
def asked(jsonl):
    return jsonl([{"_id": str(n), "text": f"{word} {WORDS[n - 3]}"} for n, word in enumerate(WORDS)], "queries.jsonl")


@pytest.fixture
def few_at_once(monkeypatch):
    """Ranges of few postings, lists that are longer than those, and messages in several windows."""
    for module in (turning, ciff):
        monkeypatch.setattr(module, "AT_ONCE", 16)
    monkeypatch.setattr(reader, "WIDTH", 3)
    monkeypatch.setattr(stream, "WINDOW", 64)
    monkeypatch.setattr(reader, "_SHORT", 40)


def written(documents, folder):
    """The file that is written of documents, `{id: {term: impact}}`."""
    job = SimpleNamespace(
        folder=SimpleNamespace(partial=folder, write=lambda name, parts: (folder / name).write_bytes(b"".join(parts))),
        chunks=lambda: (SimpleNamespace(export_id=doc_id) for doc_id in documents),
        document_weights=lambda chunk: documents[chunk.export_id],
        options=ExportOptions(),
        facts={},
    )
    ciff.write(job)
    return folder / ciff.INDEX


def read_back(path):
    with CiffFile(path) as file:
        return {found.doc_id: dict(found.weights) for found in file.documents()}


# ---------------------------------------------------------------- out


def test_every_posting_is_the_quantised_weight_and_every_byte_that_of_the_library(built, tmp_path, asked):
    report = export_collection("c", "ciff", tmp_path / "out", options=ExportOptions(queries=asked), settings=built)
    data = (tmp_path / "out" / "index.ciff").read_bytes()
    header, lists, records = proto.read(data)
    assert proto.file_of([header, *lists, *records]) == data
    source = open_source("c", built)
    expected = {
        chunk.export_id: dict(
            zip(chunk.terms, np.rint(chunk.weights * report["scale"]).astype(int).tolist(), strict=True)
        )
        for chunk in source.chunks()
    }
    source.close()
    assert proto.weights(lists, records) == expected
    assert max(max(weights.values(), default=0) for weights in expected.values()) == 255
    assert [one.term for one in lists] == sorted(term for term in {t for w in expected.values() for t in w})
    assert [record.docid for record in records] == list(range(len(records)))
    assert report["postings"] == sum(one.df for one in lists) == report["weights"]
    assert {"d4#0", "d4#1", "100%2525", "漢%20字%232"} <= set(expected)


def test_the_sums_are_those_that_readers_check(built, tmp_path):
    """As `ReadCIFF` does: the lengths and the frequencies both sum to what the header says."""
    export_collection("c", "ciff", tmp_path / "out", settings=built)
    header, lists, records = proto.read((tmp_path / "out" / "index.ciff").read_bytes())
    assert (header.version, header.total_docs, header.total_postings_lists) == (1, len(records), len(lists))
    assert header.total_terms_in_collection == sum(record.doclength for record in records)
    assert header.total_terms_in_collection == sum(posting.tf for one in lists for posting in one.postings)
    assert header.average_doclength == header.total_terms_in_collection / len(records)
    assert all((one.df, one.cf) == (len(one.postings), sum(p.tf for p in one.postings)) for one in lists)


def test_rankings_survive(built, tmp_path, asked):
    options = ExportOptions(queries=asked, verify=True)
    report = export_collection("c", "ciff", tmp_path / "out", options=options, settings=built)
    assert report["verify"]["queries"] == 10
    assert report["verify"]["overlap@10"] > 0.95
    topics = (tmp_path / "out" / "topics.tsv").read_text().splitlines()
    assert len(topics) == 10
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "index.ciff",
        "queries.jsonl",
        "report.json",
        "topics.jsonl",
        "topics.tsv",
    ]


@pytest.mark.slow
def test_the_first_ten_of_cranfield_survive_eight_bits(settings, tmp_path, shared_collections):
    corpus = shared_collections / "cranfield"
    Indexer.open("cran", settings=settings, profile="bundled").index(corpus / "corpus.jsonl")
    options = ExportOptions(queries=corpus / "queries.jsonl", verify=True)
    report = export_collection("cran", "ciff", tmp_path / "out", options=options, settings=settings)
    assert report["verify"]["overlap@10"] >= 0.99


def test_a_file_that_ranks_otherwise_is_found_out(built, tmp_path, asked, monkeypatch):
    def turned(folder):
        ids, weights = zip(*ciff.documents(folder), strict=True)
        return zip(ids, weights[1:] + weights[:1], strict=True)

    monkeypatch.setitem(formats.FORMATS, "ciff", ciff.FORMAT._replace(documents=turned))
    options = ExportOptions(queries=asked, verify=True)
    report = export_collection("c", "ciff", tmp_path / "out", options=options, settings=built)
    assert report["verify"]["overlap@10"] < 0.9


def test_floats_are_refused_before_anything_is_written(built, tmp_path):
    with pytest.raises(InvalidArgument, match="quantize is 'none', and ciff holds whole numbers only"):
        export_collection("c", "ciff", tmp_path / "out", options=ExportOptions(quantize="none"), settings=built)
    assert not list(tmp_path.glob("out*"))


def test_impacts_whose_sum_leaves_31_bits_are_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="impacts of 'a' sum to 2,147,483,648"):
        written({"a": {"x": 2**31 - 1, "y": 1}}, tmp_path)


@pytest.mark.parametrize("documents", [{}, {"a": {}}, {"a": {}, "b": {}}])
def test_a_collection_without_a_weight_is_a_file_without_lists(documents, tmp_path):
    path = written(documents, tmp_path)
    header, lists, records = proto.read(path.read_bytes())
    assert (header.num_docs, lists, len(records)) == (len(documents), [], len(documents))
    assert read_back(path) == documents


def test_interrupted_it_leaves_no_file_and_goes_through_again(built, tmp_path, monkeypatch):
    whole = export_collection("c", "ciff", tmp_path / "whole", settings=built)
    seen = []

    def stop(*arguments):
        seen.append(arguments)
        if len(seen) == 20:
            raise KeyboardInterrupt
        return real(*arguments)

    real = ciff.document_message
    monkeypatch.setattr(ciff, "document_message", stop)
    with pytest.raises(KeyboardInterrupt):
        export_collection("c", "ciff", tmp_path / "out", settings=built)
    assert [path.name for path in (tmp_path / "out.partial").iterdir()] == ["state.json"]
    assert not (tmp_path / "out").exists()
    assert export_collection("c", "ciff", tmp_path / "out", settings=built) == whole
    assert (tmp_path / "out" / "index.ciff").read_bytes() == (tmp_path / "whole" / "index.ciff").read_bytes()


class FullFile:
    """A temporary file on a disk that is full after so many bytes."""

    def __init__(self, room):
        self._file, self._room = io.BytesIO(), room

    def write(self, data):
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)

    def close(self):
        """Fail as a file does that cannot write what it still holds."""
        self._file.close()
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.mark.parametrize("room", [0, 100, 1000, 2000])
def test_a_full_disk_is_said_wherever_it_fills(built, tmp_path, monkeypatch, few_at_once, room):
    monkeypatch.setattr(turning.tempfile, "TemporaryFile", lambda dir=None: FullFile(room))
    with pytest.raises(StoreFull, match="No space left"):
        export_collection("c", "ciff", tmp_path / "out", settings=built)
    assert not (tmp_path / "out").exists()
    path = tmp_path / "big.ciff"
    path.write_bytes(proto.file_of(proto.index({f"d{n}": dict.fromkeys(WORDS, 1) for n in range(100)})))
    with pytest.raises(StoreFull, match="No space left"):
        import_ciff("c2", path, settings=built)
    assert "c2" not in EdgeStore(built.store).names()


# ---------------------------------------------------------------- out and in again

TERMS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
IMPACTS = st.one_of(st.integers(1, 300), st.integers(1, 2**26))
DOCUMENTS = st.dictionaries(TERMS, st.dictionaries(st.one_of(TERMS, st.just("")), IMPACTS, max_size=12), max_size=12)


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(documents=DOCUMENTS)
def test_what_is_written_is_what_is_read(documents, tmp_path, few_at_once):
    path = written(documents, tmp_path)
    assert proto.weights(*proto.read(path.read_bytes())[1:]) == documents
    assert read_back(path) == documents


@pytest.mark.parametrize("many", [True, False])
def test_frequent_terms_are_written_and_read_in_pieces(tmp_path, monkeypatch, request, many):
    """Lists over several windows and ranges, gaps and impacts of every length, a first document 0."""
    if many:
        request.getfixturevalue("few_at_once")
    random = np.random.default_rng(3)
    documents = {f"d{n}": {} for n in range(700)}
    for n in range(700):
        for term, share in (("all", 1), ("half", 0.5), ("rare", 0.02)):
            if random.random() < share:
                documents[f"d{n}"][term] = int(2 ** random.uniform(0, 21))
    path = written(documents, tmp_path)
    header, lists, records = proto.read(path.read_bytes())
    assert proto.file_of([header, *lists, *records]) == path.read_bytes()
    assert proto.weights(lists, records) == documents == read_back(path)


@pytest.mark.parametrize(
    "gap", [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455, 268_435_456, 2**31 - 1]
)
def test_numbers_of_every_length_are_the_librarys(gap):
    from hybrid_search.interop.ciff.messages import posting_bytes, posting_sizes

    gaps, impacts = np.array([0, gap, 1], np.int32), np.array([gap, 1, gap], np.int32)
    one = proto.PostingsList()
    for found, impact in zip(gaps.tolist(), impacts.tolist(), strict=True):
        one.postings.add(docid=found, tf=impact)
    assert posting_bytes(gaps, impacts).tobytes() == one.SerializeToString()
    assert posting_sizes(gaps, impacts).sum() == one.ByteSize()


@pytest.mark.parametrize("quantize", ["8bit", "splade", "37.5"])
def test_out_in_and_out_again_gives_the_same_bytes(built, tmp_path, quantize, few_at_once):
    options = ExportOptions(quantize=quantize)
    exported = export_collection("c", "ciff", tmp_path / "out", options=options, settings=built)
    said = []
    report = import_ciff("again", tmp_path / "out" / "index.ciff", model="auto", settings=built, on_report=said.append)
    assert (report.documents, report.chunks, report.failed) == (32, exported["chunks"], 0)
    assert said[0].passages
    export_collection("again", "ciff", tmp_path / "twice", options=options, settings=built)
    assert (tmp_path / "out" / "index.ciff").read_bytes() == (tmp_path / "twice" / "index.ciff").read_bytes()
    assert import_ciff("again", tmp_path / "out" / "index.ciff", model="auto", settings=built).unchanged == 32


# ---------------------------------------------------------------- in


@pytest.fixture
def file(tmp_path):
    """Write a file of messages or bytes; gives its path."""

    def write(messages, name="index.ciff"):
        path = tmp_path / name
        path.write_bytes(messages if isinstance(messages, bytes) else proto.file_of(messages))
        return path

    return write


def test_an_index_of_another_engine_is_searched(file, settings):
    report = import_ciff("c", file(proto.index(SMALL)), settings=settings)
    assert (report.documents, report.passed_over) == (3, {"empty vectors, which no sparse query finds": 1})
    with Searcher.open("c", settings=settings) as searcher:
        assert [(hit.doc_id, hit.score) for hit in searcher.search("river")] == [("a", 3.0), ("c", 1.0)]
        [hit] = searcher.search("stone")
    assert hit.passages[0].text == ""


UNKNOWN = (
    bytes([15 << 3, 7, 14 << 3 | 2, 3]) + b"xyz" + bytes([13 << 3 | 5]) + b"1234" + bytes([12 << 3 | 1]) + b"8" * 8
)
"""Fields of every type that nobody knows."""


def odd(messages):
    """The same index as others may write it: terms in any order, fields in any order, and some that nobody knows."""
    header, *rest = messages
    lists = [one for one in rest if isinstance(one, proto.PostingsList)]
    records = [one for one in rest if isinstance(one, proto.DocRecord)]
    changed = []
    for one in reversed(lists):
        postings = b""
        for posting in one.postings:
            fields = bytes([2 << 3]) + varint(posting.tf), UNKNOWN, bytes([1 << 3]) + varint(posting.docid)
            postings += b"\x22" + proto.delimited(b"".join(fields))
        del one.postings[:]
        changed.append(postings + UNKNOWN + one.SerializeToString())
    return [header, *changed, *(one.SerializeToString() + UNKNOWN for one in records)]


@pytest.mark.parametrize("windows", [True, False])
def test_what_engines_do_not_agree_on_is_taken_as_it_comes(file, request, windows):
    if windows:
        request.getfixturevalue("few_at_once")
    documents = {**SMALL, **{f"d{n}": {"river": 1 + n % 300, "c": 5} for n in range(300)}}
    assert read_back(file(odd(proto.index(documents)))) == documents


def test_a_packed_file_is_read(file):
    plain = proto.file_of(proto.index(SMALL))
    assert read_back(file(gzip.compress(plain), "index.ciff.gz")) == SMALL
    with pytest.raises(CorpusError, match=r"cut\.ciff\.gz, byte .*cannot be read"):
        read_back(file(gzip.compress(plain)[:-30], "cut.ciff.gz"))
    with pytest.raises(CorpusError, match=r"not\.ciff\.gz, byte 0: it cannot be read"):
        read_back(file(plain, "not.ciff.gz"))


def test_frequencies_of_0_are_no_weights(file, settings):
    header, *rest = proto.index({"a": {"x": 1, "y": 2}, "b": {"x": 3}})
    rest[0].postings[0].ClearField("tf")
    report = import_ciff("c", file([header, *rest]), settings=settings)
    assert report.passed_over == {"weights of 0": 1}


def test_a_scale_divides_and_a_report_of_another_format_is_not_heeded(file, settings, tmp_path):
    (tmp_path / "report.json").write_text(
        json.dumps({"format": "anserini", "model": "none", "scale": 9, "idf": "none"})
    )
    import_ciff("c", file(proto.index(SMALL)), scale=2, settings=settings)
    with Searcher.open("c", settings=settings) as searcher:
        assert [(hit.doc_id, hit.score) for hit in searcher.search("river")] == [("a", 1.5), ("c", 0.5)]


def with_header(**values):
    return lambda: proto.index(SMALL, **values)


def changed(change):
    """The small index after a change of its lists (by term) and records (by place)."""

    def make():
        header, *rest = proto.index(SMALL)
        lists = {one.term: one for one in rest if isinstance(one, proto.PostingsList)}
        records = [one for one in rest if isinstance(one, proto.DocRecord)]
        change(lists, records)
        return [header, *lists.values(), *records]

    return make


def twice(lists, records):
    lists["river"].postings[1].docid = 0


def shorter(lists, records):
    del lists["river"].postings[1]


def set_to(value, *names):
    def change(lists, records):
        of = lists["river"] if names[0] != "record" else records[1]
        for name in names[1:-1]:
            of = getattr(of, name)
            of = of[-1] if name == "postings" else of
        setattr(of, names[-1], value)

    return change


def raw(start):
    """The small index with other bytes for its first list."""

    def make():
        header, _, *rest = proto.index(SMALL)
        return [header, start, *rest]

    return make


BEGUN = proto.delimited(proto.Header(version=1, num_postings_lists=1)) + b"\xff\xff\xff\xff\x07"
"""A header, and the length of the longest list that may be."""

DAMAGES = {
    "empty": (lambda: b"", "byte 0: the file ends where the header was expected"),
    "text": (lambda: b'{"id": "1", "contents": "text"}\n' * 9, "byte 1: field 4 of type 2 in the header"),
    "gzip": (lambda: gzip.compress(b"text" * 99), "byte"),
    "zeros": (lambda: b"\0" * 99, "byte 0: version 0 of CIFF, expected 1"),
    "long length": (lambda: b"\xff" * 40, "byte 0: the length of the header has more than 5 bytes"),
    "version": (with_header(version=2), "byte 0: version 2 of CIFF, expected 1"),
    "too few lists": (with_header(num_postings_lists=3), "byte"),
    "too many lists": (with_header(num_postings_lists=5), "byte"),
    "too few documents": (with_header(num_docs=2), "a posting of document 2, and there are 2"),
    "too many documents": (with_header(num_docs=4), "the file ends where the record of document 3 of 4 was expected"),
    "negative": (with_header(num_docs=-1), "byte 6: a number of the header is -1, expected 0 to 2,147,483,647"),
    "huge": (with_header(num_docs=2**31 - 1), "the file ends where the record of document 3 of 2,147,483,647"),
    "behind": (lambda: proto.file_of(proto.index(SMALL)) + b"\0", "something follows the last of 3 documents"),
    "df": (changed(set_to(3, "list", "df")), "the list of 'river' has 2 postings, and says 3"),
    "missing": (changed(shorter), "the list of 'river' has 1 postings, and says 2"),
    "negative df": (changed(set_to(-1, "list", "df")), "a document frequency is -1"),
    "gap of 0": (changed(twice), "the list of 'river' has document 0 twice"),
    "far": (changed(set_to(7, "list", "postings", "docid")), "a posting of document 7, and there are 3"),
    "very far": (changed(set_to(2**31 - 1, "list", "postings", "docid")), "a posting of document 2,147,483,647"),
    "back": (changed(set_to(-1, "list", "postings", "docid")), "the gap of a posting is -1"),
    "negative tf": (changed(set_to(-3, "list", "postings", "tf")), "the frequency of a posting is -3"),
    "second list": (changed(set_to("stone", "list", "term")), "a second list of 'stone'"),
    "numbers": (changed(set_to(5, "record", "docid")), "the record of document 5, expected that of 1"),
    "no id": (changed(set_to("", "record", "collection_docid")), "document 1 has no id"),
    "same id": (changed(set_to("a", "record", "collection_docid")), "the id 'a' stands"),
    "no UTF-8": (raw(b"\x0a\x02\xff\xfe"), "a term is no UTF-8"),
    "no varint": (raw(b"\x10" + b"\xff" * 11), "a varint has more than 10 bytes"),
    "half a varint": (raw(b"\x10\xff"), "a varint does not end"),
    "long field": (raw(b"\x0a\x7fabc"), "a field of 127 bytes, and 3 of its message are left"),
    "long posting": (raw(b"\x22\x7f\x08\x01"), "a posting of 127 bytes, and 2 of its list are left"),
    "overlapping": (raw(b"\x22\x02\x08\x80\x01"), "a posting is longer than it says"),
    "other type": (raw(b"\x08\x01"), "field 1 of type 0 in a postings list"),
    "no type": (raw(b"\x7f\x01"), "a field of type 7, which there is not"),
    "huge message": (
        lambda: proto.delimited(proto.Header(version=1, num_postings_lists=1)) + b"\xff\xff\xff\xff\x07",
        "bytes",
    ),
    "huge term": (raw(b"\x0a\xff\xff\xff\x7f" + b"a" * 50), "a term has 268,435,455 bytes, expected at most"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_said_with_its_place_and_nothing_is_written(file, settings, kind):
    make, reason = DAMAGES[kind]
    path = file(make())
    with pytest.raises(CorpusError) as raised:
        import_ciff("c", path, settings=settings)
    assert str(path) in str(raised.value)
    assert "byte " in str(raised.value)
    assert reason in str(raised.value)
    assert str(raised.value).lower().count("nothing was written") == 1
    assert "c" not in EdgeStore(settings.store).names()


def test_wherever_a_file_is_cut_it_is_refused(file, few_at_once):
    whole = proto.file_of(proto.index({**SMALL, **{f"d{n}": {"river": 1 + n} for n in range(12)}}))
    for length in range(len(whole)):
        with pytest.raises(CorpusError, match=r"byte \d+"):
            CiffFile(file(whole[:length]))


def test_a_changed_byte_never_ends_in_another_error(file, few_at_once):
    whole = bytearray(proto.file_of(proto.index({**SMALL, **{f"d{n}": {"river": 1 + n} for n in range(9)}})))
    refused = 0
    for place in range(len(whole)):
        for value in (0, 0x80, 0xFF, whole[place] ^ 1):
            damaged = whole.copy()
            damaged[place] = value
            try:
                read_back(file(bytes(damaged)))
            except CorpusError:
                refused += 1
    assert refused > len(whole)


def test_a_message_that_says_to_be_huge_takes_no_memory(file):
    """The length of a packed file is not known before it is read."""
    import tracemalloc

    path = file(
        gzip.compress(proto.delimited(proto.Header(version=1, num_postings_lists=1)) + b"\xff\xff\xff\xff\x07\x0a"),
        "x.gz",
    )
    tracemalloc.start()
    with pytest.raises(CorpusError):
        CiffFile(path)
    assert tracemalloc.get_traced_memory()[1] < 8e6
    tracemalloc.stop()


def test_a_file_that_is_not_there(settings, tmp_path):
    for path in (tmp_path / "none.ciff", tmp_path):
        with pytest.raises(CorpusError, match="is no file"):
            import_ciff("c", path, settings=settings)


# ---------------------------------------------------------------- texts


def test_a_corpus_gives_texts_and_what_it_lacks_is_named(file, settings, jsonl):
    rows = [
        {"_id": "a", "title": "A", "text": "A river.", "year": 1999},
        {"_id": "c", "title": "", "text": " "},
        {"_id": "other", "text": "x"},
    ]
    report = import_ciff("c", file(proto.index(SMALL)), corpus=jsonl(rows), settings=settings)
    assert report.passed_over["documents without a text in corpus.jsonl ('b')"] == 1
    with Searcher.open("c", settings=settings) as searcher:
        [hit] = searcher.search("stone")
    assert (hit.title, hit.metadata, hit.passages[0].text) == ("A", {"year": 1999}, "A river.")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"_id": "x", "text": "y"}], "has none of the 3 documents of the file, 'a' neither"),
        ([{"_id": "a", "text": "y"}, {"_id": "a", "text": "z"}], "corpus.jsonl:2: the id 'a' comes twice"),
        ([{"_id": "a", "text": "y"}, '{"_id": '], "corpus.jsonl:2: not valid JSON"),
        ([{"_id": "a", "contents": "y"}], 'corpus.jsonl:1: expected an object with "_id" and "text"'),
        ([], "the file is empty"),
    ],
)
def test_a_corpus_that_does_not_fit_is_refused(file, settings, jsonl, rows, reason):
    with pytest.raises(CorpusError, match="othing was written") as raised:
        import_ciff("c", file(proto.index(SMALL)), corpus=jsonl(rows), settings=settings)
    assert reason in str(raised.value)
    assert "c" not in EdgeStore(settings.store).names()


def test_a_corpus_that_is_not_there(file, settings, tmp_path):
    with pytest.raises(CorpusError, match=r"Cannot read .*none\.jsonl"):
        import_ciff("c", file(proto.index(SMALL)), corpus=tmp_path / "none.jsonl", settings=settings)


def test_passages_of_an_export_have_texts_of_their_own(built, tmp_path, jsonl):
    export_collection("c", "ciff", tmp_path / "out", settings=built)
    rows = [{"_id": "d4#1", "text": "the second passage"}, {"_id": "漢 字#2", "text": "by its own id"}]
    path = tmp_path / "out" / "index.ciff"
    import_ciff("again", path, corpus=jsonl(rows), model="auto", settings=built)
    reading = EdgeStore(built.store).reader("again")
    payloads = reading.payloads(["d4#0", "d4#1", "漢 字#2#0"])
    reading.close()
    assert {name: payload["text"] for name, payload in payloads.items()} == {
        "d4#0": "",
        "d4#1": "the second passage",
        "漢 字#2#0": "by its own id",
    }


# ---------------------------------------------------------------- size


@pytest.mark.slow
def test_many_documents_are_written_and_read_in_bounded_memory(tmp_path):
    """200,000 chunks of about 67 terms: 13 million postings, which would be 160 MB as they lie in the files."""
    script = ROOT / "tests" / "interop" / "ciff_at_scale.py"
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(
        [sys.executable, script, tmp_path, "200000", "70"], capture_output=True, text=True, check=True, env=environment
    )
    found = json.loads(done.stdout)
    assert found["postings"] == found["read"] > 13_000_000
    assert found["peak_mb"]["read"] < 300
    assert [path.name for path in Path(tmp_path).iterdir()] == ["index.ciff"]
