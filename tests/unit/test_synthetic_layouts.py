"""Every layout, on every page format and at every difficulty, draws what the benchmark promises."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pypdfium2 as pdfium
import pytest
from reportlab.pdfgen.canvas import Canvas

from vrag.data.synthetic.difficulty import DIFFICULTIES, Difficulty
from vrag.data.synthetic.layouts import LAYOUTS
from vrag.data.synthetic.page import Layout
from vrag.data.synthetic.render import draw_page
from vrag.data.synthetic.themes import FORMATS, Format, Style, choose_style
from vrag.data.synthetic.vocabulary import TOPICS
from vrag.data.synthetic.world import Key, PageContent, metrics_page
from vrag.types import Box

FORMAT_BY_NAME = {page_format.name: page_format for page_format in FORMATS}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)
every_format = pytest.mark.parametrize("page_format", FORMAT_BY_NAME)
LEGIBLE_CAPITAL_PX = 5.0  # height of a capital in the page view
LONG_NAME = "Mompuzu Partners"


class Drawn:
    """One drawn page and what its PDF says."""

    def __init__(self, path: Path, style: Style, content: PageContent, boxes: dict[Key, Box]) -> None:
        self.style, self.content, self.boxes = style, content, boxes
        self.page = pdfium.PdfDocument(path)[0]
        self.text = self.page.get_textpage()

    def text_in(self, box: Box) -> str:
        width, height = self.page.get_size()
        at = box.scaled(width, height)
        return self.text.get_text_bounded(at.x1, height - at.y2, at.x2, height - at.y1).strip()

    def heights_px(self, word: str) -> list[float]:
        """Heights in view pixels of every place where `word` is printed."""
        search, heights = self.text.search(word, match_case=True, match_whole_word=True), []
        while (found := search.get_next()) is not None:
            self.text.count_rects(*found)
            _, bottom, _, top = self.text.get_rect(0)
            heights.append((top - bottom) / self.style.format.points(1.0))
        return heights


def suitable(rng: random.Random, layout: Layout, page_format: Format, dials: Difficulty) -> tuple[PageContent, Style]:
    for _ in range(2000):
        content = metrics_page(rng, LONG_NAME, rng.choice(TOPICS), dials, rng.choice(layout.forms))
        style = choose_style(rng, rng.choice(("train", "heldout")), dials, page_format)
        if layout.accepts(content, style, dials):
            return content, style
    raise AssertionError(f"{layout.name} accepts nothing on {page_format.name}")


def draw(folder: Path, layout: str, page_format: str, level: int, seed: int) -> Drawn:
    rng, dials = random.Random(f"{layout}/{page_format}/{level}/{seed}"), DIFFICULTIES[level]
    content, style = suitable(rng, LAYOUTS[layout], FORMAT_BY_NAME[page_format], dials)
    path = folder / f"{seed}.pdf"
    canvas = Canvas(str(path), pagesize=(style.format.width, style.format.height))
    boxes = draw_page(canvas, LAYOUTS[layout], style, content, dials, rng)
    canvas.save()
    return Drawn(path, style, content, boxes)


@pytest.fixture
def seeds(full: bool) -> range:
    return range(30 if full else 2)


def drawings(folder: Path, layout: str, page_format: str, seeds: range) -> Iterator[Drawn]:
    """The layout at each difficulty that uses it, `seeds` times."""
    for level in DIFFICULTIES:
        if level >= LAYOUTS[layout].min_level:
            for seed in seeds:
                yield draw(folder, layout, page_format, level, seed)


@every_layout
@every_format
def test_the_box_of_a_value_holds_that_value_and_nothing_else(
    tmp_path: Path, layout: str, page_format: str, seeds: range
) -> None:
    for page in drawings(tmp_path, layout, page_format, seeds):
        assert {key: page.text_in(box) for key, box in page.boxes.items()} == {
            key: value.text for key, value in page.content.values.items()
        }


@every_layout
@every_format
def test_values_stand_inside_the_page_and_apart(tmp_path: Path, layout: str, page_format: str, seeds: range) -> None:
    for page in drawings(tmp_path, layout, page_format, seeds):
        boxes = page.boxes.values()
        for box in boxes:
            assert 0 < box.x1 < box.x2 < 1 and 0 < box.y1 < box.y2 < 1
        for one, other in combinations(boxes, 2):
            assert one.x2 <= other.x1 or other.x2 <= one.x1 or one.y2 <= other.y1 or other.y2 <= one.y1


@pytest.mark.parametrize("layout", [name for name, layout in LAYOUTS.items() if layout.min_level == 1])
@every_format
def test_at_difficulty_1_labels_and_title_are_legible_in_the_page_view_and_values_are_not(
    tmp_path: Path, layout: str, page_format: str, seeds: range
) -> None:
    for seed in seeds:
        page = draw(tmp_path, layout, page_format, 1, seed)
        labels = {row for row, _ in page.boxes} | {column for _, column in page.boxes if column}
        for label in labels | set(LONG_NAME.split()):
            assert max(page.heights_px(label), default=0) >= LEGIBLE_CAPITAL_PX, label
        height = page.style.format.height / page.style.format.points(1.0)
        assert max(box.height * height for box in page.boxes.values()) <= 3.3
