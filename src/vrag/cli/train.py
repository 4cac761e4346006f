"""`vrag train …`: supervised fine-tuning, GRPO, vrag-tiny from nothing, encoders of pages, and reports of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vrag.cli.live import LiveLine
from vrag.cli.loaded import Loaded, Opened
from vrag.cli.options import (
    By,
    Encoder,
    EncoderSet,
    Judge,
    JudgeModel,
    JudgeSet,
    Way,
    encoder_name,
    judge_overrides,
    searched_by,
)
from vrag.cli.verl import verl
from vrag.cli.watch import Watch
from vrag.config import resolve
from vrag.errors import UsageError

if TYPE_CHECKING:
    from vrag.episode import Episode

train = typer.Typer(no_args_is_help=True, help="Train a policy or an encoder. Rerunning a killed command continues it.")
train.command()(verl)

Out = Annotated[Path, typer.Option("--out", help="The run's folder: metrics, checkpoints, the result.")]
Recipe = Annotated[Path | None, typer.Option("--recipe", help="A TOML file with settings.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="One setting: key=value; repeat for more.")]
Model = Annotated[
    str, typer.Option("--model", help="tiny-sft, tiny, a checkpoint's folder in the Hub's layout, or owner/name.")
]
CorpusName = Annotated[str, typer.Option("--corpus", help="The corpus that the tasks are about.")]
Tasks = Annotated[Path, typer.Option("--tasks", help="A JSONL file of tasks with gold answers and pages.")]
Track = Annotated[
    str | None,
    typer.Option("--track", help="Show the metrics elsewhere too: tensorboard, trackio or wandb, or NAME:PROJECT."),
]


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
    by: By = Way.auto,
    encoder: Encoder = None,
    encoder_set: EncoderSet = None,
    recipe: Recipe = None,
    override: Set = None,
    track: Track = None,
) -> None:
    """Fine-tune on a dataset of trajectories, or on the scripted expert's over your own tasks with gold pages."""
    from vrag.training.origin import command_line
    from vrag.training.precision import flushed_denormals
    from vrag.training.sft import SFTConfig
    from vrag.training.sft import sft as run

    settings = resolve(SFTConfig, recipe, override or [])
    if (trajectories is None) == (corpus is None and tasks is None) or (corpus is None) != (tasks is None):
        raise UsageError("give either --trajectories, or both --corpus and --tasks")
    if trajectories is not None and searched_by(by, encoder, encoder_set):
        raise UsageError("trajectories were searched for when they were made: leave --by and --encoder out")
    command = command_line(
        "train sft",
        {"out": out, "model": model, "trajectories": trajectories, "corpus": corpus, "tasks": tasks}
        | searched_by(by, encoder, encoder_set)
        | {"recipe": recipe, "set": override, "track": track},
    )
    with flushed_denormals(), LiveLine() as line, Watch("sft", out, line, track) as watch:
        loaded, searched = Loaded(model, whole=settings.lora is None), None
        if trajectories is not None:
            episodes = _stored_episodes(loaded, trajectories, line)
        else:
            assert corpus is not None and tasks is not None
            with Opened(corpus, tasks, loaded, by.value, encoder_name(encoder, encoder_set)) as opened:
                searched, episodes = opened.by, _expert_episodes(opened, loaded, settings.seed, line)
        data = trajectories / "episodes.jsonl" if trajectories else tasks
        origin = loaded.origin("sft", command, corpus, {f"{len(episodes)} episodes": data}, searched)
        watch.comes_from(origin)
        loaded.model = run(loaded.model, loaded.codec, episodes, settings, out, watch)
        print(loaded.save(out, origin))


def _stored_episodes(loaded: Loaded, folder: Path, line: LiveLine) -> list[Episode]:
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


def _expert_episodes(opened: Opened, loaded: Loaded, seed: int, line: LiveLine) -> list[Episode]:
    from vrag.data.trajectories import expert_episodes
    from vrag.policies.expert import ExpertStyle, can_play

    if loaded.environment.first_search:
        raise UsageError(
            "the expert searches itself, and this model's environment has first_search on: turn it off there"
        )
    spec = loaded.environment.view
    found = expert_episodes(opened.tasks, opened.corpus, opened.make, loaded.codec, spec, ExpertStyle(), seed)
    played = {episode.task.id for episode in found}
    for task in opened.tasks:
        if task.id not in played:
            why = "the expert didn't find its page" if can_play(task) else "has no gold page or no answer"
            line.say(f"left out: task {task.id}: {why}")
    return found


@train.command()
def rl(
    corpus: CorpusName,
    tasks: Tasks,
    out: Out,
    model: Model,
    by: By = Way.auto,
    encoder: Encoder = None,
    encoder_set: EncoderSet = None,
    recipe: Recipe = None,
    override: Set = None,
    judge: Judge = None,
    judge_model: JudgeModel = None,
    judge_set: JudgeSet = None,
    track: Track = None,
) -> None:
    """Train by GRPO, or by DAPO, Dr. GRPO, GSPO or CISPO (--set algorithm.name=dapo): search, crop and answer, rewarded
    as the paper does, answers scored by rules or by a judge.
    """
    import asyncio

    from vrag.actions import stop_tags
    from vrag.rewards.combine import paper_rubric
    from vrag.rewards.judge import opened as opened_judge
    from vrag.scene import own_action
    from vrag.training.origin import command_line
    from vrag.training.precision import flushed_denormals
    from vrag.training.recipe import RLRecipe
    from vrag.training.rl import GRPO

    settings = resolve(RLRecipe, recipe, [*(override or []), *judge_overrides(judge, judge_model, judge_set)])
    command = command_line(
        "train rl",
        {"corpus": corpus, "tasks": tasks, "out": out, "model": model}
        | searched_by(by, encoder, encoder_set)
        | {"recipe": recipe}
        | {"set": [change for change in override or [] if not change.startswith("judge.url")]}
        | {"judge": judge and "URL", "judge_model": judge_model, "judge_set": judge_set, "track": track},
    )
    with opened_judge(settings.judge) as by_model, LiveLine() as line, Watch("rl", out, line, track) as watch:
        if by_model is not None:
            asyncio.run(by_model.check())
        rubric = paper_rubric(settings.rewards, by_model)
        own = [own_action(name) for name in settings.actions]
        stops = stop_tags(*(action.name for action in own))
        loaded = Loaded(model, whole=settings.lora is None)
        named = encoder_name(encoder, encoder_set)
        with flushed_denormals(), Opened(corpus, tasks, loaded, by.value, named, own) as opened:
            trainer = GRPO(loaded.model, loaded.codec, opened.make, rubric, settings, stops)
            origin = loaded.origin("rl", command, corpus, {f"{len(opened.tasks)} tasks": tasks}, opened.by)
            watch.comes_from(origin)
            loaded.model = trainer.train(opened.tasks, out, watch)
            print(loaded.save(out, origin))


@train.command()
def encoder(
    corpus: CorpusName,
    tasks: Tasks,
    out: Out,
    model: Annotated[str, typer.Option("--model", help="An encoder's folder in the Hub's layout, or owner/name.")],
    recipe: Recipe = None,
    override: Set = None,
    track: Track = None,
) -> None:
    """Fine-tune an encoder of pages on your own pages: each question against the pages of its whole batch."""
    import asyncio

    from vrag.corpus.store import Corpus
    from vrag.data.pairs import pairs_of, with_negatives
    from vrag.data.tasks import read_tasks
    from vrag.retriever import open_retriever
    from vrag.training.card import write_card
    from vrag.training.encoder import EncoderTrainingConfig, train_encoder
    from vrag.training.origin import Origin, command_line, fingerprint
    from vrag.training.precision import flushed_denormals
    from vrag.views import ViewRenderer

    settings = resolve(EncoderTrainingConfig, recipe, override or [])
    command = command_line(
        "train encoder",
        {"corpus": corpus, "tasks": tasks, "out": out, "model": model}
        | {"recipe": recipe, "set": override, "track": track},
    )
    with (
        flushed_denormals(),
        Corpus.open(corpus) as store,
        LiveLine() as line,
        Watch("encoder", out, line, track) as watch,
    ):
        pairs, left_out = pairs_of(read_tasks(tasks), store)
        for reason in left_out:
            line.say(f"left out: {reason}")
        if settings.negatives:
            searched = open_retriever(store, settings.negatives_by)
            pairs = asyncio.run(with_negatives(pairs, searched, settings.negatives))
        data = {f"{len(pairs)} queries": fingerprint(tasks)}
        origin = Origin(method="encoder", command=command, base=model, corpus=corpus, data=data)
        watch.comes_from(origin)
        image = ViewRenderer(store, pages=64).page
        print(train_encoder(model, pairs, image, settings, out, watch, lambda folder: write_card(folder, out, origin)))


@train.command()
def report(
    run: Annotated[Path, typer.Argument(help="The folder that a training command got as --out.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page; RUN/report.html if not given.")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option("--corpus", help="Where page images come from, if not from the run's own corpus.")
    ] = None,
    samples: Annotated[int, typer.Option(min=0, help="Show at most so many episodes, the newest.")] = 24,
) -> None:
    """Write one HTML page about a run, finished or not: curves, warnings, and episodes that were kept on the way."""
    from contextlib import nullcontext

    from vrag.app.training_report import write_training_report
    from vrag.corpus.store import Corpus
    from vrag.training.origin import read_origin

    origin = read_origin(run)
    name = corpus or (origin.corpus if origin else None)
    path = output or run / "report.html"
    with nullcontext() if name is None else Corpus.open(name) as store:
        write_training_report(path, run, store, samples)
    print(path)
