"""Policy-optimisation losses: pure functions on the sampled tokens.

Axes: M = sampled tokens of a batch, row-major; B = episodes. Observation tokens never get here: the mask was
applied when the M positions were picked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Aggregate = Literal["sequence", "token"]


@dataclass(frozen=True)
class PolicyLoss:
    """`loss` carries the gradient; the rest are detached means for the metrics."""

    loss: Tensor
    clip_fraction: float
    kl: float


def token_weights(rows_M: Tensor, episodes: float, aggregate: Aggregate, total_tokens: float) -> Tensor:
    """Weight of each token, [M]. "sequence": 1/|o_i| within an episode and 1/B over `episodes` (GRPO);
    "token": every token alike, 1/`total_tokens`. Totals are those of the whole optimiser step, so that
    micro-batches add up to it.
    """
    if aggregate == "token":
        return torch.full(rows_M.shape, 1.0 / total_tokens, device=rows_M.device)
    counts = torch.bincount(rows_M)
    return 1.0 / (counts[rows_M] * episodes)


def grpo_loss(
    logprobs_M: Tensor,
    old_logprobs_M: Tensor,
    advantages_M: Tensor,
    weights_M: Tensor,
    *,
    clip: float = 0.2,
    kl_weight: float = 0.0,
    reference_logprobs_M: Tensor | None = None,
) -> PolicyLoss:
    """Clipped surrogate with a KL penalty to a reference policy, summed with `weights_M`.

    min(ρA, clip(ρ, 1-ε, 1+ε)A) per token, ρ = exp(logp - old logp); the penalty is the k3 estimator
    exp(d) - d - 1 with d = reference - logp, which is never negative.
    """
    ratio = (logprobs_M - old_logprobs_M).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    surrogate = torch.minimum(ratio * advantages_M, clipped * advantages_M)
    loss = -(surrogate * weights_M).sum()
    kl = 0.0
    if kl_weight and reference_logprobs_M is not None:
        difference = reference_logprobs_M - logprobs_M
        k3 = difference.exp() - difference - 1
        loss = loss + kl_weight * (k3 * weights_M).sum()
        kl = float(k3.detach().mean())
    active = (ratio * advantages_M) > (clipped * advantages_M)
    return PolicyLoss(loss, float(active.float().mean()), kl)


def supervised_loss(logits_MV: Tensor, targets_M: Tensor, weights_M: Tensor) -> Tensor:
    """Weighted mean cross-entropy of the assistant's tokens."""
    nll = torch.nn.functional.cross_entropy(logits_MV, targets_M, reduction="none")
    return (nll * weights_M).sum() / weights_M.sum()
