"""Learning to see from nothing: the vision tower learns what each patch shows (`vrag.data.patches`); the language model
isn't run.

Characters and labels are read from the patches of an inner layer, text tokens from what that layer gives the language
model (a deepstack layer of Qwen3-VL), and the names and the box of a value from what the tower gives it in the end: the
layers between can look for the row and the column that a value belongs to. Text tokens and names are told by the
language model's own embedding, so that an image of a word comes to lie where the word does.

The curriculum is adaptive: `level`, the share of the batch that is whole pages and crops, starts at 0, where all are
windows of one word, and rises by `rise` a step while labels are read with an accuracy above `threshold`, up to 1.

The heads are thrown away in the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.patches import CHARACTERS, DIGITS, MERGE, NAMES
from vrag.data.sights import PageSights, Sight
from vrag.errors import ConfigError
from vrag.training.attention import quick_tower
from vrag.training.optimizer import OptimizerConfig, apply, make_optimizer, rate
from vrag.training.precision import Precision, autocast
from vrag.training.run import CheckpointConfig, TrainingRun
from vrag.types import Frozen

BLANKS = 0.125  # of all patches: this many that show nothing are told apart from print at each step


class PretrainConfig(Frozen):
    """Defaults train vrag-tiny. A step has `labels` and `values` windows at level 0, and half of them, `crops` and
    `pages` at level 1. The share `recoloured` of the windows is printed in other ink; the share `tinted` of all sights
    is shown in the colours of another theme.
    """

    steps: int = 2600
    labels: int = 96
    values: int = 48
    crops: int = 12
    pages: int = 8
    recoloured: float = 0.3
    tinted: float = 0.5
    rise: float = 0.02
    threshold: float = 0.7
    momentum: float = 0.9
    precision: Precision = "bf16"
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig(
        method="muon", lr=1e-2, rest=0.3, schedule="cosine", warmup=0.02, restart=0.5
    )
    checkpoints: CheckpointConfig = CheckpointConfig(every=200, keep=1)


@dataclass
class Curriculum:
    """The level, and the running accuracy of reading labels."""

    config: PretrainConfig
    level: float = 0.0
    accuracy: float = 0.0

    def update(self, right: float) -> None:
        self.accuracy += (1 - self.config.momentum) * (right - self.accuracy)
        if self.accuracy > self.config.threshold:
            self.level = min(1.0, self.level + self.config.rise)

    def draw(self, sights: PageSights, rng: np.random.Generator) -> list[Sight]:
        config, share = self.config, 1 - self.level / 2
        windows = sights.windows(round(share * config.labels), round(share * config.values), rng)
        crops = sights.crops(round(self.level * config.crops), rng)
        pages = sights.pages(round(self.level * config.pages), rng)
        return [
            *(self._coloured(one, config.recoloured, rng) for one in windows),
            *(self._coloured(one, 0.0, rng) for one in (*crops, *pages)),
        ]

    def _coloured(self, sight: Sight, recoloured: float, rng: np.random.Generator) -> Sight:
        drawn = rng.random()
        if drawn < recoloured:
            return sight.recoloured(rng)
        return sight.tinted(rng) if drawn < recoloured + self.config.tinted else sight


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
class _Seen:
    """What a tower makes of a batch: `patches` [P, D] of the reading layer, `early` and `final` [M, H]: what the
    language model gets of that layer and of the last.
    """

    patches: Tensor
    early: Tensor
    final: Tensor


def pretrain(
    model: Any,
    codec: QwenVLCodec,
    sights: PageSights,
    labels: int,
    config: PretrainConfig,
    out: Path,
    on_step: Callable[[dict[str, Any]], None] = lambda metrics: None,
) -> None:
    """Train `model`'s tower and embedding in place; rerunning the same call continues from the newest checkpoint.

    `labels`: how many labels the targets of `sights` tell apart. Raises `ConfigError` for a family without deepstack.
    """
    if not getattr(model.config.vision_config, "deepstack_visual_indexes", None):
        raise ConfigError(
            f"a {model.config.model_type} can't be pretrained: its tower has no absolute places and gives the language "
            "model its last layer alone; set shape.family = qwen3_vl"
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("visual" in name or "embed_tokens" in name)
    torch.manual_seed(config.seed)
    heads = Heads(model.config.vision_config.hidden_size, model.config.text_config.hidden_size, labels)
    heads.to(model.device)
    optimizer = make_optimizer(model, config.optimizer, heads)
    run = TrainingRun(out, config, model, codec, optimizer, config.checkpoints, heads)
    curriculum = Curriculum(config, **run.state.get("curriculum", {}))
    model.train()
    for step in range(run.start, config.steps):
        began = time.perf_counter()
        rng = np.random.default_rng([config.seed, step])
        level = curriculum.level
        with quick_tower(model, config.precision):
            with autocast(model, config.precision):
                loss, right = sight_loss(model, heads, codec, curriculum.draw(sights, rng), rng)
            loss.backward()
        if "words" in right:
            curriculum.update(right["words"])
        lr = rate(config.optimizer, step, config.steps)
        norm = apply(optimizer, model, config.optimizer, lr, heads)
        metrics = {"loss": float(loss.detach()), "level": level, **right, "gradient_norm": norm, "lr": lr}
        metrics["seconds"] = time.perf_counter() - began
        state = {"curriculum": {"level": curriculum.level, "accuracy": curriculum.accuracy}}
        run.commit(step, config.steps, metrics, state)
        on_step({"step": step, "steps": config.steps, **metrics})


def sight_loss(
    model: Any, heads: Heads, codec: QwenVLCodec, sights: Sequence[Sight], rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """The sum of the mean cross-entropies of all kinds of targets, and by kind the share that is right."""
    seen = _look(model, codec, sights)
    targets = [sight.targets for sight in sights]

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
        tally.add("names", 0.5, _Tied(head, embedding), seen.final, values[:, place])
    digits = embedding[codec.tokenizer.convert_tokens_to_ids([str(digit) for digit in range(10)])]
    for place, head in enumerate(heads.digits):
        told = _Tied(head, digits)
        tally.add("digits", 1 / DIGITS, told, seen.final, values[:, NAMES + place])
        tally.add("places", 1 / DIGITS, told, seen.final, places[:, place])
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


def _look(model: Any, codec: QwenVLCodec, sights: Sequence[Sight]) -> _Seen:
    images = [codec.encode_pixels(sight.image) for sight in sights]
    pixels = torch.from_numpy(np.concatenate([image.pixels for image in images]))
    grids = torch.tensor([image.grid for image in images], device=model.device)
    tower = model.model.visual
    with _kept(tower.blocks[model.config.vision_config.deepstack_visual_indexes[0]]) as kept:
        out = tower(pixels.to(model.device, model.dtype), grid_thw=grids)
    return _Seen(kept[0], out.deepstack_features[0], out.pooler_output)


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
