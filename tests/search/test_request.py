"""The options of a search stand once, in `SearchRequest`; whatever offers them reads them from there."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import dataclass, fields
from typing import Annotated, Literal, get_args, get_type_hints

import numpy as np
import pytest
from annotated_types import Ge, Interval, Le
from pydantic import create_model
from typing_extensions import Doc

from hybrid_search.errors import FusionError, InvalidArgument
from hybrid_search.integrations.option_fields import field_of
from hybrid_search.search.options import Notation, read_options
from hybrid_search.search.request import MAX_DEPTH, Options, SearchRequest, search_options

BY_NAME = {option.name: option for option in search_options()}
NUMERIC = [option for option in search_options() if option.scalar in (int, float)]


@dataclass(frozen=True)
class Wider(SearchRequest):
    """A search with one option more of each kind."""

    patience: Annotated[float | None, Interval(gt=0.5, le=8), Doc("Seconds to wait."), Notation("S", "for ever")] = None
    breadth: Annotated[int, Ge(2), Le(9), Doc("Shards to ask.")] = 3
    order: Annotated[Literal["score", "date"], Doc("What the hits are ordered by.")] = "score"
    quiet: Annotated[bool, Doc("Say nothing.")] = False


def test_the_keywords_for_type_checkers_are_the_options() -> None:
    """Names, order and types: `Options` cannot say another thing than `SearchRequest`."""
    assert list(get_type_hints(Options).items()) == [(option.name, option.type) for option in search_options()]


def test_every_option_has_a_default_and_one_sentence_of_help() -> None:
    request = SearchRequest()
    assert [option.name for option in search_options()] == [field.name for field in fields(SearchRequest) if field.init]
    for option in search_options():
        assert option.help.endswith(".")
        assert "\n" not in option.help
        assert option.metavar
        assert getattr(request, option.name) == option.default == option.check(option.default)


def test_options_are_read_without_pydantic_or_typer() -> None:
    code = "import sys; from hybrid_search.search.request import search_options; search_options(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "hybrid_search.search.request" in loaded
    assert not {"pydantic", "typer"} & set(loaded)


@pytest.mark.parametrize("option", NUMERIC, ids=lambda option: option.name)
def test_a_number_is_checked_against_the_bounds_that_are_published(option) -> None:
    step = 1 if option.scalar is int else 1e-9
    company = {"rerank": True} if option.name.startswith("rerank") else {}
    company |= {"k": 1} if option.name == "depth" else {}
    inside = [bound for bound in (option.least, option.most) if bound is not None]
    outside = [option.least - step] if option.least is not None else [option.above]
    outside += [] if option.most is None else [option.most + step]
    for value in inside:
        assert getattr(SearchRequest(**{**company, option.name: value}), option.name) == value
    for value in [*outside, math.nan, math.inf, "3", True, [1]]:
        with pytest.raises(InvalidArgument, match=f"^{option.name} is "):
            SearchRequest(**{**company, option.name: value})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, InvalidArgument, "k is 0; it must lie in 1..10,000."),
        ({"k": 2.0}, InvalidArgument, "k is 2.0; it must be a whole number and lie in 1..10,000."),
        ({"mode": None}, InvalidArgument, "mode is None; it must be a text."),
        ({"depth": 3}, InvalidArgument, "depth is 3; it must lie in k..10,000, and k is 10."),
        ({"fusion": "sum"}, InvalidArgument, "fusion is 'sum'; take one of: rrf, dbsf, minmax, convex."),
        ({"fusion": ["rrf"]}, InvalidArgument, "fusion is ['rrf']; take one of: rrf, dbsf, minmax, convex."),
        ({"rrf_k": -1}, FusionError, "rrf_k is -1; it must be a number >= 0 (the usual value is 60)."),
        (
            {"weights": {}},
            FusionError,
            "weights is {}; give a number by leg, such as sparse=1, or 'auto'; None for 1 each.",
        ),
        ({"weights": {"sparse": -1}}, FusionError, "The weight of 'sparse' is -1; it must be a number >= 0."),
        (
            {"rerank": ""},
            InvalidArgument,
            "rerank is ''; give True, or the name or folder of a cross-encoder.",
        ),
        (
            {"rerank": True, "rerank_budget_ms": 0},
            InvalidArgument,
            "rerank_budget_ms is 0; it must be a number of milliseconds > 0.",
        ),
        (
            {"rerank_budget_ms": 5},
            InvalidArgument,
            "rerank_budget_ms is 5, but nothing is re-ranked; add rerank (--rerank).",
        ),
        ({"offset": 10_000}, InvalidArgument, "offset is 10000; it must lie in 0..9,999."),
        ({"fold": 1}, InvalidArgument, "fold is 1; it must be True or False."),
    ],
    ids=str,
)
def test_what_is_invalid_is_refused_by_name_and_value(options, error, message) -> None:
    with pytest.raises(error) as caught:
        SearchRequest(**options)
    assert str(caught.value) == message
    assert type(caught.value) is error


def test_numbers_of_numpy_become_plain_ones() -> None:
    request = SearchRequest(k=np.int64(3), rrf_k=np.float32(1.5), weights={"sparse": np.float32(2)}, offset=np.int8(1))
    assert [type(value) for value in (request.k, request.rrf_k, request.weights["sparse"], request.offset)] == [
        int,
        float,
        float,
        int,
    ]


def test_a_field_is_all_that_a_new_option_takes() -> None:
    patience, breadth, order, quiet = (option for option in read_options(Wider) if option.name not in BY_NAME)
    assert (patience.above, patience.most, patience.least, patience.unset) == (0.5, 8, None, "for ever")
    assert (breadth.least, breadth.most, breadth.default, breadth.metavar) == (2, 9, 3, "N")
    assert (order.choices, order.metavar) == (("score", "date"), "score|date")
    assert quiet.help == "Say nothing."
    for options in ({"patience": 0.5}, {"patience": 8.5}, {"breadth": 1}, {"order": "size"}, {"quiet": "no"}):
        with pytest.raises(InvalidArgument, match=f"^{next(iter(options))} is "):
            Wider(**options)
    assert Wider(patience=8, breadth=9, order="date", quiet=True).order == "date"


def test_a_new_option_comes_out_of_a_schema_with_its_bounds_and_help() -> None:
    model = create_model("Form", **{option.name: field_of(option) for option in read_options(Wider)[-4:]})
    schema = model.model_json_schema()["properties"]
    assert schema["breadth"] == {
        "default": 3,
        "description": "Shards to ask.",
        "maximum": 9,
        "minimum": 2,
        "title": "Breadth",
        "type": "integer",
    }
    assert schema["patience"]["anyOf"] == [{"exclusiveMinimum": 0.5, "maximum": 8, "type": "number"}, {"type": "null"}]
    assert schema["order"]["enum"] == ["score", "date"]
    with pytest.raises(ValueError, match="finite number"):
        model(patience=math.inf)


def test_a_schema_allows_what_a_request_allows() -> None:
    """Whatever the bounds are, the smallest and the greatest number pass both, and the next ones neither."""
    model = create_model("Form", **{option.name: field_of(option, strict=True) for option in NUMERIC})
    for option in NUMERIC:
        assert model().model_dump()[option.name] == option.default
        for bound, step in ((option.least, -1), (option.most, 1)):
            if bound is not None:
                model(**{option.name: option.scalar(bound)})
                with pytest.raises(ValueError, match=option.name):
                    model(**{option.name: option.scalar(bound + step)})


def test_depth_and_offset_have_the_greatest_number_of_documents() -> None:
    assert BY_NAME["depth"].most == BY_NAME["k"].most == BY_NAME["offset"].most + 1 == MAX_DEPTH
    assert get_args(get_args(BY_NAME["fusion"].type)[0]) == BY_NAME["fusion"].choices
