"""Images to learn to see from, cut from a corpus's own pages, with what their patches show.

Four kinds, from easy to whole: a *label* and a *value* alone in a small window, at the size at which an agent sees
them; the *crop* of a value that an agent would take; and the *page*. A window of a word costs a fortieth of
a page, so reading is learned on windows; what belongs together, and where, is learned on pages.

Nothing is drawn: every sight is a piece of a real page. Some are shown in other colours, for a colour says nothing
about a letter or a place.
"""

from __future__ import annotations

import io
import math
import pickle
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from PIL.Image import Image, fromarray
from PIL.Image import open as decode

from vrag.data.kinds import ByKind
from vrag.data.patches import READABLE, PatchReader, PatchTargets, Sought
from vrag.errors import DataError
from vrag.geometry import ViewSpec, page_view, render
from vrag.policies.expert import hops
from vrag.protocols import PageStore
from vrag.types import Box, Page, Task, View, Word

LABEL_ZOOM = 0.25  # octaves by which a label may be larger than on its page view
VALUE_ZOOM = (0.9, 1.1)  # sizes of a value, in those of its crop
LABEL_CUTS = 2  # windows of a label
CODE_CUTS = 4  # windows of a value with a letter, of others one: these are few for each letter, and soon known by heart
SLACK = 1.5  # patches by which a window is wider than its word; half of that in height
CONTRAST = 0.35  # of ink and paper, at least, when a window is recoloured
STRENGTH = (0.75, 1.15)  # of each colour, when a sight is tinted
PALEST = 0.94  # paper of a tinted sight


@dataclass(frozen=True)
class Cut:
    """What a sight is cut out of its page for: `text` is the word that it is about, `sought` what a question may ask
    of it: the values of a page, the one value of a crop.
    """

    kind: Literal["label", "value", "crop", "page"]
    text: str
    view: View
    sought: tuple[Sought, ...] = ()


@dataclass(frozen=True)
class Sight:
    """An RGB image and what its patches show; `cut` tells where it is from."""

    image: Image
    targets: PatchTargets
    cut: Cut

    def recoloured(self, rng: np.random.Generator) -> Sight:
        """The same print, in another ink on another paper."""
        grey = np.asarray(self.image, dtype=np.float32).mean(axis=2, keepdims=True)
        low, high = grey.min(), grey.max()
        if high - low < 25:  # blank: nothing would tell ink from paper
            return self
        while True:
            ink, paper = rng.random(3), rng.random(3)
            if abs(ink.mean() - paper.mean()) > CONTRAST:
                break
        share = (grey - low) / (high - low)
        return self._painted(255 * (paper * share + ink * (1 - share)))

    def tinted(self, rng: np.random.Generator) -> Sight:
        """The same page in another theme: red, green and blue change places, and each is a bit stronger or weaker."""
        depth = 255 - np.asarray(self.image, dtype=np.float32)[..., rng.permutation(3)]
        strength, paper = (rng.uniform(*span, size=3).astype(np.float32) for span in (STRENGTH, (PALEST, 1)))
        return self._painted((255 - depth * strength) * paper)

    def _painted(self, pixels: np.ndarray) -> Sight:
        return replace(self, image=fromarray(pixels.clip(0, 255).astype(np.uint8)))


@dataclass(frozen=True)
class _Kept:
    """A sight as it waits to be drawn, packed to a tenth: pages have flat colours, and most of their patches show
    nothing.
    """

    png: bytes
    targets: bytes
    cut: Cut

    @classmethod
    def of(cls, image: Image, targets: PatchTargets, cut: Cut) -> _Kept:
        written = io.BytesIO()
        image.save(written, "PNG", compress_level=1)
        return cls(written.getvalue(), zlib.compress(pickle.dumps(targets), level=1), cut)

    def sight(self) -> Sight:
        targets: PatchTargets = pickle.loads(zlib.decompress(self.targets))
        return Sight(decode(io.BytesIO(self.png)).convert("RGB"), targets, self.cut)


class PageSights:
    """Draws sights of `pages`, which are all rendered at the start: each page, a crop of each of its values, and
    windows of each label and each value (0.1 MB a page together).

    What is rare is no easier: pages are drawn evenly from the kinds that `kinds` tells apart (page id to kind), values
    evenly from the characters that they are written with. Labels are those that `reader` tells apart. Raises
    `DataError` when the pages have none.
    """

    def __init__(
        self,
        store: PageStore,
        pages: Sequence[Page],
        tasks: Sequence[Task],
        reader: PatchReader,
        spec: ViewSpec,
        *,
        kinds: Mapping[str, str] = MappingProxyType({}),
        seed: int = 0,
    ) -> None:
        self._reader, self._spec, self._store = reader, spec, store
        self._sought = sought_on(pages, tasks)
        rng = np.random.default_rng([seed, 7])
        words = [list(store.words(page.id)) for page in pages]
        cuts = [self._cuts(page, said, rng) for page, said in zip(pages, words, strict=True)]
        with ThreadPoolExecutor(2) as pool:  # decoding and resizing leave Python's lock
            kept = [sight for found in pool.map(self._cut, words, cuts) for sight in found]

        def of(kind: str) -> list[_Kept]:
            return [sight for sight in kept if sight.cut.kind == kind]

        def by_character(kind: str) -> ByKind[_Kept]:
            return ByKind((each, sight) for sight in of(kind) for each in characters_of(sight.cut.text))

        self._pages = ByKind((kinds.get(sight.cut.view.page_id, ""), sight) for sight in of("page"))
        self._label_windows = ByKind(("", sight) for sight in of("label"))
        self._value_windows, self._crops = by_character("value"), by_character("crop")
        if not (self._label_windows and self._value_windows):
            raise DataError("these pages have no labels or no values of the tasks; learning to see needs both")

    def windows(self, labels: int, values: int, rng: np.random.Generator) -> list[Sight]:
        """Small windows, one word each."""
        drawn = [*self._label_windows.draw(labels, rng), *self._value_windows.draw(values, rng)]
        return [kept.sight() for kept in drawn]

    def crops(self, count: int, rng: np.random.Generator) -> list[Sight]:
        """Values as the expert crops them."""
        return [kept.sight() for kept in self._crops.draw(count, rng)]

    def pages(self, count: int, rng: np.random.Generator) -> list[Sight]:
        """Whole pages, with the values that stand on them."""
        return [kept.sight() for kept in self._pages.draw(count, rng)]

    def _cuts(self, page: Page, words: Sequence[Word], rng: np.random.Generator) -> list[Cut]:
        """What to look at of a page."""
        view = page_view(page, self._spec)
        scale = view.width / page.width
        sought = self._sought[page.id]
        cuts = [Cut("page", "", view, tuple(sought))]
        for word in words:
            if word.text in self._reader.labels and word.box.height * scale >= READABLE:
                zooms = scale * 2 ** (LABEL_ZOOM * rng.random(LABEL_CUTS))
                windows = [self._window(page, word.box, zoom, rng) for zoom in zooms]
                cuts += [Cut("label", word.text, window) for window in windows if window is not None]
        for one in sought:
            crop = self._reader.value_crop(page, one.box)
            text = _written_at(words, one.box)
            code = any(map(str.isalpha, text))
            zooms = crop.width / crop.region.width * rng.uniform(*VALUE_ZOOM, size=CODE_CUTS if code else 1)
            windows = [self._window(page, one.box, zoom, rng) for zoom in zooms]
            cuts += [Cut("crop", text, crop, (one,))]
            cuts += [Cut("value", text, window) for window in windows if window is not None]
        return cuts

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

    def _cut(self, words: Sequence[Word], cuts: Sequence[Cut]) -> list[_Kept]:
        """The sights of one page."""
        page = self._store.image(cuts[0].view.page_id)
        return [_Kept.of(render(page, cut.view), self._targets(cut, words), cut) for cut in cuts]

    def _targets(self, cut: Cut, words: Sequence[Word]) -> PatchTargets:
        """The box of a value is told on pages alone, where it is written."""
        return self._reader.targets(cut.view, words, cut.sought if cut.kind == "page" else ())


def characters_of(text: str) -> list[str]:
    """The characters of `text`, each once, in the same order in each process; one that is empty if there are none."""
    return sorted(set(text)) or [""]


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


def _written_at(words: Sequence[Word], box: Box) -> str:
    """The text of the words whose middles lie in `box`."""
    found = [
        word.text
        for word in words
        if box.x1 <= (word.box.x1 + word.box.x2) / 2 <= box.x2 and box.y1 <= (word.box.y1 + word.box.y2) / 2 <= box.y2
    ]
    return "".join(found)
