"""Bar charts: vertical over categories, horizontal over labels, dots, and grouped bars with a legend."""

from __future__ import annotations

from vrag.data.synthetic.page import Boxes, PageDrawing
from vrag.data.synthetic.sheet import Rect, mix


def vertical(page: PageDrawing) -> Boxes:
    """One bar per category with its value over the top."""
    content, theme, kind = page.content, page.style.theme, page.style.type
    metric = content.rows[0]
    turned = page.rng.random() < page.dials.rotated
    foot = kind.label * (3.2 if turned else 1.6)
    plot = _plot(page)
    plot = plot._replace(h=plot.h - foot)
    top = max(value.size for value in content.values.values()) * 1.14
    gridlines(page, plot)
    slot = plot.w / len(content.columns)
    width = slot * page.rng.uniform(0.42, 0.62)
    many_colours = page.rng.random() < 0.4
    shade = page.rng.randrange(len(theme.series))
    boxes: Boxes = {}
    for index, column in enumerate(content.columns):
        value = content.value(metric, column)
        height = plot.h * value.size / top
        x = plot.x + slot * (index + 0.5)
        bar = Rect(x - width / 2, plot.bottom - height, width, height)
        page.sheet.rect(bar, page.tint(index if many_colours else shade))
        boxes[metric, column] = page.value(x, bar.y - kind.value * 0.45, value.text, align="center")
        if turned:
            face, y = page.style.face, plot.bottom + kind.label
            page.sheet.turned_text(x + kind.label * 0.3, y, column, face.bold, kind.label, theme.ink, 35)
        else:
            page.label(x, plot.bottom + kind.label * 1.15, column, align="center", width=slot - 4)
    page.sheet.line(plot.x, plot.bottom, plot.right, plot.bottom, theme.muted, 1.4)
    return boxes


def horizontal(page: PageDrawing) -> Boxes:
    """Labels on the left, a bar to the right of each, and the value at its end."""
    return _horizontal(page, dots=False)


def dots(page: PageDrawing) -> Boxes:
    """As `horizontal`, with a dot on a line in place of a bar."""
    return _horizontal(page, dots=True)


def _horizontal(page: PageDrawing, *, dots: bool) -> Boxes:
    content, theme, kind = page.content, page.style.theme, page.style.type
    items = [(row, None) for row in content.rows] if content.form == "flat" else list(content.values)
    plot = _plot(page)
    labels = max(kind.label * 6.6, plot.w * 0.22)
    track = Rect(plot.x + labels, plot.y, plot.w - labels - 60, plot.h)
    top = max(value.size for value in content.values.values())
    height = track.h / len(items)
    shade = page.rng.randrange(len(theme.series))
    many_colours = page.rng.random() < 0.5
    page.sheet.line(track.x, track.y, track.x, track.bottom, theme.muted, 1.2)
    boxes: Boxes = {}
    for index, key in enumerate(items):
        value, y = content.values[key], track.y + height * (index + 0.5)
        length = track.w * value.size / top
        tint = page.tint(index if many_colours else shade)
        if dots:
            page.sheet.line(track.x, y, track.x + length, y, mix(tint, theme.page, 0.4), 2.5)
            page.sheet.circle(track.x + length, y, 9, tint)
            length += 10
        else:
            thick = min(height * 0.56, 54.0)
            page.sheet.rect(Rect(track.x, y - thick / 2, length, thick), tint)
        text = key[1] or key[0]
        page.label(track.x - 12, y + kind.label * 0.34, text, align="right", width=labels - 14)
        boxes[key] = page.value(track.x + length + 7, y + kind.value * 0.36, value.text)
    return boxes


def grouped(page: PageDrawing) -> Boxes:
    """Metrics as colours in groups by category; a legend says which colour is which metric."""
    content, theme, kind = page.content, page.style.theme, page.style.type
    plot = legend(page, _plot(page), content.rows)
    plot = plot._replace(h=plot.h - kind.label * 1.6)
    gridlines(page, plot)
    top = max(value.size for value in content.values.values()) * 1.14
    slot = plot.w / len(content.columns)
    width = slot * 0.84 / len(content.rows)
    boxes: Boxes = {}
    for group, column in enumerate(content.columns):
        left = plot.x + slot * (group + 0.08)
        for index, row in enumerate(content.rows):
            value = content.value(row, column)
            height = plot.h * value.size / top
            bar = Rect(left + index * width, plot.bottom - height, width * 0.9, height)
            page.sheet.rect(bar, page.tint(index))
            boxes[row, column] = page.value(bar.cx, bar.y - kind.value * 0.4, value.text, align="center")
        page.label(plot.x + slot * (group + 0.5), plot.bottom + kind.label * 1.15, column, align="center")
    page.sheet.line(plot.x, plot.bottom, plot.right, plot.bottom, theme.muted, 1.4)
    return boxes


def legend(page: PageDrawing, area: Rect, names: tuple[str, ...]) -> Rect:
    """Coloured squares with names along the top of `area`, wrapped; returns what is under them."""
    size = page.style.type.label
    x, y = area.x, area.y + size
    for index, name in enumerate(names):
        width = size * 1.1 + len(name) * size * 0.72
        if x + width > area.right and x > area.x:
            x, y = area.x, y + size * 1.35
        page.sheet.rect(Rect(x, y - size * 0.72, size * 0.78, size * 0.78), page.tint(index))
        box = page.label(x + size * 1.1, y, name)
        x = box.right + size * 0.9
    used = y + size * 0.9 - area.y
    return area._replace(y=area.y + used, h=area.h - used)


def gridlines(page: PageDrawing, plot: Rect) -> None:
    for step in range(1, 2 + 2 * page.dials.clutter):
        y = plot.bottom - plot.h * step / (2 + 2 * page.dials.clutter)
        page.sheet.line(plot.x, y, plot.right, y, mix(page.style.theme.rule, page.style.theme.page, 0.4), 0.6)


def _plot(page: PageDrawing) -> Rect:
    """The chart's area: a portrait page keeps a paragraph over it."""
    if not page.style.format.portrait:
        return page.body
    top = page.paragraph(Rect(page.body.x, page.body.y, page.body.w, page.body.h * 0.25), 5) + 16
    return Rect(page.body.x, top, page.body.w, min(page.body.bottom - top, 440.0))
