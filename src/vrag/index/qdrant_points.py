"""A page as a point of Qdrant, and a filter as Qdrant's.

The point's id is made of the page's, so that a page that comes again replaces the old one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid5

import numpy as np

from vrag.errors import UsageError
from vrag.index.pooling import pool_page
from vrag.index.vectors import Filter, PageRecord
from vrag.portions import portions
from vrag.types import PatchGrid

if TYPE_CHECKING:
    from qdrant_client import models

_PAGES = UUID("5bd1f1e2-6a0e-5c3e-9d43-2f6f0c1c8a57")  # the namespace of page ids
_DECIMALS = 6  # finer than fp16 where it matters in a dot product, and half the text
_NUMBER = 11  # bytes of one in a request, at most: "-0.123456, "


def point_id(page_id: str) -> str:
    return str(uuid5(_PAGES, page_id))


def payload(page: PageRecord) -> dict[str, Any]:
    """Raises `UsageError` for metadata that no filter could find."""
    grid = page.vectors.grid
    return {
        "page": page.id,
        "document": page.document,
        "grid": None if grid is None else [grid.first, grid.rows, grid.columns],
        "meta": dict(page.meta),
        "vectors": len(page.vectors.vectors),
        "terms": [_term(key, value) for key, value in page.meta.items()],
    }


def point(page: PageRecord, size: int) -> models.PointStruct:
    """`size`: vectors of the page per pooled vector."""
    from qdrant_client import models

    vectors = page.vectors.vectors
    both: dict[str, models.Vector] = {"full": numbers(vectors), "pool": numbers(pool_page(vectors, size))}
    return models.PointStruct(id=point_id(page.id), vector=both, payload=payload(page))


def page_of(found: models.ScoredPoint | models.Record) -> str:
    return str((found.payload or {})["page"])


def held_by(found: models.Record) -> tuple[np.ndarray, PatchGrid | None]:
    """All vectors of a page [V, D], and its grid."""
    payload = found.payload or {}
    grid = PatchGrid(*payload["grid"]) if payload.get("grid") else None
    return np.array(cast(dict[str, Any], found.vector)["full"], dtype=np.float32), grid


def numbers(vectors: np.ndarray) -> list[list[float]]:
    return np.round(vectors.astype(np.float64), _DECIMALS).tolist()


def portions_of(pages: Sequence[PageRecord], size: int, limit: int) -> Iterator[list[PageRecord]]:
    """`pages`, as many at a time as fit into a request of `limit` bytes, and at least one."""

    def need(page: PageRecord) -> int:
        count, dim = page.vectors.vectors.shape
        return (count + -(-count // size)) * dim * _NUMBER + len(json.dumps(payload(page))) + 100

    return portions(pages, need, limit)


def check_meta(page: PageRecord) -> None:
    """Raises `UsageError`, naming the page, for metadata that no filter could find."""
    try:
        payload(page)
    except UsageError as error:
        raise UsageError(f"page {page.id}: {error}") from error


def condition(where: Filter) -> models.Filter:
    """A filter as Qdrant's. It can't say "none of them": see `admits_none`."""
    from qdrant_client import models

    must: list[models.Condition] = [
        models.FieldCondition(key=field, match=models.MatchAny(any=list(admitted)))
        for field, admitted in (("document", where.documents), ("page", where.pages))
        if admitted is not None
    ]
    must += [
        models.FieldCondition(key="terms", match=models.MatchValue(value=_term(key, value)))
        for key, value in where.meta.items()
    ]
    return models.Filter(must=must)


def admits_none(where: Filter) -> bool:
    return any(admitted is not None and not admitted for admitted in (where.documents, where.pages))


def _term(key: str, value: str | float) -> str:
    """The same for equal values: 2024 and 2024.0, 1 and true."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    try:
        return json.dumps([key, value], allow_nan=False)
    except ValueError as error:
        raise UsageError(f"metadata {key!r} is {value}: an index keeps finite numbers") from error
