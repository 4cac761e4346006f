"""Labels and the values that belong to them on slides, tables and charts: by layout alone.

A label is a short block of words that stands apart from prose; its value is a short number aligned with it,
across or down the page. In a table the cell is aligned with two labels, one across and one down.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from vrag.policies.passages import Passage, distance, lines
from vrag.policies.terms import numbers, terms
from vrag.types import Box, Word

_GAP = 1.2  # in line heights: words further apart are different blocks
_SHORT = 5  # words: a longer block is prose
_VALUE = re.compile(r"[^\w\s]{0,2}\s?\d[\d.,:/-]*\s?(?:%|[^\W\d]{1,4})?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_ALIGNED = 0.5  # share of the narrower one that both must span


@dataclass(frozen=True)
class Field:
    """A value and the one or two labels that name it; `coverage`: the share of the question's terms that the
    short blocks of its page hold."""

    value: Passage
    labels: Sequence[Passage]
    coverage: float


@dataclass(frozen=True)
class _Named:
    """A value with its labels, how rare their words are on the page, and how far they stand from it."""

    value: Passage
    labels: tuple[Passage, ...]
    rarity: float
    distance: float


def find_field(
    words: Sequence[Word], asked: Sequence[str], question: str, region: Box, grids: Sequence[Box] = ()
) -> Field | None:
    """The value in `region` (raw pixels) whose labels name what is asked, in the terms `asked`; None if none. Not of
    what stands in `grids`.
    """
    apart = _apart(_blocks(words))
    known = set(numbers(question))
    values = [block for block in apart if _VALUE.fullmatch(block.text) and not _names(block, known)]
    labels = [block for block in apart if block not in values and set(terms(block.text)) <= set(asked)]
    values = [block for block in values if not any(block.lies_in(grid) for grid in grids)]
    values, labels = ([b for b in blocks if b.lies_in(region)] for blocks in (values, labels))
    counts = Counter(terms(" ".join(word.text for word in words)))
    named = [_named(value, pair, counts) for value in values for pair in _labels_of(value, labels)]
    if not named:
        return None
    best = max(named, key=lambda one: (len(one.labels), one.rarity, -one.distance))
    held = {term for block in apart for term in terms(block.text)}
    return Field(best.value, best.labels, sum(term in held for term in asked) / max(1, len(asked)))


def _names(block: Passage, known: set[str]) -> bool:
    """Whether a number is a label: the question's own, or another year where the question names one."""
    years = any(_YEAR.fullmatch(number) for number in known)
    return bool(known & set(numbers(block.text))) or (years and _YEAR.fullmatch(block.text) is not None)


def _labels_of(value: Passage, labels: Sequence[Passage]) -> list[tuple[Passage, ...]]:
    """Each label aligned with `value`, and each two that cross at it and say different things."""
    across = [label for label in labels if _share(label.box, value.box, "y") >= _ALIGNED]
    down = [label for label in labels if _share(label.box, value.box, "x") >= _ALIGNED]
    crossing = [
        (row, column) for row, column in product(across, down) if not set(terms(row.text)) & set(terms(column.text))
    ]
    return [*crossing, *((label,) for label in (*across, *down))]


def _named(value: Passage, labels: tuple[Passage, ...], counts: Counter[str]) -> _Named:
    """Rarity tells the label of one value from a title, whose words stand all over the page."""
    rarity = sum(_mean([1 / max(1, counts[term]) for term in terms(label.text)]) for label in labels)
    return _Named(value, labels, rarity, sum(distance(label.box, value.box) for label in labels))


def _blocks(words: Sequence[Word]) -> list[Passage]:
    """Runs of words on one line without a wide gap."""
    blocks: list[list[Word]] = []
    for line in lines(words):
        height = max(word.box.height for word in line)
        for i, word in enumerate(line):
            if i and word.box.x1 - line[i - 1].box.x2 <= _GAP * height:
                blocks[-1].append(word)
            else:
                blocks.append([word])
    return [Passage(block) for block in blocks]


def _apart(blocks: Sequence[Passage]) -> list[Passage]:
    """The short blocks, without the last lines of paragraphs."""
    prose = [block for block in blocks if len(block.words) > _SHORT]
    return [
        block
        for block in blocks
        if len(block.words) <= _SHORT
        and terms(block.text)
        and not any(
            distance(block.box, other.box) < block.box.height and _share(block.box, other.box, "x") for other in prose
        )
    ]


def _share(first: Box, second: Box, axis: str) -> float:
    """How much of the narrower of two boxes lies beside the other, along x or y; 0..1."""
    (a1, a2), (b1, b2) = ((box.x1, box.x2) if axis == "x" else (box.y1, box.y2) for box in (first, second))
    return max(0.0, min(a2, b2) - max(a1, b1)) / max(1.0, min(a2 - a1, b2 - b1))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
