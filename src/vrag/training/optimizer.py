"""AdamW or Muon, with the schedules that the recipes use."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import torch

from vrag.errors import ConfigError
from vrag.types import Frozen


class OptimizerConfig(Frozen):
    """`warmup` is a share of all steps. After it, "cosine" falls to `floor` times `lr`.

    "muon" orthogonalises the updates of matrices (Keller Jordan's method, as torch has it) and leaves embeddings,
    norms and biases to AdamW; its `lr` is on AdamW's scale (`match_rms_adamw`). It teaches a model from nothing in
    a third of the steps; AdamW is what the paper trains with.
    """

    method: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-5
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: float = 0.1
    floor: float = 0.05
    weight_decay: float = 0.0
    beta2: float = 0.98
    max_grad_norm: float = 1.0


class Optimizer:
    """torch optimisers that share out a model's parameters and step as one."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self._parts = parts
        self.state: defaultdict[torch.Tensor, dict[str, Any]] = defaultdict(dict)
        for part in parts:
            part.state = self.state

    def step(self, lr: float) -> None:
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = lr
            part.step()

    def clear(self) -> None:
        for part in self._parts:
            part.zero_grad(set_to_none=True)


def make_optimizer(model: Any, config: OptimizerConfig) -> Optimizer:
    """Over the parameters of `model` that require gradients. Raises `ConfigError` where torch has no Muon."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices: list[torch.Tensor] = []
    if config.method == "muon":
        embedding = model.get_input_embeddings().weight
        matrices = [p for p in trained if p.ndim == 2 and p is not embedding]
    chosen = {id(p) for p in matrices}
    rest = [p for p in trained if id(p) not in chosen]
    parts: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=config.lr, betas=(0.9, config.beta2), weight_decay=config.weight_decay)
    ]
    if matrices:
        parts.append(_muon(matrices, config))
    return Optimizer(parts)


def _muon(matrices: Sequence[torch.Tensor], config: OptimizerConfig) -> torch.optim.Optimizer:
    muon = getattr(torch.optim, "Muon", None)
    if muon is None:
        raise ConfigError(f"torch {torch.__version__} has no Muon; upgrade to 2.9, or set optimizer.method = adamw")
    return muon(matrices, lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw")


def rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of `step` (from 0) of `steps`."""
    warm = max(1, round(config.warmup * steps))
    if step < warm:
        return config.lr * (step + 1) / warm
    if config.schedule == "constant":
        return config.lr
    progress = min(1.0, (step - warm) / max(1, steps - warm))
    return config.lr * (config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def apply(optimizer: Optimizer, model: Any, config: OptimizerConfig, lr: float) -> float:
    """Clip, step and clear; returns the gradient norm before clipping."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    optimizer.step(lr)
    optimizer.clear()
    return float(norm)
