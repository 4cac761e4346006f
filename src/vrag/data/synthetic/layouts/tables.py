"""Tables of one value column and of metrics by category."""

from __future__ import annotations

from collections.abc import Sequence

from reportlab.pdfbase.pdfmetrics import stringWidth

from vrag.data.synthetic.page import Boxes, PageDrawing
from vrag.data.synthetic.sheet import Align, Rect, mix


def striped(page: PageDrawing) -> Boxes:
    """A header row in the accent colour and striped rows."""
    return _table(page, head=True, stripes=True)


def ruled(page: PageDrawing) -> Boxes:
    """Rows between hairlines, as in a printed report."""
    return _table(page, rules=True)


def boxed(page: PageDrawing) -> Boxes:
    """Every cell in a frame."""
    return _table(page, head=True, frames=True)


def ledger(page: PageDrawing) -> Boxes:
    """The values first and what they are of at the right, between hairlines."""
    return _table(page, head=True, rules=True, mirrored=True)


def heat(page: PageDrawing) -> Boxes:
    """Cells tinted by their value."""
    return _table(page, heat=True)


def _table(
    page: PageDrawing,
    *,
    head: bool = False,
    stripes: bool = False,
    rules: bool = False,
    frames: bool = False,
    heat: bool = False,
    mirrored: bool = False,
) -> Boxes:
    content, theme, kind = page.content, page.style.theme, page.style.type
    area = page.stage(kind.label * 2.7 * (len(content.rows) + 1))
    columns: Sequence[str | None] = content.columns or (None,)
    height = area.h / (len(content.rows) + 1)
    font = page.style.face.bold
    widest = max(stringWidth(row, font, kind.label) for row in content.rows)
    label_width = max(widest + 26, area.w * 0.24) if content.columns else area.w * 0.62
    cell_width = (area.w - label_width) / len(columns)
    top = max(value.size for value in content.values.values())
    labels = Rect(area.right - label_width if mirrored else area.x, area.y, label_width, height)
    first = area.x if mirrored else labels.right  # of the cells
    _head(page, Rect(area.x, area.y, area.w, height), labels, first, cell_width, filled=head)
    boxes: Boxes = {}
    for index, row in enumerate(content.rows):
        line = Rect(area.x, area.y + height * (index + 1), area.w, height)
        if stripes and index % 2 == 0:
            page.sheet.rect(line, theme.panel)
        _label(page, labels, line.cy + kind.label * 0.34, row, mirrored)
        for position, column in enumerate(columns):
            cell = Rect(first + position * cell_width, line.y, cell_width, height)
            value = content.value(row, column)
            if heat:
                page.sheet.rect(cell.inset(1.5), mix(theme.page, theme.series[0], 0.1 + 0.4 * value.size / top))
            if frames:
                page.sheet.rect(cell, None, theme.rule)
            x, align = (cell.cx, "center") if column else _single(cell, mirrored)
            boxes[row, column] = page.value(x, line.cy + kind.value * 0.36, value.text, align=align)
        if rules or frames:
            page.sheet.line(line.x, line.bottom, line.right, line.bottom, theme.rule, 0.8)
    if frames:
        page.sheet.rect(area, None, theme.rule)
    return boxes


def _label(page: PageDrawing, cell: Rect, baseline: float, text: str, mirrored: bool, ink: str = "") -> None:
    """At the outer side of its column."""
    x = cell.right - 12 if mirrored else cell.x + 12
    page.label(x, baseline, text, align="right" if mirrored else "left", width=cell.w - 18, ink=ink)


def _single(cell: Rect, mirrored: bool) -> tuple[float, Align]:
    """Where a lone column's values and its heading stand: at the outer side."""
    return (cell.x + 30, "left") if mirrored else (cell.right - 30, "right")


def _head(page: PageDrawing, line: Rect, labels: Rect, first: float, cell_width: float, *, filled: bool) -> None:
    content, theme, kind = page.content, page.style.theme, page.style.type
    if filled:
        page.sheet.rect(line, theme.accent)
        ink = theme.accent_ink
    else:
        page.sheet.line(line.x, line.bottom, line.right, line.bottom, theme.accent, 2.0)
        ink = mix(theme.accent, theme.ink, 0.5)
    baseline = line.cy + kind.label * 0.34
    if not content.columns:
        mirrored = first < labels.x
        x, align = _single(Rect(first, line.y, cell_width, line.h), mirrored)
        page.label(x, baseline, "Value", align=align, ink=ink)
        _label(page, labels, baseline, "Item", mirrored, ink)
    for position, column in enumerate(content.columns):
        center = first + (position + 0.5) * cell_width
        page.label(center, baseline, column, align="center", ink=ink, width=cell_width - 6)
