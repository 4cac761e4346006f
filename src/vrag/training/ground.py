"""Learning to look and to write boxes: the second stage of pretraining, for a language model whose tower sees already.

Each step takes lessons about pages and crops (`vrag.data.lessons`) and text-only examples of copying
(`vrag.data.copying`). The tower stays as it is, so its features are computed once per image.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.lessons import PageLessons
from vrag.training.guidance import GuidanceConfig
from vrag.training.optimizer import OptimizerConfig, apply, make_optimizer, rate
from vrag.training.precision import Precision
from vrag.training.run import CheckpointConfig, TrainingRun
from vrag.training.supervised import Example, Extra, no_extra, supervised_step
from vrag.types import Frozen


class GroundConfig(Frozen):
    """Defaults train vrag-tiny. A step has `pages` with up to `queries` boxes each; to read, `crops` of any values and
    `bridges` of values that a next search asks for; and `checks` of crops that may have missed, to draw the box again.
    The few tokens that an image decides weigh `seen_weight`.
    """

    steps: int = 200
    pages: int = 20
    queries: int = 6
    crops: int = 12
    bridges: int = 10
    checks: int = 6
    seen_weight: float = 4.0
    guidance: GuidanceConfig = GuidanceConfig()
    max_tokens: int = 8192
    precision: Precision = "auto"
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig(method="muon", lr=5e-3, rest=0.5, schedule="cosine", warmup=0.03)
    checkpoints: CheckpointConfig = CheckpointConfig(every=200, keep=1)


def ground(
    model: Any,
    codec: QwenVLCodec,
    lessons: PageLessons,
    config: GroundConfig,
    out: Path,
    on_step: Callable[[dict[str, Any]], None] = lambda metrics: None,
    extra: Extra = no_extra,
) -> None:
    """Train `model`'s language side in place; rerunning the same call continues from the newest checkpoint."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("visual" not in name)
    optimizer = make_optimizer(model, config.optimizer)
    run = TrainingRun(out, config, model, codec, optimizer, config.checkpoints)
    model.train()
    for step in range(run.start, config.steps):
        began = time.perf_counter()
        rng = np.random.default_rng([config.seed, step])
        pages = [lessons.point(config.queries, rng) for _ in range(config.pages)]
        crops = [lessons.read(rng) for _ in range(config.crops)]
        crops += [lessons.bridge(rng) for _ in range(config.bridges)]
        crops += [lessons.check(rng) for _ in range(config.checks)]
        given = [*pages, *crops, *extra(rng)]
        examples = [Example.of(lesson, config.seen_weight) for lesson in given]
        result = supervised_step(model, codec, examples, config.max_tokens, config.precision, config.guidance)
        lr = rate(config.optimizer, step, config.steps)
        norm = apply(optimizer, model, config.optimizer, lr)
        metrics = {
            "loss": result.loss,
            **result.told(given),
            "lr": lr,
            "gradient_norm": norm,
            "seconds": time.perf_counter() - began,
        }
        run.commit(step, config.steps, metrics)
        on_step({"step": step, "steps": config.steps, **metrics})
