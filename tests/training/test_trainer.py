"""The training loop on a tiny BERT: every loss learns, and nothing that happens to it loses a checkpoint."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from hybrid_search.errors import TrainingError
from hybrid_search.training import checkpoints
from hybrid_search.training.callbacks import Watcher
from hybrid_search.training.examples import HeldOut
from hybrid_search.training.models import load_base, without_inference
from hybrid_search.training.trainer import fit
from tests.training.conftest import texts

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("train_extra")]
ROOT = Path(__file__).resolve().parents[2]


def run(recipe, data, folder, told=None):
    base = load_base(recipe.base, texts(40), max_tokens=recipe.max_tokens, device="cpu")
    if recipe.inference_free:
        base = without_inference(base, texts(40))
    return fit(base, data, recipe, folder, on_progress=(told if told is not None else []).append)


def weights(folder):
    load = import_module("safetensors.torch").load_file
    return {path.relative_to(folder).as_posix(): load(path) for path in sorted(folder.rglob("*.safetensors"))}


def same(one, other):
    torch = import_module("torch")
    assert one.keys() == other.keys()
    return all(torch.equal(one[file][name], other[file][name]) for file in one for name in one[file])


@pytest.fixture(scope="module")
def whole(tmp_path_factory, bases, tiny, request):
    """A training that nobody disturbed: its recipe, what came of it, and what it told."""
    from hybrid_search.training.recipe import Recipe

    recipe = Recipe(
        base=str(bases["BertForMaskedLM"]),
        steps=6,
        batch_size=8,
        accumulate=2,
        eval_every=3,
        checkpoint_every=2,
        learning_rate=1e-3,
        device="cpu",
        max_tokens=32,
        seed=3,
    )
    told = []
    folder = tmp_path_factory.mktemp("whole")
    return recipe, run(recipe, tiny, folder, told), told, folder


def test_what_is_watched(whole):
    recipe, fitted, told, folder = whole
    journal = fitted.journal
    assert [one.step for one in journal.evaluations] == [0, 3, 6]
    best = max((one for one in journal.evaluations if one.step), key=lambda one: (one.ndcg, -one.step))
    assert (journal.best, fitted.best) == (best.step, folder / f"best-{best.step}")
    assert [row["step"] for row in journal.curve] == [1, 2, 3, 4, 5, 6]
    assert journal.curve[0]["document_regularizer_weight"] == 0.0
    assert journal.curve[-1]["document_regularizer_weight"] == recipe.regularizer_weights[1]
    assert {"loss", "base_loss", "query_regularizer_loss", "learning_rate", "grad_norm"} <= journal.curve[0].keys()
    assert [one.evaluation.step for one in told if one.evaluation] == [0, 3, 6]
    assert [path.name for path in checkpoints.all_in(folder)] == ["checkpoint-6", "checkpoint-4"]
    assert all(checkpoints.is_whole(path) for path in (*checkpoints.all_in(folder), fitted.best))


def test_the_same_seed_gives_the_same_weights(whole, tiny, tmp_path):
    recipe, fitted, _, _ = whole
    again = run(recipe, tiny, tmp_path)
    assert same(weights(again.best), weights(fitted.best))
    assert not same(weights(again.best), weights(run(replace(recipe, seed=4), tiny, tmp_path / "4").best))


def test_a_finished_training_is_not_done_again(whole, tiny):
    recipe, fitted, _, folder = whole
    told = []
    again = run(recipe, tiny, folder, told)
    assert told == []
    assert again.journal.evaluations == fitted.journal.evaluations


_CHILD = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {root!r})
from hybrid_search.training.examples import Example, HeldOut, TrainingSet
from hybrid_search.training.models import load_base
from hybrid_search.training.recipe import Recipe
from hybrid_search.training.trainer import fit
from hybrid_search.training.callbacks import Watcher
import json
given = json.loads(sys.stdin.read())
examples = tuple(Example(*(tuple(p) if isinstance(p, list) else p for p in row)) for row in given["examples"])
data = TrainingSet(examples, HeldOut(*given["held_out"]))
recipe = Recipe.from_dict(given["recipe"])
base = load_base(recipe.base, (), max_tokens=recipe.max_tokens, device="cpu")
folder = __import__("pathlib").Path(given["folder"])
fit(base, data, recipe, folder, on_progress=lambda now: print(now.done, flush=True))
"""


def test_killed_in_the_middle_it_ends_the_same(whole, tiny, tmp_path):
    """Killed with -9 after step 5, so behind the checkpoint of step 4 and an evaluation that is not in it."""
    recipe, fitted, _, _ = whole
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD.format(root=str(ROOT))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(import_module("torch").get_num_threads())},
    )
    held_out = [dict(part) for part in tiny.held_out]
    child.stdin.write(
        json.dumps(
            {"examples": tiny.examples, "held_out": held_out, "recipe": recipe.to_dict(), "folder": str(tmp_path)}
        )
    )
    child.stdin.close()
    for line in child.stdout:
        if int(line) >= 5:
            break
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    last = checkpoints.last_whole(tmp_path)
    assert last.name in ("checkpoint-4", "checkpoint-6")
    told = []
    resumed = run(recipe, tiny, tmp_path, told)
    assert same(weights(resumed.best), weights(fitted.best))
    assert resumed.journal.evaluations == fitted.journal.evaluations
    if last.name == "checkpoint-4":
        assert told[0].note == "going on from step 4"
        assert resumed.journal.curve == fitted.journal.curve


def test_a_damaged_checkpoint_is_passed_over(whole, tiny, tmp_path):
    recipe = whole[0]
    run(replace(recipe, eval_every=2), tiny, tmp_path)
    (tmp_path / "checkpoint-6" / "optimizer.pt").write_bytes(b"half")
    resumed = run(replace(recipe, eval_every=2), tiny, tmp_path)
    assert checkpoints.is_whole(resumed.best)
    assert checkpoints.last_whole(tmp_path).name == "checkpoint-6"


def test_a_loss_that_is_no_number_stops_the_training(whole, tiny, tmp_path):
    recipe = replace(whole[0], learning_rate=1e12, steps=20, accumulate=1, checkpoint_every=1, eval_every=20)
    message = (
        r"(loss of step \d+ is (nan|inf)|weights that are not finite).*(last checkpoint|no checkpoint).*learning-rate"
    )
    with pytest.raises(TrainingError, match=message):
        run(recipe, tiny, tmp_path)
    torch = import_module("torch")
    for path in checkpoints.all_in(tmp_path):
        assert checkpoints.is_whole(path)
        assert all(torch.isfinite(tensor).all() for file in weights(path).values() for tensor in file.values())


@pytest.mark.parametrize("held_out", [True, False])
def test_weights_that_are_no_numbers_are_neither_judged_nor_kept(whole, tiny, tmp_path, monkeypatch, held_out):
    data = tiny if held_out else tiny._replace(held_out=HeldOut({}, {}, {}))
    torch, real = import_module("torch"), Watcher.step

    def step(self, step, total):
        if step == 6:
            with torch.no_grad():
                next(self._model.parameters()).mul_(float("inf"))
        return real(self, step, total)

    monkeypatch.setattr(Watcher, "step", step)
    with pytest.raises(TrainingError, match=r"After step 6 .* not finite.*checkpoint-4.*smaller --learning-rate"):
        run(whole[0], data, tmp_path)
    assert [path.name for path in checkpoints.all_in(tmp_path)] == ["checkpoint-4", "checkpoint-2"]
    assert not (tmp_path / "best-6").exists()


_SHORT = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 66112 vs 66000")


@pytest.mark.parametrize("victim", ["torch.save", "torch's writer", "safetensors"])
def test_a_full_disk_keeps_the_last_checkpoint(whole, tiny, tmp_path, monkeypatch, victim):
    recipe, fitted, _, _ = whole
    torch, trainer = import_module("torch"), import_module("sentence_transformers")
    place, name = (trainer.SparseEncoder, "save_pretrained") if victim == "safetensors" else (torch, "save")
    fault = _SHORT if victim == "torch's writer" else OSError(errno.ENOSPC, "No space left on device")
    real = getattr(place, name)

    def full(*arguments, **options):
        target = str(arguments[1])
        if "checkpoint-4" in target:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            raise fault
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, full)
        with pytest.raises(
            TrainingError,
            match=r"could not be written .* after step 4: .*(No space left|unexpected pos).*checkpoint-2.*--resume",
        ):
            run(recipe, tiny, tmp_path)
    assert [path.name for path in checkpoints.all_in(tmp_path)] == ["checkpoint-2"]
    assert same(weights(run(recipe, tiny, tmp_path).best), weights(fitted.best))


def test_patience_ends_it_early(whole, tiny, tmp_path):
    recipe = replace(
        whole[0], learning_rate=1e-12, steps=40, accumulate=1, eval_every=2, checkpoint_every=50, patience=2
    )
    fitted = run(recipe, tiny, tmp_path)
    # Nothing changes, so the first evaluation stays the best, and two more are waited for.
    assert [one.step for one in fitted.journal.evaluations] == [0, 2, 4, 6]
    assert (fitted.journal.best, fitted.journal.stopped) == (2, True)
    assert checkpoints.last_whole(tmp_path).name == "checkpoint-6"
    told = []
    run(recipe, tiny, tmp_path, told)
    assert told == []


def test_without_held_out_queries_the_last_weights_are_taken(whole, tiny, tmp_path):
    fitted = run(whole[0], tiny._replace(held_out=HeldOut({}, {}, {})), tmp_path)
    assert (fitted.journal.evaluations, fitted.best.name) == ([], "best-6")


@pytest.mark.parametrize(
    "given",
    [
        {"loss": "contrastive", "regularizer": "l1"},
        {"loss": "margin-mse"},
        {"loss": "kl"},
        {"loss": "vectors"},
        {"inference_free": True},
        {"base": "BertModel"},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_every_way_of_training_learns(whole, tiny, tmp_path, bases, given):
    given = {**given, "base": str(bases[given.get("base", "BertForMaskedLM")])}
    recipe = replace(whole[0], steps=25, accumulate=1, eval_every=25, checkpoint_every=25, learning_rate=3e-3, **given)
    recipe = replace(recipe, head_learning_rate=3e-3)
    curve = run(recipe, tiny, tmp_path).journal.curve
    losses = [row["base_loss"] for row in curve]
    # A table of word weights has less to learn with.
    assert sum(losses[-5:]) < (0.97 if recipe.inference_free else 0.8) * sum(losses[:5])


def test_regularisation_makes_vectors_sparse(whole, tiny, tmp_path):
    recipe = replace(whole[0], steps=25, accumulate=1, eval_every=25, checkpoint_every=25, learning_rate=3e-3)
    dims = []
    for weight in (0.0, 1.0):
        fitted = run(replace(recipe, query_weight=weight, document_weight=weight), tiny, tmp_path / str(weight))
        dims.append(fitted.journal.evaluations[-1].document_dims)
    assert dims[1] < 0.8 * dims[0]
