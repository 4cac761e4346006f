"""What every index of page vectors has in common: what goes in, what comes out, and what it can be asked.

An index knows pages by id and by document, and their vectors; not their text, nor their pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vrag.types import Box, Frozen, PageVectors, PatchGrid

Meta = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class PageRecord:
    """One page to index. `document` is the document's id; `meta` can be filtered by."""

    id: str
    document: str
    vectors: PageVectors
    meta: Meta = field(default_factory=lambda: {})


@dataclass(frozen=True)
class Filter:
    """Pages of one of `documents` (None: of any), with one of the ids `pages`, whose metadata equal `meta`."""

    documents: Sequence[str] | None = None
    pages: Sequence[str] | None = None
    meta: Meta = field(default_factory=lambda: {})


@dataclass(frozen=True)
class Scored:
    """A page and its MaxSim score; larger is better."""

    page_id: str
    score: float


@dataclass(frozen=True)
class Match:
    """Where on a page one vector of the query is most similar: `vector` of the page's vectors, with what similarity."""

    vector: int
    similarity: float
    box: Box | None  # relative coordinates of the patch; None where the vector stands for none


class IndexStats(Frozen):
    """`dead` vectors are of pages that were deleted or replaced; compaction drops them."""

    pages: int
    vectors: int
    dead: int
    bytes: int
    dim: int
    fingerprint: str


class VectorIndex(Protocol):
    """Pages by their vectors. Raises `CorpusError` when the store fails, `UsageError` for vectors that don't fit it."""

    dim: int

    def upsert(self, pages: Iterable[PageRecord]) -> None:
        """Add pages, or replace those of the same id; durable and visible on return, all or none of them."""
        ...

    def delete(self, where: Filter) -> int:
        """Remove pages; returns how many."""
        ...

    def search(self, query: np.ndarray, k: int, *, where: Filter | None = None, exact: bool = False) -> list[Scored]:
        """The `k` best pages for `query` [N, D], best first. `exact` compares all vectors of all pages."""
        ...

    def matches(self, page_id: str, query: np.ndarray) -> list[Match]:
        """For each vector of the query, where the page matches it best."""
        ...

    def ids(self) -> set[str]: ...
    def stats(self) -> IndexStats: ...
    def close(self) -> None: ...


def patch_box(grid: PatchGrid | None, vector: int) -> Box | None:
    """What a page's vector stands for, in relative coordinates."""
    if grid is None or not 0 <= vector - grid.first < grid.rows * grid.columns:
        return None
    row, column = divmod(vector - grid.first, grid.columns)
    return Box(
        x1=column / grid.columns,
        y1=row / grid.rows,
        x2=(column + 1) / grid.columns,
        y2=(row + 1) / grid.rows,
    )
