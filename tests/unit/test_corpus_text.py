"""Words of a page: lines, running text, compact storage."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vrag.corpus.lines import assemble
from vrag.corpus.text import Glyphs, Placed, pack, unpack
from vrag.types import Box, Word


def test_words_at_one_height_are_one_line_and_a_lower_word_begins_the_next():
    page = assemble([Glyphs("a", 0, 0, 9, 10), Glyphs("b", 20, 1, 29, 11), Glyphs("c", 0, 30, 9, 40)], 100, 100)
    assert [word.line for word in page.words] == [0, 0, 1]
    assert page.text == "a b\nc"


def test_a_small_sign_stays_in_the_line_of_its_words():
    page = assemble([Glyphs("left", 0, 0, 30, 10), Glyphs("-", 35, 5, 40, 6), Glyphs("right", 45, 0, 70, 10)], 99, 99)
    assert {word.line for word in page.words} == {0}


def test_columns_read_one_after_another_stay_apart():
    left = [Glyphs("l1", 0, 0, 9, 10), Glyphs("l2", 0, 20, 9, 30)]
    right = [Glyphs("r1", 50, 0, 59, 10), Glyphs("r2", 50, 20, 59, 30)]
    assert assemble(left + right, 100, 100).text == "l1\nl2\nr1\nr2"


def test_a_word_broken_by_a_hyphen_is_searchable_as_one():
    page = assemble([Glyphs("develop-", 0, 0, 50, 10, broken=True), Glyphs("ment", 0, 20, 30, 30)], 100, 100)
    assert page.text == "development"
    assert [word.text for word in page.words] == ["develop-", "ment"]


def test_a_real_hyphen_at_the_end_of_a_word_is_kept():
    assert assemble([Glyphs("pre-", 0, 0, 50, 10), Glyphs("war", 60, 0, 90, 10)], 100, 100).text == "pre- war"


def test_boxes_are_cut_at_the_page_and_words_off_the_page_are_dropped():
    page = assemble([Glyphs("in", -5, -5, 10, 10), Glyphs("out", 200, 0, 220, 10)], 100, 100)
    assert page.words == [Word(text="in", box=Box(x1=0, y1=0, x2=10, y2=10), line=0)]


def test_words_at_infinity_or_nowhere_are_dropped():
    inf, nan = float("inf"), float("nan")
    sides = [(inf, 0, inf, 9), (-inf, 0, -inf, 9), (0, -inf, 9, -inf), (0, inf, 9, inf)]
    assert assemble([Glyphs("x", *box) for box in sides], 100, 100).words == []
    assert assemble([Glyphs("x", nan, nan, nan, nan)], 100, 100).text in ("", "x")


def test_a_page_without_words_has_an_empty_text():
    assert assemble([], 10, 10).text == ""
    assert unpack(pack([])) == []


tenths = st.integers(0, 300_000).map(lambda value: value / 10)
texts = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1)
placed = st.builds(Placed, texts, tenths, tenths, tenths, tenths, st.integers(0, 100_000))


@given(st.lists(placed, max_size=30))
def test_packed_words_come_back_as_they_were(placed: list[Placed]):
    assert unpack(pack(placed)) == [one.word() for one in placed]
