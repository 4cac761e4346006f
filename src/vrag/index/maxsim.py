"""MaxSim (late interaction): a page's score is the sum, over the query's vectors, of the largest dot product with any
of the page's vectors (ColBERT, arXiv 2004.12832, equation 3).

Axes: V vectors of all pages, one after the other; D dimensions; N vectors of a query; P pages to score, of which page p
owns the vectors starts[p] to ends[p] (exclusive, at least one).
"""

from __future__ import annotations

from collections.abc import Generator
from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np

from vrag.errors import UsageError
from vrag.index.quantize import Quantized

Rows = slice | np.ndarray
KernelName = Literal["auto", "numba", "numpy"]

_CHUNK = 1 << 20  # floats into which numpy turns codes at once: 4 MiB, enough for two cores and not yet beyond a cache


class Kernel(Protocol):
    def __call__(
        self, vectors: Quantized, starts: np.ndarray, ends: np.ndarray, query: np.ndarray, rough: bool = False
    ) -> np.ndarray:
        """Scores [P]. One object `vectors` holds the same for ever: a kernel may keep a copy as long as it lives. For
        `rough` scores, by which candidates are chosen, a kernel may round the query to int8 where that saves time.
        """
        ...


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
    vectors: Quantized, starts: np.ndarray, ends: np.ndarray, query: np.ndarray, rough: bool = False
) -> np.ndarray:
    """Scores [P] by numpy's matrix product, a few pages at a time; `rough` ones are as exact and no quicker."""
    scores = np.empty(len(starts), dtype=np.float32)
    asked = np.ascontiguousarray(query.T, dtype=np.float32) * np.float32(vectors.unit)
    lengths = ends - starts
    parts = list(chunks(starts, ends, max(1, _CHUNK // len(asked))))
    longest = max((lengths[part].sum() for part in parts), default=0)
    floats = np.empty((longest, len(asked)), dtype=np.float32)  # made once: new memory can cost more than what fills it
    products = np.empty((longest, asked.shape[1]), dtype=np.float32)
    for part in parts:
        rows, count = rows_of(starts[part], ends[part]), lengths[part].sum()
        some = vectors[rows]
        similar = np.matmul(some.integers(out=floats[:count]), asked, out=products[:count])
        similar *= some.scales.astype(np.float32)[:, None]  # N products a vector, where D would come before
        scores[part] = np.maximum.reduceat(similar, np.cumsum(lengths[part]) - lengths[part], axis=0).sum(axis=1)
    return scores


def chunks(starts: np.ndarray, ends: np.ndarray, size: int) -> Generator[slice]:
    """Spans of pages that have `size` vectors at most together, or are one page."""
    totals = np.cumsum(ends - starts)
    first = 0
    while first < len(starts):
        before = totals[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(totals, before + size, side="right")))
        yield slice(first, last)
        first = last


def rows_of(starts: np.ndarray, ends: np.ndarray) -> Rows:
    """The vectors of pages, page after page; a slice, which copies nothing, where they are neighbours."""
    if (starts[1:] == ends[:-1]).all():
        return slice(int(starts[0]), int(ends[-1]))
    return np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
