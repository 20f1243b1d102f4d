"""What can be a dataset: a split of a BEIR folder, a name that ir_datasets knows, files of TREC."""

import gzip
import json
import sys

import pytest

from hybrid_search.corpus.trec import Qrel
from hybrid_search.corpus.trec_sgml import read_topics
from hybrid_search.errors import EvaluationError, InvalidArgument, MissingExtra
from hybrid_search.evaluation.cached_collections import clear, kept
from hybrid_search.evaluation.datasets import before_fetching, read_dataset
from hybrid_search.evaluation.experiment import evaluate
from hybrid_search.indexer import Indexer
from hybrid_search.types import Query

TOPICS = """<top>
<num> Number: 301
<title> Topic: music &amp; bands

<desc> Description:
Films about music.
</top>

<top><num>302</num><title>alone
on an island</title></top>
"""
DOCS = """<DOC>
<DOCNO> FT-1 </DOCNO>
<HEADLINE>The <b>band</b></HEADLINE>
<TEXT>
A rock band plays music &amp; drums.
</TEXT>
</DOC>
<DOC><DOCNO>FT-2</DOCNO><P>A man alone on an island.</P></DOC>
"""
QRELS = "301 0 FT-1 1\n302 0 FT-2 2\n302 0 FT-1 0\n"
BM25 = {"sparse": "qdrant/bm25-engine", "dense": "none"}


@pytest.fixture
def trec(tmp_path):
    """Write the files of TREC; gives the arguments that name them."""

    def write(topics=TOPICS, qrels=QRELS, documents=DOCS):
        parts = {"topics": topics, "qrels": qrels, "documents": documents}
        paths = {part: tmp_path / f"t.{part}" for part in parts}
        for part, text in parts.items():
            paths[part].write_bytes(text if isinstance(text, bytes) else text.encode())
        return paths

    return write


def rows(data):
    return [json.loads(line) for line in data.corpus.read_text().splitlines()]


def test_topics_qrels_and_documents_of_trec(trec, settings):
    data, name = read_dataset(None, settings=settings, **trec())
    assert name == "t"
    assert data.queries == (Query("301", "music & bands"), Query("302", "alone on an island"))
    assert data.qrels == (Qrel("301", "FT-1", 1), Qrel("302", "FT-2", 2), Qrel("302", "FT-1", 0))
    assert rows(data) == [
        {"_id": "FT-1", "title": "The band", "text": "A rock band plays music & drums."},
        {"_id": "FT-2", "title": "", "text": "A man alone on an island."},
    ]


def test_files_that_are_gzipped_or_of_windows_are_the_same(trec, settings):
    plain, _ = read_dataset(None, settings=settings, **trec())
    before = rows(plain)
    parts = (TOPICS, QRELS, DOCS)
    for change in (lambda text: gzip.compress(text.encode()), lambda text: b"\xef\xbb\xbf" + text.encode()):
        for end in ("\n", "\r\n"):
            other, _ = read_dataset(None, settings=settings, **trec(*(change(t.replace("\n", end)) for t in parts)))
            assert (other.queries, other.qrels, rows(other)) == (plain.queries, plain.qrels, before)


def test_documents_may_be_whatever_can_be_indexed(trec, settings, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "FT-1").write_text("A rock band.")
    (folder / "FT-2.md").write_text("# Island\n\nAlone.")
    data, _ = read_dataset(None, settings=settings, **{**trec(), "documents": folder})
    assert [row["_id"] for row in rows(data)] == ["FT-1", "FT-2.md"]
    sgml = tmp_path / "sgml"
    sgml.mkdir()
    for place, text in enumerate([*DOCS.split("\n", 7)[7:], "<DOC><DOCNO>z</DOCNO>café</DOC>"]):
        (sgml / f"part{place}").write_bytes(text.encode("latin-1"))
    data, _ = read_dataset(None, settings=settings, **{**trec(), "documents": sgml})
    assert [(row["_id"], row["text"]) for row in rows(data)] == [("FT-2", "A man alone on an island."), ("z", "café")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("7\twhat is it\n\n8\ta\tb\n", [("7", "what is it"), ("8", "a\tb")]),
        ('{"_id": "7", "text": "what"}\n', [("7", "what")]),
        ('<topics><topic number="7"><query>what is</query><question>q</question></topic></topics>', [("7", "what is")]),
        ("<TOP>\n<NUM>7\n<TITLE>what\n</TOP>", [("7", "what")]),
    ],
)
def test_topics_have_several_forms(tmp_path, text, found):
    (tmp_path / "topics").write_text(text)
    assert read_topics(tmp_path / "topics") == [Query(*one) for one in found]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"topics": "\n<top><title>x</title></top>"}, r"t\.topics:2: the topic has no number"),
        ({"topics": "<top><num>301<title> </top>"}, r"t\.topics:1: topic 301 has no text"),
        ({"topics": "301\tx\n302\n"}, r"t\.topics:2: expected an id, a tab"),
        ({"topics": "301\tx\n301\ty\n"}, r"t\.topics: query '301' more than once"),
        ({"topics": ""}, r"t\.topics holds no query"),
        ({"topics": "301\tx\n"}, r"t\.qrels judges '302', which .*t\.topics does not have"),
        ({"qrels": ""}, r"t\.qrels judges no document"),
        ({"qrels": "301 0 a 1\n301 0 b 1.5\n"}, r"t\.qrels:2: .*1\.5"),
        ({"qrels": "301 0 a nan\n"}, r"t\.qrels:1: .*nan"),
        ({"qrels": gzip.compress(QRELS.encode())[:-9]}, r"t\.qrels cannot be read"),
        ({"documents": "<DOC>\n<DOCNO>a</DOCNO>\n"}, r"t\.documents:1: the document does not end"),
        ({"documents": "<DOC>\n<DOC>\n"}, r"t\.documents:1: .*another begins in line 2"),
        ({"documents": "<DOC>\nx\n</DOC>\n"}, r"t\.documents:1: the document has no <DOCNO>"),
        ({"documents": ""}, r"t\.documents.*(holds no document|empty)"),
    ],
)
def test_what_is_broken_is_told_with_its_place(trec, settings, changed, told):
    with pytest.raises(EvaluationError, match=told):
        read_dataset(None, settings=settings, **trec(**changed))


def test_grades_below_0_count_as_not_relevant_and_are_told(trec, settings):
    data, _ = read_dataset(None, settings=settings, **trec(qrels=QRELS + "301 0 FT-2 -2\n"))
    assert data.notes == (
        "1 judgements have a grade below 0, first -2 of 'FT-2' for query '301'. They count as not relevant, as in "
        "trec_eval.",
    )


def test_arguments_that_do_not_go_together(trec, settings, dataset):
    parts = trec()
    for source, given in ((dataset(), parts), (None, {**parts, "qrels": None}), (None, {"documents": "x"}), (None, {})):
        with pytest.raises(InvalidArgument, match="--qrels"):
            read_dataset(source, settings=settings, **given)
    with pytest.raises(EvaluationError, match="does not exist"):
        read_dataset(None, settings=settings, **{**parts, "documents": "/nowhere"})


def test_files_of_trec_are_evaluated_with_their_documents_or_a_collection(trec, settings, tmp_path):
    parts, settings = (
        trec(),
        settings.model_copy(update={"cache_dir": tmp_path / "cache", "store": str(tmp_path / "s")}),
    )
    report = evaluate(None, parts=parts, settings=settings, modes=["sparse"], measures=["nDCG@10"], **BM25)
    assert report.results[0].measures == {"nDCG@10": 1.0}
    assert report.documents == 2
    there = kept(settings)
    data, _ = read_dataset(None, settings=settings, **parts)
    Indexer.open("mine", settings=settings, **BM25).index(data.corpus.parent)
    del parts["documents"]
    report = evaluate(None, parts=parts, settings=settings, collection="mine", measures=["nDCG@10"])
    assert {result.measures["nDCG@10"] for result in report.results} == {1.0}
    with pytest.raises(InvalidArgument, match="--documents"):
        evaluate(None, parts=parts, settings=settings, **BM25)
    assert there.bytes > 0
    clear(settings)
    assert not list(settings.cache_dir.rglob("corpus.jsonl"))


def test_a_split_is_chosen(dataset, settings):
    folder = dataset()
    (folder / "qrels" / "dev.tsv").write_text("q5\tmars\t1\n")
    data, name = read_dataset(folder, settings=settings, split="dev")
    assert (name, data.qrels) == ("films-dev", (Qrel("q5", "mars", 1),))
    assert read_dataset(folder, settings=settings)[1] == "films"
    with pytest.raises(EvaluationError, match="no split 'train'; it has dev, test"):
        read_dataset(folder, settings=settings, split="train")


VASWANI = {
    "docs.txt": "1\na rock band plays\n   /\n2\nalone on an island\n   /\n",
    "queries.txt": "1\nmusic of a band\n/\n2\nisland\n/\n",
    "qrels.txt": "1\n1\n   /\n2\n2\n   /\n",
}


@pytest.fixture
def ir_home(tmp_path, monkeypatch):
    """A home of ir_datasets, loaded anew, in which the files of `vaswani` lie as it would have fetched them."""
    pytest.importorskip("ir_datasets", reason="the extra datasets is not installed")
    for module in [name for name in sys.modules if name.split(".")[0] == "ir_datasets"]:
        monkeypatch.delitem(sys.modules, module)
    home = tmp_path / "ir"
    (home / "vaswani").mkdir(parents=True)
    monkeypatch.setenv("IR_DATASETS_HOME", str(home))
    monkeypatch.setenv("IR_DATASETS_DL_TRIES", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    return home


def test_a_name_of_ir_datasets_is_read_from_what_it_has_fetched(ir_home, settings):
    for name, text in VASWANI.items():
        (ir_home / "vaswani" / name).write_text(text)
    assert "11,429 documents" in before_fetching("vaswani")
    data, name = read_dataset("vaswani", settings=settings)
    assert name == "vaswani"
    assert data.queries == (Query("1", "music of a band"), Query("2", "island"))
    assert data.qrels == (Qrel("1", "1", 1), Qrel("2", "2", 1))
    assert [row["_id"] for row in rows(data)] == ["1", "2"]
    report = evaluate("vaswani", settings=settings, modes=["sparse"], measures=["RR@10"], **BM25)
    assert (report.dataset, report.results[0].measures) == ("vaswani", {"RR@10": 1.0})


def test_without_a_network_the_message_says_so(ir_home, settings):
    with pytest.raises(EvaluationError, match=r"cannot fetch or read vaswani: .*network\?"):
        read_dataset("vaswani", settings=settings)
    with pytest.raises(EvaluationError, match="nor a name that ir_datasets knows"):
        read_dataset("no/such-name", settings=settings)
    with pytest.raises(EvaluationError, match="has no qrels"):
        read_dataset("beir/scifact", settings=settings)


def test_without_the_extra_a_name_says_what_to_install(monkeypatch, settings):
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(MissingExtra, match="datasets"):
        read_dataset("vaswani", settings=settings)
