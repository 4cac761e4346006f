"""Charts drawn by lot: lines, rows of bars and parts of a whole, with values and labels at places that vary."""

from __future__ import annotations

from typing import Literal, get_args

from vrag.data.synthetic.layouts.axes import gridlines, headroom
from vrag.data.synthetic.layouts.lines import points_of
from vrag.data.synthetic.page import Boxes, PageDrawing
from vrag.data.synthetic.sheet import Align, Rect, polar
from vrag.data.synthetic.world import name_of

Marker = Literal["round", "square", "none"]
Beside = Literal["before", "over", "behind"]  # where a label stands, seen from its bar


def line(page: PageDrawing) -> Boxes:
    """A line with its values at the points, in a row over them or in one under them; labels at the floor or the top."""
    content, theme, kind, rng = page.content, page.style.theme, page.style.type, page.rng
    metric, tint, stage = content.rows[0], page.tint(rng.randrange(6)), page.stage(rng.uniform(320, 440))
    on_top, where, marker = rng.random() < 0.4, rng.choice(("point", "above", "below")), rng.choice(get_args(Marker))
    label, row = kind.label * 1.7, kind.value * 2.4
    floor = stage.bottom - (0 if on_top else label)
    plot = Rect(stage.x, stage.y + (label if on_top else 0) + row, stage.w, 0)
    plot = plot._replace(h=floor - row - kind.value * 2.5 - plot.y)
    if rng.random() < 0.5:
        gridlines(page, plot, headroom(content))
    slot, points = plot.w / len(content.columns), points_of(page, plot)
    page.sheet.polyline(points, tint, rng.uniform(1.5, 4.5))
    boxes: Boxes = {}
    for column, (x, y) in zip(content.columns, points, strict=True):
        _marker(page, marker, x, y, tint)
        baseline = {"point": y - 12, "above": plot.y - kind.value * 1.2, "below": floor - kind.value * 0.8}[where]
        text = content.value(metric, column).text
        if where == "point":
            plate = Rect(x - kind.value * 1.6, baseline - kind.value * 1.1, kind.value * 3.2, kind.value * 1.5)
            page.sheet.rect(plate, theme.page, radius=3)
        boxes[metric, column] = page.value(x, baseline, text, align="center")
        foot = stage.y + kind.label if on_top else stage.bottom - kind.label * 0.3
        page.label(x, foot, column, align="center", width=slot - 4)
    return boxes


def rows(page: PageDrawing) -> Boxes:
    """A bar for each label, which stands before, over or behind it; its value at the bar's end or in a column."""
    content, kind, rng = page.content, page.style.type, page.rng
    stage, where, column = page.stage(440), rng.choice(get_args(Beside)), rng.random() < 0.5
    names = max(kind.label * 6.6, stage.w * 0.22) if where != "over" else 0.0
    left = stage.x + (names if where == "before" else 0)
    track = Rect(left, stage.y, stage.w - names - kind.value * 6, stage.h)
    top, height = max(value.size for value in content.values.values()), stage.h / len(content.values)
    thick, one = height * rng.uniform(0.2, 0.45), page.tint(rng.randrange(6))
    colourful = rng.random() < 0.5
    boxes: Boxes = {}
    for index, (key, value) in enumerate(content.values.items()):
        y = track.y + height * (index + (0.72 if where == "over" else 0.5))
        length = track.w * value.size / top
        page.sheet.rect(Rect(track.x, y - thick / 2, length, thick), page.tint(index) if colourful else one)
        x = track.right + kind.value if column else track.x + length + 8
        boxes[key] = page.value(x, y + kind.value * 0.36, value.text)
        x, baseline, align, width = _named(page, where, stage, track, y, height)
        page.label(x, baseline, name_of(key), align=align, width=width)
    return boxes


def parts(page: PageDrawing) -> Boxes:
    """A pie with values on its slices or around it, or a bar that is cut into parts."""
    return _bar(page) if page.rng.random() < 0.4 else _pie(page)


def _marker(page: PageDrawing, marker: Marker, x: float, y: float, tint: str) -> None:
    if marker == "round":
        page.sheet.circle(x, y, 6, tint, page.style.theme.page, 1.5)
    elif marker == "square":
        page.sheet.rect(Rect(x - 6, y - 6, 12, 12), tint)


def _named(
    page: PageDrawing, where: Beside, stage: Rect, track: Rect, y: float, height: float
) -> tuple[float, float, Align, float]:
    """Where the label of a bar at `y` stands: x, baseline, alignment, width."""
    size = page.style.type.label
    if where == "over":
        return stage.x, y - height * 0.3, "left", stage.w
    if where == "before":
        return track.x - 12, y + size * 0.34, "right", track.x - stage.x - 14
    return stage.right, y + size * 0.34, "right", stage.right - track.right - page.style.type.value * 6


def _pie(page: PageDrawing) -> Boxes:
    content, theme, kind, rng = page.content, page.style.theme, page.style.type, page.rng
    metric, total = content.rows[0], sum(value.size for value in content.values.values())
    stage, inside = page.stage(420), rng.random() < 0.5
    radius = min(150.0, stage.h * 0.32, stage.w * 0.2)
    x, y = stage.x + stage.w * rng.uniform(0.38, 0.62), stage.cy
    start, boxes = rng.uniform(0, 360), Boxes()
    for index, column in enumerate(content.columns):
        value = content.value(metric, column)
        extent = 360 * value.size / total
        start -= extent
        page.sheet.wedge(x, y, radius, start, extent, page.tint(index), theme.page)
        middle = start + extent / 2
        cosine, sine = polar(0, 0, 1, middle)
        align: Align = "left" if cosine >= 0 else "right"
        lx, ly = x + cosine * radius * 1.14, y + sine * radius * 1.3
        page.label(lx, ly + kind.label * 0.34, column, align=align)
        if inside:
            vx, vy = x + cosine * radius * 0.66, y + sine * radius * 0.66
            plate = Rect(vx - kind.value * 1.5, vy - kind.value * 0.9, kind.value * 3, kind.value * 1.8)
            page.sheet.rect(plate, theme.page, radius=4)
            boxes[metric, column] = page.value(vx, vy + kind.value * 0.36, value.text, align="center")
        else:
            boxes[metric, column] = page.value(lx, ly + kind.label * 0.34 + kind.value * 1.9, value.text, align=align)
    return boxes


def _bar(page: PageDrawing) -> Boxes:
    """Parts side by side, each as wide as its share but wide enough for its label; values in or under them."""
    content, theme, kind, rng = page.content, page.style.theme, page.style.type, page.rng
    metric, total = content.rows[0], sum(value.size for value in content.values.values())
    stage, inside, on_top = page.stage(rng.uniform(200, 300)), rng.random() < 0.5, rng.random() < 0.5
    bar = stage._replace(y=stage.y + stage.h * 0.35, h=stage.h * 0.3)
    shares = [max(0.14, content.value(metric, column).size / total) for column in content.columns]
    x, boxes = bar.x, Boxes()
    for index, (column, share) in enumerate(zip(content.columns, shares, strict=True)):
        width, text = bar.w * share / sum(shares), content.value(metric, column).text
        page.sheet.rect(Rect(x, bar.y, width, bar.h), page.tint(index), theme.page)
        above, below = bar.y - kind.label * 0.6, bar.bottom + kind.label * 1.3
        page.label(x + width / 2, above if on_top else below, column, align="center", width=width - 6)
        if inside:
            middle = x + width / 2
            plate = Rect(middle - kind.value * 1.6, bar.cy - kind.value, kind.value * 3.2, kind.value * 2)
            page.sheet.rect(plate, theme.page, radius=4)
        baseline = bar.cy + kind.value * 0.36 if inside else (below if on_top else above)
        boxes[metric, column] = page.value(x + width / 2, baseline, text, align="center")
        x += width
    return boxes
