"""Attention that is told where to look, while a model is trained from nothing.

To write a box, a language model has to find the one image token that says what is sought. Trained on the written digits
alone it learns the pages by heart first: the digits say nothing about where to look until it looks there. So one
layer's scores are trained directly: on the positions that write a box, some heads should choose, among the image's
tokens, the one with the value. (Alignments supervise attention like this in machine translation: Garg et al. 2019.)
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vrag.types import Frozen

NAME = "vrag_guided"


class GuidanceConfig(Frozen):
    """The first `heads` heads of `layer` are guided; `weight` of the mean cross-entropy beside that of the tokens."""

    layer: int = 1
    heads: int = 4
    weight: float = 1.0


@dataclass(frozen=True)
class Glance:
    """The positions `start` to `end` (exclusive) of an episode should look at the image token at `target`."""

    start: int
    end: int
    target: int


@dataclass
class Scores:
    """Of the last forward: attention scores before the softmax, [B, heads, L, L]; without the causal mask."""

    values: Tensor | None = None


@contextmanager
def kept_scores(model: Any, config: GuidanceConfig) -> Generator[Scores]:
    """While the context lasts, each forward of the language model leaves the guided scores in what is yielded."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    scores = Scores()

    def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any) -> Any:
        if module.layer_idx == config.layer:
            keys = key.repeat_interleave(module.num_key_value_groups, dim=1)[:, : config.heads]
            scores.values = (query[:, : config.heads] @ keys.transpose(2, 3)).float() * options["scaling"]
        return sdpa_attention_forward(module, query, key, value, mask, **options)

    text = model.config.text_config
    before = text._attn_implementation
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    text._attn_implementation = NAME
    try:
        yield scores
    finally:
        text._attn_implementation = before


def guidance_loss(scores: Tensor, images: Tensor, glances: Sequence[Sequence[Glance]]) -> tuple[Tensor, list[bool]]:
    """The sum over all glances of their mean cross-entropy, and for each whether most of its choices are right.

    `images` [B, L] is True on image tokens; the choice is among those that stand before the glance.
    """
    total, right = scores.new_zeros(()), list[bool]()
    for row, wanted in enumerate(glances):
        for glance in wanted:
            places = images[row, : glance.start].nonzero()[:, 0]
            target = int((places == glance.target).nonzero()[0, 0])
            choices = scores[row, :, glance.start : glance.end][:, :, places].log_softmax(-1)
            total = total - choices[:, :, target].mean()
            right.append(bool((choices.argmax(-1) == target).float().mean() > 0.5))
    return total, right
