"""Lessons for a language model whose tower can see: point at what is sought, read what a crop shows.

They are the two turns of an episode that depend on pixels, in an episode's own words, without the rest: a page is
looked at once for several boxes, so that a box costs a fifth of what it costs in a trajectory. What question and page
decide is trained on: what to zoom in on, the box, the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vrag.actions import render as write
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.patches import PatchReader
from vrag.data.sights import sought_on
from vrag.episode import Tokens
from vrag.errors import DataError
from vrag.geometry import ViewSpec, block_at, page_view
from vrag.policies.expert import hops
from vrag.prompts import PROMPTS
from vrag.types import Crop, ImagePart, Message, Page, Search, Task, View
from vrag.views import ViewRenderer


@dataclass(frozen=True)
class Pointed:
    """The sampled positions `start` to `end` write the box of a value that the image token at `target` shows."""

    start: int
    end: int
    target: int


@dataclass(frozen=True)
class Lesson:
    """`pointed`: one for each box that is asked for; none in a lesson of reading."""

    tokens: Tokens
    pointed: tuple[Pointed, ...] = ()


class PageLessons:
    """Draws lessons about the values that `tasks` seek on `pages`. Raises `DataError` when there are none."""

    def __init__(
        self,
        pages: Sequence[Page],
        tasks: Sequence[Task],
        codec: QwenVLCodec,
        reader: PatchReader,
        spec: ViewSpec,
        renderer: ViewRenderer,
        prompt: str = "brief-v1",
    ) -> None:
        self._prompt, self._asked = prompt, _asked(tasks)
        self._codec, self._reader, self._spec, self._renderer = codec, reader, spec, renderer
        self._sought = sought_on(pages, tasks)
        self._pages = [page for page in pages if self._sought[page.id]]
        self._values = [(page, one) for page in self._pages for one in self._sought[page.id]]
        self._texts = _texts(tasks)
        if not self._pages:
            raise DataError("no task seeks anything on these pages; lessons need gold pages with boxes")

    def point(self, queries: int, rng: np.random.Generator) -> Lesson:
        """A page, and the boxes of up to `queries` of its values."""
        page = self._pages[int(rng.integers(len(self._pages)))]
        view = page_view(page, self._spec)
        sought = self._sought[page.id]
        chosen = [sought[int(place)] for place in rng.permutation(len(sought))[:queries]]
        asked = [self._asked[page.ref, one.name] for one in chosen]
        drawn = [every[int(rng.integers(len(every)))] for every in asked]
        tokens = self._searched(*drawn[0], view)
        pads = tokens.ids.index(self._codec.image_pad_id)
        pointed: list[Pointed] = []
        for number, (one, (question, _)) in enumerate(zip(chosen, drawn, strict=True)):
            if number:
                tokens.add_observed(self._codec.observe([self._question(question)], closed=True).ids, [])
            self._said(tokens, self._codec.encode_text(f"<think>zoom in on {one.name}</think>"))
            start = len(tokens.ids)
            self._said(tokens, self._codec.encode_sampled(write(Crop(box=self._reader.value_box(view, one.box)))))
            pointed.append(Pointed(start, len(tokens.ids), pads + block_at(view, one.box, self._spec.factor)))
        return Lesson(tokens, tuple(pointed))

    def read(self, rng: np.random.Generator) -> Lesson:
        """A value as the expert crops it, and what it says."""
        page, one = self._values[int(rng.integers(len(self._values)))]
        tokens = self._shown(self._reader.value_crop(page, one.box))
        self._given(tokens, "<think>it is")
        self._said(tokens, self._codec.encode_text(f" {self._texts[page.ref, one.name]}"))
        return Lesson(tokens)

    def _question(self, question: str) -> Message:
        return Message("user", [PROMPTS[self._prompt].text(question)])

    def _searched(self, question: str, query: str, view: View) -> Tokens:
        """An episode up to the page that its search found; given, not trained on."""
        tokens = Tokens(self._codec.prompt([self._question(question)]).ids)
        self._given(tokens, write(Search(query=query), f"find {query}"))
        page = self._codec.observe([Message("user", [ImagePart(self._renderer.image(view), view)])], closed=False)
        tokens.add_observed(page.ids, list(page.images))
        return tokens

    def _shown(self, view: View) -> Tokens:
        prompt = self._codec.prompt([Message("user", [ImagePart(self._renderer.image(view), view)])])
        return Tokens(prompt.ids, images=list(prompt.images))

    def _given(self, tokens: Tokens, text: str) -> None:
        tokens.add_observed(self._codec.encode_text(text), [])

    def _said(self, tokens: Tokens, ids: list[int]) -> None:
        tokens.add_sampled(ids, [0.0] * len(ids))


def _asked(tasks: Sequence[Task]) -> dict[tuple[object, str], list[tuple[str, str]]]:
    """Questions, with the query that finds the page: by page and name."""
    found: dict[tuple[object, str], list[tuple[str, str]]] = {}
    for task in tasks:
        for hop in hops(task):
            found.setdefault((hop.gold.ref, hop.sought), []).append((task.question, hop.query))
    return found


def _texts(tasks: Sequence[Task]) -> dict[tuple[object, str], str]:
    """What stands where: by page and name."""
    found: dict[tuple[object, str], str] = {}
    for task in tasks:
        for hop in hops(task):
            last = hop.gold is task.gold[-1]
            found[hop.gold.ref, hop.sought] = task.answers[0] if last else str(task.meta["bridge"])
    return found
