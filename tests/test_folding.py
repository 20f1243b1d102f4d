from hybrid_search.folding import alike, shingles

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


def test_texts_without_words_are_like_nothing():
    assert not same("", "")
    assert not same("...", "!!!")
