"""The reward of an episode: a weighted sum of terms, each logged apart.

A term is a plain function of a group, the episodes of one task, so that it can compare them; most look at each episode
alone. To add one:

    short = per_episode("short", lambda episode: -len(episode.turns) / 10, weight=Linear(start=0, end=0.5))
    rubric = Rubric([*paper_terms(), short], gate=searched)
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable, iscoroutine

from vrag.episode import Episode, Reward
from vrag.errors import InfrastructureError, UsageError, VragError
from vrag.rewards.weights import Weight, weigh
from vrag.types import StopReason, Task

Value = float | VragError | None  # None, or the error that is why: it can't say
GroupScore = Callable[[Sequence[Episode]], Sequence[Value] | Awaitable[Sequence[Value]]]


def everywhere(task: Task) -> bool:
    return True


@dataclass(frozen=True)
class Term:
    """`score` gives a value for each episode of a group, in order; it may be asynchronous, and is never given an
    episode that infrastructure failed. An episode for which it can't say has no reward at all; one whose task it
    doesn't apply to does without it.
    """

    name: str
    score: GroupScore
    weight: Weight = 1.0
    applies: Callable[[Task], bool] = everywhere


def per_episode(
    name: str,
    score: Callable[[Episode], float | None],
    weight: Weight = 1.0,
    applies: Callable[[Task], bool] = everywhere,
) -> Term:
    """A term that looks at each episode alone. An `InfrastructureError` that it raises is why it can't say."""

    def one(episode: Episode) -> Value:
        try:
            return score(episode)
        except InfrastructureError as failure:
            return failure

    return Term(name, lambda group: [one(episode) for episode in group], weight, applies)


class Rubric:
    """Terms together. Where the `gate` is shut the total is 0 whatever the terms say, penalties too."""

    def __init__(self, terms: Sequence[Term], gate: Callable[[Episode], bool] | None = None) -> None:
        names = [term.name for term in terms]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"two terms of the reward are called {twice[0]!r}; each is logged by its name")
        self.terms, self.gate = tuple(terms), gate

    async def reward(self, groups: Sequence[Sequence[Episode]], progress: float = 1.0) -> None:
        """Set the `reward` of every episode; where it stays None, `error` says why. Terms and groups are scored at
        once. Raises `UsageError` naming the sample where a term gives what is no finite number.
        """
        await asyncio.gather(*(self._reward(group, progress) for group in groups))

    async def _reward(self, group: Sequence[Episode], progress: float) -> None:
        scored = [episode for episode in group if episode.stop is not StopReason.ERROR]
        columns = await asyncio.gather(*(self._column(term, scored) for term in self.terms))
        for i, episode in enumerate(scored):
            values = {term.name: column[i] for term, column in zip(self.terms, columns, strict=True) if i in column}
            episode.reward, episode.error = self._combined(episode, values, progress)

    async def _column(self, term: Term, group: Sequence[Episode]) -> dict[int, Value]:
        """By place in the group, for the tasks that the term applies to."""
        places = [i for i, episode in enumerate(group) if term.applies(episode.task)]
        if not places:
            return {}
        chosen = [group[i] for i in places]
        try:
            values = term.score(chosen)
            given = list(await values if isawaitable(values) else values)
        except InfrastructureError as failure:
            given = [failure] * len(chosen)
        if len(given) != len(chosen):
            raise UsageError(f"reward term {term.name!r} gave {len(given)} values for {len(chosen)} episodes")
        return dict(zip(places, given, strict=True))

    def now(self, episode: Episode, progress: float = 1.0) -> Reward | None:
        """The reward of one episode alone, for terms that are not asynchronous."""
        if episode.stop is StopReason.ERROR:
            return None
        values: dict[str, Value] = {}
        for term in self.terms:
            if term.applies(episode.task):
                given = term.score([episode])
                if isawaitable(given):
                    if iscoroutine(given):
                        given.close()  # or Python complains that nobody waited for it
                    raise UsageError(f"reward term {term.name!r} is asynchronous; use Rubric.reward")
                values[term.name] = given[0]
        return self._combined(episode, values, progress)[0]

    def _combined(
        self, episode: Episode, values: Mapping[str, Value], progress: float
    ) -> tuple[Reward | None, str | None]:
        """The reward, or why there is none."""
        parts: dict[str, float] = {}
        for name, value in values.items():
            if value is None or isinstance(value, VragError):
                return None, f"{name}: {'no value' if value is None else value}"
            parts[name] = _finite(value, f"reward term {name!r}", episode)
        weights = {
            term.name: _finite(weigh(term.weight, episode.task, progress), f"the weight of {term.name!r}", episode)
            for term in self.terms
            if term.name in parts
        }
        total = sum(weights[name] * value for name, value in parts.items())
        if self.gate is not None and not self.gate(episode):
            total = 0.0
        return Reward(total=total, parts=parts), None


Score = Callable[[Episode], Reward | None] | Rubric


async def reward_all(score: Score, groups: Sequence[Sequence[Episode]], progress: float = 1.0) -> None:
    """`Rubric.reward` by a rubric, or by a plain function of an episode that returns its reward."""
    if isinstance(score, Rubric):
        await score.reward(groups, progress)
        return
    for episode in (episode for group in groups for episode in group):
        if episode.stop is StopReason.ERROR:
            continue
        try:
            episode.reward = score(episode)
        except InfrastructureError as failure:
            episode.reward, episode.error = None, str(failure)


def _finite(value: float, what: str, episode: Episode) -> float:
    if not math.isfinite(value):
        where = f"task {episode.task.id}, sample {episode.sample}"
        raise UsageError(f"{what} is {value} for {where}: give a finite number, or None where it can't say")
    return float(value)
