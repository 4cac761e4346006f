"""Pages of a PDF: the image and the words of the text layer, both in raw pixels, by pdfium.

pdfium isn't thread-safe, and a damaged file can crash or hang it: call this from `vrag.corpus.worker` only,
where the process can be killed. Tests of healthy files may call it directly.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image

from vrag.corpus.characters import address, characters, get_box
from vrag.corpus.limits import PAGES, check_shape, stored_scale
from vrag.corpus.scans import is_scan
from vrag.corpus.spaces import space_before
from vrag.corpus.text import Glyphs
from vrag.errors import BudgetExceeded, UnreadableDocument

POINTS_PER_INCH = 72
_SUBPIXEL = 64  # pdfium maps page to device in whole pixels; a finer device keeps fractions
_PASSWORD_ERRORS = {pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY}
_HYPHEN = 0x02  # pdfium's sign for a hyphen at the end of a line, the word going on in the next
_BREAKS_WORD = {0x00AD, _HYPHEN}
_SIDES = struct.Struct("4d")
_ENDS_WORD = frozenset("、。，；：！？")  # scripts without spaces: a box for each clause, not for each line
_DOUBTFUL = 0.15  # of a word's height: a gap in its ink that may be a space


@contextmanager
def open_pdf(path: Path) -> Generator[Any]:
    """An open `pypdfium2.PdfDocument` with at least one page; `UnreadableDocument` says why not."""
    if path.stat().st_size == 0:
        raise UnreadableDocument("the file is empty")
    try:
        document: Any = pypdfium2.PdfDocument(_source(path), autoclose=True)
    except pypdfium2.PdfiumError as error:
        raise UnreadableDocument(_why_closed(path)) from error
    try:
        pages = len(document)
        if pages == 0:
            raise UnreadableDocument("the PDF has no pages")
        if pages > PAGES:
            raise BudgetExceeded(f"{pages} pages, more than the {PAGES} allowed: split the document")
        yield document
    finally:
        document.close()


def _why_closed(path: Path) -> str:
    """Why a document didn't open. Without pages pdfium leaves its last error as it was: so set one."""
    pdfium.FPDF_LoadDocument(b"", None)
    try:
        pypdfium2.PdfDocument(_source(path), autoclose=True).close()
    except pypdfium2.PdfiumError:
        code = pdfium.FPDF_GetLastError()
        if code in _PASSWORD_ERRORS:
            return "encrypted: save a copy without the password"
        if code == pdfium.FPDF_ERR_FILE:
            return "the PDF has no pages"
    return "damaged: pdfium can't open it"


def _source(path: Path) -> Any:
    """The path, or an open file when the name isn't valid UTF-8, which pdfium can't take."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return path.open("rb")
    return path


def read_page(document: Any, number: int, dpi: int) -> tuple[Image.Image, list[Glyphs], bool]:
    """Render page `number` (1-based) to RGB, at four bytes a pixel ("RGBX"), and read its words; rotation and crop box
    are applied to both. Third: whether it `is_scan`.
    """
    try:
        page = document[number - 1]
    except pypdfium2.PdfiumError as error:
        raise UnreadableDocument("the page is damaged: pdfium can't load it") from error
    try:
        width, height = page.get_size()
        check_shape(width, height, "the page")
        scale = stored_scale(width, height, dpi / POINTS_PER_INCH)
        image = _render(page, scale)
        words = _glyphs(page, image.width, image.height)
        return image, words, is_scan(page, words, *image.size)
    finally:
        page.close()


def _render(page: Any, scale: float) -> Image.Image:
    """At four bytes a pixel pdfium is quicker, and Pillow needs no copy: the image keeps what pdfium wrote to."""
    bitmap: Any = page.render(scale=scale, rev_byteorder=True, prefer_bgrx=True)
    try:
        return Image.frombuffer("RGBX", (bitmap.width, bitmap.height), bitmap.buffer, "raw", "RGBX", bitmap.stride, 1)
    finally:
        bitmap.close()


def _glyphs(page: Any, width: int, height: int) -> list[Glyphs]:
    """The words in the order of the text layer, or none when over half of its characters have no Unicode."""
    try:
        layer = page.get_textpage()
    except pypdfium2.PdfiumError:
        return []  # a page without a usable text layer is a page for OCR
    try:
        words, known, unknown = _read_words(layer, _to_pixels(page, width, height))
    finally:
        layer.close()
    return words if known >= unknown else []


def _to_pixels(page: Any, width: int, height: int) -> tuple[float, float, float, float, float, float]:
    """The affine map (a, b, c, d, e, f) from page points to raw pixels: x = ax + cy + e, y = bx + dy + f."""

    def device(x: float, y: float) -> tuple[float, float]:
        px, py = ctypes.c_int(), ctypes.c_int()
        size = width * _SUBPIXEL, height * _SUBPIXEL
        pdfium.FPDF_PageToDevice(page, 0, 0, *size, 0, x, y, ctypes.byref(px), ctypes.byref(py))
        return px.value / _SUBPIXEL, py.value / _SUBPIXEL

    span = 1000.0  # points: long enough for the rounding to vanish in the slope
    e, f = device(0, 0)
    (xx, xy), (yx, yy) = device(span, 0), device(0, span)
    return (xx - e) / span, (xy - f) / span, (yx - e) / span, (yy - f) / span, e, f


def _read_words(layer: Any, to_pixels: tuple[float, ...]) -> tuple[list[Glyphs], int, int]:
    """Words, and how many characters have a Unicode value and how many have none.

    Boxes grow in page points and are mapped once a word: the map turns by right angles only.
    """
    handle = address(layer)
    sides = (ctypes.c_double * 4)()  # left, right, bottom, top
    places = [ctypes.addressof(sides) + 8 * side for side in range(4)]
    words: list[Glyphs] = []
    current: Glyphs | None = None  # y1 is the bottom and y2 the top, in points
    known = unknown = 0
    for index, char in characters(layer):
        code = ord(char)
        if (code <= 32 and code != _HYPHEN) or char.isspace():
            current = None
            continue
        if 0xE000 <= code <= 0xF8FF or (code >= 0xFFFD and code & 0xFFFF >= 0xFFFD):
            unknown += 1
            continue
        known += 1
        if not get_box(handle, index, *places):
            continue
        breaks = code in _BREAKS_WORD
        x1, x2, y1, y2 = _SIDES.unpack_from(sides)
        if current and x1 - current.x2 > _DOUBTFUL * (current.y2 - current.y1) and space_before(handle, index):
            current = None
        if current is None:
            current = Glyphs("-" if breaks else char, x1, y1, x2, y2)
            words.append(current)
        else:
            current.text += "-" if breaks else char
            if x1 < current.x1:
                current.x1 = x1
            if y1 < current.y1:
                current.y1 = y1
            if x2 > current.x2:
                current.x2 = x2
            if y2 > current.y2:
                current.y2 = y2
        if breaks:
            current.broken = True
        if breaks or char in _ENDS_WORD:
            current = None
    for word in words:
        _map(word, to_pixels)
    return words, known, unknown


def _map(word: Glyphs, to_pixels: tuple[float, ...]) -> None:
    """Points to raw pixels, in place."""
    a, b, c, d, e, f = to_pixels
    x1, y1, x2, y2 = word.x1, word.y1, word.x2, word.y2
    word.x1, word.x2 = sorted((a * x1 + c * y1 + e, a * x2 + c * y2 + e))
    word.y1, word.y2 = sorted((b * x1 + d * y1 + f, b * x2 + d * y2 + f))
