"""Words in their places on a page."""

from __future__ import annotations

from vrag.types import Box, Word


def line(y: float, *blocks: tuple[float, str]) -> list[Word]:
    """Blocks at their left edges; 10 px a letter, 8 px a space, 20 px a line."""
    found: list[Word] = []
    for left, text in blocks:
        x = left
        for part in text.split():
            found.append(Word(text=part, box=Box(x1=x, y1=y, x2=x + 10 * len(part), y2=y + 20), line=int(y)))
            x += 10 * len(part) + 8
    return found
