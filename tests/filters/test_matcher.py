"""What a filter means, condition by condition."""

from itertools import product
from unicodedata import normalize

import pytest

from hybrid_search.errors import FilterError
from hybrid_search.filters import Compare, Exists, Match, Not, OneOf
from hybrid_search.filters.matcher import failing_clauses, matches, metres_between
from hybrid_search.filters.parser import parse
from hybrid_search.filters.syntax import field_name, parse_timestamp

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
    assert matches(parse(text), FILM)
    assert not matches(parse(f"not ({text})"), FILM)
    assert failing_clauses(parse(f"doc_id = 'a' and {text}"), FILM) == ()


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
    assert not matches(parse(text), FILM)
    assert matches(parse(f"not ({text})"), FILM)


def test_the_clauses_that_fail_are_told():
    failed = failing_clauses(parse("year > 1980 and seen = true and (genres = 'drama' or year = 1)"), FILM)
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
    assert parse_timestamp(text) == seconds * 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "", "1984", "2026-13-01", "2026-02-29", "2026-11-21 25:00", "2026-11-21x", "21.11.2026", "12-3-4", "1-1-1",
        "026-11-21", "+12-3-4", "-999-01-01", "1234-5678", "555-12-34", "978-3-16-148410-0", "1.2.3", "20261121",
        "2026-11", "\uff12\uff10\uff12\uff16-11-21", "\u0662\u0660\u0662\u0666-11-21", "+49-30-12", "2024-13-45",
    ],
)  # fmt: skip
def test_what_is_no_moment(text):
    assert parse_timestamp(text) is None


def same(text):
    """A text composed, decomposed, and half of each."""
    return {
        text,
        normalize("NFC", text),
        normalize("NFD", text),
        normalize("NFC", text[:3]) + normalize("NFD", text[3:]),
    }


@pytest.mark.parametrize("text", ["café crème", "ếế", "각갂", "か\u3099が", "\u212b", "क\u093c"])
def test_a_letter_is_the_same_however_it_is_composed(text):
    for one in same(text):
        for other in same(text):
            payload = {"doc_id": one, "metadata": {"x": one}}
            for condition in (
                Compare("x", "=", other),
                OneOf("x", ("nothing", other)),
                Not(Compare("x", "!=", other)),
                Match("x", "~", other),
                Match("x", "^=", other),
                Compare("doc_id", "=", other),
            ):
                assert matches(condition, payload), (one, other, condition)


def test_a_key_is_the_same_however_its_letters_are_composed():
    for one, other in product(("NFC", "NFD"), repeat=2):
        payload = {"metadata": {normalize(one, "größe"): {normalize(one, "ø é"): 1}}}
        field = field_name((normalize(other, "größe"), normalize(other, "ø é")))
        assert matches(Compare(field, "=", 1), payload)
        assert matches(Exists(field), payload)
        assert not matches(Exists("grosse"), payload)


def test_a_letter_is_not_the_same_without_its_mark():
    for form in ("NFC", "NFD"):
        payload = {"metadata": {"x": normalize(form, "köln ṩ")}}
        for text in ("koln", "köln", "ko", "köln ṡ", "köln s", "kolns"):
            assert not matches(Compare("x", "=", text), payload)
        for text in ("ko", "köln s", "köln ṡ", "köln ṣ"):
            assert not matches(Match("x", "^=", text), payload), (form, text)
        for text in ("k", "kö", "köln ", "köln ṩ"):
            assert matches(Match("x", "^=", text), payload), (form, text)
        assert not matches(Match("x", "~", "koln"), payload)
        assert not matches(Match("x", "~", "s"), payload)


@pytest.mark.parametrize(
    ("text", "inside", "not_inside"),
    [
        ("हिन्दी भाषा", ["हिन्दी"], ["ह", "न", "द", "हिन"]),
        ("ฉันอ่านหนังสือ", ["หนังสือ", "อ่าน"], ["หน", "ฉ", "ก"]),
        ("猫坐在垫子上", ["猫", "垫子", "上 猫"], ["猫上", "犬"]),
        ("iPhone手机2024年", ["iphone", "手机", "2024", "年 IPHONE"], ["phone", "手年", "202"]),
        ("カメラを買う", ["カメラ", "買う"], ["カラ"]),
        ("дийство", ["ДИЙСТВО"], ["ди", "дииство"]),
        ("می\u200cخواهم", ["میخواهم"], ["می"]),
        ("co\u00adoperate straße", ["cooperate", "STRASSE"], ["co", "stra"]),
        ("한국어 공부", ["한국어", "공부 한국어"], ["한국", "공"]),
        ("猫坐在\n  垫子", ["在垫"], ["坐垫"]),
    ],
)  # fmt: skip
def test_words_in_any_script(text, inside, not_inside):
    for form in ("NFC", "NFD"):
        payload = {"text": normalize(form, text), "metadata": {}}
        for words in inside:
            assert matches(Match("text", "~", words), payload), words
            assert matches(Match("text", "~", normalize("NFD", words)), payload), words
        for words in not_inside:
            assert not matches(Match("text", "~", words), payload), words


def test_a_mark_or_a_picture_alone_is_no_word():
    for text in ("\u0301", "\U0001f389", "\u200d", "!?"):
        with pytest.raises(FilterError, match="no word"):
            Match("x", "~", text)


def test_distances():
    assert metres_between(0, 0, 0, 1) == pytest.approx(111_195, rel=1e-4)
    assert metres_between(90, 0, -90, 50) == pytest.approx(20_015_115, rel=1e-6)
