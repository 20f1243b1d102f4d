"""What callers send: one form for search and one for explain, from a body or from the query of an address."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from hybrid_search.errors import InvalidArgument
from hybrid_search.integrations.gateway.strict_json import Unreadable
from hybrid_search.integrations.http.limits import Limits
from hybrid_search.ranking.fusion import RRF_K, Fusion
from hybrid_search.search.request import Options

MAX_NAMES = 100
"""Fields of a form, or of an object in one: what has more is refused before each of them is judged."""

NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d{1,17})?([eE][+-]?\d{1,3})?")
WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Asked(BaseModel):
    """What search and explain share; `search.request.SearchRequest` says the same of a library's search."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str = Field(min_length=1, description="What to look for, in any words.")
    collection: str = Field(min_length=1, max_length=120, description="The collection's name.")
    k: int = Field(10, description="Documents wanted.")
    offset: int = Field(0, description="Documents to pass over: 10 for the second page.")
    mode: str = Field(
        "hybrid",
        min_length=1,
        max_length=200,
        description="`hybrid` for the collection's legs fused, a leg's name for that one alone, `a+b` for these fused.",
    )
    where: str = Field("", description="Only what passes a filter, such as `year >= 1990 and title ~ 'love'`.")
    depth: int | None = Field(None, description="Chunks that each leg hands on; 100, or more where k is.")
    fusion: Fusion = Field("rrf", description="How the legs are fused.")
    rrf_k: float = Field(RRF_K, ge=0, allow_inf_nan=False, description="The constant of reciprocal rank fusion.")
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | Literal["auto"] | None = Field(
        None, description="Of the legs in the fusion, by leg, 1 where not given; `auto` chooses them by the query."
    )
    rerank: bool = Field(False, description="Re-rank with the server's cross-encoder; refused where it has none.")
    rerank_depth: int = Field(50, description="Documents that the cross-encoder reads.")
    rerank_budget_ms: Positive | None = Field(None, description="Milliseconds that re-ranking may take.")
    fold: bool = Field(False, description="Leave out documents that say the same as one before them.")

    def options(self, reranker: str | bool | None) -> Options:
        """The keywords of `Searcher.search`.

        Raises:
            InvalidArgument: re-ranking is wanted, and there is no re-ranker.
        """
        if self.rerank and not reranker:
            raise InvalidArgument("This server re-ranks nothing. Leave rerank out, or start it with --rerank.")
        return {
            "k": self.k,
            "offset": self.offset,
            "mode": self.mode,
            "where": self.where or None,
            "depth": self.depth,
            "fusion": self.fusion,
            "rrf_k": self.rrf_k,
            "weights": self.weights,
            "rerank": reranker if self.rerank else None,
            "rerank_depth": self.rerank_depth,
            "rerank_budget_ms": self.rerank_budget_ms,
            "fold": self.fold,
        }


class SearchForm(Asked):
    """A search."""

    highlight: bool = Field(True, description="Mark what matches in the passages, and choose the window to show.")
    explain: bool = Field(False, description="Add what each word gave to a hit's score, and the query's expansion.")

    def options(self, reranker: str | bool | None) -> Options:
        return {**super().options(reranker), "highlight": self.highlight, "explain": self.explain}


class ExplainForm(Asked):
    """An explanation: of the query, or with `doc` of a document's place; then the options of search count."""

    doc: str = Field("", description="Why this document is, or is not, in the list that search gives.")
    leg: str = Field("sparse", min_length=1, max_length=40, description="The sparse leg whose model is asked.")


class Forms(NamedTuple):
    """The forms under a server's limits."""

    search: type[SearchForm]
    explain: type[ExplainForm]


Form = TypeVar("Form", bound=Asked)


def forms_of(limits: Limits) -> Forms:
    """The forms, with a server's limits in them, so that they are judged in one place and published as they are."""

    def limited(form: type[Form], name: str) -> type[Form]:
        bounds: dict[str, dict[str, Any]] = {
            "query": {"min_length": 1, "max_length": limits.characters},
            "where": {"max_length": limits.characters},
            "doc": {"max_length": limits.characters},
            "k": {"ge": 1, "le": limits.k},
            "offset": {"ge": 0, "le": limits.offset},
            "depth": {"ge": 1, "le": limits.depth},
            "rerank_depth": {"ge": 1, "le": limits.depth},
        }
        narrower: dict[str, Any] = {}
        for field in bounds.keys() & form.model_fields.keys():
            info = form.model_fields[field]
            said: dict[str, Any] = {"description": info.description}
            if not info.is_required():
                said["default"] = info.default
            # The bound of a number that may be missing is the number's.
            bound = bounds[field]
            kind: Any = Annotated[int, Field(**bound)] | None if info.annotation == int | None else info.annotation
            narrower[field] = (kind, Field(**said, **({} if info.annotation == int | None else bound)))
        made: type[Form] = create_model(name, __base__=form, __doc__=form.__doc__, **narrower)
        return made

    return Forms(limited(SearchForm, "Search"), limited(ExplainForm, "Explain"))


def from_value(form: type[Form], value: Any, line: int | None = None) -> Form:
    """Read a form from what stood in the JSON.

    Raises:
        InvalidArgument: it is not of this form; every problem is told.
    """
    for name, part in (("the body", value), *(value.items() if isinstance(value, dict) else ())):
        if isinstance(part, dict) and len(part) > MAX_NAMES:
            where = "" if line is None else f"Line {line}: "
            raise InvalidArgument(f"{where}{name} has {len(part):,} names; {MAX_NAMES} are the most.")
    try:
        return form.model_validate(value)
    except ValidationError as error:
        raise _refused(error, line) from None


def from_query(form: type[Form], query: bytes) -> Form:
    """Read a form from the query of an address: each field once at most, `true` and `false` for what is either.

    Raises:
        Unreadable: its percent-encoded bytes are no UTF-8.
        InvalidArgument: not of this form; every problem is told.
    """
    values: dict[str, Any] = {}
    for name, text in _pairs(query):
        if name in values:
            raise InvalidArgument(f"{name} is given more than once.")
        values[name] = _value(form, name, text)
    if "weights" in values and values["weights"] != "auto":
        raise InvalidArgument("weights by leg are for POST; in an address only weights=auto can stand.")
    return from_value(form, values)


def _pairs(query: bytes) -> list[tuple[str, str]]:
    text = query.decode("ascii", "replace")
    if text.count("&") >= MAX_NAMES:
        raise InvalidArgument(f"The address has more than {MAX_NAMES} fields.")
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise Unreadable(f"The address is no UTF-8: {error.reason}, in {error.object[:60]!r}.") from None


def _value(form: type[Asked], name: str, text: str) -> Any:
    """As the type that the field has; the text itself where it is no such thing, and validation says so."""
    kinds = _kinds(form).get(name, frozenset())
    if "boolean" in kinds:
        return {"true": True, "false": False}.get(text, text)
    if "number" in kinds and NUMBER.fullmatch(text):
        return float(text)
    return int(text) if "integer" in kinds and WHOLE.fullmatch(text) else text


@lru_cache(maxsize=8)
def _kinds(form: type[Asked]) -> dict[str, frozenset[str]]:
    """The types of JSON that each field takes."""
    properties = form.model_json_schema()["properties"]
    return {
        name: frozenset(one.get("type", "string") for one in schema.get("anyOf", [schema]))
        for name, schema in properties.items()
    }


def _refused(error: ValidationError, line: int | None) -> InvalidArgument:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    where = "" if line is None else f"Line {line}: "
    said = [f"{'.'.join(map(str, p['loc'])) or 'the body'}: {p['msg'][:1].lower()}{p['msg'][1:]}" for p in problems]
    more = f"; and {len(said) - 5} more" if len(said) > 5 else ""
    return InvalidArgument(f"{where}{'; '.join(said[:5])}{more}.")
