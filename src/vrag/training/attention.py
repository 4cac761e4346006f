"""Attention of a vision tower on a CPU with bf16 in hardware.

PyTorch's attention on CPUs multiplies in fp32 whatever it is given. A matrix product of bf16 isn't: three times as fast
with AVX-512 BF16. So there attention is written out as two products and a softmax, which keeps a page's whole matrix
of scores (848 x 848 for two heads: 3 MB) and is 1.7 times as fast, forward and backward.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vrag.training.precision import Precision

NAME = "vrag_products"
LONGEST = 1024  # patches of an image: the scores of longer ones take more memory than the time is worth


@contextmanager
def quick_tower(model: Any, precision: Precision) -> Generator[None]:
    """Within, `model`'s tower attends by products where that is quicker: in bf16 on a CPU. Else nothing changes."""
    if precision != "bf16" or model.device.type != "cpu":
        yield
        return
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attend)
    config = model.config.vision_config
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None = None,
    scaling: float = 1.0,
    **options: Any,
) -> tuple[Tensor, Any]:
    """Of one image: query, key, value [1, heads, L, D] to [1, L, heads, D]. Every patch sees every other."""
    if query.shape[2] > LONGEST:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    with torch.autocast(query.device.type, enabled=False):  # which would make a softmax fp32, and its gradient
        weights = (query * scaling @ key.transpose(-1, -2)).softmax(-1)
        return (weights @ value).transpose(1, 2), None
