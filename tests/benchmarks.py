"""Small datasets in the schemas of the paper's three, made here: no row of theirs is copied."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tests.colours import COLOURS
from tests.papers import write_pdf
from tests.vidore import BROKEN, write

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


def slide(colour: str, kind: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    """A slide: one colour, and a stripe so that no two sizes are alike."""
    image = Image.new("RGB", size, COLOURS[colour])
    image.paste("white", (3, 5, 20, 9))
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


DECKS = {
    "harbour-plan_95": [slide("red"), slide("green"), slide("blue", "PNG")],
    "kelp/farm": [slide("yellow"), slide("red", size=(80, 60))],
}
SLIDEVQA = [
    {
        "qa_id": 11,
        "question": "Which colour opens the harbour plan?",
        "answer": "red",
        "arithmetic_expression": "None",
        "evidence_pages": [1],
        "deck_name": "harbour-plan_95",
        "deck_url": "decks/harbour",
        "answer_type": "Single-Span",
        "reasoning_type": "Single-Hop",
    },
    {
        "qa_id": 12,
        "question": "How many colours follow it?",
        "answer": "2",
        "arithmetic_expression": "1 + 1",
        "evidence_pages": [2, 3],
        "deck_name": "harbour-plan_95",
        "deck_url": "decks/harbour",
        "answer_type": "Non-Span",
        "reasoning_type": "Multi-Hop",
    },
    {
        "qa_id": 13,
        "question": "Which colour is on the second slide about kelp?",
        "answer": "red",
        "arithmetic_expression": "None",
        "evidence_pages": [2],
        "deck_name": "kelp/farm",
        "deck_url": "decks/kelp",
        "answer_type": "Single-Span",
        "reasoning_type": "Single-Hop",
    },
]


def slidevqa(folder: Path, rows: Sequence[dict[str, Any]] = SLIDEVQA, split: str = "test") -> Path:
    """As on the Hub: each row holds the images of its deck in page_1 … page_20, as structs of bytes."""
    full: list[dict[str, Any]] = []
    for row in rows:
        slides = DECKS.get(row["deck_name"] or "", [])
        pages = {
            f"page_{n}": {"bytes": slides[n - 1] if n <= len(slides) else None, "path": None} for n in range(1, 21)
        }
        full.append({**row, **pages})
    write(folder / f"data/{split}-00000-of-00001.parquet", full)
    return folder


def slidevqa_repository(folder: Path) -> Path:
    """As in the repository: JSON Lines, and a file for each slide, of which one couldn't be downloaded."""
    rows: list[dict[str, Any]] = []
    for row in SLIDEVQA[:2]:
        name = row["deck_name"]
        urls = [f"https://slides.invalid/{name}/95/plan-{n}-1024.jpg?cb=1" for n in (1, 2, 3)]
        rows.append({**row, "image_urls": urls, "resoning_type": row["reasoning_type"]})
        for n, image in enumerate(DECKS[str(name)][:2], start=1):
            file = folder / f"images/dev/{name}/plan-{n}-1024.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(image)
    questions = folder / "annotations/qa/dev.jsonl"
    questions.parent.mkdir(parents=True)
    questions.write_text("\n".join(json.dumps({k: v for k, v in row.items() if k != "reasoning_type"}) for row in rows))
    return folder


VIDOSEEK = [
    {
        "uid": "0aa_1",
        "query": "When did the amber harbour open?",
        "reference_answer": "1984",
        "meta_info": {"file_name": "0aa.pdf", "reference_page": [2], "source_type": "text", "query_type": "single_hop"},
    },
    {
        "uid": "0aa_2",
        "query": "How many years after the harbour was the kelp farm sold?",
        "reference_answer": "19 years",
        "meta_info": {
            "file_name": "0aa.pdf",
            "reference_page": [2, 3],
            "source_type": "2d_layout",
            "query_type": "multi_hop",
        },
    },
]


def vidoseek(folder: Path, rows: Sequence[Any] = VIDOSEEK) -> Path:
    """vidoseek.json, and a zip whose files lie in pdf/."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vidoseek.json").write_text(json.dumps({"examples": list(rows)}))
    pages = ["The plan of the coast", "The amber harbour opened in 1984", "The kelp farm was sold in 2003"]
    pdf = write_pdf(folder.parent / "made/0aa.pdf", pages).read_bytes()
    with zipfile.ZipFile(folder / "vidoseek_pdf_document.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pdf/0aa.pdf", pdf)
        archive.writestr("__MACOSX/pdf/._0aa.pdf", b"junk")
    return folder


MMLONGBENCH = [
    ("report.pdf", "When did the amber harbour open?", "1984", "[2]", "['Pure-text (Plain-text)']", "Int"),
    ("report.pdf", "What was sold, and when?", "['the kelp farm', '2003']", "[1, 3]", "['Chart', 'Table']", "List"),
    ("report.pdf", "Who owned the lighthouse?", "Not answerable", "[]", "[]", "None"),
    ("manual.pdf", "How much of the dune is left?", "18.29%", "[1]", "['Generalized-text (Layout)']", "Float"),
]
MMLONGBENCH_COLUMNS = ("doc_id", "question", "answer", "evidence_pages", "evidence_sources", "answer_format")


def mmlongbench(folder: Path, rows: Sequence[Sequence[str]] = MMLONGBENCH, *, parquet: bool = False) -> Path:
    """The repository's data/samples.json or the Hub's parquet, with documents/."""
    named = [dict(zip(MMLONGBENCH_COLUMNS, row, strict=True)) | {"doc_type": "Research report"} for row in rows]
    if parquet:
        write(folder / "data/train-00000-of-00001.parquet", named)
    else:
        (folder / "data").mkdir(parents=True)
        (folder / "data/samples.json").write_text(json.dumps(named))
    documents = folder / ("documents" if parquet else "data/documents")
    write_pdf(documents / "report.pdf", ["On harbours", "The amber harbour opened in 1984", "Sold: kelp, 2003"])
    write_pdf(documents / "manual.pdf", ["Of the dune 18.29 % is left", "The amber harbour, again: 1901"])
    return folder


__all__ = ["BROKEN", "slide"]
