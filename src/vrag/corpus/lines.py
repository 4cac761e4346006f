"""Words of a page in lines, and its running text.

The text is made of the words, so text and boxes never disagree: words of a line joined by spaces, lines by newlines,
and a word that was broken at the end of a line joined again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from vrag.corpus.text import TENTHS, Glyphs, PageText, Placed


def assemble(glyphs: Iterable[Glyphs], width: int, height: int) -> PageText:
    """Clip to the page (raw pixels), number the lines and make the running text.

    A word begins a new line when it overlaps the line so far by less than half of the smaller height. The
    cells of a table row, which a text layer lists one after another, so become one line, and columns stay
    apart.
    """
    glyphs = [glyph for glyph in glyphs if glyph.text]
    x1, x2 = _clip([glyph.x1 for glyph in glyphs], [glyph.x2 for glyph in glyphs], width)
    y1, y2 = _clip([glyph.y1 for glyph in glyphs], [glyph.y2 for glyph in glyphs], height)
    shown = np.flatnonzero((x2 > x1) & (y2 > y1))
    sides = [side[shown].tolist() for side in (x1, y1, x2, y2)]
    lines = _lines(sides[1], sides[3])
    kept = [glyphs[number] for number in shown.tolist()]
    placed = list(map(Placed, [glyph.text for glyph in kept], *sides, lines))
    return PageText(placed, _running(kept, lines))


def _lines(tops: Iterable[float], bottoms: Iterable[float]) -> list[int]:
    """Of each word, from where it begins and ends."""
    lines: list[int] = []
    line, top, bottom = -1, 0.0, 0.0
    for y1, y2 in zip(tops, bottoms, strict=True):
        overlap = (bottom if bottom < y2 else y2) - (top if top > y1 else y1)
        tall, own = bottom - top, y2 - y1
        if line < 0 or overlap < 0.5 * (tall if tall < own else own):
            line, top, bottom = line + 1, y1, y2
        else:
            top, bottom = (top if top < y1 else y1), (bottom if bottom > y2 else y2)
        lines.append(line)
    return lines


def _running(words: Sequence[Glyphs], lines: Sequence[int]) -> str:
    pieces = [
        _joined(word) if word.broken else f"{word.text} " if line == after else f"{word.text}\n"
        for word, line, after in zip(words[:-1], lines[:-1], lines[1:], strict=True)
    ]
    return "".join([*pieces, *map(_joined, words[-1:])])


def _joined(word: Glyphs) -> str:
    """Without the hyphen that broke it."""
    return word.text.removesuffix("-") if word.broken else word.text


def _clip(ends: Sequence[float], others: Sequence[float], size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two ends in order, within the page, to a tenth of a pixel; equal for what lies outside, were it infinite."""
    one, other = (np.rint(np.clip(np.array(side, float), 0, size) * TENTHS) / TENTHS for side in (ends, others))
    return np.minimum(one, other), np.maximum(one, other)
