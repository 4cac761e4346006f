"""Supervised fine-tuning on expert episodes: assistant tokens only.

The paper fine-tunes on trajectories of an expert before RL (§3.4 and appendix); observation tokens are masked
by the episode itself. `turn_weights` weigh the few tokens that carry an answer or a box against the many
that repeat the question.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.glances import Glance, corner, where
from vrag.episode import Episode, Tokens
from vrag.errors import DataError, InvariantError
from vrag.geometry import block_at
from vrag.runs import content_key
from vrag.training.guidance import GuidanceConfig
from vrag.training.lora import PolicyLora, result_of, trainable
from vrag.training.memory import checkpoint_activations
from vrag.training.optimizer import OptimizerConfig, apply, make_optimizer, rate
from vrag.training.precision import Precision
from vrag.training.run import CheckpointConfig, TrainingRun
from vrag.training.supervised import Example, Extra, no_extra, supervised_step
from vrag.types import Box, Crop, Frozen, Turn, View


class SFTConfig(Frozen):
    """Defaults are the paper's (FACTS: SFT hyperparameters): 3 epochs, batch 16 x 2, lr 1e-5 cosine, warmup 0.1."""

    epochs: float = 3
    batch: int = 32
    max_tokens: int = 16_384  # padded tokens of one micro-batch
    turn_weights: dict[str, float] = Field(default={"search": 1.0, "bbox": 1.0, "answer": 1.0})
    freeze_vision: bool = True  # the tower and what projects its features into the language model
    lora: PolicyLora | None = None  # None: all weights that aren't frozen are trained
    guidance: GuidanceConfig | None = None  # tells the tokens of a box where to look; needs gold boxes
    precision: Precision = "bf16"
    # less memory for a second forward: it trains the same, so a run may be continued with it or without
    gradient_checkpointing: bool = Field(default=False, exclude=True)
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-5, schedule="cosine", warmup=0.1, floor=0.0)
    checkpoints: CheckpointConfig = CheckpointConfig()


class _Run(Frozen):
    """What a run must agree in to be continued."""

    episodes: str
    config: SFTConfig


def example(episode: Episode, turn_weights: dict[str, float], codec: QwenVLCodec | None = None) -> Example:
    """Weigh each sampled token by the action of its turn; a turn without a valid action weighs nothing, nor does a crop
    that missed and was drawn again: nobody is to learn to miss. With `codec`, the tokens that write the box of a gold
    value look at the image token that shows it.
    """
    if episode.tokens is None:
        raise DataError(f"episode {episode.task.id}: carries no tokens; roll the expert out with a codec")
    runs = episode.tokens.turn_lengths()
    if len(runs) != len(episode.turns):
        raise InvariantError(f"episode {episode.task.id}: {len(runs)} sampled runs for {len(episode.turns)} turns")
    pages = _pages(episode)
    mended = _mended(episode.turns, pages)
    weights: list[float] = []
    for length, turn, again in zip(runs, episode.turns, mended, strict=True):
        weight = turn_weights.get(turn.action.name, 1.0) if turn.action and not again else 0.0
        weights += [weight] * length
    glances = () if codec is None else tuple(_glances(episode.turns, episode.tokens, pages, mended, codec))
    return Example(episode.tokens, weights, glances)


@dataclass(frozen=True)
class _GoldPage:
    """A page as it was shown, its gold box in raw pixels, and how many images turns have shown before it."""

    view: View
    gold: Box
    images: int


def _pages(episode: Episode) -> list[_GoldPage | None]:
    """For each turn the page that was shown last before it; None where there is none, or nothing on it is gold."""
    boxes = {gold.ref: gold.box for gold in episode.task.gold if gold.box is not None}
    page, images, found = None, 0, list[_GoldPage | None]()
    for turn in episode.turns:
        found.append(page)
        shown = turn.observation
        if shown is not None and shown.view is not None:
            images += len(shown.views)
            if shown.kind == "page":
                box, region = boxes.get(shown.view.ref), shown.view.region
                page = _GoldPage(shown.view, box.scaled(region.width, region.height), images - 1) if box else None
    return found


def _mended(turns: Sequence[Turn], pages: Sequence[_GoldPage | None]) -> list[bool]:
    """Of each turn, whether it crops beside the gold box of its page and the next turn draws that crop right."""
    held = [_holds(turn, page) for turn, page in zip(turns, pages, strict=True)]
    return [one is False and after is True for one, after in zip(held, [*held[1:], None], strict=True)]


def _holds(turn: Turn, page: _GoldPage | None) -> bool | None:
    """Whether a crop of `page` shows its gold box as a whole; None if it isn't one."""
    if page is None or not isinstance(turn.action, Crop) or turn.observation is None or turn.observation.view is None:
        return None
    return turn.observation.view.region.holds(page.gold)


def _glances(
    turns: Sequence[Turn],
    tokens: Tokens,
    pages: Sequence[_GoldPage | None],
    mended: Sequence[bool],
    codec: QwenVLCodec,
) -> Iterator[Glance]:
    """For each crop of a page that holds gold: from the tag of the box to the end of its first corner. A crop of a crop
    has none, unless it mends one that missed: that is drawn over the page.
    """
    ids, pad, tag = tokens.ids, codec.image_pad_id, codec.encode_text("<bbox>")
    starts = [i for i, token in enumerate(ids) if token == pad and ids[i - 1] != pad]
    starts = starts[len(starts) - sum(len(turn.observation.views) for turn in turns if turn.observation) :]
    of_page = False  # whether the image that was shown last is a page, or a crop that is mended
    for turn, page, again, (start, end) in zip(turns, pages, mended, tokens.sampled_runs(), strict=True):
        drawn = isinstance(turn.action, Crop) and of_page and not again
        opened = where(ids, tag, (start, end)) if drawn else None
        if page is not None and opened is not None:
            block = block_at(page.view, page.gold, codec.patch_size * codec.merge_size)
            yield Glance.writing(opened, corner(ids, opened, end, codec.token_text), starts[page.images] + block)
        if turn.observation is not None and turn.observation.views:
            of_page = turn.observation.kind == "page" or again


def sft(
    model: Any,
    codec: QwenVLCodec,
    episodes: Sequence[Episode],
    config: SFTConfig,
    out: Path,
    on_step: Callable[[dict[str, Any]], None] = lambda metrics: None,
    extra: Extra = no_extra,
) -> Any:
    """Train `model` in place; rerunning the same call continues from the newest checkpoint. Returns what is to be
    saved: `model`, adapters merged, or with `lora.merge` off the peft model around it. Raises `DataError` without
    episodes, `UsageError` when the run at `out` has others or another `config`.

    `extra` draws further examples for each step (`vrag.data.copying`), from a generator that is a function of
    the step.
    """
    if not episodes:
        raise DataError("no expert episodes to train on: construct some first")
    trained = trainable(model, config.lora, freeze_vision=config.freeze_vision, seed=config.seed)
    if config.gradient_checkpointing:
        checkpoint_activations(model)
    examples = [example(e, config.turn_weights, codec if config.guidance else None) for e in episodes]
    optimizer = make_optimizer(trained, config.optimizer)
    key = _Run(episodes=_digest(examples), config=config)
    run = TrainingRun(out, key, trained, codec, optimizer, config.checkpoints)
    steps = max(1, round(config.epochs * len(examples) / config.batch))
    model.train()
    for step in range(run.start, steps):
        began = time.perf_counter()
        chosen = [examples[i] for i in indices(step, config.batch, len(examples), config.seed)]
        chosen += map(Example.of, extra(np.random.default_rng([config.seed, 1, step])))
        result = supervised_step(model, codec, chosen, config.max_tokens, config.precision, config.guidance)
        lr = rate(config.optimizer, step, steps)
        norm = apply(optimizer, trained, config.optimizer, lr)
        metrics = {
            "loss": result.loss,
            "exact": float(np.mean(result.exact)),
            **result.glanced(chosen),
            "lr": lr,
            "gradient_norm": norm,
            "tokens": result.tokens,
            "seconds": time.perf_counter() - began,
        }
        run.commit(step, steps, metrics)
        on_step({"step": step, "steps": steps, **metrics})
    return result_of(trained, config.lora)


def _digest(examples: Sequence[Example]) -> str:
    return content_key(*(sha256(np.asarray(e.tokens.ids, np.int32).tobytes()).hexdigest() for e in examples))


def indices(step: int, batch: int, size: int, seed: int) -> list[int]:
    """The samples of `step`: a fresh permutation per epoch, a function of (seed, step) alone."""
    chosen: list[int] = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, offset = divmod(position, size)
        chosen.append(int(_permutation(epoch, size, seed)[offset]))
    return chosen


def _permutation(epoch: int, size: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(size)
