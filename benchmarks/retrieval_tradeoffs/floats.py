"""Page vectors as the encoder made them, fp32, and MaxSim over all of them: the oracle."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from vrag.index.state import best
from vrag.index.vectors import EncoderName, Filter, IndexStats, Match, PageRecord, Scored, check_page, nearest

CHUNK = 16_384  # vectors that are compared at once


class FloatIndex:
    """A `VectorIndex` without compression: a file for each page; a search holds all of them in memory."""

    def __init__(self, folder: Path, dim: int, fingerprint: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.dim, self.fingerprint, self.encoder = folder, dim, fingerprint, EncoderName()

    def check(self, fingerprint: str) -> None:
        assert self.fingerprint == fingerprint

    def upsert(self, pages: Iterable[PageRecord]) -> None:
        for page in pages:
            check_page(page, self.dim)
            partial = self.folder / f"{page.id}.partial"
            with partial.open("wb") as file:
                np.save(file, page.vectors.vectors.astype(np.float32))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.folder / f"{page.id}.npy")
        self.__dict__.pop("_held", None)

    def delete(self, where: Filter) -> int:
        for id in where.pages or []:
            (self.folder / f"{id}.npy").unlink()
        self.__dict__.pop("_held", None)
        return len(where.pages or [])

    def search(self, query: np.ndarray, k: int, *, where: Filter | None = None, exact: bool = True) -> list[Scored]:
        ids, vectors, ends = self._held
        scores, first, start = np.empty(len(ids), np.float32), 0, 0
        while first < len(ids):
            last = max(first + 1, int(np.searchsorted(ends, start + CHUNK, side="right")))
            similar = vectors[start : ends[last - 1]] @ query.T
            offsets = np.concatenate([[0], ends[first : last - 1] - start])
            scores[first:last] = np.maximum.reduceat(similar, offsets, axis=0).sum(axis=1)
            first, start = last, int(ends[last - 1])
        return [Scored(ids[place], float(scores[place])) for place in best(scores, k)]

    def matches(self, page_id: str, query: np.ndarray) -> list[Match]:
        return nearest(self.vectors(page_id), query, None)

    def ids(self) -> set[str]:
        return {file.stem for file in self.folder.glob("*.npy")}

    def stats(self) -> IndexStats:
        ids, vectors, _ = self._held
        size = sum(file.stat().st_size for file in self.folder.glob("*.npy"))
        return IndexStats(
            pages=len(ids), vectors=len(vectors), dead=0, bytes=size, dim=self.dim, fingerprint=self.fingerprint
        )

    def close(self) -> None:
        self.__dict__.pop("_held", None)

    def vectors(self, page_id: str) -> np.ndarray:
        """[V, D] of one page."""
        return np.load(self.folder / f"{page_id}.npy")

    @cached_property
    def _held(self) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
        """Ids, all vectors one page after the other, and where each page ends."""
        ids = sorted(self.ids())
        pages = [self.vectors(id) for id in ids]
        joined = np.concatenate(pages) if pages else np.zeros((0, self.dim), np.float32)
        return ids, joined, np.cumsum([len(page) for page in pages], dtype=np.int64)
