"""Group-relative advantages (GRPO; VRAG-RL trains with it, paper §3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vrag.episode import Episode
from vrag.types import Frozen

EPSILON = 1e-6


class GroupCounts(Frozen):
    """Groups of one step: all, those dropped for want of two scored episodes, and those without variance."""

    total: int
    dropped: int
    flat: int

    def metrics(self) -> dict[str, float]:
        return {"groups_dropped": float(self.dropped), "groups_zero_variance": self.flat / max(1, self.total)}


def group_advantages(rewards_G: Sequence[float], *, normalize: bool = True) -> NDArray[np.float64]:
    """(r - mean) / std over one group of G rollouts of one task; zeros when all rewards are equal.

    Without `normalize` it is r - mean (Dr. GRPO): a group of nearly equal rewards then weighs little. Raises ValueError
    on a reward that isn't finite: it must never reach the gradient. A group of one has nothing to compare with and
    gets zero.
    """
    rewards = np.asarray(rewards_G, dtype=np.float64)
    if not np.isfinite(rewards).all():
        raise ValueError(f"rewards must be finite, got {rewards.tolist()}")
    if rewards.size == 0 or np.ptp(rewards) < EPSILON:
        return np.zeros_like(rewards)
    centred = rewards - rewards.mean()
    return centred / (rewards.std(ddof=1) + EPSILON) if normalize else centred


def advantages_of(
    episodes: Sequence[Episode], group_size: int, *, normalize: bool = True
) -> tuple[list[float | None], GroupCounts]:
    """An advantage per episode; None where the episode is masked or its group was dropped."""
    result: list[float | None] = []
    dropped = flat = 0
    for start in range(0, len(episodes), group_size):
        group = episodes[start : start + group_size]
        rewards = [e.reward.total for e in group if e.reward is not None]
        if len(rewards) < 2:
            dropped += 1
            result += [None] * len(group)
            continue
        values = iter(group_advantages(rewards, normalize=normalize).tolist())
        scored = [next(values) if e.reward is not None else None for e in group]
        flat += all(not v for v in scored)
        result += scored
    return result, GroupCounts(total=-(-len(episodes) // group_size), dropped=dropped, flat=flat)
