"""Supervised fine-tuning on expert episodes: assistant tokens only.

The paper fine-tunes on trajectories of an expert before RL (§3.4 and appendix); observation tokens are masked
by the episode itself. `turn_weights` weigh the few tokens that carry an answer or a box against the many
that repeat the question.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.episode import Episode
from vrag.errors import ConfigError, DataError
from vrag.runs import content_key
from vrag.training.demonstration import example
from vrag.training.guidance import GuidanceConfig
from vrag.training.lora import PolicyLora, result_of, trainable
from vrag.training.memory import checkpoint_activations, keep_products
from vrag.training.optimizer import OptimizerConfig, apply, make_optimizer, rate
from vrag.training.precision import Precision
from vrag.training.run import CheckpointConfig, TrainingRun
from vrag.training.supervised import Example, Extra, no_extra, supervised_step
from vrag.types import Frozen

_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class SFTConfig(Frozen):
    """Defaults are the paper's (FACTS: SFT hyperparameters): 3 epochs, batch 16 x 2, lr 1e-5 cosine, warmup 0.1."""

    epochs: float = Field(default=3, gt=0, allow_inf_nan=False)
    batch: int = Field(default=32, ge=1)
    max_tokens: int = Field(default=16_384, ge=1)  # padded tokens of one micro-batch
    turn_weights: dict[str, _Weight] = Field(default={"search": 1.0, "bbox": 1.0, "answer": 1.0})
    freeze_vision: bool = True  # the tower and what projects its features into the language model
    lora: PolicyLora | None = None  # None: all weights that aren't frozen are trained
    guidance: GuidanceConfig | None = None  # tells the tokens of a box where to look; needs gold boxes
    precision: Precision = "auto"
    # less memory for a second forward: it trains the same, so a run may be continued with it or without
    gradient_checkpointing: bool = Field(default=False, exclude=True)
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-5, schedule="cosine", warmup=0.1, floor=0.0)
    checkpoints: CheckpointConfig = CheckpointConfig()


class _Run(Frozen):
    """What a run must agree in to be continued."""

    episodes: str
    config: SFTConfig


def sft(
    model: Any,
    codec: QwenVLCodec,
    episodes: Sequence[Episode],
    config: SFTConfig,
    out: Path,
    on_step: Callable[[dict[str, Any]], None] = lambda metrics: None,
    extra: Extra = no_extra,
) -> Any:
    """Train `model` in place; rerunning the same call continues from the newest checkpoint. Returns what is to be
    saved: `model`, adapters merged, or with `lora.merge` off the peft model around it. Raises `DataError` without
    episodes, `UsageError` when the run at `out` has others or another `config`.

    `extra` draws further examples for each step (`vrag.data.copying`), from a generator that is a function of
    the step.
    """
    if not episodes:
        raise DataError("no expert episodes to train on: construct some first")
    trained = trainable(model, config.lora, freeze_vision=config.freeze_vision, seed=config.seed)
    if config.gradient_checkpointing:
        checkpoint_activations(model)
    elif config.guidance is None:  # whose scores have to outlive their layer
        keep_products(model)
    examples = [example(e, config.turn_weights, codec if config.guidance else None) for e in episodes]
    examples = [e for e in examples if any(e.weights)]  # nothing is learnt from one where only other turns weigh
    if not examples:
        raise ConfigError(f"turn_weights {config.turn_weights}: no turn of any episode has a weight")
    optimizer = make_optimizer(trained, config.optimizer)
    key = _Run(episodes=_digest(examples), config=config)
    run = TrainingRun(out, key, trained, codec, optimizer, config.checkpoints)
    steps = max(1, round(config.epochs * len(examples) / config.batch))
    model.train()
    for step in range(run.start, steps):
        began = time.perf_counter()
        chosen = [examples[i] for i in indices(step, config.batch, len(examples), config.seed)]
        chosen += map(Example.of, extra(np.random.default_rng([config.seed, 1, step])))
        result = supervised_step(model, codec, chosen, config.max_tokens, config.precision, config.guidance)
        if not isfinite(result.loss):
            raise DataError(
                f"step {step}: the loss is {result.loss}; lower optimizer.lr: the checkpoints are from before"
            )
        lr = rate(config.optimizer, step, steps)
        norm = apply(optimizer, trained, config.optimizer, lr)
        metrics = {
            "loss": result.loss,
            "exact": float(np.mean(result.exact)),
            **result.glanced(chosen),
            "lr": lr,
            "gradient_norm": norm,
            "tokens": result.tokens,
            "seconds": time.perf_counter() - began,
        }
        run.commit(step, steps, metrics)
        on_step({"step": step, "steps": steps, **metrics})
    return result_of(trained, config.lora)


def _digest(examples: Sequence[Example]) -> str:
    return content_key(*(sha256(np.asarray(e.tokens.ids, np.int32).tobytes()).hexdigest() for e in examples))


def indices(step: int, batch: int, size: int, seed: int) -> list[int]:
    """The samples of `step`: a fresh permutation per epoch, a function of (seed, step) alone."""
    chosen: list[int] = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, offset = divmod(position, size)
        chosen.append(int(_permutation(epoch, size, seed)[offset]))
    return chosen


def _permutation(epoch: int, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(size)
