"""Episodes that move together: one batch, one KV cache, and which of its columns are whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass
class Row:
    """One episode of a wave. `ids` are all its tokens; the first `cached` of them are in the KV cache."""

    session: str
    rng: np.random.Generator
    ids: list[int] = field(default_factory=lambda: [])
    cached: int = 0
    images_cached: int = 0
    closed: bool = False


@dataclass
class Wave:
    """`cache`: a `DynamicCache` with a batch row for each of `rows`; `mask` [B, L] is 1 where it holds a real token."""

    rows: list[Row]
    cache: Any
    mask: Tensor

    @classmethod
    def empty(cls, rows: list[Row], config: Any) -> Wave:
        from vrag.policies.cache import roomy_cache

        return cls(rows, roomy_cache(config), torch.zeros(len(rows), 0, dtype=torch.long))

    def open_rows(self) -> int:
        return sum(not row.closed for row in self.rows)

    def keep(self, places: Sequence[int]) -> None:
        """Drop all other rows."""
        self.rows = [self.rows[i] for i in places]
        self.gather(places)

    def gather(self, places: Sequence[int]) -> None:
        """What is cached, of these rows in this order; one may come more than once. `rows` stays as it is."""
        self.cache.batch_select_indices(self._index(places))
        self.mask = self.mask[list(places)]

    def part(self, places: Sequence[int], config: Any) -> Wave:
        """These rows as a wave with a cache of its own; this one keeps them too."""
        found = Wave.empty([self.rows[i] for i in places], config)
        found.mask = self.mask[list(places)]
        index = self._index(places)
        for number, layer in enumerate(self.cache.layers):
            found.cache.update(layer.keys[index], layer.values[index], number)
        return found

    def absorb(self, part: Wave, places: Sequence[int]) -> None:
        """Take over what `part`, made of `places`, has cached since; the other rows get a hole there."""
        before, index = self.mask.shape[1], self._index(places)
        more = torch.zeros(len(self.rows), part.mask.shape[1] - before, dtype=torch.long)
        more[list(places)] = part.mask[:, before:]
        self.mask = torch.cat([self.mask, more], dim=1)
        for number, layer in enumerate(part.cache.layers):
            self.cache.update(
                _spread(layer.keys[:, :, before:], index, len(self.rows)),
                _spread(layer.values[:, :, before:], index, len(self.rows)),
                number,
            )

    def _index(self, places: Sequence[int]) -> Tensor:
        layers = self.cache.layers
        device = layers[0].keys.device if layers and layers[0].is_initialized else None
        return torch.tensor(list(places), device=device)


def _spread(rows: Tensor, index: Tensor, count: int) -> Tensor:
    """`rows` at `index` of `count` rows that are zero otherwise."""
    return rows.new_zeros(count, *rows.shape[1:]).index_copy(0, index, rows)
