"""Other ways for a model's layers to attend, and a quicker one for training on a CPU with bf16 in hardware.

PyTorch's attention on CPUs takes as long in bf16 as in fp32. A matrix product doesn't: it is three times as fast with
AVX-512 BF16. So there attention is written out as two products and a softmax, which keeps whole matrices of scores
(of a page's 848 patches for two heads: 3 MB) and is 1.7 times as fast, forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from vrag.training.precision import Precision, in_bf16

TOWER, TEXT = "vrag_products", "vrag_causal_products"
LONGEST = 1024  # patches of an image, or tokens: the scores of more take more memory than the time is worth


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


def quick_attention(model: Any, precision: Precision) -> AbstractContextManager[None]:
    """Within, `model` attends by products where that is quicker: in bf16 on a CPU. Else nothing changes. Go backward
    within too: activations that are computed again have to be computed in the same way.
    """
    quicker = model.device.type == "cpu" and in_bf16(model.device, precision)
    return _by_products(model) if quicker else nullcontext()


@contextmanager
def _by_products(model: Any) -> Generator[None]:
    from transformers import AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionMaskInterface.register(TEXT, sdpa_mask)
    config = model.config
    with attending(config.vision_config, TOWER, _attend_to_all), attending(config.text_config, TEXT, attend_causally):
        yield


def attend_causally(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float = 1.0,
    **options: Any,
) -> tuple[Tensor, Any]:
    """Of rows of text: query [B, heads, L, D], key and value [B, fewer heads, L, D] to [B, L, heads, D]. Every token
    sees those before it. Where autocast doesn't ask for bf16 on a CPU, or for a mask, it is the library's attention.
    """
    rows, heads, length, width = query.shape
    quick = torch.is_autocast_enabled("cpu") and query.device.type == "cpu"
    if not quick or attention_mask is not None or not length == key.shape[2] <= LONGEST:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    dtype = torch.get_autocast_dtype("cpu")
    with torch.autocast("cpu", enabled=False):
        key, value = key.to(dtype), value.to(dtype)
        together = (query * scaling).to(dtype).reshape(rows, key.shape[1], -1, width)  # heads that share keys
        scores = (together @ key.transpose(-1, -2)).view(rows, heads, length, length)
        later = torch.full((length, length), float("-inf"), dtype=dtype).triu(1)
        weights = (scores + later).softmax(-1).view(rows, key.shape[1], -1, length)
        return (weights @ value).view(rows, heads, length, width).transpose(1, 2), None


def _attend_to_all(
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
