"""Fewer vectors, to choose candidates by: means of a page's neighbours, sums of what is alike in a query."""

from __future__ import annotations

import numpy as np

LANES = 16  # query vectors that a register of sums has room for (`vrag.index.maxsim_vnni`): fewer cost as much


def pool_page(vectors: np.ndarray, size: int) -> np.ndarray:
    """Means of `size` consecutive vectors each, [ceil(V / size), D]: neighbours on a page look alike."""
    starts = np.arange(0, len(vectors), size)
    counts = np.diff(np.append(starts, len(vectors)))
    return np.add.reduceat(vectors, starts, axis=0) / counts[:, None].astype(np.float32)


def pool_query(query: np.ndarray) -> np.ndarray:
    """Sums of vectors of `query` [N, D] that are alike: [M, D], fp32, M being half of N rounded up to whole 16, or N.

    Vectors that point the same way find the same vector of a page, and then the largest product with their sum is the
    sum of their largest products. So the two sums are joined, again and again, whose joint length falls least short.
    """
    count, wanted = len(query), -(-len(query) // (2 * LANES)) * LANES
    sums = query.astype(np.float32)
    lengths, there = np.linalg.norm(sums, axis=1), np.ones(count, dtype=bool)
    lost = np.outer(lengths, lengths) - sums @ sums.T  # half of what the square of the joint length lacks
    np.fill_diagonal(lost, np.inf)
    for _ in range(count - wanted):
        kept, joined = np.unravel_index(lost.argmin(), lost.shape)
        sums[kept] += sums[joined]
        lengths[kept] = np.linalg.norm(sums[kept])
        there[joined] = False
        lost[joined] = lost[:, joined] = np.inf
        others = there & (np.arange(count) != kept)
        lost[kept, others] = lost[others, kept] = lengths[kept] * lengths[others] - sums[others] @ sums[kept]
    return sums[there]
