"""Scans with a stamp are told from pages of text, by what covers them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from vrag.corpus.pdf import open_pdf, read_page
from vrag.corpus.scans import image_share, is_blank
from vrag.corpus.text import Glyphs, unseen
from vrag.types import Box, Word

WIDTH, HEIGHT = A4
LINE = "a line of plain words as long as any that a page of text would have"
Draw = Callable[[Canvas, str], None]


def make(tmp_path: Path, draw: Draw) -> Path:
    picture, path = tmp_path / "picture.png", tmp_path / "page.pdf"
    Image.new("RGB", (60, 80), "navy").save(picture)
    canvas = Canvas(str(path), pagesize=A4, invariant=1)
    draw(canvas, str(picture))
    canvas.save()
    return path


def is_scan(path: Path) -> bool:
    with open_pdf(path) as document:
        return read_page(document, 1, 40)[2]


def share(path: Path) -> float:
    with open_pdf(path) as document:
        return image_share(document[0])


def write(canvas: Canvas, lines: int, size: int = 10) -> None:
    canvas.setFont("Helvetica", size)
    for row in range(lines):
        canvas.drawString(50, HEIGHT - 60 - 1.4 * size * row, LINE)


def stamp(canvas: Canvas) -> None:
    canvas.setFont("Helvetica", 8)
    canvas.drawString(40, 20, "ACME-000123  Confidential, page 12 of 340")


def whole(canvas: Canvas, picture: str) -> None:
    canvas.drawImage(picture, 0, 0, WIDTH, HEIGHT)
    stamp(canvas)


def in_strips(canvas: Canvas, picture: str) -> None:
    for row in range(100):
        canvas.drawImage(picture, 30, row * HEIGHT / 100, WIDTH - 60, HEIGHT / 100)
    stamp(canvas)


def with_a_header(canvas: Canvas, picture: str) -> None:
    canvas.drawImage(picture, 60, 60, WIDTH - 120, HEIGHT - 120)
    write(canvas, 2)


def in_forms(canvas: Canvas, picture: str) -> None:
    canvas.beginForm("inner", 0, 0, WIDTH, HEIGHT)
    canvas.drawImage(picture, 0, 0, WIDTH / 2, HEIGHT / 2)
    canvas.endForm()
    canvas.beginForm("outer", 0, 0, WIDTH, HEIGHT)
    canvas.doForm("inner")
    canvas.endForm()
    canvas.saveState()
    canvas.scale(2, 2)
    canvas.doForm("outer")
    canvas.restoreState()
    stamp(canvas)


@pytest.mark.parametrize("draw", [whole, in_strips, with_a_header, in_forms])
def test_a_scan_with_a_stamp_is_one(tmp_path: Path, draw: Draw):
    assert is_scan(make(tmp_path, draw))


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_and_cropped_scan_is_one(tmp_path: Path, rotation: int):
    turned = tmp_path / "turned.pdf"
    with pypdfium2.PdfDocument(make(tmp_path, whole)) as document:
        document[0].set_rotation(rotation)
        document[0].set_cropbox(20, 10, 500, 700)
        document.save(turned)
    assert is_scan(turned)
    assert share(turned) == 1


def text_alone(canvas: Canvas, picture: str) -> None:
    write(canvas, 40)


def next_to_nothing(canvas: Canvas, picture: str) -> None:
    stamp(canvas)


def over_a_background(canvas: Canvas, picture: str) -> None:
    canvas.drawImage(picture, 0, 0, WIDTH, HEIGHT)
    write(canvas, 30)


def over_a_background_in_few_large_words(canvas: Canvas, picture: str) -> None:
    canvas.drawImage(picture, 0, 0, WIDTH, HEIGHT)
    write(canvas, 2, size=28)


def beside_a_large_figure(canvas: Canvas, picture: str) -> None:
    canvas.drawImage(picture, 0, 0, WIDTH, 0.6 * HEIGHT)
    write(canvas, 15)


def captions_of_a_small_figure(canvas: Canvas, picture: str) -> None:
    canvas.drawImage(picture, 0, 0, WIDTH, 0.4 * HEIGHT)
    write(canvas, 1)


def recognised_before(canvas: Canvas, picture: str) -> None:
    canvas.drawImage(picture, 0, 0, WIDTH, HEIGHT)
    hidden = canvas.beginText(50, HEIGHT - 60)
    hidden.setFont("Helvetica", 10)
    hidden.setTextRenderMode(3)
    hidden.textLines([LINE] * 20)
    canvas.drawText(hidden)


@pytest.mark.parametrize(
    "draw",
    [
        text_alone,
        next_to_nothing,
        over_a_background,
        over_a_background_in_few_large_words,
        beside_a_large_figure,
        captions_of_a_small_figure,
        recognised_before,
    ],
)
def test_a_page_of_text_is_none(tmp_path: Path, draw: Draw):
    assert not is_scan(make(tmp_path, draw))


def test_images_in_forms_are_measured_where_they_are_drawn(tmp_path: Path):
    assert share(make(tmp_path, in_forms)) == 1
    assert share(make(tmp_path, captions_of_a_small_figure)) == pytest.approx(0.4, abs=0.02)
    assert share(make(tmp_path, text_alone)) == 0


def test_a_page_of_very_many_objects_is_not_looked_through(tmp_path: Path):
    def drawing(canvas: Canvas, picture: str) -> None:
        for x in range(10_001):
            canvas.rect(x % 500, x / 20, 1, 1)
        whole(canvas, picture)

    assert not is_scan(make(tmp_path, drawing))


def test_what_ocr_reads_over_a_word_of_the_layer_is_left_out():
    layer = [Word(text="ACME-000123", box=Box(x1=10, y1=90, x2=60, y2=98), line=0)]
    whole, half, other = (
        Glyphs("ACNE-000123", 9, 88, 62, 99),
        Glyphs("ACNE-", 9, 89, 33, 99),
        Glyphs("Harbour", 10, 20, 60, 30),
    )
    assert unseen([other, whole, half], layer) == [other]
    assert unseen([other, whole], []) == [other, whole]


def test_a_page_is_blank_without_a_single_mark() -> None:
    sheet = Image.new("RGB", (1240, 1754), (255, 255, 255))
    assert is_blank(sheet)
    sheet.putpixel((1200, 1700), (250, 250, 252))
    assert is_blank(sheet), "what JPEG adds is no ink"
    sheet.putpixel((1200, 1700), (255, 225, 255))
    assert not is_blank(sheet)
