"""What the tests of this room share: a tiny BERT, data it can learn, and the reason where the extra is missing."""

from __future__ import annotations

import json
import random
from importlib.util import find_spec

import pytest

from hybrid_search.training.examples import Example, HeldOut, TrainingSet
from hybrid_search.training.recipe import Recipe
from hybrid_search.types import SparseVector
from tests import hub_models


@pytest.fixture(scope="session")
def train_extra():
    """Asked for by tests that train."""
    missing = [name for name in ("torch", "sentence_transformers", "datasets", "accelerate") if find_spec(name) is None]
    if missing:
        pytest.skip(f"the train extra is not installed: {', '.join(missing)} missing")


@pytest.fixture(scope="session")
def bases(train_extra, tmp_path_factory):
    """Tiny BERTs in hub layout, by architecture."""
    folder = tmp_path_factory.mktemp("bases")
    return {name: hub_models.torch_folder(folder / name, name, seed=7) for name in ("BertForMaskedLM", "BertModel")}


def texts(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.sample(hub_models.WORDS, 12)) for _ in range(count)]


@pytest.fixture(scope="session")
def tiny():
    """Thirty examples whose queries are words of their texts, ten held-out queries, and given vectors."""
    draw, found = random.Random(1), texts(40)
    queries = [" ".join(draw.sample(text.split(), 3)) for text in found]
    examples = tuple(
        Example(
            queries[at], found[at], (found[(at + 7) % 30], found[(at + 11) % 30]), (3.0, 1.0, 0.5), f"q{at}", f"d{at}"
        )
        for at in range(30)
    )
    held_out = HeldOut(
        {f"q{at}": queries[at] for at in range(30, 40)},
        {f"d{at}": text for at, text in enumerate(found)},
        {f"q{at}": {f"d{at}": 1} for at in range(30, 40)},
    )
    vectors = tuple(
        (text, SparseVector.of(range(10 + at, 14 + at), [1.0, 0.5, 2.0, 1.5])) for at, text in enumerate(found)
    )
    return TrainingSet(examples, held_out, vectors)


@pytest.fixture
def beir(tmp_path):
    """The same kind of data as a BEIR folder."""
    draw, found = random.Random(1), texts(40)
    folder = tmp_path / "tiny-set"
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": f"d{at}", "text": text} for at, text in enumerate(found)]
    asked = [{"_id": f"q{at}", "text": " ".join(draw.sample(text.split(), 3))} for at, text in enumerate(found)]
    for name, lines in (("corpus.jsonl", rows), ("queries.jsonl", asked)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    judged = "".join(f"q{at}\td{at}\t1\n" for at in range(40))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, encoding="utf-8")
    return folder


@pytest.fixture
def recipe(bases):
    """A training of a second or two."""
    return Recipe(
        base=str(bases["BertForMaskedLM"]),
        steps=6,
        batch_size=8,
        eval_every=3,
        checkpoint_every=2,
        learning_rate=1e-3,
        device="cpu",
        max_tokens=32,
        seed=3,
    )
