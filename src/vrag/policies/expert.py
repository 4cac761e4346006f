"""The scripted expert: knows the gold page and box of a task and writes the trajectories that SFT learns
from.

It needs no API and no model, in place of the paper's planner and grounder (section 3.3). Its faults are
dials: queries that name only half of what is sought, boxes that are too large, answers without a crop. They
leave RL something to improve.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from pydantic import Field, model_validator

from vrag.actions import render
from vrag.errors import DataError
from vrag.geometry import ViewSpec, extent, from_raw, to_raw
from vrag.policies.extractive import NOTHING
from vrag.policies.terms import content_words
from vrag.protocols import PageStore
from vrag.types import (
    Action,
    Answer,
    Box,
    Crop,
    Evidence,
    Frozen,
    ImagePart,
    Message,
    Request,
    Sample,
    Search,
    Task,
    View,
)

ZOOM = "zoom in on"  # begins the thought before a crop
AGAIN = f"no; {ZOOM}"  # and before one that follows a crop that missed
MISSED = 0.25  # of a box's size, by which an agent's box lies beside the expert's
ASTRAY = (0.4, 1.3)  # the same of a box that misses
TRIES = 32  # boxes to draw until one misses


class ExpertStyle(Frozen):
    """How the expert plays. Probabilities are per hop; lengths are in units of the written frame.

    `full_query`, `entity_only` and `metric_only` are weights of the first query of a hop; a search that
    missed is repeated with the full query. The box is the gold box grown by `box_margin` of its own size on
    each side, at least `box_min` long, each edge moved by up to `box_jitter` of its size, and snapped
    outwards to multiples of `box_snap`. With probability `oversize` it is `oversize_factor` times as long
    as that; with probability `guess` the crop is left out. With probability `miss` a crop first misses the gold box
    and is then drawn again over the page, which an environment allows whose `crops_of` is "page". `max_searches`
    bounds the searches of one hop.
    """

    full_query: float = Field(default=1.0, ge=0)
    entity_only: float = Field(default=0.0, ge=0)
    metric_only: float = Field(default=0.0, ge=0)
    box_margin: float = Field(default=0.25, ge=0)
    box_min: int = Field(default=28, ge=1)
    box_jitter: float = Field(default=0.0, ge=0)
    box_snap: int = Field(default=1, ge=1)
    oversize: float = Field(default=0.0, ge=0, le=1)
    oversize_factor: float = Field(default=3.0, ge=1)
    guess: float = Field(default=0.0, ge=0, le=1)
    miss: float = Field(default=0.0, ge=0, le=1)
    thoughts: bool = True
    max_searches: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _some_query(self) -> ExpertStyle:
        if self.full_query + self.entity_only + self.metric_only <= 0:
            raise ValueError("one of full_query, entity_only and metric_only must be above 0")
        return self


@dataclass(frozen=True)
class Hop:
    """What one hop looks for: the gold evidence, the full query and its two halves, and what to zoom in on."""

    gold: Evidence
    query: str
    entity: str
    metric: str
    sought: str


class ExpertPolicy:
    """Plays one task once: make one per episode. Its choices depend on `rng` and the task alone.

    Raises `DataError` for a task without gold pages or answers.
    """

    def __init__(self, task: Task, store: PageStore, spec: ViewSpec, style: ExpertStyle, rng: random.Random) -> None:
        if not can_play(task):
            raise DataError(f"task {task.id} has no gold page or no answer; the expert needs both")
        self._task, self._store, self._spec, self._style, self._rng = task, store, spec, style, rng
        self._hops = hops(task)
        self._hop = 0
        self._searches = 0  # of this hop
        self._cropped = False
        self._page: View | None = None  # over which a crop that missed is drawn again

    async def generate(self, request: Request) -> Sample:
        thought, action = self._act(_last_view(request.messages))
        text = render(action, thought if self._style.thoughts else "")
        return Sample(text=text, finish="stop")

    def close(self, session: str) -> None:
        """Nothing to free: the state is that of the one episode."""

    def _act(self, view: View | None) -> tuple[str, Action]:
        """The next thought and action; `view` is what the last message shows, if it shows an image."""
        if view is None or self._searches == 0:
            return self._search()
        hop = self._hops[self._hop]
        if view.ref != hop.gold.ref:
            return self._search()
        if self._page is not None:
            return self._again(hop, self._page)
        box = self._gold_box(hop.gold, view)
        if box is not None and not self._cropped and self._rng.random() >= self._style.guess:
            self._cropped = True
            written = self._written_box(box, view)
            missed = self._missed(written, box, view)
            if missed is not None:
                self._page = view
            return zoomed(hop.sought, missed or written)
        return self._next_hop()

    def _again(self, hop: Hop, page: View) -> tuple[str, Action]:
        """The crop that missed, drawn right."""
        box, self._page = self._gold_box(hop.gold, page), None
        assert box is not None, "there was one when it was missed"
        return zoomed(hop.sought, self._written_box(box, page), AGAIN)

    def _missed(self, written: Box, gold: Box, view: View) -> Box | None:
        """With probability `miss` a box that doesn't show all of `gold` (raw pixels), where there is one."""
        if not self._style.miss or self._rng.random() >= self._style.miss:
            return None
        size, rng = extent(view, self._spec.frame), np.random.default_rng(self._rng.getrandbits(64))
        drawn = (missed_box(written, size, self._style.box_snap, rng) for _ in range(TRIES))
        return next((box for box in drawn if not to_raw(view, box, self._spec.frame).holds(gold)), None)

    def _next_hop(self) -> tuple[str, Action]:
        if self._hop + 1 == len(self._hops):
            return answered(self._task)
        self._hop, self._searches, self._cropped = self._hop + 1, 0, False
        return bridged(self._task, *self._search())

    def _search(self) -> tuple[str, Action]:
        if self._searches >= self._style.max_searches:
            return "nothing fits", Answer(text=NOTHING)
        hop = self._hops[self._hop]
        query = hop.query if self._searches else self._first_query(hop)
        self._searches += 1
        return searched(query)

    def _first_query(self, hop: Hop) -> str:
        style = self._style
        weights = [style.full_query, style.entity_only, style.metric_only]
        return self._rng.choices([hop.query, hop.entity, hop.metric], weights)[0]

    def _gold_box(self, gold: Evidence, view: View) -> Box | None:
        """Raw pixels."""
        page = self._store.page(view.page_id)
        return gold.box.scaled(page.width, page.height) if gold.box else None

    def _written_box(self, raw: Box, view: View) -> Box:
        return written_box(
            from_raw(view, raw, self._spec.frame), extent(view, self._spec.frame), self._style, self._rng
        )


def searched(query: str) -> tuple[str, Action]:
    """Thought and action of a search."""
    return f"find {query}", Search(query=query)


def zoomed(sought: str, box: Box, lead: str = ZOOM) -> tuple[str, Action]:
    """Thought and action of a crop; `lead` is `AGAIN` after one that missed."""
    return f"{lead} {sought}", Crop(box=box)


def answered(task: Task) -> tuple[str, Action]:
    """Thought and action once the last hop is read."""
    return f"it is {task.answers[0]}", Answer(text=task.answers[0])


def bridged(task: Task, thought: str, action: Action) -> tuple[str, Action]:
    """A search once a hop before the last is read: the thought also says what was read, if the task tells."""
    bridge = task.meta.get("bridge")
    return (f"it is {bridge}; {thought}" if bridge else thought), action


def written_box(exact: Box, size: tuple[int, int], style: ExpertStyle, rng: random.Random) -> Box:
    """The box that the expert writes for what lies at `exact`, as `style` has it: whole numbers of the written
    frame inside a view of `size` (width, height).
    """
    large = style.oversize_factor if rng.random() < style.oversize else 1.0
    x1, x2 = _edges(exact.x1, exact.x2, large, size[0], style, rng)
    y1, y2 = _edges(exact.y1, exact.y2, large, size[1], style, rng)
    return Box(x1=x1, y1=y1, x2=x2, y2=y2)


def _edges(
    low: float, high: float, large: float, limit: int, style: ExpertStyle, rng: random.Random
) -> tuple[int, int]:
    size = high - low
    length = max(size * (1 + 2 * style.box_margin), style.box_min) * large
    middle = (low + high) / 2
    start = middle - length / 2 + rng.uniform(-1, 1) * style.box_jitter * size
    end = middle + length / 2 + rng.uniform(-1, 1) * style.box_jitter * size
    snap = style.box_snap
    first = min(max(int(start // snap) * snap, 0), (limit - 1) // snap * snap)
    last = min(-int(-end // snap) * snap, limit)
    return first, max(last, min(first + snap, limit))


def missed_box(box: Box, size: tuple[int, int], snap: int, rng: np.random.Generator) -> Box:
    """What an agent writes that misses what `box` shows, of the same lengths inside a view of `size` (width, height):
    half of the time beside it, by `ASTRAY` of the box's size along one axis, else anywhere; snapped to multiples of
    `snap`. A part, or by chance the whole, may still be in it.
    """
    lengths, corner = (box.width, box.height), np.array([box.x1, box.y1])
    if rng.random() < 0.5:
        shifts = rng.uniform(-MISSED, MISSED, size=2)
        shifts[rng.integers(2)] = rng.choice([-1, 1]) * rng.uniform(*ASTRAY)
        corner = corner + shifts * lengths
    else:
        corner = rng.random(2) * size
    corner = (corner / snap).round() * snap
    x1, y1 = (within(low, limit - side) for low, limit, side in zip(corner, size, lengths, strict=True))
    return Box(x1=x1, y1=y1, x2=x1 + box.width, y2=y1 + box.height)


def within(low: float, highest: float) -> int:
    """Rounded, from 0 to `highest`."""
    return round(min(max(low, 0), highest))


def can_play(task: Task) -> bool:
    """Whether a task has what the expert knows: gold pages and answers."""
    return bool(task.gold and task.answers)


def hops(task: Task) -> list[Hop]:
    """One hop for each gold page; the queries are the task's own (`meta["queries"]`) or the question's
    words. What stands in `meta` in another form is somebody else's column and means nothing here.
    """
    meta = {name: value for name, value in task.meta.items() if isinstance(value, str)}
    words = " ".join(content_words(task.question)) or task.question
    listed = task.meta.get("queries")
    queries = [query for query in listed if isinstance(query, str)] if isinstance(listed, list) else []
    last = len(task.gold) - 1
    found: list[Hop] = []
    for i, gold in enumerate(task.gold):
        query = queries[i] if i < len(queries) else words
        linked = i > 0 and {"site", "bridge"} <= meta.keys()
        entity = f"{meta['site']} {meta['bridge']}" if linked else meta.get("entity", query)
        metric = meta.get("metric", query) if i == last else meta.get("site") or query
        category = meta.get("category") if i == last else None
        found.append(Hop(gold, query, entity, metric.lower(), f"{metric} {category}" if category else metric))
    return found


def _last_view(messages: list[Message]) -> View | None:
    parts = messages[-1].parts
    return next((part.view for part in reversed(parts) if isinstance(part, ImagePart)), None)
