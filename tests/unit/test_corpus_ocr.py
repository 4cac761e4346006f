"""What the OCR engine says becomes words; tested without the engine."""

from __future__ import annotations

from vrag.corpus.ocr import in_rows, line_words
from vrag.corpus.text import Glyphs


def piece(text: str, x: float) -> tuple[str, float, list[list[float]]]:
    return text, 0.9, [[x, 1], [x + 9, 0], [x + 9, 10], [x, 11]]


def test_words_keep_their_boxes():
    words = list(line_words("two words", [piece("two", 0), piece("words", 20)]))
    assert [(word.text, word.x1, word.y1, word.x2, word.y2) for word in words] == [
        ("two", 0, 0, 9, 11),
        ("words", 20, 0, 29, 11),
    ]


def test_a_word_that_is_glued_to_a_number_is_cut_off_it():
    words = list(line_words("11October 2024, 5GHz", [piece("11October", 0), piece("2024,", 20), piece("5GHz", 40)]))
    assert [(word.text, word.x1, word.x2) for word in words] == [
        ("11", 0, 2),
        ("October", 2, 9),
        ("2024,", 20, 29),
        ("5GHz", 40, 49),
    ]


def test_single_characters_become_the_words_of_the_line():
    pieces = [piece(char, 10 * index) for index, char in enumerate("3.1章节，目录")]
    words = list(line_words("3.1 章节，目录", pieces))
    assert [(word.text, word.x1, word.x2) for word in words] == [
        ("3.1", 0, 29),
        ("章节，", 30, 59),
        ("目录", 60, 79),
    ]


def test_when_the_engine_drops_a_sign_each_piece_stands_alone():
    words = list(line_words("素—章节", [piece("素", 0), piece("章", 20), piece("节", 30)]))
    assert [word.text for word in words] == ["素", "章", "节"]


def test_a_piece_of_blanks_is_no_word():
    assert [word.text for word in line_words("a b", [piece("a", 0), piece(" ", 10), piece("b", 20)])] == [
        "a",
        "b",
    ]


def test_on_a_tilted_page_a_row_is_read_from_left_to_right():
    espresso, price = [Glyphs("Espresso", 112, 186, 286, 239)], [Glyphs("2.40", 889, 169, 981, 222)]
    cake, other = [Glyphs("Cake", 113, 247, 340, 302)], [Glyphs("3.60", 889, 230, 981, 283)]
    assert in_rows([price, espresso, other, cake]) == [espresso, price, cake, other]


def test_lines_below_each_other_stay_in_order():
    first, second = [Glyphs("far right", 500, 0, 600, 20)], [Glyphs("left", 0, 30, 100, 50)]
    over = [Glyphs("overlapping", 20, 35, 200, 55)]
    assert in_rows([first, second, over]) == [first, second, over]
