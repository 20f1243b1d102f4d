"""The options of a search are those of `SearchRequest`: whatever is added there can be typed, without an edit here."""

import inspect
import json
import os
import subprocess
import sys

import pytest
import typer

from hybrid_search.cli.app import app
from hybrid_search.cli.search_options import takes_search_options
from hybrid_search.search.request import search_options

ORDER = "-k --offset --mode --fusion --rrf-k --weights --depth --rerank --rerank-depth --rerank-budget-ms --where"
ORDER += " --min-confidence --min-score"
LEFT_OUT = {"search": {"highlight"}, "explain": {"highlight", "explain"}}

WIDER = """
import sys
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval
from typing_extensions import Doc

from hybrid_search.search import request
from hybrid_search.search.options import Notation

@dataclass(frozen=True)
class Wider(request.SearchRequest):
    patience: Annotated[float | None, Interval(gt=0.5), Doc("Seconds to wait."), Notation("S", "for ever")] = None
    breadth: Annotated[int, Interval(ge=2, le=9), Doc("Shards to ask.")] = 3
    order: Annotated[Literal["score", "date"], Doc("What the hits are ordered by.")] = "score"
    quiet: Annotated[bool, Doc("Say nothing.")] = False
    loud: Annotated[bool, Doc("Say all.")] = True

request.SearchRequest = Wider
import json
from hybrid_search import Searcher
from hybrid_search.cli.app import main

def opened(*arguments, **options):
    class Stub:
        def __enter__(self): return self
        def __exit__(self, *error): return None
        def warm_up(self, mode): pass
        def search_many(self, queries, **search):
            print(json.dumps(search))
            return []
    return Stub()

Searcher.open = opened
sys.argv = ["hybrid-search", *sys.argv[1:]]
main()
"""
"""The command line over a request with an option more of each kind, and a searcher that prints what it is asked."""


def wider(*arguments):
    command = [sys.executable, "-c", WIDER, *arguments]
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    return done.returncode, done.stdout, done.stderr


def test_a_field_added_to_the_request_is_an_option_of_search_and_explain():
    for command in ("search", "explain"):
        code, out, err = wider(command, "--help")
        assert (code, err) == (0, "")
        words = " ".join(out.replace("│", " ").split())
        for told in (
            "--patience S Seconds to wait. [for ever]",
            "--breadth N Shards to ask. [default: 3]",
            "--order score|date What the hits are ordered by. [default: score]",
            "--loud --no-loud <bool> Say all. [default: loud]",
        ):
            assert told in words
        assert "--no-quiet" not in words


def test_its_value_reaches_the_searcher_and_its_bounds_hold(tmp_path):
    store = ("--store", str(tmp_path))
    code, out, err = wider("search", "x", "-c", "c", *store, "--patience", "2", "--order", "date", "--quiet")
    assert (code, err) == (1, "")
    asked = json.loads(out)
    assert [asked[name] for name in ("patience", "breadth", "order", "quiet", "loud")] == [2.0, 3, "date", True, True]
    for wrong, told in (
        (["--breadth", "10"], "breadth is 10; it must lie in 2..9."),
        (["--patience", "0.5"], "patience is 0.5; it must be a number > 0.5."),
        (["--order", "age"], "--order is 'age'; take one of: score, date."),
        (["--breadth", "many"], "Invalid value for '--breadth'"),
    ):
        code, out, err = wider("search", "x", "-c", "c", *store, *wrong)
        assert (code, out) == (2, "")
        assert told in err


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_command_has_every_option_of_the_request_in_the_order_of_the_interface(name):
    command = typer.main.get_command(app).commands[name]
    made = {parameter.name: parameter for parameter in command.params}
    wanted = {option.name for option in search_options()}
    assert wanted & made.keys() == wanted - LEFT_OUT[name]
    flags = [made[parameter.name].opts[0] for parameter in command.params if parameter.name in wanted]
    assert " ".join(flags).startswith(ORDER)
    for option in search_options():
        if option.name in made and option.name != "fold":
            assert (made[option.name].default, made[option.name].metavar) == (
                option.default,
                None if option.scalar is bool else option.metavar,
            )


@pytest.mark.parametrize("command", ["search", "explain"])
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["-k", "0"], "k is 0; it must lie in 1..10,000."),
        (["--depth", "3"], "depth is 3; it must lie in k..10,000, and k is 10."),
        (["--fusion", "sum"], "--fusion is 'sum'; take one of: rrf, dbsf, minmax, convex."),
        (["--weights", "sparse"], "--weights is 'sparse'; write name=number"),
        (["--rerank-budget-ms", "5"], "nothing is re-ranked"),
        (["--where", "year >="], "year >="),
    ],
)
def test_what_is_invalid_is_a_usage_error_before_anything_is_opened(run, tmp_path, command, wrong, told):
    done = run(command, "x", "-c", "nowhere", *wrong)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert not (tmp_path / "store").exists()


def test_a_command_is_given_its_options_where_its_parameter_stands():
    @takes_search_options("k", "rerank", k={"default": 3, "help": "Hits."})
    def command(*, first: str = "", search: dict, last: str = "") -> None:
        raise AssertionError(search)

    assert list(inspect.signature(command).parameters) == ["first", "k", "rerank", "last"]
    with pytest.raises(AssertionError, match=r"\{'k': 3, 'rerank': True\}"):
        command(first="", k=3, rerank="", last="")
