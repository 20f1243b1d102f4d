"""What `compare` is given for a side: a run, an earlier evaluation, a collection, or a mode with its settings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from hybrid_search._util.arguments import numbers
from hybrid_search.errors import EvaluationError, InvalidArgument
from hybrid_search.evaluation.modes import BASELINE, RERANK, parse_mode
from hybrid_search.search.options import Option
from hybrid_search.search.request import AUTO, HYBRID, Options, SearchRequest, search_options
from hybrid_search.types import LEGS, LegName

SETTINGS = ("depth", "fusion", "rrf_k", "weights", "rerank", "rerank_depth")
"""Options of a search that may stand behind a mode."""

MODELS = ("profile", "sparse", "dense")
"""Of a collection that is built: what `evaluate` calls `--profile`, `--sparse` and `--dense`."""

_SUFFIXES = (".trec", ".run", ".json", ".txt", ".gz")
"""Of names that no collection has: files are meant."""

_FUSING = ("fusion", "rrf_k", "weights")

Kind = Literal["run", "evaluation", "search"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two things that are compared.

    Args:
        text: as it was typed.
        kind: a TREC run, the JSON of an earlier evaluation, or a search that is made now.
        file: of a run or an evaluation.
        mode: of the search; of an evaluation the mode whose values are taken, empty for the one that is meant anyway.
        collection: that is searched; None for the one that is built in the cache.
        settings: options of the search.
        models: of a collection that is built, by `MODELS`.
    """

    text: str
    kind: Kind
    file: Path | None = None
    mode: str = ""
    collection: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> Options:
        """The options of its search."""
        return cast(Options, dict(self.settings))

    def meaning(self) -> tuple[object, ...]:
        """Return what it stands for, however it is written."""
        file = self.file.resolve() if self.file else None
        chosen = (sorted(self.settings.items(), key=repr), sorted(self.models.items()))
        return self.kind, file, self.mode, self.collection, repr(chosen)


def read_side(
    name: str, text: str, collection: str | None, legs: Collection[LegName], collections: Callable[[], Sequence[str]]
) -> Side:
    """Read what a side is: a file goes before a mode, and a mode before a collection.

    Args:
        name: A or B, for messages.
        text: a file, `FILE.json@MODE`, `NAME`, `NAME@MODE` or `MODE`; behind the last three settings, each after a
            comma: `hybrid:dbsf,depth=200`, `movies,rrf_k=20`, `hybrid,weights=sparse=1,dense=4`.
        collection: whose modes are meant; None for that which is built for the dataset.
        legs: of that collection.
        collections: returns the names of those there are, where it has to be known.

    Raises:
        InvalidArgument: it is none of these, or a setting is unknown or out of range.
        EvaluationError: a file that is meant does not exist, or is neither a run nor JSON.
    """
    if not text.strip():
        raise InvalidArgument(f"{name} is empty. Give a file, the name of a collection, or a mode.")
    if file := _file(text):
        return Side(text, _kind_of(file), file)
    head, comma, rest = text.partition(",")
    before, at, mode = head.rpartition("@")
    if at and (file := _file(before)):
        return _values_of(name, text, file, mode)
    named = before if at else head
    if Path(named).suffix in _SUFFIXES or "/" in named or "\\" in named:
        raise EvaluationError(f"{name} is {text!r}, and there is no such file.")
    if at:
        return _search(name, text, mode, before, rest if comma else None)
    if parse_mode(head).among((BASELINE, HYBRID, *LEGS, *legs), legs):
        return _search(name, text, head, collection, rest if comma else None)
    there = list(collections())
    if head in there:
        return _search(name, text, HYBRID, head, rest if comma else None)
    raise InvalidArgument(
        f"{name} is {text!r}: no file, no mode (such as {', '.join(dict.fromkeys((HYBRID, *legs, BASELINE)))}; "
        f"hybrid:dbsf) and no collection. The store has {', '.join(there) or 'no collection'}."
    )


def _file(text: str) -> Path | None:
    """Return the file that a text names, if there is one."""
    try:
        return Path(text) if Path(text).exists() and not Path(text).is_dir() else None
    except (OSError, ValueError):  # longer than a name may be, or with a sign that none can have
        return None


def _kind_of(file: Path) -> Kind:
    """Say what a file is: JSON begins with a brace, and a run does not.

    Raises:
        EvaluationError: it is no file, or cannot be read.
    """
    if not file.is_file():
        raise EvaluationError(f"{file} is not a file")
    try:
        with file.open("rb") as stream:
            begin = stream.read(256).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise EvaluationError(f"{file} cannot be read: {error.strerror or error}") from error
    return "evaluation" if begin.startswith(b"{") else "run"


def _values_of(name: str, text: str, file: Path, mode: str) -> Side:
    if _kind_of(file) == "run":
        raise InvalidArgument(f"{name} is {text!r}, and {file} is a run, which has no modes. Name the file alone.")
    return Side(text, "evaluation", file, mode)


def _search(name: str, text: str, mode: str, collection: str | None, settings: str | None) -> Side:
    """Return a search in a mode, whose settings stand as a text.

    Raises:
        InvalidArgument: a setting is unknown, given twice, out of range, or for something else than this mode.
    """
    if not mode:
        raise InvalidArgument(f"{name} is {text!r}: a mode is missing behind the @, such as {HYBRID} or sparse.")
    chosen: dict[str, Any] = {}
    models: dict[str, str] = {}
    try:
        for key, value in {} if settings is None else _pairs(settings).items():
            (models if key in MODELS else chosen)[key] = value if key in MODELS else _value(key, value)
        SearchRequest(**{"k": 1, **cast(Any, chosen)})
    except (InvalidArgument, ValueError) as error:
        raise InvalidArgument(f"{name} is {text!r}: {error}") from None
    way = parse_mode(mode)
    if "rerank" in chosen and not way.rerank:
        mode = f"{mode}+{RERANK}"
    wrong = _misplaced(mode, chosen, models, collection)
    if wrong:
        raise InvalidArgument(f"{name} is {text!r}: {wrong}")
    return Side(text, "search", mode=mode, collection=collection, settings=chosen, models=models)


def _misplaced(mode: str, chosen: Mapping[str, Any], models: Mapping[str, str], collection: str | None) -> str:
    """Say which setting does not go with the mode or the collection; nothing where all do."""
    way = parse_mode(mode)
    fusing = [key for key in _FUSING if key in chosen]
    if fusing and not way.fused:
        return f"{' and '.join(fusing)} {'is' if len(fusing) == 1 else 'are'} for legs that are fused, and this is one."
    if way.fusion and "fusion" in chosen:
        return f"the fusion is named twice, {way.fusion} and {chosen['fusion']}. Name it once."
    if way.auto and "weights" in chosen:
        return f"the weights are given twice, by +{AUTO} and by weights=. Give them once."
    if "rerank_depth" in chosen and not way.rerank:
        return f"rerank_depth is for what is re-ranked: {mode}+{RERANK}."
    if models and collection is not None:
        return f"{', '.join(models)}: the collection {collection!r} has its models. Compare it with another collection."
    return ""


def _pairs(text: str) -> dict[str, str]:
    """Return the settings by name. Behind `weights=` stand the weights of legs, up to the next setting.

    Raises:
        InvalidArgument: a part is no setting, or one is given twice.

    >>> _pairs("rrf_k=20,weights=sparse=1,dense=4,depth=50")
    {'rrf_k': '20', 'weights': 'sparse=1,dense=4', 'depth': '50'}
    >>> _pairs("profile=bundled,dense=none")
    {'profile': 'bundled', 'dense': 'none'}
    """
    found: dict[str, str] = {}
    last = ""
    for part in text.split(","):
        key, equals, value = (word.strip() for word in part.partition("="))
        if last == "weights" and equals and key not in (*SETTINGS, "profile"):
            found["weights"] += f",{part.strip()}"
            continue
        if key not in (*SETTINGS, *MODELS) or not equals or not value:
            raise InvalidArgument(
                f"{part.strip()!r} is no setting. Write name=value with any of {', '.join((*SETTINGS, *MODELS))}; "
                "weights as weights=sparse=1,dense=4."
            )
        if key in found:
            raise InvalidArgument(f"{key} is given twice. Give it once.")
        found[key], last = value, key
    return found


def _value(key: str, text: str) -> Any:
    """Return the value of an option of a search for what was typed.

    Raises:
        InvalidArgument: it is no number where one is expected, or weights that cannot be read.
    """
    if key == "weights":
        return AUTO if text == AUTO else numbers(text, "weights")
    kind = _option(key).scalar
    try:
        return int(text) if kind is int else float(text) if kind is float else text
    except ValueError:
        kinds = "a whole number" if kind is int else "a number"
        raise InvalidArgument(f"{key} is {text!r}; it must be {kinds}.") from None


def _option(name: str) -> Option:
    return next(option for option in search_options() if option.name == name)
