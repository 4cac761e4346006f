"""AdamW with the schedules that the recipes use."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch

from vrag.types import Frozen


class OptimizerConfig(Frozen):
    """`warmup` is a share of all steps. After it, "cosine" falls to `floor` times `lr`."""

    lr: float = 1e-5
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: float = 0.1
    floor: float = 0.05
    weight_decay: float = 0.0
    beta2: float = 0.98
    max_grad_norm: float = 1.0


def make_optimizer(parameters: Iterable[Any], config: OptimizerConfig) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        [p for p in parameters if p.requires_grad],
        lr=config.lr,
        betas=(0.9, config.beta2),
        weight_decay=config.weight_decay,
    )


def rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of `step` (from 0) of `steps`."""
    warm = max(1, round(config.warmup * steps))
    if step < warm:
        return config.lr * (step + 1) / warm
    if config.schedule == "constant":
        return config.lr
    progress = min(1.0, (step - warm) / max(1, steps - warm))
    return config.lr * (config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def apply(optimizer: Any, model: Any, config: OptimizerConfig, lr: float) -> float:
    """Clip, step and clear; returns the gradient norm before clipping."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(norm)
