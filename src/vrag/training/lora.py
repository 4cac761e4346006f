"""Adapters of low rank beside frozen weights (arXiv 2106.09685): what fine-tuning by LoRA shares."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from vrag.errors import ConfigError, UsageError
from vrag.hub import quiet_peft
from vrag.types import Frozen


class LoraConfig(Frozen):
    """Adapters of rank `rank`, scaled by `alpha` / `rank`, beside the linear layers that are named `targets` at their
    ends; the defaults are those of the language model and of an encoder's projection, as ColPali was trained
    (arXiv 2407.01449, §4.2).
    """

    rank: int = Field(default=32, ge=1)
    alpha: int = Field(default=32, ge=1)
    targets: tuple[str, ...] = (
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        "embedding_proj_layer",
    )


# the linear layers of both families' vision towers and mergers, beside those that are named as a language model's
VISION_TARGETS = ("attn.qkv", "attn.proj", "linear_fc1", "linear_fc2", "merger.mlp.0", "merger.mlp.2")


class PolicyLora(LoraConfig):
    """`merge`: save whole weights with the adapters in them; else the adapters alone, beside the base's name."""

    merge: bool = True


def with_adapters(model: Any, lora: LoraConfig, seed: int, exclude: str | None = None) -> Any:
    """`model` with fp32 adapters put into it, wrapped by peft; all its other weights are frozen. Modules whose whole
    name matches the regular expression `exclude` get none.

    Raises `UsageError` without peft, `ConfigError` when no layer has a name of `lora.targets`.
    """
    try:
        import peft
    except ImportError as failure:
        raise UsageError("training by LoRA needs peft: pip install 'vrag[lora]'") from failure
    settings = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.targets), exclude_modules=exclude
    )
    torch.manual_seed(seed)
    try:
        with quiet_peft():
            return peft.get_peft_model(model, settings)
    except ValueError as failure:
        raise ConfigError(f"lora.targets: {failure}") from failure


def trainable(model: Any, lora: PolicyLora | None, *, freeze_vision: bool, seed: int) -> Any:
    """`model` with gradients where it is to learn: everywhere, or with `lora` in its adapters, wrapped by peft; with
    `freeze_vision` in neither case in the vision tower, its mergers included.
    """
    if lora is None:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not (freeze_vision and "visual" in name))
        return model
    if freeze_vision:
        return with_adapters(model, lora, seed, exclude=r".*visual\..*")
    return with_adapters(model, lora.model_copy(update={"targets": lora.targets + VISION_TARGETS}), seed)


def result_of(trained: Any, lora: PolicyLora | None) -> Any:
    """What is to be saved of what `trainable` gave: whole weights, or with `merge` off the adapters alone."""
    return trained.merge_and_unload() if lora is not None and lora.merge else trained
