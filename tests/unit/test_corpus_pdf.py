"""Rendered pages and their words agree, however the page is turned or cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from reportlab.pdfgen.canvas import Canvas

from tests.papers import ZERO_PAGES, write_pdf
from vrag.corpus.lines import assemble
from vrag.corpus.pdf import open_pdf, read_page
from vrag.corpus.text import PageText
from vrag.errors import BudgetExceeded, UnreadableDocument


def read(path: Path, number: int = 1, dpi: int = 150) -> tuple[np.ndarray, PageText]:
    with open_pdf(path) as document:
        image, glyphs, _ = read_page(document, number, dpi)
    return np.asarray(image.convert("RGB")), assemble(glyphs, image.width, image.height)


def ink_outside(pixels: np.ndarray, page: PageText) -> int:
    """Dark pixels that lie in no word's box, two pixels of anti-aliasing aside."""
    dark = pixels.mean(axis=2) < 128
    for word in page.words:
        x1, y1, x2, y2 = (round(value) for value in word.box.as_tuple())
        dark[max(0, y1 - 2) : y2 + 2, max(0, x1 - 2) : x2 + 2] = False
    return int(dark.sum())


def ink_inside(pixels: np.ndarray, page: PageText) -> list[int]:
    boxes = [[round(value) for value in word.box.as_tuple()] for word in page.words]
    return [int((pixels[y1:y2, x1:x2].mean(axis=2) < 128).sum()) for x1, y1, x2, y2 in boxes]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [None, (20, 250, 400, 560)])
def test_word_boxes_hold_the_ink_of_the_page(tmp_path: Path, rotation: int, crop: tuple[int, ...] | None):
    path = write_pdf(tmp_path / "plain.pdf", [["Quarterly revenue 1,234", "second line"]])
    turned = tmp_path / "turned.pdf"
    document = pypdfium2.PdfDocument(path)
    page = document[0]
    page.set_rotation(rotation)
    if crop:
        page.set_cropbox(*crop)
    document.save(turned)
    document.close()
    pixels, page = read(turned)
    assert {word.text for word in page.words} == {"Quarterly", "revenue", "1,234", "second", "line"}
    assert ink_outside(pixels, page) == 0
    assert min(ink_inside(pixels, page)) > 30


@pytest.mark.parametrize("rotation", [90, 270])
def test_a_landscape_page_made_by_rotation_reads_in_its_order(tmp_path: Path, rotation: int):
    from reportlab.pdfgen.canvas import Canvas

    plain, turned = tmp_path / "plain.pdf", tmp_path / "turned.pdf"
    canvas = Canvas(str(plain), pagesize=(400, 600))
    canvas.rotate(rotation)
    for row, line in enumerate(["first line", "second line", "third line"]):
        x, y = (50, -60) if rotation == 90 else (-550, 340)
        canvas.drawString(x, y - 24 * row, line)
    canvas.save()
    with pypdfium2.PdfDocument(plain) as document:
        document[0].set_rotation(rotation)
        document.save(turned)
    pixels, page = read(turned)
    assert pixels.shape[1] > pixels.shape[0]
    assert page.text == "first line\nsecond line\nthird line"
    assert ink_outside(pixels, page) == 0


def test_why_a_document_is_bad_does_not_depend_on_the_one_before(tmp_path: Path):
    secret = write_pdf(tmp_path / "secret.pdf", ["x"], password="open sesame")
    empty = tmp_path / "empty.pdf"
    empty.write_bytes(ZERO_PAGES)
    for path, reason in [(secret, "encrypted"), (empty, "no pages"), (secret, "encrypted")]:
        with pytest.raises(UnreadableDocument, match=reason), open_pdf(path):
            pass


def test_a_page_for_which_pdfium_has_no_bitmap_is_no_white_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("vrag.corpus.pdf.pdfium.FPDFBitmap_CreateEx", lambda *_: None)
    with pytest.raises(UnreadableDocument, match="can't draw"):
        read(write_pdf(tmp_path / "plain.pdf", [["words"]]))


def test_what_is_filled_into_a_form_is_drawn_and_read(tmp_path: Path):
    canvas = Canvas(str(tmp_path / "form.pdf"), pagesize=(300, 200), invariant=1)
    for value in ("Lisbon", "Porto"):
        canvas.drawString(20, 150, "City")
        canvas.acroForm.textfield(name=value, value=value, x=80, y=140, width=120, height=30, borderWidth=0)
        canvas.showPage()
    canvas.drawString(20, 150, "A page without a field")
    canvas.save()
    with open_pdf(tmp_path / "form.pdf") as document:
        for number, value in ((1, "Lisbon"), (2, "Porto"), (1, "Lisbon")):
            image, glyphs, _ = read_page(document, number, 150)
            page = assemble(glyphs, image.width, image.height)
            assert page.text.split() == ["City", value]
            assert all(ink > 50 for ink in ink_inside(np.asarray(image.convert("RGB")), page))
        assert read_page(document, 3, 150)[1]


def test_the_image_has_the_asked_resolution(tmp_path: Path):
    path = write_pdf(tmp_path / "inch.pdf", ["x"], size=(144, 72))
    assert read(path, dpi=150)[0].shape == (150, 300, 3)
    assert read(path, dpi=75)[0].shape == (75, 150, 3)


def test_a_page_of_14400_points_is_rendered_within_the_pixel_budget(tmp_path: Path):
    path = write_pdf(tmp_path / "poster.pdf", ["x"], size=(14400, 14400))
    height, width, _ = read(path)[0].shape
    assert 31_000_000 < width * height <= 32_100_000


def test_a_page_that_is_a_strip_is_refused(tmp_path: Path):
    path = write_pdf(tmp_path / "strip.pdf", ["x"], size=(14400, 10))
    with open_pdf(path) as document, pytest.raises(BudgetExceeded, match="strip"):
        read_page(document, 1, 150)


def test_an_encrypted_document_says_so(tmp_path: Path):
    path = write_pdf(tmp_path / "secret.pdf", ["x"], password="open sesame")
    with pytest.raises(UnreadableDocument, match="encrypted"), open_pdf(path):
        pass


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (ZERO_PAGES, "pages"), (b"%PDF-1.4\n%", "damaged")])
def test_a_document_without_pages_says_why(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "bad.pdf"
    path.write_bytes(content)
    with pytest.raises(UnreadableDocument, match=reason), open_pdf(path):
        pass


def test_invisible_text_over_a_scan_is_read(tmp_path: Path):
    from reportlab.pdfgen.canvas import Canvas

    path = tmp_path / "scan.pdf"
    canvas = Canvas(str(path), pagesize=(300, 300))
    text = canvas.beginText(40, 200)
    text.setTextRenderMode(3)
    text.textOut("hidden layer")
    canvas.drawText(text)
    canvas.save()
    pixels, page = read(path)
    assert page.text == "hidden layer"
    assert pixels.min() > 250
