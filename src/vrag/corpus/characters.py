"""What pdfium says of the characters of a text page, which it is asked for each of them.

As pypdfium2 declares these functions, converting their arguments takes longer than what they do: here the text page is
the address that `address` gives, and results go to the address of a buffer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import pypdfium2.raw as pdfium


def _declared(function: Any, result: Any, *arguments: Any) -> Any:
    made: Any = ctypes.PYFUNCTYPE(result, ctypes.c_void_p, ctypes.c_int, *arguments)
    return made(ctypes.cast(function, ctypes.c_void_p).value)


get_unicode = _declared(pdfium.FPDFText_GetUnicode, ctypes.c_uint)
get_box = _declared(pdfium.FPDFText_GetCharBox, ctypes.c_int, *[ctypes.c_void_p] * 4)  # of the ink: four doubles
get_loose_box = _declared(pdfium.FPDFText_GetLooseCharBox, ctypes.c_int, ctypes.c_void_p)  # `FS_RECTF`: four floats
get_matrix = _declared(pdfium.FPDFText_GetMatrix, ctypes.c_int, ctypes.c_void_p)  # `FS_MATRIX`: six floats
get_font_size = _declared(pdfium.FPDFText_GetFontSize, ctypes.c_double)


def address(layer: Any) -> int:
    """Of a `pypdfium2.PdfTextPage`, as long as it is open."""
    return ctypes.cast(layer.raw, ctypes.c_void_p).value or 0


def characters(layer: Any) -> Iterator[tuple[int, str]]:
    """Index and character; the halves of a surrogate pair become one, and no Unicode value is U+FFFD."""
    handle = address(layer)
    high = 0
    for index in range(layer.count_chars()):
        code: int = get_unicode(handle, index)
        if 0xD800 <= code < 0xE000:
            if code < 0xDC00:
                high = code
                continue
            code = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00) if high else 0xFFFD
        high = 0
        yield index, chr(code) if 0 < code <= 0x10FFFF else "\ufffd"
