"""Layouts that are drawn by lot: each page has its own arrangement, its own place of a value beside its label and its
own marks, so that what is learned from them is that they belong together, not one way in which they do.
"""

from __future__ import annotations

from typing import Literal, get_args

from reportlab.pdfbase.pdfmetrics import stringWidth

from vrag.data.synthetic.layouts.axes import headroom
from vrag.data.synthetic.page import Boxes, PageDrawing
from vrag.data.synthetic.sheet import Align, Rect, mix
from vrag.data.synthetic.world import Key, name_of

Arrangement = Literal["grid", "list", "zigzag", "slope"]
Relation = Literal["under", "over", "apart", "mirrored", "after", "before", "fall", "rise"]
Decor = Literal["none", "panel", "tint", "frame", "rule", "edge"]
Shape = Literal["bar", "block", "diamond"]

_STACKED: tuple[Relation, ...] = ("under", "over", "fall", "rise")
_BESIDE: tuple[Relation, ...] = ("apart", "mirrored", "after", "before")


def cells(page: PageDrawing) -> Boxes:
    """Labels and values in cells: in a grid, a list, from side to side or down a slope."""
    keys, kind, rng = list(page.content.values), page.style.type, page.rng
    arrangement: Arrangement = rng.choice(get_args(Arrangement))
    places = _places(page, arrangement, len(keys))
    tall = places[0].h >= kind.label * 1.5 + kind.value * 3.2
    relation = rng.choice(_STACKED + _BESIDE if tall else _BESIDE)
    decor: Decor = rng.choice(get_args(Decor))
    plate, side = rng.random() < 0.35, rng.choice(get_args(Align))
    boxes: Boxes = {}
    for index, (key, cell) in enumerate(zip(keys, places, strict=True)):
        _decorate(page, cell, index, decor)
        tint = mix(page.tint(index), page.style.theme.page, 0.78) if plate else ""
        boxes[key] = _entry(page, key, cell.inset(18, 4), relation, side, tint)
    return boxes


def marks(page: PageDrawing) -> Boxes:
    """Marks as high as their values, side by side; values at their tips, in a row over them or at their feet, labels at
    the floor or at the top.
    """
    content, theme, kind, rng = page.content, page.style.theme, page.style.type, page.rng
    shape: Shape = rng.choice(get_args(Shape))
    on_top, where, colourful = rng.random() < 0.5, rng.choice(("tip", "row", "plate")), rng.random() < 0.5
    stage, metric = page.stage(430), content.rows[0]
    line = kind.label * 1.6
    plot = Rect(stage.x, stage.y + (line if on_top else 0), stage.w, stage.h - line)
    row = plot.y + kind.value * 1.6
    plot = plot._replace(y=row + kind.value, h=plot.bottom - row - kind.value)
    slot, top, chosen = plot.w / len(content.columns), headroom(content), page.tint(rng.randrange(6))
    boxes: Boxes = {}
    for index, column in enumerate(content.columns):
        value, x = content.value(metric, column), plot.x + slot * (index + 0.5)
        tip = min(plot.bottom - plot.h * value.size / top, plot.bottom - kind.value * 3)
        _mark(page, shape, x, tip, plot.bottom, slot * 0.46, page.tint(index) if colourful else chosen)
        baseline = {"tip": tip - kind.value * 0.8, "row": row, "plate": plot.bottom - kind.value}[where]
        boxes[metric, column] = _print(page, x, baseline, value.text, "center", theme.page if where == "plate" else "")
        foot = stage.y + kind.label if on_top else plot.bottom + kind.label * 1.15
        page.label(x, foot, column, align="center", width=slot - 4)
    page.sheet.line(plot.x, plot.bottom, plot.right, plot.bottom, theme.muted, 1.2)
    return boxes


def _places(page: PageDrawing, arrangement: Arrangement, count: int) -> list[Rect]:
    wide = page.stage(420 if arrangement == "list" else 540)
    if arrangement == "grid":
        columns = page.columns(count)
        return wide.grid(columns, -(-count // columns), page.rng.uniform(8, 24))[:count]
    rows = wide.grid(1, count, page.rng.uniform(4, 12))
    if arrangement == "list":
        return rows
    width = max(page.style.type.label * 11, wide.w * 0.48)
    slack = max(0.0, wide.w - width)
    shares = [i % 2 if arrangement == "zigzag" else i / max(1, count - 1) for i in range(count)]
    return [
        row._replace(x=row.x + slack * share, w=min(width, wide.w)) for row, share in zip(rows, shares, strict=True)
    ]


def _decorate(page: PageDrawing, cell: Rect, index: int, decor: Decor) -> None:
    theme, tint, radius = page.style.theme, page.tint(index), page.style.rounded
    if decor == "panel":
        page.sheet.rect(cell, theme.panel, radius=radius)
    elif decor == "tint":
        page.sheet.rect(cell, mix(tint, theme.page, 0.84), radius=radius)
    elif decor == "frame":
        page.sheet.rect(cell, None, tint, radius=radius, line=1.8)
    elif decor == "rule":
        page.sheet.line(cell.x, cell.bottom, cell.right, cell.bottom, theme.rule, 1.0)
    elif decor == "edge":
        page.sheet.rect(cell._replace(w=8), tint)


def _entry(page: PageDrawing, key: Key, cell: Rect, relation: Relation, side: Align, tint: str) -> Rect:
    """A label and its value, on a plate of `tint` if that is a colour, in `cell`; returns where the value stands."""
    kind, text, name = page.style.type, page.content.values[key].text, name_of(key)
    if relation in ("under", "over"):
        x = {"left": cell.x, "center": cell.cx, "right": cell.right}[side]
        first, second = cell.cy - kind.value * 0.9, cell.cy + kind.label * 0.75
        over = relation == "over"
        page.label(x, second + kind.label * 0.3 if over else first, name, align=side, width=cell.w)
        return _print(page, x, first - kind.value * 0.4 if over else second + kind.value * 1.1, text, side, tint)
    if relation in ("fall", "rise"):
        label, value = cell.y + kind.label, cell.bottom - kind.value * 0.9
        if relation == "rise":
            label, value = cell.bottom - kind.label * 0.3, cell.y + kind.value * 1.5
        page.label(cell.x, label, name, width=cell.w * 0.8)
        return _print(page, cell.right, value, text, "right", tint)
    baseline, width = cell.cy + kind.label * 0.34, cell.w - kind.value * 6
    if relation in ("apart", "after"):
        printed = page.label(cell.x, baseline, name, width=width)
        x = printed.right + kind.value * 1.6 if relation == "after" else cell.right
        return _print(page, x, baseline, text, "left" if relation == "after" else "right", tint)
    if relation == "mirrored":
        page.label(cell.right, baseline, name, align="right", width=width)
        return _print(page, cell.x, baseline, text, "left", tint)
    box = _print(page, cell.x, baseline, text, "left", tint)
    page.label(box.right + kind.value * 1.6, baseline, name, width=width)
    return box


def _print(page: PageDrawing, x: float, baseline: float, text: str, align: Align, plate: str) -> Rect:
    """A value, on a `plate` of its own if that is a colour."""
    if plate:
        face, size = page.style.face, page.style.type.value
        width = stringWidth(text, face.bold if page.style.bold_values else face.regular, size)
        left = {"left": x, "center": x - width / 2, "right": x - width}[align]
        page.sheet.rect(Rect(left - size * 0.8, baseline - size * 1.3, width + size * 1.6, size * 1.9), plate, radius=4)
    return page.value(x, baseline, text, align=align)


def _mark(page: PageDrawing, shape: Shape, x: float, tip: float, floor: float, width: float, tint: str) -> None:
    if shape == "bar":
        page.sheet.rect(Rect(x - width / 2, tip, width, floor - tip), tint, radius=page.style.rounded)
    elif shape == "block":
        page.sheet.rect(Rect(x - width / 2, tip, width, 10), tint)
    else:
        page.sheet.polygon([(x, tip), (x + 11, tip + 11), (x, tip + 22), (x - 11, tip + 11)], tint)
