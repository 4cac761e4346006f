"""One committed state of an embedded index, as mapped: what a search runs on, whatever is written meanwhile."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vrag.index import catalog
from vrag.index.maxsim import Kernel
from vrag.index.quantize import Quantized
from vrag.index.segments import load


@dataclass(frozen=True)
class Part:
    """The pages of one segment. `pages` [p]: their places among all; `spans` [p, 4]: first and last vector, first and
    last pooled vector.
    """

    segment: catalog.Segment
    pages: np.ndarray
    spans: np.ndarray
    full: Quantized
    pool: Quantized


@dataclass(frozen=True)
class State:
    """`ids` and `rows` [P] of all pages, oldest first."""

    ids: list[str]
    rows: np.ndarray
    parts: list[Part]

    @classmethod
    def read(cls, db: sqlite3.Connection, folder: Path, dim: int, before: State | None = None) -> State:
        """Segments that are as they were `before` keep their vectors, the very objects: a kernel may have copies of
        them. Raises `FileNotFoundError` when a compaction deleted files in between: read again.
        """
        db.execute("BEGIN")
        try:
            ids, places = catalog.places(db)
            segments = catalog.segments(db)
        finally:
            db.execute("ROLLBACK")
        known = {part.segment: (part.full, part.pool) for part in before.parts} if before else {}
        parts: list[Part] = []
        for segment in segments:
            pages = np.flatnonzero(places[:, 1] == segment.id)
            if len(pages):
                full, pool = known.get(segment) or (
                    load(folder, segment.id, "full", segment.vectors, dim),
                    load(folder, segment.id, "pool", segment.pooled, dim, segment.bits),
                )
                parts.append(Part(segment, pages, places[pages, 2:], full, pool))
        return cls(ids, places[:, 0], parts)

    def scores(
        self, kind: Literal["full", "pool"], query: np.ndarray, kernel: Kernel, among: np.ndarray | None
    ) -> np.ndarray:
        """MaxSim [P] over all vectors or the pooled ones; -inf for pages that aren't `among` (mask [P], None: all)."""
        scores = np.full(len(self.ids), -np.inf, dtype=np.float32)
        first, last = (0, 1) if kind == "full" else (2, 3)
        for part in self.parts:
            vectors = part.full if kind == "full" else part.pool
            chosen = slice(None) if among is None else among[part.pages]
            spans, pages = part.spans[chosen], part.pages[chosen]
            if len(pages):
                scores[pages] = kernel(vectors, spans[:, first], spans[:, last], query, rough=kind == "pool")
        return scores


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """The places of the `k` largest scores above -inf, largest first; of equal ones the first."""
    found = np.flatnonzero(scores > -np.inf)
    if k < len(found):
        found = found[scores[found] >= np.partition(scores[found], -k)[-k]]
    return found[np.argsort(-scores[found], kind="stable")][:k]
