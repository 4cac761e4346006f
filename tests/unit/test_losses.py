"""Losses and advantages equal an implementation written apart, token by token in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vrag.training.advantages import group_advantages
from vrag.training.losses import grpo_loss, supervised_loss, token_weights

ROWS = [0, 0, 0, 1, 1, 2, 2, 2, 2]


def tensors(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    new, old, reference = (-torch.rand(3, len(ROWS), generator=generator) * 3).unbind(0)
    advantages = torch.tensor([1.5, -0.7, 0.2])[torch.tensor(ROWS)]
    return new.requires_grad_(), old, reference, advantages


def plain_grpo(new, old, reference, advantages, clip: float, beta: float, aggregate: str) -> float:
    per_token = []
    for n, o, r, a in zip(new, old, reference, advantages, strict=True):
        ratio = math.exp(n - o)
        clipped = min(max(ratio, 1 - clip), 1 + clip)
        kl = math.exp(r - n) - (r - n) - 1
        per_token.append(-min(ratio * a, clipped * a) + beta * kl)
    if aggregate == "token":
        return sum(per_token) / len(per_token)
    episodes = [[loss for loss, row in zip(per_token, ROWS, strict=True) if row == k] for k in range(3)]
    return sum(sum(e) / len(e) for e in episodes) / 3


@pytest.mark.parametrize("aggregate", ["sequence", "token"])
@pytest.mark.parametrize("beta", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_grpo_equals_the_formula_written_token_by_token(aggregate: str, beta: float, seed: int) -> None:
    new, old, reference, advantages = tensors(seed)
    weights = token_weights(torch.tensor(ROWS), 3, aggregate, len(ROWS))
    found = grpo_loss(new, old, advantages, weights, clip=0.2, kl_weight=beta, reference_logprobs_M=reference).loss
    expected = plain_grpo(new.tolist(), old.tolist(), reference.tolist(), advantages.tolist(), 0.2, beta, aggregate)
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_on_the_rollouts_own_policy_the_gradient_is_that_of_reinforce() -> None:
    new, _, _, advantages = tensors(0)
    weights = token_weights(torch.tensor(ROWS), 3, "sequence", len(ROWS))
    grpo_loss(new, new.detach(), advantages, weights).loss.backward()
    assert torch.allclose(new.grad, -(advantages * weights), atol=1e-7)


def test_a_token_that_is_clipped_has_no_gradient() -> None:
    new = torch.tensor([0.0, 0.0], requires_grad=True)
    old = torch.tensor([-1.0, 1.0])  # ratios e and 1/e
    result = grpo_loss(new, old, torch.tensor([1.0, -1.0]), torch.tensor([0.5, 0.5]))
    result.loss.backward()
    assert new.grad.tolist() == [0.0, 0.0]
    assert result.clip_fraction == 1.0


def test_micro_batches_of_a_step_add_up_to_the_whole() -> None:
    new, old, _, advantages = tensors(3)
    rows = torch.tensor(ROWS)
    whole = grpo_loss(new, old, advantages, token_weights(rows, 3, "sequence", 9)).loss
    first, second = rows < 2, rows == 2
    parts = [
        grpo_loss(new[m], old[m], advantages[m], token_weights(rows[m] - rows[m].min(), 3, "sequence", 9)).loss
        for m in (first, second)
    ]
    assert sum(parts).item() == pytest.approx(whole.item(), abs=1e-6)


def test_supervised_loss_is_the_weighted_mean_of_cross_entropies() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    targets, weights = torch.tensor([0, 0, 1]), torch.tensor([1.0, 3.0, 0.0])
    expected = (math.log(1 + math.exp(-2)) * 1 + math.log(1 + math.e) * 3) / 4
    assert supervised_loss(logits, targets, weights).item() == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=16))
def test_advantages_are_finite_centred_and_keep_the_order_of_rewards(rewards: list[float]) -> None:
    advantages = group_advantages(rewards)
    assert np.isfinite(advantages).all()
    assert abs(advantages.sum()) < 1e-6
    for i, j in zip(np.argsort(rewards), np.argsort(rewards)[1:], strict=False):
        assert advantages[i] <= advantages[j]


def test_equal_rewards_and_a_group_of_one_give_no_advantage() -> None:
    assert group_advantages([0.3] * 5).tolist() == [0.0] * 5
    assert group_advantages([0.9]).tolist() == [0.0]


def test_a_group_is_normalised_by_its_sample_deviation() -> None:
    assert group_advantages([0.0, 1.0]).tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5], abs=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        group_advantages([0.0, bad])
