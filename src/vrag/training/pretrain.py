"""Learning to see from nothing: reading and pointing (`vrag.data.lessons`), and copying, one batch per step.

The curriculum is adaptive: `level` starts at 0 (the text to read is large and in the middle of the crop) and
rises by `rise` whenever the running accuracy at the present level passes `threshold`, up to 1 (small, and
anywhere in it). With it grows the share of values cropped as an agent crops them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.lessons import Class, Lesson, PageLessons
from vrag.episode import Tokens
from vrag.training.optimizer import OptimizerConfig, apply, make_optimizer, rate
from vrag.training.precision import Precision
from vrag.training.run import CheckpointConfig, TrainingRun
from vrag.training.supervised import Example, Extra, no_extra, supervised_step
from vrag.types import Frozen

READ_WEIGHT = 4.0  # of a token: a transcription has about five, a box over twenty


class PretrainConfig(Frozen):
    """Defaults train vrag-tiny. A step has `reads` crops to transcribe, `locates` to point in and, from `point_from`
    of the steps on, `pages` page views with `queries` boxes each. Of the reads, `words` are words and `values` times
    the level values; the rest are numbers and codes, half and half.
    """

    steps: int = 1400
    reads: int = 24
    locates: int = 16
    pages: int = 16
    queries: int = 2
    point_from: float = 0.05
    words: float = 0.35
    values: float = 0.3
    rise: float = 0.05
    threshold: float = 0.6
    momentum: float = 0.9
    max_tokens: int = 8192
    precision: Precision = "bf16"
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig(method="muon", lr=8e-3, schedule="cosine", warmup=0.03)
    checkpoints: CheckpointConfig = CheckpointConfig(every=200, keep=1)


@dataclass
class Curriculum:
    """The level of *read* and the running accuracy at it."""

    config: PretrainConfig
    level: float = 0.0
    accuracy: float = 0.0

    def update(self, right: float) -> None:
        m = self.config.momentum
        self.accuracy = m * self.accuracy + (1 - m) * right
        if self.accuracy > self.config.threshold and self.level < 1.0:
            self.level = min(1.0, self.level + self.config.rise)
            self.accuracy -= 0.05  # earn the next rise at the new level


def pretrain(
    model: Any,
    codec: QwenVLCodec,
    pages: PageLessons,
    config: PretrainConfig,
    out: Path,
    on_step: Callable[[dict[str, Any]], None] = lambda metrics: None,
    extra: Extra = no_extra,
) -> None:
    """Train `model` in place; rerunning the same call continues from the newest checkpoint.

    `extra` draws further examples for each step (`vrag.data.copying`).
    """
    optimizer = make_optimizer(model, config.optimizer)
    run = TrainingRun(out, config, model, codec, optimizer, config.checkpoints)
    curriculum = Curriculum(config, **run.state.get("curriculum", {}))
    model.train()
    for step in range(run.start, config.steps):
        began = time.perf_counter()
        metrics = _step(model, codec, pages, curriculum, step, extra)
        lr = rate(config.optimizer, step, config.steps)
        metrics["gradient_norm"] = apply(optimizer, model, config.optimizer, lr)
        metrics |= {"lr": lr, "seconds": time.perf_counter() - began}
        state = {"curriculum": {"level": curriculum.level, "accuracy": curriculum.accuracy}}
        run.commit(step, config.steps, metrics, state)
        on_step({"step": step, "steps": config.steps, **metrics})


def _step(
    model: Any, codec: QwenVLCodec, pages: PageLessons, curriculum: Curriculum, step: int, extra: Extra
) -> dict[str, Any]:
    """Gradients of one batch, and the curriculum's next level."""
    config, level = curriculum.config, curriculum.level
    rng = np.random.default_rng([config.seed, step])
    kinds: list[Class] = [_kind(rng, config, level) for _ in range(config.reads)]
    lessons = [pages.read(kind, level * rng.uniform(0.4, 1.0), rng) for kind in kinds]
    lessons += [pages.read(kind, rng.random(), rng, pointing=True) for kind in kinds[: config.locates]]
    if step >= config.point_from * config.steps:
        lessons += [pages.point(config.queries, rng) for _ in range(config.pages)]
    lessons += [Lesson(tokens, ("copy",)) for tokens in extra(rng)]
    examples = [Example(lesson.tokens, _weights(lesson)) for lesson in lessons]
    result = supervised_step(model, codec, examples, config.max_tokens, config.precision)
    right: dict[str, list[bool]] = {}
    for lesson, hits in zip(lessons, result.right, strict=True):
        for name, hit in zip(lesson.turns, _turns(lesson.tokens, hits), strict=True):
            right.setdefault(name, []).append(hit)
    curriculum.update(float(np.mean(right.get("number", []) + right.get("code", []) or [0.0])))
    return {"loss": result.loss, "level": level} | {name: float(np.mean(hits)) for name, hits in right.items()}


def _kind(rng: np.random.Generator, config: PretrainConfig, level: float) -> Class:
    draw = float(rng.random())
    if draw < config.words:
        return "word"
    if draw < config.words + config.values * level:
        return "value"
    return "number" if rng.random() < 0.5 else "code"


def _weights(lesson: Lesson) -> list[float]:
    """Per assistant token: those of a transcription are few, those of boxes and copies many."""
    lengths = zip(lesson.turns, lesson.tokens.turn_lengths(), strict=True)
    return [READ_WEIGHT if turn in get_args(Class) else 1.0 for turn, length in lengths for _ in range(length)]


def _turns(tokens: Tokens, hits: Sequence[bool]) -> list[bool]:
    """Whether all tokens of a turn are right, per turn."""
    left = iter(hits)
    return [all(list(islice(left, length))) for length in tokens.turn_lengths()]
