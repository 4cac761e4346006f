"""Tables of one value column and of metrics by category."""

from __future__ import annotations

from collections.abc import Sequence

from vrag.data.synthetic.page import Boxes, PageDrawing
from vrag.data.synthetic.sheet import Rect, mix


def striped(page: PageDrawing) -> Boxes:
    """A header row in the accent colour and striped rows."""
    return _table(page, page.body, head=True, stripes=True, rules=False)


def ruled(page: PageDrawing) -> Boxes:
    """Rows between hairlines, as in a printed report."""
    return _table(page, page.body, head=False, stripes=False, rules=True)


def boxed(page: PageDrawing) -> Boxes:
    """Every cell in a frame."""
    return _table(page, page.body, head=True, stripes=False, rules=False, frame=True)


def report(page: PageDrawing) -> Boxes:
    """A paragraph, and the table under it."""
    top = page.paragraph(Rect(page.body.x, page.body.y, page.body.w, page.body.h * 0.3), 6) + 14
    return _table(
        page, page.body._replace(y=top, h=page.body.bottom - top), head=True, stripes=True, rules=True
    )


def _table(
    page: PageDrawing, area: Rect, *, head: bool, stripes: bool, rules: bool, frame: bool = False
) -> Boxes:
    content, theme, kind = page.content, page.style.theme, page.style.type
    columns: Sequence[str | None] = content.columns or (None,)
    height = min(area.h / (len(content.rows) + 1), kind.label * 2.6)
    label_width = area.w * (0.36 if content.columns else 0.62)
    cell_width = (area.w - label_width) / len(columns)
    _head(page, Rect(area.x, area.y, area.w, height), label_width, cell_width, filled=head)
    boxes: Boxes = {}
    for index, row in enumerate(content.rows):
        line = Rect(area.x, area.y + height * (index + 1), area.w, height)
        if stripes and index % 2 == 0:
            page.sheet.rect(line, theme.panel)
        if rules:
            page.sheet.line(line.x, line.bottom, line.right, line.bottom, theme.rule, 0.8)
        page.label(line.x + 12, line.cy + kind.label * 0.34, row, width=label_width - 18)
        for position, column in enumerate(columns):
            cell = Rect(area.x + label_width + position * cell_width, line.y, cell_width, height)
            if frame:
                page.sheet.rect(cell, None, theme.rule)
            text = content.value(row, column).text
            x = cell.cx if column else cell.right - 30
            align = "center" if column else "right"
            boxes[row, column] = page.value(x, line.cy + kind.value * 0.36, text, align=align)
        if frame:
            page.sheet.rect(line, None, theme.rule)
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
        page.small(line.right - 30, line.cy + kind.small * 0.36, "Value", align="right", ink=ink)
        page.small(line.x + 12, line.cy + kind.small * 0.36, "Item", ink=ink)
    for position, column in enumerate(content.columns):
        center = line.x + label_width + (position + 0.5) * cell_width
        page.label(center, baseline, column, align="center", ink=ink, width=cell_width - 6)
