"""Runs the whole recipe: training files in, the folder that ships in the package out."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybrid_search.encoders.bundled.graph import BertShape
from hybrid_search.encoders.hashing import file_hash
from hybrid_search.encoders.local_card import OWN_FILE
from hybrid_search.errors import ModelError
from hybrid_search.training.bundled import head as heads
from hybrid_search.training.bundled.data import Material, read_material
from hybrid_search.training.bundled.graph import Lexicon, hybrid_graph
from hybrid_search.training.bundled.states import States, base_model, exact_states, pad, states_of
from hybrid_search.training.bundled.teach import RECIPE, Lesson, Recipe, imitate, measure, teach
from hybrid_search.training.bundled.vocabulary import lexicon

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger(__name__)

MAX_TOKENS = 256
QUERY_TOKENS = 128
_HELD_OUT = 400
_MEASURED_DOMAINS = (1, 3, 4)
_TOLERANCE = 1e-4
_SAMPLES = 32


Base = tuple[BertShape, Mapping[str, NDArray[Any]], "Tokenizer"]
"""Shape, weights and tokenizer of the transformer."""


class Shipped(NamedTuple):
    """The result: the folder, the measurements by step, and how far the two graphs are from torch."""

    folder: Path
    measured: dict[int, dict[str, float]]
    largest_difference: float
    int8_cosines: tuple[float, float]


def ship(data: Path, work: Path, out: Path, recipe: Recipe = RECIPE, draw_seed: int = 13) -> Shipped:
    """Prepare, train, build and verify; expensive results are kept in `work` and reused.

    Args:
        data: the folder of the training files.
        work: a folder for the transformer's states (about 6 GB) and the head after every measurement.
        out: gets `model.onnx` (int8), `tokenizer.json`, `hybrid_search.json`, with which the folder is a profile, and
            `training.json`; `model_fp32.onnx` goes to `work`.
        recipe: the numbers of the training.
        draw_seed: seed of what is drawn from the files.

    Raises:
        CorpusError: a training file is missing or damaged.
        MissingExtra: the package with all-MiniLM-L6-v2 is not installed.
        ModelError: the graph does not give what torch gives.
    """
    import torch

    started = time.monotonic()
    base = shape, weights, tokenizer = base_model()
    material = read_material(data, draw_seed)
    lesson, known = _prepare(material, base, work, recipe.seed)
    measured = _train(lesson, known, weights["embeddings.word_embeddings.weight"], recipe, work)
    best = dict(np.load(work / "best.npz"))
    head = {name: torch.from_numpy(value) for name, value in best.items()}
    out.mkdir(parents=True, exist_ok=True)
    for name, int8 in ((work / "model_fp32.onnx", False), (out / "model.onnx", True)):
        name.write_bytes(hybrid_graph(shape, weights, best, known, int8=int8).SerializeToString())
    tokenizer.save(str(out / "tokenizer.json"))
    difference, cosines = _verify(work / "model_fp32.onnx", out / "model.onnx", head, (shape, weights), lesson, known)
    record = {
        "recipe": recipe._asdict(),
        "draw_seed": draw_seed,
        "data": {path.name: file_hash(path, work) for path in sorted(data.glob("*.gz"))},
        "counts": {
            "passages": len(material.passages),
            "queries": len(material.queries),
            "taught": len(material.taught),
        },
        "columns": len(known.columns),
        "measured": measured,
        "fp32_largest_difference_to_torch": difference,
        "int8_cosine_to_fp32": {"sparse": cosines[0], "dense": cosines[1]},
        "minutes": round((time.monotonic() - started) / 60, 1),
        "torch": torch.__version__,
    }
    _write_json(out / OWN_FILE, _facts(weights["embeddings.word_embeddings.weight"]))
    _write_json(out / "training.json", record)
    return Shipped(out, measured, difference, cosines)


def _prepare(material: Material, base: Base, work: Path, seed: int) -> tuple[Lesson, Lexicon]:
    """Compute the states of all texts, or read them from `work`, and return the lesson and the lexicon."""
    shape, weights, tokenizer = base

    def states(name: str, texts: list[str], limit: int) -> States:
        log.info("%d %s", len(texts), name)
        return states_of(texts, shape, weights, tokenizer, limit, work / name)

    passages = states("passages", material.passages, MAX_TOKENS)
    queries = states("queries", material.queries, QUERY_TOKENS)
    taught = states("taught", [text for text, _ in material.taught], QUERY_TOKENS)
    dimension = tokenizer.get_vocab()
    dims = [[dimension[piece] for piece in vector if piece in dimension] for _, vector in material.taught]
    known = lexicon(tokenizer, passages.texts(), dims)
    return _lesson(material, passages, queries, taught, _targets(material, dimension, known), seed), known


def _train(
    lesson: Lesson, known: Lexicon, words: NDArray[Any], recipe: Recipe, work: Path
) -> dict[int, dict[str, float]]:
    """Train a head; leave the last one and the best one in `work`, and return the measurements by step."""
    head = heads.new_head(words, known, recipe.seed)
    imitate(head, lesson, known, recipe)
    measured: dict[int, dict[str, float]] = {}

    def watch(step: int) -> None:
        measured[step] = measure(head, lesson, known, recipe)
        log.info("after step %d: %s", step, {name: round(value, 4) for name, value in measured[step].items()})
        _keep(work / "head.npz", head)
        if measured[step]["nDCG@10"] >= max(each["nDCG@10"] for each in measured.values()):
            _keep(work / "best.npz", head)

    watch(0)
    teach(head, lesson, known, recipe, watch)
    return measured


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def _facts(words: NDArray[Any]) -> dict[str, Any]:
    """Return what a model folder says about itself. `words` are the word embeddings: (vocabulary, hidden)."""
    return {
        "kind": "hybrid",
        "runtime": "bundled",
        "family": "splade",
        "licence": "apache-2.0",
        "dim": words.shape[1],
        "vocab_size": words.shape[0],
        "max_tokens": MAX_TOKENS,
        "needs_idf": True,
    }


def _keep(path: Path, head: heads.Head) -> None:
    weights: dict[str, Any] = heads.arrays(head)
    np.savez(path, **weights)


def _targets(material: Material, place: Mapping[str, int], known: Lexicon) -> NDArray[np.float16]:
    """Return the teacher's vectors over the columns of expansion: the highest weight of each word class."""
    column = np.full(len(known.stems), -1)
    column[known.columns] = np.arange(len(known.columns))
    targets = np.zeros((len(material.taught), len(known.columns)), dtype=np.float16)
    for row, (_, vector) in enumerate(material.taught):
        for piece, weight in vector.items():
            stem = known.stems[place[piece]] if piece in place else -1
            if stem >= 0 and column[stem] >= 0:
                targets[row, column[stem]] = max(targets[row, column[stem]], weight)
    return targets


def _lesson(
    material: Material, passages: States, queries: States, taught: States, vectors: NDArray[np.float16], seed: int
) -> Lesson:
    chance = np.random.default_rng(seed)
    domains, answers = np.array(material.domains), np.array(material.answers)
    asked = chance.permutation(material.asked)
    held_out = asked[np.isin(domains[answers[asked]], _MEASURED_DOMAINS)][:_HELD_OUT]
    held_out_taught = np.arange(material.held_out_taught)
    return Lesson(passages, queries, taught, domains, answers, vectors, held_out, held_out_taught)


def _verify(
    fp32: Path,
    int8: Path,
    head: heads.Head,
    source: tuple[BertShape, Mapping[str, NDArray[Any]]],
    lesson: Lesson,
    known: Lexicon,
) -> tuple[float, tuple[float, float]]:
    """Return how far the fp32 graph is from torch, and the mean cosines of int8 to fp32, sparse and dense.

    The first is the largest difference of any value.

    Raises:
        ModelError: that difference is above 1e-4.
    """
    import onnxruntime
    import torch

    plain, small = (
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]) for path in (fp32, int8)
    )
    worst, cosines = 0.0, []
    for side, states in ((heads.QUERY, lesson.queries), (heads.DOCUMENT, lesson.passages)):
        ids = states.texts()[:: max(1, len(states.dense) // _SAMPLES)]
        exact = exact_states(ids, *source)
        for place, each in enumerate(ids):
            inputs = {**pad([each]), "side": np.array(side, dtype=np.int64)}
            sparse, dense = plain.run(["sparse", "dense"], inputs)
            with torch.no_grad():
                batch = heads.batch_of(exact, [place], known)
                query = side == heads.QUERY
                wanted = (heads.queries(head, batch, known) if query else heads.documents(head, batch, known)).numpy()
            worst = max(worst, float(np.abs(wanted - sparse).max()))
            cheap = small.run(["sparse", "dense"], inputs)
            cosines.append((_cosine(sparse[0], cheap[0][0]), _cosine(dense[0], cheap[1][0])))
    if worst > _TOLERANCE:
        raise ModelError(f"The graph differs from torch by {worst:.1e}; {_TOLERANCE} is allowed.")
    means = np.mean(cosines, axis=0)
    return worst, (float(means[0]), float(means[1]))


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norms if norms else 1.0
