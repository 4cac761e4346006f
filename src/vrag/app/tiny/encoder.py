"""The small encoder of page images, from a tower that vrag-tiny's pretraining taught to read.

RUN/encoder-SEED/align    blocks near to the tokens printed in them
RUN/encoder-SEED/train    questions, and what agents search for, against pages: late interaction
RUN/encoder-SEED/final    the same in bf16
RUN/encoder-eval          the held-out split, by page images alone, beside text search
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vrag.app.splits import SplitData
from vrag.app.tiny.recipe import TinyRecipe
from vrag.app.tiny.stages import Log, Seen, fresh_checkpoint, material, prepare, run_pretraining
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.pairs import Pair, pairs_of, with_negatives
from vrag.embed import embed
from vrag.encoders.load import load_encoder
from vrag.encoders.loading import load
from vrag.encoders.settings import EncoderSettings
from vrag.evaluation.retrieval import RetrievalSummary, evaluate_retrieval
from vrag.geometry import page_view
from vrag.index.embedded import EmbeddedIndex
from vrag.policies.load import load_codec, load_trainable
from vrag.retriever import LexicalRetriever, VisualRetriever
from vrag.runs import RunDir, content_key
from vrag.staging import whole_folder
from vrag.training.align import align, make_retriever
from vrag.training.encoder import train_encoder
from vrag.types import Evidence, Task


@dataclass(frozen=True)
class TrainedEncoder:
    """Checkpoints of one seed: of a random tower, before the contrast, and after it."""

    untrained: Path
    aligned: Path
    final: Path


def train_tiny_encoder(recipe: TinyRecipe, out: Path, log: Log) -> dict[int, TrainedEncoder]:
    """By seed; each stage is continued or skipped where an earlier call left it."""
    train = prepare(recipe, "train", out)
    fresh = fresh_checkpoint(recipe, train, out)
    seen = material(recipe, train, out)
    tower = run_pretraining(recipe, train, seen, out, log)
    pairs = _pairs(recipe, train)
    return {
        seed: _train(recipe, train, seen, fresh, tower, pairs, out / f"encoder-{seed}", seed, log)
        for seed in recipe.encoder_seeds
    }


def _pairs(recipe: TinyRecipe, train: SplitData) -> list[Pair]:
    """Queries with their pages, and with others that share their words: covers have a name too, and answer nothing."""
    tasks = list(train.tasks)
    random.Random(recipe.seed).shuffle(tasks)
    pairs, _ = pairs_of(tasks[: recipe.encoder_tasks], train.corpus)
    return asyncio.run(with_negatives(pairs, LexicalRetriever(train.corpus), recipe.encoder.negatives))


def _train(
    recipe: TinyRecipe,
    train: SplitData,
    seen: Seen,
    fresh: Path,
    tower: Path,
    pairs: list[Pair],
    out: Path,
    seed: int,
    log: Log,
) -> TrainedEncoder:
    def nothing(retriever: Any, processor: Any, codec: QwenVLCodec) -> None: ...

    def work(retriever: Any, processor: Any, codec: QwenVLCodec) -> None:
        settings = recipe.align.model_copy(update={"seed": seed})
        sights = seen().sights(codec, recipe.align_pages)
        align(retriever, processor, codec, sights, settings, out / "align", partial(log, "align"))

    untrained = _retriever(recipe, fresh, out / "untrained", seed, nothing)
    aligned = _retriever(recipe, tower, out / "align", seed, work)
    config = recipe.encoder.model_copy(update={"seed": seed})

    def image(page_id: str) -> Any:
        view = page_view(train.corpus.page(page_id), train.environment.view)
        return train.renderer.image(view)  # of the size that the processor would make of the page, and remembered

    trained = train_encoder(str(aligned), pairs, image, config, out / "train", partial(log, "encoder"))
    return TrainedEncoder(untrained, aligned, _in_bf16(trained, out / "final"))


def _retriever(
    recipe: TinyRecipe, start: Path, out: Path, seed: int, work: Callable[[Any, Any, QwenVLCodec], None]
) -> Path:
    """A retriever over the tower of `start` after `work`, at `out/final`, whole or not at all."""
    final = out / "final"
    if final.exists():
        return final
    from transformers.models.colqwen2.processing_colqwen2 import ColQwen2Processor

    codec = load_codec(start)
    retriever = make_retriever(load_trainable(start), recipe.encoder_layers, recipe.encoder_dim, seed)
    processor = ColQwen2Processor(codec.image_processor, codec.tokenizer)
    work(retriever, processor, codec)
    with whole_folder(final) as folder:
        retriever.bfloat16().save_pretrained(folder)
        processor.save_pretrained(folder)
    return final


def _in_bf16(trained: Path, final: Path) -> Path:
    """A copy at half the size; it is what is measured."""
    if not final.exists():
        settings = EncoderSettings(model=str(trained), device="cpu", dtype="bfloat16")
        with whole_folder(final) as folder:
            load("late interaction", settings).model.save_pretrained(str(folder), create_model_card=False)
    return final


def measure_encoders(
    recipe: TinyRecipe, trained: dict[int, TrainedEncoder], out: Path, say: Callable[[str], None]
) -> dict[str, RetrievalSummary]:
    """Questions of one hop, and what agents would search for, on the held-out split: by name, with the text search,
    which reads the text layer that the encoders don't.
    """
    heldout = prepare(recipe, "heldout", out)
    tasks = _queries(heldout)
    results = {"text": _measure(heldout, tasks, None, out / "encoder-eval" / "text")}
    for seed, paths in trained.items():
        for stage, path in (("untrained", paths.untrained), ("aligned", paths.aligned), ("trained", paths.final)):
            folder = out / "encoder-eval" / f"{stage}-{seed}"
            results[f"{stage}, seed {seed}"] = _measure(heldout, tasks, path, folder)
    for name, summary in results.items():
        say(f"{name}: recall@1 {100 * summary.recall[1].value:.1f} % of {summary.questions} queries")
    return results


def _queries(data: SplitData) -> list[Task]:
    pages = data.corpus.refs(sorted(data.corpus.page_ids()))
    pairs, _ = pairs_of(data.tasks, data.corpus)
    return [
        Task(id=str(number), question=pair.query, gold=[Evidence(ref=pages[id]) for id in pair.gold])
        for number, pair in enumerate(pairs)
    ]


def _measure(data: SplitData, tasks: list[Task], checkpoint: Path | None, out: Path) -> RetrievalSummary:
    """Of the encoder at `checkpoint`, or of the text search."""
    run = RunDir.open(out, {"checkpoint": str(checkpoint), "tasks": content_key(*tasks)})
    if checkpoint is None:
        return asyncio.run(evaluate_retrieval(run, tasks, {"text": LexicalRetriever(data.corpus)}))[0]
    encoder, folder = load_encoder(str(checkpoint)), out / "vectors"
    if not folder.exists():
        EmbeddedIndex.create(folder, encoder.dim, encoder.fingerprint).close()
    with closing(EmbeddedIndex.open(folder, encoder.fingerprint)) as index:
        embed(data.corpus, encoder, index)
        retriever = VisualRetriever(data.corpus, index, encoder)
        return asyncio.run(evaluate_retrieval(run, tasks, {"visual": retriever}))[0]
