"""`vrag data construct`: expert trajectories from a planner and a grounder behind endpoints."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from vrag.cli.live import PLAIN_SECONDS, counting
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
)
from vrag.errors import UsageError

if TYPE_CHECKING:
    from vrag.data.construct import ConstructConfig, Progress, World
    from vrag.data.dataset import Manifest
    from vrag.data.replies import Replies
    from vrag.runs import RunDir
    from vrag.types import Task, Usage


def construct(
    out: Annotated[Path, typer.Argument(help="A directory for the dataset; an earlier run of the same is continued.")],
    corpus: Annotated[str, typer.Option("--corpus", "-c", help="Name of the corpus, or a path.")],
    tasks: Annotated[Path, typer.Option(help="JSON Lines of questions with answers; gold pages are used if there.")],
    target: Annotated[
        str, typer.Option("--for", help="The model that learns: qwen2_5_vl, qwen3_vl, or a checkpoint's folder.")
    ],
    planner: Annotated[str | None, typer.Option(help="The planner's OpenAI-compatible URL, http://HOST/v1.")] = None,
    planner_model: Annotated[str | None, typer.Option(help="The planner's name on its server.")] = None,
    grounder: Annotated[str | None, typer.Option(help="The grounder's URL; it may be the planner's.")] = None,
    grounder_model: Annotated[str | None, typer.Option(help="The grounder's name on its server.")] = None,
    judge: Judge = None,
    judge_model: JudgeModel = None,
    judge_set: JudgeSet = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many tasks.")] = None,
    by: By = Way.auto,
    encoder: Encoder = None,
    encoder_set: EncoderSet = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="A TOML file with settings.")] = None,
    override: Annotated[list[str] | None, typer.Option("--set", help="One setting: grounder.frame=…")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete an earlier dataset at OUT.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Let a planner and a grounder behind endpoints play tasks, and write what they did well as a dataset for SFT."""
    from vrag.corpus.store import Corpus
    from vrag.data.construct import World
    from vrag.data.replies import Replies
    from vrag.data.tasks import read_tasks
    from vrag.policies.speaker import environment_for
    from vrag.retriever import open_retriever
    from vrag.runs import RunDir, content_key
    from vrag.views import ViewRenderer

    models = _endpoint("planner", planner, planner_model) + _endpoint("grounder", grounder, grounder_model)
    config = _config(recipe, [*models, *judge_overrides(judge, judge_model, judge_set), *(override or [])])
    environment = environment_for(target)
    if config.max_turns is not None:
        environment = environment.model_copy(update={"max_turns": config.max_turns})
    chosen, named = read_tasks(tasks)[:limit], encoder_name(encoder, encoder_set)
    asked = {
        "policy": "planner",
        "config": config.model_dump(mode="json"),
        "environment": environment.model_dump(mode="json"),
        "corpus": corpus,
        "by": by.value,
        "tasks": {"count": len(chosen), "key": content_key(*chosen)},
    }
    with Corpus.open(corpus) as store:
        world = World(store, open_retriever(store, by.value, named), environment, ViewRenderer(store))
        run = RunDir.open(out, asked, overwrite=overwrite)
        with closing(Replies(run.path / "replies.sqlite")) as replies:
            manifest, failure = _run(config, world, run, replies, chosen)
    print(manifest.model_dump_json() if as_json else _made(manifest, out))
    if manifest.failed:
        print(f"vrag: {manifest.failed} episodes failed, a rerun tries them again; last: {failure}", file=sys.stderr)
    if manifest.kept == 0 or manifest.failed:
        raise typer.Exit(1)


def _endpoint(who: str, url: str | None, model: str | None) -> list[str]:
    """Overrides of the recipe's group `who`."""
    given = {"url": url, "model": model}
    return [f"{who}.{key}={json.dumps(value)}" for key, value in given.items() if value is not None]


def _config(recipe: Path | None, overrides: list[str]) -> ConstructConfig:
    from vrag.config import resolve
    from vrag.data.construct import ConstructConfig

    config = resolve(ConstructConfig, recipe, overrides)
    if config.planner is None or config.grounder is None:
        raise UsageError(
            "name both models: --planner URL --planner-model NAME, --grounder URL --grounder-model NAME "
            "(the same where one does both), or [planner] and [grounder] in a recipe"
        )
    return config


def _run(
    config: ConstructConfig, world: World, run: RunDir, replies: Replies, tasks: list[Task]
) -> tuple[Manifest, str]:
    """The manifest, and the last failure in words."""
    from vrag.chat import Chat
    from vrag.data.construct import Construction, Experts
    from vrag.data.dataset import TrajectoryWriter
    from vrag.data.replies import RememberedChat
    from vrag.rewards.judge import opened

    assert config.planner is not None and config.grounder is not None
    planner = RememberedChat(Chat(config.planner, what="planner"), "planner", replies)
    grounder = RememberedChat(Chat(config.grounder, what="grounder"), "grounder", replies)
    writer = TrajectoryWriter(run, world.environment, config.balance)
    with opened(config.judge) as judge, _Live(len(tasks), replies) as live:
        experts = Experts(planner, config.planner, grounder, config.grounder, judge)
        construction = Construction(config, world, experts, writer, replies, live.show)
        return asyncio.run(construction.run(tasks)), construction.progress.failure


class _Live:
    """Progress on stderr: tasks done, episodes by outcome, and what was spent; now and then a line where that is no
    terminal.
    """

    def __init__(self, tasks: int, replies: Replies) -> None:
        self._console, self._replies, self._said = Console(stderr=True), replies, -PLAIN_SECONDS
        self._bars = counting(self._console)
        self._row = self._bars.add_task("tasks", total=tasks)

    def __enter__(self) -> _Live:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def show(self, progress: Progress) -> None:
        counts = f"{progress.accepted} accepted, {progress.dropped} dropped, {progress.failed} failed"
        costs = self._replies.costs().values()
        calls, tokens = sum(c.calls for c in costs), sum(c.prompt_tokens + c.completion_tokens for c in costs)
        text = f"{counts}; {calls:,} calls, {tokens:,} tokens"
        self._bars.update(self._row, completed=progress.tasks, description=text)
        if not self._console.is_terminal and time.monotonic() - self._said >= PLAIN_SECONDS:
            self._said = time.monotonic()
            print(f"{progress.tasks} tasks done: {text}", file=sys.stderr)


def _made(manifest: Manifest, out: Path) -> str:
    dropped = ", ".join(f"{count} {reason}" for reason, count in manifest.dropped.items())
    actions = ", ".join(f"{count} {name}" for name, count in manifest.actions.items())
    lines = [
        f"{manifest.kept} episodes ({actions}), {manifest.images} images; dropped: {dropped or 'none'};"
        f" {manifest.surplus} left out for balance",
        *(f"{who}: {_spent(cost)}" for who, cost in manifest.cost.items()),
    ]
    if each := manifest.cost_per_kept:
        tokens = f"{each['prompt_tokens']:,.0f} + {each['completion_tokens']:,.0f} tokens"
        lines.append(f"for each episode kept: {each['calls']:.1f} calls, {tokens}")
    return "\n".join([*lines, str(out / "manifest.json")])


def _spent(cost: Usage) -> str:
    return f"{cost.calls:,} calls, {cost.prompt_tokens:,} + {cost.completion_tokens:,} tokens"
