"""Other ways for a model's layers to attend, and a quicker one for a vision tower on a CPU with bf16 in hardware.

PyTorch's attention on CPUs takes as long in bf16 as in fp32. A matrix product doesn't: it is three times as fast with
AVX-512 BF16. So there attention is written out as two products and a softmax, which keeps a page's whole matrix of
scores (848 x 848 for two heads: 3 MB) and is 1.7 times as fast, forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from vrag.training.precision import Precision

NAME = "vrag_products"
LONGEST = 1024  # patches of an image: the scores of longer ones take more memory than the time is worth


@contextmanager
def attending(config: Any, name: str, attend: Callable[..., Any]) -> Generator[None]:
    """Within, the layers of `config`, a part of a model's, attend by `attend`, which transformers knows by `name`."""
    from transformers import AttentionInterface

    AttentionInterface.register(name, attend)
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


def quick_tower(model: Any, precision: Precision) -> AbstractContextManager[None]:
    """Within, `model`'s tower attends by products where that is quicker: in bf16 on a CPU. Else nothing changes. Go
    backward within too: activations that are computed again have to be computed in the same way.
    """
    if precision != "bf16" or model.device.type != "cpu":
        return nullcontext()
    return attending(model.config.vision_config, NAME, _attend)


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
