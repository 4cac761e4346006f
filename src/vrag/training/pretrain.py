"""Learning to see and to point from nothing: the vision tower learns what each patch shows (`vrag.training.seeing`),
and the language model, from the same features, to point at values and to read them (`vrag.data.lessons`).

A language model that learns over a finished tower learns the features of pages that the tower knows by heart, and looks
astray on others. Here both learn at once: what is asked for, the tower learns to make easy to find.

The curriculum is adaptive: `level`, the share of the batch that is whole pages and crops, starts at 0, where all are
windows of one word. Once labels are read with an accuracy above `threshold` it rises by `rise` a step, up to 1. What is
asked of pages counts by it too: the mean over one page is noise that keeps a tower from learning to read.

The heads are thrown away in the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.lessons import Lesson, PageLessons
from vrag.data.sights import PageSights, Sight
from vrag.errors import ConfigError
from vrag.policies.vision import given
from vrag.training.attention import quick_attention
from vrag.training.guidance import GuidanceConfig
from vrag.training.optimizer import OptimizerConfig, apply, make_optimizer, rate
from vrag.training.precision import Precision, autocast
from vrag.training.run import CheckpointConfig, TrainingRun
from vrag.training.seeing import Heads, look, sight_loss
from vrag.training.supervised import Example, Extra, SupervisedBatch, no_extra
from vrag.types import Frozen


class PretrainConfig(Frozen):
    """Defaults train vrag-tiny. A step has `labels` and `values` windows at level 0, and half of them, `crops` and
    `pages` at level 1. The share `recoloured` of the windows is printed in other ink; the share `tinted` of all sights
    is shown in the colours of another theme. Of a page up to `queries` values are asked for; the few tokens that an
    image decides weigh `seen_weight`.
    """

    steps: int = 2100
    labels: int = 96
    values: int = 96
    crops: int = 12
    pages: int = 8
    recoloured: float = 0.3
    tinted: float = 0.5
    rise: float = 0.02
    threshold: float = 0.65
    momentum: float = 0.9
    queries: int = 6
    seen_weight: float = 4.0
    guidance: GuidanceConfig = GuidanceConfig()
    max_tokens: int = 8192
    precision: Precision = "auto"
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig(
        method="muon", lr=1e-2, rest=0.3, schedule="cosine", warmup=1 / 75, restarts=(2 / 3,)
    )
    checkpoints: CheckpointConfig = CheckpointConfig(every=100, keep=1)


@dataclass
class Curriculum:
    """The level, and the running accuracy of reading labels."""

    config: PretrainConfig
    level: float = 0.0
    accuracy: float = 0.0

    def update(self, right: float) -> None:
        self.accuracy += (1 - self.config.momentum) * (right - self.accuracy)
        if self.level > 0 or self.accuracy > self.config.threshold:
            self.level = min(1.0, self.level + self.config.rise)

    def draw(self, sights: PageSights, rng: np.random.Generator) -> list[Sight]:
        config, share = self.config, 1 - self.level / 2
        windows = sights.windows(round(share * config.labels), round(share * config.values), rng)
        crops = sights.crops(round(self.level * config.crops), rng)
        pages = sights.pages(round(self.level * config.pages), rng)
        return [
            *(self._coloured(one, config.recoloured, rng) for one in windows),
            *(self._coloured(one, 0.0, rng) for one in (*crops, *pages)),
        ]

    def _coloured(self, sight: Sight, recoloured: float, rng: np.random.Generator) -> Sight:
        drawn = rng.random()
        if drawn < recoloured:
            return sight.recoloured(rng)
        return sight.tinted(rng) if drawn < recoloured + self.config.tinted else sight


def pretrain(
    model: Any,
    codec: QwenVLCodec,
    sights: PageSights,
    lessons: PageLessons,
    labels: int,
    config: PretrainConfig,
    out: Path,
    on_step: Callable[[dict[str, Any]], None] = lambda metrics: None,
    extra: Extra = no_extra,
) -> None:
    """Train `model` in place; rerunning the same call continues from the newest checkpoint.

    `labels`: how many labels the targets of `sights` tell apart. `lessons` are about the same pages; `extra` draws
    further ones, without images, for each step that has some. Raises `ConfigError` for a family without deepstack.
    """
    if not getattr(model.config.vision_config, "deepstack_visual_indexes", None):
        raise ConfigError(
            f"a {model.config.model_type} can't be pretrained: its tower has no absolute places and gives the language "
            "model its last layer alone; set shape.family = qwen3_vl"
        )
    model.requires_grad_(True)
    torch.manual_seed(config.seed)
    heads = Heads(model.config.vision_config.hidden_size, model.config.text_config.hidden_size, labels)
    heads.to(model.device)
    optimizer = make_optimizer(model, config.optimizer, heads)
    run = TrainingRun(out, config, model, codec, optimizer, config.checkpoints, heads)
    curriculum = Curriculum(config, **run.state.get("curriculum", {}))
    model.train()
    for step in range(run.start, config.steps):
        began = time.perf_counter()
        rng = np.random.default_rng([config.seed, step])
        level = curriculum.level
        shown = curriculum.draw(sights, rng)
        taught = [lessons.about(sight, config.queries, rng) for sight in shown]
        copies = extra(rng) if any(taught) else ()
        with quick_attention(model, config.precision):
            with autocast(model, config.precision):
                loss, right = _loss(model, heads, codec, shown, taught, copies, config, level, rng)
            loss.backward()
        if "words" in right:
            curriculum.update(right["words"])
        lr = rate(config.optimizer, step, config.steps)
        norm = apply(optimizer, model, config.optimizer, lr, heads)
        metrics = {"loss": float(loss.detach()), "level": level, **right, "gradient_norm": norm, "lr": lr}
        metrics["seconds"] = time.perf_counter() - began
        state = {"curriculum": {"level": curriculum.level, "accuracy": curriculum.accuracy}}
        run.commit(step, config.steps, metrics, state)
        on_step({"step": step, "steps": config.steps, **metrics})


def _loss(
    model: Any,
    heads: Heads,
    codec: QwenVLCodec,
    shown: Sequence[Sight],
    taught: Sequence[Lesson | None],
    copies: Sequence[Lesson],
    config: PretrainConfig,
    level: float,
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Of what the patches of all sights show, and of the lessons about them and the `copies`; and what of each is
    right. Each image goes through the tower once, for both.
    """
    images = [
        lesson.tokens.images[0] if lesson else codec.encode_pixels(sight.image)
        for sight, lesson in zip(shown, taught, strict=True)
    ]
    seen = look(model, images)
    loss, right = sight_loss(model, heads, codec, seen, [sight.targets for sight in shown], level, rng)
    lessons = [*filter(None, taught), *copies]
    if not lessons:
        return loss, right
    examples = [Example.of(lesson, config.seen_weight) for lesson in lessons]
    batch = SupervisedBatch(examples, config.max_tokens, config.guidance)
    with given(model, dict(zip(map(id, images), seen.features, strict=True))):
        told = torch.stack([batch.forward(model, codec, group) for group in batch.groups]).sum()
    result = batch.result(float(told.detach()))
    return loss + level * told, {**right, "told": result.loss, **result.told(lessons)}
