"""Drawing evenly from kinds of things: what is rare is no easier to learn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")


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
