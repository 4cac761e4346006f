"""One supervised step on weighted assistant tokens: what lessons and SFT share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.glances import Glance
from vrag.data.lessons import Lesson
from vrag.episode import Tokens
from vrag.training.attention import quick_tower
from vrag.training.batch import collate, micro_batches
from vrag.training.guidance import GuidanceConfig, guidance_loss, kept_heads
from vrag.training.logprobs import sampled_scores
from vrag.training.losses import supervised_loss
from vrag.training.precision import Precision, autocast


@dataclass(frozen=True)
class Example:
    """An episode's tokens, a weight per assistant token (in order, the ones in the mask), and where to look."""

    tokens: Tokens
    weights: list[float]
    glances: tuple[Glance, ...] = ()

    @classmethod
    def of(cls, lesson: Lesson, weight: float = 1.0) -> Example:
        """Every token of `lesson` at one weight."""
        return cls(lesson.tokens, [weight] * sum(lesson.tokens.loss_mask), lesson.glances)


Extra = Callable[[np.random.Generator], Sequence[Lesson]]  # draws the further examples of one step


def no_extra(rng: np.random.Generator) -> Sequence[Lesson]:
    return []


@dataclass(frozen=True)
class SupervisedStep:
    """`loss` is the weighted mean; `right` says per example and assistant token whether its argmax is right, and
    `looked` per example and glance whether the guided heads chose the right token.
    """

    loss: float
    right: list[list[bool]]
    looked: list[list[bool]]
    tokens: int

    def glanced(self, examples: Sequence[Example]) -> dict[str, float]:
        """Of the `examples` of this step, the share of glances at images and of those at text that are right; of none,
        nothing.
        """
        hits: dict[str, list[bool]] = {}
        for example, looked in zip(examples, self.looked, strict=True):
            for glance, hit in zip(example.glances, looked, strict=False):
                hits.setdefault("echoed" if glance.moves else "looked", []).append(hit)
        return {name: float(np.mean(found)) for name, found in hits.items()}

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
    guidance: GuidanceConfig | None = None,
) -> SupervisedStep:
    """Accumulate gradients over micro-batches of at most `max_tokens` padded tokens; doesn't step.

    With `guidance`, the mean losses of the glances at images and of those at text are added to that of the tokens.
    """
    total_weight = sum(sum(e.weights) for e in examples)
    glanced = Counter(glance.moves for e in examples for glance in e.glances)
    lengths = [len(e.tokens.ids) for e in examples]
    right: list[list[bool]] = [[] for _ in examples]
    looked: list[list[bool]] = [[] for _ in examples]
    loss = 0.0
    for group in micro_batches(lengths, max_tokens):
        chosen = [examples[i] for i in group]
        with quick_tower(model, precision):
            with autocast(model, precision):
                part = _forward(model, codec, chosen, guidance)
            part_loss = part.loss * (sum(sum(e.weights) for e in chosen) / total_weight)
            if guidance is not None and part.looked:
                shares = [guidance.weight / glanced[glance.moves] for e in chosen for glance in e.glances]
                part_loss = part_loss + (part.glances * torch.tensor(shares, device=part.glances.device)).sum()
            part_loss.backward()
        loss += float(part_loss.detach())
        hits, looks = iter(part.right), iter(part.looked)
        for i in group:
            right[i] = list(islice(hits, len(examples[i].weights)))
            looked[i] = list(islice(looks, len(examples[i].glances))) if guidance else []
    return SupervisedStep(loss, right, looked, sum(lengths))


@dataclass(frozen=True)
class _Forward:
    """Of one micro-batch: the weighted mean loss, the loss of each of its glances, and what was right."""

    loss: torch.Tensor
    glances: torch.Tensor
    right: list[bool]
    looked: list[bool]


def _forward(model: Any, codec: QwenVLCodec, examples: Sequence[Example], guidance: GuidanceConfig | None) -> _Forward:
    batch = collate(
        [e.tokens for e in examples],
        pad_id=codec.tokenizer.pad_token_id,
        image_pad_id=codec.image_pad_id,
        model=model,
    )
    with nullcontext([]) if guidance is None else kept_heads(model, guidance) as heads:
        scores = sampled_scores(model, batch)
    weights = torch.tensor([w for e in examples for w in e.weights], device=scores.logprobs.device)
    glances, looked = scores.logprobs.new_zeros(0), list[bool]()
    if guidance is not None and heads:
        glances, looked = guidance_loss(heads[-1], batch.kinds == 1, [e.glances for e in examples], guidance)
    return _Forward(supervised_loss(scores.logprobs, weights), glances, scores.best.tolist(), looked)
