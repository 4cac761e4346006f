"""Questions answered once, as the demos measure them. Needs no model library."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

from vrag.app.splits import SplitData
from vrag.episode import EpisodeRecord
from vrag.evaluation.runner import EvalSettings, evaluate, finish
from vrag.protocols import Codec, Policy
from vrag.rewards.combine import score_episode
from vrag.rollout import Limits
from vrag.runs import RunDir, content_key
from vrag.types import Task

Say = Callable[[str], None]


def choose(tasks: list[Task], count: int, seed: int) -> list[Task]:
    """`count` tasks at random, or all, in the order of the file."""
    if count >= len(tasks):
        return tasks
    return [tasks[index] for index in sorted(random.Random(seed).sample(range(len(tasks)), count))]


def measure(
    tasks: list[Task],
    data: SplitData,
    policy: Policy,
    codec: Codec | None,
    settings: EvalSettings,
    limits: Limits,
    out: Path,
    say: Say,
) -> list[EpisodeRecord]:
    """Answer `tasks`; what the run at `out` holds already isn't run again."""
    run = RunDir.open(out, {"tasks": content_key(*tasks), "settings": settings.model_dump(mode="json")})
    records = asyncio.run(
        evaluate(
            run,
            tasks,
            make_environment=data.make_environment,
            policy=policy,
            codec=codec,
            score=score_episode,
            settings=settings,
            limits=limits,
        )
    )
    accuracy = finish(run, records).accuracy
    if accuracy is not None:
        say(f"     {100 * accuracy.value:.1f} % right ({100 * accuracy.low:.0f} to {100 * accuracy.high:.0f})")
    return records
