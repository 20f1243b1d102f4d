"""Writes the model card: what a model was made from, how good it is, and how to make it again."""

from __future__ import annotations

from pathlib import Path

from hybrid_search.training.evaluation import MEASURE, Evaluation
from hybrid_search.training.recipe import Loss
from hybrid_search.training.report import WORSE, Report

_LOSSES: dict[Loss, str] = {
    "contrastive": "a softmax over everything in the batch (InfoNCE)",
    "margin-mse": "the squared error of a teacher's score differences (MarginMSE)",
    "kl": "the Kullback-Leibler divergence from a teacher's scores",
    "vectors": "the relative squared distance to given sparse vectors",
}


def model_card(report: Report) -> str:
    """Return a README.md, with the front matter that model hubs read."""
    licence = report.base.get("licence", "")
    lines = [
        "---",
        *([f"license: {licence}"] if licence else []),
        f"base_model: {report.base['name']}",
        "tags: [splade, sparse, retrieval, hybrid-search]",
        "---",
        f"# {Path(report.out).name}",
        "",
        f"A learned sparse retrieval model ({'inference-free ' if report.recipe.inference_free else ''}SPLADE), "
        "trained with hybrid-search. Use it:",
        "",
        f"    hybrid-search index SOURCE -c NAME --sparse {report.out}          # fp32",
        f"    hybrid-search index SOURCE -c NAME --sparse {report.out}/int8     # int8: smaller, faster on a CPU",
        "",
        "## Measured",
        "",
        *_measured(report),
        "",
        "## Made from",
        "",
        *_made_from(report),
        "",
        "## Again",
        "",
        f"    {report.command}",
        "",
        "## Licence and limits",
        "",
        f"The base's licence is {licence or 'not stated in its card'}; the training data's own licence holds besides. "
        "The numbers above are those of the queries held out of this training data, and of no other collection.",
        "",
    ]
    return "\n".join(lines)


def _made_from(report: Report) -> list[str]:
    recipe = report.recipe
    on_queries, on_documents = recipe.regularizer_weights
    return [
        f"- Base: `{report.base['name']}`, weights {report.base['weights'][:16]}, head {report.base['head']}.",
        f"- Loss: {_LOSSES[recipe.loss]}, with {recipe.regularizer.upper()} regularisation of {on_queries:g} on "
        f"queries and {on_documents:g} on documents, growing over the first {recipe.warmup_fraction:.0%} of the steps.",
        f"- {report.made:,} steps of {recipe.batch_size * recipe.accumulate:,} examples, learning rate "
        f"{recipe.learning_rate:g}, {recipe.precision}, seed {recipe.seed}; it reads {recipe.max_tokens} tokens.",
        *(f"- {count:,} {what}." for what, count in report.data.items()),
        "",
        "| data | SHA-256 |",
        "|---|---|",
        *(f"| `{file}` | `{digest}` |" for file, digest in report.hashes.items()),
    ]


def _measured(report: Report) -> list[str]:
    if not report.before or not report.after:
        return ["No query was held out, so nothing was measured."]
    rows = [("base, before training", report.before), ("trained (torch)", report.after)]
    rows += [("exported, fp32", report.exported.full)] if report.exported.full else []
    rows += [("exported, int8", report.exported.int8)] if report.exported.int8 else []
    counts = (
        f"{report.data['held-out queries']:,} held-out queries over {report.data['held-out documents']:,} documents"
    )
    return [
        f"On {counts}:",
        "",
        f"| model | {MEASURE} | active dims, queries | active dims, documents | FLOPS |",
        "|---|---|---|---|---|",
        *(_row(name, one) for name, one in rows),
        *(["", WORSE] if report.improved is False else []),
    ]


def _row(name: str, one: Evaluation) -> str:
    return f"| {name} | {one.ndcg:.4f} | {one.query_dims:.1f} | {one.document_dims:.1f} | {one.flops:.2f} |"
