"""One supervised step on weighted assistant tokens: what pretraining and SFT share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.episode import Tokens
from vrag.training.batch import collate, micro_batches
from vrag.training.logprobs import sampled_logits, sampled_targets
from vrag.training.losses import supervised_loss
from vrag.training.precision import Precision, autocast

Extra = Callable[[np.random.Generator], Sequence[Tokens]]  # draws the further examples of one step


def no_extra(rng: np.random.Generator) -> Sequence[Tokens]:
    return []


@dataclass(frozen=True)
class Example:
    """An episode's tokens and a weight per assistant token (in order, the ones in the mask)."""

    tokens: Tokens
    weights: list[float]


@dataclass(frozen=True)
class SupervisedStep:
    """`loss` is the weighted mean; `right` says per example and assistant token whether its argmax is right."""

    loss: float
    right: list[list[bool]]
    tokens: int

    @property
    def exact(self) -> list[bool]:
        """Per example, whether all of its tokens are right."""
        return [all(tokens) for tokens in self.right]


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
    right: list[list[bool]] = [[] for _ in examples]
    loss = 0.0
    for group in micro_batches(lengths, max_tokens):
        with autocast(model, precision):
            part, hits = _backward(model, codec, [examples[i] for i in group], total_weight)
        loss += part
        for i, tokens in zip(group, hits, strict=True):
            right[i] = tokens
    return SupervisedStep(loss, right, sum(lengths))


def _backward(
    model: Any, codec: QwenVLCodec, examples: Sequence[Example], total_weight: float
) -> tuple[float, list[list[bool]]]:
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
    hits = (logits.argmax(-1) == targets).split([len(e.weights) for e in examples])
    return float(loss.detach()), [part.tolist() for part in hits]
