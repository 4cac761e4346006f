"""The words of a PDF's text layer, in raw pixels.

What is told of characters is told of all of a page at once: a step of Python for each costs as much as drawing them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vrag.corpus.characters import characters, handle, ink
from vrag.corpus.spaces import apart, space_before
from vrag.corpus.text import Glyphs

Affine = tuple[float, float, float, float, float, float]

_DOUBTFUL = 0.15  # of a word's height: a gap in its ink that may be a space
_HYPHEN = 0x02  # pdfium's sign for a hyphen at the end of a line, the word going on in the next
_ALEFS, _LAM = (0x0622, 0x0623, 0x0625, 0x0627), 0x0644
_SPACE, _UNKNOWN, _BREAKS, _ENDS = 1, 2, 3, 4  # roles; the last two end a word


def _roles() -> NDArray[np.uint8]:
    """[code points]: what each does to words; 0 for a character of one."""
    roles = np.zeros(0x110000, np.uint8)
    roles[: ord(" ") + 1] = _SPACE
    roles[[code for code in range(0x3001) if chr(code).isspace()]] = _SPACE
    roles[[0x00AD, _HYPHEN]] = _BREAKS
    roles[[ord(char) for char in "、。，；：！？"]] = _ENDS  # of scripts without spaces: a box a clause, not a line
    roles[0xE000:0xF900] = _UNKNOWN  # of private use
    for last in range(0xFFFF, len(roles), 0x10000):
        roles[last - 2 : last + 1] = _UNKNOWN
    return roles


_ROLES = _roles()


def read_words(layer: Any, to_pixels: Affine) -> list[Glyphs]:
    """The words of an open `pypdfium2.PdfTextPage` in its order, or none when over half of its characters have no
    Unicode. `to_pixels`: (a, b, c, d, e, f) from points to raw pixels, x = ax + cy + e and y = bx + dy + f, which turns
    by right angles only.
    """
    index, code = characters(layer)
    roles = _ROLES[code]
    space, unknown = roles == _SPACE, roles == _UNKNOWN
    known = np.flatnonzero(~space & ~unknown)
    if len(known) < np.count_nonzero(unknown):
        return []
    text_page = handle(layer)
    sides, inked = ink.many(text_page, index[known])
    shown, sides = known[inked], sides[inked]
    if not len(shown):
        return []
    index, code, roles, spaces = index[shown], code[shown], roles[shown], np.cumsum(space)[shown]
    _order_ligatures(code, sides)
    begins = np.ones(len(shown), np.bool_)
    begins[1:] = (spaces[1:] != spaces[:-1]) | (roles[:-1] >= _BREAKS)
    _part(begins, index, sides, text_page)
    starts = np.flatnonzero(begins)
    return _words(code, roles == _BREAKS, _extents(sides, starts), starts, to_pixels)


def _order_ligatures(code: NDArray[np.uint32], sides: NDArray[np.float64]) -> None:
    """Put the letters of an Arabic lam-alef, in `code`, into the order in which they are written: pdfium turns the text
    around, and with it the two letters of that one glyph, which have one box.
    """
    turned = np.isin(code[:-1], _ALEFS) & (code[1:] == _LAM)
    turned[turned] = (sides[:-1][turned] == sides[1:][turned]).all(axis=1)
    first = np.flatnonzero(turned)
    code[first], code[first + 1] = code[first + 1], code[first]


def _part(begins: NDArray[np.bool_], index: NDArray[np.int64], sides: NDArray[np.float64], text_page: Any) -> None:
    """Begin words, in `begins`, after spaces that are no characters."""
    left, right, bottom, top = sides.T
    # the ink of a word reaches at least as far and as high as that of its last character: no doubtful gap is left out
    gaps = left[1:] - right[:-1] > _DOUBTFUL * (top[:-1] - bottom[:-1])
    places = np.flatnonzero(gaps & ~begins[1:]) + 1
    for place in places[apart(text_page, index[places])].tolist():
        first = place - 1 - int(begins[:place][::-1].argmax())
        word = slice(first, place)
        height = top[word].max() - bottom[word].min()
        doubtful = left[place] - right[word].max() > _DOUBTFUL * height
        begins[place] = doubtful and space_before(text_page, int(index[place]))


def _extents(sides: NDArray[np.float64], starts: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Left, right, bottom and top of each word, [words] each."""
    left, right, bottom, top = sides.T
    joined = ((np.fmin, left), (np.fmax, right), (np.fmin, bottom), (np.fmax, top))
    return [operation.reduceat(side, starts) for operation, side in joined]


def _words(
    code: NDArray[np.uint32],
    breaks: NDArray[np.bool_],
    extents: list[NDArray[np.float64]],
    starts: NDArray[np.int64],
    to_pixels: Affine,
) -> list[Glyphs]:
    text = np.where(breaks, ord("-"), code).astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
    ends = np.append(starts[1:], len(code))
    left, right, bottom, top = extents
    a, b, c, d, e, f = to_pixels
    xs = a * left + c * bottom + e, a * right + c * top + e
    ys = b * left + d * bottom + f, b * right + d * top + f
    boxes = np.fmin(*xs), np.fmin(*ys), np.fmax(*xs), np.fmax(*ys)
    texts = [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    return list(map(Glyphs, texts, *(side.tolist() for side in boxes), breaks[ends - 1].tolist()))
