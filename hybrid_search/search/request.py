"""What a search may ask for: the one place where its options stand, and their checks before anything is encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

from annotated_types import Interval
from typing_extensions import Doc

from hybrid_search._util.arguments import listed, plain, shown
from hybrid_search.corpus.term_weights import EXAMPLE, check_term_weights, parse_weights
from hybrid_search.errors import FusionError, InvalidArgument
from hybrid_search.filters import Condition
from hybrid_search.filters.parser import parse
from hybrid_search.manifest import Manifest
from hybrid_search.ranking.fusion import MIN_RRF_K, RRF_K, Fusion, check_rrf_k, check_shares
from hybrid_search.search.handed_on import read_least_scores
from hybrid_search.search.options import Notation, Option, read_options
from hybrid_search.search.weighted_query import Queries, WeightedQuery, check_query
from hybrid_search.search_defaults import SearchDefaults
from hybrid_search.types import LegName, Mode, in_order

DEPTH = 100
"""Chunks that each leg hands on, where nothing else is asked for."""

MAX_DEPTH = 10_000

RERANK_DEPTH = 50
"""Documents that a re-ranker reads, where nothing else is asked for."""

FUSION: Fusion = "rrf"
"""How legs are fused, where nothing else is asked for."""

HYBRID: Mode = "hybrid"

AUTO: Literal["auto"] = "auto"
"""Given for weights: chosen for each query."""

Weights = Mapping[LegName, float] | Literal["auto"] | None
"""By leg, 1 where not given; or `auto`."""


TermWeights = str | Mapping[str, float] | None
"""By term; or as one text."""

MinScore = str | Mapping[LegName, float] | None
"""By leg; or as one text."""


class CommonOptions(TypedDict, total=False):
    """The options of every search, for type checkers."""

    k: int
    mode: Mode
    depth: int | None
    fusion: Fusion | None
    rrf_k: float | None
    weights: Weights
    rerank: bool | str | None
    rerank_depth: int | None
    rerank_budget_ms: float | None
    where: str | Condition | None
    offset: int
    fold: bool
    highlight: bool
    explain: bool
    min_confidence: float | None
    min_score: MinScore


class Options(CommonOptions, total=False):
    """The keywords of `Searcher.search`, `asearch` and `search_many`, for type checkers: the fields of `SearchRequest`.

    `search_options()` has them as values; a test holds both together.
    """

    vector: TermWeights


@dataclass(frozen=True)
class SearchRequest:
    """What is asked of a search besides the query: each option with its type, default, bounds and help.

    The command line, HTTP, MCP, the terminal and the frameworks' adapters read them from here by `search_options()`.
    What the help leaves out:

    - `mode`: hybrid leaves out the shadow legs; a leg's name searches that leg alone, a shadow leg too.
    - `depth`: 100 where not given, or k or `rerank_depth` where that is more.
    - `weights`: not negative; `ranking/leg_weights.py` says how `auto` chooses them.
    - `fusion`, `rrf_k`, `weights`, `depth`, `rerank`, `rerank_depth`: where not given, the collection's own, if it was
      tuned (`search/defaults.py`), and else what the help says; `defaults` has those that were taken from there.
    - `rerank`: the cross-encoder reads the best chunk of each of the first documents, which then stand in the order
      of its scores; the others follow in the order they had. True takes the setting `reranker`, else the first of the
      catalogue. False re-ranks nothing, whatever the collection's own default is.
    - `where`: in the language of `filters/parser.py`, or a tree of `filters`; it holds inside every leg. A text is
      parsed here, once; `condition` has the tree.
    - `offset`: of fewer documents than are found.
    - `fold`: the ids of the documents that were left out stand in the hit that stands for them.
    - `min_confidence`: of `Results.confidence`, which `ranking/confidence.py` has; where it is None, all are shown.
    - `min_score`: in the leg's own unit, before the fusion, in any leg of the collection; it changes no confidence.
    - `vector`: for the mode's own leg if that is a sparse one, else for the leg `sparse`, else for the only sparse leg;
      the others read the text, and abstain where there is none. The store multiplies by the inverse document frequency
      where it does so for the leg's model. A text is parsed here, once, as `corpus.query_vectors.parse_weights` says.

    Raises:
        InvalidArgument: an option of another type or out of range, no such fusion, a budget where nothing is re-ranked.
        FusionError: weights or an `rrf_k` that are invalid.
        FilterError: a filter that cannot be read.
    """

    k: Annotated[int, Interval(ge=1, le=MAX_DEPTH), Doc("Documents wanted.")] = 10
    mode: Annotated[
        Mode,
        Doc("What to search: hybrid for the collection's legs fused, a leg's name for it alone, a+b for these fused."),
        Notation("hybrid|LEG|A+B"),
    ] = HYBRID
    depth: Annotated[
        int | None,
        Interval(ge=1, le=MAX_DEPTH),
        Doc("Chunks that each leg hands on, at least k."),
        Notation(unset=str(DEPTH)),
    ] = None
    fusion: Annotated[Fusion | None, Doc("How the legs are fused: by rank, or by score."), Notation(unset=FUSION)] = (
        None
    )
    rrf_k: Annotated[
        float | None,
        Interval(ge=MIN_RRF_K),
        Doc("The constant of reciprocal rank fusion."),
        Notation(unset=str(RRF_K)),
    ] = None
    weights: Annotated[
        Weights,
        Doc("Weights of the legs in the fusion, such as sparse=1,dense=0.5; auto chooses them for each query."),
        Notation("LEG=W,...|auto", "1 each"),
    ] = None
    rerank: Annotated[
        bool | str | None,
        Doc("Re-rank with a cross-encoder: a name, a folder, or the usual one where none is named."),
        Notation("[MODEL]"),
    ] = None
    rerank_depth: Annotated[
        int | None,
        Interval(ge=1, le=MAX_DEPTH),
        Doc("Documents that the re-ranker reads."),
        Notation(unset=str(RERANK_DEPTH)),
    ] = None
    rerank_budget_ms: Annotated[
        float | None,
        Interval(gt=0),
        Doc("Milliseconds that re-ranking may take for a query, loading the model not counted."),
        Notation("MS", "no limit", "milliseconds"),
    ] = None
    where: Annotated[
        str | Condition | None,
        Doc("Only what passes a filter, such as \"year >= 1990 and title ~ 'love'\"."),
        Notation("EXPR"),
    ] = None
    offset: Annotated[
        int, Interval(ge=0, le=MAX_DEPTH - 1), Doc("Documents to pass over: 10 for the second page of 10.")
    ] = 0
    fold: Annotated[bool, Doc("Show one of several documents that say the same.")] = False
    highlight: Annotated[bool, Doc("Mark the words that match in the passages, and choose the window to show.")] = True
    explain: Annotated[bool, Doc("Show what each word gave to a hit's score, and the query's expansion.")] = False
    min_confidence: Annotated[
        float | None,
        Interval(gt=0, le=1),
        Doc("Show no hits where the confidence that an answer was found is less."),
        Notation("P", "show all"),
    ] = None
    min_score: Annotated[
        MinScore,
        Doc("Scores below which a leg hands no hit on, such as dense=0.3."),
        Notation("LEG=X,...", "hand all on"),
    ] = None
    vector: Annotated[
        TermWeights,
        Doc(f"Weights of terms for the sparse leg, such as '{EXAMPLE}', instead of what its model makes of a text."),
        Notation("TERM=W..."),
    ] = None
    condition: Condition | None = field(init=False, default=None)
    defaults: SearchDefaults | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        for option in read_options(type(self)):
            value = getattr(self, option.name)
            if value is not option.default:
                self._settle(option.name, _OWN_CHECKS.get(option.name, option.check)(value))
        if self.depth is not None and self.depth < self.k:
            raise InvalidArgument(f"depth is {self.depth}; it must lie in k..{MAX_DEPTH:,}, and k is {self.k}.")
        budget = self.rerank_budget_ms
        if budget is not None and not self.rerank:
            raise InvalidArgument(f"rerank_budget_ms is {budget:g}, but nothing is re-ranked; add rerank (--rerank).")
        if self.where is not None:
            self._settle("condition", self.where if isinstance(self.where, Condition) else parse(self.where))

    def with_values(self, **values: Any) -> SearchRequest:
        """Return a copy with other values, which are taken as they are: nothing is checked a second time."""
        changed = copy(self)
        for name, value in values.items():
            changed._settle(name, value)
        return changed

    def _settle(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def effective_fusion(self) -> Fusion:
        """The fusion to search with."""
        return self.fusion or FUSION

    @property
    def effective_rrf_k(self) -> float:
        """The constant to fuse with."""
        return RRF_K if self.rrf_k is None else self.rrf_k

    @property
    def effective_rerank_depth(self) -> int:
        """The documents that the re-ranker reads, where there is one."""
        return RERANK_DEPTH if self.rerank_depth is None else self.rerank_depth

    @property
    def effective_depth(self) -> int:
        """The depth to search at."""
        read = self.effective_rerank_depth if self.rerank else 0
        return self.depth if self.depth is not None else max(DEPTH, self.k, read)

    @property
    def candidates_needed(self) -> int:
        """The documents that are needed: those to show and those to re-rank, as far as the depth asked for goes."""
        shown = self.offset + (2 if self.fold else 1) * self.k
        return max(shown, min(self.effective_rerank_depth, self.effective_depth)) if self.rerank else shown

    @property
    def term_weights(self) -> Mapping[str, float] | None:
        """The weights of the query's terms, where they are given."""
        return self.vector if isinstance(self.vector, Mapping) else None

    @property
    def least_scores(self) -> Mapping[LegName, float]:
        """The scores below which legs hand nothing on, where there are any."""
        return self.min_score if isinstance(self.min_score, Mapping) else {}

    @property
    def static_weights(self) -> Mapping[LegName, float] | None:
        """The weights, where they are the same for every query."""
        return self.weights if isinstance(self.weights, Mapping) else None


class Keywords(Options, total=False):
    """What a searcher's methods take: options one by one, or all of them in `request`, which is checked already."""

    request: SearchRequest


class CommonKeywords(CommonOptions, total=False):
    """The same, of a search that takes no `vector` of term weights."""

    request: SearchRequest


def request_of(keywords: Keywords | CommonKeywords) -> SearchRequest:
    """Return what is asked, checked once: the request as it is, or one made of the other keywords.

    Raises:
        InvalidArgument: a request and other keywords, or a request that is none.
        HybridSearchError: as `SearchRequest`.
    """
    options: dict[str, Any] = dict(keywords)
    request = options.pop("request", None)
    if request is None:
        return SearchRequest(**options)
    if not isinstance(request, SearchRequest):
        raise InvalidArgument(f"request is {shown(request)}; it must be a SearchRequest.")
    if options:
        raise InvalidArgument(f"{', '.join(options)} and a request are given; put every option into the request.")
    return request


def search_options() -> tuple[Option, ...]:
    """Return every option of a search: name, type, default, bounds and help, in the order of `SearchRequest`."""
    return read_options(SearchRequest)


def check_queries(queries: Queries, vector: Mapping[str, float] | None = None) -> list[WeightedQuery]:
    """Return the queries as a list, if each is a text that is not empty, or has weights of terms.

    Args:
        queries: texts, or texts with weights.
        vector: weights of the terms of the only query.

    Raises:
        InvalidArgument: they are one text instead of several, one of them is no text, or is empty; or there are
            weights for one query and several queries.
    """
    given = listed("queries", queries, "texts", "search_many([{0}]), or search({0}) for one")
    if vector is not None and len(given) != 1:
        raise InvalidArgument(
            f"vector is for one query, and there are {len(given)}. Give each its own: WeightedQuery(text, weights)."
        )
    single = len(given) == 1
    return [
        check_query("The query" if single else f"queries[{place}]", query, vector) for place, query in enumerate(given)
    ]


def resolve_mode(mode: Mode, manifest: Manifest, collection: str) -> tuple[Mode, tuple[LegName, ...]]:
    """Resolve the mode that is searched in, and its legs: hybrid with one leg is that leg alone.

    Raises:
        InvalidArgument: a mode whose leg the collection lacks, or one that names a leg twice.
    """
    if mode == HYBRID:
        legs = manifest.fused()
        return (mode, legs) if len(legs) > 1 else (legs[0], legs)
    named = mode.split("+")
    for leg in named:
        if leg not in manifest.legs:
            raise InvalidArgument(
                f"Collection {collection!r} has no {leg!r} leg. Search it with --mode {_or(available_modes(manifest))}."
            )
    if len(set(named)) < len(named):
        raise InvalidArgument(f"The mode {mode!r} names a leg twice; name each leg once.")
    return mode, in_order(named)


def dense_leg(manifest: Manifest, collection: str) -> LegName:
    """Return the leg whose vectors can be compared with each other: the first dense one, a fused one if any is.

    Raises:
        InvalidArgument: the collection has none.
    """
    for leg in (*manifest.fused(), *in_order(manifest.legs)):
        if manifest.legs[leg].kind == "dense":
            return leg
    raise InvalidArgument(f"Collection {collection!r} has no dense leg, only {', '.join(in_order(manifest.legs))}.")


def available_modes(manifest: Manifest) -> tuple[Mode, ...]:
    """Return the ways to search a collection, `a+b` left out: `hybrid` where several legs are fused, then each leg."""
    hybrid = (HYBRID,) if len(manifest.fused()) > 1 else ()
    return (*hybrid, *in_order(manifest.legs))


def _or(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _rrf_k(value: Any) -> float | None:
    if value is None:
        return None
    check_rrf_k(value)
    return plain(value)


def _weights(value: Any) -> Weights:
    by_leg = isinstance(value, Mapping) and len(value) > 0
    if not (value is None or by_leg or (isinstance(value, str) and value == AUTO)):
        raise FusionError(
            f"weights is {shown(value)}; give a number by leg, such as sparse=1, or 'auto'; None for 1 each."
        )
    if not isinstance(value, Mapping):
        return AUTO if value == AUTO else None
    check_shares(value)
    return {leg: plain(weight) for leg, weight in value.items()}


def _rerank(value: Any) -> bool | str | None:
    if not (value is None or isinstance(value, (bool, str))) or value == "":
        raise InvalidArgument(f"rerank is {shown(value)}; give True, or the name or folder of a cross-encoder.")
    return value


def _vector(value: Any) -> Mapping[str, float] | None:
    if value is None or isinstance(value, Mapping):
        return None if value is None else check_term_weights(value)
    if not isinstance(value, str):
        raise InvalidArgument(f"vector is {shown(value)}; give the weights of terms: a mapping, or '{EXAMPLE}'.")
    return parse_weights(value)


_OWN_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "rrf_k": _rrf_k,
    "weights": _weights,
    "rerank": _rerank,
    "vector": _vector,
    "min_score": read_least_scores,
}
"""Checks of options whose type says too little, or whose errors are of another class."""
