"""Log-probabilities of the sampled tokens under a model: the training side of the rollout's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vrag.policies.transformers import mask_reserved
from vrag.training.batch import Batch


def sampled_logits(model: Any, batch: Batch, reserved: Sequence[int], temperature: float = 1.0) -> Tensor:
    """Logits [M, V] in fp32 at the M sampled positions (row-major over [B, L]), reserved ids at -inf.

    Only those positions go through the head: the whole [B, L, V] tensor is never made. `temperature` 0
    means greedy sampling, whose log-probabilities are those at temperature 1.
    """
    hidden = model.model(**batch.inputs(model), use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[:, :-1][batch.loss_mask[:, 1:]]).float()
    return mask_reserved(logits / (temperature or 1.0), reserved)


def sampled_targets(batch: Batch) -> Tensor:
    """The sampled token ids [M], in the same order."""
    return batch.input_ids[:, 1:][batch.loss_mask[:, 1:]]


def sampled_rows(batch: Batch) -> Tensor:
    """For each sampled token the row of the batch it belongs to, [M]."""
    return batch.loss_mask[:, 1:].nonzero()[:, 0]


def logprobs_and_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """[M] log-probabilities (with gradient) and [M] entropies in nats (without)."""
    logprobs = logits.log_softmax(-1)
    chosen = logprobs.gather(-1, targets[:, None])[:, 0]
    with torch.no_grad():
        entropy = -(logprobs.exp() * logprobs.clamp(min=-1e9)).sum(-1)
    return chosen, entropy
