"""`vrag train …`: supervised fine-tuning, GRPO, vrag-tiny from nothing, and encoders of pages."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vrag.cli.live import LiveLine
from vrag.cli.options import Judge, JudgeModel, JudgeSet, judge_overrides
from vrag.config import resolve
from vrag.errors import UsageError

if TYPE_CHECKING:
    from vrag.episode import Episode

train = typer.Typer(no_args_is_help=True, help="Train a policy or an encoder. Rerunning a killed command continues it.")

Out = Annotated[Path, typer.Option("--out", help="The run's folder: metrics, checkpoints, the result.")]
Recipe = Annotated[Path | None, typer.Option("--recipe", help="A TOML file with settings.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="One setting: key=value; repeat for more.")]
Model = Annotated[str, typer.Option("--model", help="A checkpoint's folder, in the Hub's layout.")]
CorpusName = Annotated[str, typer.Option("--corpus", help="The corpus that the tasks are about.")]
Tasks = Annotated[Path, typer.Option("--tasks", help="A JSONL file of tasks with gold answers and pages.")]


@train.callback()
def _group() -> None:
    """Train a policy or an encoder. Rerunning a killed command continues it."""


@train.command()
def tiny(out: Out = Path("runs/tiny"), recipe: Recipe = None, override: Set = None) -> None:
    """Train vrag-tiny from nothing: documents, pretraining, SFT, GRPO, evaluation, cards."""
    from vrag.app.tiny.card import write_card
    from vrag.app.tiny.measure import measure
    from vrag.app.tiny.recipe import TinyRecipe
    from vrag.app.tiny.stages import train_tiny
    from vrag.runs import RunDir
    from vrag.training.precision import flushed_denormals

    settings = resolve(TinyRecipe, recipe, override or [])
    command = " ".join(["vrag train tiny", *(f"--set {change}" for change in override or [])])
    RunDir.open(out, settings)
    with LiveLine() as line, flushed_denormals():
        trained = train_tiny(settings, out, line.step)
        results = measure(settings, trained, out, line.say)
    best = trained.rl[settings.rl_seeds[0]]
    for stage, path in (("sft", trained.sft), ("rl", best)):
        print(write_card(settings, trained, results, command, stage, path))


@train.command("tiny-encoder")
def tiny_encoder(out: Out = Path("runs/tiny"), recipe: Recipe = None, override: Set = None) -> None:
    """Train the small encoder of page images, over the tower of the run of vrag-tiny at --out, or over a new one."""
    from vrag.app.tiny.encoder import measure_encoders, train_tiny_encoder
    from vrag.app.tiny.encoder_card import write_encoder_card
    from vrag.app.tiny.recipe import TinyRecipe
    from vrag.runs import RunDir
    from vrag.training.precision import flushed_denormals

    settings = resolve(TinyRecipe, recipe, override or [])
    command = " ".join(["vrag train tiny-encoder", *(f"--set {change}" for change in override or [])])
    RunDir.open(out, settings)
    with LiveLine() as line, flushed_denormals():
        trained = train_tiny_encoder(settings, out, line.step)
        results = measure_encoders(settings, trained, out, line.say)
    print(write_encoder_card(settings, trained, results, command))


@train.command()
def sft(
    out: Out,
    model: Model,
    trajectories: Annotated[
        Path | None, typer.Option("--trajectories", help="A dataset of trajectories, instead of --corpus and --tasks.")
    ] = None,
    corpus: Annotated[str | None, typer.Option("--corpus", help="The corpus that the tasks are about.")] = None,
    tasks: Annotated[
        Path | None, typer.Option("--tasks", help="A JSONL file of tasks: the scripted expert plays them.")
    ] = None,
    recipe: Recipe = None,
    override: Set = None,
) -> None:
    """Fine-tune on a dataset of trajectories, or on the scripted expert's over your own tasks with gold pages."""
    from vrag.training.precision import flushed_denormals
    from vrag.training.sft import SFTConfig
    from vrag.training.sft import sft as run

    settings = resolve(SFTConfig, recipe, override or [])
    if (trajectories is None) == (corpus is None and tasks is None) or (corpus is None) != (tasks is None):
        raise UsageError("give either --trajectories, or both --corpus and --tasks")
    with flushed_denormals(), LiveLine() as line:
        loaded = _Loaded(model)
        if trajectories is not None:
            episodes = _stored_episodes(loaded, trajectories, line)
        else:
            assert corpus is not None and tasks is not None
            episodes = _expert_episodes(loaded, corpus, tasks, settings.seed)
        loaded.model = run(loaded.model, loaded.codec, episodes, settings, out, partial(line.step, "sft"))
        print(loaded.save(out))


def _stored_episodes(loaded: _Loaded, folder: Path, line: LiveLine) -> list[Episode]:
    from vrag.data.dataset import read_manifest
    from vrag.data.replay import check_fits, load_episodes
    from vrag.policies.load import view_spec

    environment = read_manifest(folder).environment
    check_fits(environment.view, view_spec(loaded.model.config.model_type, loaded.codec), folder)
    loaded.environment = environment  # what the model learns to act in
    episodes, left_out = load_episodes(folder, loaded.codec)
    for reason in left_out:
        line.say(f"left out: {reason}")
    return episodes


def _expert_episodes(loaded: _Loaded, corpus: str, tasks: Path, seed: int) -> list[Episode]:
    from vrag.data.trajectories import expert_episodes
    from vrag.policies.expert import ExpertStyle

    with _Opened(corpus, tasks, loaded) as opened:
        spec = loaded.environment.view
        return expert_episodes(opened.tasks, opened.corpus, opened.make, loaded.codec, spec, ExpertStyle(), seed)


@train.command()
def rl(
    corpus: CorpusName,
    tasks: Tasks,
    out: Out,
    model: Model,
    recipe: Recipe = None,
    override: Set = None,
    judge: Judge = None,
    judge_model: JudgeModel = None,
    judge_set: JudgeSet = None,
) -> None:
    """Train by GRPO, or by DAPO, Dr. GRPO, GSPO or CISPO (--set algorithm.name=dapo): search, crop and answer, rewarded
    as the paper does, answers scored by rules or by a judge.
    """
    import asyncio

    from vrag.rewards.combine import paper_rubric
    from vrag.rewards.judge import opened as opened_judge
    from vrag.training.precision import flushed_denormals
    from vrag.training.recipe import RLRecipe
    from vrag.training.rl import GRPO

    settings = resolve(RLRecipe, recipe, [*(override or []), *judge_overrides(judge, judge_model, judge_set)])
    with opened_judge(settings.judge) as by_model:
        if by_model is not None:
            asyncio.run(by_model.check())
        rubric = paper_rubric(settings.rewards, by_model)
        loaded = _Loaded(model)
        with flushed_denormals(), _Opened(corpus, tasks, loaded) as opened, LiveLine() as line:
            trainer = GRPO(loaded.model, loaded.codec, opened.make, rubric, settings)
            trainer.train(opened.tasks, out, partial(line.step, "rl"))
            print(loaded.save(out))


@train.command()
def encoder(
    corpus: CorpusName,
    tasks: Tasks,
    out: Out,
    model: Annotated[str, typer.Option("--model", help="An encoder's folder in the Hub's layout, or owner/name.")],
    recipe: Recipe = None,
    override: Set = None,
) -> None:
    """Fine-tune an encoder of pages on your own pages: each question against the pages of its whole batch."""
    import asyncio

    from vrag.corpus.store import Corpus
    from vrag.data.pairs import pairs_of, with_negatives
    from vrag.data.tasks import read_tasks
    from vrag.retriever import open_retriever
    from vrag.training.encoder import EncoderTrainingConfig, train_encoder
    from vrag.training.precision import flushed_denormals
    from vrag.views import ViewRenderer

    settings = resolve(EncoderTrainingConfig, recipe, override or [])
    with flushed_denormals(), Corpus.open(corpus) as store, LiveLine() as line:
        pairs, left_out = pairs_of(read_tasks(tasks), store)
        for reason in left_out:
            line.say(f"left out: {reason}")
        if settings.negatives:
            searched = open_retriever(store, settings.negatives_by)
            pairs = asyncio.run(with_negatives(pairs, searched, settings.negatives))
        image = ViewRenderer(store, pages=64).page
        print(train_encoder(model, pairs, image, settings, out, partial(line.step, "encoder")))


class _Loaded:
    """A checkpoint to train, and the environment that it acts in."""

    def __init__(self, name: str) -> None:
        from vrag.policies.load import checkpoint_path, load_codec, load_trainable
        from vrag.policies.speaker import environment_of

        path = checkpoint_path(name)
        self.model, self.codec = load_trainable(path), load_codec(path)
        self.environment = environment_of(path, self.model, self.codec)

    def save(self, out: Path) -> Path:
        """As `final` in the run's folder, whole or not at all."""
        from vrag.policies.load import save_policy
        from vrag.staging import whole_folder

        final = out / "final"
        if not final.exists():
            with whole_folder(final) as folder:
                save_policy(folder, self.model, self.codec, self.environment)
        return final


class _Opened:
    """A corpus and its tasks, from the names on the command line, and what makes environments over them."""

    def __init__(self, corpus: str, tasks: Path, loaded: _Loaded) -> None:
        from vrag.corpus.store import Corpus
        from vrag.data.tasks import read_tasks
        from vrag.retriever import LexicalRetriever
        from vrag.views import ViewRenderer

        self.tasks = read_tasks(tasks)
        self.corpus = Corpus.open(corpus)
        self._loaded = loaded
        self._retriever = LexicalRetriever(self.corpus)
        self._renderer = ViewRenderer(self.corpus, 500)

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.corpus.close()

    def make(self) -> Any:
        from vrag.environment import DocumentEnvironment

        return DocumentEnvironment(self.corpus, self._retriever, self._loaded.environment, self._renderer)
