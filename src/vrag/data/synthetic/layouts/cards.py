"""Cards: a label in large type and its value in small print."""

from __future__ import annotations

from vrag.data.synthetic.page import Boxes, PageDrawing
from vrag.data.synthetic.sheet import Rect, mix


def grid(page: PageDrawing) -> Boxes:
    """Cards in a grid; the value stands under its label, at a side that the page chooses."""
    rows, theme = page.content.rows, page.style.theme
    cells = _cells(page, 170.0, 16)
    side = page.rng.choice(("left", "center", "right"))
    mark = page.rng.choice(("top", "left", "dot"))
    boxes: Boxes = {}
    for index, (row, cell) in enumerate(zip(rows, cells, strict=False)):
        tint = page.tint(index)
        page.sheet.rect(cell, theme.panel, theme.rule, radius=page.style.rounded)
        _mark(page, cell, tint, mark)
        inner = cell.inset(16)
        x = {"left": inner.x, "center": inner.cx, "right": inner.right}[side]
        middle = cell.cy + page.style.type.label * 0.1
        page.label(x, middle, row, align=side, width=inner.w)
        text = page.content.value(row).text
        boxes[row, None] = page.value(x, middle + page.style.type.value * 2.2, text, align=side)
    return boxes


def strips(page: PageDrawing) -> Boxes:
    """One wide card under the other: label on the left, value on the right."""
    theme = page.style.theme
    cells = page.stage(len(page.content.rows) * 92.0).grid(1, len(page.content.rows), 10)
    boxes: Boxes = {}
    for index, (row, cell) in enumerate(zip(page.content.rows, cells, strict=True)):
        tint = page.tint(index)
        page.sheet.rect(cell, theme.panel, radius=page.style.rounded)
        page.sheet.rect(Rect(cell.x, cell.y, 10, cell.h), tint, radius=min(4, page.style.rounded))
        page.label(cell.x + 28, cell.cy + page.style.type.label * 0.35, row, width=cell.w * 0.6)
        text = page.content.value(row).text
        baseline = cell.cy + page.style.type.value * 0.35
        box = boxes[row, None] = page.value(cell.right - 24, baseline, text, align="right")
        page.sheet.line(cell.x + cell.w * 0.62, cell.cy, box.x - 12, cell.cy, mix(tint, theme.panel, 0.55), 1.2)
    return boxes


def badges(page: PageDrawing) -> Boxes:
    """Round badges that hold the values, with the label under each."""
    rows, theme = page.content.rows, page.style.theme
    cells = _cells(page, 190.0, 12)
    boxes: Boxes = {}
    for index, (row, cell) in enumerate(zip(rows, cells, strict=False)):
        tint, label = page.tint(index), page.style.type.label
        radius = min(cell.w * 0.28, (cell.h - label * 1.6) / 2)
        y = cell.y + radius + 2
        page.sheet.circle(cell.cx, y, radius, mix(tint, theme.page, 0.82), tint, 3)
        text = page.content.value(row).text
        boxes[row, None] = page.value(cell.cx, y + page.style.type.value * 0.35, text, align="center")
        page.label(cell.cx, y + radius + label * 1.1, row, align="center", width=cell.w)
    return boxes


def tiles(page: PageDrawing) -> Boxes:
    """Tinted tiles: the value over its label, a short rule between them."""
    rows, theme, kind = page.content.rows, page.style.theme, page.style.type
    cells = _cells(page, 170.0, 14)
    boxes: Boxes = {}
    for index, (row, cell) in enumerate(zip(rows, cells, strict=False)):
        tint = page.tint(index)
        page.sheet.rect(cell, mix(tint, theme.page, 0.86), radius=page.style.rounded)
        text = page.content.value(row).text
        boxes[row, None] = page.value(cell.cx, cell.cy - kind.value * 0.6, text, align="center")
        page.sheet.line(cell.cx - 24, cell.cy, cell.cx + 24, cell.cy, tint, 2)
        page.label(cell.cx, cell.cy + kind.label * 1.15, row, align="center", width=cell.w - 16)
    return boxes


def tags(page: PageDrawing) -> Boxes:
    """Framed cards: the label at the upper left, the value in the corner across."""
    rows, theme, kind = page.content.rows, page.style.theme, page.style.type
    cells = _cells(page, 170.0, 16)
    boxes: Boxes = {}
    for index, (row, cell) in enumerate(zip(rows, cells, strict=False)):
        tint = page.tint(index)
        page.sheet.rect(cell, None, tint, radius=page.style.rounded, line=1.6)
        head = Rect(cell.x, cell.y, cell.w, kind.label * 1.7)
        page.sheet.rect(head, mix(tint, theme.page, 0.75), radius=page.style.rounded)
        page.label(cell.x + 12, cell.y + kind.label * 1.2, row, width=cell.w - 24)
        text = page.content.value(row).text
        boxes[row, None] = page.value(cell.right - 14, cell.bottom - kind.value, text, align="right")
    return boxes


def _cells(page: PageDrawing, height: float, gap: float) -> list[Rect]:
    """Room for each row of the page in two or three columns; `height` (points) of a line of them at most."""
    count = len(page.content.rows)
    columns = page.columns(count)
    lines = -(-count // columns)
    return page.stage(lines * height).grid(columns, lines, gap)


def _mark(page: PageDrawing, cell: Rect, tint: str, mark: str) -> None:
    if mark == "top":
        page.sheet.rect(Rect(cell.x, cell.y, cell.w, 6), tint)
    elif mark == "left":
        page.sheet.rect(Rect(cell.x, cell.y, 7, cell.h), tint)
    else:
        page.sheet.circle(cell.right - 18, cell.y + 18, 7, tint)
