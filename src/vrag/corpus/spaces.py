"""Spaces of a text layer that are no characters: a typesetter that moves on between words and writes no space.

pdfium guesses them, and misses those of some fonts. They are told here by what is between the advance widths of two
characters, in sizes of their font: next to nothing within a word, whatever its letters look like, and more than a sixth
between words. Where letters are spaced out, what is between the others is taken off.

`handle` is that of a text page (`vrag.corpus.characters`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrag.corpus.characters import advance, get_font_size, get_unicode, ink, matrix
from vrag.index.tokens import is_unspaced

# Of the font's size. In 49 PDFs words that belonged apart were 0.18 or more apart, and letters of a word up to 0.15.
SPACE = 0.17
_PLAIN = 0.12  # of a character's height: less than SPACE of any font, and next to all gaps in words are
_NEAR = 8  # characters on each side by which spaced-out letters are told
_SLOPE = 0.1  # of text that is still horizontal


def apart(handle: Any, index: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[characters]: where `space_before` isn't surely false; a quick look, for next to no gap passes it."""
    before, has_before = advance.many(handle, index - 1)
    after, has_after = advance.many(handle, index)
    gap, plain = _between(before.astype(float).T, after.astype(float).T)
    return has_before & has_after & (gap > plain)


def space_before(handle: Any, index: int) -> bool:
    """Whether character `index` begins a word, though no space stands between it and the one before it.

    Never beside scripts that are written without spaces, where text isn't horizontal on the page, or for a font that
    doesn't say how wide its characters are.
    """
    gap = _gap(handle, index)
    if gap < SPACE or is_unspaced(_char(handle, index)) or is_unspaced(_char(handle, index - 1)):
        return False
    return gap - _tracking(handle, index) >= SPACE


def _tracking(handle: Any, index: int) -> float:
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


def _gap(handle: Any, index: int) -> float:
    """What is between a character and the one before it, in sizes of the larger font; 0 for what is small anyway, or
    can't be told.
    """
    before, after = _advance(handle, index - 1), _advance(handle, index)
    if not before or not after:
        return 0.0
    gap, plain = _between(before, after)
    if gap <= plain or not _has_width(handle, index - 1, before):
        return 0.0
    sizes = _size(handle, index - 1), _size(handle, index)
    return gap / max(sizes) if min(sizes) > 0 else 0.0


def _between(before: Any, after: Any) -> tuple[Any, Any]:
    """What is between the advance widths of two characters, and how much of it is next to nothing; each of the two is
    left, top, right and bottom, numbers or arrays.
    """
    _, top, right, bottom = before
    return after[0] - right, _PLAIN * (top - bottom)


def _advance(handle: Any, index: int) -> list[float]:
    """Left, top, right and bottom, or nothing."""
    sides = advance.one(handle, index)
    return [] if sides is None else sides.tolist()


def _has_width(handle: Any, index: int, advance: list[float]) -> bool:
    """Whether a font says how wide its characters are: else pdfium gives the box of the ink."""
    left, top, right, bottom = advance
    sides = ink.one(handle, index)
    return sides is None or not all(
        math.isclose(a, b, abs_tol=1e-3) for a, b in zip((left, right, bottom, top), sides.tolist(), strict=True)
    )


def _size(handle: Any, index: int) -> float:
    """Of a character's font, in points of the page; 0 for text that isn't horizontal."""
    turned = matrix.one(handle, index)
    if turned is None:
        return 0.0
    a, b, c, d, _, _ = turned.tolist()
    return get_font_size(handle, index) * math.hypot(c, d) if abs(b) <= _SLOPE * a else 0.0


def _char(handle: Any, index: int) -> str:
    code: int = get_unicode(handle, index)
    return chr(code) if 0 < code <= 0x10FFFF else " "


def _is_space(handle: Any, index: int) -> bool:
    return index < 0 or _char(handle, index).isspace()
