"""Filters and metadata made by chance, for the tests that hold engines to `holds`."""

import random
import string

from hybrid_search.filters import And, Between, Compare, Exists, Geo, Match, Not, OneOf, Or

WORDS = ["drama", "war", "Drama", "", "ünï", "漢字 音楽", 'it\'s "odd" \\', "2026", "true", "the love of two", "Love"]
WORDS += ["u\u0308ni\u0308", "dra\u0301ma", "drámа", "12-3-4", "0012-03-04", "1234-5678", "อ่านหนังสือ", "हिन्दी"]
DATES = ["2026-11-21", "2026-11-21T00:00:00Z", "2026-11-21 01:00:00+01:00", "2027-01-01", "1999-12-31T23:59:59.5Z"]
NUMBERS = [0, 1, -1, 2, 3, 2.5, 1.0, -0.5, 1990, 1990.5, 2**53, 2**53 + 1, 2**62, 1e300]
BOOLS = [True, False]
NOTHING = [None, [], [None]]
PLACES = [(48.2, 16.37), (48.21, 16.4), (-33.9, 151.2), (0.0, 179.99), (0.0, -179.99)]
FIELDS = ["kind", "count", "score", "flag", "day", "mixed", "author.name", "author.born", '"odd.key"', '"say \\"hi\\""']
FIELDS += ["title", "text", "doc_id", "metadata.title", "author.home.city", "long"]


def point_at(place):
    return {"lat": place[0], "lon": place[1]}


def random_value(rng, kinds):
    return rng.choice(rng.choice(kinds))


def one_or_many(rng, kinds):
    many = [random_value(rng, kinds) for _ in range(rng.randrange(4))]
    return many if rng.random() < 0.3 else random_value(rng, kinds)


def random_metadata(rng):
    """Metadata as people have it, and worse: fields of one kind, of all kinds, missing, empty, nested, in lists."""
    author = lambda: {  # noqa: E731
        "name": one_or_many(rng, [WORDS]),
        "born": one_or_many(rng, [DATES, NOTHING]),
        "home": {"city": rng.choice(WORDS)},
    }
    made = {
        "kind": one_or_many(rng, [WORDS]),
        "count": one_or_many(rng, [[0, 1, 2, 3, 1990, 2**53 + 1, 2**62]]),
        "score": one_or_many(rng, [NUMBERS]),
        "flag": rng.choice(BOOLS),
        "day": one_or_many(rng, [DATES]),
        "mixed": one_or_many(rng, [WORDS, NUMBERS, BOOLS, DATES, NOTHING]),
        "author": rng.choice([author(), [author(), author()], author()]),
        "odd.key": one_or_many(rng, [WORDS]),
        'say "hi"': one_or_many(rng, [WORDS]),
        "title": rng.choice(WORDS),
        "place": rng.choice([point_at(rng.choice(PLACES)), [point_at(p) for p in rng.sample(PLACES, 2)], "nowhere"]),
        "long": "x" * 300,
    }
    return {key: value for key, value in made.items() if rng.random() < 0.8}


def random_test(rng):
    field, kinds = rng.choice(FIELDS), [WORDS, NUMBERS, BOOLS, DATES]
    ordered = [*NUMBERS, *DATES, "0500-01-01", "0012-03-04"]
    pick = rng.randrange(8)
    if pick == 0:
        return Compare(field, rng.choice(["=", "!="]), random_value(rng, kinds))
    if pick in (1, 2):
        return Compare(field, rng.choice(["<", "<=", ">", ">="]), rng.choice(ordered))
    if pick == 3:
        return OneOf(field, tuple(random_value(rng, kinds) for _ in range(rng.randint(1, 4))))
    if pick == 4:
        numbers = sorted(rng.sample(NUMBERS, 2))
        return Between(field, *(numbers if rng.random() < 0.6 else ("2000-01-01", rng.choice(DATES[:4]))))
    if pick == 5:
        return Match(field, "~", rng.choice(["love", "DRAMA", "the two", "漢", "Ünï", "หนังสือ", "हिन्दी"]))
    if pick == 6:
        return rng.choice([Exists(field), Match(field, "^=", rng.choice(["dr", "dra", "ü", "t", "2", "漢", "it's"]))])
    lat, lon = rng.choice(PLACES)
    return Geo("place", lat, lon, rng.choice([1.0, 2_000.0, 5_000.0, 2e7]))


def random_condition(rng, deep=3):
    pick = rng.random() if deep else 0
    if pick < 0.4:
        return random_test(rng)
    if pick < 0.55:
        return Not(random_condition(rng, deep - 1))
    inner = tuple(random_condition(rng, deep - 1) for _ in range(rng.randint(1, 3)))
    return And(inner) if pick < 0.8 else Or(inner)


def random_text(rng):
    return "".join(rng.choice(string.printable + "äß漢🎬\u0301") for _ in range(rng.randrange(12)))


def seeded(seed):
    return random.Random(seed)
