"""Pies and rings: one metric over quarters or regions, labelled around the circle or by a legend."""

from __future__ import annotations

from dataclasses import dataclass

from reportlab.pdfbase.pdfmetrics import stringWidth

from vrag.data.synthetic.layouts.axes import legend
from vrag.data.synthetic.page import Boxes, PageDrawing
from vrag.data.synthetic.sheet import Rect, polar


@dataclass(frozen=True)
class _Slice:
    name: str
    text: str
    middle: float  # degrees, counter-clockwise from three o'clock
    tint: str


def pie(page: PageDrawing) -> Boxes:
    return _round(page, hole=0.0)


def ring(page: PageDrawing) -> Boxes:
    return _round(page, hole=0.58)


def listed(page: PageDrawing) -> Boxes:
    """A pie on the left and its parts in a list on the right, each with a square in its colour."""
    kind, theme, metric = page.style.type, page.style.theme, page.content.rows[0]
    area = page.stage(400)
    room = _label_room(page) + kind.label + kind.value * 5
    radius = min(170.0, area.h * 0.45, (area.w - room) / 2 - 10)
    slices = _slices(page, area.x + radius, area.cy, radius)
    left, height = area.x + radius * 2 + 26, min(area.h / len(slices), kind.label * 2.6)
    top = area.cy - height * len(slices) / 2
    boxes: Boxes = {}
    for index, part in enumerate(slices):
        y = top + height * (index + 0.5)
        size = kind.label * 0.7
        page.sheet.rect(Rect(left, y - size / 2, size, size), part.tint)
        page.label(left + size + 8, y + kind.label * 0.34, part.name, width=area.right - left - size - kind.value * 4)
        boxes[metric, part.name] = page.value(area.right - 6, y + kind.value * 0.36, part.text, align="right")
        page.sheet.line(left, y + height / 2, area.right, y + height / 2, theme.rule, 0.7)
    return boxes


def _round(page: PageDrawing, *, hole: float) -> Boxes:
    theme, by_legend = page.style.theme, page.rng.random() < page.dials.legends
    room = page.style.type.value * 4 if by_legend else _label_room(page)
    radius = min(190.0, page.body.w / 2 - room)
    area = page.stage(radius * 2 / 0.84 + (page.style.type.label * 2.5 if by_legend else 0))
    if by_legend:
        area = legend(page, area, page.content.columns)
    radius = min(radius, area.h * 0.42, area.w / 2 - room)
    slices = _slices(page, area.cx, area.cy, radius)
    if hole:
        page.sheet.circle(area.cx, area.cy, radius * hole, theme.page)
    left = [part for part in slices if 90 <= part.middle % 360 < 270]
    right = [part for part in slices if part not in left]
    named = not by_legend
    return _column(page, left, area, radius, -1, named) | _column(page, right, area, radius, 1, named)


def _label_room(page: PageDrawing) -> float:
    """What the widest label and its leader line take beside the circle."""
    font, size = page.style.face.bold, page.style.type.label
    return max(stringWidth(column, font, size) for column in page.content.columns) + 30


def _slices(page: PageDrawing, x: float, y: float, radius: float) -> list[_Slice]:
    """Draw the slices clockwise from a start that varies."""
    content, metric = page.content, page.content.rows[0]
    total = sum(value.size for value in content.values.values())
    start = page.rng.choice((90.0, page.rng.uniform(0, 360)))
    slices: list[_Slice] = []
    for index, column in enumerate(content.columns):
        value = content.value(metric, column)
        extent = 360 * value.size / total
        start -= extent
        page.sheet.wedge(x, y, radius, start, extent, page.tint(index), page.style.theme.page)
        slices.append(_Slice(column, value.text, start + extent / 2, page.tint(index)))
    return slices


def _column(page: PageDrawing, slices: list[_Slice], area: Rect, radius: float, side: int, named: bool) -> Boxes:
    """Labels (if `named`) and values on one side, spread so that none covers another, with leader lines."""
    kind, metric = page.style.type, page.content.rows[0]
    need = kind.value * 2.3 + (kind.label * 1.2 if named else 0)
    ordered = sorted(slices, key=lambda part: polar(0, 0, 1, part.middle)[1])
    heights = [polar(area.cx, area.cy, radius * 1.06, part.middle)[1] for part in ordered]
    align = "left" if side > 0 else "right"
    boxes: Boxes = {}
    for part, y in zip(ordered, _spread(heights, need, area), strict=True):
        x = area.cx + side * (radius * 1.06 + 18)
        edge = polar(area.cx, area.cy, radius * 1.01, part.middle)
        bend = polar(area.cx, area.cy, radius * 1.07, part.middle)
        page.sheet.polyline([edge, bend, (x - side * 5, y)], page.style.theme.muted, 0.9)
        baseline = y + kind.value * 0.36
        if named:
            page.label(x, y + kind.label * 0.3, part.name, align=align)
            baseline = y + kind.label * 0.3 + kind.value * 2.0
        boxes[metric, part.name] = page.value(x, baseline, part.text, align=align)
    return boxes


def _spread(heights: list[float], need: float, area: Rect) -> list[float]:
    """`heights` (ascending) moved as little as needed to stand `need` apart inside `area`."""
    placed: list[float] = []
    for height in heights:
        low = placed[-1] + need if placed else area.y + need / 2
        placed.append(max(low, height))
    ceiling = area.bottom - need / 2
    for index in range(len(placed) - 1, -1, -1):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - need
    return placed
