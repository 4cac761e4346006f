"""MaxSim over int8 vectors in one pass: four vectors against 32 of the query at a time, and no matrix of scores.

A scan is bound by memory; what costs is to write similarities down and read them again. Products are of
int8 on CPUs that have an instruction for them (`vrag.index.maxsim_vnni`), of fp32 on the others. Imported only where
numba is installed; compiled at the first call, for a second or two, and cached by numba.
"""

# numba's decorators carry no types that a checker could follow
# pyright: reportUntypedFunctionDecorator=false

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from vrag.index import maxsim_vnni
from vrag.index.quantize import MIDDLE, Quantized

BLOCK = 32  # query vectors at a time: the sums of more don't stay in registers


def maxsim(
    vectors: Quantized, starts: np.ndarray, ends: np.ndarray, query: np.ndarray, rough: bool = False
) -> np.ndarray:
    """Scores [P]; see `vrag.index.maxsim` for the axes. Pages are read once for each 32 vectors of the query."""
    scores = np.zeros(len(starts), dtype=np.float32)
    spans = np.asarray(starts, dtype=np.int64), np.asarray(ends, dtype=np.int64)
    in_int8 = maxsim_vnni.is_supported(vectors)
    for first in range(0, len(query), BLOCK):
        part = query[first : first + BLOCK]
        if in_int8:
            maxsim_vnni.add(vectors, *spans, part, scores, rough)
        else:
            add_floats(vectors, *spans, part, scores)
    return scores


def add_floats(vectors: Quantized, starts: np.ndarray, ends: np.ndarray, query: np.ndarray, scores: np.ndarray) -> None:
    """Add to `scores` [P] those of `query` [N, D], N at most 32, by products in fp32, which every CPU has."""
    block = np.zeros((query.shape[1], BLOCK), dtype=np.float32)
    block[:, : len(query)] = query.T
    _add(vectors.codes, vectors.scales, starts, ends, block, len(query), np.float32(vectors.unit), scores)


@numba.njit(parallel=True, fastmath=True, cache=True)  # pragma: no cover
def _add(codes: Any, scales: Any, starts: Any, ends: Any, query: Any, count: int, unit: Any, scores: Any) -> None:
    """Adds the scores of `query` [D, 32], of which `count` vectors are real. With a loop over blocks in here, or with
    the two loops over dimensions as functions, it takes twice as long: the sums no longer stay in registers.
    """
    width = codes.shape[1]
    is_packed = width < query.shape[0]
    for page in numba.prange(len(starts)):
        best = np.full(BLOCK, np.float32(-1e30))
        sums = np.empty((4, BLOCK), np.float32)
        row, last = starts[page], ends[page] - 1
        while row <= last:
            row1, row2, row3 = min(row + 1, last), min(row + 2, last), min(row + 3, last)
            sums[:] = 0
            if is_packed:
                for d in range(width):
                    (x0, y0), (x1, y1) = _apart(codes[row, d]), _apart(codes[row1, d])
                    (x2, y2), (x3, y3) = _apart(codes[row2, d]), _apart(codes[row3, d])
                    for n in range(BLOCK):
                        p, q = query[d, n], query[width + d, n]
                        sums[0, n] += x0 * p + y0 * q
                        sums[1, n] += x1 * p + y1 * q
                        sums[2, n] += x2 * p + y2 * q
                        sums[3, n] += x3 * p + y3 * q
            else:
                for d in range(width):
                    x0, x1 = np.float32(codes[row, d]), np.float32(codes[row1, d])
                    x2, x3 = np.float32(codes[row2, d]), np.float32(codes[row3, d])
                    for n in range(BLOCK):
                        q = query[d, n]
                        sums[0, n] += x0 * q
                        sums[1, n] += x1 * q
                        sums[2, n] += x2 * q
                        sums[3, n] += x3 * q
            s0, s1 = np.float32(scales[row]), np.float32(scales[row1])
            s2, s3 = np.float32(scales[row2]), np.float32(scales[row3])
            for n in range(BLOCK):
                pair = max(sums[0, n] * s0, sums[1, n] * s1)
                best[n] = max(best[n], max(pair, max(sums[2, n] * s2, sums[3, n] * s3)))
            row += 4
        total = np.float32(0)
        for n in range(count):
            total += best[n]
        scores[page] += total * unit


@numba.njit(cache=True)  # pragma: no cover
def _apart(byte: Any) -> Any:
    """The lower and the upper code of a byte."""
    return np.float32(byte & 15) - np.float32(MIDDLE), np.float32(byte >> 4) - np.float32(MIDDLE)
