"""Lessons for a language model whose tower can see: point at what is sought, and say what a crop shows.

They are the turns of an episode that depend on pixels, in an episode's own words, without the rest: a page is
looked at once for several boxes, so that a box costs a fifth of what it costs in a trajectory. A crop may have missed,
and is drawn again; the box that missed is given, not taught. What question and image decide is trained on: what to zoom
in on, the box, the answer or the next search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from PIL.Image import Image

from vrag.actions import render as write
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.glances import Glance, corner, echoes, spelled, where
from vrag.data.kinds import ByKind
from vrag.data.names import renamed
from vrag.data.patches import PatchReader, Sought
from vrag.data.sights import Sight, sought_on
from vrag.episode import Tokens
from vrag.errors import DataError
from vrag.geometry import ViewSpec, block_at, crop_view, page_view
from vrag.policies.expert import AGAIN, TRIES, ZOOM, answered, bridged, hops, searched, zoomed
from vrag.prompts import PROMPTS
from vrag.types import Action, Box, ImagePart, Message, Page, Task, View
from vrag.views import ViewRenderer


@dataclass(frozen=True)
class Lesson:
    """What to say, and where to look for it: at a word of the question, or at the image token that shows the value.
    `reads`: a value is read off a crop. `bridge`: it is what the next search asks for, not the answer.
    """

    tokens: Tokens
    glances: tuple[Glance, ...] = ()
    reads: bool = False
    bridge: bool = False


class PageLessons:
    """Draws lessons about the values that `tasks` seek on `pages`, evenly from the kinds of pages that `kinds` tells
    apart (page id to kind). Raises `DataError` when there are none.
    """

    def __init__(
        self,
        pages: Sequence[Page],
        tasks: Sequence[Task],
        codec: QwenVLCodec,
        reader: PatchReader,
        spec: ViewSpec,
        renderer: ViewRenderer,
        *,
        kinds: Mapping[str, str] = MappingProxyType({}),
        prompt: str = "brief-v1",
    ) -> None:
        self._prompt, self._asked = prompt, _asked(tasks)
        self._codec, self._reader, self._spec, self._renderer = codec, reader, spec, renderer
        self._zoomed, self._zoomed_again = (len(codec.encode_text(f"<think>{said}")) for said in (ZOOM, AGAIN))
        self._thought = len(codec.encode_text("<think>"))
        self._box_tag = codec.encode_text("<bbox>")
        self._sought, self._by_id = sought_on(pages, tasks), {page.id: page for page in pages}
        self._pages = ByKind((kinds.get(page.id, ""), page) for page in pages if self._sought[page.id])
        if not self._pages:
            raise DataError("no task seeks anything on these pages; lessons need gold pages with boxes")
        self._bridges = ByKind(
            (kinds.get(page.id, ""), (page, one))
            for page in pages
            for one in self._sought[page.id]
            if self._leads(page, one)
        )

    def point(self, queries: int, rng: np.random.Generator) -> Lesson:
        """A page, and the boxes of up to `queries` of its values."""
        page = self._pages.draw(1, rng)[0]
        view = page_view(page, self._spec)
        return self._pointing(page, view, self._renderer.image(view), self._sought[page.id], queries, rng)

    def about(self, sight: Sight, queries: int, rng: np.random.Generator) -> Lesson | None:
        """What to say of a page as `sight` shows it, or of its crop of a value; None if nothing is sought there."""
        cut = sight.cut
        if not cut.sought:
            return None
        page = self._by_id[cut.view.page_id]
        if cut.kind == "page":
            return self._pointing(page, cut.view, sight.image, cut.sought, queries, rng)
        return self._read_alone(page, cut.sought[0], cut.view, sight.image, rng)

    def _pointing(
        self, page: Page, view: View, image: Image, sought: Sequence[Sought], queries: int, rng: np.random.Generator
    ) -> Lesson:
        chosen = [(one, self._ask(page, one, rng)) for one in _some(sought, queries, rng)]
        task, hop = chosen[0][1]
        tokens = self._opened(task, hop, view, image)
        question, glances = (0, len(tokens.prompt_ids)), list[Glance]()
        for number, (one, (task, _)) in enumerate(chosen):
            if number:
                before = len(tokens.ids)
                tokens.add_observed(self._codec.observe([self._question(task)], closed=True).ids, [])
                question = before, len(tokens.ids)
            turn = say(tokens, self._codec, *zoomed(one.name, self._reader.value_box(view, one.box)))
            glances += self._pointed(tokens, turn, self._zoomed, question, view, one)
        return Lesson(tokens, tuple(glances))

    def read(self, rng: np.random.Generator) -> Lesson:
        """Any value as an agent crops it, and what the expert says then."""
        page = self._pages.draw(1, rng)[0]
        return self._cropped(page, _some(self._sought[page.id], 1, rng)[0], rng)

    def bridge(self, rng: np.random.Generator) -> Lesson:
        """The same of a value that the next search asks for, since these are few and one wrong letter finds nothing;
        of any value where no task has two hops.
        """
        return self._cropped(*self._bridges.draw(1, rng)[0], rng) if self._bridges else self.read(rng)

    def check(self, rng: np.random.Generator) -> Lesson:
        """A page and a crop of it, as an agent draws it. Half of the time it misses what is sought, and the right box
        is asked for, which an environment lets draw whose `crops_of` is "page"; else it is read.
        """
        page = self._pages.draw(1, rng)[0]
        view, one = page_view(page, self._spec), _some(self._sought[page.id], 1, rng)[0]
        task, hop = self._ask(page, one, rng)
        tokens = self._opened(task, hop, view, self._renderer.image(view))
        missed = self._missed(page, view, one, rng) if rng.random() < 0.5 else None
        if missed is None:
            box = self._reader.checked_box(view, one.box)
            crop = crop_view(page, view, box, self._spec)
            before = len(tokens.ids)
            lesson = self._reading(tokens, task, hop, one, box, crop, self._renderer.image(crop))
            return self._decided(lesson, before, crop, one)
        box, crop = missed
        self._given(tokens, *zoomed(one.name, box))
        self._shown(tokens, crop, self._renderer.image(crop))
        turn = say(tokens, self._codec, *zoomed(one.name, self._reader.value_box(view, one.box), AGAIN))
        asked = 0, len(tokens.prompt_ids)
        lesson = Lesson(tokens, tuple(self._pointed(tokens, turn, self._zoomed_again, asked, view, one)))
        return self._decided(lesson, 0, view, one)

    def _decided(self, lesson: Lesson, before: int, view: View, one: Sought) -> Lesson:
        """Told also where to look before the first word, which says whether the crop holds the value: at where it is
        seen, in the crop or else on the page. Its image, of `view`, is the first after `before`.
        """
        ids, first = lesson.tokens.ids, lesson.tokens.sampled_runs()[0][0] + self._thought
        target = ids.index(self._codec.image_pad_id, before) + block_at(view, one.box, self._spec.factor)
        return replace(lesson, glances=(Glance.writing(first, first + 1, target), *lesson.glances))

    def _opened(self, task: Task, hop: int, view: View, image: Image) -> Tokens:
        """The question, the search of a hop, and the page that it found."""
        tokens = Tokens(self._codec.prompt([self._question(task)]).ids)
        self._given(tokens, *searched(hops(task)[hop].query))
        self._shown(tokens, view, image)
        return tokens

    def _missed(self, page: Page, view: View, one: Sought, rng: np.random.Generator) -> tuple[Box, View] | None:
        """A box that misses `one`, and what it shows: no value as a whole. None where values fill the page."""
        for _ in range(TRIES):
            box = self._reader.missed_box(view, one.box, rng)
            crop = crop_view(page, view, box, self._spec)
            if not any(crop.region.holds(other.box) for other in self._sought[page.id]):
                return box, crop
        return None

    def _pointed(
        self, tokens: Tokens, turn: tuple[int, int], lead: int, question: tuple[int, int], view: View, one: Sought
    ) -> Iterator[Glance]:
        """What a `turn` that crops `one` looks up: after its first `lead` tokens the name in the question, and where
        it stands on the page of `view`, the first image.
        """
        box = where(tokens.ids, self._box_tag, turn)
        assert box is not None, "a crop is written with its tag"
        yield from echoes(tokens.ids, question, (turn[0] + lead, box), self._codec.token_text)
        target = tokens.ids.index(self._codec.image_pad_id) + block_at(view, one.box, self._spec.factor)
        yield Glance.writing(box, corner(tokens.ids, box, turn[1], self._codec.token_text), target)

    def _cropped(self, page: Page, one: Sought, rng: np.random.Generator) -> Lesson:
        crop = self._reader.value_crop(page, one.box)
        return self._read_alone(page, one, crop, self._renderer.image(crop), rng)

    def _read_alone(self, page: Page, one: Sought, crop: View, image: Image, rng: np.random.Generator) -> Lesson:
        """A crop without its page, which costs half of one with it."""
        task, hop = self._ask(page, one, rng)
        tokens = Tokens(self._codec.prompt([self._question(task)]).ids)
        box = self._reader.agent_box(page_view(page, self._spec), one.box)
        return self._reading(tokens, task, hop, one, box, crop, image)

    def _reading(self, tokens: Tokens, task: Task, hop: int, one: Sought, box: Box, crop: View, image: Image) -> Lesson:
        """After `tokens`, the `crop` that `box` asks for and what the expert says of it."""
        self._given(tokens, *zoomed(one.name, box))
        before = len(tokens.ids)
        self._shown(tokens, crop, image)
        pads = tokens.ids.index(self._codec.image_pad_id, before)
        planned = hops(task)
        if hop + 1 == len(planned):
            turn = say(tokens, self._codec, *answered(task))
            return Lesson(tokens, tuple(self._read(tokens, turn, task.answers[0], crop, one.box, pads)), reads=True)
        query = planned[hop + 1].query
        turn = say(tokens, self._codec, *bridged(task, *searched(query)))
        read = self._read(tokens, turn, str(task.meta.get("bridge") or ""), crop, one.box, pads)
        return Lesson(tokens, (*read, *self._asked_for(tokens, turn, query)), reads=True, bridge=True)

    def _asked_for(self, tokens: Tokens, turn: tuple[int, int], query: str) -> Iterator[Glance]:
        """What the next search takes from the question: without being told, no lesson learned which metric that is."""
        wanted = set(query.casefold().split())
        for glance in echoes(tokens.ids, (0, len(tokens.prompt_ids)), turn, self._codec.token_text):
            said = self._codec.decode(tokens.ids[glance.start + 1 : glance.end + 1])
            if wanted & set(said.casefold().split()):
                yield glance

    def _read(
        self, tokens: Tokens, turn: tuple[int, int], value: str, crop: View, box: Box, pads: int
    ) -> Iterator[Glance]:
        """Each piece of a value is read where it is printed: a value of two digits is wider than a block. `pads`: where
        the image of `crop` starts.
        """
        for place, share in spelled(tokens.ids, turn, value, self._codec.token_text):
            x = box.x1 + share * box.width
            block = block_at(crop, Box(x1=x, y1=box.y1, x2=x, y2=box.y2), self._spec.factor)
            yield Glance.writing(place, place + 1, pads + block)

    def _ask(self, page: Page, one: Sought, rng: np.random.Generator) -> tuple[Task, int]:
        """A task that seeks this value, about a random name, for its own would tell the value to who has learned the
        pages by heart; and the number of the hop that seeks it.
        """
        asked = self._asked[page.ref, one.name]
        task, hop = asked[int(rng.integers(len(asked)))]
        return renamed(task, rng), hop

    def _leads(self, page: Page, one: Sought) -> bool:
        """Whether a task reads this value for its next search."""
        return any(hop + 1 < len(task.gold) for task, hop in self._asked[page.ref, one.name])

    def _question(self, task: Task) -> Message:
        return Message("user", [PROMPTS[self._prompt].text(task.question)])

    def _given(self, tokens: Tokens, thought: str, action: Action) -> None:
        tokens.add_observed(self._codec.encode_text(write(action, thought)), [])

    def _shown(self, tokens: Tokens, view: View, image: Image) -> None:
        shown = self._codec.observe([Message("user", [ImagePart(image, view)])], closed=False)
        tokens.add_observed(shown.ids, list(shown.images))


def say(tokens: Tokens, codec: QwenVLCodec, thought: str, action: Action) -> tuple[int, int]:
    """Add a turn to be trained on; returns where it starts and ends (exclusive)."""
    start, ids = len(tokens.ids), codec.encode_sampled(write(action, thought))
    tokens.add_sampled(ids, [0.0] * len(ids))
    return start, start + len(ids)


def _some(sought: Sequence[Sought], count: int, rng: np.random.Generator) -> list[Sought]:
    return [sought[int(place)] for place in rng.permutation(len(sought))[:count]]


def _asked(tasks: Sequence[Task]) -> dict[tuple[object, str], list[tuple[Task, int]]]:
    """Tasks and hops by page and name."""
    found: dict[tuple[object, str], list[tuple[Task, int]]] = {}
    for task in tasks:
        for number, hop in enumerate(hops(task)):
            found.setdefault((hop.gold.ref, hop.sought), []).append((task, number))
    return found
