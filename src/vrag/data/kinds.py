"""Drawing evenly from kinds of things: what is rare is no easier to learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")


def at_most(count: int, pairs: Iterable[tuple[str, T]]) -> list[T]:
    """The first `count` items of each kind, in their order."""
    seen: Counter[str] = Counter()
    kept: list[T] = []
    for kind, item in pairs:
        seen[kind] += 1
        if seen[kind] <= count:
            kept.append(item)
    return kept


class ByKind(Generic[T]):
    """Items by their kind, from (kind, item) pairs."""

    def __init__(self, pairs: Iterable[tuple[str, T]]) -> None:
        of_kind: dict[str, list[T]] = {}
        for kind, item in pairs:
            of_kind.setdefault(kind, []).append(item)
        self._items = list(of_kind.values())

    def __bool__(self) -> bool:
        return bool(self._items)

    def draw(self, count: int, rng: np.random.Generator) -> list[T]:
        """`count` items, with repetition: each of a kind, each kind as often as others."""
        kinds = [self._items[int(i)] for i in rng.integers(len(self._items), size=count)]
        return [kind[int(rng.integers(len(kind)))] for kind in kinds]
