"""Which examples stand together: full batches, one number of negatives, and no answer taken for a negative."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from hybrid_search.training.batches import Batches
from hybrid_search.training.examples import Example


def films(count, answers=1):
    return [Example(f"query {at // answers}", f"text {at}") for at in range(count)]


def test_the_order_is_the_seeds_and_repeats():
    one, again = (list(Batches(films(50), 8, 40, 1, contrast=True)) for _ in range(2))
    assert one == again
    assert one != list(Batches(films(50), 8, 40, 2, contrast=True))
    assert len(one) == len(Batches(films(50), 8, 40, 1, contrast=True)) == 40


def test_a_longer_training_begins_like_a_shorter_one():
    short, long = (list(Batches(films(50), 8, count, 1, contrast=True)) for count in (5, 30))
    assert long[:5] == short


def test_batches_are_full_and_every_example_comes():
    batches = list(Batches(films(50), 8, 50, 1, contrast=True))
    assert {len(batch) for batch in batches} == {8}
    seen = Counter(place for batch in batches for place in batch)
    assert set(seen) == set(range(50))
    # 400 places for 50 examples: eight times each, but for those that waited.
    assert max(seen.values()) - min(seen.values()) <= 2


def test_no_answer_of_one_query_is_a_negative_of_another():
    shared = [Example("a", "x"), Example("b", "x"), Example("a", "y"), Example("c", "z", ("y",)), Example("D", "w")]
    more = [Example(f"q{at}", f"t{at}") for at in range(20)]
    examples = [*shared, *more, Example("d ", "v")]
    answers = {}
    for example in examples:
        answers.setdefault(example.query.strip().lower(), set()).add(example.positive)
    for batch in Batches(examples, 4, 200, 0, contrast=True):
        rows = [examples[place] for place in batch]
        queries = [row.query.strip().lower() for row in rows]
        assert len(set(queries)) == len(queries)
        for row, query in zip(rows, queries, strict=True):
            others = {text for other in rows if other is not row for text in (other.positive, *other.negatives)}
            assert not others & answers[query]


def test_without_contrast_anything_stands_together():
    assert len(next(iter(Batches(films(8, answers=8), 4, 2, 0, contrast=False)))) == 4


def test_examples_with_more_negatives_stand_apart():
    examples = [Example(f"q{at}", f"t{at}", tuple(f"n{at}-{number}" for number in range(at % 3))) for at in range(30)]
    for batch in islice(Batches(examples, 4, 100, 0, contrast=True), 100):
        assert len({len(examples[place].negatives) for place in batch}) == 1
        assert len(batch) == 4


def test_too_few_examples_make_smaller_batches():
    assert [sorted(batch) for batch in Batches(films(3), 8, 3, 0, contrast=True)] == [[0, 1, 2]] * 3


def test_one_query_with_many_answers_still_ends():
    batches = list(Batches(films(6, answers=6), 4, 12, 0, contrast=True))
    assert {len(batch) for batch in batches} == {1}
    assert {place for batch in batches for place in batch} == set(range(6))
