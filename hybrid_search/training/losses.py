"""Builds what a training minimises: a loss of sentence-transformers, and the regulariser that keeps vectors sparse.

    total = loss(scores) + λq(t) · R(queries) + λd(t) · R(documents)

Source: Formal et al., From distillation to hard negative sampling, 2022, arXiv 2205.04733, equation 6. λ(t) grows
quadratically over the first part of the steps, as in Paria et al., Minimizing FLOPs to learn efficient sparse
representations, 2020, arXiv 2004.05665, section 5.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from hybrid_search.errors import TrainingError
from hybrid_search.training.examples import Example, TrainingSet
from hybrid_search.training.models import is_inference_free
from hybrid_search.training.recipe import SCORED, Recipe

# A warm-up over no steps: the schedule wants a part above 0, and takes one step at least.
_AT_ONCE = 1e-9


def loss_of(model: Any, recipe: Recipe) -> tuple[Any, Any]:
    """Return the loss of a recipe over a SparseEncoder, and the callback that moves the regulariser's weights.

    - `contrastive`: a softmax over the dot products with everything in the batch (van den Oord et al., 2018, arXiv
      1807.03748).
    - `margin-mse`: the squared error of score differences (Hofstätter et al., 2020, arXiv 2010.02666).
    - `kl`: the Kullback-Leibler divergence of the score distributions over an example's texts (Lin et al., 2020, arXiv
      2010.11386).
    - `vectors`: the squared distance to the given vector, divided by that vector's squared length.
    """
    losses: Any = import_module("sentence_transformers.sparse_encoder.losses")
    callbacks: Any = import_module("sentence_transformers.sparse_encoder.callbacks.splade_callbacks")
    makers = {
        "contrastive": lambda: losses.SparseMultipleNegativesRankingLoss(model),
        "margin-mse": lambda: losses.SparseMarginMSELoss(model),
        "kl": lambda: losses.SparseDistillKLDivLoss(model, temperature=1.0),
        "vectors": lambda: _regression()(),
    }
    on_queries, on_documents = recipe.regularizer_weights
    only_documents = recipe.loss == "vectors"
    regularizers = {}
    if recipe.regularizer == "l1":
        regularizers = {"document_regularizer": _l1()(), "query_regularizer": _l1()()}
    # A query side without a model has as many active dimensions as words, whatever its weights.
    silent = only_documents or is_inference_free(model)
    whole = losses.SpladeLoss(
        model,
        makers[recipe.loss](),
        document_regularizer_weight=on_documents,
        query_regularizer_weight=None if silent else on_queries,
        use_document_regularizer_only=only_documents,
        **regularizers,
    )
    schedule = callbacks.SpladeRegularizerWeightSchedulerCallback(
        whole, scheduler_type="quadratic", warmup_ratio=recipe.warmup_fraction or _AT_ONCE
    )
    return whole, schedule


def check_data(data: TrainingSet, recipe: Recipe, dimensions: int) -> None:
    """Check before any computation that the data has what the loss reads.

    Args:
        data: the data, with mined negatives and teachers' scores.
        recipe: names the loss.
        dimensions: number of dimensions of the model's vectors.

    Raises:
        TrainingError: something is missing; the message names the first such example or vector, and what to do.
    """
    if recipe.loss == "vectors":
        _check_vectors(data, dimensions)
        return
    if not data.examples:
        more = " They hold texts with given vectors: take --loss vectors." if data.vectors else ""
        raise TrainingError(
            f"The loss {recipe.loss!r} learns from queries with texts, and the sources hold none.{more}"
        )
    if recipe.loss in SCORED:
        for example in data.examples:
            _check_scored(example, recipe)
    elif len({example.query for example in data.examples}) < 2 and not any(one.negatives for one in data.examples):
        raise TrainingError(
            "The loss 'contrastive' needs texts that do not answer a query; there is one query to train on, without "
            "negatives. Give more data, or mine negatives: --mine-from COLLECTION"
        )


def _check_vectors(data: TrainingSet, dimensions: int) -> None:
    if not data.vectors:
        raise TrainingError(
            "The loss 'vectors' learns from rows of text and vector, and the sources hold none. Give some, or take "
            "another --loss."
        )
    for text, vector in data.vectors:
        if len(vector) and int(vector.indices[-1]) >= dimensions:
            raise TrainingError(
                f"The vector given for {text[:60]!r} has the dimension {int(vector.indices[-1])}; the model has "
                f"{dimensions:,}. Give vectors over the base's own vocabulary."
            )
        if not len(vector):
            raise TrainingError(f"The vector given for {text[:60]!r} is empty; expected one weight above 0 or more.")


def _check_scored(example: Example, recipe: Recipe) -> None:
    if not example.negatives:
        raise TrainingError(
            f"The loss {recipe.loss!r} compares an answer with negatives, and the query {example.query[:60]!r} has "
            "none. Give them, or mine them: --mine-from COLLECTION"
        )
    if len(example.scores) != len(example.negatives) + 1:
        raise TrainingError(
            f"The loss {recipe.loss!r} needs a score for the answer and for each negative; the query "
            f"{example.query[:60]!r} has {len(example.scores)} for {len(example.negatives) + 1} texts. "
            "Give them, or a teacher: --teacher MODEL"
        )


@cache
def _l1() -> Any:
    """Return the L1 regulariser: the mean over texts of the sum of a vector's weights."""
    torch: Any = import_module("torch")

    class L1(torch.nn.Module):  # type: ignore[misc]
        def compute_loss_from_embeddings(self, embeddings: Any) -> Any:
            return embeddings.abs().sum(dim=1).mean()

    return L1


@cache
def _regression() -> Any:
    """Return the loss Σ_texts |vector - target|² / |target|², divided by the number of texts."""
    torch: Any = import_module("torch")

    class Regression(torch.nn.Module):  # type: ignore[misc]
        def compute_loss_from_embeddings(self, embeddings: list[Any], labels: Any) -> Any:
            off = (embeddings[0] - labels).pow(2).sum(dim=1)
            return (off / labels.pow(2).sum(dim=1).clamp(min=1e-6)).mean()

    return Regression
