"""Attention that is told where to look, while a model is trained from nothing.

To write a box, a language model has to find the one image token that says what is sought; to write a query, the names
in the question. Trained on what is written alone it learns pages and names by heart first: a digit says nothing about
where to look until one looks there. So one layer's scores are trained directly: on the positions that write a box, some
heads should choose, among the image's tokens, the one with the value; on those that repeat a name, others should
choose, among the text's tokens, the next one of that name. (Alignments supervise attention like this in machine
translation: Garg et al. 2019.)
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vrag.data.glances import Glance
from vrag.errors import InvariantError
from vrag.training.attention import attend_causally, attending
from vrag.types import Frozen

NAME = "vrag_guided"


class GuidanceConfig(Frozen):
    """Of `layer`, the first `image_heads` heads are told which image token to look at, and the last `text_heads` which
    text token; `weight` of the mean cross-entropies of both beside that of the tokens.
    """

    layer: int = 1
    image_heads: int = 4
    text_heads: int = 2
    weight: float = 1.0


@dataclass(frozen=True)
class GuidedHeads:
    """Of one forward of the layer: `queries` and `keys` [B, heads, L, D], turned by their places; a score before the
    softmax is `scaling` times their product.
    """

    queries: Tensor
    keys: Tensor
    scaling: float


@contextmanager
def kept_heads(model: Any, config: GuidanceConfig) -> Generator[list[GuidedHeads]]:
    """While the context lasts, each forward of the language model adds its guided heads to what is yielded."""
    from transformers import AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    kept: list[GuidedHeads] = []

    def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any) -> Any:
        if module.layer_idx == config.layer:
            keys = key.repeat_interleave(module.num_key_value_groups, dim=1)
            kept.append(GuidedHeads(query, keys, options["scaling"]))
        return attend_causally(module, query, key, value, mask, **options)

    AttentionMaskInterface.register(NAME, sdpa_mask)
    with attending(model.config.text_config, NAME, attend):
        yield kept


def guidance_loss(
    heads: GuidedHeads, images: Tensor, glances: Sequence[Sequence[Glance]], config: GuidanceConfig
) -> tuple[Tensor, list[bool]]:
    """Of each glance, in order, the mean cross-entropy [G], and whether most heads choose right at its first position:
    later ones are told by what has been written until then.

    `images` [B, L] is True on image tokens; the choice is among those tokens of the target's kind that stand before the
    glance; raises `InvariantError` if the target isn't among them. Scores are computed for the glances alone, row by
    row: their gradients would otherwise each fill a whole [B, heads, L, L].
    """
    losses, right = list[Tensor](), list[bool]()
    rows = zip(heads.queries.unbind(), heads.keys.unbind(), images, glances, strict=True)
    for queries, keys, shown, wanted in rows:
        for glance in wanted:
            pictured = bool(shown[glance.target])
            chosen = slice(0, config.image_heads) if pictured else slice(-config.text_heads, None)
            places = (shown[: glance.start] == pictured).nonzero()[:, 0]
            count = glance.end - glance.start
            targets = glance.target + torch.arange(count, device=places.device) * glance.moves
            scores = queries[chosen, glance.start : glance.end] @ keys[chosen, places].transpose(1, 2)
            choices = (scores.float() * heads.scaling).log_softmax(-1)
            found = (places == targets[:, None]).nonzero()[:, 1]
            if len(found) != count:
                raise InvariantError(f"{glance} looks at a token that doesn't stand before it, or isn't of one kind")
            found = found.expand(len(choices), count)
            losses.append(-choices.gather(-1, found[..., None]).mean())
            right.append(bool((choices[:, 0].argmax(-1) == found[:, 0]).float().mean() > 0.5))
    return torch.stack(losses) if losses else heads.queries.new_zeros(0), right
