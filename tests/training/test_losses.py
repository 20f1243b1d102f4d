"""The losses against numbers by hand, the regulariser's weight over the steps, and data that lacks what is read."""

from __future__ import annotations

import math
from importlib import import_module
from types import SimpleNamespace

import pytest

from hybrid_search.errors import TrainingError
from hybrid_search.training.examples import Example, HeldOut, TrainingSet
from hybrid_search.training.losses import check_data, loss_of
from hybrid_search.training.recipe import Recipe
from hybrid_search.types import SparseVector

pytestmark = pytest.mark.filterwarnings("ignore")
NOTHING = HeldOut({}, {}, {})


@pytest.fixture
def torch(train_extra):
    return import_module("torch")


def given(torch, *columns):
    """A model that gives these vectors, one column after the other."""

    class Gives(torch.nn.Module):  # type: ignore[name-defined]
        def forward(self, features):
            return {"sentence_embedding": features["vectors"]}

        def __getitem__(self, _):
            return self

    return Gives(), [{"vectors": torch.tensor(column)} for column in columns]


QUERIES = [[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]
POSITIVES = [[2.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
NEGATIVES = [[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]


def test_contrastive_with_flops(torch):
    model, features = given(torch, QUERIES, POSITIVES)
    loss, _ = loss_of(model, Recipe(query_weight=0.1, document_weight=0.01))
    found = loss(features, None)
    # Dot products: 4 and 0 for the first query, 0 and 3 for the second.
    wanted = (math.log(math.exp(4) + 1) - 4 + math.log(math.exp(3) + 1) - 3) / 2
    assert float(found["base_loss"]) == pytest.approx(wanted, rel=1e-5)
    # The squared means over the batch: 0.5, 1.5, 1 and 1, 0.5, 0.5.
    assert float(found["query_regularizer_loss"]) == pytest.approx(0.1 * (0.25 + 2.25 + 1.0))
    assert float(found["document_regularizer_loss"]) == pytest.approx(0.01 * (1.0 + 0.25 + 0.25))


def test_margin_mse_with_l1(torch):
    model, features = given(torch, QUERIES, POSITIVES, NEGATIVES)
    recipe = Recipe(loss="margin-mse", regularizer="l1", query_weight=1.0, document_weight=1.0)
    found = loss_of(model, recipe)[0](features, torch.tensor([[5.0, 1.0], [2.0, 0.0]]))
    # Margins 4 - 1 and 3 - 0, wanted 4 and 2.
    assert float(found["base_loss"]) == pytest.approx((1 + 1) / 2)
    assert float(found["query_regularizer_loss"]) == pytest.approx((3 + 3) / 2)
    assert float(found["document_regularizer_loss"]) == pytest.approx((3 + 1 + 2 + 2) / 4)


def test_kl(torch):
    model, features = given(torch, QUERIES, POSITIVES, NEGATIVES)
    found = loss_of(model, Recipe(loss="kl"))[0](features, torch.tensor([[4.0, 1.0], [3.0, 0.0]]))
    assert float(found["base_loss"]) == pytest.approx(0.0, abs=1e-6)
    found = loss_of(model, Recipe(loss="kl"))[0](features, torch.tensor([[1.0, 4.0], [3.0, 0.0]]))
    student = [math.exp(score) / (math.exp(4) + math.exp(1)) for score in (4, 1)]
    teacher = student[::-1]
    wanted = sum(t * math.log(t / s) for t, s in zip(teacher, student, strict=True)) / 2
    assert float(found["base_loss"]) == pytest.approx(wanted, rel=1e-4)


def test_given_vectors(torch):
    model, features = given(torch, QUERIES)
    found = loss_of(model, Recipe(loss="vectors"))[0](features, torch.tensor([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]]))
    assert float(found["base_loss"]) == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert sum(float(value) for value in found.values()) == pytest.approx(float(found["base_loss"]))


def test_the_weights_grow_quadratically(torch):
    model, _ = given(torch, QUERIES)
    loss, schedule = loss_of(model, Recipe(query_weight=1.0, document_weight=0.5, warmup_fraction=0.5))
    weights = []
    state = SimpleNamespace(max_steps=20, global_step=0)
    schedule.on_train_begin(None, state, None)
    for state.global_step in range(20):
        schedule.on_step_begin(None, state, None)
        weights.append((loss.query_regularizer_weight, loss.document_regularizer_weight))
    assert weights[0] == (0.0, 0.0)
    assert weights[5] == pytest.approx((0.25, 0.125))
    assert weights[10:] == [(1.0, 0.5)] * 10


def test_without_a_warm_up_the_weights_are_there_at_once(torch):
    model, _ = given(torch, QUERIES)
    loss, schedule = loss_of(model, Recipe(query_weight=1.0, warmup_fraction=0.0))
    schedule.on_train_begin(None, SimpleNamespace(max_steps=20), None)
    schedule.on_step_begin(None, SimpleNamespace(global_step=1), None)
    assert loss.query_regularizer_weight == 1.0


@pytest.mark.parametrize(
    ("loss", "data", "message"),
    [
        ("contrastive", TrainingSet((), NOTHING), "the sources hold none"),
        ("contrastive", TrainingSet((Example("a", "b"),) * 2, NOTHING), "one query to train on, without negatives"),
        ("contrastive", TrainingSet((), NOTHING, (("sea", SparseVector.of([9], [1.0])),)), "take --loss vectors"),
        ("kl", TrainingSet((Example("films", "b"),), NOTHING), "the query 'films' has none.*--mine-from"),
        ("kl", TrainingSet((Example("films", "b", ("c",), (1.0,)),), NOTHING), "has 1 for 2 texts.*--teacher"),
        ("margin-mse", TrainingSet((Example("films", "b", ("c",)),), NOTHING), "has 0 for 2 texts"),
        ("vectors", TrainingSet((), NOTHING), "rows of text and vector, and the sources hold none"),
        ("vectors", TrainingSet((), NOTHING, (("sea", SparseVector.of([9], [1.0])),)), "dimension 9; the model has 9"),
        ("vectors", TrainingSet((), NOTHING, (("sea", SparseVector.of([], [])),)), "'sea' is empty"),
    ],
)
def test_data_that_lacks_what_the_loss_reads(loss, data, message):
    with pytest.raises(TrainingError, match=message):
        check_data(data, Recipe(loss=loss), dimensions=9)


def test_data_that_has_it():
    one = Example("a", "b", ("c",), (2.0, 1.0))
    for loss in ("contrastive", "margin-mse", "kl"):
        check_data(TrainingSet((one,), NOTHING), Recipe(loss=loss), 9)
    check_data(TrainingSet((), NOTHING, (("a", SparseVector.of([8], [1.0])),)), Recipe(loss="vectors"), 9)
