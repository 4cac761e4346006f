"""What a vision tower makes of images, and how far it is from what their patches show (`vrag.data.patches`).

Characters and labels are read from the patches of an inner layer, text tokens from what that layer gives the language
model (a deepstack layer of Qwen3-VL), and the names and the box of a value from what the tower gives it in the end: the
layers between can look for the row and the column that a value belongs to. Text tokens and names are told by the
language model's own embedding, so that an image of a word comes to lie where the word does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.patches import CHARACTERS, DIGITS, MERGE, NAMES, PatchTargets
from vrag.policies.vision import Features, encode
from vrag.types import EncodedImage

BLANKS = 0.125  # of all patches: this many that show nothing are told apart from print at each step


class Heads(nn.Module):
    """Linear readings of a tower of width `vision` and of what it gives a language model of width `hidden`."""

    def __init__(self, vision: int, hidden: int, labels: int) -> None:
        super().__init__()
        self.characters = nn.ModuleList(nn.Linear(vision, len(CHARACTERS) + 1) for _ in range(2))
        self.words = nn.Linear(vision, labels + 1)
        self.tokens = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(MERGE**2))
        self.names = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(NAMES))
        self.digits = nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in range(DIGITS))


@dataclass(frozen=True)
class Seen:
    """What a tower makes of a batch: `patches` [P, D] of the reading layer, `early` and `final` [M, H]: what the
    language model gets of that layer and of the last; `features`: the same by image, as it gets them.
    """

    patches: Tensor
    early: Tensor
    final: Tensor
    features: list[Features]


def look(model: Any, images: Sequence[EncodedImage]) -> Seen:
    """All `images` go through the tower at once, with a graph."""
    reading = model.model.visual.blocks[model.config.vision_config.deepstack_visual_indexes[0]]
    with _kept(reading) as kept:
        features = encode(model, images)
    early = torch.cat([one.deepstack[0] for one in features if one.deepstack])
    return Seen(kept[0], early, torch.cat([one.pooled for one in features]), features)


def sight_loss(
    model: Any,
    heads: Heads,
    codec: QwenVLCodec,
    seen: Seen,
    targets: Sequence[PatchTargets],
    level: float,
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """The sum of the mean cross-entropies of all kinds of targets, of which those that whole pages alone have count by
    `level`; and by kind the share that is right.
    """

    def joined(name: str) -> Tensor:
        values = np.concatenate([getattr(one, name) for one in targets]).astype(np.int64)
        return torch.from_numpy(values).to(model.device)

    kinds = ("characters", "words", "tokens", "values", "places")
    characters, words, tokens, values, places = (joined(kind) for kind in kinds)
    embedding = model.get_input_embeddings().weight
    nothing = int(codec.tokenizer.pad_token_id)
    shown = torch.cat([characters, words[:, None], tokens[:, None]], dim=1) >= 0
    blank = _some(~shown.any(dim=1), max(16, int(BLANKS * len(words))), rng)
    blocks = shown.any(dim=1).reshape(-1, MERGE**2).any(dim=1)
    blank_blocks = _some(~blocks, max(8, int(BLANKS * len(blocks))), rng)

    tally = _Tally()
    for side, head in enumerate(heads.characters):
        tally.add("characters", 0.5, head, seen.patches, characters[:, side], blank, len(CHARACTERS))
    tally.add("words", 1.0, heads.words, seen.patches, words, blank, heads.words.out_features - 1)
    for place, head in enumerate(heads.tokens):
        told = _Tied(head, embedding)
        tally.add("tokens", 0.25, told, seen.early, tokens.reshape(-1, MERGE**2)[:, place], blank_blocks, nothing)
    for place, head in enumerate(heads.names):
        tally.add("names", 0.5 * level, _Tied(head, embedding), seen.final, values[:, place])
    digits = embedding[codec.tokenizer.convert_tokens_to_ids([str(digit) for digit in range(10)])]
    for place, head in enumerate(heads.digits):
        told = _Tied(head, digits)
        tally.add("digits", level / DIGITS, told, seen.final, values[:, NAMES + place])
        tally.add("places", level / DIGITS, told, seen.final, places[:, place])
    return tally.loss, tally.right()


@dataclass(frozen=True)
class _Tied:
    """A head whose classes are rows of an embedding [C, H]."""

    head: nn.Module
    embedding: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        return self.head(features) @ self.embedding.T


class _Tally:
    """Sums weighted losses, and counts what is right by kind."""

    def __init__(self) -> None:
        self.loss: Any = 0.0
        self._right: dict[str, list[Tensor]] = {}

    def add(
        self,
        kind: str,
        weight: float,
        head: Callable[[Tensor], Tensor],
        features: Tensor,
        targets: Tensor,
        blank: Tensor | None = None,
        nothing: int = 0,
    ) -> None:
        """Targets of -1 are left out; the rows `blank` have the class `nothing`. Only print is counted as right."""
        rows = (targets >= 0).nonzero()[:, 0]
        wanted = targets[rows]
        if blank is not None:
            rows, wanted = torch.cat([rows, blank]), torch.cat([wanted, torch.full_like(blank, nothing)])
        if not len(rows):
            return
        logits = head(features[rows]).float()
        self.loss = self.loss + weight * cross_entropy(logits, wanted)
        printed = len(rows) - (0 if blank is None else len(blank))
        self._right.setdefault(kind, []).append((logits.argmax(-1) == wanted)[:printed])

    def right(self) -> dict[str, float]:
        joined = {kind: torch.cat(hits).float() for kind, hits in self._right.items()}
        return {kind: float(hits.mean()) for kind, hits in joined.items() if len(hits)}


@contextmanager
def _kept(layer: nn.Module) -> Generator[list[Tensor]]:
    """The outputs of `layer` while the context lasts."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        kept.append(output[0] if isinstance(output, tuple) else output)

    handle = layer.register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def _some(mask: Tensor, most: int, rng: np.random.Generator) -> Tensor:
    """Up to `most` of the rows where `mask` holds, at random."""
    rows = mask.nonzero()[:, 0]
    chosen = torch.from_numpy(rng.permutation(len(rows))[:most])
    return rows[chosen.to(rows.device)]
