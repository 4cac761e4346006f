"""Which finished episodes a pupil shall not learn from: pure functions of an episode, boxes in raw pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import Field, model_validator

from vrag.environment import CropsOf, EnvironmentConfig, croppable
from vrag.episode import Episode
from vrag.geometry import extent, to_raw
from vrag.rewards.retrieval import shown_pages
from vrag.types import Box, Crop, Frozen, Turn, View


class Filters(Frozen):
    """What an episode must be to be accepted. The defaults are the paper's where it gives them (FACTS: SFT data).

    Steps are turns, the answer among them. Sizes are in raw pixels, those of a crop as it was drawn, before the
    environment widens it; its share is that of the image that was cropped. None: no limit.
    """

    right: bool = True  # the judge says so, or without one the rules
    gold: bool = True  # every gold page was shown
    min_steps: int = Field(default=2, ge=1)
    max_steps: int = Field(default=6, ge=1)
    min_page_pixels: int = Field(default=0, ge=0)
    max_page_pixels: int | None = Field(default=None, ge=1)
    min_crop_side: float = Field(default=8, ge=0)
    max_crop_share: float = Field(default=0.9, gt=0, le=1)

    @model_validator(mode="after")
    def _lets_something_pass(self) -> Filters:
        if self.min_steps > self.max_steps:
            raise ValueError(f"min_steps {self.min_steps} is above max_steps {self.max_steps}")
        if self.max_page_pixels is not None and self.min_page_pixels > self.max_page_pixels:
            raise ValueError(f"min_page_pixels {self.min_page_pixels} is above max_page_pixels {self.max_page_pixels}")
        return self


class Refusal(NamedTuple):
    """A `reason` that is counted, and what it was in words."""

    reason: str
    detail: str


def refusal(episode: Episode, filters: Filters, environment: EnvironmentConfig) -> Refusal | None:
    """Why an episode is not to be learned from, by all but its answer; None if it may be. `environment` is what its
    boxes are written for.
    """
    checks = (_invalid(episode), _steps(episode, filters), _gold(episode, filters), _pages(episode, filters))
    return next((found for found in (*checks, _crops(episode, filters, environment)) if found), None)


def wrong(episode: Episode) -> Refusal | None:
    """Whether the answer of a scored episode is not right."""
    if episode.reward is not None and episode.reward.parts["answer"] == 1:
        return None
    return Refusal("wrong answer", f"{(episode.answer or '')[:200]!r}, gold {episode.task.answers}")


def _invalid(episode: Episode) -> Refusal | None:
    return next((Refusal("invalid turn", turn.error) for turn in episode.turns if turn.error is not None), None)


def _steps(episode: Episode, filters: Filters) -> Refusal | None:
    steps = len(episode.turns)
    if filters.min_steps <= steps <= filters.max_steps:
        return None
    return Refusal("too few steps" if steps < filters.min_steps else "too many steps", f"{steps} steps")


def _gold(episode: Episode, filters: Filters) -> Refusal | None:
    shown = shown_pages(episode.turns)
    missing = [gold.ref for gold in episode.task.gold if gold.ref not in shown]
    if not filters.gold or not missing:
        return None
    return Refusal("gold page not shown", f"{missing[0].document}, page {missing[0].page}")


def _pages(episode: Episode, filters: Filters) -> Refusal | None:
    for turn in episode.turns:
        seen = turn.observation
        if seen is None or seen.kind != "page" or seen.view is None:
            continue
        pixels = seen.view.region.width * seen.view.region.height
        if pixels < filters.min_page_pixels:
            return Refusal("page too small", f"{_named(seen.view)}: {pixels:.0f} pixels")
        if filters.max_page_pixels is not None and pixels > filters.max_page_pixels:
            return Refusal("page too large", f"{_named(seen.view)}: {pixels:.0f} pixels")
    return None


def _crops(episode: Episode, filters: Filters, environment: EnvironmentConfig) -> Refusal | None:
    frame = environment.view.frame
    for view, box in crops(episode.turns, environment.crops_of):
        width, height = extent(view, frame)
        if not (0 <= box.x1 < box.x2 <= width and 0 <= box.y1 < box.y2 <= height):
            return Refusal("box out of range", f"{_named(view)}: {box.as_tuple()} in {width} x {height}")
        raw = to_raw(view, box, frame)
        if min(raw.width, raw.height) < filters.min_crop_side:
            return Refusal("crop too small", f"{_named(view)}: {raw.width:.0f} x {raw.height:.0f} pixels")
        share = raw.width * raw.height / (view.region.width * view.region.height)
        if share > filters.max_crop_share:
            return Refusal("crop too large", f"{_named(view)}: {share:.2f} of the image")
    return None


def crops(turns: Sequence[Turn], of: CropsOf) -> Iterator[tuple[View, Box]]:
    """Each image that was cropped and the box as it was written over it, where `of` is the environment's `crops_of`."""
    view = None
    for turn in turns:
        if isinstance(turn.action, Crop) and view is not None:
            yield view, turn.action.box
        seen = turn.observation
        if seen is not None and seen.view is not None and croppable(seen, of):
            view = seen.view


def _named(view: View) -> str:
    return f"{view.ref.document}, page {view.ref.page}"
