"""Words of a page, as they are read and as they are placed, and the compact form in which the catalogue keeps them."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vrag.types import Box, Word

TENTHS = 10  # boxes are kept in tenths of a raw pixel
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


def pack(words: Sequence[Placed]) -> bytes:
    """Words as compressed bytes: texts, then five integers a word (box in tenths of a pixel, line)."""
    texts, *sides, lines = zip(*words, strict=True) if words else [()] * 6
    numbers = array("i", [0]) * (5 * len(words))
    for place, side in enumerate(sides):
        numbers[place::5] = array("i", [round(end * TENTHS) for end in side])
    numbers[4::5] = array("i", lines)
    joined = "\n".join(texts).encode()
    return zlib.compress(len(joined).to_bytes(4, "little") + joined + numbers.tobytes(), _LEVEL)


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
        words.append(Placed(text, *(side / TENTHS for side in box), line=line).word())
    return words
