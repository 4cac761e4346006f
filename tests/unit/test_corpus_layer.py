"""Words that are found for all characters at once are those that are found one character after the other."""

from __future__ import annotations

import ctypes
import io

import pypdfium2
import pypdfium2.raw as pdfium
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.papers import mapped_pdf
from vrag.corpus.characters import UNKNOWN, characters, handle
from vrag.corpus.layer import read_words
from vrag.corpus.spaces import space_before
from vrag.corpus.text import Glyphs

SAME = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
# what the font's letters mean: astral, of private use, no character, soft hyphen, full stop of Chinese, Han, a wide
# space, and the halves of a surrogate pair
UNICODE = {
    "A": "D83DDE00",
    "B": "E001",
    "C": "FFFF",
    "D": "00AD",
    "E": "3002",
    "F": "6392",
    "G": "2003",
    "H": "D83D",
    "I": "DE00",
}


def opened(lines: list[str]) -> pypdfium2.PdfDocument:
    """A page with a line of text for each of `lines`; `UNICODE` says what some letters mean."""
    shown = " ".join(f"1 0 0 1 20 {700 - 20 * place} Tm {line}" for place, line in enumerate(lines))
    page = mapped_pdf(f"BT /F 10 Tf {shown} ET".encode(), UNICODE)
    return pypdfium2.PdfDocument(io.BytesIO(page))


def one_after_the_other(layer: pypdfium2.PdfTextPage) -> list[Glyphs]:
    """By pdfium's functions as pypdfium2 declares them."""
    words: list[Glyphs] = []
    word: Glyphs | None = None
    known, high = 0, 0
    count = layer.count_chars()
    for index in range(count):
        code = pdfium.FPDFText_GetUnicode(layer, index)
        if 0xD800 <= code < 0xDC00:
            high = code
            continue
        if 0xDC00 <= code < 0xE000:
            code = 0x10000 + ((high - 0xD800) << 10) + code - 0xDC00 if high else 0xFFFD
        high, char = 0, chr(code) if 0 < code <= 0x10FFFF else "\ufffd"
        if char != "\x02" and (char <= " " or char.isspace()):
            word = None
            continue
        if "\ue000" <= char <= "\uf8ff" or ord(char) & 0xFFFF >= 0xFFFD:
            known -= 1
            continue
        known += 1
        sides = [ctypes.c_double() for _ in range(4)]
        if not pdfium.FPDFText_GetCharBox(layer, index, *sides):
            continue
        x1, x2, y1, y2 = (side.value for side in sides)
        if word and x1 - word.x2 > 0.15 * (word.y2 - word.y1) and space_before(handle(layer), index):
            word = None
        hyphen = char in "\xad\x02"
        if word is None:
            word = Glyphs("", x1, y1, x2, y2)
            words.append(word)
        word.text += "-" if hyphen else char
        word.x1, word.y1, word.x2, word.y2 = min(word.x1, x1), min(word.y1, y1), max(word.x2, x2), max(word.y2, y2)
        word.broken = hyphen
        if hyphen or char in "、。，；：！？":
            word = None
    return words if known >= 0 else []


letters = st.text(alphabet="ABCDEFGHIabcil.,- ", min_size=1, max_size=12).map(lambda text: f"({text}) Tj")
kerned = st.tuples(letters, st.floats(-3, 9), letters).map(lambda t: f"{t[0]} {t[1]:.2f} Tc {t[2]} 0 Tc")
moved = st.tuples(st.sampled_from("abdil."), st.integers(-900, 900), st.sampled_from("whenD"), st.floats(0, 4)).map(
    lambda t: f"{t[3]:.2f} Tc [({t[0]}{t[2]}) {t[1]}] TJ 0 Tc (hen) Tj"
)


@settings(deadline=None)
@given(st.lists(st.one_of(letters, kerned, moved), min_size=1, max_size=6))
def test_words_are_those_of_a_reading_one_character_after_the_other(lines: list[str]):
    document = opened(lines)
    layer = document[0].get_textpage()
    assert read_words(layer, SAME) == one_after_the_other(layer)
    document.close()


def test_pages_of_more_characters_than_are_asked_for_at_once():
    document = opened([f"({'word-' * 18} {line}) Tj" for line in range(35)])
    layer = document[0].get_textpage()
    assert layer.count_chars() > 3000
    words = read_words(layer, SAME)
    assert words == one_after_the_other(layer)
    assert [word.text for word in words if word.text.isdigit()] == [str(line) for line in range(35)]
    document.close()


def test_an_astral_character_is_one_character():
    document = opened(["(aAb) Tj"])
    layer = document[0].get_textpage()
    assert [chr(code) for code in characters(layer)[1].tolist()][:3] == ["a", "\U0001f600", "b"]
    document.close()


def test_a_half_of_a_pair_takes_no_other_from_the_end_of_the_page():
    document = opened(["(Iabc) Tj", "(abcH) Tj"])
    layer = document[0].get_textpage()
    assert read_words(layer, SAME) == one_after_the_other(layer)
    assert characters(layer)[1].tolist()[0] == UNKNOWN
    document.close()


def test_a_page_most_of_whose_characters_have_no_unicode_has_no_words():
    few, many = opened(["(abB) Tj"]), opened(["(aBB) Tj"])
    assert [word.text for word in read_words(few[0].get_textpage(), SAME)] == ["ab"]
    assert read_words(many[0].get_textpage(), SAME) == []
    few.close()
    many.close()


def test_a_hyphen_at_the_end_of_a_line_breaks_its_word():
    document = opened(["(develop-) Tj", "(ment) Tj"])
    words = read_words(document[0].get_textpage(), SAME)
    assert [(word.text, word.broken) for word in words] == [("develop-", True), ("ment", False)]
    document.close()


def test_the_two_letters_of_an_arabic_ligature_are_in_the_order_of_writing():
    page = mapped_pdf(b"BT /F 10 Tf 1 0 0 1 20 700 Tm (ABC) Tj ET", {"A": "0628", "B": "06440627", "C": "0633"})
    document = pypdfium2.PdfDocument(io.BytesIO(page))
    assert [word.text for word in read_words(document[0].get_textpage(), SAME)] == ["\u0633\u0644\u0627\u0628"]
    document.close()


def test_an_alef_before_a_lam_of_its_own_stays():
    page = mapped_pdf(b"BT /F 10 Tf 1 0 0 1 20 700 Tm (ABC) Tj ET", {"A": "0628", "B": "0644", "C": "0627"})
    document = pypdfium2.PdfDocument(io.BytesIO(page))
    assert [word.text for word in read_words(document[0].get_textpage(), SAME)] == ["\u0627\u0644\u0628"]
    document.close()
