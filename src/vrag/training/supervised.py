"""One supervised step on weighted assistant tokens: what pretraining and SFT share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.episode import Tokens
from vrag.training.batch import collate, micro_batches
from vrag.training.logprobs import sampled_logits, sampled_rows, sampled_targets
from vrag.training.losses import supervised_loss
from vrag.training.precision import Precision, autocast


@dataclass(frozen=True)
class Example:
    """An episode's tokens and a weight per assistant token (in order, the ones in the mask)."""

    tokens: Tokens
    weights: list[float]


@dataclass(frozen=True)
class SupervisedStep:
    """`loss` is the weighted mean; `exact` [B] says per example whether every token's argmax is right."""

    loss: float
    exact: list[bool]
    tokens: int


def supervised_step(
    model: Any,
    codec: QwenVLCodec,
    examples: Sequence[Example],
    max_tokens: int,
    precision: Precision = "fp32",
) -> SupervisedStep:
    """Accumulate gradients over micro-batches of at most `max_tokens` padded tokens; doesn't step."""
    total_weight = sum(sum(e.weights) for e in examples)
    lengths = [len(e.tokens.ids) for e in examples]
    exact = [True] * len(examples)
    loss = 0.0
    for group in micro_batches(lengths, max_tokens):
        with autocast(model, precision):
            part, right = _backward(model, codec, [examples[i] for i in group], total_weight)
        loss += part
        for i, ok in zip(group, right, strict=True):
            exact[i] = ok
    return SupervisedStep(loss, exact, sum(lengths))


def _backward(
    model: Any, codec: QwenVLCodec, examples: Sequence[Example], total_weight: float
) -> tuple[float, list[bool]]:
    batch = collate(
        [e.tokens for e in examples],
        pad_id=codec.tokenizer.pad_token_id,
        image_pad_id=codec.image_pad_id,
        model=model,
    )
    logits, targets = sampled_logits(model, batch, ()), sampled_targets(batch)
    weights = torch.tensor([w for e in examples for w in e.weights], device=logits.device)
    loss = supervised_loss(logits, targets, weights) * (weights.sum() / total_weight)
    loss.backward()
    return float(loss.detach()), _exact(logits, targets, sampled_rows(batch), len(examples))


def _exact(logits: Tensor, targets: Tensor, rows: Tensor, episodes: int) -> list[bool]:
    wrong = torch.bincount(rows, (logits.argmax(-1) != targets).double(), minlength=episodes)
    return [bool(w == 0) for w in wrong]
