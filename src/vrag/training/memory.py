"""Less memory for more arithmetic."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts


def checkpoint_activations(model: Any) -> None:
    """Keep only what enters each layer while `model` trains, and compute the rest again for the gradient."""
    _checkpoint(model)


def keep_products(model: Any) -> None:
    """Keep what enters each layer, its matrix products and its attention while `model` trains, and compute again what
    stands between them, such as norms and activations: half of the memory, for a few percent of the time.
    """
    _checkpoint(model, context_fn=partial(create_selective_checkpoint_contexts, _policy))


def _checkpoint(model: Any, **how: Any) -> None:
    # the other way, with reentrance, needs an input with a gradient, which frozen embeddings lack
    arguments = {"use_reentrant": False, **how}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=arguments)
    else:  # before transformers 5.22
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=arguments)


def _policy(context: Any, operation: Any, *arguments: Any, **settings: Any) -> CheckpointPolicy:
    name = operation.name().removeprefix("aten::")
    kept = name in ("mm", "addmm") or name.startswith("_scaled_dot_product")  # whatever device's attention it is
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE
