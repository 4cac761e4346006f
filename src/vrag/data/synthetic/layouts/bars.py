"""Bar charts: vertical over categories, horizontal over labels, dots, and grouped bars with a legend."""

from __future__ import annotations

from vrag.data.synthetic.layouts.axes import gridlines, headroom, legend
from vrag.data.synthetic.page import Boxes, PageDrawing
from vrag.data.synthetic.sheet import Rect, mix
from vrag.data.synthetic.world import name_of


def vertical(page: PageDrawing) -> Boxes:
    """One bar per category with its value over the top."""
    content, theme, kind = page.content, page.style.theme, page.style.type
    metric = content.rows[0]
    turned = page.rng.random() < page.dials.rotated
    plot = page.stage(440)
    plot = plot._replace(h=plot.h - kind.label * (3.4 if turned else 1.6))
    top = headroom(content)
    gridlines(page, plot, top)
    slot = plot.w / len(content.columns)
    width = slot * page.rng.uniform(0.42, 0.62)
    tints = _tints(page, len(content.columns))
    boxes: Boxes = {}
    for index, column in enumerate(content.columns):
        value = content.value(metric, column)
        height = plot.h * value.size / top
        x = plot.x + slot * (index + 0.5)
        bar = Rect(x - width / 2, plot.bottom - height, width, height)
        page.sheet.rect(bar, tints[index])
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
    plot = page.stage(440)
    labels = max(kind.label * 6.6, plot.w * 0.22)
    track = Rect(plot.x + labels, plot.y, plot.w - labels - kind.value * 6, plot.h)
    top = max(value.size for value in content.values.values())
    height = track.h / len(content.values)
    tints = _tints(page, len(content.values))
    page.sheet.line(track.x, track.y, track.x, track.bottom, theme.muted, 1.2)
    boxes: Boxes = {}
    for index, (key, value) in enumerate(content.values.items()):
        y, length, tint = track.y + height * (index + 0.5), track.w * value.size / top, tints[index]
        if dots:
            page.sheet.line(track.x, y, track.x + length, y, mix(tint, theme.page, 0.4), 2.5)
            page.sheet.circle(track.x + length, y, 9, tint)
            length += 10
        else:
            thick = min(height * 0.56, 54.0)
            page.sheet.rect(Rect(track.x, y - thick / 2, length, thick), tint)
        text = name_of(key)
        page.label(track.x - 12, y + kind.label * 0.34, text, align="right", width=labels - 14)
        boxes[key] = page.value(track.x + length + 7, y + kind.value * 0.36, value.text)
    return boxes


def footed(page: PageDrawing) -> Boxes:
    """One bar per category; its value stands at its foot, on a plate."""
    content, theme, kind = page.content, page.style.theme, page.style.type
    metric = content.rows[0]
    plot = page.stage(440)
    plot = plot._replace(h=plot.h - kind.label * 1.6)
    top = headroom(content)
    gridlines(page, plot, top)
    slot = plot.w / len(content.columns)
    width = slot * page.rng.uniform(0.5, 0.7)
    tints = _tints(page, len(content.columns))
    boxes: Boxes = {}
    for index, column in enumerate(content.columns):
        value = content.value(metric, column)
        height, x = max(plot.h * value.size / top, kind.value * 3), plot.x + slot * (index + 0.5)
        page.sheet.rect(Rect(x - width / 2, plot.bottom - height, width, height), tints[index])
        plate = Rect(x - kind.value * 2.2, plot.bottom - kind.value * 2.4, kind.value * 4.4, kind.value * 1.8)
        page.sheet.rect(plate, theme.page, radius=3)
        boxes[metric, column] = page.value(x, plate.cy + kind.value * 0.36, value.text, align="center")
        page.label(x, plot.bottom + kind.label * 1.15, column, align="center", width=slot - 4)
    page.sheet.line(plot.x, plot.bottom, plot.right, plot.bottom, theme.muted, 1.4)
    return boxes


def tracks(page: PageDrawing) -> Boxes:
    """Labels over tracks that are filled as far as the value goes, which stands at the right."""
    content, theme, kind = page.content, page.style.theme, page.style.type
    plot = page.stage(len(page.content.values) * 96.0)
    top = max(value.size for value in content.values.values()) * 1.1
    height = plot.h / len(content.values)
    tints = _tints(page, len(content.values))
    boxes: Boxes = {}
    for index, (key, value) in enumerate(content.values.items()):
        label = plot.y + height * index + kind.label
        track = Rect(plot.x, label + kind.label * 0.4, plot.w - kind.value * 6, min(height * 0.2, 14.0))
        page.label(plot.x, label, name_of(key), width=plot.w)
        page.sheet.rect(track, theme.rule, radius=page.style.rounded)
        page.sheet.rect(track._replace(w=track.w * value.size / top), tints[index], radius=page.style.rounded)
        boxes[key] = page.value(plot.right, track.cy + kind.value * 0.36, value.text, align="right")
    return boxes


def grouped(page: PageDrawing) -> Boxes:
    """Thin bars in a group per metric; a legend says which colour is which category."""
    content, theme, kind = page.content, page.style.theme, page.style.type
    plot = legend(page, page.stage(620), content.columns)
    labels = kind.label * 6.6
    track = Rect(plot.x + labels, plot.y, plot.w - labels - kind.value * 6, plot.h)
    top = max(value.size for value in content.values.values())
    group = track.h / len(content.rows)
    thick = group * 0.9 / len(content.columns)
    boxes: Boxes = {}
    for row_number, row in enumerate(content.rows):
        y = track.y + group * row_number
        page.label(track.x - 12, y + group * 0.45 + kind.label * 0.34, row, align="right", width=labels - 14)
        for index, column in enumerate(content.columns):
            value = content.value(row, column)
            bar = Rect(track.x, y + thick * index, track.w * value.size / top, thick * 0.86)
            page.sheet.rect(bar, page.tint(index))
            boxes[row, column] = page.value(bar.right + 5, bar.cy + kind.value * 0.36, value.text)
    page.sheet.line(track.x, track.y, track.x, track.bottom, theme.muted, 1.2)
    return boxes


def _tints(page: PageDrawing, count: int) -> list[str]:
    """All bars in one colour, or each in its own."""
    if page.rng.random() < 0.45:
        return [page.tint(index) for index in range(count)]
    return [page.tint(page.rng.randrange(6))] * count
