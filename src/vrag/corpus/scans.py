"""Which pages OCR is for, and which it isn't: scans with a stamp, and blank pages.

A scan with a stamp is an image of all there is to read, and a text layer of a page number or a header. Such a page has
text, so nobody would look for more on it. It is told by areas: images cover half of it or more, and the words of its
layer almost nothing. Three full lines of 10 points on A4 are at the limit; a slide's title is above it, as is the layer
of a scan that was recognised before. The rule doesn't see text that is drawn as curves.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

import pypdfium2.raw as pdfium
from PIL import Image

from vrag.corpus.text import Glyphs

IMAGES = 0.5  # share of the page that images cover, at least
WORDS = 0.02  # share of the page that the boxes of words take, at most
_PLAIN = 8  # levels of 256 between the lightest and the darkest: no ink, and room for what JPEG adds
_GRID = 32  # points of the page across and down that are looked at
_OBJECTS = 10_000  # a page of more is a drawing
_DEPTH = 8  # of forms in forms

Matrix = tuple[float, float, float, float, float, float]
_SAME: Matrix = (1, 0, 0, 1, 0, 0)


def is_blank(image: Image.Image) -> bool:
    """Whether an RGB page is of one colour all over. A blank sheet that was scanned isn't: it has noise."""
    channels: Any = image.getextrema()
    return all(high - low <= _PLAIN for low, high in channels)


def is_scan(page: Any, words: Sequence[Glyphs], width: int, height: int) -> bool:
    """Whether `page` (a `pypdfium2.PdfPage`) is a scan with a stamp; `words` in pixels of a page of that size."""
    area, limit = 0.0, WORDS * width * height
    for word in words:
        area += (word.x2 - word.x1) * (word.y2 - word.y1)
        if area > limit:
            return False
    return area > 0 and image_share(page) >= IMAGES


def image_share(page: Any) -> float:
    """The share of the page that images cover together, on a grid; 0 for a page of too many objects."""
    left, bottom, right, top = page.get_bbox()
    xs = [left + (right - left) * (step + 0.5) / _GRID for step in range(_GRID)]
    ys = [bottom + (top - bottom) * (step + 0.5) / _GRID for step in range(_GRID)]
    free = {(x, y) for x in xs for y in ys}
    for count, (object, matrix) in enumerate(_objects(page.raw, _SAME)):
        if count == _OBJECTS:
            return 0.0
        if free and pdfium.FPDFPageObj_GetType(object) == pdfium.FPDF_PAGEOBJ_IMAGE:
            x1, y1, x2, y2 = _bounds(object, matrix)
            free = {(x, y) for x, y in free if not (x1 <= x <= x2 and y1 <= y <= y2)}
    return 1 - len(free) / _GRID**2


def _objects(parent: Any, matrix: Matrix, depth: int = 0) -> Iterator[tuple[Any, Matrix]]:
    """The objects of a page, also those in forms, each with the map of its coordinates to those of the page."""
    count, get = (
        (pdfium.FPDFFormObj_CountObjects, pdfium.FPDFFormObj_GetObject)
        if depth
        else (pdfium.FPDFPage_CountObjects, pdfium.FPDFPage_GetObject)
    )
    for index in range(count(parent)):
        object = get(parent, index)
        if not object:
            continue
        yield object, matrix
        if depth < _DEPTH and pdfium.FPDFPageObj_GetType(object) == pdfium.FPDF_PAGEOBJ_FORM:
            yield from _objects(object, _after(_matrix(object), matrix), depth + 1)


def _matrix(object: Any) -> Matrix:
    found = pdfium.FS_MATRIX()
    if not pdfium.FPDFPageObj_GetMatrix(object, ctypes.byref(found)):
        return _SAME
    return found.a, found.b, found.c, found.d, found.e, found.f


def _after(first: Matrix, then: Matrix) -> Matrix:
    """One map for two, one after the other."""
    a, b, c, d, e, f = first
    (xx, xy), (yx, yy) = _map(then, a, b), _map(then, c, d)
    return xx - then[4], xy - then[5], yx - then[4], yy - then[5], *_map(then, e, f)


def _map(matrix: Matrix, x: float, y: float) -> tuple[float, float]:
    a, b, c, d, e, f = matrix
    return a * x + c * y + e, b * x + d * y + f


def _bounds(object: Any, matrix: Matrix) -> tuple[float, float, float, float]:
    """Left, bottom, right and top on the page, in points."""
    sides = [ctypes.c_float() for _ in range(4)]
    if not pdfium.FPDFPageObj_GetBounds(object, *(ctypes.byref(side) for side in sides)):
        return 0.0, 0.0, 0.0, 0.0
    left, bottom, right, top = (side.value for side in sides)
    corners = [_map(matrix, x, y) for x in (left, right) for y in (bottom, top)]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)
