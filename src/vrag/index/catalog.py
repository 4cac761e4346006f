"""The catalogue of an embedded index: `vectors.sqlite`, whose commit makes pages visible.

settings   dim, pool (vectors of a page per pooled vector), encoder (how to load it) and its fingerprint
segments   how many vectors of each segment are committed, and the bits of a code of pooled ones; what lies beyond in
           its files isn't there
pages      one row a page; the row's id is its age, and the order of equal scores
trash      segments that nothing points to any more and whose files are still to be deleted
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

import numpy as np

from vrag.database import Kind
from vrag.index.quantize import Bits
from vrag.index.vectors import Filter, Meta
from vrag.types import PatchGrid

_UPGRADES = {1: ("ALTER TABLE segments ADD COLUMN bits INTEGER NOT NULL DEFAULT 8",)}
KIND = Kind("vector index", 0x76726976, format=2, upgrades=_UPGRADES)  # "vriv"
SCHEMA = """
CREATE TABLE segments (
    id INTEGER PRIMARY KEY, vectors INTEGER NOT NULL, pooled INTEGER NOT NULL, bits INTEGER NOT NULL
);
CREATE TABLE pages (
    row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL, segment INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, pool_first INTEGER NOT NULL, pool_last INTEGER NOT NULL,
    grid TEXT, meta TEXT NOT NULL
);
CREATE INDEX pages_of_document ON pages(document);
CREATE TABLE trash (segment INTEGER PRIMARY KEY);
"""


@dataclass(frozen=True)
class Place:
    """Where a page's vectors lie; ends are exclusive."""

    segment: int
    first: int
    last: int
    pool_first: int
    pool_last: int


@dataclass(frozen=True)
class Segment:
    """A segment, how many of its vectors are committed, and the bits of a code of the pooled ones."""

    id: int
    vectors: int
    pooled: int
    bits: Bits


def segments(db: sqlite3.Connection) -> list[Segment]:
    return [Segment(*row) for row in db.execute("SELECT id, vectors, pooled, bits FROM segments ORDER BY id")]


def put_segment(db: sqlite3.Connection, segment: Segment) -> None:
    values = (segment.id, segment.vectors, segment.pooled, segment.bits)
    db.execute("INSERT OR REPLACE INTO segments(id, vectors, pooled, bits) VALUES (?, ?, ?, ?)", values)


def begin_segment(db: sqlite3.Connection, bits: Bits) -> Segment:
    """An empty segment: what comes next is written to it, and to none before it. Its number was never used: it is
    larger than that of any segment, and the newest segment leaves the table only when a newer one has come.
    """
    sql = "SELECT max(id) FROM (SELECT id FROM segments UNION ALL SELECT segment FROM trash)"
    begun = Segment((db.execute(sql).fetchone()[0] or 0) + 1, 0, 0, bits)
    put_segment(db, begun)
    return begun


def put_page(db: sqlite3.Connection, id: str, document: str, place: Place, grid: PatchGrid | None, meta: Meta) -> None:
    """Add a page, or replace the one of that id."""
    written = None if grid is None else json.dumps([grid.first, grid.rows, grid.columns])
    spans = (place.segment, place.first, place.last, place.pool_first, place.pool_last)
    db.execute("DELETE FROM pages WHERE id = ?", (id,))
    db.execute(
        "INSERT INTO pages(id, document, segment, first, last, pool_first, pool_last, grid, meta)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (id, document, *spans, written, json.dumps(dict(meta), sort_keys=True)),
    )


def move_page(db: sqlite3.Connection, row: int, place: Place) -> None:
    """Note where a page's vectors lie now."""
    db.execute(
        "UPDATE pages SET segment = ?, first = ?, last = ?, pool_first = ?, pool_last = ? WHERE row = ?",
        (place.segment, place.first, place.last, place.pool_first, place.pool_last, row),
    )


def page(db: sqlite3.Connection, id: str) -> tuple[Place, PatchGrid | None] | None:
    sql = "SELECT segment, first, last, pool_first, pool_last, grid FROM pages WHERE id = ?"
    found = db.execute(sql, (id,)).fetchone()
    if found is None:
        return None
    grid = json.loads(found[5]) if found[5] else None
    return Place(*found[:5]), PatchGrid(*grid) if grid else None


def places(db: sqlite3.Connection) -> tuple[list[str], np.ndarray]:
    """Ids of all pages, oldest first, and [P, 6]: row, segment, first, last, pool_first, pool_last."""
    sql = "SELECT id, row, segment, first, last, pool_first, pool_last FROM pages ORDER BY row"
    rows = db.execute(sql).fetchall()
    if not rows:
        return [], np.zeros((0, 6), dtype=np.int64)
    ids, *numbers = zip(*rows, strict=True)
    return list(ids), np.array(numbers, dtype=np.int64).T


def rows_of(db: sqlite3.Connection, where: Filter) -> np.ndarray:
    """Rows of the pages that a filter admits, ascending."""
    sql, values = condition(where)
    return np.array([row for (row,) in db.execute(f"SELECT row FROM pages WHERE {sql} ORDER BY row", values)], np.int64)


def condition(where: Filter) -> tuple[str, list[str | int | float | bool]]:
    """A filter as SQL; documents and values are never part of its text."""
    parts, values = ["1"], list[str | int | float | bool]()
    for column, admitted in (("document", where.documents), ("id", where.pages)):
        if admitted is not None:
            parts.append(f"{column} IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(list(admitted)))
    for key, value in where.meta.items():
        parts.append("EXISTS (SELECT 1 FROM json_each(meta) WHERE key = ? AND value = ?)")
        values += [key, value]
    return " AND ".join(parts), values
