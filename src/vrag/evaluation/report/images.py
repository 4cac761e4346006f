"""Page images inside the report: each page and each crop once, as JPEG data, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field

from PIL import Image as PillowImage
from PIL.Image import Image

from vrag.errors import CorpusError, VragError
from vrag.evaluation.report.html import Html, el
from vrag.protocols import PageStore
from vrag.types import Box, Page, View, Word

QUALITY = 80
PAGE_WIDTH = 720  # pixels; pages are shown to people, so not as small as the model may have seen them
CROP_WIDTH = 480
OVER_BUDGET = "Image left out: the report's size budget is spent."


@dataclass(frozen=True)
class Mark:
    """A rectangle over a page, in raw pixels. `style` is a class of the style sheet: cropped or gold."""

    box: Box
    style: str


@dataclass
class Images:
    """Pictures for one report. Each is stored once and referred to; what is over budget is a note."""

    store: PageStore
    budget: int
    spent: int = 0
    left_out: int = 0
    _handles: dict[tuple[str, Box | None], tuple[str, int, int]] = field(default_factory=lambda: {})
    _defined: list[Html] = field(default_factory=lambda: [])

    def page(self, view: View, marks: list[Mark]) -> Html:
        """The whole page with `marks` drawn over it."""
        try:
            handle, width, height = self._picture(view.page_id)
        except VragError as failure:
            return _missing(f"Page image not available: {failure}")
        if not handle:
            return _missing(OVER_BUDGET)
        return el(
            "svg",
            el("use", href=f"#{handle}"),
            *[_rectangle(mark) for mark in marks],
            viewBox=f"0 0 {width} {height}",
            style=f"aspect-ratio: {width} / {height}",
            role="img",
            aria_label=f"{view.ref.document}, page {view.ref.page}",
            class_="page",
        )

    def crop(self, view: View) -> Html:
        """The region of `view`, cut from the raw page."""
        try:
            handle, width, height = self._picture(view.page_id, view.region)
        except VragError as failure:
            return _missing(f"Page image not available: {failure}")
        if not handle:
            return _missing(OVER_BUDGET)
        size = {"width": width, "height": height, "viewBox": f"0 0 {width} {height}"}
        return el(
            "svg", el("use", href=f"#{handle}"), **size, role="img", aria_label="The cropped region", class_="crop"
        )

    def definitions(self) -> Html:
        """The pictures that were referred to; stands once in the document, drawing nothing itself."""
        return el("svg", el("defs", *self._defined), width=0, height=0, class_="definitions", aria_hidden="true")

    def _picture(self, page_id: str, region: Box | None = None) -> tuple[str, int, int]:
        """(handle, width, height) of a page in raw pixels, or of a region of it in pixels as it is shown; the handle is
        empty if it went over budget.
        """
        if (page_id, region) not in self._handles:
            image = self.store.image(page_id)
            width, height = image.width, image.height
            if region is not None:
                x1, y1, x2, y2 = (round(value) for value in region.as_tuple())
                image = image.crop((x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)))
                image = _narrowed(image, CROP_WIDTH)
                width, height = image.width, image.height
            uri = self._embed(image if region else _narrowed(image, PAGE_WIDTH))
            handle = f"page-{len(self._defined)}" if uri else ""
            if uri:
                self._defined.append(Html(f'<image id="{handle}" width="{width}" height="{height}" href="{uri}"/>'))
            self._handles[page_id, region] = (handle, width, height)
        return self._handles[page_id, region]

    def _embed(self, image: Image) -> str | None:
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", quality=QUALITY, optimize=True)
        uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
        if self.spent + len(uri) > self.budget:
            self.left_out += 1
            return None
        self.spent += len(uri)
        return uri


def _narrowed(image: Image, width: int) -> Image:
    if image.width <= width:
        return image
    return image.resize((width, max(1, round(image.height * width / image.width))), PillowImage.Resampling.LANCZOS)


def _rectangle(mark: Mark) -> Html:
    """The mark, drawn just outside its box so that it hides nothing."""
    box, gap = mark.box, 5
    place = {"x": box.x1 - gap, "y": box.y1 - gap, "width": box.width + 2 * gap, "height": box.height + 2 * gap}
    return el("rect", **place, class_=f"mark-{mark.style}")


def _missing(why: str) -> Html:
    return el("p", why, class_="missing")


class NoPages:
    """A page store for a report without a corpus."""

    def page(self, page_id: str) -> Page:
        raise CorpusError("name the run's corpus with --corpus")

    def image(self, page_id: str) -> Image:
        raise CorpusError("name the run's corpus with --corpus")

    def words(self, page_id: str) -> list[Word]:
        raise CorpusError("name the run's corpus with --corpus")
