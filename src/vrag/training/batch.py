"""Episodes to padded tensors, and micro-batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vrag.episode import Tokens
from vrag.policies.vision import image_inputs
from vrag.types import EncodedImage

PADDING = 0.2  # of a micro-batch; short and long episodes together would mostly compute on padding


@dataclass(frozen=True)
class Batch:
    """`input_ids`, `kinds` (1 on image pads), `loss_mask` [B, L], padded on the right; `images` in order of
    appearance.
    """

    input_ids: Tensor
    kinds: Tensor
    loss_mask: Tensor
    images: list[EncodedImage]

    def inputs(self, model: Any) -> dict[str, Any]:
        """Keyword arguments of `model`'s forward.

        There is no attention mask: padding stands behind all that counts, so causal attention doesn't see it, and
        without a mask nothing is kept that is quadratic in the length. Positions are given, the text's own first: where
        there is no mask, some versions of transformers take the jumps at images for the starts of further sequences.
        """
        images = image_inputs(model, self.images)
        return {"input_ids": self.input_ids, "position_ids": self.positions(model), **images}

    def positions(self, model: Any) -> Tensor:
        """[4, B, L]: of the text, then of time, height and width."""
        grids = torch.tensor([image.grid for image in self.images], device=model.device) if self.images else None
        seen = model.model.get_rope_index(self.input_ids, mm_token_type_ids=self.kinds, image_grid_thw=grids)[0]
        read = torch.arange(seen.shape[-1], device=seen.device).expand(1, *seen.shape[1:])
        return torch.cat([read, seen])

    def before_sampled(self, hidden: Tensor) -> Tensor:
        """Of [B, L, hidden], that from which each sampled token is predicted: [M, hidden]."""
        return hidden[:, :-1][self.loss_mask[:, 1:]]

    def attending(self, model: Any) -> AbstractContextManager[None]:
        """As the model does by itself."""
        return nullcontext()


def collate(episodes: Sequence[Tokens], *, pad_id: int, image_pad_id: int, model: Any) -> Batch:
    """Pad on the right and move to the model's device."""
    width = max(len(e.prompt_ids) + len(e.response_ids) for e in episodes)
    ids = torch.full((len(episodes), width), pad_id)
    loss_mask = torch.zeros(len(episodes), width, dtype=torch.bool)
    for i, episode in enumerate(episodes):
        full = episode.ids
        ids[i, : len(full)] = torch.tensor(full)
        loss_mask[i, len(episode.prompt_ids) : len(full)] = torch.tensor(episode.loss_mask, dtype=torch.bool)
    images = [image for episode in episodes for image in episode.images]
    device = model.device
    kinds = (ids == image_pad_id).int()
    return Batch(ids.to(device), kinds.to(device), loss_mask.to(device), images)


def micro_batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Indices grouped by similar length, so that padded size stays within `max_tokens` (one episode at least) and
    at most `PADDING` of it is padding. The longest come first: what doesn't fit fails at once, and memory that is freed
    is large enough for what follows.
    """
    group: list[int] = []
    filled = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        padded = lengths[group[0] if group else index] * (len(group) + 1)
        if group and (padded > max_tokens or padded - filled - length > PADDING * padded):
            yield group
            group, filled = [], 0
        group.append(index)
        filled += length
    if group:
        yield group
