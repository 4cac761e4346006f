"""Tables of a page, found by the white space between their columns, and the cell that a question names.

Words come with boxes and nothing else: a row is what stands at one height, a column what no white stripe divides. So
a header may stand centred over numbers at the right, and cells may be as close as words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import median

from vrag.policies.passages import Passage, around, inside
from vrag.policies.terms import numbers, terms
from vrag.types import Box, Word

_WIDE = 2.0  # line heights: such a gap in a line makes it a row
_STRIPE = 0.75  # line heights: white space between columns is wider than that between words
_PITCH = 2.5  # line heights between the rows of one table, at most
_TIGHT = 0.6  # of the usual space between rows: less, and a line goes on with the cell above it
_CELL = 8  # words: a longer cell is prose
_FILLED = 0.7  # of the cells of a table that isn't a chart
_LEAD = 3  # lines above a table that say what it is about
_UNASKED = 0.3  # what a term of a label costs that the question doesn't have


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

    @property
    def crossed(self) -> bool:
        """Whether a value in it needs the labels of its row and of its column: a grid of cards doesn't, nor a chart."""
        filled = sum(cell is not None for row in self.rows for cell in row)
        return min(len(self.rows), len(self.rows[0])) >= 3 and filled >= _FILLED * len(self.rows) * len(self.rows[0])


def find_tables(words: Sequence[Word]) -> list[Table]:
    """All tables of a page with at least two rows and two columns, from top to bottom."""
    lines = _lines(words)
    found: list[Table] = []
    start = 0
    while start < len(lines):
        end, stripes = _extent(lines, start)
        if end - start >= 2 and stripes:
            lead = [Passage(line).text for line in lines[max(0, start - _LEAD) : start]]
            rows = _joined(_merged([_cells(line, stripes) for line in lines[start:end]]))
            found.append(Table(rows, frozenset(term for text in lead for term in terms(text))))
            start = end
        else:
            start += 1
    return found


def find_cell(tables: Sequence[Table], asked: Sequence[str], question: str, region: Box) -> Cell | None:
    """The one cell in `region` (raw pixels) that the terms `asked` name by its row and, where the table has several
    columns of values, by its column; None when there is none, or another is named as well.
    """
    known = set(numbers(question))
    scored = [
        (score, cell)
        for table in tables
        for score, cell in _named(table, asked, known)
        if all(_inside(part, region) for part in (cell.value, *cell.labels))
    ]
    if not scored:
        return None
    best = max(score for score, _ in scored)
    first, *others = [cell for score, cell in scored if score == best]
    return None if others else first


def _named(table: Table, asked: Sequence[str], known: set[str]) -> list[tuple[float, Cell]]:
    """The cells whose labels share a term with the question, and how well they fit."""
    found: list[tuple[float, Cell]] = []
    header, wanted = table.rows[0], set(asked)
    for row in table.rows[1:]:
        label = row[0]
        if label is None or not set(terms(label.text)) & wanted:
            continue
        for title, value in zip(header[1:], row[1:], strict=True):
            if value is None or len(value.words) > _CELL or set(terms(value.text)) <= wanted:
                continue
            named = title is not None and bool(set(terms(title.text)) & wanted)
            if not named and len(header) > 2:
                continue
            labels = [label, *([title] if named and title else [])]
            own = {term for one in labels for term in terms(one.text)}
            held = own | table.lead | set(terms(header[0].text) if header[0] else ())
            coverage = sum(term in held for term in asked) / max(1, len(asked))
            found.append((len(own & wanted) - _UNASKED * len(own - wanted), Cell(value, labels, coverage)))
    return found


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


def _extent(lines: Sequence[Sequence[Word]], start: int) -> tuple[int, list[Stripe]]:
    """Where the table that begins with line `start` ends (the line after it), and the stripes between its columns."""
    if not _is_row(lines[start]):
        return start, []
    stripes, height = _gaps(lines[start]), _height(lines[start])
    end = start + 1
    while end < len(lines):
        above, line = around(word.box for word in lines[end - 1]), lines[end]
        height = min(height, _height(line))
        if around(word.box for word in line).y1 - above.y2 > _PITCH * height:
            break
        narrower = _common(stripes, _gaps(line), _STRIPE * height)
        if len(_inner(narrower)) < max(1, len(_inner(stripes))):
            break
        stripes = narrower
        end += 1
    return end, _inner(stripes)


def _is_row(line: Sequence[Word]) -> bool:
    return any(right.box.x1 - left.box.x2 > _WIDE * _height(line) for left, right in pairwise(line))


def _height(line: Sequence[Word]) -> float:
    return median(word.box.height for word in line)


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
    """Columns together that no row fills both of: a header that is centred stands beside its values, not above them."""
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


def _inside(part: Passage, region: Box) -> bool:
    return len(inside(part.words, region)) == len(part.words)
