"""Draw the documents of a world and keep where every value stands."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reportlab.pdfgen.canvas import Canvas

from vrag.data.synthetic.chrome import draw_chrome
from vrag.data.synthetic.difficulty import Difficulty
from vrag.data.synthetic.layouts import LAYOUTS
from vrag.data.synthetic.page import Layout, PageDrawing
from vrag.data.synthetic.sheet import Rect, Sheet
from vrag.data.synthetic.themes import Style, choose_style
from vrag.data.synthetic.vocabulary import Split
from vrag.data.synthetic.world import DocumentContent, Key, PageContent
from vrag.errors import InvariantError
from vrag.types import Box

# Codes are no quantities: they are never bars or slices.
_SITES_KINDS = {"cards", "table", "infographic"}


@dataclass(frozen=True)
class DrawnPage:
    """A page and the boxes of its values, relative to the page."""

    document: str
    number: int
    content: PageContent
    layout: Layout
    boxes: dict[Key, Box]


def draw_document(
    path: Path, document: DocumentContent, split: Split, dials: Difficulty, rng: random.Random
) -> list[DrawnPage]:
    """Write `path` as PDF; the same arguments write the same bytes."""
    style = choose_style(rng, split, dials)
    canvas = Canvas(str(path), pagesize=(style.format.width, style.format.height), invariant=1, pageCompression=1)
    canvas.setTitle(document.name)
    drawn: list[DrawnPage] = []
    for number, content in enumerate(document.pages, start=1):
        layout = choose_layout(rng, content, style, split, dials)
        boxes = draw_page(canvas, layout, style, content, dials, rng, number, len(document.pages))
        drawn.append(DrawnPage(document.name, number, content, layout, boxes))
    canvas.save()
    return drawn


def choose_layout(rng: random.Random, content: PageContent, style: Style, split: Split, dials: Difficulty) -> Layout:
    """A kind of page first and a layout of that kind then, so that all kinds are about as frequent."""
    fitting = [
        layout
        for layout in LAYOUTS.values()
        if layout.accepts(content, style, dials)
        and layout.only in (None, split)
        and (not content.is_sites or layout.kind in _SITES_KINDS)
    ]
    if not fitting:
        raise InvariantError(f"no layout can hold a {content.form} page by {content.category}")
    kind = rng.choice(sorted({layout.kind for layout in fitting}))
    return rng.choice([layout for layout in fitting if layout.kind == kind])


def draw_page(
    canvas: Canvas,
    layout: Layout,
    style: Style,
    content: PageContent,
    dials: Difficulty,
    rng: random.Random,
    number: int = 1,
    pages: int = 1,
) -> dict[Key, Box]:
    """Draw one page and return the box of each value, relative to the page."""
    sheet = Sheet(canvas, style.format.width, style.format.height)
    body = draw_chrome(sheet, style, content, number, pages, rng)
    rects = layout.draw(PageDrawing(sheet, style, content, dials, rng, body))
    canvas.showPage()
    missing = content.values.keys() - rects.keys()
    if missing:
        raise InvariantError(f"layout {layout.name} drew no value for {sorted(missing, key=str)}")
    return {key: _relative(rect, sheet) for key, rect in rects.items()}


def _relative(rect: Rect, sheet: Sheet) -> Box:
    x, y = sheet.width, sheet.height
    return Box(
        x1=round(rect.x / x, 5),
        y1=round(rect.y / y, 5),
        x2=round(rect.right / x, 5),
        y2=round(rect.bottom / y, 5),
    )


def page_index(pages: Sequence[DrawnPage]) -> dict[str, list[DrawnPage]]:
    """Pages by their subject."""
    index: dict[str, list[DrawnPage]] = {}
    for page in pages:
        index.setdefault(page.content.subject, []).append(page)
    return index
