"""What vrag-tiny learned: the held-out split, before and after RL, beside the baselines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from vrag.app.splits import SplitData
from vrag.app.tiny.recipe import TinyRecipe
from vrag.app.tiny.stages import Trained, prepare, without_crop
from vrag.environment import EnvironmentConfig
from vrag.episode import EpisodeRecord
from vrag.evaluation.metrics import Summary
from vrag.evaluation.runner import EvalSettings, evaluate, finish
from vrag.policies.speaker import Speaker, speaker
from vrag.rewards.combine import score_episode
from vrag.rollout import Limits
from vrag.runs import Json, RunDir, content_key
from vrag.training.rl_config import RLConfig

Say = Callable[[str], None]


def measure(recipe: TinyRecipe, trained: Trained, out: Path, say: Say) -> dict[str, Summary]:
    """Summaries of greedy runs by name: untrained, extractive, SFT, SFT without crop allowed, each RL seed."""
    heldout = prepare(recipe, "heldout", out)
    runs: dict[str, tuple[str, bool]] = {
        "extractive": ("extractive", True),
        "untrained": (str(trained.fresh), True),
        "sft": (str(trained.sft), True),
        **{f"sft+rl, seed {seed}": (str(path), True) for seed, path in trained.rl.items()},
    }
    if trained.no_crop is not None:
        runs["no crop, sft+rl"] = (str(trained.no_crop), False)
    summaries: dict[str, Summary] = {}
    for name, (policy, crops) in runs.items():
        summaries[name] = _run(recipe, heldout, policy, crops, out / "eval" / name.replace(" ", "-"))
        accuracy = summaries[name].accuracy
        if accuracy is not None:
            say(f"{name}: {100 * accuracy.value:.1f} % right ({100 * accuracy.low:.0f}-{100 * accuracy.high:.0f})")
    return summaries


def _run(recipe: TinyRecipe, data: SplitData, policy: str, crops: bool, out: Path) -> Summary:
    environment = None if policy == "extractive" else data.environment
    if not crops:
        environment = without_crop(data.environment)
    return answer_all(data, policy, environment, recipe.rl, out)[1]


def answer_all(
    data: SplitData, policy: str, environment: EnvironmentConfig | None, rl: RLConfig, out: Path
) -> tuple[list[EpisodeRecord], Summary, Json]:
    """Greedy answers to all questions of `data`, within the limits of `rl`; in the policy's own environment where none
    is given. What is in `out` already isn't done again. Also returns what the run notes of itself.
    """
    agent: Speaker = speaker(policy, data.corpus)
    shown = environment or agent.config
    settings = EvalSettings(max_tokens=rl.limits_turn_tokens, concurrency=rl.max_batch)
    config: Json = {
        "policy": policy,
        "tasks": content_key(*data.tasks),
        "environment": shown.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
    }
    run = RunDir.open(out, config)
    records = asyncio.run(
        evaluate(
            run,
            data.tasks,
            make_environment=lambda: data.make_environment(shown),
            policy=agent.policy,
            codec=agent.codec,
            score=score_episode,
            settings=settings,
            limits=Limits(rl.limits_tokens, rl.limits_turn_tokens),
        )
    )
    return records, finish(run, records), config
