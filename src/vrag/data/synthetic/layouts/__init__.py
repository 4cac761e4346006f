"""All ways to draw a page, by name."""

from __future__ import annotations

from vrag.data.synthetic.layouts import (
    bars,
    cards,
    infographics,
    lines,
    pies,
    tables,
    varied,
    varied_charts,
    varied_tables,
)
from vrag.data.synthetic.page import Layout

_PARTS = ("quarter", "region")  # what adds up to a whole
_TIMES = ("quarter", "year")

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("cards-grid", "cards", ("flat",), cards.grid),
        Layout("cards-strips", "cards", ("flat",), cards.strips),
        Layout("cards-badges", "cards", ("flat",), cards.badges, only="heldout"),
        Layout("cards-tiles", "cards", ("flat",), cards.tiles, only="train"),
        Layout("cards-tags", "cards", ("flat",), cards.tags, only="train"),
        Layout("cards-varied", "cards", ("flat",), varied.cells, only="train"),
        Layout("table-striped", "table", ("flat", "matrix"), tables.striped),
        Layout("table-ruled", "table", ("flat", "matrix"), tables.ruled),
        Layout("table-boxed", "table", ("flat", "matrix"), tables.boxed, only="heldout"),
        Layout("table-ledger", "table", ("flat", "matrix"), tables.ledger, only="train"),
        Layout("table-varied", "table", ("flat", "matrix"), varied_tables.table, only="train"),
        Layout("table-heat", "table", ("matrix",), tables.heat, min_level=2),
        Layout("bars-vertical", "bar", ("series",), bars.vertical),
        Layout("bars-horizontal", "bar", ("flat", "series"), bars.horizontal, categories=("region",)),
        Layout("bars-dots", "bar", ("flat", "series"), bars.dots, categories=("region",), only="heldout"),
        Layout("bars-footed", "bar", ("series",), bars.footed, only="train"),
        Layout("bars-tracks", "bar", ("flat", "series"), bars.tracks, categories=("region",), only="train"),
        Layout("bars-varied", "bar", ("series",), varied.marks, only="train"),
        Layout("bars-rows", "bar", ("flat", "series"), varied_charts.rows, categories=("region",), only="train"),
        Layout("bars-grouped", "bar", ("matrix",), bars.grouped, min_level=2),
        Layout("line-points", "line", ("series",), lines.line, categories=_TIMES),
        Layout("line-area", "line", ("series",), lines.area, categories=_TIMES),
        Layout("line-stems", "line", ("series",), lines.stems, categories=_TIMES, only="heldout"),
        Layout("line-flags", "line", ("series",), lines.flags, categories=_TIMES, only="train"),
        Layout("line-varied", "line", ("series",), varied_charts.line, categories=_TIMES, only="train"),
        Layout("pie-slices", "pie", ("series",), pies.pie, categories=_PARTS),
        Layout("pie-ring", "pie", ("series",), pies.ring, categories=_PARTS, only="heldout"),
        Layout("pie-listed", "pie", ("series",), pies.listed, categories=_PARTS, only="train"),
        Layout("pie-varied", "pie", ("series",), varied_charts.parts, categories=_PARTS, only="train"),
        Layout("info-timeline", "infographic", ("flat", "series"), infographics.timeline, categories=_TIMES),
        Layout("info-hub", "infographic", ("flat",), infographics.hub),
        Layout("info-steps", "infographic", ("flat",), infographics.steps),
        Layout("info-funnel", "infographic", ("flat",), infographics.funnel, only="heldout"),
        Layout("info-spine", "infographic", ("flat",), infographics.spine, only="train"),
        Layout("info-varied", "infographic", ("flat", "series"), varied.cells, only="train"),
    )
}
