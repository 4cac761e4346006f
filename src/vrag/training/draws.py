"""Dynamic sampling (DAPO §3.2): groups that teach nothing are replaced by groups of other tasks, up to a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice

import numpy as np

from vrag.episode import Episode
from vrag.training.advantages import advantages_of

RollOut = Callable[[Sequence[int], list[Episode]], list[Episode]]
"""Scored episodes of the tasks at these indices, group by group; given what the step has drawn before."""


@dataclass(frozen=True)
class Draw:
    """The rollouts of one step: every episode `drawn`, those `kept` to train on, and how often was rolled out."""

    drawn: list[Episode]
    kept: list[Episode]
    rounds: int

    def metrics(self, group_size: int) -> dict[str, float]:
        """How many groups were rolled out, and how many of them trained on."""
        return {
            "rollout_rounds": float(self.rounds),
            "groups_drawn": len(self.drawn) / group_size,
            "groups_kept": len(self.kept) / group_size,
        }


def draw(first: Sequence[int], further: Iterator[int], roll_out: RollOut, group_size: int, extra_rounds: int) -> Draw:
    """Roll out the tasks `first`. With `extra_rounds`, drop the groups without variance of reward, and those with fewer
    than two scored episodes; roll out as many of the `further` tasks as are missing, until none is or the rounds are
    spent. What the last round leaves missing stays so: the step trains on fewer groups.
    """
    drawn = roll_out(first, [])
    if not extra_rounds:
        return Draw(drawn, drawn, 1)
    kept, rounds = with_variance(drawn, group_size), 1
    while len(kept) < len(first) * group_size and rounds <= extra_rounds:
        missing = len(first) - len(kept) // group_size
        more = roll_out(list(islice(further, missing)), drawn)
        kept, drawn, rounds = kept + with_variance(more, group_size), drawn + more, rounds + 1
    return Draw(drawn, kept, rounds)


def with_variance(episodes: Sequence[Episode], group_size: int) -> list[Episode]:
    """The episodes of the groups in which any advantage differs from 0."""
    advantages, _ = advantages_of(episodes, group_size)
    kept: list[Episode] = []
    for start in range(0, len(episodes), group_size):
        if any(advantages[start : start + group_size]):
            kept += episodes[start : start + group_size]
    return kept


def further_tasks(chosen: Sequence[int], size: int, seed: int, step: int) -> Iterator[int]:
    """Which of `size` tasks come after those `chosen` for `step`: the others at random, then all, again and again.

    A function of (seed, step), so that a run that continues draws the same.
    """
    order = np.random.default_rng([seed, 2, step]).permutation(size).tolist()
    return chain((i for i in order if i not in set(chosen)), cycle(order))
