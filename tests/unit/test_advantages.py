"""Advantages within a group, and how groups are counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrag.episode import Episode, Reward
from vrag.training.advantages import advantages_of, group_advantages
from vrag.training.rollout_metrics import describe
from vrag.types import StopReason, Task


def episode(total: float | None, **parts: float) -> Episode:
    reward = None if total is None else Reward(total=total, parts=parts)
    return Episode(Task(id="t", question="?"), [], StopReason.TURNS, None, None, reward=reward)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=16), st.booleans())
def test_advantages_are_finite_centred_and_keep_the_order_of_rewards(rewards: list[float], normalize: bool) -> None:
    advantages = group_advantages(rewards, normalize=normalize)
    assert np.isfinite(advantages).all()
    assert abs(advantages.sum()) < 1e-6
    for i, j in zip(np.argsort(rewards), np.argsort(rewards)[1:], strict=False):
        assert advantages[i] <= advantages[j]


def test_equal_rewards_and_a_group_of_one_give_no_advantage() -> None:
    assert group_advantages([0.3] * 5).tolist() == [0.0] * 5
    assert group_advantages([0.9]).tolist() == [0.0]


def test_a_group_is_normalised_by_its_sample_deviation_or_only_centred() -> None:
    assert group_advantages([0.0, 1.0]).tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5], abs=1e-5)
    assert group_advantages([0.0, 0.1], normalize=False).tolist() == pytest.approx([-0.05, 0.05])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        group_advantages([0.0, bad])


def test_flat_groups_and_groups_with_one_score_are_counted_apart() -> None:
    rewards = [0.0, 1.0, None, 0.5, 0.5, 0.5, 1.0, None, None]
    advantages, groups = advantages_of([episode(r) for r in rewards], 3, normalize=False)
    assert advantages == [-0.5, 0.5, None, 0.0, 0.0, 0.0, None, None, None]
    assert (groups.total, groups.dropped, groups.flat) == (3, 1, 1)


def test_a_part_of_the_reward_is_averaged_over_the_episodes_that_have_it() -> None:
    metrics = describe([episode(0.4, answer=0.0, retrieval=1.0), episode(0.2, answer=1.0), episode(None)])
    assert metrics["reward"] == pytest.approx(0.3)
    assert (metrics["reward/answer"], metrics["reward/retrieval"], metrics["unscored"]) == (0.5, 1.0, 1.0)
