"""Things in portions that fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def portions(items: Iterable[T], cost: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """`items` in their order, as many at a time as cost `limit` together at most, and at least one."""
    portion, filled = list[T](), 0
    for item in items:
        need = cost(item)
        if portion and filled + need > limit:
            yield portion
            portion, filled = [], 0
        portion.append(item)
        filled += need
    if portion:
        yield portion
