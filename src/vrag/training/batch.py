"""Episodes to padded tensors, and micro-batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vrag.episode import Tokens


@dataclass(frozen=True)
class Batch:
    """`input_ids`, `attention_mask`, `kinds` (1 on image pads), `loss_mask` [B, L], padded on the right;
    `pixels` [sum of patches, D] and `grids` [images, 3] in order of appearance, or None without images.
    """

    input_ids: Tensor
    attention_mask: Tensor
    kinds: Tensor
    loss_mask: Tensor
    pixels: Tensor | None
    grids: Tensor | None

    def inputs(self) -> dict[str, Tensor]:
        """Keyword arguments of the model's forward."""
        given = {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            "mm_token_type_ids": self.kinds,
        }
        if self.pixels is not None and self.grids is not None:
            given |= {"pixel_values": self.pixels, "image_grid_thw": self.grids}
        return given


def collate(episodes: Sequence[Tokens], *, pad_id: int, image_pad_id: int, model: Any) -> Batch:
    """Pad on the right and move to the model's device and dtype."""
    width = max(len(e.prompt_ids) + len(e.response_ids) for e in episodes)
    ids = torch.full((len(episodes), width), pad_id)
    attention = torch.zeros(len(episodes), width, dtype=torch.long)
    loss_mask = torch.zeros(len(episodes), width, dtype=torch.bool)
    for i, episode in enumerate(episodes):
        full = episode.ids
        ids[i, : len(full)] = torch.tensor(full)
        attention[i, : len(full)] = 1
        loss_mask[i, len(episode.prompt_ids) : len(full)] = torch.tensor(episode.loss_mask, dtype=torch.bool)
    images = [image for episode in episodes for image in episode.images]
    device = model.device
    pixels = grids = None
    if images:
        pixels = torch.from_numpy(np.concatenate([image.pixels for image in images])).to(device, model.dtype)
        grids = torch.tensor([image.grid for image in images], device=device)
    kinds = ((ids == image_pad_id) & (attention == 1)).int()
    return Batch(ids.to(device), attention.to(device), kinds.to(device), loss_mask.to(device), pixels, grids)


def micro_batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Indices grouped by similar length, so that padded size stays within `max_tokens` (one episode at least)."""
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if group and lengths[index] * (len(group) + 1) > max_tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
