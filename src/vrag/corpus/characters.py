"""What pdfium says of the characters of a text page, which it is asked for each of them.

Where a function is declared with types of arguments, ctypes takes far longer to convert these than it takes to answer.
So functions are declared without, an argument that is no plain number is made once for many calls (`from_param`), and
`Table` and `characters` ask for thousands of characters without a step of Python for each.
"""

from __future__ import annotations

import ctypes
from itertools import repeat
from typing import Any

import numpy as np
import pypdfium2.raw as pdfium
from numpy.typing import DTypeLike, NDArray

UNKNOWN = 0xFFFD  # a character without a Unicode value
_ROWS = 1024
_LINE_HYPHEN = 0xFFFE  # in a text as a whole, for what `get_unicode` gives as 2


def _declared(function: Any, result: Any) -> Any:
    made: Any = ctypes.PYFUNCTYPE(result)
    return made(ctypes.cast(function, ctypes.c_void_p).value)


def _argument(address: int) -> Any:
    return ctypes.c_void_p.from_param(address)


get_unicode = _declared(pdfium.FPDFText_GetUnicode, ctypes.c_uint)
get_font_size = _declared(pdfium.FPDFText_GetFontSize, ctypes.c_double)


def handle(layer: Any) -> Any:
    """The first argument of these functions, for an open `pypdfium2.PdfTextPage`."""
    return _argument(ctypes.cast(layer.raw, ctypes.c_void_p).value or 0)


class Table:
    """A function that leaves some numbers about a character, [columns], where it is told to: at one address for all of
    them or, if they are `scattered`, at one for each.
    """

    def __init__(self, function: Any, columns: int, dtype: DTypeLike, *, scattered: bool = False) -> None:
        self._function = _declared(function, ctypes.c_int)
        self._rows = np.empty((_ROWS, columns), dtype)
        row, column = self._rows.strides
        starts = [column * place for place in range(columns)] if scattered else [0]
        base = self._rows.ctypes.data
        self._places = [[_argument(base + start + row * number) for number in range(_ROWS)] for start in starts]
        self._first = [places[0] for places in self._places]

    def one(self, handle: Any, index: int) -> NDArray[Any] | None:
        """[columns] of character `index`, good until the next call; None where pdfium has none."""
        return self._rows[0] if self._function(handle, index, *self._first) else None

    def many(self, handle: Any, index: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """[characters, columns], and [characters]: whether pdfium has any."""
        values = np.empty((len(index), self._rows.shape[1]), self._rows.dtype)
        found = np.empty(len(index), np.bool_)
        for start in range(0, len(index), _ROWS):
            part = index[start : start + _ROWS].tolist()
            found[start : start + _ROWS] = list(map(self._function, repeat(handle), part, *self._places))
            values[start : start + _ROWS] = self._rows[: len(part)]
        return values, found


ink = Table(pdfium.FPDFText_GetCharBox, 4, np.float64, scattered=True)  # left, right, bottom, top
advance = Table(pdfium.FPDFText_GetLooseCharBox, 4, np.float32)  # left, top, right, bottom
matrix = Table(pdfium.FPDFText_GetMatrix, 6, np.float32)


def characters(layer: Any) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """The characters of an open `pypdfium2.PdfTextPage` in its order, [characters] each: by which number pdfium knows
    them, and their Unicode, `UNKNOWN` for none. The halves of a surrogate pair are one.
    """
    code = _codes(layer)
    high, low = (code >= 0xD800) & (code < 0xDC00), (code >= 0xDC00) & (code < 0xE000)
    if high.any() or low.any():
        before, follows = (np.append(np.zeros(1, one.dtype), one[:-1]) for one in (code, high))
        pairs = 0x10000 + ((before - 0xD800) << 10) + (code - 0xDC00)
        code = np.where(low, np.where(follows, pairs, UNKNOWN), code)
    code[(code == 0) | (code > 0x10FFFF)] = UNKNOWN
    index = np.flatnonzero(~high)
    return index, code[index]


def _codes(layer: Any) -> NDArray[np.uint32]:
    """What `get_unicode` gives for each character. The text as a whole says the same in one call, unless it leaves out
    characters or takes two units for one.
    """
    count, text_page = layer.count_chars(), handle(layer)
    text = np.zeros(count + 1, np.uint16)  # and the zero that ends it
    written = pdfium.FPDFText_GetText(layer.raw, 0, count, text.ctypes.data_as(ctypes.POINTER(ctypes.c_ushort)))
    if written != count + 1 or ((text >= 0xD800) & (text < 0xE000)).any():
        return np.fromiter(map(get_unicode, repeat(text_page), range(count)), np.uint32, count)
    code = text[:count].astype(np.uint32)
    for index in np.flatnonzero(code == _LINE_HYPHEN).tolist():
        code[index] = get_unicode(text_page, index)
    return code
