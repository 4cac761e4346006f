"""Spaces of a text layer that are no characters: a typesetter that moves on between words and writes no space.

pdfium guesses them, and misses those of some fonts. They are told here by what is between the advance widths of two
characters, in sizes of their font: next to nothing within a word, whatever its letters look like, and more than a sixth
between words. Where letters are spaced out, what is between the others is taken off.
"""

from __future__ import annotations

import ctypes
import math

from vrag.corpus.characters import get_box, get_font_size, get_loose_box, get_matrix, get_unicode
from vrag.index.tokens import is_unspaced

# Of the font's size. In 49 PDFs words that belonged apart were 0.18 or more apart, and letters of a word up to 0.15.
SPACE = 0.17
_PLAIN = 0.12  # of a character's height: less than SPACE of any font, and next to all gaps in words are
_NEAR = 8  # characters on each side by which spaced-out letters are told
_SLOPE = 0.1  # of text that is still horizontal

_before, _after = (ctypes.c_float * 4)(), (ctypes.c_float * 4)()  # left, top, right, bottom
_ink = (ctypes.c_double * 4)()  # left, right, bottom, top
_matrix = (ctypes.c_float * 6)()
_BEFORE, _AFTER, _MATRIX = (ctypes.addressof(buffer) for buffer in (_before, _after, _matrix))
_INK = [ctypes.addressof(_ink) + 8 * side for side in range(4)]


def space_before(handle: int, index: int) -> bool:
    """Whether character `index` of a text page (its `address`) begins a word, though no space stands between it and
    the one before.

    Never beside scripts that are written without spaces, where text isn't horizontal on the page, or for a font that
    doesn't say how wide its characters are.
    """
    gap = _gap(handle, index)
    if gap < SPACE or is_unspaced(_char(handle, index)) or is_unspaced(_char(handle, index - 1)):
        return False
    return gap - _tracking(handle, index) >= SPACE


def _tracking(handle: int, index: int) -> float:
    """What is between letters around character `index`: a low quartile, so that neither a pair that is kerned nor the
    gaps between words are taken for it. 0 where there is nothing to compare with.
    """
    first = last = index
    while first > index - _NEAR and not _is_space(handle, first - 2):
        first -= 1
    while last < index + _NEAR and not _is_space(handle, last + 1):
        last += 1
    gaps = sorted(_gap(handle, near) for near in range(first, last + 1) if near != index)
    return gaps[len(gaps) // 4] if gaps else 0.0


def _gap(handle: int, index: int) -> float:
    """What is between a character and the one before it, in sizes of the larger font; 0 for what is small anyway, or
    can't be told.
    """
    if not get_loose_box(handle, index - 1, _BEFORE) or not get_loose_box(handle, index, _AFTER):
        return 0.0
    gap = _after[0] - _before[2]
    if gap <= _PLAIN * (_before[1] - _before[3]) or not _has_width(handle, index - 1):
        return 0.0
    sizes = _size(handle, index - 1), _size(handle, index)
    return gap / max(sizes) if min(sizes) > 0 else 0.0


def _has_width(handle: int, index: int) -> bool:
    """Whether a font says how wide its characters are: else pdfium gives the box of the ink (that of `_before`)."""
    left, top, right, bottom = _before
    get_box(handle, index, *_INK)
    return not all(math.isclose(a, b, abs_tol=1e-3) for a, b in zip((left, right, bottom, top), _ink, strict=True))


def _size(handle: int, index: int) -> float:
    """Of a character's font, in points of the page; 0 for text that isn't horizontal."""
    if not get_matrix(handle, index, _MATRIX):
        return 0.0
    a, b, c, d = _matrix[:4]
    return get_font_size(handle, index) * math.hypot(c, d) if abs(b) <= _SLOPE * a else 0.0


def _char(handle: int, index: int) -> str:
    code: int = get_unicode(handle, index)
    return chr(code) if 0 < code <= 0x10FFFF else " "


def _is_space(handle: int, index: int) -> bool:
    return index < 0 or _char(handle, index).isspace()
