"""What a layout is given to draw one page with."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from vrag.data.synthetic.difficulty import Difficulty
from vrag.data.synthetic.sheet import Align, Rect, Sheet, fitted, wrapped
from vrag.data.synthetic.themes import Style
from vrag.data.synthetic.vocabulary import FILLER, Split
from vrag.data.synthetic.world import Form, Key, PageContent

Boxes = dict[Key, Rect]

LEADING = 1.42  # of running text, in em


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
        return self.sheet.text(x, baseline, text, font, self.style.type.value, ink or self.style.theme.ink, align)

    def small(self, x: float, baseline: float, text: str, *, align: Align = "left", ink: str = "") -> Rect:
        """Small print that carries no answer."""
        face, theme = self.style.face, self.style.theme
        return self.sheet.text(x, baseline, text, face.regular, self.style.type.small, ink or theme.muted, align)

    def paragraph(self, box: Rect, sentences: int) -> float:
        """Filler text from the top of `box`; returns the y under its last line that fits."""
        return self._print(box, self._filler(box.w, sentences))

    def _filler(self, width: float, sentences: int) -> list[str]:
        text = " ".join(self.content.fill(line, self.rng) for line in self.rng.sample(FILLER, sentences))
        return wrapped(text, self.style.face.regular, self.style.type.small, width)

    def _print(self, box: Rect, lines: list[str]) -> float:
        size = self.style.type.small
        y = box.y + size
        for line in lines:
            if y > box.bottom:
                break
            self.small(box.x, y, line)
            y += size * LEADING
        return y - size * 0.4

    def stage(self, tallest: float) -> Rect:
        """Where the layout draws: on a slide the body, on a portrait page its upper part under a paragraph.

        What a portrait page leaves under the stage is filled with text in two columns, as in a report.
        """
        body = self.body
        if not self.style.format.portrait:
            if self.dials.clutter >= 2 and self.rng.random() < 0.4:
                body = self._aside(body)
            return body._replace(h=min(body.h, tallest))
        top = self.paragraph(Rect(body.x, body.y, body.w, body.h * 0.2), self.rng.randint(3, 6)) + 16
        stage = Rect(body.x, top, body.w, min(body.bottom - top, tallest))
        rest = Rect(body.x, stage.bottom + 26, body.w, body.bottom - stage.bottom - 26)
        if rest.h > self.style.type.small * 4:
            for column in rest.grid(2, 1, 22):
                self.paragraph(column, len(FILLER) // 2)
        return stage

    def _aside(self, body: Rect) -> Rect:
        """A panel of text on the right; returns what it leaves."""
        width = body.w * 0.22
        lines = self._filler(width - 20, self.rng.randint(len(FILLER) // 3, len(FILLER)))
        height = min(body.h, len(lines) * self.style.type.small * LEADING + 28)
        panel = Rect(body.right - width, body.y, width, height)
        self.sheet.rect(panel, self.style.theme.panel, radius=self.style.rounded)
        self.sheet.rect(panel._replace(h=3), self.style.theme.accent)
        self._print(panel.inset(10, 14), lines)
        return body._replace(w=body.w * 0.75)

    def columns(self, count: int) -> int:
        """In how many columns so many cells stand."""
        return 2 if self.style.format.portrait or count == 4 else 3

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
    only: Split | None = None  # the one split that has it
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
