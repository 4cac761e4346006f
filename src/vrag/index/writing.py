"""Vectors of pages into the segments of an index, behind what is committed; and out of them, for a compaction.

Runs within a transaction of the catalogue, whose commit makes it count.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np

from vrag.index import catalog, segments
from vrag.index.quantize import Quantized
from vrag.index.state import Part
from vrag.killpoints import killpoint

SEGMENT = 1 << 23  # vectors, after which a new segment begins
_COMPACTED = 1 << 18  # vectors that a compaction holds in memory


def append(
    db: sqlite3.Connection, folder: Path, full: Sequence[Quantized], pooled: Sequence[Quantized]
) -> list[catalog.Place]:
    """Add pages' vectors to the newest segment, or to a new one when that is full."""
    known = catalog.segments(db)
    bits = pooled[0].bits
    goes_on = known and known[-1].vectors < SEGMENT and known[-1].bits == bits
    segment = known[-1] if goes_on else catalog.begin_segment(db, bits)
    segments.append(folder, segment.id, "full", segment.vectors, _joined(full))
    killpoint("index.half-appended")
    segments.append(folder, segment.id, "pool", segment.pooled, _joined(pooled))
    firsts, pool_firsts = _ends(segment.vectors, full), _ends(segment.pooled, pooled)
    catalog.put_segment(db, catalog.Segment(segment.id, firsts[-1], pool_firsts[-1], bits))
    spans = zip(firsts, firsts[1:], pool_firsts, pool_firsts[1:], strict=False)
    return [catalog.Place(segment.id, *span) for span in spans]


def portions(places: np.ndarray) -> Generator[np.ndarray]:
    """`places`, as of `catalog.places`, a few pages at a time."""
    lengths = np.cumsum(places[:, 3] - places[:, 2])
    for portion in np.unique(lengths // _COMPACTED):
        yield places[lengths // _COMPACTED == portion]


def stored(parts: Sequence[Part], places: np.ndarray) -> tuple[list[Quantized], list[Quantized]]:
    """All vectors and the pooled ones of each page."""
    held = {part.segment.id: part for part in parts}
    full, pooled = list[Quantized](), list[Quantized]()
    for _, segment, first, last, pool_first, pool_last in places:
        full.append(held[segment].full[first:last])
        pooled.append(held[segment].pool[pool_first:pool_last])
    return full, pooled


def _joined(parts: Sequence[Quantized]) -> Quantized:
    codes = np.concatenate([part.codes for part in parts])
    return Quantized(codes, np.concatenate([part.scales for part in parts]))


def _ends(start: int, parts: Sequence[Quantized]) -> list[int]:
    """Where each part begins behind `start`, and where the last one ends."""
    return [start, *(start + int(end) for end in np.cumsum([len(part.codes) for part in parts]))]
