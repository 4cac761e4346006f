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

from vrag.types import Box, Word

_TENTHS = 10  # boxes are kept in tenths of a raw pixel
_LEVEL = 3  # of compression: 6 takes ten times as long and is not smaller


@dataclass
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
    words: list[Placed] = []
    pieces: list[str] = []
    line, top, bottom, joins = -1, 0.0, -1.0, True
    for glyph in glyphs:
        x1, x2 = _clip(glyph.x1, glyph.x2, width)
        y1, y2 = _clip(glyph.y1, glyph.y2, height)
        if x2 <= x1 or y2 <= y1 or not glyph.text:
            continue
        overlap = min(bottom, y2) - max(top, y1)
        if line < 0 or overlap < 0.5 * min(bottom - top, y2 - y1):
            line, top, bottom = line + 1, y1, y2
            separator = "\n"
        else:
            top, bottom, separator = min(top, y1), max(bottom, y2), " "
        pieces += ["" if joins else separator, glyph.text.removesuffix("-") if glyph.broken else glyph.text]
        joins = glyph.broken
        words.append(Placed(glyph.text, x1, y1, x2, y2, line))
    return PageText(words, "".join(pieces))


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


def _clip(one: float, other: float, size: int) -> tuple[float, float]:
    """The two ends in order, within the page, to a tenth of a pixel; equal for what lies outside, were it infinite."""
    low, high = (one, other) if one <= other else (other, one)
    return _within(low, size) if low > 0 else 0.0, _within(high, size) if high > 0 else 0.0


def _within(end: float, size: int) -> float:
    return round(end * _TENTHS) / _TENTHS if end < size else float(size)


def pack(words: Sequence[Placed]) -> bytes:
    """Words as compressed bytes: texts, then five integers a word (box in tenths of a pixel, line)."""
    numbers = array("i")
    for _, x1, y1, x2, y2, line in words:
        numbers.extend((round(x1 * _TENTHS), round(y1 * _TENTHS), round(x2 * _TENTHS), round(y2 * _TENTHS), line))
    texts = "\n".join(word.text for word in words).encode()
    return zlib.compress(len(texts).to_bytes(4, "little") + texts + numbers.tobytes(), _LEVEL)


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
