"""What every index of page vectors has in common: what goes in, what comes out, and what it can be asked.

An index knows pages by id and by document, and their vectors; not their text, nor their pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from pydantic import Field

from vrag.errors import UsageError
from vrag.types import Box, Frozen, PageVectors, PatchGrid

POOL = 16  # neighbouring vectors of a page in one pooled one
CANDIDATES = 200  # pages whose vectors are all compared, at least
_ROUNDING = 1e-3  # by which a vector in bf16 may be longer than 1

Meta = Mapping[str, str | int | float | bool]


class EncoderName(Frozen):
    """How to load the encoder again that made an index's vectors."""

    name: str = ""
    settings: dict[str, Any] = Field(default_factory=lambda: {})


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
    fingerprint: str
    encoder: EncoderName

    def check(self, fingerprint: str) -> None:
        """Raises `CorpusError`, and closes, when another encoder than that of `fingerprint` made the vectors."""
        ...

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


def check_page(page: PageRecord, dim: int) -> None:
    """Raises `UsageError`, naming the page, for vectors that an index of `dim` dimensions can't hold."""
    vectors = page.vectors.vectors
    if vectors.ndim != 2 or vectors.shape[1] != dim or not len(vectors):
        raise UsageError(f"page {page.id} has vectors of shape {vectors.shape}; this index holds [V, {dim}], V > 0")
    longest = float(np.sqrt(np.square(vectors, dtype=np.float32).sum(axis=1)).max())
    if not longest <= 1 + _ROUNDING:
        raise UsageError(
            f"page {page.id} has a vector of length {longest:.4g}; an index holds finite vectors of length 1 at most"
        )


def checked_query(query: np.ndarray, dim: int) -> np.ndarray:
    """fp32 [N, D], contiguous. Raises `UsageError` for another width."""
    if query.ndim != 2 or query.shape[1] != dim or not len(query):
        raise UsageError(f"a query of shape {query.shape}; this index holds vectors of {dim} dimensions")
    return np.ascontiguousarray(query, dtype=np.float32)


def nearest(vectors: np.ndarray, query: np.ndarray, grid: PatchGrid | None) -> list[Match]:
    """For each vector of `query` [N, D] the most similar of a page's `vectors` [V, D]."""
    similar = vectors @ query.T
    return [
        Match(int(vector), float(similar[vector, token]), patch_box(grid, int(vector)))
        for token, vector in enumerate(similar.argmax(axis=0))
    ]


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
