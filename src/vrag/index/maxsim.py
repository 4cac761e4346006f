"""MaxSim (late interaction): a page's score is the sum, over the query's vectors, of the largest dot product with any
of the page's vectors (ColBERT, arXiv 2004.12832, equation 3).

Axes: V vectors of all pages, one after the other; D dimensions; N vectors of a query; P pages to score, of which page p
owns the vectors starts[p] to ends[p] (exclusive, at least one).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal

import numpy as np

from vrag.errors import UsageError
from vrag.index.quantize import dequantize

# (codes int8 [V, D], scales uint16 [V], starts [P], ends [P], query fp32 [N, D]) -> fp32 [P]
Kernel = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
KernelName = Literal["auto", "numba", "numpy"]

_CHUNK = 16_384  # vectors that numpy turns into floats at once: they stay in the cache


def kernel(name: KernelName = "auto") -> Kernel:
    """The fused kernel where numba is installed (`vrag[index]`), else numpy's; or the one that is named."""
    if name == "auto":
        name = "numba" if find_spec("numba") else "numpy"
    if name == "numpy":
        return maxsim
    if not find_spec("numba"):
        raise UsageError("numba isn't installed: pip install 'vrag[index]', or choose the numpy kernel")
    from vrag.index.maxsim_numba import maxsim as fused

    return fused


def maxsim(
    codes: np.ndarray, scales: np.ndarray, starts: np.ndarray, ends: np.ndarray, query: np.ndarray
) -> np.ndarray:
    """Scores [P] by numpy's matrix product, a few pages at a time."""
    scores = np.empty(len(starts), dtype=np.float32)
    transposed = np.ascontiguousarray(query.T, dtype=np.float32)
    first = 0
    while first < len(starts):
        last = first + 1
        size = ends[first] - starts[first]
        while last < len(starts) and size + ends[last] - starts[last] <= _CHUNK:
            size += ends[last] - starts[last]
            last += 1
        scores[first:last] = _chunk(codes, scales, starts[first:last], ends[first:last], transposed)
        first = last
    return scores


def _chunk(
    codes: np.ndarray, scales: np.ndarray, starts: np.ndarray, ends: np.ndarray, transposed: np.ndarray
) -> np.ndarray:
    lengths = ends - starts
    if (starts[1:] == ends[:-1]).all():  # neighbours: no copy
        rows: slice | np.ndarray = slice(int(starts[0]), int(ends[-1]))
    else:
        rows = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
    similar = dequantize(codes[rows], scales[rows]) @ transposed
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return np.maximum.reduceat(similar, offsets, axis=0).sum(axis=1)
