"""What a part of the reward weighs: a number, or what changes over training or with where a task comes from.

Progress goes from 0 at the first step of training to 1 at the last; an evaluation weighs as the last step does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field, model_validator

from vrag.types import Frozen, Task

Weight = float | Callable[[Task, float], float]  # a number, or (task, progress) → one
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Linear(Frozen):
    """From `start` to `end` while progress goes from `after` to `until`; constant before and behind."""

    start: NotNegative
    end: NotNegative
    after: Share = 0.0
    until: Share = 1.0

    @model_validator(mode="after")
    def _forward(self) -> Linear:
        if self.after >= self.until:
            raise ValueError("after must be less than until")
        return self

    def __call__(self, task: Task, progress: float) -> float:
        done = min(1.0, max(0.0, (progress - self.after) / (self.until - self.after)))
        return self.start + done * (self.end - self.start)


class BySource(Frozen):
    """A weight for each `Task.source`, and the `default` for those that aren't named."""

    default: NotNegative | Linear
    sources: dict[str, NotNegative | Linear]

    def __call__(self, task: Task, progress: float) -> float:
        return weigh(self.sources.get(task.source, self.default), task, progress)


def weigh(weight: Weight, task: Task, progress: float) -> float:
    return weight(task, progress) if callable(weight) else weight
