"""Episodes that begin alike, as a tree: what several of them share passes through the language model once.

The siblings of a group have one question, often the same first search, and then the same page before them. What a model
makes of a token depends on the tokens before it alone, so each distinct one (of those that follow the same tokens) is
computed once, in one row without padding; attention alone sees whole episodes. Numbers and gradients are those of the
episodes one by one.

Axes: B episodes; L tokens of the longest; U distinct tokens; b episodes of like length, of S tokens at most.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vrag.episode import Tokens
from vrag.policies.vision import image_inputs
from vrag.portions import portions
from vrag.training.attention import attending
from vrag.training.batch import Batch, collate, micro_batches
from vrag.types import EncodedImage

NAME = "vrag_prefix_tree"


@dataclass(frozen=True)
class PrefixTree:
    """`batch`: the episodes, padded. `places` [B, L]: the distinct token at each place, on padding the last.
    `first` [U]: where in the flattened [B * L] each stands first. `images` of the distinct tokens, in their order.
    """

    batch: Batch
    places: Tensor
    first: Tensor
    images: list[EncodedImage]
    attention: Attention

    @property
    def input_ids(self) -> Tensor:
        return self.batch.input_ids

    @property
    def loss_mask(self) -> Tensor:
        return self.batch.loss_mask

    def inputs(self, model: Any) -> dict[str, Any]:
        """Keyword arguments of `model`'s forward, over [1, U]."""
        positions = self.batch.positions(model).flatten(1)[:, None, self.first]
        ids = self.batch.input_ids.flatten()[None, self.first]
        return {"input_ids": ids, "position_ids": positions, **image_inputs(model, self.images)}

    def before_sampled(self, hidden: Tensor) -> Tensor:
        """Of what the model makes of its inputs, that from which each sampled token is predicted: [M, hidden]."""
        return hidden[0].index_select(0, self.places[:, :-1][self.loss_mask[:, 1:]])

    def attending(self, model: Any) -> AbstractContextManager[None]:
        """Within, `model` attends over whole episodes. Go backward within too: layers that are computed again have to
        attend in the same way.
        """
        return attending(model.config.text_config, NAME, self.attention)


class Attention:
    """Of distinct tokens over the episodes that they stand in."""

    def __init__(self, places: np.ndarray, lengths: Sequence[int], device: Any) -> None:
        alike = micro_batches(lengths, max_tokens=sys.maxsize)
        rows = [places[group, : max(lengths[i] for i in group)] for group in alike]
        _, back = np.unique(np.concatenate([part.ravel() for part in rows]), return_index=True)  # before any padding
        self._rows = [torch.from_numpy(part).to(device) for part in rows]
        self._back = torch.from_numpy(back).to(device)

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None = None, **options: Any
    ) -> tuple[Tensor, None]:
        """query, key, value [1, heads, U, D] to [1, U, heads, D]."""
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        parts: list[Tensor] = []
        for rows in self._rows:
            asked, held, given = (_spread(states, rows) for states in (query, key, value))
            parts.append(sdpa_attention_forward(module, asked, held, given, None, **options)[0].flatten(0, 1))
        return torch.cat(parts).index_select(0, self._back)[None], None


def _spread(states: Tensor, rows: Tensor) -> Tensor:
    """[1, heads, U, D] to [b, heads, S, D]."""
    flat = states[0].transpose(0, 1).index_select(0, rows.flatten())
    return flat.unflatten(0, rows.shape).transpose(1, 2)


def prefix_tree(episodes: Sequence[Tokens], *, pad_id: int, image_pad_id: int, model: Any) -> PrefixTree:
    """On the model's device. Equal images are one object (`vrag.policies.vision`)."""
    batch = collate(episodes, pad_id=pad_id, image_pad_id=image_pad_id, model=model)
    ids = _identities(episodes, image_pad_id)
    places = np.zeros(batch.input_ids.shape, dtype=np.int64)
    first, images, before = list[np.ndarray](), list[EncodedImage](), 0
    previous: int | None = None
    for number in sorted(range(len(ids)), key=lambda i: ids[i].tolist()):  # so that the last one shares the most
        shared = 0 if previous is None else _common(ids[previous], ids[number])
        new = len(ids[number]) - shared
        if previous is not None:
            places[number, :shared] = places[previous, :shared]
        places[number, shared : shared + new] = np.arange(before, before + new)
        places[number, shared + new :] = places[number, shared + new - 1]
        first.append(number * places.shape[1] + np.arange(shared, shared + new))
        images += episodes[number].images[bisect_left(episodes[number].image_starts(image_pad_id), shared) :]
        previous, before = number, before + new
    attention = Attention(places, [len(one) for one in ids], model.device)
    where, stands = (torch.from_numpy(one).to(model.device) for one in (places, np.concatenate(first)))
    return PrefixTree(batch, where, stands, images, attention)


def side_by_side(episodes: Sequence[Tokens], max_tokens: int) -> Iterator[list[int]]:
    """Indices of episodes that begin alike, in portions of at most `max_tokens`, counted before anything is shared (one
    episode at least). Those with the longest come first, for what doesn't fit fails at once.
    """
    ids = [episode.ids for episode in episodes]
    prompts = [tuple(episode.prompt_ids) for episode in episodes]
    longest: dict[tuple[int, ...], int] = {}
    for prompt, whole in zip(prompts, ids, strict=True):
        longest[prompt] = max(longest.get(prompt, 0), len(whole))
    order = sorted(range(len(ids)), key=lambda i: (-longest[prompts[i]], ids[i]))
    return portions(order, lambda i: len(ids[i]), max_tokens)


def _identities(episodes: Sequence[Tokens], image_pad_id: int) -> list[np.ndarray]:
    """The ids of each episode, with what tells distinct images apart in place of their pads: a number below 0."""
    numbers: dict[int, int] = {}
    found: list[np.ndarray] = []
    for episode in episodes:
        ids = np.array(episode.ids)
        pads = np.flatnonzero(ids == image_pad_id)
        which = np.searchsorted(episode.image_starts(image_pad_id), pads, side="right") - 1
        names = np.array([-1 - numbers.setdefault(id(image), len(numbers)) for image in episode.images], dtype=int)
        ids[pads] = names[which]
        found.append(ids)
    return found


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """How many first items are equal."""
    length = min(len(one), len(other))
    differ = np.flatnonzero(one[:length] != other[:length])
    return int(differ[0]) if len(differ) else length
