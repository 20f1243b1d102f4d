"""The filter language: text to tree and back, and what is said where it cannot be read."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_search.errors import FilterError, InvalidArgument
from hybrid_search.filters import MAX_NESTING, And, Between, Compare, Exists, Geo, Match, Not, OneOf, Or, leaves
from hybrid_search.filters.parser import MAX_LENGTH, parse
from hybrid_search.filters.syntax import field_name, path_of
from tests.random_filters import DATES

# ---------------------------------------------------------------- there and back

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.one_of(TEXTS, NUMBERS, st.booleans(), st.sampled_from(DATES))
FIELDS = st.lists(st.one_of(TEXTS, st.sampled_from(["year", "not", "in", "a-b", "of"])), min_size=1, max_size=3)
FIELDS = FIELDS.map(lambda keys: field_name(tuple(keys)))
ORDERED = st.one_of(NUMBERS, st.sampled_from(DATES))
LEAVES = st.one_of(
    st.builds(Compare, FIELDS, st.sampled_from(["=", "!="]), VALUES),
    st.builds(Compare, FIELDS, st.sampled_from(["<", "<=", ">", ">="]), ORDERED),
    st.builds(OneOf, FIELDS, st.lists(VALUES, min_size=1, max_size=3).map(tuple)),
    st.builds(lambda field, pair: Between(field, *sorted(pair)), FIELDS, st.tuples(NUMBERS, NUMBERS)),
    st.builds(Match, FIELDS, st.just("~"), TEXTS.map(lambda text: f"{text} word")),
    st.builds(Match, FIELDS, st.just("^="), TEXTS.filter(bool)),
    st.builds(Exists, FIELDS),
    st.builds(Geo, FIELDS, st.floats(-90, 90), st.floats(-180, 180), st.floats(1e-3, 1e7)),
)


def joined(inner):
    many = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(st.builds(Not, inner), many.map(And), many.map(Or))


def single(condition):
    """One condition in an And or Or is written as itself."""
    if isinstance(condition, Not):
        return Not(single(condition.condition))
    if isinstance(condition, (And, Or)):
        inner = tuple(single(each) for each in condition.conditions)
        return inner[0] if len(inner) == 1 else type(condition)(inner)
    return condition


@settings(max_examples=200, deadline=None)
@given(st.recursive(LEAVES, joined, max_leaves=8))
def test_a_tree_written_and_read_is_the_same_tree(tree):
    tree = single(tree)
    assert repr(parse(str(tree))) == repr(tree)
    assert parse(str(tree)) == tree


@settings(max_examples=300, deadline=None)
@given(st.one_of(TEXTS, st.text("()'\"\\=<>~^!,.- 019aandornot\n", max_size=20)))
def test_any_text_is_read_or_refused_in_words(text):
    refused = None
    try:
        parse(text)
    except FilterError as error:
        refused = error
    if refused is not None:
        assert refused.column is None or 1 <= refused.column <= len(text) + 1
        assert str(refused).startswith("The filter cannot be used")


ISSUE = "year >= 1990 and genres in ('drama', 'war') and not countries = 'France' and title ~ 'love'"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        (
            ISSUE,
            And(
                (
                    Compare("year", ">=", 1990),
                    OneOf("genres", ("drama", "war")),
                    Not(Compare("countries", "=", "France")),
                    Match("title", "~", "love"),
                )
            ),
        ),
        ("a=1 or b=2 and c=3", Or((Compare("a", "=", 1), And((Compare("b", "=", 2), Compare("c", "=", 3)))))),
        ("(a=1 or b=2) and c=3", And((Or((Compare("a", "=", 1), Compare("b", "=", 2))), Compare("c", "=", 3)))),
        ("not a=1 and b=2", And((Not(Compare("a", "=", 1)), Compare("b", "=", 2)))),
        ("a=1 AND (b=2 And c=3)", And((Compare("a", "=", 1), Compare("b", "=", 2), Compare("c", "=", 3)))),
        ("title ^= 'The'", Match("title", "^=", "The")),
        ("year between 1980 and 1989 and a != 2", And((Between("year", 1980, 1989), Compare("a", "!=", 2)))),
        ("year NOT BETWEEN 1 and 2", Not(Between("year", 1, 2))),
        ("genres not in ('war',)", Not(OneOf("genres", ("war",)))),
        ("exists(author.name) or x Exists", Or((Exists("author.name"), Exists("x")))),
        ("place within 5 km of (48.2, -16.37)", Geo("place", 48.2, -16.37, 5000.0)),
        ("place WITHIN 250m OF (0,0)", Geo("place", 0.0, 0.0, 250.0)),
        ("place within 1 mi of (0,0)", Geo("place", 0.0, 0.0, 1609.344)),
        ("seen = TRUE and spoilt=false", And((Compare("seen", "=", True), Compare("spoilt", "=", False)))),
        ('"odd.key" = "it\'s"', Compare('"odd.key"', "=", "it's")),
        ("a . \"b c\" = 'it''s \\u00e9\\n'", Compare('a."b c"', "=", "it's é\n")),
        ("a = 0 and b = -0", And((Compare("a", "=", 0), Compare("b", "=", 0)))),
        (
            "a = 0.5 and b = 0e3 and c = 1.",
            And(tuple(Compare(f, "=", n) for f, n in [("a", 0.5), ("b", 0.0), ("c", 1.0)])),
        ),
        ("a = -1.5e3 and b=.5", And((Compare("a", "=", -1500.0), Compare("b", "=", 0.5)))),
        (
            "android = 1 and notes = 2 and in = 3",
            And(tuple(Compare(f, "=", n) for f, n in [("android", 1), ("notes", 2), ('"in"', 3)])),
        ),
        ("gro\u0308ße = 1 and हिन्दी = 2", And((Compare("gro\u0308ße", "=", 1), Compare("हिन्दी", "=", 2)))),
        ("größe >= 3 and 漢字 = '🎬'", And((Compare("größe", ">=", 3), Compare("漢字", "=", "🎬")))),
        ("added >= '2026-11-21'", Compare("added", ">=", "2026-11-21")),
    ],
)
def test_what_a_text_means(text, tree):
    assert repr(parse(text)) == repr(tree)
    assert repr(parse(str(tree))) == repr(tree)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("year", 5, "ends too early"),
        ("year =", 7, "expected a value"),
        ("year = france", 8, "put texts in quotes: 'france'"),
        ("year = null", 8, "not exists"),
        ("year == 1", 7, "expected a value"),
        ("year >= 'x'", 9, "a number or a date"),
        ("year < true", 8, "a number or a date"),
        ("(a=1", 5, 'expected ")"'),
        ("a=1)", 4, "found )"),
        ("a=1 b=2", 5, 'expected the end, "and" or "or", found b'),
        ("a = 'x", 5, "has no end"),
        ("a in ()", 7, "expected a value"),
        ("a in (1", 8, 'a comma or ")"|")" or a comma'),
        ("a in (1; 2)", 8, "found ;"),
        ("= 3", 1, "a field's name"),
        ("'a' = 3", 1, "a field's name"),
        ("1a = 3", 1, "a field's name"),
        ("a = nan", 5, "nan is no value"),
        ("a = 1e999", 5, "not a number"),
        ("a = " + "9" * 500, 5, "too large"),
        ("a = " + "9" * 350, 5, "too large"),
        ("a = '\\d'", 5, "\\d means nothing"),
        ("a = '\\ud800'", 5, "half a character"),
        ("b=1 and a between 3 and 1", 19, "the lower comes first"),
        ("a between 1 and '2020-01-01'", 11, "not one of each"),
        ("x ~ '!!'", 5, "no word"),
        ("x ^= ''", 6, "no letter"),
        ("x ~ 3", 5, "takes a text"),
        ("x within 5 of (1, 2)", 12, "km, m or mi"),
        ("x within 5 km of (100, 2)", 10, "latitude -90..90 comes first"),
        ("x within 0 km of (1, 2)", 10, "above 0"),
        ("a\n=\n\tfoo", 6, "foo is no value"),
        ("漢字 = '漢字' andd b = 1", 11, "found andd"),
        ("zip = 01234", 7, "begins with 0, as no number does; write a text in quotes: '01234'"),
        ("zip in ('1', -007)", 14, "quotes: '-007'"),
        ("a = 00", 5, "begins with 0"),
        ("a = 2024-05-06", 5, "write texts and dates as '2024-05-06'"),
        ("a > 2024-05-06T10:00", 5, "as '2024-05-06T10:00'"),
        ("part = 1234-5678", 8, "as '1234-5678'"),
        ("part in (12-3-4, 5)", 10, "as '12-3-4'"),
        ("v = 1.2.3", 5, "as '1.2.3'"),
        ("n = 1_000", 5, "as '1_000'"),
        ("n = 0x10", 5, "as '0x10'"),
        ("n = 1,5", 5, "as '1,5'"),
        ("n = 1\u2009000", 5, "as '1\u2009000'"),
        ("n = \uff11\uff12", 5, "as '\uff11\uff12'"),
        ("n = \u0661", 5, "as '\u0661'"),
        ("n = -Infinity", 5, "as '-Infinity'"),
        ("n = +49-30-12", 5, "as '+49-30-12'"),
    ],
)
def test_an_error_points_at_its_column(text, column, words):
    with pytest.raises(FilterError) as caught:
        parse(text)
    error = caught.value
    assert isinstance(error, InvalidArgument)
    assert (error.column, error.text) == (column, text)
    assert any(part in error.reason for part in words.split("|")), error.reason
    first, shown, caret = str(error).split("\n")
    assert f"at column {column}:" in first
    assert caret.strip() == "^"
    if text.isascii() and len(text) < 80:
        assert shown == "  " + text.replace("\n", " ").replace("\t", " ")
        assert caret.index("^") == column + 1


@pytest.mark.parametrize("text", ["", "  \n", None, 7, "x" * (MAX_LENGTH + 1)])
def test_what_is_no_text_to_read_is_refused(text):
    with pytest.raises(FilterError):
        parse(text)


def test_the_caret_of_a_long_text_stands_below_what_is_wrong():
    text = " or ".join(["a=1"] * 3000) + " or b = oops and " + " and ".join(["c=1"] * 3000)
    with pytest.raises(FilterError) as caught:
        parse(text)
    _, shown, caret = str(caught.value).split("\n")
    assert len(shown) < 100
    assert shown[caret.index("^") :].startswith("oops")


def test_nesting_has_a_limit_and_width_has_none():
    assert len(list(leaves(parse(" or ".join(["a=1"] * 5000))))) == 5000
    assert parse("(" * 5000 + "a=1" + ")" * 5000) == Compare("a", "=", 1)
    assert parse("not " * MAX_NESTING + "a=1")
    with pytest.raises(FilterError, match="nested"):
        parse("not " * 5000 + "a=1")
    with pytest.raises(FilterError, match="nested"):
        parse("(a=1 or b=1 and " * 20 + "c=1" + ")" * 20)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Compare("", "=", 1),
        lambda: Compare("a b", "=", 1),
        lambda: Compare("a", "==", 1),
        lambda: Compare("a", "=", None),
        lambda: Compare("a", "<", float("nan")),
        lambda: Compare("a", "=", float("inf")),
        lambda: Compare("a", "<", "x"),
        lambda: Compare("a", "=", 10**400),
        lambda: OneOf("a", ()),
        lambda: OneOf("a", ([1],)),
        lambda: Between("a", 2, 1),
        lambda: Match("a", "~", 3),
        lambda: Match("a", "*", "x"),
        lambda: Geo("a", 91, 0, 1),
        lambda: Geo("a", True, 0, 1),
        lambda: And(()),
    ],
)
def test_a_tree_by_hand_is_checked_too(make):
    with pytest.raises(FilterError) as caught:
        make()
    assert caught.value.column is None


def test_names_of_fields():
    assert path_of("a.b") == ("a", "b")
    assert path_of('"a.b".c') == ("a.b", "c")
    assert Compare('"year"', "=", 1) == Compare("year", "=", 1)
    assert Compare("year", "=", 1).path == ("year",)


def test_reading_works_from_many_threads_and_loads_no_grammar_before():
    code = """
        import sys
        from concurrent.futures import ThreadPoolExecutor
        from hybrid_search.filters.parser import parse
        assert "lark" not in sys.modules
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(parse, ["a = 1 and b ~ 'x'"] * 100))) == 1
    """
    subprocess.run([sys.executable, "-c", "\n".join(line[8:] for line in code.splitlines())], check=True, timeout=60)
