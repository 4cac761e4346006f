"""Lessons for a language model whose tower can see: point at what is sought, read what a crop shows.

They are the two turns of an episode that depend on pixels, in an episode's own words, without the rest: a page is
looked at once for several boxes, so that a box costs a fifth of what it costs in a trajectory. Only what the page
decides is trained on: the box, the text.
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
from vrag.geometry import ViewSpec, block_at, crop_view, page_view
from vrag.policies.expert import hops
from vrag.types import Crop, ImagePart, Message, Page, Task, View
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
    ) -> None:
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
        tokens = self._shown(view)
        pads = tokens.ids.index(self._codec.image_pad_id)
        pointed: list[Pointed] = []
        for number, place in enumerate(rng.permutation(len(sought))[:queries]):
            one = sought[int(place)]
            if number:
                tokens.add_observed(self._codec.observe([Message("user", ["next"])], closed=True).ids, [])
            self._given(tokens, f"<think>zoom in on {one.name}</think>")
            start = len(tokens.ids)
            self._said(tokens, self._codec.encode_sampled(write(Crop(box=self._reader.value_box(view, one.box)))))
            pointed.append(Pointed(start, len(tokens.ids), pads + block_at(view, one.box, self._spec.factor)))
        return Lesson(tokens, tuple(pointed))

    def read(self, rng: np.random.Generator) -> Lesson:
        """A value as the expert crops it, and what it says."""
        page, one = self._values[int(rng.integers(len(self._values)))]
        view = page_view(page, self._spec)
        tokens = self._shown(crop_view(page, view, self._reader.value_box(view, one.box), self._spec))
        self._given(tokens, "<think>it is")
        self._said(tokens, self._codec.encode_text(f" {self._texts[page.ref, one.name]}"))
        return Lesson(tokens)

    def _shown(self, view: View) -> Tokens:
        prompt = self._codec.prompt([Message("user", [ImagePart(self._renderer.image(view), view)])])
        return Tokens(prompt.ids, images=list(prompt.images))

    def _given(self, tokens: Tokens, text: str) -> None:
        tokens.add_observed(self._codec.encode_text(text), [])

    def _said(self, tokens: Tokens, ids: list[int]) -> None:
        tokens.add_sampled(ids, [0.0] * len(ids))


def _texts(tasks: Sequence[Task]) -> dict[tuple[object, str], str]:
    """What stands where: by page and name."""
    found: dict[tuple[object, str], str] = {}
    for task in tasks:
        for hop in hops(task):
            last = hop.gold is task.gold[-1]
            found[hop.gold.ref, hop.sought] = task.answers[0] if last else str(task.meta["bridge"])
    return found
