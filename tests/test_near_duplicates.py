from itertools import islice, product

import pytest

from hybrid_search.near_duplicates import alike, shingles

TEXT = "The crew of a cargo ship in space is hunted by a creature that grows with every hour of the night."


def same(one, other):
    return alike(shingles(one), shingles(other))


def test_case_signs_and_blanks_are_no_difference():
    assert same(TEXT, TEXT.upper().replace(" ", "  ").replace(".", "!"))


def test_one_word_in_a_long_text_is_little_and_in_a_short_one_much():
    long = " ".join(f"word{number}" for number in range(200))
    assert same(long, long.replace("word100", "other"))
    assert not same("green apples", "red apples")
    assert not same(TEXT, TEXT.replace("space", "a desert"))


LONG = " ".join("".join(letters) for letters in islice(product("bcdfg", "aeiou", "klmnr", "aeo"), 150))
PAIRS = [
    ("{} a - b {}", "{} a + b {}"),
    ("{} x = 1 {}", "{} x = 2 {}"),
    ("{} it is not safe {}", "{} it is safe {}"),
    ("{} it isn't safe {}", "{} it is safe {}"),
    ("{} you can go {}", "{} you cannot go {}"),
    ("{} with salt {}", "{} without salt {}"),
    ("{} 3.5 mg {}", "{} 35 mg {}"),
    ("{} 1,000 {}", "{} 1.000 {}"),
    ("{} -5 degrees {}", "{} 5 degrees {}"),
    ("{} C {}", "{} C++ {}"),
    ("{} C++ {}", "{} C# {}"),
    ("{} 10% {}", "{} 10 {}"),
    ("{} 10 € {}", "{} 10 $ {}"),
    ("{} a < b {}", "{} a > b {}"),
    ("{} p && q {}", "{} p || q {}"),
    ("{} !ready {}", "{} ready {}"),
    ("{} 🎉 {}", "{} 🎈 {}"),
    ("{} done 👍 {}", "{} done {}"),
    ("{} getValue {}", "{} getvalue {}"),
    ("{} MAX_SIZE {}", "{} max_size {}"),
    ("{} vitamin C {}", "{} vitamin D {}"),
    ("{} 2020-2021 {}", "{} 2020 2021 {}"),
    ("{} part 12-3-4 {}", "{} part 12-3-5 {}"),
    ("{} v1.2.3 {}", "{} v1.2.4 {}"),
    ("{} ist nicht da {}", "{} ist da {}"),
    ("{} x² {}", "{} x³ {}"),
    ("{} ½ cup {}", "{} ¼ cup {}"),
    ("{} → left {}", "{} ← left {}"),
    ("{} 10:30 {}", "{} 10:45 {}"),
    ("{} mp3 {}", "{} mp4 {}"),
    ("{} B12 {}", "{} B6 {}"),
    ("{} 三人 {}", "{} 五人 {}"),
    ("{} 我不去 {}", "{} 我去 {}"),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_what_turns_a_meaning_is_a_difference(one, other):
    for around in (LONG, TEXT):
        first, second = one.format(around, around), other.format(around, around)
        assert same(first, first.replace("  ", " \n "))
        assert not same(first, second)
        assert not same(second, first)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{} a well-known ship {}", "{} a well-known  ship, {}"),
        ("- {}\n- one {}", "* {}\n* one {}"),
        ("# {}\n{}", "{}\n{}"),
        ("“{}” {}", '"{}" {}'),
        ("{} café {}", "{} cafe\u0301 {}"),
        ("{} don’t {}", "{} don't {}"),
        ("{} great! {}", "{} great. {}"),
        ("{} other {}", "{} another {}"),
    ],
)
def test_signs_of_sentences_and_a_word_are_none(one, other):
    assert same(one.format(LONG, LONG), other.format(LONG, LONG))


def test_titles_count():
    assert alike(shingles(LONG, "A title"), shingles(LONG, " a TITLE "))
    assert not alike(shingles(LONG, "A title"), shingles(LONG, "Another title"))
    assert not alike(shingles(LONG, "A title"), shingles(LONG))
    assert not alike(shingles(LONG, "Part 1"), shingles(LONG, "Part 2"))
    assert not alike(shingles(LONG, "a-b"), shingles(LONG, "a+b"))


CODE = """
def total(items):
    result = 0
    for item in items:
        result += item.price * (1 - item.discount)
    return result
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("total", "Total"),
        ("+=", "-="),
        ("1 -", "1 +"),
        ("price", "cost"),
        ("return result", "return  not result"),
        (":", ""),
    ],
)
def test_of_code_everything_counts_but_blanks(old, new):
    assert same(CODE, CODE.replace("    ", "\t"))
    assert not same(CODE * 5, CODE * 5 + CODE.replace(old, new))
    assert not same(CODE * 20, CODE * 10 + CODE.replace(old, new) + CODE * 9)


def test_chinese_texts_are_compared_by_their_characters():
    text = "".join(chr(0x5000 + 7 * number) for number in range(200))
    assert same(text, text + "。")
    assert same(text, text[:100] + "虫" + text[101:])
    assert not same(text, text[::-1])


def test_texts_without_words_are_like_nothing():
    assert not same("", "")
    assert not same("...", "!!!")
