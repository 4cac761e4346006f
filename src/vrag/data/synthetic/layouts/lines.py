"""Line charts: one metric over categories, each point with its value."""

from __future__ import annotations

from vrag.data.synthetic.layouts.axes import gridlines, headroom
from vrag.data.synthetic.page import Boxes, PageDrawing
from vrag.data.synthetic.sheet import Rect, mix

Points = list[tuple[float, float]]


def line(page: PageDrawing) -> Boxes:
    """A line through round points."""
    return _line(page, filled=False, stems=False)


def area(page: PageDrawing) -> Boxes:
    """As `line`, with the area under it tinted."""
    return _line(page, filled=True, stems=False)


def stems(page: PageDrawing) -> Boxes:
    """As `line`, with a stem from each point to the axis."""
    return _line(page, filled=False, stems=True)


def flags(page: PageDrawing) -> Boxes:
    """A line whose values stand in one row over it, with a leader from each down to its point."""
    content, theme, kind = page.content, page.style.theme, page.style.type
    metric, tint = content.rows[0], page.tint(page.rng.randrange(6))
    stage = page.stage(420)
    row, floor = stage.y + kind.value * 1.5, stage.bottom - kind.label * 1.6
    plot = stage._replace(y=row + kind.value * 1.5, h=floor - row - kind.value * 1.5)
    gridlines(page, plot, headroom(content))
    points = points_of(page, plot)
    page.sheet.polyline(points, tint, 3.0)
    boxes: Boxes = {}
    for column, (x, y) in zip(content.columns, points, strict=True):
        page.sheet.line(x, row + kind.value * 0.6, x, y - 6, theme.muted, 0.8)
        page.sheet.circle(x, y, 5.5, tint, theme.page, 1.5)
        boxes[metric, column] = page.value(x, row, content.value(metric, column).text, align="center")
        page.label(x, floor + kind.label * 1.15, column, align="center", width=plot.w / len(points) - 4)
    page.sheet.line(plot.x, floor, plot.right, floor, theme.muted, 1.4)
    return boxes


def points_of(page: PageDrawing, plot: Rect) -> Points:
    """Where each category's value lies."""
    content, top = page.content, headroom(page.content)
    slot = plot.w / len(content.columns)
    return [
        (plot.x + slot * (index + 0.5), plot.bottom - plot.h * content.value(content.rows[0], column).size / top)
        for index, column in enumerate(content.columns)
    ]


def _line(page: PageDrawing, *, filled: bool, stems: bool) -> Boxes:
    content, theme, kind = page.content, page.style.theme, page.style.type
    metric, tint = content.rows[0], page.tint(page.rng.randrange(6))
    plot = page.stage(420)
    floor = plot.bottom - kind.label * 1.6
    plot = plot._replace(h=floor - plot.y - kind.value * 3)  # room under zero for the print of low points
    gridlines(page, plot, headroom(content))
    slot, points = plot.w / len(content.columns), points_of(page, plot)
    if filled:
        under = [*points, (points[-1][0], floor), (points[0][0], floor)]
        page.sheet.polygon(under, mix(tint, theme.page, 0.78))
    if stems:
        for x, y in points:
            page.sheet.line(x, y, x, floor, mix(tint, theme.page, 0.55), 1.5)
    page.sheet.polyline(points, tint, 3.0)
    boxes: Boxes = {}
    for index, (column, (x, y)) in enumerate(zip(content.columns, points, strict=True)):
        page.sheet.circle(x, y, 5.5, theme.page, tint, 2.6)
        boxes[metric, column] = _value(page, points, index, content.value(metric, column).text, stems)
        page.label(x, floor + kind.label * 1.15, column, align="center", width=slot - 4)
    page.sheet.line(plot.x, floor, plot.right, floor, theme.muted, 1.4)
    return boxes


def _value(page: PageDrawing, points: Points, index: int, text: str, stems: bool) -> Rect:
    """A value away from the line: over a peak, under a valley, on the outer side of a slope."""
    (x, y), size = points[index], page.style.type.value
    falls = [points[other][1] > y for other in (index - 1, index + 1) if 0 <= other < len(points)]
    if not any(falls):
        if stems:  # one runs through the place
            page.sheet.rect(Rect(x - size * 1.8, y + 8, size * 3.6, size * 1.5), page.style.theme.page)
        return page.value(x, y + 10 + size, text, align="center")
    if all(falls):
        return page.value(x, y - 10, text, align="center")
    return page.value(x - 4, y - 10, text, align="right") if falls[0] else page.value(x + 4, y - 10, text)
