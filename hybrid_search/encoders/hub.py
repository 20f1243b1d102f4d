"""Locates model files, and downloads them.

Looking is offline: first the given cache folder, then the ordinary Hugging Face cache. Before a download, the hub must
answer within three seconds, so a machine without a network hears at once what is missing. The libraries that run models
only ever get a complete folder; none of them downloads anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_search._util import quiet_loggers, quiet_warnings
from hybrid_search.encoders.bundled.package import OWN_FILES, OWN_FOLDER, model_folder, not_installed
from hybrid_search.encoders.hashing import file_hash
from hybrid_search.errors import ModelError, ModelUnavailable
from hybrid_search.types import ModelCard

Progress = Callable[[int, int], None]
"""Called with (bytes done, total bytes as far as known), from any thread."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_HELPERS = ("config.json", "special_tokens_map.json")
_TORCH_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors", "*/*.json", "*/*.txt", "*/*.safetensors")
_TORCH_CONFIGS = ("config.json", "modules.json")
_TORCH_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_FORGET_SILENCE_S = 30.0


class FileCheck(NamedTuple):
    """The result of checking one file of a model on this machine.

    `sound` is True if the content is what the cache says, False if it is damaged, None if nothing on this machine says
    what it should be.
    """

    name: str
    path: Path
    size: int
    sha256: str
    sound: bool | None


def has_files(card: ModelCard) -> bool:
    """Say whether a model has files: the engine's BM25 has none, nor have terms that come with their weights."""
    return card.runtime not in ("engine", "terms")


def folder_of(card: ModelCard, cache_dir: Path) -> Path | None:
    """Return the folder with all files of a model; None if some are not on this machine. Never uses the network.

    None for a model without files, too.
    """
    if not has_files(card):
        return None
    if card.runtime == "bundled":
        return _bundled_folder(card)
    if not card.source:
        folder = Path(card.name)
        return folder if _complete(card, folder) else None
    for root in (cache_dir, _hub_cache()):
        for snapshot in _snapshots(root / f"models--{card.source.replace('/', '--')}", card.revision):
            if _complete(card, snapshot):
                return snapshot
    return None


def is_here(card: ModelCard, cache_dir: Path) -> bool:
    """Return whether the model can be used without a network."""
    return not has_files(card) or folder_of(card, cache_dir) is not None


def ensure(card: ModelCard, cache_dir: Path, *, on_progress: Progress | None = None) -> Path:
    """Return the model's folder; download it first if it is missing and the hub answers.

    Raises:
        ModelUnavailable: the files are missing and cannot be downloaded; without a hub that takes at most four seconds.
        ModelError: the model has no files.
    """
    folder = folder_of(card, cache_dir)
    if folder is not None:
        return folder
    if not has_files(card):
        raise ModelError(f"{card.name} has no files.")
    if card.runtime == "bundled" and card.family != "dense":
        raise ModelUnavailable(f"The files of {card.name} are part of hybrid-search and are missing: install it again.")
    if card.runtime == "bundled":
        raise not_installed(card)
    if not card.source:
        missing = ", ".join(name for name in needed_files(card) if not (Path(card.name) / name).is_file())
        raise ModelUnavailable(f"The model folder {card.name} lacks {missing or 'its config or weights'}.")
    return download(card, cache_dir, on_progress=on_progress)


def repaired(card: ModelCard, cache_dir: Path, *, on_progress: Progress | None = None) -> Path:
    """Return the model's folder with sound files; damaged and missing files are downloaded.

    Raises:
        ModelUnavailable: a file has to be downloaded and cannot be.
    """
    damaged = folder_of(card, cache_dir) and any(check.sound is False for check in verify(card, cache_dir))
    return (download if damaged else ensure)(card, cache_dir, on_progress=on_progress)


def download(card: ModelCard, cache_dir: Path, *, on_progress: Progress | None = None) -> Path:
    """Download what is missing of a model's files into `cache_dir`; return the model's folder.

    The card's revision is used if it names one. Existing files are not downloaded again, and an interrupted download is
    resumed. A file whose content is not what the cache says is downloaded again.

    Raises:
        ModelUnavailable: the hub does not answer or refuses, the disk is full, or the hub no longer has the files.
    """
    if not card.source:
        return ensure(card, cache_dir)
    # Asked before anything damaged is taken away: the library makes do with what is left where no hub answers.
    if not hub_answers():
        raise _unavailable(card, cache_dir)
    from huggingface_hub import snapshot_download

    _discard_damaged(card, cache_dir)
    folder = cache_dir
    with _download_errors(card, cache_dir):
        for patterns in _patterns(card):
            if not _complete(card, folder):
                with quiet_loggers("huggingface_hub", level=logging.CRITICAL), quiet_warnings():
                    found = snapshot_download(
                        card.source,
                        revision=card.revision or None,
                        cache_dir=cache_dir,
                        allow_patterns=patterns,
                        tqdm_class=_counter(on_progress),
                    )
                folder = Path(found)
    if not _complete(card, folder):
        missing = ", ".join(name for name in needed_files(card) if not (folder / name).is_file())
        raise ModelUnavailable(
            f"{card.source} was downloaded, but has no {missing or 'config or weights'}; "
            f"the card of {card.name} is out of date."
        )
    return folder


def _patterns(card: ModelCard) -> list[list[str]]:
    """Return the files to download, as lists of names or globs; a later list is tried if the first lacks something."""
    if card.runtime == "torch":  # pickled weights only where there are no others
        return [list(_TORCH_PATTERNS), [*_TORCH_PATTERNS, "pytorch_model.bin"]]
    return [[*needed_files(card), *_HELPERS]]


@contextlib.contextmanager
def _download_errors(card: ModelCard, cache_dir: Path) -> Iterator[None]:
    """Translate the hub library's errors; its transport errors have no common root across its versions."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as fault:
        raise ModelUnavailable(
            f"{card.name} is gated: accept its terms at {_endpoint()}/{card.source}, then log in with `hf auth login` "
            "(or set HF_TOKEN) and try again."
        ) from fault
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as fault:
        what = f"revision {card.revision!r} of {card.source}" if card.revision else card.source
        raise ModelUnavailable(
            f"{_endpoint()} has no {what}, or hides it from you. Set HF_TOKEN if it is private."
        ) from fault
    except Exception as fault:
        reason = str(fault).strip().splitlines() or [type(fault).__name__]
        raise _unavailable(card, cache_dir, reason[0]) from fault


_answers: dict[str, tuple[bool, float]] = {}
_asking = threading.Lock()


def hub_answers(timeout_s: float = 3.0) -> bool:
    """Return whether a model hub can be reached; False at once in offline mode (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE).

    HF_ENDPOINT (or huggingface.co) is asked once per process; a missing answer is forgotten after half a minute. The
    limit holds even if the name look-up hangs, because an abandoned thread does the asking.
    """
    if _offline():
        return False
    endpoint = _endpoint()
    with _asking:
        answer, when = _answers.get(endpoint, (False, -_FORGET_SILENCE_S))
        if answer or time.monotonic() - when < _FORGET_SILENCE_S:
            return answer
        heard: list[bool] = []
        worker = threading.Thread(target=_ask, args=(endpoint, timeout_s, heard), daemon=True)
        worker.start()
        worker.join(timeout_s)
        _answers[endpoint] = (bool(heard), time.monotonic())
        return bool(heard)


def verify(card: ModelCard, cache_dir: Path) -> list[FileCheck]:
    """Read every file of a model and compare it with what the hub's cache says about it.

    The cache names a file's content: SHA-256 for large files, git's SHA-1 for small ones.

    Raises:
        ModelUnavailable: the files are not on this machine.
    """
    if not has_files(card):
        return []
    folder = folder_of(card, cache_dir)
    if folder is None:
        raise ModelUnavailable(f"{card.name} is not on this machine. Get it: hybrid-search models download {card.name}")
    checks = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        sha256 = file_hash(path, cache_dir, trust_memory=False)
        sound = _matches(path, sha256, _content_name(path))
        checks.append(FileCheck(path.relative_to(folder).as_posix(), path, path.stat().st_size, sha256, sound))
    return checks


def needed_files(card: ModelCard) -> tuple[str, ...]:
    """Return the files without which the model cannot be loaded; none for torch, whose layouts differ."""
    if card.runtime == "torch":
        return ()
    if card.family == "bm25":
        return card.files
    static = card.files[:1] == ("model.safetensors",)
    return (*card.files, *(TOKENIZER_FILES[:1] if static else TOKENIZER_FILES))


def _complete(card: ModelCard, folder: Path) -> bool:
    if not all((folder / name).is_file() for name in needed_files(card)):
        return False
    if card.runtime == "torch":
        described = any((folder / name).is_file() for name in _TORCH_CONFIGS)
        return described and any(path.is_file() for name in _TORCH_WEIGHTS for path in folder.rglob(name))
    return True


def _bundled_folder(card: ModelCard) -> Path | None:
    if card.family == "dense":
        return model_folder()
    return OWN_FOLDER if all((OWN_FOLDER / name).is_file() for name in OWN_FILES) else None


def _snapshots(repository: Path, revision: str) -> Iterator[Path]:
    """Yield the folders of a cached repository that may hold the model, best first: the given revision, or else any."""
    if revision:
        yield repository / "snapshots" / revision
        return
    with contextlib.suppress(OSError):
        yield repository / "snapshots" / (repository / "refs" / "main").read_text("ascii").strip()
    with contextlib.suppress(OSError):
        yield from sorted((repository / "snapshots").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _ask(endpoint: str, timeout_s: float, heard: list[bool]) -> None:
    get_session: Any = import_module("huggingface_hub.utils").get_session
    with contextlib.suppress(Exception):
        status = int(get_session().head(endpoint, timeout=timeout_s).status_code)
        # A proxy's refusal or a server's failure is no hub; a page that is not there still is one.
        if status < 500 and status not in (403, 407):
            heard.append(True)


def _unavailable(card: ModelCard, cache_dir: Path, reason: str = "") -> ModelUnavailable:
    size = f" ({card.size_mb} MB)" if card.size_mb else ""
    why = "offline mode is on (HF_HUB_OFFLINE)" if _offline() else f"{_endpoint()} does not answer"
    if reason:
        why = f"fetching them from {_endpoint()} failed: {reason.rstrip('.')}"
    without = "" if card.kind in ("reranker", "generator") else "; or use the profile 'bundled', which needs no hub"
    get = f"hybrid-search models download {card.name}"
    if card.kind == "generator":  # which is in no catalogue
        get = f"hf download {card.source} --cache-dir {cache_dir}"
    return ModelUnavailable(
        f"The files of {card.name}{size} are not on this machine, and {why}. On a connected machine run "
        f"`{get}` and copy {cache_dir} here; or set HF_ENDPOINT to a mirror"
        f"{without}."
    )


def _counter(on_progress: Progress | None) -> type[Any]:
    """Return a progress bar class that draws nothing and passes the bytes on."""
    tqdm: Any = import_module("tqdm.auto").tqdm  # comes with huggingface_hub

    class Counter(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # Of the several bars of one download the one for bytes on disk; the others count files and packets.
            self.counts_bytes = kwargs.get("unit") == "B" and kwargs.get("desc") != "Downloading bytes"
            self.done = int(kwargs.get("initial") or 0)
            kwargs["disable"] = True
            super().__init__(*args, **kwargs)
            self.total = kwargs.get("total")

        def update(self, n: float | None = 1) -> bool | None:
            self.done += int(n or 0)
            if on_progress is not None and self.counts_bytes:
                on_progress(self.done, int(self.total or 0))
            return None

    return Counter


def _discard_damaged(card: ModelCard, cache_dir: Path) -> None:
    """Remove damaged files from our cache, because the hub library takes any existing file for a whole one."""
    for snapshot in _snapshots(cache_dir / f"models--{card.source.replace('/', '--')}", card.revision):
        for path in [path for path in snapshot.rglob("*") if path.is_file()]:
            if _matches(path, file_hash(path, cache_dir, trust_memory=False), _content_name(path)) is False:
                for link in reversed(_links(path)):
                    link.unlink()


def _content_name(path: Path) -> str | None:
    """Return the name of the blob that a cached file links to, a hash of its content; None for no such link."""
    for link in _links(path)[1:]:
        if link.parent.name == "blobs" and link.parent.parent.name.startswith("models--"):
            return link.name
    return None


def _links(path: Path) -> list[Path]:
    """Return a cached file and what it links to: the repository's blob and, in newer caches, the whole cache's."""
    chain = [path]
    while chain[-1].is_symlink() and len(chain) < 5:
        target = chain[-1].parent / chain[-1].readlink()
        chain.append(target.parent.resolve() / target.name)
    return chain


def _matches(path: Path, sha256: str, name: str | None) -> bool | None:
    if name is None:
        return None
    if re.fullmatch(r"[0-9a-f]{64}", name):
        return name == sha256
    if re.fullmatch(r"[0-9a-f]{40}", name):
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\x00" % len(content) + content, usedforsecurity=False).hexdigest() == name
    return None
