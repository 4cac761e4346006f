"""What a layout is given to draw one page with."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from vrag.data.synthetic.difficulty import Difficulty
from vrag.data.synthetic.sheet import Align, Rect, Sheet, fitted, wrapped
from vrag.data.synthetic.themes import Style
from vrag.data.synthetic.vocabulary import FILLER
from vrag.data.synthetic.world import Form, Key, PageContent

Boxes = dict[Key, Rect]


@dataclass(frozen=True)
class PageDrawing:
    """One page while it is drawn; `body` is what header and footer leave to the layout."""

    sheet: Sheet
    style: Style
    content: PageContent
    dials: Difficulty
    rng: random.Random
    body: Rect

    def label(
        self,
        x: float,
        baseline: float,
        text: str,
        *,
        align: Align = "left",
        ink: str = "",
        width: float = 1e9,
    ) -> Rect:
        """A large label: bold, legible in the page view; made smaller only if `width` demands it."""
        face, theme = self.style.face, self.style.theme
        size = fitted(text, face.bold, self.style.type.label, width)
        return self.sheet.text(x, baseline, text, face.bold, size, ink or theme.ink, align)

    def value(self, x: float, baseline: float, text: str, *, align: Align = "left", ink: str = "") -> Rect:
        """A value: too small to be read in the page view."""
        face = self.style.face
        font = face.bold if self.style.bold_values else face.regular
        return self.sheet.text(
            x, baseline, text, font, self.style.type.value, ink or self.style.theme.ink, align
        )

    def small(self, x: float, baseline: float, text: str, *, align: Align = "left", ink: str = "") -> Rect:
        """Small print that carries no answer."""
        face, theme = self.style.face, self.style.theme
        return self.sheet.text(
            x, baseline, text, face.regular, self.style.type.small, ink or theme.muted, align
        )

    def paragraph(self, box: Rect, sentences: int) -> float:
        """Filler text from the top of `box`; returns the y under its last line that fits."""
        size = self.style.type.small
        step, y = size * 1.42, box.y + size
        lines = wrapped(" ".join(self.rng.sample(FILLER, sentences)), self.style.face.regular, size, box.w)
        for line in lines:
            if y > box.bottom:
                break
            self.small(box.x, y, line)
            y += step
        return y - size * 0.4

    def tint(self, index: int) -> str:
        series = self.style.theme.series
        return series[index % len(series)]


@dataclass(frozen=True)
class Layout:
    """A way to draw a page. `kind` is what a task calls it; `forms` are the contents that it can hold."""

    name: str
    kind: str
    forms: tuple[Form, ...]
    draw: Callable[[PageDrawing], Boxes]
    heldout_only: bool = False
    min_level: int = 1
    categories: tuple[str, ...] = ("year", "quarter", "region")
    landscape: bool = True
    portrait: bool = True

    def accepts(self, content: PageContent, style: Style, dials: Difficulty) -> bool:
        return (
            content.form in self.forms
            and dials.level >= self.min_level
            and (content.category is None or content.category in self.categories)
            and (self.portrait if style.format.portrait else self.landscape)
        )
