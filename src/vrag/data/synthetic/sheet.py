"""Drawing on one PDF page with the origin at the top left, y down, in points: the frame of every box here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from reportlab.lib.colors import Color, HexColor
from reportlab.pdfbase.pdfmetrics import stringWidth

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

Align = Literal["left", "center", "right"]

# Heights of digits and capitals over the baseline, and depths of commas and small letters under it, in em.
ASCENT, DESCENT = 0.76, 0.06
DEEP_DESCENT = 0.24


class Rect(NamedTuple):
    """x, y of the top left corner; width and height."""

    x: float
    y: float
    w: float
    h: float

    @property
    def right(self) -> float:
        return self.x + self.w

    @property
    def bottom(self) -> float:
        return self.y + self.h

    @property
    def cx(self) -> float:
        return self.x + self.w / 2

    @property
    def cy(self) -> float:
        return self.y + self.h / 2

    def inset(self, dx: float, dy: float | None = None) -> Rect:
        dy = dx if dy is None else dy
        return Rect(self.x + dx, self.y + dy, self.w - 2 * dx, self.h - 2 * dy)

    def grid(self, columns: int, rows: int, gap: float) -> list[Rect]:
        """`columns` x `rows` equal cells, row by row, with `gap` between them."""
        width = (self.w - gap * (columns - 1)) / columns
        height = (self.h - gap * (rows - 1)) / rows
        return [
            Rect(self.x + column * (width + gap), self.y + row * (height + gap), width, height)
            for row in range(rows)
            for column in range(columns)
        ]


@cache
def color(value: str) -> Color:
    return HexColor(value)


@cache
def mix(first: str, second: str, share: float) -> str:
    """`share` of `second` in `first`."""
    a, b = color(first), color(second)
    parts = (
        round(255 * (x * (1 - share) + y * share)) for x, y in ((a.red, b.red), (a.green, b.green), (a.blue, b.blue))
    )
    return "#" + "".join(f"{part:02x}" for part in parts)


class Sheet:
    """One page of a canvas. Every method draws at once; `text` returns the box of what it drew."""

    def __init__(self, canvas: Canvas, width: float, height: float) -> None:
        self.canvas = canvas
        self.width = width
        self.height = height

    def rect(
        self,
        box: Rect,
        fill: str | None = None,
        stroke: str | None = None,
        *,
        radius: float = 0.0,
        line: float = 0.8,
    ) -> None:
        self._paint(fill, stroke, line)
        y = self.height - box.bottom
        radius = min(radius, box.w / 2, box.h / 2)
        if radius > 0:
            self.canvas.roundRect(box.x, y, box.w, box.h, radius, stroke=stroke is not None, fill=fill is not None)
        else:
            self.canvas.rect(box.x, y, box.w, box.h, stroke=stroke is not None, fill=fill is not None)

    def line(self, x1: float, y1: float, x2: float, y2: float, stroke: str, width: float = 0.8) -> None:
        self._paint(None, stroke, width)
        self.canvas.line(x1, self.height - y1, x2, self.height - y2)

    def polyline(self, points: Sequence[tuple[float, float]], stroke: str, width: float) -> None:
        self._paint(None, stroke, width)
        self.canvas.drawPath(self._path(points), stroke=1, fill=0)

    def polygon(self, points: Sequence[tuple[float, float]], fill: str) -> None:
        self._paint(fill, None, 0)
        path = self._path(points)
        path.close()
        self.canvas.drawPath(path, stroke=0, fill=1)

    def circle(
        self,
        x: float,
        y: float,
        radius: float,
        fill: str | None,
        stroke: str | None = None,
        line: float = 1.0,
    ) -> None:
        self._paint(fill, stroke, line)
        self.canvas.circle(x, self.height - y, radius, stroke=stroke is not None, fill=fill is not None)

    def wedge(self, x: float, y: float, radius: float, start: float, extent: float, fill: str, edge: str) -> None:
        """A slice of a pie: degrees, counter-clockwise from three o'clock."""
        self._paint(fill, edge, 1.5)
        bottom = self.height - y
        self.canvas.wedge(x - radius, bottom - radius, x + radius, bottom + radius, start, extent, stroke=1, fill=1)

    def text(
        self, x: float, baseline: float, text: str, font: str, size: float, ink: str, align: Align = "left"
    ) -> Rect:
        width = stringWidth(text, font, size)
        left = x - {"left": 0.0, "center": width / 2, "right": width}[align]
        self.canvas.setFillColor(color(ink))
        self.canvas.setFont(font, size)
        # The trailing space, as office programs print it, keeps readers from joining this text with the next.
        self.canvas.drawString(left, self.height - baseline, text + " ")
        deep = any(letter in ",;()gjpqy" for letter in text)
        top = ASCENT * size
        return Rect(left, baseline - top, width, top + (DEEP_DESCENT if deep else DESCENT) * size)

    def turned_text(self, x: float, y: float, text: str, font: str, size: float, ink: str, degrees: float) -> None:
        """Text that ends at (x, y) and rises towards it by `degrees`."""
        self.canvas.saveState()
        self.canvas.translate(x, self.height - y)
        self.canvas.rotate(degrees)
        self.canvas.setFillColor(color(ink))
        self.canvas.setFont(font, size)
        self.canvas.drawRightString(0, 0, text)
        self.canvas.restoreState()

    def _paint(self, fill: str | None, stroke: str | None, line: float) -> None:
        if fill is not None:
            self.canvas.setFillColor(color(fill))
        if stroke is not None:
            self.canvas.setStrokeColor(color(stroke))
            self.canvas.setLineWidth(line)

    def _path(self, points: Sequence[tuple[float, float]]):
        path = self.canvas.beginPath()
        path.moveTo(points[0][0], self.height - points[0][1])
        for x, y in points[1:]:
            path.lineTo(x, self.height - y)
        return path


def fitted(text: str, font: str, size: float, width: float) -> float:
    """The largest size up to `size` at which `text` is no wider than `width`."""
    needed = stringWidth(text, font, size)
    return size if needed <= width else size * width / needed


def wrapped(text: str, font: str, size: float, width: float) -> list[str]:
    """`text` in lines no wider than `width`."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and stringWidth(longer, font, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def polar(x: float, y: float, radius: float, degrees: float) -> tuple[float, float]:
    """The point at `degrees` counter-clockwise from three o'clock."""
    return x + radius * math.cos(math.radians(degrees)), y - radius * math.sin(math.radians(degrees))
