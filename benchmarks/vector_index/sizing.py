"""What a page costs in Qdrant: bytes, and time of one core. Measured with Qdrant Edge, the engine without the server.

    PYTHONPATH=. python benchmarks/vector_index/sizing.py --pages 2000

Pages and queries are those of run.py. Bytes are blocks on disk after the engine has optimised what was written; its
write-ahead log is left out, since a server keeps a few segments of it and no more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import qdrant_edge as edge
from run import DIM, batches, query

from tests.edge import EdgeClient
from vrag.index.embedded import POOL
from vrag.index.pooling import pool_page
from vrag.index.qdrant import QdrantIndex
from vrag.index.qdrant_server import QdrantServer
from vrag.index.vectors import Filter

PARTS = {"vector_storage-full": "full", "vector_storage-pool": "pool"}


class Shared(QdrantServer):
    """Several indexes over one shard; it is closed once."""

    def close(self) -> None:
        pass


def sizes(folder: Path, pages: int) -> dict[str, int]:
    """Bytes a page, by part."""
    found = Counter[str]()
    for file in folder.glob("segments/*/**/*"):
        if file.is_file():
            part = file.relative_to(folder / "segments").parts[1]
            found[PARTS.get(part, "payload, its indexes, ids")] += file.stat().st_blocks * 512
    return {part: round(count / pages) for part, count in found.items()}


def search(index: QdrantIndex, pages: int, **how: object) -> tuple[float, float]:
    """Median milliseconds of a search, by the clock and of a core."""
    clock, core = [], []
    for number in range(9):
        vectors, began, used = query(number, pages), time.perf_counter(), time.process_time()
        index.search(vectors, 10, **how)  # type: ignore[arg-type]
        clock.append(1000 * (time.perf_counter() - began))
        core.append(1000 * (time.process_time() - used))
    return round(statistics.median(clock), 2), round(statistics.median(core), 2)


def graph(folder: Path, pages: int) -> float:
    """Core milliseconds a page to build what vrag does without: a graph over the pooled vectors."""
    pooled = edge.EdgeVectorParams(
        size=DIM,
        distance=edge.Distance.Dot,
        multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
        datatype=edge.VectorStorageDatatype.Float16,
        hnsw_config=edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10, max_indexing_threads=1),
    )
    optimizers = edge.EdgeOptimizersConfig(indexing_threshold=100)
    config = edge.EdgeConfig(vectors={"pool": pooled}, optimizers=optimizers, max_search_threads=1)
    shard = edge.EdgeShard.create(str(folder / "graph"), config)
    for batch in batches(pages):
        points = [
            edge.Point(id=int(record.id), vector={"pool": pool_page(record.vectors.vectors, POOL).tolist()})
            for record in batch
        ]
        shard.update(edge.UpdateOperation.upsert_points(points))
    began = time.process_time()
    shard.optimize()
    spent = time.process_time() - began
    shard.close()
    return round(1000 * spent / pages, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=2000)
    pages = parser.parse_args().pages
    with tempfile.TemporaryDirectory() as folder:
        client = EdgeClient(Path(folder))
        server = Shared(client, "http://qdrant-edge")  # type: ignore[arg-type]
        index = QdrantIndex.create(server, "pages", DIM, "synthetic")
        spent = 0.0
        for batch in batches(pages):
            began = time.process_time()
            index.upsert(batch)
            spent += time.process_time() - began
        shard = client._shards["pages"]
        shard.optimize()
        shard.flush()
        first_stage = search(QdrantIndex.open(server, "pages", candidates=10), pages)[1]
        report = {
            "vectors a page": round(index.stats().vectors / pages, 1),
            "bytes a page": sizes(Path(folder) / "pages", pages),
            "write, core ms a page": round(1000 * spent / pages, 2),
            "first stage, core us a page": round(1000 * first_stage / pages, 2),
            "search, ms by the clock and of a core": {
                "two stages": search(index, pages),
                "exact": search(index, pages, exact=True),
                "in 20 pages of one document": search(index, pages, where=Filter(documents=["3"])),
            },
            "graph over the pooled vectors, core ms a page": graph(Path(folder), pages),
        }
        client.close()
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
