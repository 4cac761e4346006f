"""A model's tensors to vectors as they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def unit(vectors: Any, dim: int) -> np.ndarray:
    """The first `dim` coordinates of a tensor [V, D], each vector of length 1 again, as fp32 [V, dim] of its own.

    Raises `FloatingPointError` for what no index can hold.
    """
    import numpy as np

    prefix = vectors[:, :dim].float().cpu().numpy()
    lengths = np.linalg.norm(prefix, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise FloatingPointError("its vectors aren't finite; try dtype float32")
    return prefix / np.maximum(lengths, np.finfo(np.float32).tiny)
