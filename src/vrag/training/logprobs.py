"""Log-probabilities of the sampled tokens under a model: the training side of the rollout's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vrag.policies.transformers import mask_reserved
from vrag.training.batch import Batch
from vrag.training.prefix_tree import PrefixTree

CHUNK_BYTES = 256 << 20  # of fp32 logits that exist at a time; a vocabulary of 150,000 makes 0.6 MB a token


@dataclass(frozen=True)
class TokenScores:
    """Of the M sampled tokens, row-major over [B, L]: `logprobs` [M] with gradient; without it `entropy` [M] in nats
    and `best` [M], whether the token is the likeliest.
    """

    logprobs: Tensor
    entropy: Tensor
    best: Tensor


def sampled_scores(
    model: Any,
    batch: Batch | PrefixTree,
    reserved: Sequence[int] = (),
    temperature: float = 1.0,
    chunk_bytes: int = CHUNK_BYTES,
) -> TokenScores:
    """Scores in fp32, reserved ids at -inf. `temperature` 0 means greedy sampling, whose log-probabilities are those at
    temperature 1.

    Only sampled positions go through the head, never the whole [B, L, V]; what would exceed `chunk_bytes` goes in
    chunks, whose logits are computed again for the gradient.
    """
    with batch.attending(model):
        hidden = model.model(**batch.inputs(model), use_cache=False).last_hidden_state
    hidden, targets = batch.before_sampled(hidden), sampled_targets(batch)
    score = partial(_score, model.lm_head, tuple(reserved), temperature or 1.0)
    size = max(1, chunk_bytes // (4 * model.lm_head.weight.shape[0]))
    if len(targets) <= size:
        return TokenScores(*score(hidden, targets))
    parts = [
        cast("tuple[Tensor, Tensor, Tensor]", checkpoint(score, h, t, use_reentrant=False))
        for h, t in zip(hidden.split(size), targets.split(size), strict=True)
    ]
    return TokenScores(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _score(
    head: Any, reserved: Sequence[int], temperature: float, hidden: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`hidden` [M, H] and `targets` [M] to the three columns of `TokenScores`."""
    logprobs = mask_reserved(head(hidden).float() / temperature, reserved).log_softmax(-1)
    with torch.no_grad():
        entropy = -(logprobs.exp() * logprobs.clamp(min=-1e9)).sum(-1)
        best = logprobs.argmax(-1) == targets
    return logprobs.gather(-1, targets[:, None])[:, 0], entropy, best


def sampled_targets(batch: Batch | PrefixTree) -> Tensor:
    """The sampled token ids [M], row-major over [B, L]."""
    return batch.input_ids[:, 1:][batch.loss_mask[:, 1:]]


def sampled_rows(batch: Batch | PrefixTree) -> Tensor:
    """For each sampled token the row of the batch it belongs to, [M]."""
    return batch.loss_mask[:, 1:].nonzero()[:, 0]
