"""Timelines, hubs, steps and funnels: labels and values placed as a story, not as a chart."""

from __future__ import annotations

from vrag.data.synthetic.page import Boxes, PageDrawing
from vrag.data.synthetic.sheet import Rect, mix, polar
from vrag.data.synthetic.world import Key, name_of


def timeline(page: PageDrawing) -> Boxes:
    """Stations on a line: across a slide with labels above and below in turn, or down a portrait page."""
    return _down(page) if page.style.format.portrait else _across(page)


def _across(page: PageDrawing) -> Boxes:
    area, theme, kind = page.stage(400), page.style.theme, page.style.type
    keys = _keys(page)
    slot = area.w / len(keys)
    page.sheet.line(area.x, area.cy, area.right, area.cy, theme.rule, 7)
    boxes: Boxes = {}
    for index, key in enumerate(keys):
        x, up = area.x + slot * (index + 0.5), index % 2 == 0
        reach = area.h * 0.12
        tip = area.cy - reach if up else area.cy + reach
        page.sheet.line(x, area.cy, x, tip, page.tint(index), 2)
        page.sheet.circle(x, area.cy, 15, page.tint(index), theme.page, 3.5)
        tall = kind.label * 1.5 + kind.value * 2.8
        card = Rect(x - slot * 0.8, tip - tall if up else tip, slot * 1.6, tall)
        card = card._replace(x=max(area.x, min(card.x, area.right - card.w)))
        page.sheet.rect(card, theme.panel, radius=page.style.rounded)
        page.sheet.rect(card._replace(y=tip - 4 if up else tip, h=4), page.tint(index))
        label = card.y + kind.label * 1.2
        x = card.cx
        page.label(x, label, name_of(key), align="center", width=card.w - 16)
        boxes[key] = _value(page, key, x, label + kind.value * 2.2)
    return boxes


def _down(page: PageDrawing) -> Boxes:
    area, theme, kind = page.stage(520), page.style.theme, page.style.type
    keys = _keys(page)
    x, slot = area.x + 30, area.h / len(keys)
    page.sheet.line(x, area.y, x, area.bottom, theme.rule, 7)
    boxes: Boxes = {}
    for index, key in enumerate(keys):
        y = area.y + slot * (index + 0.5)
        card = Rect(x + 40, y - slot * 0.4, area.right - x - 40, slot * 0.8)
        page.sheet.line(x, y, card.x, y, page.tint(index), 2)
        page.sheet.rect(card, theme.panel, radius=page.style.rounded)
        page.sheet.circle(x, y, 15, page.tint(index), theme.page, 3.5)
        page.label(card.x + 18, y + kind.label * 0.34, name_of(key), width=card.w * 0.6)
        text = page.content.values[key].text
        boxes[key] = page.value(card.right - 40, y + kind.value * 0.36, text, align="right")
    return boxes


def hub(page: PageDrawing) -> Boxes:
    """Cards on an ellipse around a mark."""
    area, theme, kind = page.stage(560), page.style.theme, page.style.type
    keys = _keys(page)
    width, height = min(kind.label * 8.2, area.w * 0.31), kind.label * 1.5 + kind.value * 2.8
    rx, ry = (area.w - width) / 2, (area.h - height) / 2
    start = 90.0 if len(keys) % 2 else 90.0 + 180 / len(keys)
    places: list[tuple[float, float]] = []
    for index in range(len(keys)):
        dx, dy = polar(0, 0, 1, start - 360 * index / len(keys))
        places.append((area.cx + rx * dx, area.cy + ry * dy))
    for index, (x, y) in enumerate(places):
        page.sheet.line(area.cx, area.cy, x, y, mix(page.tint(index), theme.page, 0.3), 2.5)
    radius = min(area.h, area.w) * 0.12
    page.sheet.circle(area.cx, area.cy, radius, theme.accent, mix(theme.accent, theme.page, 0.6), radius * 0.22)
    page.sheet.circle(area.cx, area.cy, radius * 0.4, theme.series[1])
    boxes: Boxes = {}
    for index, (key, (x, y)) in enumerate(zip(keys, places, strict=True)):
        card = Rect(x - width / 2, y - height / 2, width, height)
        page.sheet.rect(card, theme.panel, page.tint(index), radius=max(6.0, page.style.rounded), line=2.2)
        page.label(x, card.y + kind.label * 1.15, name_of(key), align="center", width=width - 14)
        boxes[key] = _value(page, key, x, card.y + kind.label * 1.15 + kind.value * 2.2)
    return boxes


def steps(page: PageDrawing) -> Boxes:
    """Stairs that rise to the right (each tread wider than its label), or arrows down a portrait page."""
    area, theme, kind = page.stage(560), page.style.theme, page.style.type
    keys = _keys(page)
    height = area.h / len(keys)
    indent = (area.w - kind.label * 9.6) / (len(keys) - 1)
    boxes: Boxes = {}
    for index, key in enumerate(keys):
        y = area.bottom - height * (index + 1)
        left = area.x + indent * index
        tread = Rect(left, y + 5, kind.label * 9.6, height - 5)
        page.sheet.rect(tread, mix(page.tint(index), theme.page, 0.8), radius=page.style.rounded)
        page.sheet.rect(tread._replace(h=5), page.tint(index))
        middle = tread.cy + kind.label * 0.42
        page.label(tread.x + 14, middle, name_of(key), width=kind.label * 6.6)
        text = page.content.values[key].text
        boxes[key] = page.value(tread.right - 12, middle - kind.label * 0.06, text, align="right")
    return boxes


def funnel(page: PageDrawing) -> Boxes:
    """Trapezes that narrow downwards, the label to the left of each and the value inside."""
    area, theme, kind = page.stage(520), page.style.theme, page.style.type
    keys = _keys(page)
    labels = kind.label * 6.6
    height = area.h / len(keys)
    center, widest = area.x + labels + (area.w - labels) / 2, (area.w - labels) * 0.94
    boxes: Boxes = {}
    for index, key in enumerate(keys):
        y = area.y + height * index
        upper, lower = (widest * (1 - 0.72 * step / len(keys)) / 2 for step in (index, index + 1))
        corners = [
            (center - upper, y),
            (center + upper, y),
            (center + lower, y + height - 6),
            (center - lower, y + height - 6),
        ]
        page.sheet.polygon(corners, mix(page.tint(index), theme.page, 0.62))
        middle = y + height / 2 - 3
        page.label(area.x + labels - 14, middle + kind.label * 0.34, name_of(key), align="right", width=labels - 14)
        page.sheet.line(area.x + labels - 8, middle, center - (upper + lower) / 2, middle, theme.rule, 1)
        boxes[key] = _value(page, key, center, middle + kind.value * 0.36)
    return boxes


def spine(page: PageDrawing) -> Boxes:
    """Discs that hold the values on an upright line, the labels to the left and the right of it in turn."""
    area, theme, kind = page.stage(540), page.style.theme, page.style.type
    keys = _keys(page)
    slot = area.h / len(keys)
    radius = min(slot * 0.4, 34.0)
    page.sheet.line(area.cx, area.y, area.cx, area.bottom, theme.rule, 5)
    boxes: Boxes = {}
    for index, key in enumerate(keys):
        y, side = area.y + slot * (index + 0.5), 1 if index % 2 else -1
        page.sheet.circle(area.cx, y, radius, mix(page.tint(index), theme.page, 0.8), page.tint(index), 2.5)
        x = area.cx + side * (radius + 14)
        align = "left" if side > 0 else "right"
        page.label(x, y + kind.label * 0.34, name_of(key), align=align, width=area.w / 2 - radius - 20)
        boxes[key] = _value(page, key, area.cx, y + kind.value * 0.36)
    return boxes


def _keys(page: PageDrawing) -> list[Key]:
    return list(page.content.values)


def _value(page: PageDrawing, key: Key, x: float, baseline: float) -> Rect:
    return page.value(x, baseline, page.content.values[key].text, align="center")
