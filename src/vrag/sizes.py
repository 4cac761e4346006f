"""Sizes in bytes, of folders and for a person."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_UNITS = ("B", "kB", "MB", "GB")


def size(count: int) -> str:
    """In decimal units, as the benchmarks have them; three digits or so."""
    value = float(count)
    for unit in _UNITS:
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def bytes_below(folder: Path) -> int:
    """Of all files below a folder; those that go meanwhile count nothing."""
    total = 0
    for place, _, files in os.walk(folder):
        for file in files:
            with suppress(OSError):
                total += (Path(place) / file).lstat().st_size
    return total
