"""All ways to draw a page, by name."""

from __future__ import annotations

from vrag.data.synthetic.layouts import bars, cards, infographics, lines, pies, tables
from vrag.data.synthetic.page import Layout

_PARTS = ("quarter", "region")  # what adds up to a whole
_TIMES = ("quarter", "year")

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("cards-grid", "cards", ("flat",), cards.grid),
        Layout("cards-strips", "cards", ("flat",), cards.strips),
        Layout("cards-badges", "cards", ("flat",), cards.badges, heldout_only=True),
        Layout("table-striped", "table", ("flat", "matrix"), tables.striped),
        Layout("table-ruled", "table", ("flat", "matrix"), tables.ruled),
        Layout("table-boxed", "table", ("flat", "matrix"), tables.boxed, heldout_only=True),
        Layout("table-heat", "table", ("matrix",), tables.heat, min_level=2),
        Layout("bars-vertical", "bar", ("series",), bars.vertical),
        Layout("bars-horizontal", "bar", ("flat", "series"), bars.horizontal, categories=("region",)),
        Layout("bars-dots", "bar", ("flat", "series"), bars.dots, categories=("region",), heldout_only=True),
        Layout("bars-grouped", "bar", ("matrix",), bars.grouped, min_level=2),
        Layout("line-points", "line", ("series",), lines.line, categories=_TIMES),
        Layout("line-area", "line", ("series",), lines.area, categories=_TIMES),
        Layout("line-stems", "line", ("series",), lines.stems, categories=_TIMES, heldout_only=True),
        Layout("pie-slices", "pie", ("series",), pies.pie, categories=_PARTS),
        Layout("pie-ring", "pie", ("series",), pies.ring, categories=_PARTS, heldout_only=True),
        Layout("info-timeline", "infographic", ("flat", "series"), infographics.timeline, categories=_TIMES),
        Layout("info-hub", "infographic", ("flat",), infographics.hub),
        Layout("info-steps", "infographic", ("flat",), infographics.steps),
        Layout("info-funnel", "infographic", ("flat",), infographics.funnel, heldout_only=True),
    )
}
