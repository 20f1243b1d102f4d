"""What a filter means, condition by condition."""

import pytest

from hybrid_search.where.holding import failing, holds, metres_between
from hybrid_search.where.parsing import parse
from hybrid_search.where.spelling import moment

FILM = {
    "doc_id": "a",
    "title": "Love and Death",
    "text": "A film.",
    "origin": "films.jsonl:3",
    "metadata": {
        "title": "Another",
        "year": 1975,
        "rating": 7.5,
        "genres": ["comedy", "war"],
        "seen": True,
        "none": None,
        "empty": [],
        "added": "2026-11-21T10:00:00+02:00",
        "author": {"name": "Allen", "born": {"year": 1935}},
        "cast": [{"name": "Keaton"}, {"name": ["Allen", "Woody"]}, "extras"],
        "a.b": 1,
        "places": [{"lat": 48.2, "lon": 16.37}, {"lat": 0, "lon": 0}],
    },
}


@pytest.mark.parametrize(
    "text",
    [
        "year = 1975", "year = 1975.0", "year != 1976", "year >= 1975", "year < 1975.5", "year between 1975 and 1975",
        "genres = 'war'", "genres != 'drama'", "not genres = 'drama'", "genres in ('drama', 'war')", "genres ^= 'com'",
        "seen = true", "seen != 1", "missing != 'x'", "not missing = 'x'", "none != 1", "empty != 1",
        "exists(year)", "not none exists", "not exists(empty)", "exists(author)", "exists(cast.name)",
        "title ~ 'death LOVE'", "metadata.title = 'Another'", "doc_id = 'a'", "origin ^= 'films'", "text ~ 'film'",
        "author.name = 'Allen'", "author.born.year < 1940", "cast.name = 'Keaton'", "cast.name = 'Woody'",
        "\"a.b\" = 1", "added = '2026-11-21T08:00:00Z'", "added > '2026-11-21'",
        "added between '2026-11-21' and '2026-11-22'",
        "places within 1 km of (48.2, 16.37)", "places within 1 km of (0.001, 0)",
    ],
)  # fmt: skip
def test_it_holds(text):
    assert holds(parse(text), FILM)
    assert not holds(parse(f"not ({text})"), FILM)
    assert failing(parse(f"doc_id = 'a' and {text}"), FILM) == ()


@pytest.mark.parametrize(
    "text",
    [
        "year = '1975'", "year > '1970-01-01'", "seen = 1", "seen = 'true'", "year = true", "genres = 'War'",
        "genres = 'com'", "genres != 'war'", "genres ^= 'Com'", "genres ~ 'com'", "title ~ 'lov'", "title = 'Another'",
        "missing = 1", "missing ~ 'x'", "exists(missing)", "exists(none)", "exists(empty)", "author = 'Allen'",
        "author.nobody = 1", "a.b = 1", "added < '2026-11-21'", "added = '2026-11-21'", "added > 5",
        "places within 1 km of (10, 10)", "year within 1 km of (10, 10)", "rating in (7, 8)",
    ],
)  # fmt: skip
def test_it_does_not_hold(text):
    assert not holds(parse(text), FILM)
    assert holds(parse(f"not ({text})"), FILM)


def test_the_clauses_that_fail_are_told():
    failed = failing(parse("year > 1980 and seen = true and (genres = 'drama' or year = 1)"), FILM)
    assert [str(clause) for clause in failed] == ["year > 1980", "genres = 'drama' or year = 1"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01", 0), ("1970-01-02", 86_400), ("1970-01-01 00:01", 60), ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T01:00:00+01:00", 0), ("1970-01-01 00:00:00-0130", 5_400), ("1969-12-31", -86_400),
        ("0001-01-01", -62_135_596_800), ("0000-12-31", -62_135_683_200), ("1600-02-29", -11_670_998_400),
    ],
)  # fmt: skip
def test_moments(text, seconds):
    assert moment(text) == seconds * 1_000_000


@pytest.mark.parametrize(
    "text", ["", "1984", "2026-13-01", "2026-02-29", "2026-11-21 25:00", "2026-11-21x", "21.11.2026"]
)
def test_what_is_no_moment(text):
    assert moment(text) is None


def test_distances():
    assert metres_between(0, 0, 0, 1) == pytest.approx(111_195, rel=1e-4)
    assert metres_between(90, 0, -90, 50) == pytest.approx(20_015_115, rel=1e-6)
