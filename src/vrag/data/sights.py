"""Images to learn to see from, cut from a corpus's own pages, with what their patches show.

Four kinds, from easy to whole: a *label* and a *value* alone in a small window, at the size at which an agent sees
them; the *crop* of a value that the scripted expert would take; and the *page*. A window of a word costs a fortieth of
a page, so reading is learned on windows; what belongs together, and where, is learned on pages.

Nothing is drawn: every sight is a piece of a real page. Some windows are printed in other colours, for a colour says
nothing about a letter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vrag.data.patches import READABLE, PatchReader, PatchTargets, Sought
from vrag.errors import DataError
from vrag.geometry import ViewSpec, page_view, render
from vrag.policies.expert import hops
from vrag.protocols import PageStore
from vrag.types import Box, Page, Task, View

LABEL_ZOOM = 0.25  # octaves by which a label may be larger than on its page view
VALUE_ZOOM = (0.9, 1.1)  # sizes of a value, in those of its crop
SLACK = 1.5  # patches by which a window is wider than its word; half of that in height
CONTRAST = 0.35  # of ink and paper, at least, when a window is recoloured


@dataclass(frozen=True)
class Sight:
    """`pixels` [H, W, 3] uint8 and what its patches show."""

    pixels: np.ndarray
    targets: PatchTargets

    def recoloured(self, rng: np.random.Generator) -> Sight:
        """The same print, in another ink on another paper."""
        grey = self.pixels.astype(np.float32).mean(axis=2, keepdims=True)
        low, high = grey.min(), grey.max()
        if high - low < 25:  # blank: nothing would tell ink from paper
            return self
        while True:
            ink, paper = rng.random(3), rng.random(3)
            if abs(ink.mean() - paper.mean()) > CONTRAST:
                break
        share = (grey - low) / (high - low)
        return Sight((255 * (paper * share + ink * (1 - share))).astype(np.uint8), self.targets)


class PageSights:
    """Draws sights from `pages`. Windows are cut at the start, `label_cuts` of each label and `value_cuts` of each
    value; crops and pages are rendered as they are met, and kept (a page takes about 0.3 MB).

    Labels are the words by which `tasks` seek values. Raises `DataError` when the pages have none.
    """

    def __init__(
        self,
        store: PageStore,
        pages: Sequence[Page],
        tasks: Sequence[Task],
        reader: PatchReader,
        spec: ViewSpec,
        *,
        label_cuts: int = 6,
        value_cuts: int = 4,
        seed: int = 0,
    ) -> None:
        self._store, self._reader, self._spec = store, reader, spec
        self._words = {page.id: list(store.words(page.id)) for page in pages}
        self._pages, self._sought = list(pages), sought_on(pages, tasks)
        self._values = [(page, one) for page in pages for one in self._sought[page.id]]
        self._labels = set(labels_of(tasks))
        self._kept: dict[View, Sight] = {}
        rng = np.random.default_rng([seed, 7])
        cuts = [(page, self._cuts(page, label_cuts, value_cuts, rng)) for page in pages]
        with ThreadPoolExecutor(2) as pool:  # decoding and resizing leave Python's lock
            found = [sight for sights in pool.map(self._cut, cuts) for sight in sights]
        self._windows = {name: [sight for kind, sight in found if kind == name] for name in ("label", "value")}
        if not self._windows["label"] or not self._windows["value"]:
            raise DataError("these pages have no labels or no values of the tasks; learning to see needs both")

    def windows(self, labels: int, values: int, recoloured: float, rng: np.random.Generator) -> list[Sight]:
        """Small windows, the share `recoloured` of them in other colours."""
        drawn = [*self._some("label", labels, rng), *self._some("value", values, rng)]
        return [sight.recoloured(rng) if rng.random() < recoloured else sight for sight in drawn]

    def page(self, rng: np.random.Generator) -> Sight:
        """A whole page, with the values that stand on it."""
        page = self._pages[int(rng.integers(len(self._pages)))]
        return self._sight(page, page_view(page, self._spec), self._sought[page.id])

    def crop(self, rng: np.random.Generator) -> Sight:
        """A value as the expert crops it."""
        page, one = self._values[int(rng.integers(len(self._values)))]
        return self._sight(page, self._reader.value_crop(page, one.box), [])

    def _some(self, kind: str, count: int, rng: np.random.Generator) -> list[Sight]:
        windows = self._windows[kind]
        return [windows[int(i)] for i in rng.integers(len(windows), size=count)]

    def _sight(self, page: Page, view: View, sought: Sequence[Sought]) -> Sight:
        found = self._kept.get(view)
        if found is None:
            found = self._look(page, view, self._store.image(page.id), sought)
            self._kept[view] = found
        return found

    def _look(self, page: Page, view: View, image: Image.Image, sought: Sequence[Sought] = ()) -> Sight:
        return Sight(np.asarray(render(image, view)), self._reader.targets(view, self._words[page.id], sought))

    def _cuts(self, page: Page, label_cuts: int, value_cuts: int, rng: np.random.Generator) -> list[tuple[str, View]]:
        """Where to cut windows out of a page."""
        scale = page_view(page, self._spec).width / page.width
        cuts: list[tuple[str, View | None]] = []
        for word in self._words[page.id]:
            if word.text in self._labels and word.box.height * scale >= READABLE:
                zooms = scale * 2 ** (LABEL_ZOOM * rng.random(label_cuts))
                cuts += [("label", self._window(page, word.box, zoom, rng)) for zoom in zooms]
        for one in self._sought[page.id]:
            crop = self._reader.value_crop(page, one.box)
            zooms = crop.width / crop.region.width * rng.uniform(*VALUE_ZOOM, size=value_cuts)
            cuts += [("value", self._window(page, one.box, zoom, rng)) for zoom in zooms]
        return [(kind, view) for kind, view in cuts if view is not None]

    def _window(self, page: Page, word: Box, scale: float, rng: np.random.Generator) -> View | None:
        """A window around `word`, which stands anywhere in it, shown at `scale` view pixels per raw pixel; None where
        the page is too small for it.
        """
        block = self._spec.factor
        slack = SLACK * block * rng.random(2) * (1.0, 0.5)
        across, down = word.width * scale + slack[0], word.height * scale + slack[1]
        columns, rows = max(2, math.ceil(across / block)), math.ceil(down / block) + int(rng.random() < 0.5)
        width, height = columns * block / scale, rows * block / scale
        if width > page.width or height > page.height:
            return None
        left = min(max(0.0, word.x1 - rng.random() * (width - word.width)), page.width - width)
        top = min(max(0.0, word.y1 - rng.random() * (height - word.height)), page.height - height)
        region = Box(
            x1=int(left), y1=int(top), x2=min(page.width, int(left + width)), y2=min(page.height, int(top + height))
        )
        return View(page_id=page.id, ref=page.ref, region=region, width=columns * block, height=rows * block)

    def _cut(self, cuts: tuple[Page, list[tuple[str, View]]]) -> list[tuple[str, Sight]]:
        page, views = cuts
        image = self._store.image(page.id) if views else None
        return [(kind, self._look(page, view, image)) for kind, view in views if image is not None]


def labels_of(tasks: Sequence[Task]) -> list[str]:
    """The words by which `tasks` seek values, sorted."""
    return sorted({word for task in tasks for hop in hops(task) for word in hop.sought.split()})


def sought_on(pages: Sequence[Page], tasks: Sequence[Task]) -> dict[str, list[Sought]]:
    """By page id, what the hops of `tasks` seek there; each once."""
    by_ref = {page.ref: page for page in pages}
    found: dict[str, dict[Sought, None]] = {page.id: {} for page in pages}
    for task in tasks:
        for hop in hops(task):
            page = by_ref.get(hop.gold.ref)
            if page is not None and hop.gold.box is not None:
                found[page.id][Sought(hop.sought, hop.gold.box.scaled(page.width, page.height))] = None
    return {page: list(sought) for page, sought in found.items()}
