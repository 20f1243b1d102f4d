"""What a query's vector says in words."""

from hybrid_search.ranking.expansion import expansion


def in_query(query, *terms):
    return {term.term: term.in_query for term in expansion(query, terms, [1.0] * len(terms))}


def test_inflections_of_a_word_are_the_querys_own_and_its_neighbours_are_not():
    assert in_query("Computing machines", "computer", "machine", "software") == {
        "computer": True,
        "machine": True,
        "software": False,
    }


def test_pieces_of_a_rare_word_are_its_own():
    assert in_query("spinal tap by dibergi", "di", "##berg", "##i", "##tap", "bergen") == {
        "di": True,
        "##berg": True,
        "##i": True,
        "##tap": False,
        "bergen": False,
    }


def test_the_heaviest_term_comes_first_and_equal_ones_by_name():
    found = expansion("x", ["b", "a", "c"], [1.0, 1.0, 2.0])
    assert [term.term for term in found] == ["c", "a", "b"]


def test_no_terms_no_expansion():
    assert expansion("x", [], []) == ()
