"""The exports in the engines that they are for: Anserini (Lucene), PISA, BMP, Seismic and readers of CIFF.

    python -m pytest tests/engines -m engines

The engines are installed on demand, see `environments`. The exact order holds for none of them, since weights are
rounded; so of the top 10 the mean overlap with the exact ranking is held, and nDCG@10.
"""

import json

import pytest

from tests.engines import cases, engines
from tests.engines.cases import CASES, report, run_program
from tests.engines.ciff_reader import read_ciff, undone
from tests.engines.drivers.exports import topics, vectors
from tests.engines.exact import ndcg, overlap

pytestmark = [pytest.mark.engines, pytest.mark.shared, pytest.mark.slow, pytest.mark.timeout(2400)]

JAVA = {"lucene", "lucene_documents", "lucene_splade"}


def named(*names):
    """Cases as parameters, those that need Java with its mark."""
    return [pytest.param(name, marks=pytest.mark.java) if name in JAVA else name for name in names]


ALL = named(*CASES)
WHOLE = named(*(name for name in CASES if name.startswith(("lucene", "pisa"))))
"""Cases whose engine adds up whole numbers, all of them."""
COUNTING = named(*(name for name in CASES if name != "bmp_ciff"))
"""Cases whose engine tells how many documents it has indexed."""
EACH_ENGINE = named("lucene", "pisa", "pisa_ciff", "seismic")
"""Without BMP, which never looks into one block of documents, so that of so few it finds some or none."""


@pytest.fixture
def ciff(cranfield):
    """A CIFF file, and the documents that it was made of."""
    return cranfield.export("ciff"), dict(vectors(cranfield.export("anserini")))


def test_the_exact_ranking_is_that_of_the_search(cranfield):
    """So what an engine is held against is the product's own answer."""
    from hybrid_search.searcher import Searcher

    texts = {query.query_id: query.text for query in cranfield.data.queries}
    with Searcher.open(cases.COLLECTION, settings=cranfield.settings) as searcher:
        found = searcher.search_many(list(texts.values()), mode="sparse", k=10)
    assert {query: [hit.doc_id for hit in hits] for query, hits in zip(texts, found, strict=True)} == cranfield.exact
    assert len(cranfield.exact) == 225


@pytest.mark.parametrize("name", COUNTING)
def test_every_document_is_indexed(name, outcome):
    export, done = outcome(name)
    assert done.indexed == report(export)["chunks"] == 1398


@pytest.mark.parametrize("name", ALL)
def test_the_rankings_survive(name, outcome, cranfield):
    _, done = outcome(name)
    assert set(done.run) == set(cranfield.exact)
    assert overlap(done.ids, cranfield.exact) >= CASES[name].overlap
    best = {query: ids[:10] for query, ids in done.ids.items()}
    assert ndcg(best, cranfield.data.qrels) == pytest.approx(ndcg(cranfield.exact, cranfield.data.qrels), abs=0.003)


@pytest.mark.parametrize("name", WHOLE)
def test_each_score_is_the_sum_of_what_was_exported(name, outcome, cranfield):
    """Nothing is lost between the files and the engine: no token is split, cut or dropped, no weight changed."""
    export, done = outcome(name)
    documents = dict(vectors(cranfield.export("anserini", *CASES[name].options)))
    asked = dict(topics(export))
    for query, hits in done.run.items():
        told = [sum(n * documents[found].get(token, 0) for token, n in asked[query].items()) for found, _ in hits]
        assert [score for _, score in hits] == pytest.approx(told, rel=1e-6)


@pytest.mark.java
@pytest.mark.parametrize("name", sorted(JAVA))
def test_both_forms_of_topics_give_one_run(name, outcome):
    export, done = outcome(name)
    index = export.with_name(f"{export.name}-lucene") / "lucene"
    assert engines.lucene_search(export, index, "json") == done.run


@pytest.mark.parametrize("name", EACH_ENGINE)
def test_odd_ids_come_back_as_they_were_exported(name, odd_ids, tmp_path):
    """And find the stored chunk: what is exported is escaped, so that no line of a run breaks."""
    exported = dict(vectors(odd_ids("anserini")))
    done = CASES[name].engine(odd_ids(CASES[name].format), tmp_path)
    [hits] = done.ids.values()
    assert sorted(hits) == sorted(exported)
    assert len(exported) > len(cases.ODD) + 2


@pytest.mark.java
def test_a_file_cut_short_shows_in_the_count_alone(cranfield, tmp_path):
    """Why the guide says to compare the count: Anserini exits with 0."""
    (tmp_path / "documents").mkdir()
    [first, *_] = sorted((cranfield.export("anserini") / "documents").iterdir())
    whole = first.read_bytes()
    (tmp_path / "documents" / first.name).write_bytes(whole[: len(whole) // 2])
    assert engines.lucene_index(tmp_path, tmp_path / "index") < whole.count(b"\n") - 100


def test_what_comes_back_from_anserini_answers_alike(cranfield, tmp_path):
    """Floats out and in again: nDCG@10 of the collection that is made of them is that of ours."""
    export = cranfield.export("anserini", "--quantize", "none")
    files = sorted((export / "documents").iterdir())
    run_program(cranfield.settings, "import", "anserini", *files, "-c", "back", "--replace")
    ours = judged(cranfield, cases.COLLECTION)
    assert judged(cranfield, "back") == pytest.approx(ours, abs=1e-4)
    assert ours == pytest.approx(ndcg(cranfield.exact, cranfield.data.qrels), abs=1e-4)


# ---------------------------------------------------------------- CIFF, read back


def test_ciff_is_what_its_definition_says(ciff):
    """Read by a reader that is compiled of the published definition, and compared posting by posting."""
    export, documents = ciff
    read = read_ciff(export / "index.ciff")
    header, count = read.header, len(documents)
    assert (header.version, header.num_docs, header.total_docs) == (1, count, count)
    assert header.num_postings_lists == header.total_postings_lists == len(read.lists)
    assert [number for number, _, _ in read.documents] == list(range(count))
    names = [name for _, name, _ in read.documents]
    assert postings(read.lists, names) == documents
    assert read.totals == {term: (len(found), sum(found.values())) for term, found in read.lists.items()}
    lengths = {name: length for _, name, length in read.documents}
    assert lengths == {name: sum(weights.values()) for name, weights in documents.items()}
    assert header.total_terms_in_collection == sum(lengths.values())
    assert header.average_doclength == pytest.approx(sum(lengths.values()) / count)


def test_ciff_toolkit_reads_the_same(ciff, tmp_path):
    export, documents = ciff
    told = engines.drive("ciff-toolkit", "ciff_toolkit", export / "index.ciff", tmp_path)
    assert (told["version"], told["num_docs"], told["total_docs"]) == (1, len(documents), len(documents))
    assert told["num_postings_lists"] == len(told["lists"])
    lists = {term: undone(found) for term, found in told["lists"].items()}
    assert postings(lists, told["documents"]) == documents


def test_what_pisa_writes_of_our_file_comes_back(ciff, cranfield, tmp_path):
    """The index that PISA made of our file, written by PISA, holds the same and fills a collection that ranks alike."""
    export, documents = ciff
    engines.drive("pisa", "pisa", "copy", export, tmp_path)
    read = read_ciff(tmp_path / "index.ciff")
    assert postings(read.lists, [name for _, name, _ in read.documents]) == documents
    told = report(export)
    asked = ("--model", told["model"], "--scale", told["scale"], "--replace")
    run_program(cranfield.settings, "import", "ciff", tmp_path / "index.ciff", "-c", "copied", *asked)
    assert judged(cranfield, "copied") == pytest.approx(judged(cranfield, cases.COLLECTION), abs=0.003)


def judged(cranfield, name):
    """nDCG@10 of a collection, as `evaluate` has it."""
    asked = ("evaluate", cranfield.folder, "-c", name, "--modes", "sparse", "--format", "json")
    [result] = json.loads(run_program(cranfield.settings, *asked))["results"]
    return result["measures"]["nDCG@10"]


def postings(lists, names):
    """The lists of terms turned into the vectors of documents."""
    found = {name: {} for name in names}
    for term, documents in lists.items():
        for number, count in documents.items():
            found[names[number]][term] = count
    return found
