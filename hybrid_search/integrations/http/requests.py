"""What callers send: models of a search and of an explanation, made of the options that a search has.

The options stand in `search.request`, once. What is added here is a server's own: the query and its collection, the
limits, and that a caller may have the server's re-ranker but name none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache, reduce
from operator import or_
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic.fields import FieldInfo

from hybrid_search.errors import InvalidArgument
from hybrid_search.integrations.http.limits import Limits
from hybrid_search.integrations.option_fields import field_of
from hybrid_search.search.request import Options, search_options

MAX_NAMES = 100
"""Fields of a form, or of an object in one: what has more is refused before each of them is judged."""

MAX_TERMS = 1_000
"""Terms whose weights one search may give."""

QUERY = "What to look for, in any words; empty where vector alone is meant."
RERANK = "Re-rank with the server's cross-encoder; refused where it has none."
NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d{1,17})?([eE][+-]?\d{1,3})?")
WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Score = Annotated[float, Field(allow_inf_nan=False)]
TermWeight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class QueryForm(BaseModel):
    """The fields that search and explain share."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str
    collection: str

    def options(self, reranker: str | bool | None) -> Options:
        """Return the keywords of `Searcher.search`.

        Raises:
            InvalidArgument: re-ranking is wanted, and there is no re-ranker.
        """
        names = {option.name for option in search_options()} & type(self).model_fields.keys()
        given: dict[str, Any] = {name: getattr(self, name) for name in names}
        if given["rerank"] and not reranker:
            raise InvalidArgument("This server re-ranks nothing. Leave rerank out, or start it with --rerank.")
        # Where the server has none, a collection's own search defaults do not bring one in.
        unasked = None if reranker else False
        own = {"where": given["where"] or None, "rerank": reranker if given["rerank"] else unasked}
        return cast(Options, {**given, **own})


class SearchForm(QueryForm):
    """A search."""


class ExplainForm(QueryForm):
    """An explanation: of the query, or with `doc` of a document's place; then the options of search count."""

    doc: str
    leg: str


Form = TypeVar("Form", bound=QueryForm)


class Forms(NamedTuple):
    """The models under a server's limits: as the JSON of a body, and as the query of an address."""

    search: type[SearchForm]
    search_address: type[SearchForm]
    explain: type[ExplainForm]
    explain_address: type[ExplainForm]


def forms_of(limits: Limits) -> Forms:
    """Return the models with a server's limits in them, so that they are judged and published in one place."""
    text = Annotated[str, Field(max_length=limits.characters)]
    name = Annotated[str, Field(min_length=1)]
    asked: dict[str, Any] = {
        "query": (text, Field(description=QUERY)),
        "collection": (Annotated[name, Field(max_length=120)], Field(description="The collection's name.")),
        **_option_fields(limits, text),
    }
    explained = {field: kind for field, kind in asked.items() if field not in ("highlight", "explain")}
    says = "Why this document is, or is not, in the list that search gives."
    explained["doc"] = (text, Field("", description=says))
    leg = Annotated[name, Field(max_length=40)]
    explained["leg"] = (leg, Field("sparse", description="The sparse leg whose model is asked."))
    search = create_model("Search", __base__=SearchForm, __doc__=SearchForm.__doc__, **asked)
    explain = create_model("Explain", __base__=ExplainForm, __doc__=ExplainForm.__doc__, **explained)
    return Forms(search, in_address(search), explain, in_address(explain))


def _option_fields(limits: Limits, text: Any) -> dict[str, tuple[Any, FieldInfo]]:
    """Return the options of a search as fields of a model.

    A few have another type than in a library: a text has a length, and a caller may have the server's re-ranker, but
    name none.
    """
    most = {"k": limits.k, "offset": limits.offset, "depth": limits.depth, "rerank_depth": limits.depth}
    own: dict[str, tuple[Any, dict[str, Any]]] = {
        "mode": (Annotated[str, Field(min_length=1, max_length=200)], {}),
        "where": (text, {"default": ""}),
        "weights": (dict[str, Share] | Literal["auto"] | None, {}),
        "rerank": (bool, {"default": False, "description": RERANK}),
        "min_score": (dict[str, Score] | text | None, {}),
        "vector": (dict[str, TermWeight] | text | None, {}),
    }
    found: dict[str, tuple[Any, FieldInfo]] = {}
    for option in search_options():
        kind, said = own.get(option.name, (None, {}))
        made, field = field_of(replace(option, most=most.get(option.name, option.most)), **said)
        found[option.name] = (kind or made, field)
    return found


class _Texts(BaseModel):
    """A model that is read from texts: `true` and `false` for what is either, numbers for numbers."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, texts: dict[str, Any]) -> dict[str, Any]:
        # Some releases of FastAPI put the defaults in, which are no texts.
        return {name: _value(cls, name, text) if isinstance(text, str) else text for name, text in texts.items()}


def in_address(form: type[Form]) -> type[Form]:
    """Return a model of the query of an address: as the body's, but it has no null, and no object."""
    narrower: dict[str, Any] = {}
    for name, info in form.model_fields.items():
        flat = (one for one in get_args(info.annotation) if get_origin(one) not in (dict, Mapping))
        kinds = [one for one in flat if one is not NoneType]
        if NoneType in get_args(info.annotation):
            narrower[name] = (reduce(or_, kinds), Field(default_factory=lambda: None, description=info.description))
    bases: Any = (_Texts, form)
    return cast("type[Form]", create_model(f"{form.__name__}InAddress", __base__=bases, **narrower))


def from_value(form: type[Form], value: Any, line: int) -> Form:
    """Read a form from what stood in a line of JSON.

    Raises:
        InvalidArgument: it is not of this form; every problem is told.
    """
    check_names(value, f"Line {line}: ")
    try:
        return form.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidArgument(f"Line {line}: {problems_text((p['loc'], p['msg']) for p in problems)}") from None


def check_names(value: Any, where: str = "") -> None:
    """Refuse an object, or one in it, that has too many names: InvalidArgument."""
    for name, part in (("the body", value), *(value.items() if isinstance(value, dict) else ())):
        most = MAX_TERMS if name == "vector" else MAX_NAMES
        if isinstance(part, dict) and len(part) > most:
            raise InvalidArgument(f"{where}{name} has {len(part):,} names; {most:,} are the most.")


def problems_text(problems: Iterable[tuple[tuple[int | str, ...], str]]) -> str:
    """Tell what is wrong with a form: each place and what should stand there, five at most."""
    said = [f"{'.'.join(map(str, place)) or 'the body'}: {text[:1].lower()}{text[1:]}" for place, text in problems]
    more = f"; and {len(said) - 5} more" if len(said) > 5 else ""
    return f"{'; '.join(said[:5])}{more}."


def _value(form: type[BaseModel], name: str, text: str) -> Any:
    """Return a text as the type that the field has; itself where it is no such thing, and validation says so."""
    kinds = _kinds(form).get(name, frozenset())
    if "boolean" in kinds:
        return {"true": True, "false": False}.get(text, text)
    if "number" in kinds and NUMBER.fullmatch(text):
        return float(text)
    return int(text) if "integer" in kinds and WHOLE.fullmatch(text) else text


@lru_cache(maxsize=8)
def _kinds(form: type[BaseModel]) -> dict[str, frozenset[str]]:
    """Return the types of JSON that each field takes."""
    properties = form.model_json_schema()["properties"]
    return {
        name: frozenset(one.get("type", "string") for one in schema.get("anyOf", [schema]))
        for name, schema in properties.items()
    }
