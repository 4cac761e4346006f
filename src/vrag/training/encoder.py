"""Fine-tuning an encoder of pages on queries and their pages: late interaction or one vector, whole or by LoRA.

Each query is set against the pages of its whole batch, among them hard negatives where its pair has some. The loop is
our own: sentence-transformers' cached loss cuts a batch of ColQwen2's pages in the wrong place (6.2), and a run must
continue exactly where it was killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from vrag.cores import usable_cores
from vrag.data.pairs import Pair
from vrag.encoders.checkpoint import find_checkpoint, kind_of
from vrag.encoders.inputs import Inputs
from vrag.encoders.loading import load
from vrag.encoders.settings import EncoderSettings
from vrag.errors import DataError
from vrag.runs import content_key
from vrag.staging import whole_folder
from vrag.training.contrast import Contrast, cached_backward, contrast
from vrag.training.lora import LoraConfig, with_adapters
from vrag.training.optimizer import OptimizerConfig, apply, make_optimizer, rate
from vrag.training.precision import Precision, autocast
from vrag.training.run import CheckpointConfig, TrainingRun
from vrag.types import Frozen

if TYPE_CHECKING:
    from PIL.Image import Image


class EncoderTrainingConfig(Frozen):
    """A step sets `batch` queries against their pages and `negatives` hard ones each, these after a share
    `negatives_after` of the steps; `chunk` of them are in memory with their activations at once. Queries come
    `together` from each document, whose pages are the harder to tell apart. `temperature` divides the mean of a query's
    MaxSim terms.
    """

    steps: int = Field(default=500, ge=1)
    batch: int = Field(default=32, ge=2)
    together: int = Field(default=1, ge=1)
    chunk: int = Field(default=4, ge=1)
    negatives: int = Field(default=0, ge=0)
    negatives_after: float = Field(default=0.0, ge=0, lt=1)
    negatives_by: Literal["text", "visual", "fused"] = "text"  # which search finds them
    temperature: float = Field(default=0.02, gt=0)
    dim: int | None = None  # train this prefix of each vector; None: all of it
    max_pixels: int | None = None  # larger pages are shrunk to it; use the same when encoding
    lora: LoraConfig | None = None  # None: all weights are trained
    precision: Precision = "auto"
    device: str = "auto"
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig(lr=5e-5, schedule="cosine", warmup=0.05)
    checkpoints: CheckpointConfig = CheckpointConfig(every=100, keep=1)


class _Run(Frozen):
    """What a run must agree in to be continued."""

    checkpoint: str
    pairs: str
    config: EncoderTrainingConfig


def train_encoder(
    checkpoint: str,
    pairs: Sequence[Pair],
    image: Callable[[str], Image],
    config: EncoderTrainingConfig,
    out: Path,
    on_step: Callable[[dict[str, Any]], None] = lambda metrics: None,
    describe: Callable[[Path], object] = lambda folder: None,
) -> Path:
    """Train on `pairs`, whose pages `image` gives by id, and save an encoder at `out/final` as `load_encoder` takes it,
    adapters merged; `describe` may add to its folder. Rerunning the same call continues from the newest checkpoint.

    Raises what loading an encoder does, `DataError` when all pairs have one page, `UsageError` without peft.
    """
    if len({page for pair in pairs for page in (*pair.gold, *pair.negatives)}) < 2:
        raise DataError("all queries have the same page: nothing to tell apart; give tasks about several pages")
    whole = _load(checkpoint, config)
    heads = _heads(whole)
    model = whole.transformers_model
    if config.lora is not None:
        model = with_adapters(model, config.lora, config.seed)
    optimizer = make_optimizer(model, config.optimizer, heads)
    key = _Run(checkpoint=checkpoint, pairs=content_key(*map(asdict, pairs)), config=config)
    run = TrainingRun(out, key, model, whole.processor, optimizer, config.checkpoints, heads)
    embedder = _Embedder(whole, image, config)
    whole.train()
    for step in range(run.start, config.steps):
        began = time.perf_counter()
        result = _step(embedder, pairs, config, step)
        lr = rate(config.optimizer, step, config.steps)
        norm = apply(optimizer, model, config.optimizer, lr, heads)
        metrics = {
            "loss": float(result.loss.detach()),
            "first": float(result.first.float().mean()),
            "lr": lr,
            "gradient_norm": norm,
            "seconds": time.perf_counter() - began,
        }
        run.commit(step, config.steps, metrics)
        on_step({"step": step, "steps": config.steps, **metrics})
    if config.lora is not None:
        model.merge_and_unload()  # in place
    return _save(whole, out, describe)


def _load(checkpoint: str, config: EncoderTrainingConfig) -> Any:
    """A sentence-transformers model to train, all of it but what adapters stand in for. Weights that are trained are
    fp32: bf16 would swallow small updates.
    """
    dtype = "auto" if config.lora else "float32"
    settings = EncoderSettings(
        model=checkpoint, device=config.device, dtype=dtype, dim=config.dim, max_pixels=config.max_pixels
    )
    return load(kind_of(find_checkpoint(settings)), settings).model.requires_grad_(True)


def _heads(model: Any) -> nn.Module | None:
    """What comes after the transformer and has weights, such as a projection."""
    after = nn.ModuleList(list(model)[1:])
    return after if any(True for _ in after.parameters()) else None


def _step(embedder: _Embedder, pairs: Sequence[Pair], config: EncoderTrainingConfig, step: int) -> Contrast:
    """Gradients of one step; a function of (seed, step) alone."""
    rng = np.random.default_rng([config.seed, step])
    chosen = _drawn(pairs, config, rng)
    own = [pair.gold[int(rng.integers(len(pair.gold)))] for pair in chosen]
    count = config.negatives if step >= config.negatives_after * config.steps else 0
    hard = [page for pair in chosen for page in pair.negatives[:count]]
    pages = list(dict.fromkeys([*own, *hard]))
    also_gold = torch.tensor(
        [[page in pair.gold and page != mine for page in pages] for pair, mine in zip(chosen, own, strict=True)]
    )
    places = [pages.index(page) for page in own]

    def loss(vectors: list[Tensor]) -> Contrast:
        queries, shown = vectors[: len(chosen)], vectors[len(chosen) :]
        return contrast(queries, shown, places, also_gold.to(queries[0].device), config.temperature)

    queries = [embedder.queries(part, rng) for part in _parts([pair.query for pair in chosen], config.chunk)]
    shown = [embedder.pages(part, rng) for part in _parts(pages, config.chunk)]
    if max(len(queries), len(shown)) > 1:
        return cached_backward([*queries, *shown], loss)
    result = loss([vectors for part in (*queries, *shown) for vectors in part()])  # everything fits at once
    result.loss.backward()
    return result


def _drawn(pairs: Sequence[Pair], config: EncoderTrainingConfig, rng: np.random.Generator) -> list[Pair]:
    """A batch, as many at a time from each of some documents as come together."""
    order = [pairs[int(i)] for i in rng.permutation(len(pairs))]
    if config.together == 1:
        return order[: config.batch]
    by_document: dict[str, list[Pair]] = {}
    for pair in order:  # documents with many queries come first more often
        if len(same := by_document.setdefault(pair.document, [])) < config.together:
            same.append(pair)
    return [pair for same in by_document.values() for pair in same][: config.batch]


def _parts(items: Sequence[str], size: int) -> list[list[str]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


class _Embedder:
    """Makes what embeds some queries or pages (ids), as often as it is called: vectors of length 1, [V, D] each, fp32,
    with their graph where one is recorded.
    """

    def __init__(self, model: Any, image: Callable[[str], Image], config: EncoderTrainingConfig) -> None:
        self._model, self._image, self._config = model, image, config
        self._inputs = Inputs(model)

    def queries(self, texts: Sequence[str], rng: np.random.Generator) -> Callable[[], list[Tensor]]:
        return self._prepared([self._inputs.query(text) for text in texts], "query", rng)

    def pages(self, pages: Sequence[str], rng: np.random.Generator) -> Callable[[], list[Tensor]]:
        with ThreadPoolExecutor(min(len(pages), usable_cores())) as readers:  # or decoding keeps a GPU waiting
            images = list(readers.map(self._image, pages))
        return self._prepared([self._inputs.page(image) for image in images], "document", rng)

    def _prepared(self, inputs: list[Any], task: str, rng: np.random.Generator) -> Callable[[], list[Tensor]]:
        features = self._model.preprocess(inputs, prompt=self._model.prompts.get(task), task=task)
        return partial(self._embed, features, task, int(rng.integers(1 << 31)))

    def _embed(self, features: dict[str, Any], task: str, seed: int) -> list[Tensor]:
        device = self._model.device
        moved = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in features.items()}
        torch.manual_seed(seed)  # the second pass over a part must drop out what the first did
        with autocast(self._model, self._config.precision):
            out = self._model(moved, task=task)
        if "token_embeddings" in out:
            rows = zip(out["token_embeddings"], out["attention_mask"].bool(), strict=True)
            vectors = [row[kept] for row, kept in rows]
        else:
            vectors = [row[None] for row in out["sentence_embedding"]]
        return [normalize(row[:, : self._config.dim].float(), dim=-1) for row in vectors]


def _save(model: Any, out: Path, describe: Callable[[Path], object]) -> Path:
    """The encoder as a whole, or nothing."""
    final = out / "final"
    if not final.exists():
        with whole_folder(final) as folder:
            model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)
            describe(folder)
    return final
