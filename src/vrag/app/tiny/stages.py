"""vrag-tiny from nothing, stage by stage: documents → corpus → pretraining → SFT → GRPO.

Every stage lies in its own folder under the run and is skipped or continued when it is there, so rerunning a
killed command goes on where it stopped. The train split alone is trained on; the held-out split differs in
seed, names and layouts.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vrag.app.tiny.recipe import TinyRecipe, tiny_environment
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus
from vrag.data.copying import copying_example
from vrag.data.synthetic import SyntheticSpec, difficulty, synthesize
from vrag.data.tasks import read_tasks
from vrag.data.trajectories import expert_episodes
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.episode import Tokens
from vrag.policies.load import load_codec, load_model, save_policy
from vrag.retriever import LexicalRetriever
from vrag.rewards.combine import score_episode
from vrag.training.pretrain import PageSampler, pretrain
from vrag.training.rl import GRPO
from vrag.training.sft import sft
from vrag.training.tiny import make_image_processor, make_model, make_tokenizer, save_checkpoint
from vrag.types import Page, Task
from vrag.views import ViewRenderer

PAGES_IN_MEMORY = 400  # of the train split, for pretraining: about 8 MB each

Log = Callable[[str, dict[str, Any]], None]  # stage, metrics of one step


@dataclass(frozen=True)
class SplitData:
    """One split, indexed: its corpus, its tasks, and environments over it that share rendered views."""

    corpus: Corpus
    tasks: list[Task]
    environment: EnvironmentConfig
    renderer: ViewRenderer

    def make_environment(self, environment: EnvironmentConfig | None = None) -> DocumentEnvironment:
        """An environment of this split; with other settings when they are given."""
        settings = environment or self.environment
        return DocumentEnvironment(self.corpus, LexicalRetriever(self.corpus), settings, self.renderer)


def prepare(recipe: TinyRecipe, split: str, out: Path) -> SplitData:
    """Write and index the documents of a split (what is there already stays), and open them."""
    folder = out / "data" / split
    if not (folder / "manifest.json").exists():
        count = recipe.documents if split == "train" else recipe.heldout_documents
        spec = SyntheticSpec(
            split=split,  # type: ignore[arg-type]
            documents=count,
            seed=recipe.seed,
            difficulty=difficulty(recipe.difficulty),
        )
        synthesize(folder, spec)
    place = out / "corpus" / split
    corpus = Corpus.open(place) if (place / "catalog.sqlite").exists() else Corpus.create(place, dpi=recipe.dpi)
    ingest([folder / "documents"], corpus, IngestOptions(ocr="off"))
    environment = tiny_environment(recipe.shape)
    return SplitData(corpus, read_tasks(folder / "tasks.jsonl"), environment, ViewRenderer(corpus, 1500))


def fresh_checkpoint(recipe: TinyRecipe, train: SplitData, out: Path) -> Path:
    """A randomly initialised model with a tokenizer trained on the train split's questions and pages."""
    path = out / "fresh"
    if not (path / "config.json").exists():
        tokenizer = make_tokenizer(_texts(train), recipe.shape.vocabulary)
        model = make_model(recipe.shape, tokenizer, recipe.seed)
        save_checkpoint(path, model, tokenizer, make_image_processor(recipe.shape))
    return path


def _texts(train: SplitData) -> list[str]:
    texts = [page.text for page in train.corpus.pages()]
    for task in train.tasks:
        texts.append(f"user\nQuestion: {task.question}\nassistant\n")
        texts += [f"find {query}{query}" for query in task.meta["queries"]]
    return texts


def run_pretraining(recipe: TinyRecipe, train: SplitData, out: Path, log: Log) -> Path:
    """Teach a fresh model to read and to find; returns the checkpoint."""

    def work(model: Any, codec: QwenVLCodec, folder: Path) -> None:
        pages: Sequence[Page] = list(train.corpus.pages())
        pages = pages[:: max(1, len(pages) // PAGES_IN_MEMORY)]
        sampler = PageSampler(train.corpus, pages, codec, train.environment.view, recipe.pretrain)
        pretrain(model, codec, sampler, recipe.pretrain, folder, partial(log, "pretrain"))

    return _stage(fresh_checkpoint(recipe, train, out), out / "pretrain", train.environment, work)


def run_sft(recipe: TinyRecipe, train: SplitData, start: Path, out: Path, log: Log) -> Path:
    """Imitate the scripted expert, within what `train.environment` allows."""
    crops = "bbox" in train.environment.actions
    style = recipe.expert if crops else recipe.expert.model_copy(update={"guess": 1.0})

    def work(model: Any, codec: QwenVLCodec, folder: Path) -> None:
        episodes = expert_episodes(
            train.tasks,
            train.corpus,
            train.make_environment,
            codec,
            train.environment.view,
            style,
            recipe.seed,
            samples=recipe.expert_samples,
        )

        def copies(rng: np.random.Generator) -> list[Tokens]:
            drawn = rng.integers(len(train.tasks), size=recipe.copies)
            return [copying_example(train.tasks[int(i)], codec, train.environment.prompt, rng) for i in drawn]

        sft(model, codec, episodes, recipe.sft, folder, partial(log, "sft"), copies)

    return _stage(start, out, train.environment, work)


def run_rl(recipe: TinyRecipe, train: SplitData, start: Path, out: Path, seed: int, log: Log) -> Path:
    """GRPO from `start` with the recipe's settings and `seed`."""
    config = recipe.rl.model_copy(update={"seed": seed})

    def work(model: Any, codec: QwenVLCodec, folder: Path) -> None:
        score = partial(score_episode, weights=recipe.rewards)
        GRPO(model, codec, train.make_environment, score, config).train(train.tasks, folder, partial(log, "rl"))

    return _stage(start, out, train.environment, work)


def _stage(
    start: Path,
    out: Path,
    environment: EnvironmentConfig,
    work: Callable[[Any, QwenVLCodec, Path], None],
) -> Path:
    """Load `start`, let `work` train it under `out`, and save the result as `out/final`, whole or not at all."""
    final = out / "final"
    if not final.exists():
        model, codec = load_model(start), load_codec(start)
        work(model, codec, out)
        partial_ = out / "final.partial"
        shutil.rmtree(partial_, ignore_errors=True)
        save_policy(partial_, model, codec, environment)
        partial_.rename(final)
    return final


@dataclass(frozen=True)
class Trained:
    """The checkpoints of a run. `rl` by seed; `no_crop` is trained alike, without the crop (None: not asked for)."""

    fresh: Path
    sft: Path
    rl: dict[int, Path]
    no_crop: Path | None
    seconds: dict[str, float]  # by stage, as far as this call ran it


def train_tiny(recipe: TinyRecipe, out: Path, log: Log) -> Trained:
    """All training stages, each continued or skipped where an earlier call left it."""
    seconds: dict[str, float] = {}

    def timed(name: str, stage: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = stage()
        seconds[name] = time.perf_counter() - began
        return result

    train = timed("data", lambda: prepare(recipe, "train", out))
    seen = timed("pretrain", lambda: run_pretraining(recipe, train, out, log))
    taught = timed("sft", lambda: run_sft(recipe, train, seen, out / "sft", log))
    tuned = {
        seed: timed(f"rl-{seed}", lambda s=seed: run_rl(recipe, train, taught, out / f"rl-{s}", s, log))
        for seed in recipe.rl_seeds
    }
    blind = None
    if recipe.no_crop:
        without = replace(train, environment=without_crop(train.environment))
        start = timed("no-crop sft", lambda: run_sft(recipe, without, seen, out / "no-crop-sft", log))
        blind = timed("no-crop rl", lambda: run_rl(recipe, without, start, out / "no-crop-rl", recipe.rl_seeds[0], log))
    return Trained(out / "fresh", taught, tuned, blind, seconds)


def without_crop(environment: EnvironmentConfig) -> EnvironmentConfig:
    """The same environment with search and answer alone."""
    return environment.model_copy(update={"actions": ("search", "answer")})
