from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search._util.unicode_text import extends, whole_character
from hybrid_search.ranking.expansion import expansion
from hybrid_search.ranking.highlight import WINDOW, highlight, target_stems
from hybrid_search.results import Term

MUSIC = (Term("music", 2.0, True), Term("song", 1.5, False), Term("##ing", 1.0, False), Term("the", 0.9, False))


def shown(text, query, terms=(), **options):
    found = highlight(text, target_stems(query, terms), **options)
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
    found = highlight(text, target_stems("music 音楽", MUSIC))
    assert 0 <= found.start <= found.end <= len(text)


@given(st.text(alphabet="ab cd.\nmusic song é", max_size=900), st.integers(20, 300))
def test_marks_are_in_order_and_windows_fit(text, window):
    found = highlight(text, target_stems("music song", MUSIC), window)
    assert 0 <= found.start <= found.end <= len(text)
    assert found.end - found.start <= max(window, 0)
    assert all(one.end <= two.start for one, two in zip(found.marks, found.marks[1:], strict=False))
    for mark in found.marks:
        assert text[mark.start : mark.end].isalnum()


# ---------------------------------------------------------------- other scripts


@pytest.mark.parametrize(
    ("text", "query", "marks"),
    [
        ("Le cafe\u0301 noir", "café", ["cafe\u0301"]),
        ("Le café noir", "cafe\u0301", ["café"]),
        ("Le cafe\u0301s noir", "cafe", ["cafe\u0301s"]),
        ("हिन्दी भाषा", "हिन्दी", ["हिन्दी"]),
        ("हिन्दी भाषा", "न", []),
        ("猫坐在垫子上，猫", "猫", ["猫", "猫"]),
        ("iPhone手机很好", "手机 iphone", ["iPhone", "手机"]),
        ("ฉันอ่านหนังสือ", "หนังสือ", ["หนังสือ"]),
        ("ฉันอ่านหนังสือ", "หน", []),
        ("か\u3099っこう", "が", ["か\u3099"]),
        ("がっこう", "か\u3099", ["が"]),
        ("がっこう", "か", []),
        ("Кошка сидит", "кошка", ["Кошка"]),
        ("한국어 공부", "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165", ["한국어"]),
        ("tiếng Việt", "tie\u0302\u0301ng", ["tiếng"]),
        ("👩\u200d👩\u200d👧 family", "family", ["family"]),
    ],
)
def test_words_of_any_script_are_marked_whole(text, query, marks):
    assert [word for word, _ in shown(text, query)[1]] == marks


def test_what_a_model_reads_of_a_script_without_blanks_is_the_query_s_own():
    terms = expansion("子猫 music", ["子", "猫", "狗", "music"], [1.0, 2.0, 1.5, 1.0])
    assert {term.term: term.in_query for term in terms} == {"猫": True, "狗": False, "子": True, "music": True}
    assert shown("猫和狗", "子猫 music", terms)[1] == [("猫", "literal"), ("狗", "expansion")]
    assert shown("子猫", "子猫 music", terms)[1] == [("子猫", "literal")]


@pytest.mark.parametrize("filler", ["坐在垫子上", "e\u0301e\u0301x", "👩\u200d👩\u200d👧🇩🇪", "กำลังนั่ง", "가각"])
def test_a_window_is_of_whole_characters(filler):
    for before in range(7):
        text = "x" * before + filler * 120 + "猫" + filler * 120
        for window in (117, 198, 280):
            found = highlight(text, target_stems("猫"), window)
            assert found.start <= text.index("猫") < found.end
            assert found.end - found.start <= window + 12
            for place in (found.start, found.end):
                assert whole_character(text, place) == place


def test_a_match_at_the_end_of_a_text_without_blanks_is_shown():
    text = "坐" * 1_000 + "猫"
    window, marks = shown(text, "猫")
    assert window.endswith("猫")
    assert marks == [("猫", "literal")]
    assert len(window) == WINDOW


@given(st.text(alphabet="猫坐ก\u0e31 e\u0301か\u3099क\u094d\u200dष👩🇩🇪\nab", max_size=400))
def test_marks_begin_and_end_with_characters(text):
    found = highlight(text, target_stems("猫 eé が क् ab ก"), 50)
    assert 0 <= found.start <= found.end <= len(text)
    assert all(one.end <= two.start for one, two in zip(found.marks, found.marks[1:], strict=False))
    for mark in found.marks:
        assert not extends(text[mark.end : mark.end + 1])
        assert mark.start == 0 or not extends(text[mark.start])
