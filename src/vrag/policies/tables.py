"""Tables of a page, found by the white space between their columns, and the cell that a question names.

Words come with boxes and nothing else: a row is what stands at one height, a column what no white stripe divides. So
a header may stand centred over numbers at the right, and cells may be as close as words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from math import comb
from statistics import mean, median

from vrag.policies.passages import Passage, around
from vrag.policies.terms import terms
from vrag.types import Box, Word

_WIDE = 2.0  # line heights: such a gap in a line makes it a row
_TITLES = 1.0  # line heights: the same of titles, where the line below is a row
_STRIPE, _SPACES = 0.55, 1.2  # line heights, and spaces of the page's words, by which columns are apart at least
_SURE = 0.9  # line heights: a wider stripe is no space within a cell
_MOST = 0.6  # line heights: a wider space is one between columns
_NEAR_ROWS, _PITCH = 2.5, 4.0  # line heights between two rows, at most, and where more follow as far below
_EVEN = 1.7  # of the space between the first two rows: more, and a row isn't of their table
_LARGER = 1.4  # as high as the other lines of its table: a heading
_TIGHT = 0.6  # of the usual space between rows: less, and a line goes on with the cell above it
_NEAR = 0.3  # what the distance between titles and their columns counts for, beside its evenness
_TRIED = 5000  # ways of putting titles over columns: more, and they are ticks of an axis
_TERSE = 3  # words of a row for each of its cells, at most: lines of prose have spaces below each other too
_CELL = 8  # words: a longer cell is prose
_FILLED, _FULL = 0.6, 0.7  # of the cells of a table, and of one that isn't a chart
_NUMBER = re.compile(r"(?:[^\W\d]{1,3}\.? )?\W{0,2}\d")  # 14 kg, EUR 5, ca. 3, -2
_LEAD = 3  # lines above a table that say what it is about
_UNASKED = 0.5  # what a term of a label costs that the question doesn't have


@dataclass(frozen=True)
class Cell:
    """A value and the labels of its row and its column; `coverage`: the share of the question's terms that these and
    what stands above the table hold.
    """

    value: Passage
    labels: Sequence[Passage]
    coverage: float


@dataclass(frozen=True)
class Table:
    """`rows`, each with as many cells; None where a cell is empty. `lead`: the terms of what stands above."""

    rows: Sequence[Sequence[Passage | None]]
    lead: frozenset[str]

    @cached_property
    def box(self) -> Box:
        """Raw pixels of the page."""
        return around(cell.box for row in self.rows for cell in row if cell)

    @cached_property
    def told(self) -> frozenset[str]:
        """The terms of what stands above, and of all titles."""
        return self.lead.union(*(terms(title.text) for title in self.rows[0] if title))

    @cached_property
    def counted(self) -> Sequence[bool]:
        """Of each column, whether it holds numbers."""
        columns = [[cell for cell in column if cell] for column in zip(*self.rows[1:], strict=True)]
        return [sum(map(_is_number, column)) > len(column) / 2 for column in columns]

    @property
    def crossed(self) -> bool:
        """Whether a value in it needs the labels of its row and of its column: a grid of cards doesn't, nor a chart."""
        filled = sum(cell is not None for row in self.rows for cell in row)
        return min(len(self.rows), len(self.rows[0])) >= 3 and filled >= _FULL * len(self.rows) * len(self.rows[0])


def find_tables(words: Sequence[Word]) -> list[Table]:
    """All tables of a page with at least two rows and two columns, from top to bottom."""
    lines = _lines(words)
    space = _space(lines)
    found: list[Table] = []
    start = 0
    while start < len(lines):
        end = _end(lines, start, space)
        rows = _rows(lines[start:end], space) if end - start >= 2 else []
        if rows and _is_table(rows):
            lead = [Passage(line).text for line in lines[max(0, start - _LEAD) : start]]
            found.append(Table(rows, frozenset(term for text in lead for term in terms(text))))
            start = end
        else:
            start += 1
    return found


def _is_table(rows: Sequence[Sequence[Passage | None]]) -> bool:
    """Rather than lines of prose whose spaces happen to stand below each other."""
    cells = [cell for row in rows for cell in row if cell]
    return len(rows[0]) >= 2 and len(cells) >= _FILLED * len(rows) * len(rows[0])


def find_cell(tables: Sequence[Table], asked: Sequence[str], region: Box) -> Cell | None:
    """The one cell in `region` (raw pixels) that the terms `asked` name by its row and, where the table has several
    columns of values, by its column; None when there is none, or another is named as well.
    """
    scored = [
        (score, cell)
        for table in tables
        for score, cell in _named(table, asked)
        if all(part.lies_in(region) for part in (cell.value, *cell.labels))
    ]
    if not scored:
        return None
    best = max(score for score, _ in scored)
    first, *others = [cell for score, cell in scored if score == best]
    return None if others else first


def _named(table: Table, asked: Sequence[str]) -> list[tuple[float, Cell]]:
    """The cells whose labels share a term with the question, and how well they fit."""
    found: list[tuple[float, Cell]] = []
    header, wanted, counted = table.rows[0], set(asked), table.counted
    for row in table.rows[1:]:
        labels: list[Passage] = []  # of this row, so far: what names it may stand in its second column
        for title, value, number in zip(header, row, counted, strict=True):
            if value is None or len(value.words) > _CELL:
                continue
            if set(terms(value.text)) & wanted:
                labels.append(value)
            elif labels and (_is_number(value) or (table.crossed and not number)):
                above = [title] if title and set(terms(title.text)) & wanted else []
                if above or len(header) == 2:
                    found.append(_cell(table, value, [*labels, *above], asked))
    return found


def _is_number(cell: Passage) -> bool:
    """With its unit or currency, if it has one."""
    return _NUMBER.match(cell.text) is not None


def _cell(table: Table, value: Passage, labels: Sequence[Passage], asked: Sequence[str]) -> tuple[float, Cell]:
    """With how well its labels fit: by what they share with the question, less what they say besides."""
    own, wanted = {term for label in labels for term in terms(label.text)}, set(asked)
    held = own | table.told
    coverage = sum(term in held for term in asked) / max(1, len(asked))
    return len(own & wanted) - _UNASKED * len(own - wanted), Cell(value, labels, coverage)


def _lines(words: Sequence[Word]) -> list[list[Word]]:
    """What stands at one height, from left to right; lines from top to bottom, in whatever order they were written."""
    found: list[list[Word]] = []
    for word in sorted(words, key=lambda word: (word.box.y1 + word.box.y2) / 2):
        middle = (word.box.y1 + word.box.y2) / 2
        if found and any(other.box.y1 < middle < other.box.y2 for other in found[-1][-3:]):
            found[-1].append(word)
        else:
            found.append([word])
    return [sorted(line, key=lambda word: word.box.x1) for line in found]


Stripe = tuple[float, float]
_EVERYWHERE: Stripe = (float("-inf"), float("inf"))


def _space(lines: Sequence[Sequence[Word]]) -> float:
    """How wide columns are apart at least, in line heights."""
    gaps = [0.0]
    for line in lines:
        height = _height(line)
        gaps += [(right.box.x1 - left.box.x2) / height for left, right in pairwise(line)]
    usual = median(gap for gap in gaps if gap <= _MOST)
    return max(_STRIPE, _SPACES * usual)


def _end(lines: Sequence[Sequence[Word]], start: int, space: float) -> int:
    """The line after the table that begins with line `start`; `start` itself where none does. Its first line may stand
    anywhere over its columns; those below go on as long as none crosses a stripe.
    """
    wide, titles = _widest(lines[start]), start + 1 < len(lines) and _widest(lines[start + 1]) > _WIDE
    if wide <= (_TITLES if titles else _WIDE):
        return start
    stripes, height, sure, most = [_EVERYWHERE], _height(lines[start]), 1, 1
    least, room, pitch = space * height, _PITCH * height, 0.0
    end = start + 1
    while end < len(lines):
        above, line = around(word.box for word in lines[end - 1]), lines[end]
        least = min(least, space * _height(line))
        stripes = _common(stripes, _gaps(line), least)
        below, inner = around(word.box for word in line).y1 - above.y2, _inner(stripes)
        if below > room or _height(line) > _LARGER * height or len(inner) < sure:
            break
        if end == start + 1:
            pitch, most = max(below, height), len(inner)
            room = _EVEN * pitch
        if len(line) > _TERSE * (most + 1):
            break
        sure, most = _sure(inner, height), len(inner)
        end += 1
    return start if end == start + 2 and pitch > _NEAR_ROWS * height else end


def _sure(stripes: Sequence[Stripe], height: float) -> int:
    """How many divide columns for certain: a narrow one may be a space that cells of other rows don't have there."""
    return sum(right - left >= _SURE * height for left, right in stripes) or len(stripes)


def _rows(lines: Sequence[Sequence[Word]], space: float) -> list[list[Passage | None]]:
    """Cells by the stripes between the values; what the first line holds is put over these, as far as it fits."""
    body, [first] = _split(lines[1:], space), _split(lines[:1], space)
    titles = [cell for cell in first if cell]
    if len(titles) > len(body[0]) or comb(len(body[0]), len(titles)) > _TRIED:
        return _joined(_split(lines, space))
    return _joined([_over(titles, body), *body])


def _split(lines: Sequence[Sequence[Word]], space: float) -> list[list[Passage | None]]:
    """Cells by the stripes that all `lines` have in common."""
    least = space * min(_height(line) for line in lines)
    stripes = [_EVERYWHERE]
    for line in lines:
        stripes = _common(stripes, _gaps(line), least)
    return _merged([_cells(line, _inner(stripes)) for line in lines])


def _over(titles: Sequence[Passage], body: Sequence[Sequence[Passage | None]]) -> list[Passage | None]:
    """Each title over its column: in order, and shifted alike, for titles at the left of columns whose values stand at
    the right may be nearer to the next. There are no more titles than columns.
    """
    columns = [around(cell.box for cell in column if cell) for column in zip(*body, strict=True)]

    def apart(chosen: Sequence[int]) -> float:
        shifts = [_middle(title.box) - _middle(columns[j]) for title, j in zip(titles, chosen, strict=True)]
        return max(shifts) - min(shifts) + _NEAR * mean(map(abs, shifts))

    held = dict(zip(min(combinations(range(len(columns)), len(titles)), key=apart), titles, strict=True))
    return [held.get(j) for j in range(len(columns))]


def _middle(box: Box) -> float:
    return (box.x1 + box.x2) / 2


def _widest(line: Sequence[Word]) -> float:
    """Of the gaps in a line, in its heights."""
    return max((right.box.x1 - left.box.x2 for left, right in pairwise(line)), default=0.0) / _height(line)


def _height(line: Sequence[Word]) -> float:
    return max(1.0, median(word.box.height for word in line))


def _gaps(line: Sequence[Word]) -> list[Stripe]:
    """Where a line is white, the margins among them."""
    edges = [float("-inf"), *(edge for word in line for edge in (word.box.x1, word.box.x2)), float("inf")]
    return [(left, right) for left, right in zip(edges[::2], edges[1::2], strict=True) if right > left]


def _common(first: Sequence[Stripe], second: Sequence[Stripe], least: float) -> list[Stripe]:
    """Where both are white, at least `least` wide."""
    shared = ((max(a1, b1), min(a2, b2)) for a1, a2 in first for b1, b2 in second)
    return [(left, right) for left, right in shared if right - left >= least]


def _inner(stripes: Sequence[Stripe]) -> list[Stripe]:
    """Without the margins."""
    return [one for one in stripes if one[0] != float("-inf") and one[1] != float("inf")]


def _cells(line: Sequence[Word], stripes: Sequence[Stripe]) -> list[Passage | None]:
    columns: list[list[Word]] = [[] for _ in range(len(stripes) + 1)]
    for word in line:
        middle = (word.box.x1 + word.box.x2) / 2
        columns[sum(middle > left for left, _ in stripes)].append(word)
    return [Passage(column, row=True) if column else None for column in columns]


def _merged(rows: Sequence[Sequence[Passage | None]]) -> list[list[Passage | None]]:
    """Columns together that no row fills both of: values that aren't aligned stand beside each other."""
    columns = [[row[j] for row in rows] for j in range(len(rows[0]))]
    found = [columns[0]]
    for column in columns[1:]:
        if any(left and right for left, right in zip(found[-1], column, strict=True)):
            found.append(column)
        else:
            found[-1] = [left or right for left, right in zip(found[-1], column, strict=True)]
    return [list(row) for row in zip(*found, strict=True)]


def _joined(rows: Sequence[Sequence[Passage | None]]) -> list[list[Passage | None]]:
    """Lines of one row together: those closer to the one above than rows are, with cells that are empty."""
    boxes = [around(cell.box for cell in row if cell) for row in rows]
    spaces = [below.y1 - above.y2 for above, below in pairwise(boxes)]
    usual = median(spaces)
    found = [list(rows[0])]
    for row, space in zip(rows[1:], spaces, strict=True):
        if space < _TIGHT * usual and None in row:
            found[-1] = [_both(above, below) for above, below in zip(found[-1], row, strict=True)]
        else:
            found.append(list(row))
    return found


def _both(above: Passage | None, below: Passage | None) -> Passage | None:
    if above is None or below is None:
        return above or below
    return Passage([*above.words, *below.words], row=True)
