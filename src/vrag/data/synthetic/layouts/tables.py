"""Tables of one value column and of metrics by category."""

from __future__ import annotations

from collections.abc import Sequence

from reportlab.pdfbase.pdfmetrics import stringWidth

from vrag.data.synthetic.page import Boxes, PageDrawing
from vrag.data.synthetic.sheet import Rect, mix


def striped(page: PageDrawing) -> Boxes:
    """A header row in the accent colour and striped rows."""
    return _table(page, head=True, stripes=True)


def ruled(page: PageDrawing) -> Boxes:
    """Rows between hairlines, as in a printed report."""
    return _table(page, rules=True)


def boxed(page: PageDrawing) -> Boxes:
    """Every cell in a frame."""
    return _table(page, head=True, frames=True)


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
    _head(page, Rect(area.x, area.y, area.w, height), label_width, cell_width, filled=head)
    boxes: Boxes = {}
    for index, row in enumerate(content.rows):
        line = Rect(area.x, area.y + height * (index + 1), area.w, height)
        if stripes and index % 2 == 0:
            page.sheet.rect(line, theme.panel)
        page.label(line.x + 12, line.cy + kind.label * 0.34, row, width=label_width - 18)
        for position, column in enumerate(columns):
            cell = Rect(area.x + label_width + position * cell_width, line.y, cell_width, height)
            value = content.value(row, column)
            if heat:
                page.sheet.rect(cell.inset(1.5), mix(theme.page, theme.series[0], 0.1 + 0.4 * value.size / top))
            if frames:
                page.sheet.rect(cell, None, theme.rule)
            x, align = (cell.cx, "center") if column else (cell.right - 30, "right")
            boxes[row, column] = page.value(x, line.cy + kind.value * 0.36, value.text, align=align)
        if rules or frames:
            page.sheet.line(line.x, line.bottom, line.right, line.bottom, theme.rule, 0.8)
    if frames:
        page.sheet.rect(area, None, theme.rule)
    return boxes


def _head(page: PageDrawing, line: Rect, label_width: float, cell_width: float, *, filled: bool) -> None:
    content, theme, kind = page.content, page.style.theme, page.style.type
    if filled:
        page.sheet.rect(line, theme.accent)
        ink = theme.accent_ink
    else:
        page.sheet.line(line.x, line.bottom, line.right, line.bottom, theme.accent, 2.0)
        ink = mix(theme.accent, theme.ink, 0.5)
    baseline = line.cy + kind.label * 0.34
    if not content.columns:
        page.label(line.right - 30, baseline, "Value", align="right", ink=ink)
        page.label(line.x + 12, baseline, "Item", ink=ink)
    for position, column in enumerate(content.columns):
        center = line.x + label_width + (position + 0.5) * cell_width
        page.label(center, baseline, column, align="center", ink=ink, width=cell_width - 6)
