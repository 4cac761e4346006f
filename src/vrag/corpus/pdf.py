"""Pages of a PDF: the image and the words of the text layer, both in raw pixels, by pdfium.

pdfium isn't thread-safe, and a damaged file can crash or hang it: call this from `vrag.corpus.worker` only,
where the process can be killed. Tests of healthy files may call it directly.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium
from PIL import Image

from vrag.corpus.layer import Affine, read_words
from vrag.corpus.limits import PAGES, check_shape, stored_scale
from vrag.corpus.scans import is_scan
from vrag.corpus.text import Glyphs
from vrag.errors import BudgetExceeded, UnreadableDocument

POINTS_PER_INCH = 72
_SUBPIXEL = 64  # pdfium maps page to device in whole pixels; a finer device keeps fractions
_PASSWORD_ERRORS = {pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY}


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
    page = _load(document, number)
    try:
        width, height = page.get_size()
        check_shape(width, height, "the page")
        scale = stored_scale(width, height, dpi / POINTS_PER_INCH)
        image = _render(page, math.ceil(width * scale), math.ceil(height * scale))
        words = _glyphs(page, image.width, image.height)
        return image, words, is_scan(page, words, *image.size)
    finally:
        page.close()


def _load(document: Any, number: int) -> Any:
    """A page as it is seen: what is filled into a form is drawn and read only as a part of it."""
    try:
        page = document[number - 1]
        if document.get_formtype() == pdfium.FORMTYPE_NONE:
            return page
        if pdfium.FPDFPage_Flatten(page.raw, pdfium.FLAT_NORMALDISPLAY) != pdfium.FLATTEN_SUCCESS:
            return page  # without fields
        page.close()
        return document[number - 1]
    except pypdfium2.PdfiumError as error:
        raise UnreadableDocument("the page is damaged: pdfium can't load it") from error


def _render(page: Any, width: int, height: int) -> Image.Image:
    """At four bytes a pixel, for which pdfium is quickest, into an array that the image keeps; a bitmap of pdfium's own
    is cleared before it is filled, which takes a twentieth of a page's time.
    """
    pixels = np.full((height, width, 4), 255, np.uint8)
    start, stride = pixels.ctypes.data_as(ctypes.c_void_p), pixels.strides[0]
    bitmap = pdfium.FPDFBitmap_CreateEx(width, height, pdfium.FPDFBitmap_BGRx, start, stride)
    if not bitmap:
        raise UnreadableDocument(f"pdfium can't draw a page of {width} x {height} pixels")
    try:
        flags = pdfium.FPDF_ANNOT | pdfium.FPDF_REVERSE_BYTE_ORDER
        pdfium.FPDF_RenderPageBitmap(bitmap, page.raw, 0, 0, width, height, 0, flags)
    finally:
        pdfium.FPDFBitmap_Destroy(bitmap)
    return Image.frombuffer("RGBX", (width, height), pixels, "raw", "RGBX", 0, 1)


def _glyphs(page: Any, width: int, height: int) -> list[Glyphs]:
    """The words in the order of the text layer, or none when it is of no use."""
    try:
        layer = page.get_textpage()
    except pypdfium2.PdfiumError:
        return []  # a page without a usable text layer is a page for OCR
    try:
        return read_words(layer, _to_pixels(page, width, height))
    finally:
        layer.close()


def _to_pixels(page: Any, width: int, height: int) -> Affine:
    """From page points to raw pixels."""

    def device(x: float, y: float) -> tuple[float, float]:
        px, py = ctypes.c_int(), ctypes.c_int()
        size = width * _SUBPIXEL, height * _SUBPIXEL
        pdfium.FPDF_PageToDevice(page, 0, 0, *size, 0, x, y, ctypes.byref(px), ctypes.byref(py))
        return px.value / _SUBPIXEL, py.value / _SUBPIXEL

    span = 1000.0  # points: long enough for the rounding to vanish in the slope
    e, f = device(0, 0)
    (xx, xy), (yx, yy) = device(span, 0), device(0, span)
    return (xx - e) / span, (xy - f) / span, (yx - e) / span, (yy - f) / span, e, f
