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
from vrag.training.attention import quick_attention
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
    def of(cls, lesson: Lesson, seen_weight: float = 1.0) -> Example:
        """The tokens of `lesson` that an image decides, a corner of a box or a value, at `seen_weight`; others at 1."""
        tokens, first = lesson.tokens, len(lesson.tokens.prompt_ids)
        seen = {place + 1 - first for one in lesson.glances if not one.moves for place in range(one.start, one.end)}
        sampled = [place for place, said in enumerate(tokens.loss_mask) if said]
        return cls(tokens, [seen_weight if place in seen else 1.0 for place in sampled], lesson.glances)


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

    def glanced(self, examples: Sequence[Example | Lesson]) -> dict[str, float]:
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

    def told(self, lessons: Sequence[Lesson]) -> dict[str, float]:
        """The same of the `lessons` of this step, and what was right: the share of a box's tokens, of values read off
        crops for the answer and for the next search, and of names copied. Of none, nothing.
        """
        exact = list(zip(lessons, self.exact, strict=True))
        pointed = zip(lessons, self.right, strict=True)
        hits = {
            "box_tokens": [hit for one, tokens in pointed if one.tokens.images and not one.reads for hit in tokens],
            "read": [hit for one, hit in exact if one.reads and not one.bridge],
            "bridged": [hit for one, hit in exact if one.bridge],
            "copied": [hit for one, hit in exact if not one.tokens.images],
        }
        return self.glanced(lessons) | {name: float(np.mean(found)) for name, found in hits.items() if found}


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
    batch = SupervisedBatch(examples, max_tokens, guidance)
    loss = 0.0
    for group in batch.groups:
        with quick_attention(model, precision):
            with autocast(model, precision):
                part = batch.forward(model, codec, group)
            part.backward()
        loss += float(part.detach())
    return batch.result(loss)


class SupervisedBatch:
    """The examples of a step: `groups` of them go forward together, and their losses add up to that of the step."""

    def __init__(self, examples: Sequence[Example], max_tokens: int, guidance: GuidanceConfig | None) -> None:
        self._examples, self._guidance = examples, guidance
        self._weight = sum(sum(e.weights) for e in examples)
        self._glanced = Counter(glance.moves for e in examples for glance in e.glances)
        self._lengths = [len(e.tokens.ids) for e in examples]
        self._right: list[list[bool]] = [[] for _ in examples]
        self._looked: list[list[bool]] = [[] for _ in examples]
        self.groups = list(micro_batches(self._lengths, max_tokens))

    def forward(self, model: Any, codec: QwenVLCodec, group: Sequence[int]) -> torch.Tensor:
        """The loss of the examples `group`, a part of the step's."""
        chosen = [self._examples[i] for i in group]
        part = _forward(model, codec, chosen, self._guidance, self._weight)
        loss = part.loss
        if self._guidance is not None and part.looked:
            shares = [self._guidance.weight / self._glanced[glance.moves] for e in chosen for glance in e.glances]
            loss = loss + (part.glances * torch.tensor(shares, device=part.glances.device)).sum()
        hits, looks = iter(part.right), iter(part.looked)
        for i in group:
            self._right[i] = list(islice(hits, len(self._examples[i].weights)))
            self._looked[i] = list(islice(looks, len(self._examples[i].glances))) if self._guidance else []
        return loss

    def result(self, loss: float) -> SupervisedStep:
        """Once all groups have gone forward."""
        return SupervisedStep(loss, self._right, self._looked, sum(self._lengths))


@dataclass(frozen=True)
class _Forward:
    """Of one micro-batch: its part of the weighted mean loss, the loss of each of its glances, and what was right."""

    loss: torch.Tensor
    glances: torch.Tensor
    right: list[bool]
    looked: list[bool]


def _forward(
    model: Any, codec: QwenVLCodec, examples: Sequence[Example], guidance: GuidanceConfig | None, total: float
) -> _Forward:
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
    return _Forward(supervised_loss(scores.logprobs, weights, total), glances, scores.best.tolist(), looked)
