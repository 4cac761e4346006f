"""Losses equal an implementation written apart, token by token in plain Python; and what must hold for every one."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vrag.training.algorithm import PRESETS, Algorithm
from vrag.training.losses import PolicyLoss, Scale, k3, policy_loss, supervised_loss, token_weights

ROWS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
SCALE = Scale(episodes=3, tokens=9, limit=20)
NAMES = list(PRESETS)


def without_kl(name: str) -> Algorithm:
    return PRESETS[name].model_copy(update={"kl": 0.0})  # type: ignore[index]


def tensors(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """New, old and reference log-probabilities and advantages [M]; ratios from 1/4 to 4, one episode near 1."""
    generator = torch.Generator().manual_seed(seed)
    old, reference = (-torch.rand(2, len(ROWS), generator=generator) * 3).unbind(0)
    spread = torch.tensor([1.4, 2e-4, 0.4])[ROWS]
    new = old + spread * (2 * torch.rand(len(ROWS), generator=generator) - 1)
    return new.requires_grad_(), old, reference, torch.tensor([1.5, -0.7, 0.2])[ROWS]


def loss_of(
    algorithm: Algorithm, new: torch.Tensor, old: torch.Tensor, reference: torch.Tensor, advantages: torch.Tensor
) -> PolicyLoss:
    weights = token_weights(ROWS, algorithm.aggregate, SCALE)
    return policy_loss(new, old, advantages, ROWS, weights, algorithm, reference)


def plain_loss(
    algorithm: Algorithm, new: list[float], old: list[float], reference: list[float], advantages: list[float]
) -> float:
    rows = ROWS.tolist()
    per_token = []
    for n, o, r, a, row in zip(new, old, reference, advantages, rows, strict=True):
        log_ratios = [x - y for x, y, k in zip(new, old, rows, strict=True) if k == row]
        ratio = math.exp(sum(log_ratios) / len(log_ratios)) if algorithm.ratio == "sequence" else math.exp(n - o)
        clipped = min(max(ratio, 1 - algorithm.clip_low), 1 + algorithm.clip_high)
        gain = clipped * a * n if algorithm.surrogate == "cispo" else min(ratio * a, clipped * a)
        per_token.append(-gain + algorithm.kl * (math.exp(r - n) - (r - n) - 1))
    if algorithm.aggregate == "token":
        return sum(per_token) / len(per_token)
    if algorithm.aggregate == "constant":
        return sum(per_token) / (3 * SCALE.limit)
    episodes = [[loss for loss, row in zip(per_token, rows, strict=True) if row == k] for k in range(3)]
    return sum(sum(e) / len(e) for e in episodes) / 3


@pytest.mark.parametrize("kl", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_each_loss_equals_its_formula_written_token_by_token(name: str, kl: float) -> None:
    algorithm = PRESETS[name].model_copy(update={"kl": kl})  # type: ignore[index]
    for seed in range(10):
        given_tensors = tensors(seed)
        expected = plain_loss(algorithm, *(t.tolist() for t in given_tensors))
        assert loss_of(algorithm, *given_tensors).loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_on_the_rollouts_own_policy_every_gradient_is_that_of_reinforce(name: str) -> None:
    """Up to how it is normalised: the token's weight."""
    new, _, reference, advantages = tensors(0)
    algorithm = without_kl(name)
    result = loss_of(algorithm, new, new.detach().clone(), reference, advantages)
    result.loss.backward()
    assert torch.allclose(new.grad, -(advantages * token_weights(ROWS, algorithm.aggregate, SCALE)), atol=1e-7)
    assert (result.clipped_low, result.clipped_high) == (0.0, 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_without_advantages_nothing_is_learnt(name: str) -> None:
    new, old, reference, advantages = tensors(1)
    result = loss_of(without_kl(name), new, old, reference, torch.zeros_like(advantages))
    result.loss.backward()
    assert result.loss.item() == 0.0 and not new.grad.any()
    assert (result.clipped_low, result.clipped_high) == (0.0, 0.0)


@pytest.mark.parametrize("name", NAMES)
@given(
    new=st.lists(st.floats(-300, 0, width=32), min_size=9, max_size=9),
    old=st.lists(st.floats(-300, 0, width=32), min_size=9, max_size=9),
    advantages=st.lists(st.floats(-5, 5, width=32), min_size=3, max_size=3),
)
def test_loss_and_gradient_stay_finite_however_far_the_policies_are(
    name: str, new: list[float], old: list[float], advantages: list[float]
) -> None:
    algorithm = PRESETS[name].model_copy(update={"kl": 0.01})  # type: ignore[index]
    logprobs = torch.tensor(new, requires_grad=True)
    result = loss_of(algorithm, logprobs, torch.tensor(old), torch.tensor(old), torch.tensor(advantages)[ROWS])
    result.loss.backward()
    assert math.isfinite(result.loss.item()) and torch.isfinite(logprobs.grad).all()


def test_a_token_that_is_clipped_has_no_gradient_and_is_counted_by_its_side() -> None:
    new = torch.tensor([0.0, 0.0, 0.0], requires_grad=True)
    old = torch.tensor([-1.0, 1.0, -1.0])  # ratios e, 1/e and e
    advantages = torch.tensor([1.0, -1.0, -1.0])  # the last is pushed back from where the clip would stop it
    result = policy_loss(new, old, advantages, torch.arange(3), torch.ones(3), without_kl("grpo"))
    result.loss.backward()
    assert new.grad[:2].tolist() == [0.0, 0.0] and new.grad[2].item() == pytest.approx(math.e)
    assert result.clipped_high == pytest.approx(1 / 3) and result.clipped_low == pytest.approx(1 / 3)


def test_cispo_keeps_the_gradient_of_the_tokens_that_it_clips() -> None:
    new = torch.tensor([0.0, 0.0], requires_grad=True)
    result = policy_loss(
        new, torch.tensor([-3.0, 0.0]), torch.ones(2), torch.arange(2), torch.ones(2), without_kl("cispo")
    )
    result.loss.backward()
    assert new.grad.tolist() == [-5.0, -1.0]
    assert result.clipped_high == 0.5


def test_a_token_between_the_two_clips_of_dapo_still_learns() -> None:
    gradients = []
    for name in ("grpo", "dapo"):
        new = torch.tensor([math.log(1.25)], requires_grad=True)
        policy_loss(
            new, torch.zeros(1), torch.ones(1), torch.tensor([0]), torch.ones(1), without_kl(name)
        ).loss.backward()
        gradients.append(new.grad.item())
    assert gradients == [0.0, pytest.approx(-1.25)]


def test_a_sequence_is_clipped_as_a_whole() -> None:
    new, old, reference, _ = tensors(2)
    result = loss_of(without_kl("gspo"), new, old, reference, torch.ones(9))
    result.loss.backward()
    for row in range(3):
        assert len(set((new.grad[row == ROWS] != 0).tolist())) == 1


@pytest.mark.parametrize("name", NAMES)
def test_micro_batches_of_a_step_add_up_to_the_whole(name: str) -> None:
    algorithm = PRESETS[name].model_copy(update={"kl": 0.1})  # type: ignore[index]
    new, old, reference, advantages = tensors(3)
    whole = loss_of(algorithm, new, old, reference, advantages).loss
    parts = []
    for m in (ROWS < 2, ROWS == 2):
        rows = ROWS[m] - ROWS[m].min()
        weights = token_weights(rows, algorithm.aggregate, SCALE)
        parts.append(policy_loss(new[m], old[m], advantages[m], rows, weights, algorithm, reference[m]).loss)
    assert sum(parts).item() == pytest.approx(whole.item(), abs=1e-6)


def test_the_constant_mean_does_not_know_lengths() -> None:
    """A token of a long episode weighs what one of a short episode does, however many there are in the batch."""
    weights = token_weights(torch.tensor([0, 1, 1, 1]), "constant", Scale(episodes=2, tokens=4, limit=10))
    assert weights.tolist() == pytest.approx([1 / 20] * 4)


def test_kl_is_zero_on_the_reference_itself_and_never_negative() -> None:
    new, _, reference, _ = tensors(4)
    assert k3(new, new.detach()).tolist() == [0.0] * 9
    assert (k3(new, reference) >= 0).all()


def test_a_kl_penalty_without_a_reference_is_refused() -> None:
    new, old, _, advantages = tensors(0)
    with pytest.raises(ValueError, match="reference"):
        policy_loss(new, old, advantages, ROWS, torch.ones(9), PRESETS["grpo"])


def test_supervised_loss_is_the_weighted_mean_of_cross_entropies() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    logprobs = logits.log_softmax(-1)[torch.arange(3), torch.tensor([0, 0, 1])]
    weights = torch.tensor([1.0, 3.0, 0.0])
    expected = (math.log(1 + math.exp(-2)) * 1 + math.log(1 + math.e) * 3) / 4
    assert supervised_loss(logprobs, weights).item() == pytest.approx(expected, abs=1e-6)
