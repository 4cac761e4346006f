"""Tables drawn by lot: the side of the names, the place of a value in its cell, what divides rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

from reportlab.pdfbase.pdfmetrics import stringWidth

from vrag.data.synthetic.page import Boxes, PageDrawing
from vrag.data.synthetic.sheet import Align, Rect, mix


def table(page: PageDrawing) -> Boxes:
    """A table with its header at the top or at the foot."""
    content, kind, rng = page.content, page.style.type, page.rng
    columns: Sequence[str | None] = content.columns or (None,)
    stage = page.stage(kind.label * rng.uniform(2.2, 3.4) * (len(content.rows) + 1))
    area = _narrowed(page, stage, len(columns))
    height, footed, mirrored = area.h / (len(content.rows) + 1), rng.random() < 0.25, rng.random() < 0.4
    align: Align = rng.choice(("left", "center", "right"))
    names = min(_widest(page) + 30, area.w * 0.6)
    gap = rng.uniform(0, 24)
    width = (area.w - names - gap) / len(columns)
    labels = Rect(area.right - names if mirrored else area.x, area.y, names, area.h)
    first = area.x if mirrored else labels.right + gap
    head = area.bottom - height if footed else area.y
    body = area._replace(y=area.y if footed else area.y + height, h=area.h - height)
    _divide(page, body, first, width, len(columns), len(content.rows))
    _head(page, Rect(area.x, head, area.w, height), first, width, align)
    boxes: Boxes = {}
    for index, row in enumerate(content.rows):
        middle = body.y + height * (index + 0.5)
        x = labels.right - 8 if mirrored else labels.x + 8
        page.label(x, middle + kind.label * 0.34, row, align="right" if mirrored else "left", width=names - 16)
        for position, column in enumerate(columns):
            cell = Rect(first + position * width, middle - height / 2, width, height)
            text = content.value(row, column).text
            boxes[row, column] = page.value(_edge(cell, align), middle + kind.value * 0.36, text, align=align)
    return boxes


def _narrowed(page: PageDrawing, stage: Rect, columns: int) -> Rect:
    """A part of the stage's width, anywhere on it: enough for the names and the cells."""
    needed = _widest(page) + 60 + columns * page.style.type.label * 4.2
    width = max(min(needed, stage.w), stage.w * page.rng.uniform(0.6, 1.0))
    return stage._replace(x=stage.x + (stage.w - width) * page.rng.random(), w=width)


def _widest(page: PageDrawing) -> float:
    return max(stringWidth(row, page.style.face.bold, page.style.type.label) for row in page.content.rows)


def _divide(page: PageDrawing, body: Rect, first: float, width: float, columns: int, rows: int) -> None:
    """Nothing, stripes or lines, along rows or columns."""
    theme, drawn, height = page.style.theme, page.rng.choice(("none", "stripes", "lines")), body.h / rows
    by_rows = page.rng.random() < 0.6
    lots = (
        [Rect(body.x, body.y + height * index, body.w, height) for index in range(rows)]
        if by_rows
        else [Rect(first + width * index, body.y, width, body.h) for index in range(columns)]
    )
    for index, lot in enumerate(lots):
        if drawn == "stripes" and index % 2 == 0:
            page.sheet.rect(lot, mix(page.tint(index), theme.page, 0.86) if not by_rows else theme.panel)
        elif drawn == "lines":
            end = (lot.right, lot.y) if by_rows else (lot.x, lot.bottom)
            page.sheet.line(lot.x, lot.y, *end, theme.rule, 0.8)


def _head(page: PageDrawing, line: Rect, first: float, width: float, align: Align) -> None:
    theme, kind = page.style.theme, page.style.type
    ink = mix(theme.accent, theme.ink, 0.5)
    if page.rng.random() < 0.5:
        page.sheet.rect(line, theme.accent)
        ink = theme.accent_ink
    for position, column in enumerate(page.content.columns or ("Value",)):
        cell = Rect(first + position * width, line.y, width, line.h)
        page.label(_edge(cell, align), line.cy + kind.label * 0.34, column, align=align, ink=ink, width=width - 8)


def _edge(cell: Rect, align: Align) -> float:
    return {"left": cell.x + 8, "center": cell.cx, "right": cell.right - 8}[align]
