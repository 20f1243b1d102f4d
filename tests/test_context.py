"""Results to a context: what is packed, merged, left out and cut, and that the budget holds whatever counts."""

import json
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.context import ELLIPSIS, MISSES, Context, estimate
from hybrid_search.errors import InvalidArgument
from hybrid_search.results import DocumentHit, Passage, Results
from tests.conftest import ROOT

LONG = 10**6


def words(text):
    return len(text.split())


def hit(doc_id, rank, score, *passages, title="", rerank_score=None):
    return DocumentHit(rank, doc_id, score, title, {}, f"{doc_id}.txt", passages, {}, rerank_score)


def results(*hits, reranker=""):
    return Results("q", "c", "hybrid", 10, hits, {}, reranker=reranker)


def chunk(doc_id, number, text, start, score):
    return Passage(f"{doc_id}#{number}", start, start + len(text), text, score)


def one_each(*texts, title=""):
    return results(
        *(
            hit(f"d{place}", place, 1 / place, chunk(f"d{place}", 0, text, 0, 1 / place), title=title or f"T{place}")
            for place, text in enumerate(texts, 1)
        )
    )


# ---------------------------------------------------------------- what it looks like


def test_the_best_come_first_with_numbers_and_the_map_says_where_they_are_from():
    context = one_each("red apples", "green pears").to_context(100, words)
    assert context.text == "[1] T1\nred apples\n\n[2] T2\ngreen pears"
    assert (context.tokens, len(context), str(context)) == (8, 2, context.text)
    first = context.citations[1]
    assert (first.doc_id, first.title, first.origin, first.rank, first.score) == ("d1", "T1", "d1.txt", 1, 1.0)
    assert (first.start, first.end, first.chunk_ids, first.cut) == (0, 10, ("d1#0",), False)
    assert list(context.citations) == [1, 2]
    assert json.loads(json.dumps(context.to_dict()))["citations"][1]["doc_id"] == "d2"


def test_without_citations_the_numbers_are_not_shown_and_the_map_is_there():
    context = one_each("red apples", "green pears").to_context(100, words, citations=False)
    assert context.text == "T1\nred apples\n\nT2\ngreen pears"
    assert context.citations[2].doc_id == "d2"


def test_a_text_without_a_title_follows_its_number_and_a_place_is_told():
    passage = Passage("a#0", 0, 4, "text", 0.5, metadata=MappingProxyType({"page": 3}))
    assert results(hit("a", 1, 0.5, chunk("a", 0, "text", 0, 0.5))).to_context(9, words).text == "[1] text"
    assert results(hit("a", 1, 0.5, passage, title="A\n b")).to_context(9, words).text == "[1] A b · page 3\ntext"


def test_nothing_found_or_no_room_is_an_empty_context():
    assert results().to_context(100) == Context("", 0)
    assert one_each("red apples").to_context(0, words) == Context("", 0)
    with pytest.raises(InvalidArgument, match=r"max_tokens is -1"):
        one_each("red apples").to_context(-1)


# ---------------------------------------------------------------- merged, left out, passed over


def test_chunks_that_overlap_or_follow_each_other_are_one_stretch_and_nothing_stands_twice():
    text = "one two three four five six seven"
    over = (chunk("a", 1, text[8:18], 8, 0.9), chunk("a", 2, text[14:27], 14, 0.5), chunk("a", 0, text[:7], 0, 0.4))
    context = results(hit("a", 1, 0.9, *over)).to_context(100, words, citations=False)
    assert context.text == text[:27].strip()
    [only] = context.citations.values()
    assert (only.start, only.end, only.score) == (0, 27, 0.9)
    assert only.chunk_ids == ("a#0", "a#1", "a#2")


def test_the_space_between_two_chunks_is_no_gap_and_a_missing_chunk_is():
    near = (chunk("a", 0, "one", 0, 0.9), chunk("a", 1, "two", 4, 0.8), chunk("a", 3, "four", 12, 0.7))
    assert results(hit("a", 1, 0.9, *near)).to_context(99, words).text == "[1] one two\n\n[2] four"
    paragraphs = (chunk("a", 0, "one", 0, 0.9), chunk("a", 1, "two", 6, 0.8))
    assert results(hit("a", 1, 0.9, *paragraphs)).to_context(99, words).text == "[1] one\n\ntwo"
    inside = (chunk("a", 0, "one two three", 0, 0.9), chunk("a", 1, "two", 4, 0.8))
    assert results(hit("a", 1, 0.9, *inside)).to_context(99, words).text == "[1] one two three"


def test_a_stretch_stands_where_its_best_passage_does():
    first = hit("a", 1, 0.9, chunk("a", 5, "best of a", 500, 0.9), chunk("a", 0, "worst of a", 0, 0.1))
    second = hit("b", 2, 0.5, chunk("b", 1, "end of b", 9, 0.5), chunk("b", 0, "begin b", 0, 0.2))
    context = results(first, second).to_context(99, words, citations=False)
    assert context.text == "best of a\n\nbegin b\n\nend of b\n\nworst of a"
    assert [(each.doc_id, each.score) for each in context.citations.values()] == [("a", 0.9), ("b", 0.5), ("a", 0.1)]


def test_behind_a_reranker_what_it_has_read_comes_first_in_its_order():
    first = hit("a", 1, 0.2, chunk("a", 5, "a best", 500, 0.2), chunk("a", 0, "a other", 0, 0.1), rerank_score=3.0)
    second = hit("b", 2, 0.9, chunk("b", 1, "b best", 9, 0.9), rerank_score=1.0)
    context = results(first, second, reranker="x").to_context(99, words, citations=False)
    assert context.text == "a best\n\nb best\n\na other"


def test_near_duplicates_are_left_out_and_different_texts_are_not():
    text = " ".join(f"word{n}" for n in range(60))
    again = text.upper().replace("WORD30", "other") + "."
    other = " ".join(f"word{n}" if n % 4 else "other" for n in range(60))
    context = one_each(text, again, other, title="T").to_context(LONG, words)
    assert [each.doc_id for each in context.citations.values()] == ["d1", "d3"]


def test_what_has_another_title_number_or_sign_is_no_near_duplicate():
    text = " ".join(f"word{n}" for n in range(60))
    assert len(one_each(text, text).to_context(LONG, words)) == 2  # T1 and T2
    for one, other in (("a - b", "a + b"), ("x = 1", "x = 2"), ("it is not so", "it is so"), ("3.5 mg", "35 mg")):
        assert len(one_each(f"{text} {one}", f"{text} {other}", title="T").to_context(LONG, words)) == 2


def test_a_passage_that_does_not_fit_is_passed_over_for_a_smaller_one():
    context = one_each("one two", "much " * 50, "three").to_context(8, words)
    assert [each.doc_id for each in context.citations.values()] == ["d1", "d3"]
    assert not any(each.cut for each in context.citations.values())


def test_a_full_context_is_not_tried_for_ever():
    counted = []

    def count(text):
        counted.append(text)
        return words(text)

    many = one_each("first", *(f"{n} too long " * 9 for n in range(1_000)))
    assert len(many.to_context(5, count)) == 1
    assert len(counted) < MISSES + 10


# ---------------------------------------------------------------- cut


def test_where_nothing_fits_the_best_is_cut_behind_a_word_and_says_so():
    found = one_each("one two three four five six", "seven eight nine ten eleven twelve thirteen")
    context = found.to_context(6, words)
    assert context.text == f"[1] T1\none two three{ELLIPSIS}"
    [only] = context.citations.values()
    assert (only.cut, only.start, only.end) == (True, 0, len("one two three"))


def test_where_the_title_takes_all_the_room_it_is_left_out():
    found = results(hit("a", 1, 0.9, chunk("a", 0, "one two three four", 0, 0.9), title="a title of six words here"))
    assert found.to_context(4, words).text == f"[1] one two{ELLIPSIS}"
    assert found.to_context(2, words) == Context("", 0)


def test_scripts_without_blanks_are_cut_between_characters():
    text = "混合搜索结合了稀疏向量和稠密向量。" * 20
    context = results(hit("a", 1, 0.9, chunk("a", 0, text, 0, 0.9))).to_context(20, len)
    assert context.text == f"[1] {text[:14]}{ELLIPSIS}"
    assert 10 < estimate(results(hit("a", 1, 0.9, chunk("a", 0, text, 0, 0.9))).to_context(20).text) <= 20


def test_a_word_that_is_too_long_is_cut_inside_and_no_mark_is_lost_from_its_letter():
    text = "e\u0301" * 500
    context = results(hit("a", 1, 0.9, chunk("a", 0, text, 0, 0.9))).to_context(21, len, citations=False)
    assert context.text == text[:18] + ELLIPSIS


# ---------------------------------------------------------------- tokenizers


def test_tokenizers_of_all_makes_count(bundled_tokenizer):
    found = one_each("unbelievably red apples", "green pears")
    whole = found.to_context(LONG, bundled_tokenizer)
    assert whole.tokens == len(bundled_tokenizer.encode(whole.text, add_special_tokens=False).ids)

    class Plain:  # as of transformers
        def encode(self, text, add_special_tokens=True):
            return bundled_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids

    class Tik:  # as of tiktoken
        def encode(self, text):
            raise ValueError("special token")

        def encode_ordinary(self, text):
            return text.split()

    assert found.to_context(LONG, Plain()).tokens == whole.tokens
    assert found.to_context(LONG, Tik()).tokens == words(whole.text)


def test_a_tokenizer_that_cuts_and_fills_up_counts_all_the_same(bundled_tokenizer):
    found = one_each("many words in a row that go on and on and on for quite some time")
    tokens = found.to_context(LONG, bundled_tokenizer).tokens
    bundled_tokenizer.enable_truncation(4)
    bundled_tokenizer.enable_padding(length=50)
    assert found.to_context(LONG, bundled_tokenizer).tokens == tokens


@pytest.fixture
def bundled_tokenizer():
    from tokenizers import Tokenizer

    from hybrid_search.encoders import bundled as room

    return Tokenizer.from_file(str(next(iter(room.__path__)) + "/model/tokenizer.json"))


@pytest.mark.parametrize("tokenizer", ["cl100k_base", 7, lambda text: "3", lambda text: -1, lambda text: 2.5])
def test_what_cannot_count_is_refused(tokenizer):
    with pytest.raises(InvalidArgument, match="tokenizer"):
        one_each("red apples").to_context(100, tokenizer)


def test_the_estimate_is_rarely_less_than_a_tokenizer(bundled_tokenizer):
    rows = (ROOT / "datasets" / "movies" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(row)["text"] for row in rows]
    ratios = sorted(
        estimate(text) / len(bundled_tokenizer.encode(text, add_special_tokens=False).ids) for text in texts
    )
    assert ratios[0] > 0.9
    assert 1 <= ratios[len(ratios) // 2] < 1.25


# ---------------------------------------------------------------- the budget, in any case

TEXT = st.text(st.sampled_from("ab é漢字́ \n.\u3000🎬Z0"), max_size=60)


@st.composite
def any_results(draw):
    hits = []
    for rank in range(1, draw(st.integers(0, 4)) + 1):
        text, passages = draw(TEXT), []
        for number in draw(st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True)):
            start = draw(st.integers(0, len(text)))
            end = draw(st.integers(start, len(text)))
            passages.append(Passage(f"d{rank}#{number}", start, end, text[start:end], draw(st.floats(0, 1))))
        hits.append(hit(f"d{rank}", rank, 1 / rank, *passages, title=draw(TEXT)))
    return results(*hits, reranker=draw(st.sampled_from(["", "x"])))


COUNTERS = {
    "words": words,
    "characters": len,
    "bytes": lambda text: len(text.encode()),
    "estimate": None,
    "seams cost": lambda text: len(text) + 7 * text.count("\n\n"),
    "special tokens": lambda text: words(text) + 2,
    "worse than linear": lambda text: len(text) ** 2,
    "anything": lambda text: hash(text) % 50,
    "nothing": lambda text: 0,
}


@pytest.mark.parametrize("name", COUNTERS)
@given(found=any_results(), budget=st.integers(0, 120), citations=st.booleans())
def test_the_budget_is_never_exceeded(name, found, budget, citations):
    count = COUNTERS[name]
    context = found.to_context(budget, count, citations)
    counted = (count or estimate)(context.text)
    assert context.tokens == counted or not context.text
    assert counted <= budget or not context.text
    assert bool(context.text) == bool(context.citations)


@given(found=any_results(), budget=st.integers(0, 120))
def test_every_citation_is_a_span_of_its_document_and_no_span_is_given_twice(found, budget):
    context = found.to_context(budget, len)
    seen = {}
    for number, each in context.citations.items():
        assert number == each.number
        assert 0 <= each.start < each.end
        mine = range(each.start, each.end)
        for other in seen.setdefault(each.doc_id, []):
            assert max(mine.start, other.start) >= min(mine.stop, other.stop)
        seen[each.doc_id].append(mine)
        assert {passage.chunk_id for passage in found[each.rank - 1].passages} >= set(each.chunk_ids)


def test_more_room_never_means_less_text():
    found = one_each(*(" ".join(f"w{n}x{m}" for m in range(n * 3)) for n in range(1, 9)))
    sizes = [len(found.to_context(budget, words).text) for budget in range(200)]
    assert sizes[-1] == max(sizes)
    assert sizes[0] == 0
