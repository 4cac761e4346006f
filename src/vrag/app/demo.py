"""`vrag demo`: the whole path on a small scale, as one script of calls.

    documents → corpus → evaluate a model → GRPO → evaluate again → report

Everything lies under one folder and each stage continues what is there, so rerunning a killed demo goes on
where it stopped. The questions that are measured are about documents of the held-out split: other names,
themes and layouts.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import Field

from vrag import __version__
from vrag.app.measuring import Say, choose, measure
from vrag.app.splits import SplitData
from vrag.app.tiny.recipe import TinyRecipe
from vrag.app.tiny.stages import prepare
from vrag.app.training_report import curves
from vrag.evaluation.report import Run, write_report
from vrag.evaluation.runner import EvalSettings
from vrag.policies.load import checkpoint_path, load_codec, load_trainable
from vrag.policies.speaker import environment_of
from vrag.policies.transformers import TransformersPolicy
from vrag.rewards.combine import score_episode
from vrag.rollout import Limits
from vrag.runs import RunDir, read_lines
from vrag.training.rl import GRPO
from vrag.training.rl_config import RLConfig
from vrag.training.run import CheckpointConfig
from vrag.types import Frozen, Task

BEFORE, AFTER = "before RL", "after RL"

OnStep = Callable[[dict[str, Any]], None]


class DemoConfig(Frozen):
    """Sized for ten minutes on two CPU cores, the installation included.

    `model` is a checkpoint to train: one that ships, a folder, or owner/name on the Hub.
    """

    model: str = "tiny-sft"
    train_documents: int = Field(default=60, ge=4)
    heldout_documents: int = Field(default=40, ge=4)
    questions: int = Field(default=150, ge=1)
    trajectories: int = Field(default=12, ge=0)
    seed: int = 0
    rl: RLConfig = TinyRecipe().rl.model_copy(update={"steps": 24, "checkpoints": CheckpointConfig(every=10)})


def run_demo(config: DemoConfig, out: Path, say: Say, on_step: OnStep) -> Path:
    """Run what is still owed of the demo under `out` and return the path of its report.

    `on_step` gets the metrics of each training step. Raises `UsageError` if `out` holds a demo with another
    configuration, or something else.
    """
    run = RunDir.open(out, config)
    began = time.perf_counter()
    recipe = TinyRecipe(
        seed=config.seed,
        documents=config.train_documents,
        questions=None,
        heldout_documents=config.heldout_documents,
    )
    say("1/5  rendering and indexing documents")
    path = checkpoint_path(config.model)
    model, codec = load_trainable(path), load_codec(path)
    environment = environment_of(path, model, codec)
    train = replace(prepare(recipe, "train", out), environment=environment)
    heldout = replace(prepare(recipe, "heldout", out), environment=environment)
    questions = choose(heldout.tasks, config.questions, config.seed)
    policy = TransformersPolicy(model, codec, max_batch=config.rl.max_batch)
    settings = EvalSettings(max_tokens=config.rl.limits_turn_tokens, concurrency=config.rl.max_batch)
    limits = Limits(config.rl.limits_tokens, config.rl.limits_turn_tokens)
    say(f"2/5  {config.model} answers {len(questions)} questions on documents it has never seen")
    before = measure(questions, heldout, policy, codec, settings, limits, out / "before", say)

    say(f"3/5  learning by reward on other documents: {config.rl.steps} steps of {config.rl.algorithm.title}")
    trainer = GRPO(model, codec, train.make_environment, score_episode, config.rl)
    trainer.train(train.tasks, out / "rl", on_step)
    say("4/5  the same questions again")
    after = measure(questions, heldout, policy, codec, settings, limits, out / "after", say)

    say("5/5  writing the report")
    run.metrics.append({"seconds": time.perf_counter() - began})
    report = out / "report.html"
    write_report(
        report,
        [Run(BEFORE, before), Run(AFTER, after)],
        curves(read_lines(out / "rl" / "metrics.jsonl")),
        config.trajectories,
        heldout.corpus,
        title="A small model learns to look closer",
        lead=lead(model, questions, config),
        facts=facts(config, train, heldout, run),
    )
    return report


def lead(model: Any, questions: list[Task], config: DemoConfig) -> str:
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return (
        f"A vision-language model of {millions:.1f} million parameters searches rendered pages, crops what it "
        f"can't read, and answers. It was measured on {len(questions)} questions about documents that it had "
        f"never seen, trained by reinforcement learning for {config.rl.steps} steps on others, and measured "
        "again."
    )


def facts(config: DemoConfig, train: SplitData, heldout: SplitData, run: RunDir) -> dict[str, str]:
    """How the report's figures came about."""
    seconds = sum(row["seconds"] for row in run.metrics.read())
    rl = config.rl
    return {
        "Command": "vrag demo",
        "Model at the start": config.model,
        "Training documents": f"{train.pages} with {len(train.tasks)} questions",
        "Held-out documents": f"{heldout.pages}; other names, themes and layouts",
        "Training": f"{rl.algorithm.title}: {rl.steps} steps of {rl.groups} questions × {rl.group_size} episodes",
        "Answers": "greedy decoding; right means equal to the gold answer after normalisation",
        "Time": f"{seconds / 60:.1f} minutes on {os.cpu_count()} cores ({platform.machine()})",
        "Versions": f"vrag {__version__}, torch {version('torch')}, transformers {version('transformers')}",
    }
