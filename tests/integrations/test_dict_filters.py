"""Filters as dicts."""

import datetime

import pytest

from hybrid_search.errors import FilterError
from hybrid_search.filters.parser import parse
from hybrid_search.integrations.dict_filters import condition_of


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({"year": 1984}, "year = 1984"),
        ({"year": 1984, "seen": True}, "year = 1984 and seen = true"),
        ({"genres": ["drama", "war"]}, "genres in ('drama', 'war')"),
        ({"genres": ("drama",)}, "genres in ('drama')"),
        ({"year": {"$gte": 1990, "$lt": 2000}}, "year >= 1990 and year < 2000"),
        ({"year": {"$lte": 1990}, "name": {"$gt": 5}}, "year <= 1990 and name > 5"),
        ({"year": {"$eq": 1}}, "year = 1"),
        ({"year": {"$ne": 1}}, "not year = 1"),
        ({"year": {"$in": [1, 2]}}, "year in (1, 2)"),
        ({"year": {"$nin": [1, 2]}}, "not year in (1, 2)"),
        ({"year": {"$between": [1, 2]}}, "year between 1 and 2"),
        ({"year": {"$exists": True}}, "exists(year)"),
        ({"year": {"$exists": False}}, "not exists(year)"),
        ({"year": None}, "not exists(year)"),
        ({"added": {"$gte": datetime.date(2026, 11, 21)}}, "added >= '2026-11-21'"),
        ({"author": {"name": "Ada", "born": {"$lt": 1900}}}, "author.name = 'Ada' and author.born < 1900"),
        ({"author.name": "Ada"}, "author.name = 'Ada'"),
        ({"odd key": 1}, '"odd key" = 1'),
        ({"in": 1}, '"in" = 1'),
        ({"$or": [{"a": 1}, {"b": 2, "c": 3}]}, "a = 1 or (b = 2 and c = 3)"),
        ({"$and": [{"a": 1}, {"$or": [{"b": 2}, {"c": 3}]}]}, "a = 1 and (b = 2 or c = 3)"),
        ({"$not": {"a": 1, "b": 2}}, "not (a = 1 and b = 2)"),
        ({"a": {"$not": {"$gt": 5}}}, "not a > 5"),
    ],
)
def test_a_dict_is_the_filter_that_its_text_is(given, written):
    assert condition_of(given) == parse(written)


def test_an_empty_dict_asks_nothing():
    assert condition_of({}) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"year": {"$near": 3}}, r"\$near means nothing"),
        ({"$gt": 3}, r"\$gt means nothing"),
        ({"year": {}}, "is empty"),
        ({"year": []}, "empty list"),
        ({"year": {"$in": "drama"}}, "takes a list"),
        ({"year": {"$between": [1]}}, "two values"),
        ({"year": {"$exists": 1}}, "True or False"),
        ({"$or": {"a": 1}}, "list of filters"),
        ({"$or": [{}]}, "at least one"),
        ({"$not": 3}, "no filter"),
        ({"year": object()}, "cannot be compared"),
        ({3: 3}, "no field's name"),
        ([("a", 1)], "no filter"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(given, words):
    with pytest.raises(FilterError, match=words):
        condition_of(given)
