"""What is rolled out: a question, then a page at each turn, for as many turns and of such a size as is asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from zlib import crc32

import numpy as np
from PIL import Image

from vrag.types import Box, ImagePart, Message, Observation, PageRef, Step, StopReason, Task, Turn, View


@dataclass(frozen=True)
class Load:
    """`turns` that are sampled, an image of `tokens` image tokens after each but the last, `words` in the question, and
    `sampled` tokens a turn.
    """

    groups: int = 4
    group_size: int = 8
    turns: int = 4
    tokens: int = 192
    words: int = 60
    sampled: int = 24

    def tasks(self) -> list[Task]:
        return [Task(id=str(number), question="what " * self.words) for number in range(self.groups)]


class Pages:
    """An environment whose observations depend on task and turn alone: siblings see the same pages. With `ragged`, what
    is said first decides whether an episode ends after half of the turns, all of them, or between.
    """

    def __init__(self, load: Load, factor: int, *, ragged: bool) -> None:
        self._load, self._factor, self._ragged = load, factor, ragged

    def reset(self, task: Task) -> list[Message]:
        self._task, self._turn, self._last = task, 0, self._load.turns
        return [Message("user", [task.question])]

    async def step(self, text: str) -> Step:
        self._turn += 1
        if self._ragged and self._turn == 1:
            least = (self._load.turns + 1) // 2
            self._last = least + crc32(text.encode()) % (self._load.turns - least + 1)
        if self._turn == self._last:
            return Step(Turn(text=text), [], StopReason.TURNS)
        image, view = _page(f"{self._task.id}-{self._turn}", self._load.tokens, self._factor)
        turn = Turn(text=text, observation=Observation(kind="page", view=view))
        return Step(turn, [Message("user", [ImagePart(image, view)])])


@cache
def _page(name: str, tokens: int, factor: int) -> tuple[Image.Image, View]:
    """A page 12 tokens wide, of noise."""
    width, height = 12 * factor, tokens // 12 * factor
    noise = np.random.default_rng(crc32(name.encode())).integers(0, 256, (height, width, 3), dtype=np.uint8)
    region = Box(x1=0, y1=0, x2=width, y2=height)
    view = View(page_id=name, ref=PageRef(document=name, page=1), region=region, width=width, height=height)
    return Image.fromarray(noise), view
