"""Policy-optimisation losses: pure functions on the sampled tokens.

Axes: M = sampled tokens of a batch, row-major; B = episodes. Observation tokens never get here: the mask was
applied when the M positions were picked. `rows_M` says to which of the B episodes a token belongs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vrag.training.algorithm import Aggregate, Algorithm, Level

LARGEST = 20.0  # of a log-ratio: its exp stays finite, and so does the gradient where a clip discards it


@dataclass(frozen=True)
class Scale:
    """What the mean of one optimiser step is taken over: so many episodes with so many sampled tokens, each of at most
    `limit`. It is the whole step's, so that micro-batches add up to it.
    """

    episodes: float
    tokens: float
    limit: int


@dataclass(frozen=True)
class PolicyLoss:
    """`loss` carries the gradient; the rest is detached.

    `ratios` [M] are the importance ratios; `clipped` [M] is -1 where the lower bound acted and 1 where the upper one
    did: under "clip" such a token's gradient is 0, under "cispo" its weight was cut. `kl` is the mean over M, None
    without a reference.
    """

    loss: Tensor
    ratios: Tensor
    clipped: Tensor
    kl: float | None

    @property
    def clipped_low(self) -> float:
        """The share of tokens on which the lower bound acted."""
        return float((self.clipped < 0).float().mean())

    @property
    def clipped_high(self) -> float:
        return float((self.clipped > 0).float().mean())


def token_weights(rows_M: Tensor, aggregate: Aggregate, scale: Scale) -> Tensor:
    """The weight [M] of each token in the step's loss.

    "sequence": 1/|o_i| within an episode and 1/B over episodes (GRPO, GSPO); "token": 1/Σ|o_i| for every token (DAPO);
    "constant": 1/(B x limit), whatever the lengths (Dr. GRPO).
    """
    if aggregate == "sequence":
        return 1.0 / (torch.bincount(rows_M)[rows_M] * scale.episodes)
    total = scale.tokens if aggregate == "token" else scale.episodes * scale.limit
    return torch.full(rows_M.shape, 1.0 / total, device=rows_M.device)


def importance_ratio(logprobs_M: Tensor, old_logprobs_M: Tensor, rows_M: Tensor, level: Level) -> Tensor:
    """ρ [M] = exp(logp - old logp) of each token, or s_i, its geometric mean over the token's episode.

    s_i is that of GSPO-token (GSPO eq. 14): s_i in value, and by the token's own log-probability in gradient, so that
    each token is pushed by its own advantage and the sum over an episode is the gradient of s_i times |o_i|.
    """
    difference = logprobs_M - old_logprobs_M
    if level == "sequence":
        means = _sequence_means(difference.detach(), rows_M)[rows_M]
        difference = means + (logprobs_M - logprobs_M.detach())
    return difference.clamp(-LARGEST, LARGEST).exp()


def _sequence_means(values_M: Tensor, rows_M: Tensor) -> Tensor:
    """Means [B] over the tokens of each episode."""
    counts = torch.bincount(rows_M)
    return values_M.new_zeros(len(counts)).index_add(0, rows_M, values_M) / counts.clamp(min=1)


def k3(logprobs_M: Tensor, reference_logprobs_M: Tensor) -> Tensor:
    """KL to the reference, estimated per token [M]: exp(d) - d - 1 with d = reference - logp; never negative."""
    difference = (reference_logprobs_M - logprobs_M).clamp(-LARGEST, LARGEST)
    return difference.exp() - difference - 1


def policy_loss(
    logprobs_M: Tensor,
    old_logprobs_M: Tensor,
    advantages_M: Tensor,
    rows_M: Tensor,
    weights_M: Tensor,
    algorithm: Algorithm,
    reference_logprobs_M: Tensor | None = None,
) -> PolicyLoss:
    """The surrogate of `algorithm`, and its KL penalty, summed with `weights_M`; to be minimised.

    "clip": min(ρA, clip(ρ)A). "cispo": sg(clip(ρ)) A logp, so that no token loses its gradient. Raises `ValueError`
    where `algorithm` has a KL penalty and there is no reference.
    """
    ratio = importance_ratio(logprobs_M, old_logprobs_M, rows_M, algorithm.ratio)
    clipped = ratio.clamp(1 - algorithm.clip_low, 1 + algorithm.clip_high)
    if algorithm.surrogate == "cispo":
        surrogate = clipped.detach() * advantages_M * logprobs_M
        acted = (ratio != clipped) & (advantages_M != 0)
    else:
        surrogate = torch.minimum(ratio * advantages_M, clipped * advantages_M)
        acted = (ratio * advantages_M) > (clipped * advantages_M)
    loss, kl = -(surrogate * weights_M).sum(), None
    if algorithm.kl:
        if reference_logprobs_M is None:
            raise ValueError("a KL penalty needs the reference's log-probabilities")
        penalty = k3(logprobs_M, reference_logprobs_M)
        loss = loss + algorithm.kl * (penalty * weights_M).sum()
        kl = float(penalty.detach().mean())
    bounds = (acted & (ratio > clipped)).int() - (acted & (ratio < clipped)).int()
    return PolicyLoss(loss, ratio.detach(), bounds, kl)


def supervised_loss(logprobs_M: Tensor, weights_M: Tensor, total: float | None = None) -> Tensor:
    """Weighted mean cross-entropy of the assistant's tokens; of a part of a step, whose weights are `total` in all, its
    share of that mean.
    """
    return -(logprobs_M * weights_M).sum() / (weights_M.sum() if total is None else total)
