"""AdamW or Muon, with the schedules that the recipes use."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from vrag.errors import ConfigError
from vrag.types import Frozen


class OptimizerConfig(Frozen):
    """`warmup` is a share of all steps. After it, "cosine" falls to `floor` times `lr`; with `restarts`, it has fallen
    after each of these shares of the steps, and falls once more from half of `lr` (warm restarts: Loshchilov & Hutter
    2017).

    "muon" orthogonalises the updates of matrices (Keller Jordan's method, as torch has it) and leaves embeddings,
    norms and biases to AdamW; its `lr` is on AdamW's scale (`match_rms_adamw`). It teaches a model from nothing in
    a third of the steps; AdamW is what the paper trains with. `rest` scales the rate of what Muon leaves to AdamW,
    whose steps are five times as large at one rate.
    """

    method: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(default=1e-5, ge=0, allow_inf_nan=False)
    rest: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: float = Field(default=0.1, ge=0, le=1)
    floor: float = Field(default=0.05, ge=0, le=1)
    restarts: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    beta2: float = Field(default=0.98, ge=0, lt=1)
    max_grad_norm: float = Field(default=1.0, gt=0)  # inf: gradients aren't clipped


class Optimizer:
    """torch optimisers that share out a model's parameters and step as one, each with its share of the rate."""

    def __init__(self, parts: Sequence[tuple[torch.optim.Optimizer, float]]) -> None:
        self._parts = parts
        self.state: defaultdict[torch.Tensor, dict[str, Any]] = defaultdict(dict)
        for part, _ in parts:
            part.state = self.state

    def step(self, lr: float) -> None:
        for part, share in self._parts:
            for group in part.param_groups:
                group["lr"] = lr * share
            part.step()

    def clear(self) -> None:
        for part, _ in self._parts:
            part.zero_grad(set_to_none=True)


def make_optimizer(model: Any, config: OptimizerConfig, heads: nn.Module | None = None) -> Optimizer:
    """Over what requires gradients of `model` and `heads`. Raises `ConfigError` where torch has no Muon."""
    trained = [p for p in _parameters(model, heads) if p.requires_grad]
    matrices: list[torch.Tensor] = []
    if config.method == "muon":
        embedding = model.get_input_embeddings().weight
        matrices = [p for p in trained if p.ndim == 2 and p is not embedding]
    chosen = {id(p) for p in matrices}
    rest = [p for p in trained if id(p) not in chosen]
    adamw = partial(torch.optim.AdamW, lr=config.lr, betas=(0.9, config.beta2), weight_decay=config.weight_decay)
    if not matrices:
        return Optimizer([(adamw(rest), 1.0)])
    muon = (_muon(matrices, config), 1.0)
    return Optimizer([(adamw(rest), config.rest), muon] if rest else [muon])


def _parameters(model: Any, heads: nn.Module | None) -> list[nn.Parameter]:
    return [*model.parameters(), *(heads.parameters() if heads is not None else ())]


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
    turns = [warm, *(round(share * steps) for share in config.restarts), steps]
    first = max(turn for turn in turns if turn <= step)
    last = min((turn for turn in turns if turn > step), default=steps)
    lr = config.lr if first == warm else config.lr / 2
    progress = min(1.0, (step - first) / max(1, last - first))
    return lr * (config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def apply(
    optimizer: Optimizer, model: Any, config: OptimizerConfig, lr: float, heads: nn.Module | None = None
) -> float:
    """Clip, step and clear; returns the gradient norm before clipping."""
    norm = torch.nn.utils.clip_grad_norm_(_parameters(model, heads), config.max_grad_norm)
    optimizer.step(lr)
    optimizer.clear()
    return float(norm)
