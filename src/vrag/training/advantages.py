"""Group-relative advantages (GRPO; VRAG-RL trains with it, paper §3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-6


def group_advantages(rewards_G: Sequence[float], *, normalize: bool = True) -> NDArray[np.float64]:
    """(r - mean) / std over one group of G rollouts of one task; zeros when all rewards are equal.

    Raises ValueError on a reward that isn't finite: it must never reach the gradient. A group of one has
    nothing to compare with and gets zero.
    """
    rewards = np.asarray(rewards_G, dtype=np.float64)
    if not np.isfinite(rewards).all():
        raise ValueError(f"rewards must be finite, got {rewards.tolist()}")
    if rewards.size == 0 or np.ptp(rewards) < EPSILON:
        return np.zeros_like(rewards)
    centred = rewards - rewards.mean()
    return centred / (rewards.std(ddof=1) + EPSILON) if normalize else centred
