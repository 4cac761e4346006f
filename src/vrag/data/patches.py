"""What each patch of an image shows, from the page's word boxes: dense targets for a tower that starts from nothing.

A box that is asked for gives some twenty tokens of signal for a page of a thousand patches. Here every patch that shows
print has a target, so a tower learns to read in tens of thousands of small windows instead of millions of pages.

Axes: M = merged blocks (one image pad each), row by row; P = 4 M patches in the encoder's order, the four of a block
together. -1 where there is nothing to learn.
"""

from __future__ import annotations

import math
import random
import string
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any

import numpy as np

from vrag.geometry import ViewSpec, block_at, crop_view, extent, from_raw, page_view
from vrag.policies.expert import MISSED, ExpertStyle, missed_box, within, written_box
from vrag.types import Box, Page, View, Word

CHARACTERS = string.ascii_letters + string.digits + "%.,"
MERGE = 2  # patches of a block on each side: both families merge so
READABLE = 6.0  # pixels of the view: smaller print has no targets
DIGITS = 8  # of a box: hundreds and tens of x1, y1, x2, y2 in thousandths
NAMES = 2  # of a value: its row (a metric), its column (a year, a quarter, a region)

_NARROW = dict.fromkeys("iljI.,", 0.55) | dict.fromkeys("tfr", 0.7)
_WIDE = dict.fromkeys("mMW", 1.5) | {"w": 1.3} | dict.fromkeys("ABCDEFGHKLNOPQRSTUVXYZ", 1.2)
_WIDTHS = _NARROW | _WIDE  # of proportional type, in widths of an "a"


@dataclass(frozen=True)
class Sought:
    """What a question seeks on a page: its name ("Revenue 2022"), and where the value stands (raw pixels)."""

    name: str
    box: Box


@dataclass(frozen=True)
class PatchTargets:
    """`characters` [P, 2]: index in `CHARACTERS` at a quarter and three quarters of the patch's width. `words` [P]:
    index of the label that the patch shows a part of. `tokens` [P]: id of the text token. `values` [M, 2 + 8]: on the
    block with the middle of a value, the last token of each of its names that others on the page don't share, and the
    digits of the box that the expert would crop. `places` [M, 8]: the digits of such a box around the middle of any
    word, on whole pages.
    """

    characters: np.ndarray
    words: np.ndarray
    tokens: np.ndarray
    values: np.ndarray
    places: np.ndarray


class PatchReader:
    """Knows a tokenizer, the labels to tell apart, and how a box is written."""

    def __init__(self, tokenizer: Any, labels: Sequence[str], spec: ViewSpec, style: ExpertStyle) -> None:
        self._tokens = lru_cache(maxsize=4096)(partial(_tokens, tokenizer))
        self.labels = {label: index for index, label in enumerate(labels)}
        self._spec = spec
        self._patch = spec.factor // MERGE
        # the box of a value is one and the same: a tower can't learn what was drawn by lot
        self._style = style.model_copy(update={"box_jitter": 0.0, "oversize": 0.0})

    def targets(self, view: View, words: Sequence[Word], sought: Sequence[Sought] = ()) -> PatchTargets:
        """What the patches of `view` show, of the words and the sought values of its page (raw pixels)."""
        rows, columns = view.height // self._patch, view.width // self._patch
        grid = np.full((rows, columns, 4), -1, dtype=np.int32)  # two characters, label, token
        for word in words:
            if _overlap(word.box, view.region):
                self._print(grid, word.text, _in_view(view, word.box), view)
        values = np.full((rows * columns // MERGE**2, NAMES + DIGITS), -1, dtype=np.int32)
        places = np.full((len(values), DIGITS), -1, dtype=np.int32)
        if sought:  # the few values of each page are soon known by heart, and where they stand with them
            for word in words:
                self._place(places, word.box, view)
        shared = _shared([one.name for one in sought])
        for one in sought:
            self._value(values, one, shared, view)
        blocks = grid.reshape(rows // MERGE, MERGE, columns // MERGE, MERGE, 4).transpose(0, 2, 1, 3, 4).reshape(-1, 4)
        return PatchTargets(blocks[:, :2], blocks[:, 2], blocks[:, 3], values, places)

    def value_box(self, view: View, raw: Box) -> Box:
        """What the expert writes for a value at `raw`, in the written frame of `view`."""
        frame = self._spec.frame
        return written_box(from_raw(view, raw, frame), extent(view, frame), self._style, random.Random(0))

    def agent_box(self, view: View, raw: Box, snap: int = 1) -> Box:
        """What a lesser agent writes for a value at `raw`: beside it by up to `MISSED` of the box's size, in multiples
        of `snap`, and always alike, so that what it shows is rendered once.
        """
        width, height = extent(view, self._spec.frame)
        box, rng = self.value_box(view, raw), random.Random(f"{view.page_id} {raw}")
        left = box.x1 + rng.uniform(-MISSED, MISSED) * box.width
        top = box.y1 + rng.uniform(-MISSED, MISSED) * box.height
        x1 = within(left / snap, (width - box.width) // snap) * snap
        y1 = within(top / snap, (height - box.height) // snap) * snap
        return Box(x1=x1, y1=y1, x2=x1 + box.width, y2=y1 + box.height)

    def checked_box(self, view: View, raw: Box) -> Box:
        """The same, snapped as the expert's boxes and those that miss: or their digits would tell which is which."""
        return self.agent_box(view, raw, self._style.box_snap)

    def missed_box(self, view: View, raw: Box, rng: np.random.Generator) -> Box:
        """What an agent writes that misses a value at `raw` (`vrag.policies.expert.missed_box`)."""
        return missed_box(self.value_box(view, raw), extent(view, self._spec.frame), self._style.box_snap, rng)

    def value_crop(self, page: Page, raw: Box) -> View:
        """What such an agent sees that crops a value at `raw`."""
        view = page_view(page, self._spec)
        return crop_view(page, view, self.agent_box(view, raw), self._spec)

    def _print(self, grid: np.ndarray, text: str, box: Box, view: View) -> None:
        """Mark the patches of `grid` that show `text`; a word that is cut off has characters but no name."""
        if box.height < READABLE or box.width <= 0 or not text:
            return
        patch, (rows, columns, _) = self._patch, grid.shape
        widths = list(accumulate((_WIDTHS.get(c, 1.0) for c in text), initial=0.0))
        edges = [box.x1 + width / widths[-1] * box.width for width in widths]
        ids = [token for token, length in self._tokens(text) for _ in range(length)]
        whole = box.x1 > -2 and box.x2 < view.width + 2
        for row in _span(box.y1, box.y2, patch, rows, 0.45):
            for column in _span(box.x1, box.x2, patch, columns, 0.0):
                cell, left = grid[row, column], column * patch
                for side, share in enumerate((0.25, 0.75)):
                    x = left + share * patch
                    if box.x1 <= x < box.x2:
                        cell[side] = CHARACTERS.find(text[_at(edges, x)])
                shown = min(box.x2, left + patch) - max(box.x1, left)
                if whole and shown >= min(0.4 * patch, 0.6 * box.width):
                    cell[2] = self.labels.get(text, -1)
                    cell[3] = ids[min(_at(edges, left + patch / 2), len(ids) - 1)]

    def _place(self, places: np.ndarray, raw: Box, view: View) -> None:
        """Mark the block of `places` [M, 8] that shows the middle of a word."""
        x, y = (raw.x1 + raw.x2) / 2, (raw.y1 + raw.y2) / 2
        middle = Box(x1=x, y1=y, x2=x, y2=y)
        places[block_at(view, middle, self._spec.factor)] = box_digits(self.value_box(view, middle))

    def _value(self, values: np.ndarray, sought: Sought, shared: set[str], view: View) -> None:
        """Mark the block of `values` [M, 2 + 8] that shows the middle of a value, if `view` does."""
        box = _in_view(view, sought.box)
        if 0 <= (box.x1 + box.x2) / 2 < view.width and 0 <= (box.y1 + box.y2) / 2 < view.height:
            block = block_at(view, sought.box, self._spec.factor)
            values[block] = [*self._names(sought.name, shared), *box_digits(self.value_box(view, sought.box))]

    def _names(self, name: str, shared: set[str]) -> list[int]:
        """The last tokens of the words of a name: a whole metric, the last digit of a year."""
        words = name.split()[:NAMES]
        last = [-1 if word in shared else self._tokens(word)[-1][0] for word in words]
        return [*last, *[-1] * (NAMES - len(last))]


def _shared(names: Sequence[str]) -> set[str]:
    """Words that tell no two of several names apart: the one metric of a chart stands in its title."""
    if len(names) < 2:
        return set()
    return set.intersection(*(set(name.split()) for name in names))


def _tokens(tokenizer: Any, word: str) -> list[tuple[int, int]]:
    """A word's tokens as they stand in a sentence, after a space, and how many of its characters each is."""
    encoded = tokenizer(f" {word}", add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    spans = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    lengths = [(int(token), max(end, 1) - max(start, 1)) for token, (start, end) in spans]
    return [(token, length) for token, length in lengths if length]


def box_digits(box: Box) -> list[int]:
    """Hundreds and tens of each edge of a box in thousandths."""
    edges = [min(int(edge), 999) // 10 for edge in box.as_tuple()]
    return [digit for edge in edges for digit in divmod(edge, 10)]


def _overlap(one: Box, other: Box) -> bool:
    return one.x1 < other.x2 and one.x2 > other.x1 and one.y1 < other.y2 and one.y2 > other.y1


def _in_view(view: View, raw: Box) -> Box:
    """A raw box in pixels of the view, not rounded."""
    region = view.region
    x, y = view.width / region.width, view.height / region.height
    return Box(
        x1=(raw.x1 - region.x1) * x,
        y1=(raw.y1 - region.y1) * y,
        x2=(raw.x2 - region.x1) * x,
        y2=(raw.y2 - region.y1) * y,
    )


def _span(low: float, high: float, patch: int, count: int, least: float) -> range:
    """The patches that show at least the share `least` of themselves or of low..high."""
    needed = least * min(patch, high - low)
    first, last = max(0, int(low // patch)), min(count, math.ceil(high / patch))
    kept = [i for i in range(first, last) if min(high, (i + 1) * patch) - max(low, i * patch) >= needed]
    return range(kept[0], kept[-1] + 1) if kept else range(0)


def _at(edges: Sequence[float], x: float) -> int:
    """The number of the character between whose `edges` (ascending) `x` lies, or of the nearest."""
    return min(max(bisect_right(edges, x) - 1, 0), len(edges) - 2)
