"""A few of a run's episodes, kept to be read: how the policy behaves, over the steps.

RUN/samples.jsonl   one `KeptEpisode` per line, by step
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError

from vrag.episode import Episode, EpisodeRecord
from vrag.errors import DataError
from vrag.runs import Log, read_lines
from vrag.training.token_trace import TokenTrace
from vrag.types import Frozen

FILE = "samples.jsonl"


class SampleConfig(Frozen):
    """Of the first step, of every `every`th from there and of the last: the episode with the best reward, the one with
    the worst, and one of the others at random; 0 keeps none. Above `most` episodes the distance of the steps
    doubles, and what lies between is dropped, so that the file stays small and spans the whole run.
    """

    every: int = Field(default=10, ge=0)
    most: int = Field(default=300, ge=6)


Why = Literal["best", "worst", "random"]


class KeptEpisode(Frozen):
    """`tokens` is None in runs from before they were kept, and where there were none."""

    step: int
    why: Why
    episode: EpisodeRecord
    tokens: TokenTrace | None = None


class SampleLog:
    """The samples of the run at `path`, of which the steps from `start` on are owed."""

    def __init__(self, path: Path, config: SampleConfig, seed: int, start: int) -> None:
        self.log, self.config, self.seed = Log(path / FILE), config, seed
        self.log.keep(lambda row: int(row["step"]) < start)
        self._thinned = 0  # the distance of the steps that were last dropped by

    def choose(self, step: int, steps: int, episodes: Sequence[Episode]) -> list[tuple[Why, Episode]]:
        """Those of `episodes` to keep, if `step` is one of which some are: a function of rewards, seed and step."""
        if not self.config.every or (step % self._distance(step) and step != steps - 1):
            return []
        return list(chosen(episodes, np.random.default_rng([self.seed, 3, step])))

    def add(self, step: int, kept: Sequence[KeptEpisode]) -> None:
        """Those that were chosen at `step`."""
        if not kept:
            return
        for one in kept:
            self.log.append(one)
        distance = self._distance(step)
        if distance != self._thinned:  # seldom, for it reads the whole file
            self.log.keep(lambda row: int(row["step"]) == step or int(row["step"]) % distance == 0)
            self._thinned = distance

    def _distance(self, step: int) -> int:
        """Of the steps whose samples are kept, once the run is at `step`: so large that with three episodes each, and
        the last's, there are at most `most`.
        """
        distance = self.config.every
        while 3 * (step // distance + 2) > self.config.most:
            distance *= 2
        return distance


def chosen(episodes: Sequence[Episode], rng: np.random.Generator) -> Iterator[tuple[Why, Episode]]:
    """The best, the worst and any other. Of episodes without a reward none is best or worst; any may be one."""
    scored = sorted((e for e in episodes if e.reward is not None), key=_total, reverse=True)  # of equals, the first
    picked: list[tuple[Why, Episode]] = [("best", scored[0])] if scored else []
    if len(scored) > 1:
        picked.append(("worst", scored[-1]))
    others = [e for e in episodes if all(e is not one for _, one in picked)]
    if others:
        picked.append(("random", others[int(rng.integers(len(others)))]))
    yield from picked


def _total(episode: Episode) -> float:
    assert episode.reward is not None
    return episode.reward.total


def read_samples(run: Path) -> list[KeptEpisode]:
    """Those of the run at `run`, by step; none where none were kept. Raises `DataError` naming a damaged line."""
    path = run / FILE
    rows = enumerate(read_lines(path), start=1)
    return [_sample(row, f"{path}, line {number}") for number, row in rows]


def _sample(row: object, where: str) -> KeptEpisode:
    try:
        return KeptEpisode.model_validate(row)
    except ValidationError as failure:
        raise DataError(f"{where}: isn't a kept episode ({failure.errors()[0]['msg']}); delete the line") from failure
