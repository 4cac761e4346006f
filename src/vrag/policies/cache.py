"""A KV cache that grows in place: decoding would otherwise copy all that is cached for every token."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64  # columns kept free behind those that are taken, whenever a layer has to move


class RoomyLayer(DynamicLayer):
    """`keys` and `values` [B, heads, L, D] are the taken part of longer buffers."""

    _buffers: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        before = self.get_seq_length()
        after = before + key_states.shape[-2]
        if self._buffers is None or after > self._buffers[0].shape[-2]:
            self._buffers = _moved(self.keys, key_states, before), _moved(self.values, value_states, before)
        keys, values = self._buffers
        keys[:, :, before:after] = key_states
        values[:, :, before:after] = value_states
        self.keys, self.values = keys[:, :, :after], values[:, :, :after]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)
        self._buffers = None


def _moved(taken: Tensor | None, new: Tensor, before: int) -> Tensor:
    """A buffer for both and `ROOM` more columns, with what was `taken`."""
    rows, heads, more, size = new.shape
    buffer = new.new_empty(rows, heads, before + more + ROOM, size)
    if taken is not None and before:
        buffer[:, :, :before] = taken
    return buffer


def roomy_cache(config: Any) -> DynamicCache:
    """Empty, for a model of this `config`; layers of another kind than plain ones stay as they are."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
