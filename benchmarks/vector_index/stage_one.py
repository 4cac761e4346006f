"""The first stage of a search alone, which chooses candidates by pooled vectors: a million pages have 93 GB of all
vectors, and 3 of pooled ones.

    python benchmarks/vector_index/stage_one.py [--pages 10000 100000 1000000] [--queries 10] [--kernel numba]

The codes are random: what is measured is time and memory, which don't depend on what they say. A page has 45 pooled
vectors of 128 dimensions, as one of 720 vectors has, and a query 26.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time

import numpy as np

from vrag.index.embedded import CANDIDATES, SHARE
from vrag.index.pooling import pool_query
from vrag.index.quantize import Quantized
from vrag.index.state import best
from vrag.kernels import KernelChoice

DIM, POOLED, TOKENS = 128, 45, 26
PORTION = 10_000_000  # bytes of codes made at once


def pooled(pages: int, rng: np.random.Generator) -> Quantized:
    codes = np.empty((pages * POOLED, DIM // 2), dtype=np.uint8)  # two in a byte
    flat = codes.reshape(-1)
    for first in range(0, len(flat), PORTION):
        part = flat[first : first + PORTION]
        part[:] = rng.integers(0, 256, len(part), dtype=np.uint8)
    return Quantized(codes, rng.integers(1000, 20_000, len(codes), dtype=np.uint16))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=10)
    parser.add_argument("--kernel", choices=["numba", "numpy"], default="numba")
    options = parser.parse_args()
    rng, kernel = np.random.default_rng(0), KernelChoice(options.kernel).load()
    print(
        f"load {os.getloadavg()[0]:.1f}\n"
        f"| pages | candidates | median ms | slowest | vectors, GB | peak of the process, GB |\n|{'---|' * 6}"
    )
    for pages in options.pages:
        vectors, ends = pooled(pages, rng), np.arange(1, pages + 1) * POOLED
        candidates = max(CANDIDATES, pages // SHARE)
        times: list[float] = []
        for number in range(options.queries + 1):  # the first compiles, and touches what was never read
            query = rng.standard_normal((TOKENS, DIM)).astype(np.float32)
            query /= np.linalg.norm(query, axis=1, keepdims=True)
            began = time.perf_counter()
            best(kernel(vectors, ends - POOLED, ends, pool_query(query), rough=True), candidates)
            times += [1000 * (time.perf_counter() - began)] * (number > 0)
        held = (vectors.codes.nbytes + vectors.scales.nbytes) / 1e9
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"| {pages:,} | {candidates:,} | {statistics.median(times):.1f} | {max(times):.1f} "
            f"| {held:.2f} | {peak:.2f} |",
            flush=True,
        )
        del vectors


if __name__ == "__main__":
    main()
