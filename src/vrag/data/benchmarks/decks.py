"""The page images of a deck as one document: a PDF whose pages, rendered at the corpus's resolution, are the images.

So a deck has one name and pages 1 … N, in citations as in the dataset, and a search can stay within it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pypdfium2
from PIL import Image

from vrag.corpus.images import open_image, read_frame
from vrag.errors import DocumentError
from vrag.runs import atomic_write

_POINTS_PER_INCH = 72
_SLACK = 0.01  # px by which a page is smaller: renderers round a side up
_BLANK = (960, 720)  # px of a page in a deck that has no image at all


def write_deck(path: Path, images: Sequence[bytes | None], dpi: int) -> dict[int, str]:
    """Write the deck; returns, by page from 1, what is wrong with an image. Such a page is blank, so that the others
    keep their numbers. JPEGs go in as they are, other images without loss.
    """
    read = [_read(image) for image in images]
    problems = {number: page for number, page in enumerate(read, start=1) if isinstance(page, str)}
    pages = [None if isinstance(page, str) else page for page in read]
    blank = next((page[0].size for page in pages if page is not None), _BLANK)
    document: Any = pypdfium2.PdfDocument.new()
    try:
        for page in pages:
            _add(document, page, blank, _POINTS_PER_INCH / dpi)
        file = BytesIO()
        document.save(file)
    finally:
        document.close()
    if problems:  # before the deck, which says that both are there
        atomic_write(_problems_file(path), json.dumps(problems).encode())
    atomic_write(path, file.getvalue())
    return problems


def deck_problems(path: Path) -> dict[int, str]:
    """What `write_deck` returned when it wrote the deck that is there."""
    file = _problems_file(path)
    return {int(page): reason for page, reason in json.loads(file.read_bytes()).items()} if file.is_file() else {}


def _problems_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.problems.json")  # hidden: no run indexes it


def _read(image: bytes | None) -> tuple[Image.Image, bytes] | str:
    """Pixels, and the JPEG that they are from if a PDF can show it as it is; or why there are none. They are decoded
    here so that pdfium, which can crash, is only given what is whole.
    """
    if image is None:
        return "has no image"
    try:
        with open_image(image) as opened:
            pixels = read_frame(opened, 1)
            as_it_is = opened.format == "JPEG" and opened.mode in {"RGB", "L"} and opened.size == pixels.size
            return pixels, image if as_it_is and not opened.getexif() else b""
    except DocumentError as error:
        return str(error)


def _add(document: Any, page: tuple[Image.Image, bytes] | None, blank: tuple[int, int], points: float) -> None:
    width, height = ((side - _SLACK) * points for side in (page[0].size if page else blank))
    sheet = document.new_page(width, height)
    if page is not None:
        pixels, jpeg = page
        picture: Any = pypdfium2.PdfImage.new(document)
        if jpeg:
            picture.load_jpeg(BytesIO(jpeg), inline=True)
        else:
            picture.set_bitmap(pypdfium2.PdfBitmap.from_pil(pixels))
        picture.set_matrix(pypdfium2.PdfMatrix().scale(width, height))
        sheet.insert_obj(picture)
    sheet.gen_content()
    sheet.close()
