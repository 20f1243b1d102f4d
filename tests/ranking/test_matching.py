from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.ranking.matching import WINDOW, highlight, sought
from hybrid_search.results import Term

MUSIC = (Term("music", 2.0, True), Term("song", 1.5, False), Term("##ing", 1.0, False), Term("the", 0.9, False))


def shown(text, query, terms=(), **options):
    found = highlight(text, sought(query, terms), **options)
    return text[found.start : found.end], [(text[m.start : m.end], m.kind) for m in found.marks]


def test_the_words_of_the_query_and_those_of_its_expansion_are_marked_apart():
    window, marks = shown("Songs and the music of musicians", "music", MUSIC)
    assert window == "Songs and the music of musicians"
    assert marks == [("Songs", "expansion"), ("music", "literal")]


def test_small_words_are_marked_only_where_the_query_has_no_others():
    assert shown("to be or not to be", "to be alone")[1] == []
    assert [word for word, _ in shown("to be or not to be", "to be")[1]] == ["to", "be", "to", "be"]


def test_case_accents_and_word_forms_do_not_matter():
    assert [word for word, _ in shown("Das Café der CAFÉS", "cafe")[1]] == ["Café", "CAFÉS"]


def test_the_window_is_the_part_that_matches_best():
    text = "Nothing here. " * 60 + "The band plays music and a song. " + "Nothing there. " * 60
    window, marks = shown(text, "music", MUSIC)
    assert "music and a song" in window
    assert len(window) <= WINDOW
    assert window.startswith(("Nothing here. ", "The band"))
    assert marks == [("music", "literal"), ("song", "expansion")]


def test_at_the_end_of_a_text_the_window_is_filled_from_before():
    text = "word " * 200 + "music"
    window, _ = shown(text, "music", MUSIC)
    assert window.endswith("music")
    assert WINDOW - 10 <= len(window) <= WINDOW


@pytest.mark.parametrize("text", ["", "   ", "\n", "🎵🎵", "a" * 5_000, "音楽" * 400])
def test_odd_texts_have_a_window_inside_of_them(text):
    found = highlight(text, sought("music 音楽", MUSIC))
    assert 0 <= found.start <= found.end <= len(text)


@given(st.text(alphabet="ab cd.\nmusic song é", max_size=900), st.integers(20, 300))
def test_marks_are_in_order_and_windows_fit(text, window):
    found = highlight(text, sought("music song", MUSIC), window)
    assert 0 <= found.start <= found.end <= len(text)
    assert found.end - found.start <= max(window, 0)
    assert all(one.end <= two.start for one, two in zip(found.marks, found.marks[1:], strict=False))
    for mark in found.marks:
        assert text[mark.start : mark.end].isalnum()
