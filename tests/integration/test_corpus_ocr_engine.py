"""OCR with the real engine; skipped where the extra isn't installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from vrag.corpus import ocr
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus

needs_ocr = pytest.mark.skipif(not ocr.ocr_available(), reason="needs the extra vrag[ocr]")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A page image with two lines of large print and no text layer."""
    page = Image.new("RGB", (900, 300), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(48)
    draw.text((60, 60), "Harbour revenue 1890", fill="black", font=font)
    draw.text((60, 180), "second line", fill="black", font=font)
    path = tmp_path / "scan.png"
    page.save(path)
    return path


@needs_ocr
def test_a_scan_indexed_without_ocr_gets_its_words_and_boxes_when_ocr_is_wanted(scan: Path, tmp_path: Path):
    with Corpus.create(tmp_path / "corpus") as corpus:
        report = ingest([scan], corpus, IngestOptions(workers=1, ocr="off")).ocr
        assert (report.pages, report.owed, report.without_text) == (0, 1, 0)
        report = ingest([scan], corpus, IngestOptions(workers=1)).ocr
        assert (report.pages, report.owed, report.without_text) == (1, 0, 0)
        page = corpus.page(corpus.search("harbour revenue", 1)[0].page_id)
        assert page.text_source == "ocr"
        words = {word.text: word for word in corpus.words(page.id)}
        assert {"Harbour", "revenue", "1890", "second", "line"} <= words.keys()
        assert words["Harbour"].line == words["1890"].line != words["second"].line
        box = words["Harbour"].box
        assert 40 < box.x1 < 80 and 50 < box.y1 < 80 and 100 < box.y2 < 135
        assert words["1890"].box.x1 > words["revenue"].box.x1 > box.x2 - 20


@needs_ocr
def test_the_words_of_a_scan_with_a_stamp_are_found_beside_the_stamp(scan: Path, tmp_path: Path):
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(tmp_path / "stamped.pdf"), pagesize=(450, 200))
    canvas.drawImage(str(scan), 0, 40, 450, 150)
    canvas.setFont("Helvetica", 8)
    canvas.drawString(20, 10, "ACME-000123")
    canvas.save()
    with Corpus.create(tmp_path / "corpus") as corpus:
        assert ingest([tmp_path / "stamped.pdf"], corpus, IngestOptions(workers=1)).ocr.pages == 1
        text = next(corpus.pages()).text
    assert text.startswith("ACME-000123\n") and text.count("000123") == 1
    assert "Harbour revenue 1890" in text
