"""What documents of a collection are expanded with: as asked for, or as the collection was built."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import NamedTuple

from hybrid_search._util.arguments import shown, whole
from hybrid_search._util.extras import check_extra
from hybrid_search.encoders import hub
from hybrid_search.encoders.hashing import file_hash
from hybrid_search.encoders.local_card import as_json
from hybrid_search.errors import CorpusError, InvalidArgument, ManifestMismatch, ModelError
from hybrid_search.manifest import Expansion, Manifest
from hybrid_search.settings import Settings
from hybrid_search.types import ModelCard

SAMPLES = 40
"""Texts that a model generates for a chunk where it is not said how many."""

MAX_SAMPLES = 1_000
TOP_K, MAX_LENGTH, MAX_INPUT = 10, 64, 512
"""Those of docT5query: tokens to choose from, tokens of a query at most, tokens that are read of a passage."""

_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_FILES = (".jsonl", ".ndjson", ".json", ".tsv", ".csv", ".txt", ".gz")

Expand = Callable[[Sequence[str]], list[str]]
"""Returns what each text is to be expanded with."""


class ExpandWith(NamedTuple):
    """A request to expand documents.

    Args:
        source: a file of expansions; or a model's folder, or its name on the hub.
        samples: texts that a model generates for a chunk; those of the collection, or 40, when not given.
    """

    source: str
    samples: int | None = None

    @classmethod
    def of(cls, asked: str | Path | ExpandWith | None, samples: int | None = None) -> ExpandWith | None:
        """Make one of what a caller gives; None where nothing is asked for.

        Raises:
            InvalidArgument: a number of samples without a model, or no name at all.
        """
        if not isinstance(asked, (str, Path, ExpandWith, NoneType)):
            raise InvalidArgument(f"expand_with is {shown(asked)}; it must be a path, a model's name, or ExpandWith.")
        if asked is None and samples is not None:
            raise InvalidArgument(
                f"expand_samples is {samples}, but no model is named (--expand-with) to generate them."
            )
        return asked if asked is None or isinstance(asked, ExpandWith) else cls(str(asked), samples)


class DocumentExpansion(NamedTuple):
    """How documents are expanded: by a file, or by a model that generates texts for each chunk.

    Args:
        spec: as the manifest records it.
        generate: of a model; None of a file.
    """

    spec: Expansion
    generate: Expand | None = None


def expansion_for(
    collection: str,
    manifest: Manifest | None,
    asked: ExpandWith | None,
    settings: Settings,
    on_download: Callable[[str, int, int], None] | None = None,
) -> DocumentExpansion | None:
    """Return how documents are expanded: as an existing collection was built, or for a new one as asked for.

    Args:
        collection: its name.
        manifest: what it was built with; None for a new one.
        asked: the option; None goes on with what the manifest says.
        settings: where model files are kept.
        on_download: called while a model is fetched.

    Raises:
        ManifestMismatch: another expansion is asked for than the collection has, or its file is gone or has changed.
        CorpusError: there is no such file.
        ModelError: the model is none that generates texts, or cannot be used.
        MissingExtra: the packages that run the model are not installed.
        InvalidArgument: a number of samples that is invalid.
    """
    have = None if manifest is None else manifest.expansion
    if asked is None and have is None:
        return None
    if manifest is not None and asked is not None and have is None:
        raise ManifestMismatch(collection, "the expansion", "none", asked.source)
    usual = have.samples if have and have.samples else SAMPLES
    found = _opened(asked or _of_before(collection, have), usual, settings, on_download)
    if have is not None and found.spec.facts() != have.facts():
        way_out = "Name the file or model that it was built with (--expand-with)"
        raise ManifestMismatch(collection, "the expansion", have, found.spec, way_out)
    return found


def generator_of(expansion: Expansion | None, settings: Settings) -> Expand | None:
    """Return what generates the texts of a collection's expansion, loaded with the first ones; None without a model."""
    if expansion is None or not expansion.samples:
        return None
    from hybrid_search.encoders.torch import TorchGenerator

    model, cache_dir = _card_of(expansion.source), settings.cache_dir
    generator = TorchGenerator(model, cache_dir=cache_dir, threads=settings.threads, device=settings.device)
    return partial(generator.expand, expansion)


def _of_before(collection: str, have: Expansion | None) -> ExpandWith:
    """Return the request that a collection was built with, where its file or folder is still there."""
    source = "" if have is None else have.source
    if Path(source).is_absolute() and not Path(source).exists():
        kind = "folder" if have and have.samples else "file"
        way_out = f"Name the {kind} where it lies now (--expand-with {kind.upper()})"
        raise ManifestMismatch(collection, "the expansion", have, f"none, and that {kind} is not there", way_out)
    return ExpandWith(source)


def _opened(
    asked: ExpandWith, usual: int, settings: Settings, on_download: Callable[[str, int, int], None] | None
) -> DocumentExpansion:
    samples = usual if asked.samples is None else whole("expand_samples", asked.samples, 1, MAX_SAMPLES)
    path = Path(asked.source or "-").expanduser()
    if path.is_file():
        if asked.samples is not None:
            raise InvalidArgument(f"{asked.source} is a file of expansions; samples are for a model. Leave them out.")
        return DocumentExpansion(Expansion(str(path.resolve()), file_hash(path, settings.cache_dir)))
    is_hub = _HUB_NAME.fullmatch(asked.source) and not asked.source.endswith(_FILES)
    if not path.is_dir() and not is_hub:
        raise CorpusError(
            f"There is no file of expansions {asked.source!r}, nor a model folder. Name a file, a model folder, or a "
            "model of the hub such as castorini/doc2query-t5-base-msmarco."
        )
    name = str(path.resolve()) if path.is_dir() else asked.source
    spec = Expansion(name, _fingerprint(name, settings, on_download), samples, MAX_LENGTH, TOP_K)
    return DocumentExpansion(spec, generator_of(spec, settings))


def _fingerprint(name: str, settings: Settings, on_download: Callable[[str, int, int], None] | None) -> str:
    """Fetch a model where it is not here, and hash its files.

    Raises:
        ModelError: it is no sequence-to-sequence model, or cannot be fetched.
    """
    from hybrid_search.encoders.torch import TorchGenerator

    check_extra("torch", f"The model {name}")
    model = _card_of(name)
    folder = hub.ensure(
        model, settings.cache_dir, on_progress=None if on_download is None else partial(on_download, name)
    )
    if as_json(folder, "config.json").get("is_encoder_decoder") is not True:
        raise ModelError(
            f"{name} is no sequence-to-sequence model (is_encoder_decoder in its config.json), so it generates no "
            "expansions. docT5query is one: castorini/doc2query-t5-base-msmarco."
        )
    return TorchGenerator(model, cache_dir=settings.cache_dir).fingerprint()


def _card_of(name: str) -> ModelCard:
    source = "" if Path(name).is_absolute() else name
    return ModelCard(name, "generator", "torch", "seq2seq", max_tokens=MAX_INPUT, source=source)
