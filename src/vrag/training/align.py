"""A small retriever over a tower that reads: vectors of blocks near to those of the tokens that are printed in them.

Late interaction compares each vector of a query with each block of a page. At first the layers of the language model
add nothing, so that blocks and tokens are compared as the tower and the embedding give them, and matching them is a
classification of blocks over the vocabulary, which has a target wherever there is print. Contrast with whole queries
(`vrag.training.encoder`), which gives one bit a page, would take long to find this by itself, and goes on from here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import log_softmax, normalize

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.patches import MERGE
from vrag.data.sights import PageSights, Sight
from vrag.training.optimizer import OptimizerConfig, apply, make_optimizer, rate
from vrag.training.precision import Precision, autocast
from vrag.training.run import CheckpointConfig, TrainingRun
from vrag.types import Frozen

BLANKS = 0.125  # of the blocks without print take part


class AlignConfig(Frozen):
    """A step has `pages`, of which `tinted` are in other colours. `scale` multiplies cosines before the softmax;
    blocks without print, whose vector is to be that of the padding token, weigh `blank`.
    """

    steps: int = Field(default=150, ge=1)
    pages: int = 8
    tinted: float = 0.5
    scale: float = 25.0
    blank: float = 0.1
    precision: Precision = "auto"
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig(method="muon", lr=5e-3, rest=0.3, schedule="cosine", warmup=0.05)
    checkpoints: CheckpointConfig = CheckpointConfig(every=50, keep=1)


def make_retriever(model: Any, layers: int, dim: int, seed: int) -> Any:
    """A `ColQwen2ForRetrieval` of `dim` coordinates over the tower, the embedding and the first `layers` layers of a
    Qwen3-VL `model`. The layers pass vectors on as they are until they are trained.
    """
    from transformers import ColQwen2Config, ColQwen2ForRetrieval

    settings = model.config.to_dict() | {"_name_or_path": ""}  # a folder of the machine that trains
    settings["text_config"]["num_hidden_layers"] = layers
    if settings["text_config"].get("layer_types"):
        settings["text_config"]["layer_types"] = settings["text_config"]["layer_types"][:layers]
    torch.manual_seed(seed)
    retriever: Any = ColQwen2ForRetrieval(ColQwen2Config(vlm_config=settings, embedding_dim=dim)).float()
    retriever.vlm.load_state_dict(model.model.state_dict(), strict=False)  # of more layers than these
    language = retriever.vlm.language_model
    nn.init.ones_(language.norm.weight)
    for layer in language.layers:
        nn.init.zeros_(layer.self_attn.o_proj.weight)
        nn.init.zeros_(layer.mlp.down_proj.weight)
    nn.init.orthogonal_(retriever.embedding_proj_layer.weight)
    nn.init.zeros_(retriever.embedding_proj_layer.bias)
    return retriever


def align(
    retriever: Any,
    processor: Any,
    codec: QwenVLCodec,
    sights: PageSights,
    config: AlignConfig,
    out: Path,
    on_step: Callable[[dict[str, Any]], None] = lambda metrics: None,
) -> None:
    """Train tower, embedding and projection of `retriever` in place; rerunning the same call continues from the newest
    checkpoint, which `processor` is saved with.
    """
    for name, parameter in retriever.named_parameters():
        parameter.requires_grad_(any(part in name for part in ("visual", "embed_tokens", "embedding_proj")))
    optimizer = make_optimizer(retriever, config.optimizer)
    run = TrainingRun(out, config, retriever, processor, optimizer, config.checkpoints)
    retriever.train()
    for step in range(run.start, config.steps):
        began = time.perf_counter()
        rng = np.random.default_rng([config.seed, step])
        drawn = [one.tinted(rng) if rng.random() < config.tinted else one for one in sights.pages(config.pages, rng)]
        loss, right = block_loss(retriever, codec, drawn, config, rng)
        loss.backward()
        lr = rate(config.optimizer, step, config.steps)
        norm = apply(optimizer, retriever, config.optimizer, lr)
        metrics = {"loss": float(loss.detach()), "tokens": right, "lr": lr, "gradient_norm": norm}
        metrics["seconds"] = time.perf_counter() - began
        run.commit(step, config.steps, metrics)
        on_step({"step": step, "steps": config.steps, **metrics})


def block_loss(
    retriever: Any, codec: QwenVLCodec, sights: Sequence[Sight], config: AlignConfig, rng: np.random.Generator
) -> tuple[Tensor, float]:
    """The mean cross-entropy of the tokens that stand in blocks, plus that of blank blocks; and the share of the former
    that are the nearest of all tokens.
    """
    images = [codec.encode_pixels(sight.image) for sight in sights]
    pixels = torch.from_numpy(np.concatenate([image.pixels for image in images])).to(retriever.device)
    grids = torch.tensor([image.grid for image in images], device=retriever.device)
    with autocast(retriever, config.precision):
        blocks = retriever.vlm.visual(pixels, grid_thw=grids, return_dict=True).pooler_output
        vectors, words = _vector(retriever, blocks), _vector(retriever, retriever.vlm.get_input_embeddings().weight)
    likely = log_softmax(config.scale * vectors @ words.T, dim=-1)
    targets = np.concatenate([sight.targets.tokens for sight in sights]).astype(np.int64)
    printed = torch.from_numpy(targets).to(retriever.device).reshape(-1, MERGE**2)  # [blocks, patches of a block]
    rows, places = (printed >= 0).nonzero(as_tuple=True)
    wanted = printed[rows, places]
    blank = (printed < 0).all(dim=1).nonzero()[:, 0].cpu()
    chosen = blank[torch.from_numpy(rng.permutation(len(blank))[: max(1, int(BLANKS * len(blank)))])]
    nothing = int(codec.tokenizer.pad_token_id)
    loss = _cost(likely[rows, wanted]) + config.blank * _cost(likely[chosen.to(retriever.device), nothing])
    return loss, float((likely[rows].argmax(-1) == wanted).sum()) / max(1, len(rows))


def _cost(likely: Tensor) -> Tensor:
    """Minus the mean; of none, 0."""
    return -likely.sum() / max(1, len(likely))


def _vector(retriever: Any, hidden: Tensor) -> Tensor:
    """[N, dim] of [N, hidden], as the retriever gives it while its layers add nothing."""
    return normalize(retriever.embedding_proj_layer(retriever.vlm.language_model.norm(hidden)).float(), dim=-1)
