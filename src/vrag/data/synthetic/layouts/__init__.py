"""All ways to draw a page, by name."""

from __future__ import annotations

from vrag.data.synthetic.layouts import bars, cards, tables
from vrag.data.synthetic.page import Layout

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("cards-grid", "cards", ("flat",), cards.grid),
        Layout("cards-strips", "cards", ("flat",), cards.strips),
        Layout("cards-badges", "cards", ("flat",), cards.badges, heldout_only=True),
        Layout("table-striped", "table", ("flat", "matrix"), tables.striped),
        Layout("table-ruled", "table", ("flat", "matrix"), tables.ruled),
        Layout("table-boxed", "table", ("flat", "matrix"), tables.boxed, heldout_only=True),
        Layout("table-report", "table", ("flat", "matrix"), tables.report, landscape=False),
        Layout("bars-vertical", "bar", ("series",), bars.vertical, categories=("year", "quarter")),
        Layout("bars-horizontal", "bar", ("flat", "series"), bars.horizontal),
        Layout("bars-dots", "bar", ("flat", "series"), bars.dots, heldout_only=True),
        Layout("bars-grouped", "bar", ("matrix",), bars.grouped, min_level=3, portrait=False),
    )
}
