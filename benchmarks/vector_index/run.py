"""How fast and how right the embedded index of page vectors is, beside the way in which VRAG searches.

    python benchmarks/vector_index/run.py --pages 10000 [--rounds 3] [--core 1]

Pages are synthetic, shaped like ColQwen2's: about 700 vectors of 128 dimensions, neighbours alike. Queries have 26
vectors, most of them near a vector of one page. What is measured is numerics and speed, not retrieval quality. The
contestants take turns, round by round; medians are given, by the clock and in CPU time of all threads, which other work
on the machine disturbs less: with `--core`, on one core, ratios of CPU time hold on a busy machine too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import numba
import numpy as np
import torch

from vrag.index import maxsim_vnni
from vrag.index.embedded import EmbeddedIndex
from vrag.index.maxsim import Kernel
from vrag.index.vectors import PageRecord
from vrag.kernels import KernelChoice
from vrag.types import PageVectors

DIM, TOKENS, BATCH = 128, 26, 128
K = 10
KERNELS = ["numba", "numba in fp32", "numpy", *(["torch"] if torch.cuda.is_available() else [])]
OPEN = """
import sys, time
from pathlib import Path
from vrag.index.embedded import EmbeddedIndex
began = time.perf_counter()
EmbeddedIndex.open(Path(sys.argv[1]), kernel="numpy").ids()
print(1000 * (time.perf_counter() - began))
"""  # in a process of its own: in this one, the collector looks at ten thousand tensors


def page(number: int) -> np.ndarray:
    """[V, D] fp32, unit: a page's own direction, a walk over the page, and noise; neighbours at a cosine of 0.9."""
    rng = np.random.default_rng([number, 0])
    count = int(rng.integers(660, 780))
    walk = rng.standard_normal((count // 24 + 2, DIM)).astype(np.float32)
    places = np.linspace(0, len(walk) - 1.001, count)
    low, share = places.astype(int), (places % 1)[:, None].astype(np.float32)
    smooth = walk[low] * (1 - share) + walk[low + 1] * share
    rows = 0.6 * rng.standard_normal(DIM).astype(np.float32) + smooth
    rows += 0.3 * rng.standard_normal((count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def query(number: int, pages: int) -> np.ndarray:
    """[26, D] fp32: vectors at a cosine of 0.55 to vectors of one page."""
    rng = np.random.default_rng([number, 1])
    near = page(int(rng.integers(pages)))
    rows = near[rng.integers(len(near), size=TOKENS)]
    noise = rng.standard_normal(rows.shape).astype(np.float32)
    noise -= (noise * rows).sum(axis=1, keepdims=True) * rows
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return 0.55 * rows + np.float32(np.sqrt(1 - 0.55**2)) * noise


def batches(pages: int) -> Iterator[list[PageRecord]]:
    for first in range(0, pages, BATCH):
        numbers = range(first, min(pages, first + BATCH))
        yield [PageRecord(f"{number:07d}", f"{number // 20}", PageVectors(page(number))) for number in numbers]


class Reference:
    """As VRAG searches: a list of bf16 tensors, padded 128 at a time for each query, one einsum over everything."""

    def __init__(self) -> None:
        self.pages: list[torch.Tensor] = []

    def scores(self, vectors: np.ndarray, dtype: torch.dtype = torch.bfloat16) -> np.ndarray:
        asked = torch.from_numpy(vectors).to(dtype)[None]
        found: list[torch.Tensor] = []
        for first in range(0, len(self.pages), 128):
            part = [one.to(dtype) for one in self.pages[first : first + 128]]
            padded = torch.nn.utils.rnn.pad_sequence(part, batch_first=True)
            found.append(torch.einsum("bnd,csd->bcns", asked, padded).max(dim=3)[0].sum(dim=2))
        return torch.cat(found, dim=1)[0].float().numpy()

    def search(self, vectors: np.ndarray) -> list[str]:
        return [f"{place:07d}" for place in np.argsort(-self.scores(vectors), kind="stable")[:K]]


Search = Callable[[np.ndarray], list[str]]


class Times:
    """Of one way of searching: milliseconds by the clock and of CPU time, and what was found."""

    def __init__(self) -> None:
        self.clock: list[float] = []
        self.cpu: list[float] = []
        self.found: list[list[str]] = []

    def take(self, search: Search, queries: Sequence[np.ndarray]) -> None:
        """The first call isn't counted."""
        search(queries[0])
        self.found = []
        for vectors in queries:
            began, began_cpu = time.perf_counter(), time.process_time()
            self.found.append(search(vectors))
            self.cpu.append(1000 * (time.process_time() - began_cpu))
            self.clock.append(1000 * (time.perf_counter() - began))

    def row(self, exact: Sequence[Sequence[str]], base: Times | None) -> dict[str, float]:
        clock, cpu = statistics.median(self.clock), statistics.median(self.cpu)
        row = {"ms": round(clock, 1), "cpu_ms": round(cpu, 1), "overlap@10": round(overlap(self.found, exact), 3)}
        if base is not None:
            row["times_reference"] = round(statistics.median(base.clock) / clock, 1)
            row["times_reference_cpu"] = round(statistics.median(base.cpu) / cpu, 1)
        return row


def overlap(found: Sequence[Sequence[str]], truth: Sequence[Sequence[str]]) -> float:
    return float(np.mean([len(set(one) & set(other)) / K for one, other in zip(found, truth, strict=True)]))


def truth(queries: Sequence[np.ndarray], pages: int) -> list[list[str]]:
    """Exact MaxSim in fp32 over vectors that were never quantised."""
    best = np.empty((len(queries), pages), dtype=np.float32)
    joined = np.concatenate(queries)
    for number in range(pages):
        near = (joined @ page(number).T).max(axis=1)
        best[:, number] = near.reshape(len(queries), TOKENS).sum(axis=1)
    return [[f"{place:07d}" for place in np.argsort(-row, kind="stable")[:K]] for row in best]


def ids(index: EmbeddedIndex, vectors: np.ndarray, exact: bool) -> list[str]:
    return [hit.page_id for hit in index.search(vectors, K, exact=exact)]


@contextmanager
def kernel_of(name: str) -> Iterator[Kernel]:
    """A kernel by its name; "numba in fp32" is numba's as on a CPU without AVX-512 VNNI."""
    with ExitStack() as stack:
        if name == "numba in fp32":
            stack.enter_context(mock.patch.object(maxsim_vnni, "is_supported", lambda _: False))
        yield KernelChoice(name.removesuffix(" in fp32")).load()  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--core", type=int, help="use this core alone, one thread")
    parser.add_argument("--no-reference", action="store_true", help="only the index: for more pages than memory holds")
    args = parser.parse_args()
    if args.core is not None:
        os.sched_setaffinity(0, {args.core})
        torch.set_num_threads(1)
        numba.set_num_threads(1)
    root = Path(tempfile.mkdtemp())
    try:
        report = measure(args.pages, args.queries, args.rounds, not args.no_reference, root / "vectors")
        print(json.dumps(report, indent=2))
    finally:
        shutil.rmtree(root)


def measure(pages: int, count: int, rounds: int, with_reference: bool, folder: Path) -> dict[str, object]:
    reference, ingest = Reference(), 0.0
    index = EmbeddedIndex.create(folder, DIM, "benchmark")
    for batch in batches(pages):
        if with_reference:
            reference.pages += [torch.from_numpy(one.vectors.vectors).bfloat16() for one in batch]
        began = time.perf_counter()
        index.upsert(batch)
        ingest += time.perf_counter() - began
    stats = index.stats()
    index.close()
    report: dict[str, object] = {
        "pages": pages,
        "vectors": stats.vectors,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "ingest_pages_per_second": round(pages / ingest),
        "disk_bytes_per_page": round(stats.bytes / pages),
        "resident_bytes_per_page": round(sum(f.stat().st_size for f in folder.glob("pool-*")) / pages),
    }
    report["open_ms"] = round(float(subprocess.check_output([sys.executable, "-c", OPEN, str(folder)])), 1)
    queries = [query(number, pages) for number in range(count)]
    exact = truth(queries, pages)
    times = take_turns(reference if with_reference else None, folder, queries, rounds)
    base = times.get("reference")
    report |= {name: one.row(exact, None if one is base else base) for name, one in times.items()}
    return report


def take_turns(
    reference: Reference | None, folder: Path, queries: Sequence[np.ndarray], rounds: int
) -> dict[str, Times]:
    times: dict[str, Times] = {"reference": Times()} if reference else {}
    for _ in range(rounds):
        if reference:
            times["reference"].take(reference.search, queries)
        for kernel in KERNELS:
            for name, exact in (("two-stage", False), ("exact", True)):
                with kernel_of(kernel) as compare:
                    opened = EmbeddedIndex.open(folder, kernel=compare)
                    way = times.setdefault(f"{kernel}, {name}", Times())
                    way.take(partial(ids, opened, exact=exact), queries)
                    opened.close()
    return times


if __name__ == "__main__":
    main()
