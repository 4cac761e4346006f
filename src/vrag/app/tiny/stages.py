"""vrag-tiny from nothing, stage by stage: documents → corpus → pretraining → SFT → GRPO.

Every stage lies in its own folder under the run and is skipped or continued when it is there, so rerunning a
killed command goes on where it stopped. The train split alone is trained on; the held-out split differs in
seed, names and layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from vrag.app.splits import SEEN, SplitData, open_split
from vrag.app.tiny.material import Material, gather
from vrag.app.tiny.recipe import TinyRecipe, tiny_environment
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.copying import copying_example
from vrag.data.lessons import Lesson, PageLessons
from vrag.data.sights import labels_of
from vrag.data.synthetic import SyntheticSpec, difficulty
from vrag.data.trajectories import expert_episodes
from vrag.environment import EnvironmentConfig
from vrag.policies.expert import hops
from vrag.policies.load import checkpoint_path, load_codec, load_trainable, save_policy
from vrag.policies.vision import remember
from vrag.rewards.combine import paper_rubric
from vrag.runs import read_lines
from vrag.staging import whole_folder
from vrag.training import card
from vrag.training.ground import ground
from vrag.training.pretrain import pretrain
from vrag.training.rl import GRPO
from vrag.training.sft import sft
from vrag.training.tiny import make_image_processor, make_model, make_tokenizer, save_checkpoint

FEATURES = 8 << 30  # bytes
LABEL_COPIES = 400  # more often than any piece of a word, so that BPE keeps a label whole

Seen = Callable[[], Material]  # made when first asked for: a stage that is done needs none
Log = Callable[[str, dict[str, Any]], None]  # stage, metrics of one step


def prepare(recipe: TinyRecipe, split: str, out: Path) -> SplitData:
    """The documents of a split, as `open_split` opens them."""
    return open_split(_spec(recipe, split), recipe.dpi, tiny_environment(recipe.shape), out)


def _spec(recipe: TinyRecipe, split: str) -> SyntheticSpec:
    training = split == "train"
    return SyntheticSpec(
        split=split,  # type: ignore[arg-type]
        documents=recipe.documents if training else recipe.heldout_documents,
        questions=recipe.questions if training else None,
        seed=recipe.seed,
        difficulty=difficulty(recipe.difficulty),
    )


def material(recipe: TinyRecipe, train: SplitData, out: Path) -> Seen:
    """What tower and lessons learn from."""
    return cache(partial(gather, recipe, train, _spec(recipe, "train"), out))


def fresh_checkpoint(recipe: TinyRecipe, train: SplitData, out: Path) -> Path:
    """A randomly initialised model with a tokenizer trained on the train split's questions and pages."""
    path = out / "fresh"
    if not (path / "config.json").exists():
        tokenizer = make_tokenizer(_texts(train), recipe.shape.vocabulary)
        model = make_model(recipe.shape, tokenizer, recipe.seed)
        save_checkpoint(path, model, tokenizer, make_image_processor(recipe.shape))
    return path


def _texts(train: SplitData) -> list[str]:
    """What the tokenizer is made from: each label often enough to be one token, and what the agent says."""
    labels = labels_of(train.tasks)
    texts = [f"{label}\n {label}\n {label.lower()}" for label in labels for _ in range(LABEL_COPIES)]
    for task in train.tasks:
        texts.append(f"user\nQuestion: {task.question}\nassistant\n")
        texts += [f"find {query}{query}" for query in task.meta["queries"]]
        texts += [f"zoom in on {hop.sought}; it is {task.answers[0]}" for hop in hops(task)]
    return texts


def run_pretraining(recipe: TinyRecipe, train: SplitData, seen: Seen, out: Path, log: Log) -> Path:
    """Teach the tower of a fresh model, or of the recipe's start, to see; returns the checkpoint."""

    def work(model: Any, codec: QwenVLCodec, folder: Path) -> None:
        sights, lessons = seen().sights(codec, recipe.layout_pages), seen().lessons(codec)
        labels, copies = len(seen().labels), partial(_copies, recipe.copies // 2, train, codec)
        pretrain(model, codec, sights, lessons, labels, recipe.pretrain, folder, partial(log, "pretrain"), copies)

    fresh = fresh_checkpoint(recipe, train, out)  # the untrained baseline, whatever is trained
    start = checkpoint_path(recipe.start) if recipe.start else fresh
    return _stage(start, out / "pretrain", train.environment, work)


def run_grounding(recipe: TinyRecipe, train: SplitData, seen: Seen, start: Path, out: Path, log: Log) -> Path:
    """Teach the language side to point at what is sought, to read it, and to copy names into queries."""

    def work(model: Any, codec: QwenVLCodec, folder: Path) -> None:
        _remember_all(model, codec)
        copies = partial(_copies, recipe.copies, train, codec)
        ground(model, codec, seen().lessons(codec), recipe.ground, folder, partial(log, "ground"), copies)

    return _stage(start, out / "ground", train.environment, work)


def _remember_all(model: Any, codec: QwenVLCodec) -> None:
    """The tower no longer changes: each image is seen through it once."""
    codec.remembered = SEEN
    remember(model, FEATURES)


def _copies(count: int, train: SplitData, codec: QwenVLCodec, rng: np.random.Generator) -> list[Lesson]:
    drawn = rng.integers(len(train.tasks), size=count)
    return [copying_example(train.tasks[int(i)], codec, train.environment.prompt, rng) for i in drawn]


def run_sft(recipe: TinyRecipe, train: SplitData, seen: Seen, start: Path, out: Path, log: Log) -> Path:
    """Imitate the scripted expert, within what `train.environment` allows."""
    crops = "bbox" in train.environment.actions
    style = recipe.expert if crops else recipe.expert.model_copy(update={"guess": 1.0})

    def work(model: Any, codec: QwenVLCodec, folder: Path) -> None:
        _remember_all(model, codec)
        episodes = expert_episodes(
            sorted(
                train.tasks[: recipe.trajectories],
                key=lambda task: (task.gold[-1].ref.document, task.gold[-1].ref.page),
            ),
            train.corpus,
            train.make_environment,
            codec,
            train.environment.view,
            style,
            recipe.seed,
            samples=recipe.expert_samples,
        )
        lessons = seen().lessons(codec) if crops else None

        def extra(rng: np.random.Generator) -> list[Lesson]:
            replayed = _replayed(recipe, lessons, rng) if lessons else []
            return [*_copies(recipe.copies, train, codec, rng), *replayed]

        sft(model, codec, episodes, recipe.sft, folder, partial(log, "sft"), extra)

    return _stage(start, out, train.environment, work)


def _replayed(recipe: TinyRecipe, lessons: PageLessons, rng: np.random.Generator) -> list[Lesson]:
    pages = [lessons.point(recipe.ground.queries, rng) for _ in range(recipe.replays)]
    crops = [lessons.read(rng) for _ in range(recipe.replays)]
    few = [draw(rng) for draw in (lessons.bridge, lessons.check) for _ in range(recipe.replays // 2)]
    return [*pages, *crops, *few]


def run_rl(recipe: TinyRecipe, train: SplitData, start: Path, out: Path, seed: int, log: Log) -> Path:
    """GRPO from `start` with the recipe's settings and `seed`."""
    config = recipe.rl.model_copy(update={"seed": seed})

    def work(model: Any, codec: QwenVLCodec, folder: Path) -> None:
        trainer = GRPO(model, codec, train.make_environment, paper_rubric(recipe.rewards), config)
        trainer.train(train.tasks, folder, partial(log, "rl"))

    return _stage(start, out, train.environment, work)


def _stage(
    start: Path,
    out: Path,
    environment: EnvironmentConfig,
    work: Callable[[Any, QwenVLCodec, Path], None],
) -> Path:
    """Load `start`, let `work` train it under `out`, and save the result as `out/final`, whole or not at all; in bf16,
    as it ships: the next stage and the evaluation start from what ships.
    """
    final = out / "final"
    if not final.exists():
        model, codec = load_trainable(start), load_codec(start)
        work(model, codec, out)
        with whole_folder(final) as folder:
            save_policy(folder, model.bfloat16(), codec, environment)
    return final


@dataclass(frozen=True)
class Trained:
    """The checkpoints of a run. `rl` by seed; `no_crop` is trained alike, without the crop (None: not asked for)."""

    fresh: Path
    sft: Path
    rl: dict[int, Path]
    no_crop: Path | None
    seconds: dict[str, float]  # of the steps of each stage, over all calls


def train_tiny(recipe: TinyRecipe, out: Path, log: Log) -> Trained:
    """All training stages, each continued or skipped where an earlier call left it."""
    train = prepare(recipe, "train", out)
    seen = material(recipe, train, out)
    sighted = run_pretraining(recipe, train, seen, out, log)
    grounded = run_grounding(recipe, train, seen, sighted, out, log)
    taught = run_sft(recipe, train, seen, grounded, out / "sft", log)
    tuned = {seed: run_rl(recipe, train, taught, out / f"rl-{seed}", seed, log) for seed in recipe.rl_seeds}
    blind, baseline = None, list[Path]()
    if recipe.no_crop:
        without = replace(train, environment=without_crop(train.environment))
        start = run_sft(recipe, without, seen, grounded, out / "no-crop-sft", log)
        blind = run_rl(recipe, without, start, out / "no-crop-rl", recipe.rl_seeds[0], log)
        baseline = [start, blind]
    stages = [path.parent for path in (sighted, grounded, taught, *tuned.values(), *baseline)]
    return Trained(out / "fresh", taught, tuned, blind, {stage.name: seconds_of(stage) for stage in stages})


def seconds_of(stage: Path) -> float:
    """Of the steps of a stage, over all calls."""
    return card.seconds_of(read_lines(stage / "metrics.jsonl"))


def without_crop(environment: EnvironmentConfig) -> EnvironmentConfig:
    """The same environment with search and answer alone."""
    return environment.model_copy(update={"actions": ("search", "answer")})
