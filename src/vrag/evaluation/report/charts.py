"""Small line charts and interval marks as inline SVG; the colours come from the style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from vrag.evaluation.intervals import Interval
from vrag.evaluation.report.html import Html, el

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 26
SMOOTH_FROM = 20  # points; a shorter series is drawn as it is

_FAR = 1e100
_FLAT = 1e-9  # of a value: curves that vary by less are level

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """Curves over one x axis. `share`: y is 0..1 and shown in percent. What isn't finite is left out, what is beyond
    1e100 drawn there.
    """

    title: str
    series: Mapping[str, Points]
    x_label: str = "step"
    share: bool = False


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def line_chart(chart: Chart) -> Html:
    """One figure. A long series is drawn twice: as measured, faint, and as a moving mean, strong."""
    series = {
        name: [(x, max(-_FAR, min(_FAR, y))) for x, y in points if isfinite(x) and isfinite(y)]
        for name, points in chart.series.items()
    }
    drawn = {name: points for name, points in series.items() if points}
    if not drawn:
        return Html("")
    x, y, y_ticks = _scales(drawn, chart.share)
    lines = [_lines(points, x, y, index) for index, points in enumerate(drawn.values())]
    last = ", ".join(f"{name} {_say(points[-1][1], chart.share)}" for name, points in drawn.items())
    picture = el(
        "svg",
        *[_y_tick(value, y, chart.share) for value in y_ticks],
        *[_x_tick(value, x) for value in _ticks(x.low, x.high, 4)],
        *lines,
        el("text", chart.x_label, x=0, y=HEIGHT - 8),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{chart.title} over {chart.x_label}; last: {last}",
    )
    legend = el(
        "p",
        *[_legend(name, points, index, chart.share) for index, (name, points) in enumerate(drawn.items())],
    )
    return el("figure", el("figcaption", el("b", chart.title), legend), picture, class_="chart")


def interval_mark(interval: Interval) -> Html:
    """A share on a track from 0 to 1: the interval as a bar, the value as a dot; the numbers stand beside."""
    low, high, value = 100 * interval.low, 100 * interval.high, 100 * interval.value
    return el(
        "svg",
        el("line", x1=0, x2=100, y1=4, y2=4, class_="track"),
        el("line", x1=low, x2=high, y1=4, y2=4, class_="range"),
        el("circle", cx=value, cy=4, r=3, class_="dot"),
        viewBox="-3 0 106 8",
        class_="mark",
        aria_hidden="true",
    )


def _scales(drawn: Mapping[str, Points], share: bool) -> tuple[_Scale, _Scale, list[float]]:
    xs = [point[0] for points in drawn.values() for point in points]
    ys = [point[1] for points in drawn.values() for point in points]
    x_low, x_high = min(xs), max(xs)
    y_low, y_high = (0.0, 1.0) if share else (min(ys), max(ys))
    if y_high - y_low <= max(_FLAT * abs(y_high), 1 / _FAR):
        spare = 0.5 * max(1.0, abs(y_high))
        y_low, y_high = y_low - spare, y_high + spare
    ticks = _ticks(y_low, y_high, 4)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    y_low = min(y_low, ticks[0]) if share else floor(y_low / step) * step
    y_high = y_high if share else ceil(y_high / step) * step
    return (
        _Scale(x_low, x_high if x_high > x_low else x_low + 1, LEFT, WIDTH - RIGHT),
        _Scale(y_low, y_high, HEIGHT - BOTTOM, TOP),
        _ticks(y_low, y_high, 4),
    )


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round values (1, 2, 2.5 or 5 times a power of ten) within [low, high], roughly `about` of them."""
    raw = (high - low) / about
    power = 10 ** floor(log10(raw))
    step = min((1, 2, 2.5, 5, 10), key=lambda factor: abs(factor * power - raw)) * power
    first = ceil(low / step - 1e-9)
    count = floor(high / step + 1e-9) - first + 1
    return [round((first + index) * step, 12) for index in range(count)]


def _lines(points: Points, x: _Scale, y: _Scale, index: int) -> Html:
    smooth = len(points) >= SMOOTH_FROM
    measured = _polyline(points, x, y, f"series s{index % 5}" + (" faint" if smooth else ""))
    strong = _polyline(_smoothed(points), x, y, f"series s{index % 5}") if smooth else Html("")
    return el("g", measured, strong)


def _polyline(points: Points, x: _Scale, y: _Scale, name: str) -> Html:
    if len(points) == 1:
        return el("circle", cx=x(points[0][0]), cy=y(points[0][1]), r=2.5, class_=name + " single")
    return el("polyline", points=" ".join(f"{x(px):.1f},{y(py):.1f}" for px, py in points), class_=name)


def _smoothed(points: Points) -> list[tuple[float, float]]:
    """Mean over a window of about a tenth of the series, centred so that it doesn't lag, cut at the ends."""
    half = max(1, len(points) // 20)
    out: list[tuple[float, float]] = []
    for index, (px, _) in enumerate(points):
        window = points[max(0, index - half) : index + half + 1]
        out.append((px, sum(py for _, py in window) / len(window)))
    return out


def _y_tick(value: float, y: _Scale, share: bool) -> Html:
    at = y(value)
    return el(
        "g",
        el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_="grid"),
        el("text", _say(value, share), x=LEFT - 6, y=at + 3.5, text_anchor="end"),
    )


def _x_tick(value: float, x: _Scale) -> Html:
    return el("text", f"{value:g}", x=x(value), y=HEIGHT - 8, text_anchor="middle")


def _legend(name: str, points: Points, index: int, share: bool) -> Html:
    value = _smoothed(points)[-1][1] if len(points) >= SMOOTH_FROM else points[-1][1]
    return el("span", el("i", class_=f"swatch s{index % 5}"), f"{name} ", el("b", _say(value, share)))


def _say(value: float, share: bool) -> str:
    if share:
        return f"{100 * value:.0f} %"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 10_000 else f"{value / 1000:.3g}k"
    return f"{value:.3g}".replace("e-0", "e-")
