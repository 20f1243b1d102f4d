"""Which signs are shown as others, and which as they are."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search._util.printable import UNSEEN, one_line, printable, storable


@pytest.mark.parametrize(
    "text",
    [
        "plain words, émigré, Straße, Ελλάδα, 猫が好き, ไทย, עברית, हिन्दी",
        "👩‍👩‍👧 ❤️ e\u0301 \u00a0",  # joined and varied emoji, a combining mark, a blank that does not break
        "می\u200cخواهم \u200fשלום\u200e co\u00adoperate",
        "葛\U000e0100",  # a variant of a character
    ],
)
def test_what_scripts_need_stays(text):
    assert printable(text) == one_line(text) == text


def test_controls_and_what_hides_or_turns_text_is_shown_as_something_else():
    controls = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) == "Cc"]
    turning = [chr(n) for n in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]
    hiding = ["\u200b", "\u2060", "\ufeff", "\ufff9", "\U000e0041", "\ud800", "\udc80", "\udfff", "\u2028", "\u2029"]
    for sign in (*controls, *turning, *hiding):
        shown = one_line(sign)
        assert len(shown) == 1
        assert shown != sign
        assert not UNSEEN.search(shown)
        assert shown.isprintable()
    assert printable("a\nb\tc") == "a\nb c"
    assert printable("a\nb\tc", keep="\n\t") == "a\nb\tc"
    assert one_line("\x1b\x7f\x9b\r\n") == "␛␡�  "


@given(st.text(alphabet=st.characters()))
def test_lengths_and_places_stay_and_twice_is_once(text):
    shown = one_line(text)
    assert len(shown) == len(text)
    assert one_line(shown) == shown
    assert all(before == after or UNSEEN.match(before) for before, after in zip(text, shown, strict=True))


def test_names_that_are_no_utf8_can_be_stored():
    for name in ("a", "é", "caf\udce9", "\udcff\udcfe.txt"):
        assert storable(name).encode()
