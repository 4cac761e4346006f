"""A vision tower that is trained: each distinct image of a step goes through it once, whatever shows it.

Siblings look at the same pages, and land in different micro-batches. So these work on features without a graph, which
the rollout has left where the weights are still its own, and gather the gradient of each; afterwards every image goes
through the tower with a graph, to pass its gradient on (as in gradient caching, arXiv 2101.06983). The sum is the same,
and no micro-batch holds the tower's activations beside its own.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from vrag.policies.vision import Features, distinct, encode, features, given, learns_to_see, passes, takes_features
from vrag.types import EncodedImage


@contextmanager
def seeing_once(model: Any, images: Sequence[EncodedImage], max_patches: int) -> Generator[None]:
    """Within, forwards and backwards of any of `images`; at its end, the backward of the tower, in parts of at most
    `max_patches` (one image at least). For a tower that isn't trained there is nothing to do.
    """
    once = distinct(images)
    if not once or not learns_to_see(model) or not takes_features(model):
        yield
        return
    leaves = {key: _leaf(one) for key, one in features(model, once).items()}
    with given(model, leaves):
        yield
    for part in passes(once, max_patches):
        made = [tensor for one in encode(model, part) for tensor in one.tensors]
        found = [tensor.grad for image in part for tensor in leaves.pop(id(image)).tensors]
        reached = {tensor: grad for tensor, grad in zip(made, found, strict=True) if grad is not None}
        if reached:
            torch.autograd.backward(list(reached), list(reached.values()))


def _leaf(one: Features) -> Features:
    deep = one.deepstack and tuple(tensor.detach().requires_grad_() for tensor in one.deepstack)
    return replace(one, pooled=one.pooled.detach().requires_grad_(), deepstack=deep)
