"""Words of a page: lines, running text, and the compact form in which the catalogue keeps them.

`page_text` is made of the words, so text and boxes never disagree: words of a line joined by spaces, lines by
newlines, and a word that was broken at the end of a line joined again.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vrag.types import Box, Word

_TENTHS = 10  # boxes are kept in tenths of a raw pixel


@dataclass
class Glyphs:
    """A word as it was read: box in raw pixels; `broken`: it goes on in the next word, after a hyphen."""

    text: str
    x1: float
    y1: float
    x2: float
    y2: float
    broken: bool = False


@dataclass(frozen=True)
class PageText:
    """The words of one page in reading order, and their running text."""

    words: list[Word]
    text: str


def assemble(glyphs: Iterable[Glyphs], width: int, height: int) -> PageText:
    """Clip to the page (raw pixels), number the lines and make the running text.

    A word begins a new line when it overlaps the line so far by less than half of the smaller height. The
    cells of a table row, which a text layer lists one after another, so become one line, and columns stay
    apart.
    """
    words: list[Word] = []
    pieces: list[str] = []
    line, top, bottom, joins = -1, 0.0, -1.0, True
    for glyph in glyphs:
        box = _clip(glyph, width, height)
        if box is None or not glyph.text:
            continue
        overlap = min(bottom, box.y2) - max(top, box.y1)
        if line < 0 or overlap < 0.5 * min(bottom - top, box.height):
            line, top, bottom = line + 1, box.y1, box.y2
            separator = "\n"
        else:
            top, bottom, separator = min(top, box.y1), max(bottom, box.y2), " "
        pieces += ["" if joins else separator, glyph.text.removesuffix("-") if glyph.broken else glyph.text]
        joins = glyph.broken
        words.append(Word(text=glyph.text, box=box, line=line))
    return PageText(words, "".join(pieces))


def _clip(glyph: Glyphs, width: int, height: int) -> Box | None:
    x1, x2 = max(0.0, min(glyph.x1, glyph.x2)), min(float(width), max(glyph.x1, glyph.x2))
    y1, y2 = max(0.0, min(glyph.y1, glyph.y2)), min(float(height), max(glyph.y1, glyph.y2))
    if x2 <= x1 or y2 <= y1:
        return None
    return Box(x1=round(x1, 1), y1=round(y1, 1), x2=round(x2, 1), y2=round(y2, 1))


def pack(words: Sequence[Word]) -> bytes:
    """Words as compressed bytes: texts, then five integers a word (box in tenths of a pixel, line)."""
    numbers = array("i")
    for word in words:
        numbers.extend(round(value * _TENTHS) for value in word.box.as_tuple())
        numbers.append(word.line)
    texts = "\n".join(word.text for word in words).encode()
    return zlib.compress(len(texts).to_bytes(4, "little") + texts + numbers.tobytes(), 6)


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
        x1, y1, x2, y2, line = numbers[index * 5 : index * 5 + 5]
        box = Box(x1=x1 / _TENTHS, y1=y1 / _TENTHS, x2=x2 / _TENTHS, y2=y2 / _TENTHS)
        words.append(Word(text=text, box=box, line=line))
    return words
