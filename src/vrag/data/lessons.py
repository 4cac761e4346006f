"""Lessons in seeing, made from pages: the samples of pretraining.

A freshly initialised vision tower learns neither to read nor to point inside whole trajectories, where few of
the trained tokens depend on pixels. Three lessons made from pages, their word boxes and the training questions
teach it first:

- *read*: a crop around a text; write it;
- *find*: a word and an image in which it can be read; write the word's box as `<bbox>`: in crops with little else, in
  parts of pages, on page views;
- *zoom*: what a question seeks and a page view; write the box that the scripted expert would crop.

Find and zoom share a page view: one sample can ask for several boxes, so that the page is encoded once. The first is
asked for before the image, as in an episode, so that the image is read in its light.
Nothing is drawn for them: every sample is a cut from a real page.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np

from vrag.actions import render as write
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.episode import Tokens
from vrag.errors import DataError
from vrag.geometry import ViewSpec, crop_view, extent, from_raw, page_view, view_size
from vrag.policies.expert import ExpertStyle, hops, written_box
from vrag.protocols import PageStore
from vrag.types import Box, Crop, ImagePart, Message, Page, Task, View, Word
from vrag.views import ViewRenderer

T = TypeVar("T")
Class = Literal["number", "code", "word", "value"]  # digits; letters with digits; letters; an answer, as cropped
LONGEST = 24  # characters of a transcription
SPAN: dict[Class, float] = {"number": 5.5, "code": 5.5, "word": 18.0}  # heights by which a region grows up to level 1
TRIES = 1000  # of a place for a crop
SEEN = 6  # pixels of the view: a word of this height can be read on a page view


@dataclass(frozen=True)
class Sought:
    """What a question seeks on a page: its name, and where it stands (raw pixels)."""

    name: str
    box: Box


@dataclass(frozen=True)
class Lesson:
    """A sample, and what each of its assistant turns does: read (a `Class`), "locate", "find", "zoom" or "copy"."""

    tokens: Tokens
    turns: tuple[str, ...]


class PageLessons:
    """Draws samples from `pages`, whose images are kept in memory as they are met.

    What to read is drawn by class, then by text, then by place: a year that stands on every page is not read
    more often than a code that stands on one. `tasks` give what to zoom in on, and the words by which it is found;
    `style` says how large a box is. A class that these pages don't have is replaced by one that they have.
    """

    def __init__(
        self,
        store: PageStore,
        pages: Sequence[Page],
        tasks: Sequence[Task],
        codec: QwenVLCodec,
        spec: ViewSpec,
        style: ExpertStyle,
    ) -> None:
        self._store, self._codec, self._spec, self._style = store, codec, spec, style
        self._pages = [p for p in pages if store.words(p.id)]
        self._words = {p.id: list(store.words(p.id)) for p in self._pages}
        self._places: dict[Class, dict[str, list[tuple[Page, Box]]]] = {kind: {} for kind in get_args(Class)}
        self._labels = {word for task in tasks for hop in hops(task) for word in hop.sought.split()}
        for page in self._pages:
            view = page_view(page, spec)
            for word in self._words[page.id]:
                kind = _class_of(word.text)
                if len(word.text) <= LONGEST and (kind != "word" or self._is_label(word, view)):
                    self._places[kind].setdefault(word.text, []).append((page, word.box))
        self._sought: dict[str, list[Sought]] = {p.id: [] for p in self._pages}
        self._add_tasks(tasks)
        self._texts: dict[Class, list[str]] = {kind: sorted(places) for kind, places in self._places.items() if places}
        self._pointable = [p for p in self._pages if self._sought[p.id] or self._found(p, page_view(p, spec))]
        if not self._texts or not self._pointable:
            raise DataError("these pages have nothing to read or to point at; lessons need pages with a text layer")
        self._renderer = ViewRenderer(store, capacity=len(self._pages), pages=len(self._pages))

    def _add_tasks(self, tasks: Sequence[Task]) -> None:
        by_ref = {page.ref: page for page in self._pages}
        for task in tasks:
            for hop in hops(task):
                page = by_ref.get(hop.gold.ref)
                if page is None or hop.gold.box is None:
                    continue
                box = hop.gold.box.scaled(page.width, page.height)
                if Sought(hop.sought, box) not in self._sought[page.id]:
                    self._sought[page.id].append(Sought(hop.sought, box))
                    text = task.answers[0] if hop.gold is task.gold[-1] else str(task.meta["bridge"])
                    self._places["value"].setdefault(text, []).append((page, box))

    def read(self, kind: Class, level: float, rng: np.random.Generator, *, pointing: bool = False) -> Lesson:
        """A crop to transcribe or, with `pointing`, a text in it to point at. A number or a code stands alone in it,
        at `level` of the curriculum; a word may have neighbours; a "value" is cropped as the expert crops it.
        """
        if kind not in self._texts:
            kind = _pick(list(self._texts), rng)
        for _ in range(TRIES):
            text = _pick(self._texts[kind], rng)
            page, box = _pick(self._places[kind][text], rng)
            if kind == "value":
                return self._reading(kind, page, box, self._expert_region(page, box, rng), text, text, pointing)
            region = reading_region(box, page, SPAN[kind] * level, level, rng)
            shown = text_inside(self._words[page.id], region)
            if shown == text or (kind == "word" and len(shown) <= LONGEST and shown.split().count(text) == 1):
                return self._reading(kind, page, box, region, text, shown, pointing)

        raise DataError(f"no {kind} stands alone on these pages ({TRIES} tries); use pages with shorter texts")

    def _expert_region(self, page: Page, box: Box, rng: np.random.Generator) -> Box:
        view = page_view(page, self._spec)
        return crop_view(page, view, self._box(box, view, rng), self._spec).region

    def _box(self, raw: Box, view: View, rng: np.random.Generator) -> Box:
        exact, size = from_raw(view, raw, self._spec.frame), extent(view, self._spec.frame)
        return written_box(exact, size, self._style, random.Random(int(rng.integers(2**31))))

    def _reading(self, kind: Class, page: Page, box: Box, region: Box, text: str, shown: str, pointing: bool) -> Lesson:
        view = self._region_view(page, region)
        part = ImagePart(self._renderer.image(view), view)
        if pointing:
            tokens = self._opening([f"find {text}", part])
            self._say(tokens, write(Crop(box=self._word_box(box, view))))
            return Lesson(tokens, ("locate",))
        tokens = self._opening([part])
        self._say(tokens, f"it is {shown}")
        return Lesson(tokens, (kind,))

    def _region_view(self, page: Page, region: Box) -> View:
        height, width = view_size(round(region.height), round(region.width), self._spec)
        return View(page_id=page.id, ref=page.ref, region=region, width=width, height=height)

    def _word_box(self, raw: Box, view: View) -> Box:
        """Around a word: what the expert would write who leaves no margin."""
        tight = self._style.model_copy(update={"box_min": 1, "box_margin": 0.0, "box_jitter": 0.0, "oversize": 0.0})
        frame = self._spec.frame
        return written_box(from_raw(view, raw, frame), extent(view, frame), tight, random.Random(0))

    def point(self, queries: int, rng: np.random.Generator) -> Lesson:
        """A page, or half of the time a part of one, in which print is larger; and up to `queries` words and (on whole
        pages) sought values in it to point at, one after the other.
        """
        while True:
            page = _pick(self._pointable, rng)
            whole = rng.random() < 0.5
            view = page_view(page, self._spec) if whole else self._part(page, rng)
            asked = self._zooms(page, view, queries // 2, rng) if whole else []
            asked += self._finds(page, view, queries - len(asked), rng)
            if asked:
                asked = _some(asked, len(asked), rng)
                return Lesson(self._pointing(view, asked), tuple(query.split()[0] for query, _ in asked))

    def _part(self, page: Page, rng: np.random.Generator) -> View:
        """A quarter to four fifths of the page's width and height, with a label in it where there is one."""
        share = rng.uniform(0.25, 0.8)
        width, height = share * page.width, share * page.height
        words = self._words[page.id]
        near = _pick([w for w in words if w.text in self._labels] or words, rng).box
        left = min(max(near.x1 - rng.random() * (width - near.width), 0.0), page.width - width)
        top = min(max(near.y1 - rng.random() * (height - near.height), 0.0), page.height - height)
        return self._region_view(page, Box(x1=int(left), y1=int(top), x2=int(left + width), y2=int(top + height)))

    def _zooms(self, page: Page, view: View, most: int, rng: np.random.Generator) -> list[tuple[str, Box]]:
        chosen = _some(self._sought[page.id], most, rng)
        return [(f"zoom in on {sought.name}", self._box(sought.box, view, rng)) for sought in chosen]

    def _finds(self, page: Page, view: View, most: int, rng: np.random.Generator) -> list[tuple[str, Box]]:
        chosen = _some(self._found(page, view), most, rng)
        return [(f"find {word.text}", self._word_box(word.box, view)) for word in chosen]

    def _found(self, page: Page, view: View) -> list[Word]:
        """The labels that can be read in `view`, each text once in it."""
        inside = [w for w in self._words[page.id] if _overlap(w.box, view.region) > 0.99 and self._is_label(w, view)]
        texts = [w.text for w in inside]
        return [w for w in inside if texts.count(w.text) == 1]

    def _is_label(self, word: Word, view: View) -> bool:
        """Whether a question is found by `word` (without questions, by any), and it can be read in `view`."""
        large = word.box.height * view.height >= SEEN * view.region.height
        return large and (word.text in self._labels or not self._labels)

    def _pointing(self, view: View, asked: Sequence[tuple[str, Box]]) -> Tokens:
        first, image = asked[0][0], ImagePart(self._renderer.image(view), view)
        tokens = self._opening([first, image])  # the question first, as in an episode
        for number, (query, box) in enumerate(asked):
            if number:
                self._ask(tokens, query)
            self._say(tokens, write(Crop(box=box)))
        return tokens

    def _opening(self, parts: list[str | ImagePart]) -> Tokens:
        prompt = self._codec.prompt([Message("user", parts)])
        return Tokens(prompt.ids, images=list(prompt.images))

    def _ask(self, tokens: Tokens, query: str) -> None:
        tokens.add_observed(self._codec.observe([Message("user", [query])], closed=True).ids, [])

    def _say(self, tokens: Tokens, text: str) -> None:
        ids = self._codec.encode_sampled(text)
        tokens.add_sampled(ids, [0.0] * len(ids))


def _class_of(text: str) -> Class:
    if text.isdigit():
        return "number"
    return "code" if any(c.isdigit() for c in text) else "word"


def _pick(items: Sequence[T], rng: np.random.Generator) -> T:
    return items[int(rng.integers(len(items)))]


def _some(items: Sequence[T], most: int, rng: np.random.Generator) -> list[T]:
    """Up to `most` of `items`, in random order."""
    return [items[int(i)] for i in rng.permutation(len(items))[:most]]


def reading_region(word: Box, page: Page, span: float, level: float, rng: np.random.Generator) -> Box:
    """A region (whole raw pixels) that holds the word, up to 3.5 + `span` of its heights wide. At level 0 the word is
    in the middle; at level 1 it stands anywhere.
    """
    height = max(word.height, 4.0)
    width = max(word.width * 1.25, height * (3.5 + span * rng.random()))
    tall = max(width * 2.0 ** (-1.0 + level * rng.uniform(0.0, 1.3)), height * 1.3)
    slack_x, slack_y = width - word.width, tall - word.height
    left = word.x1 - slack_x * (0.5 + level * rng.uniform(-0.48, 0.48))
    top = word.y1 - slack_y * (0.5 + level * rng.uniform(-0.45, 0.45))
    left, top = min(max(left, 0.0), page.width - 8.0), min(max(top, 0.0), page.height - 8.0)
    right, bottom = min(int(left + width) + 1, page.width), min(int(top + tall) + 1, page.height)
    return Box(x1=int(left), y1=int(top), x2=right, y2=bottom)


def text_inside(words: Sequence[Word], region: Box) -> str:
    """The words that lie in `region` by at least 70 % of their area, in reading order; "" when a word is cut
    through (30 to 70 % inside): such a crop has no clear transcription.
    """
    kept: list[str] = []
    for word in words:
        share = _overlap(word.box, region)
        if share >= 0.7:
            kept.append(word.text)
        elif share > 0.3:
            return ""
    return " ".join(kept)


def _overlap(word: Box, region: Box) -> float:
    """The share of `word` that lies in `region`."""
    across = max(0.0, min(word.x2, region.x2) - max(word.x1, region.x1))
    down = max(0.0, min(word.y2, region.y2) - max(word.y1, region.y1))
    return across * down / max(word.width * word.height, 1e-6)
