"""OCR of pages without text, with the real engine; skipped where the extra isn't installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from vrag.corpus import ocr
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus
from vrag.errors import UsageError

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
        report = ingest([scan], corpus, IngestOptions(workers=1, ocr="off"))
        assert (report.pages_ocr, report.pages_without_text) == (0, 1)
        report = ingest([scan], corpus, IngestOptions(workers=1))
        assert (report.pages_ocr, report.pages_without_text) == (1, 0)
        page = corpus.page(corpus.search("harbour revenue", 1)[0].page_id)
        assert page.text_source == "ocr"
        words = {word.text: word for word in corpus.words(page.id)}
        assert {"Harbour", "revenue", "1890", "second", "line"} <= words.keys()
        assert words["Harbour"].line == words["1890"].line != words["second"].line
        box = words["Harbour"].box
        assert 40 < box.x1 < 80 and 50 < box.y1 < 80 and 100 < box.y2 < 135
        assert words["1890"].box.x1 > words["revenue"].box.x1 > box.x2 - 20
        assert ingest([scan], corpus, IngestOptions(workers=1)).pages_ocr == 0


@needs_ocr
def test_a_page_on_which_ocr_finds_nothing_is_tried_once(tmp_path: Path):
    Image.new("RGB", (300, 300), "white").save(tmp_path / "blank.png")
    with Corpus.create(tmp_path / "corpus") as corpus:
        report = ingest([tmp_path / "blank.png"], corpus, IngestOptions(workers=1))
        assert (report.pages_without_text, report.failures) == (1, [])
        assert ingest([tmp_path / "blank.png"], corpus, IngestOptions(workers=1)).pages_ocr == 0


def test_without_the_extra_force_is_an_error_and_auto_says_how_many_pages_wait(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from vrag.cli import main

    for module in ("vrag.corpus.ingest", "vrag.cli.index"):
        monkeypatch.setattr(f"{module}.ocr_available", lambda: False)
    with Corpus.create(tmp_path / "corpus") as corpus, pytest.raises(UsageError, match="pip install"):
        ingest([scan], corpus, IngestOptions(workers=1, ocr="force"))
    assert main(["index", str(scan), "-c", "mine", "--workers", "1"]) == 0
    said = capsys.readouterr().err
    assert "without text" in said and ": 1;" in said and "pip install" in said
