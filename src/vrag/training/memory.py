"""Less memory for more arithmetic."""

from __future__ import annotations

from typing import Any


def checkpoint_activations(model: Any) -> None:
    """Keep only what enters each layer while `model` trains, and compute the rest again for the gradient."""
    arguments = {"use_reentrant": False}  # the other way needs an input with a gradient, which frozen embeddings lack
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=arguments)
    else:  # before transformers 5.22
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=arguments)
