"""Words are told apart where a text layer has no space between them, and are left whole elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from reportlab.pdfgen.canvas import Canvas

from tests.papers import mapped_pdf
from vrag.corpus.lines import assemble
from vrag.corpus.pdf import open_pdf, read_page

SIZE = 10


def shown(path: Path, code: str, font: str = "Times-Roman", turned: int = 0) -> str:
    """The text of a page on which the PDF operators `code` show text of 10 points."""
    canvas = Canvas(str(path / "page.pdf"), pagesize=(400, 400))
    canvas.translate(60, 60)
    canvas.rotate(turned)
    text = canvas.beginText(0, 0)
    text.setFont(font, SIZE)
    text._code.append(code)
    canvas.drawText(text)
    canvas.save()
    return text_of(path / "page.pdf")


def text_of(path: Path) -> str:
    with open_pdf(path) as document:
        image, glyphs, _ = read_page(document, 1, 150)
    return assemble(glyphs, image.width, image.height).text


def moved(before: str, pair: str, after: str, gap: float) -> str:
    """Operators that show three pieces in a row, with `gap` points between the two characters of the second. It is how
    groff sets a word that ends within a kerned pair, and pdfium sees no space there.
    """
    return f"({before}) Tj {gap} Tc [({pair}) {gap * 1000 / SIZE}] TJ 0 Tc ({after}) Tj"


@pytest.mark.parametrize("gap", [1.9, 2.5, 6])
def test_words_without_a_space_between_them_are_two(tmp_path: Path, gap: float):
    assert shown(tmp_path, moved("is not save", "dw", "hen it exits.", gap)) == "is not saved when it exits."


@pytest.mark.parametrize("gap", [-0.8, 0.5, 1.5])
def test_a_kerned_pair_stays_in_its_word(tmp_path: Path, gap: float):
    assert shown(tmp_path, moved("The W", "AV", "E is high.", gap)) == "The WAVE is high."


@pytest.mark.parametrize("tracking", [1, 3, 6])
def test_a_heading_of_spaced_letters_is_one_word(tmp_path: Path, tracking: float):
    assert shown(tmp_path, f"{tracking} Tc (CHAPTER) Tj") == "CHAPTER"


def test_spaced_letters_end_where_the_gap_is_wider(tmp_path: Path):
    assert shown(tmp_path, "3 Tc [(CHAPTE) 300] TJ 9 Tc [(RT) 900] TJ 3 Tc (WO) Tj") == "CHAPTER TWO"


def test_thin_letters_of_equal_width_stay_together(tmp_path: Path):
    assert shown(tmp_path, "(il.li,il'i) Tj", "Courier") == "il.li,il'i"


@pytest.mark.parametrize(("first", "text"), [("6392", "排版"), ("0058", "X Y")])
def test_scripts_without_spaces_stay_together(tmp_path: Path, first: str, text: str):
    """The same glyphs as Han and as Latin: their Unicode values are what the font's CMap says."""
    second = "7248" if text == "排版" else "0059"
    document = mapped_pdf(b"BT /F 10 Tf 20 50 Td 3 Tc (AB) Tj ET", {"A": first, "B": second}, (200, 100))
    (tmp_path / "page.pdf").write_bytes(document)
    assert text_of(tmp_path / "page.pdf") == text


@pytest.mark.parametrize("turned", [45, 90, 180])
def test_words_of_turned_text_stay_whole(tmp_path: Path, turned: int):
    assert shown(tmp_path, "0.5 Tc (Quarterly) Tj", turned=turned) == "Quarterly"
