"""What the OCR engine says becomes words; tested without the engine."""

from __future__ import annotations

from vrag.corpus.ocr import line_words


def piece(text: str, x: float) -> tuple[str, float, list[list[float]]]:
    return text, 0.9, [[x, 1], [x + 9, 0], [x + 9, 10], [x, 11]]


def test_words_keep_their_boxes():
    words = list(line_words("two words", [piece("two", 0), piece("words", 20)]))
    assert [(word.text, word.x1, word.y1, word.x2, word.y2) for word in words] == [
        ("two", 0, 0, 9, 11),
        ("words", 20, 0, 29, 11),
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
