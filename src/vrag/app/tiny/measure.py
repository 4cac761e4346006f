"""What vrag-tiny learned: the held-out split, before and after RL, beside the baselines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from vrag.app.tiny.recipe import TinyRecipe
from vrag.app.tiny.stages import SplitData, Trained, prepare, without_crop
from vrag.evaluation.metrics import Summary
from vrag.evaluation.runner import EvalSettings, evaluate, finish
from vrag.policies.speaker import Speaker, speaker
from vrag.rewards.combine import score_episode
from vrag.rollout import Limits
from vrag.runs import RunDir, content_key

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
    agent: Speaker = speaker(policy, data.corpus)
    environment = agent.config if policy == "extractive" else data.environment
    environment = environment if crops else without_crop(environment)
    settings = EvalSettings(max_tokens=recipe.rl.limits_turn_tokens, concurrency=recipe.rl.max_batch)
    config = {
        "policy": policy,
        "tasks": content_key(*data.tasks),
        "environment": environment.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
    }
    run = RunDir.open(out, config)
    records = asyncio.run(
        evaluate(
            run,
            data.tasks,
            make_environment=lambda: data.make_environment(environment),
            policy=agent.policy,
            codec=agent.codec,
            score=score_episode,
            settings=settings,
            limits=Limits(recipe.rl.limits_tokens, recipe.rl.limits_turn_tokens),
        )
    )
    return finish(run, records)
