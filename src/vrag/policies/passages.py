"""Words of a page, cut into passages: sentences, headings, rows of tables."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from vrag.policies.dates import starts_date
from vrag.types import Box, Word

MAX_WORDS = 60
_END = re.compile(r"[.!?。！？][\"'”’)\]]*$")
_ABBREVIATION = re.compile(
    r"^\W*(?:\w|\w\.\w|e\.g|i\.e|etc|fig|figs|no|vs|cf|approx|sec|eq|dr|mr|ms|bzw|z\.b)\.$", re.I
)
_BULLET = re.compile(r"[•‣▪▶►◦●○*–—·-]$|\(?\d{1,2}[.)]$")
_SPACELESS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3000-\u303f\uff00-\uffef"
_ROW_GAP = 2.0  # in line heights: words further apart are cells of a row
_PARAGRAPH_GAP = 0.7  # in line heights
_LABEL_WORDS = 3


@dataclass(frozen=True)
class Passage:
    """Consecutive words of one page; boxes in raw pixels. `row`: a line with gaps, as in a table; `item`: of a list."""

    words: Sequence[Word]
    row: bool = False
    item: bool = False

    @cached_property
    def text(self) -> str:
        return join(self.words)

    @cached_property
    def box(self) -> Box:
        return around(word.box for word in self.words)

    def lies_in(self, region: Box) -> bool:
        """Whether the middle of each word does."""
        return len(inside(self.words, region)) == len(self.words)

    @property
    def leader(self) -> bool:
        """Whether this is a line of a table of contents."""
        return re.search(r"(?:[.·…] ?){4,}", self.text) is not None

    @property
    def point(self) -> bool:
        """Whether this is one of a list with bullets or numbers."""
        return _BULLET.match(self.words[0].text) is not None

    @property
    def heading(self) -> bool:
        """Short and no sentence: says what follows rather than anything itself."""
        return not (self.row or self.item) and len(self.words) <= 8 and not _END.search(self.words[-1].text)

    @property
    def label(self) -> str:
        """What stands before a colon within it: "Due date" of "Due date: 13 April"."""
        before, colon, value = self.text.partition(": ")
        return before if colon and value else ""

    @property
    def asks(self) -> bool:
        """Whether this is a question of the page: what follows answers it."""
        return self.words[-1].text.endswith(("?", "？"))


def passages(words: Sequence[Word]) -> list[Passage]:
    """Cut `words` (reading order) where a sentence ends, a paragraph or column does, between the lines of a list, and
    around rows.
    """
    found: list[Passage] = []
    for block in _blocks(lines(words)):
        if _is_row(block[0]):
            found.append(Passage(block[0], row=True))
        elif _is_list(block):
            found += [replace(part, item=True) for item in _items(block) for part in _sentences(item)]
        else:
            found += _sentences(block)
    return found


def _blocks(listed: Sequence[list[Word]]) -> list[list[list[Word]]]:
    """Lines that go on in the next one; a row stands alone."""
    blocks: list[list[list[Word]]] = []
    for line in listed:
        if blocks and not _is_row(line) and not _apart(blocks[-1][-1], line):
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return blocks


def _is_list(block: Sequence[Sequence[Word]]) -> bool:
    """Whether several lines begin with a label, or most end where the next word still had room, and the next one
    begins as a sentence does: lines of a sign or a receipt, which have no full stops.
    """
    if _labelled(block):
        return True
    right = max(line[-1].box.x2 for line in block)
    early = [
        line[-1].box.x2 + below[0].box.width + line[-1].box.height < right and not below[0].text[:1].islower()
        for line, below in pairwise(block)
    ]
    return len(block) >= 3 and sum(early) > len(early) / 2


def _items(block: Sequence[list[Word]]) -> list[list[list[Word]]]:
    """The lines of a list, each with those that go on with it."""
    items: list[list[list[Word]]] = []
    labelled = _labelled(block)
    for line in block:
        if items and (line[0].text[:1].islower() or (labelled and not _label(line))):
            items[-1].append(line)
        else:
            items.append([line])
    return items


def _labelled(block: Sequence[Sequence[Word]]) -> bool:
    return sum(_label(line) for line in block) >= 2


def _label(line: Sequence[Word]) -> bool:
    """Whether a line begins with one, such as "Telephone:" or "Due date:"."""
    return any(word.text.endswith(":") for word in line[:_LABEL_WORDS]) and line[0].text[:1].isupper()


def _sentences(block: Sequence[list[Word]]) -> list[Passage]:
    """Consecutive lines, cut where sentences end, and after too many words."""
    found: list[Passage] = []
    current: list[Word] = []
    for line in block:
        for word in line:
            if current and _ends(current[-1], word):
                found.append(Passage(current))
                current = []
            current.append(word)
        if len(current) >= MAX_WORDS:
            found.append(Passage(current))
            current = []
    return [*found, Passage(current)] if current else found


def join(words: Sequence[Word]) -> str:
    """Running text: words broken at the end of a line are joined, and scripts without spaces get none."""
    text = ""
    line = 0
    for word in words:
        if text.endswith("-") and word.line != line and word.text[:1].islower() and text[-2:-1].isalpha():
            text = text[:-1] + word.text
        else:
            text += f" {word.text}" if text else word.text
        line = word.line
    return re.sub(rf"(?<=[{_SPACELESS}]) (?=[{_SPACELESS}])", "", text)


def around(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all of `boxes` (at least one)."""
    listed = list(boxes)
    return Box(
        x1=min(box.x1 for box in listed),
        y1=min(box.y1 for box in listed),
        x2=max(box.x2 for box in listed),
        y2=max(box.y2 for box in listed),
    )


def inside(words: Iterable[Word], region: Box) -> list[Word]:
    """The words whose middle lies in `region`."""
    return [
        word
        for word in words
        if region.x1 <= (word.box.x1 + word.box.x2) / 2 < region.x2
        and region.y1 <= (word.box.y1 + word.box.y2) / 2 < region.y2
    ]


def distance(first: Box, second: Box) -> float:
    """Between the edges of two boxes; 0 if they touch."""
    x = max(first.x1 - second.x2, second.x1 - first.x2, 0.0)
    y = max(first.y1 - second.y2, second.y1 - first.y2, 0.0)
    return math.hypot(x, y)


def lines(words: Sequence[Word]) -> list[list[Word]]:
    """Consecutive words of the same line."""
    found: list[list[Word]] = []
    for word in words:
        if found and found[-1][-1].line == word.line:
            found[-1].append(word)
        else:
            found.append([word])
    return found


def _is_row(line: Sequence[Word]) -> bool:
    height = max(word.box.height for word in line)
    return any(right.box.x1 - left.box.x2 > _ROW_GAP * height for left, right in pairwise(line))


def _apart(above: Sequence[Word], below: Sequence[Word]) -> bool:
    """Whether a line doesn't continue the one before: a gap, another column, or another size of type."""
    if not above or _is_row(above):
        return True
    top, bottom = around(word.box for word in above), around(word.box for word in below)
    height = max(top.height, 1)
    if bottom.y1 - top.y2 > _PARAGRAPH_GAP * height or bottom.y1 < top.y1:
        return True
    if bottom.x1 > top.x2 or bottom.x2 < top.x1:
        return True
    return not 0.7 < bottom.height / height < 1.4


def _ends(word: Word, following: Word) -> bool:
    if _BULLET.match(following.text) and following.line != word.line:
        return True
    dots = not word.text.strip(".·…")  # of a table of contents
    if dots or not _END.search(word.text) or _ABBREVIATION.match(word.text) or starts_date(word.text, following.text):
        return False
    return not following.text[:1].islower()
