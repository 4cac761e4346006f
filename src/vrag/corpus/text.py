"""Words of a page: lines, running text, and the compact form in which the catalogue keeps them.

`page_text` is made of the words, so text and boxes never disagree: words of a line joined by spaces, lines by
newlines, and a word that was broken at the end of a line joined again.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vrag.types import Box, Word

_TENTHS = 10  # boxes are kept in tenths of a raw pixel
_LEVEL = 3  # of compression: 6 takes ten times as long and is not smaller


@dataclass(slots=True)
class Glyphs:
    """A word as it was read: box in raw pixels; `broken`: it goes on in the next word, after a hyphen."""

    text: str
    x1: float
    y1: float
    x2: float
    y2: float
    broken: bool = False


class Placed(NamedTuple):
    """A word in its place: what `Word` says, without the cost of a model for each of a thousand words."""

    text: str
    x1: float
    y1: float
    x2: float
    y2: float
    line: int

    def word(self) -> Word:
        return Word(text=self.text, box=Box(x1=self.x1, y1=self.y1, x2=self.x2, y2=self.y2), line=self.line)


@dataclass(frozen=True)
class PageText:
    """The words of one page in reading order, and their running text."""

    placed: list[Placed]
    text: str

    @property
    def words(self) -> list[Word]:
        return [placed.word() for placed in self.placed]


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


def unseen(read: Iterable[Glyphs], layer: Sequence[Word]) -> list[Glyphs]:
    """The words that OCR read where a text layer has none: neither lies at the middle of the other."""
    return [
        glyph
        for glyph in read
        if not any(_holds(word.box, *_middle(glyph)) or _holds(glyph, *_middle(word.box)) for word in layer)
    ]


def _middle(box: Box | Glyphs) -> tuple[float, float]:
    return (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2


def _holds(box: Box | Glyphs, x: float, y: float) -> bool:
    return box.x1 <= x <= box.x2 and box.y1 <= y <= box.y2


def _clip(ends: Sequence[float], others: Sequence[float], size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two ends in order, within the page, to a tenth of a pixel; equal for what lies outside, were it infinite."""
    one, other = (np.rint(np.clip(np.array(side, float), 0, size) * _TENTHS) / _TENTHS for side in (ends, others))
    return np.minimum(one, other), np.maximum(one, other)


def pack(words: Sequence[Placed]) -> bytes:
    """Words as compressed bytes: texts, then five integers a word (box in tenths of a pixel, line)."""
    texts, *numbers = zip(*words, strict=True) if words else [()] * 6
    columns = np.array(numbers, float).T
    columns[:, :4] *= _TENTHS
    packed = np.rint(columns).astype(np.int32).tobytes()
    joined = "\n".join(texts).encode()
    return zlib.compress(len(joined).to_bytes(4, "little") + joined + packed, _LEVEL)


def unpack(data: bytes) -> list[Word]:
    """The inverse of `pack`."""
    raw = zlib.decompress(data)
    end = 4 + int.from_bytes(raw[:4], "little")
    numbers = array("i")
    numbers.frombytes(raw[end:])
    if not numbers:
        return []
    words: list[Word] = []
    for index, text in enumerate(raw[4:end].decode().split("\n")):
        *box, line = numbers[index * 5 : index * 5 + 5]
        words.append(Placed(text, *(side / _TENTHS for side in box), line=line).word())
    return words
