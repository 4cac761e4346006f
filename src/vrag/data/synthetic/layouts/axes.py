"""What charts share: gridlines, tick labels, legends."""

from __future__ import annotations

from collections.abc import Sequence

from vrag.data.synthetic.page import PageDrawing
from vrag.data.synthetic.sheet import Rect, mix
from vrag.data.synthetic.world import PageContent


def headroom(content: PageContent) -> float:
    """The value at the top of a vertical axis: above the largest, so that its print has room."""
    return max(value.size for value in content.values.values()) * 1.14


def gridlines(page: PageDrawing, plot: Rect, top: float) -> None:
    """Horizontal lines behind the chart; from clutter 2 on with tick labels: numbers, but no answers."""
    count = 1 + 2 * page.dials.clutter
    theme, size = page.style.theme, page.style.type.small
    for step in range(1, count + 1):
        y = plot.bottom - plot.h * step / (count + 1)
        page.sheet.line(plot.x, y, plot.right, y, mix(theme.rule, theme.page, 0.4), 0.6)
        if page.dials.clutter >= 2:
            page.small(plot.x - 3, y + size * 0.36, f"{top * step / (count + 1):.0f}", align="right")


def legend(page: PageDrawing, area: Rect, names: Sequence[str]) -> Rect:
    """Coloured squares with names along the top of `area`, wrapped; returns what is under them."""
    size = page.style.type.label
    x, y = area.x, area.y + size
    for index, name in enumerate(names):
        width = size * 1.1 + len(name) * size * 0.72
        if x + width > area.right and x > area.x:
            x, y = area.x, y + size * 1.35
        page.sheet.rect(Rect(x, y - size * 0.72, size * 0.78, size * 0.78), page.tint(index))
        x = page.label(x + size * 1.1, y, name).right + size * 0.9
    used = y + size * 0.9 - area.y
    return area._replace(y=area.y + used, h=area.h - used)
