"""An agent over questions, in one call: what `vrag eval` does, for Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vrag.agent import Agent
from vrag.blocking import run_blocking
from vrag.data.tasks import read_tasks
from vrag.episode import EpisodeRecord
from vrag.evaluation import runner
from vrag.evaluation.identity import begun_as, identity
from vrag.evaluation.metrics import Summary
from vrag.evaluation.runner import EvalSettings
from vrag.rewards.combine import paper_rubric
from vrag.rewards.rubric import Score
from vrag.rollout import Limits
from vrag.runs import RunDir
from vrag.types import Task


@dataclass(frozen=True)
class Evaluation:
    """A finished run: its folder, each episode, and the figures."""

    out: Path
    records: list[EpisodeRecord]
    summary: Summary


def evaluate(
    agent: Agent,
    tasks: Sequence[Task] | str | Path,
    out: str | Path,
    *,
    settings: EvalSettings | None = None,
    score: Score | None = None,
    about: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    on_record: Callable[[EpisodeRecord], None] | None = None,
) -> Evaluation:
    """Let `agent` answer `tasks` (or those of such a file) and keep every episode in the folder `out`; what is there
    already isn't run again, also where `out` asked the first of these `tasks` alone, or with fewer seeds.

    `score` is the paper's reward by rules where none is given. `about` is what the run notes of the agent; by default
    its corpus and policy. Raises `UsageError` if `out` holds a run of anything else, unless `overwrite` deletes that.
    """
    tasks = read_tasks(tasks) if isinstance(tasks, (str, Path)) else tasks
    settings, score = settings or EvalSettings(), score or paper_rubric()
    named = {"corpus": str(agent.corpus.folder), "policy": agent.speaker.name} if about is None else about
    config = {
        **named,
        "environment": agent.environment.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
    }
    run = RunDir.open(Path(out), identity(config, tasks), overwrite=overwrite, adds_to=begun_as(config, tasks))
    records = run_blocking(
        runner.evaluate(
            run,
            tasks,
            make_environment=agent.make_environment,
            policy=agent.speaker.policy,
            codec=agent.speaker.codec,
            score=score,
            settings=settings,
            limits=Limits(),
            on_record=on_record,
        )
    )
    return Evaluation(run.path, records, runner.finish(run, records))
