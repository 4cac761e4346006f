"""Sizes in bytes, for a person."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB")


def size(count: int) -> str:
    """In decimal units, as the benchmarks have them; three digits or so."""
    value = float(count)
    for unit in _UNITS:
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
