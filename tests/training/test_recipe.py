"""The settings of a training: what is refused, what is worked out, and how two of them differ."""

from __future__ import annotations

import pytest

from hybrid_search.errors import InvalidArgument
from hybrid_search.training.recipe import Recipe, differences


def test_the_defaults_can_be_meant():
    Recipe().check()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "hinge"}, r"loss is 'hinge'; take one of: contrastive, margin-mse, kl, vectors"),
        ({"regularizer": "l0"}, r"regularizer is 'l0'; take one of: flops, l1"),
        ({"batch_size": 0}, r"batch_size is 0; expected 1 or more"),
        ({"steps": 0}, r"steps is 0; expected 1 or more"),
        ({"learning_rate": float("nan")}, r"learning_rate is nan; expected a number above 0"),
        ({"query_weight": -1.0}, r"query_weight is -1\.0; expected 0 or more"),
        ({"warmup_fraction": 1.5}, r"warmup_fraction is 1\.5; expected 0\.\.1"),
        ({"inference_free": True, "loss": "vectors"}, r"take another loss"),
    ],
)
def test_what_cannot_be_meant_is_named(given, message):
    with pytest.raises(InvalidArgument, match=message):
        Recipe(**given).check()


def test_every_problem_is_told_at_once():
    with pytest.raises(InvalidArgument, match=r"precision is 'int4'.*max_tokens is 2.*epochs is 0"):
        Recipe(precision="int4", max_tokens=2, epochs=0).check()


def test_steps_follow_from_epochs_and_batches():
    assert Recipe(epochs=2, batch_size=8, accumulate=2).step_count(100) == 13
    assert Recipe(epochs=0.01).step_count(10) == 1
    assert Recipe(steps=7, epochs=99).step_count(100) == 7
    assert Recipe().evaluations_every(96) == 20
    assert Recipe().checkpoints_every(3) == 1
    assert Recipe(eval_every=4).checkpoints_every(100) == 4


def test_given_vectors_are_sparse_already():
    assert Recipe(loss="vectors").regularizer_weights == (0.0, 0.0)
    assert Recipe(loss="vectors", document_weight=0.1).regularizer_weights == (0.0, 0.1)
    assert min(Recipe().regularizer_weights) > 0
    assert Recipe(query_weight=0.0).regularizer_weights[0] == 0


def test_there_and_back():
    recipe = Recipe(teachers=("a", "b"), held_out=12, mine_from="films")
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(ValueError, match="unknown settings: colour"):
        Recipe.from_dict({"colour": "red"})


def test_a_resumed_training_may_have_other_checkpoints_and_nothing_else():
    begun = Recipe(seed=1)
    assert differences(begun, {"checkpoint_every": 99}) == []
    for name, value in begun.to_dict().items():
        if name != "checkpoint_every":
            assert differences(begun, {name: "other"}) == [f"{name} is other, was {getattr(begun, name)}"], value
