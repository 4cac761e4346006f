"""Made-up vectors of pages and queries, and exact MaxSim of them in fp32: the judge of every index."""

from __future__ import annotations

import math
from dataclasses import astuple, is_dataclass

import numpy as np

from vrag.index.vectors import PageRecord
from vrag.types import PageVectors

DIM = 48


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def a_page(number: int, *, vectors: int = 0, document: str = "", year: int = 2024) -> PageRecord:
    """Neighbouring vectors are alike, as on a page."""
    rng = np.random.default_rng(number)
    count = vectors or int(rng.integers(20, 60))
    drift = np.cumsum(rng.standard_normal((count, DIM)), axis=0) * 0.15
    rows = unit(rng.standard_normal(DIM) + drift + 0.2 * rng.standard_normal((count, DIM)))
    return PageRecord(f"page-{number}", document or f"doc-{number % 5}", PageVectors(rows), {"year": year})


def a_query(seed: int, page: PageRecord | None = None) -> np.ndarray:
    rng = np.random.default_rng([seed, 1])
    rows = rng.standard_normal((9, DIM))
    if page is not None:
        rows = rows * 0.15 + page.vectors.vectors[rng.integers(len(page.vectors.vectors), size=9)]
    return unit(rows)


def oracle(pages: list[PageRecord], query: np.ndarray) -> dict[str, float]:
    return {page.id: float((page.vectors.vectors @ query.T).max(axis=0).sum()) for page in pages}


def alike(one: object, other: object) -> bool:
    """Whether what a search found is the same but for rounding: BLAS may round a row of a product by where it stands,
    and vectors move when files are compacted.
    """
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if is_dataclass(one) and is_dataclass(other) and not isinstance(one, type) and not isinstance(other, type):
        return alike(astuple(one), astuple(other))
    return one == other
