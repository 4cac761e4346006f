"""`vrag eval miniature`: the paper's tables on the synthetic benchmark, with a small model as backbone.

    documents → baselines by prompt → GRPO in each arm of crop x retrieval reward, with several seeds → tables, report

Table 1 compares the agent with its baselines, table 2 takes the crop and the retrieval reward away from its training,
table 3 counts invalid actions and finished episodes (paper §4). All arms start from the same checkpoint and differ in
nothing else. Each stage lies in its own folder and is continued or skipped where it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from vrag.app.splits import SplitData
from vrag.app.tiny.measure import answer_all
from vrag.app.tiny.recipe import TinyRecipe
from vrag.app.tiny.stages import prepare, run_rl, without_crop
from vrag.environment import EnvironmentConfig
from vrag.evaluation.baselines import baseline_environment
from vrag.evaluation.comparison import Comparison, EvalRun, compare_all
from vrag.evaluation.report.compare import write_comparison
from vrag.policies.load import checkpoint_path
from vrag.rewards.combine import RewardWeights
from vrag.runs import RunDir, atomic_write
from vrag.training.rl_config import RLConfig
from vrag.types import Frozen

OURS = "VRAG-RL"
# What a backbone can be asked to do by an environment alone.
PROMPTED = ("vanilla-rag-text", "vanilla-rag-visual", "vanilla-rag-visual-top5", "react-text", "react-visual")

Log = Callable[[str, dict[str, Any]], None]
Say = Callable[[str], None]


class MiniatureConfig(Frozen):
    """`model` is where all arms start; `seeds` are those of GRPO, `seed` that of the documents."""

    model: str = "tiny-sft"
    documents: int = Field(default=300, ge=4)
    questions: int | None = Field(default=None, ge=1)  # about training documents (None: four per document)
    heldout_documents: int = Field(default=60, ge=4)
    seed: int = 0
    seeds: tuple[int, ...] = (0, 1, 2)
    rl: RLConfig = TinyRecipe().rl

    def recipe(self) -> TinyRecipe:
        return TinyRecipe(
            seed=self.seed,
            documents=self.documents,
            questions=self.questions,
            heldout_documents=self.heldout_documents,
            rl=self.rl,
        )


@dataclass(frozen=True)
class Arm:
    """A way to train: with the crop or without, rewarded for retrieval or not (paper, table 2)."""

    name: str
    folder: str
    crop: bool
    retrieval: bool

    @property
    def rewards(self) -> RewardWeights:
        """Without a reward of retrieval the weights of the others stay: advantages are scaled by their spread."""
        return RewardWeights() if self.retrieval else RewardWeights(retrieval=0.0)

    def environment(self, own: EnvironmentConfig) -> EnvironmentConfig:
        return own if self.crop else without_crop(own)


ARMS = (
    Arm(OURS, "vrag", crop=True, retrieval=True),
    Arm(f"{OURS}, no retrieval reward", "no-retrieval", crop=True, retrieval=False),
    Arm("Search-R1-VL", "no-crop", crop=False, retrieval=True),
    Arm("Search-R1-VL, no retrieval reward", "no-crop-no-retrieval", crop=False, retrieval=False),
)


@dataclass(frozen=True)
class Study:
    """What the stages share."""

    config: MiniatureConfig
    out: Path
    train: SplitData
    heldout: SplitData
    log: Log
    say: Say


def run_miniature(config: MiniatureConfig, out: Path, log: Log, say: Say) -> Comparison:
    """Do what is still owed under `out`, write `comparison.json` and `report.html` there, and return the comparison.

    Raises `UsageError` if `out` holds a study with other settings.
    """
    RunDir.open(out, config)
    recipe = config.recipe()
    say("documents: rendering and indexing")
    study = Study(config, out, prepare(recipe, "train", out), prepare(recipe, "heldout", out), log, say)
    runs = [*_untrained(study), *(_arm(study, arm) for arm in ARMS)]
    comparison = compare_all(runs, OURS)
    atomic_write(out / "comparison.json", comparison.model_dump_json(indent=1).encode())
    write_comparison(out / "report.html", comparison, runs, study.heldout.corpus)
    return comparison


def _untrained(study: Study) -> list[EvalRun]:
    """What needs no reinforcement learning: no model at all, and the backbone as it is."""
    model, own = study.config.model, study.heldout.environment
    shown = {recipe: baseline_environment(own, recipe) for recipe in PROMPTED}
    return [
        _measured(study, "extractive, no model", "extractive", "extractive", None),
        *(_measured(study, recipe, f"prompt-{recipe}", model, environment) for recipe, environment in shown.items()),
        _measured(study, "SFT", "sft", model, own),
    ]


def _arm(study: Study, arm: Arm) -> EvalRun:
    """The arm trained with each seed and measured; its runs count as samples of one."""
    environment = arm.environment(study.train.environment)
    recipe = study.config.recipe().model_copy(update={"rewards": arm.rewards})
    train = replace(study.train, environment=environment)
    start, parts = checkpoint_path(study.config.model), list[EvalRun]()
    for seed in study.config.seeds:
        folder = study.out / f"{arm.folder}-{seed}"
        study.say(f"{arm.name}, seed {seed}: {study.config.rl.steps} steps of {study.config.rl.algorithm.title}")
        final = run_rl(recipe, train, start, folder, seed, partial(_logged, study.log, folder.name))
        parts.append(_measured(study, arm.name, folder.name, str(final), environment))
    return _pooled(parts, study.config.seeds)


def _logged(log: Log, name: str, stage: str, metrics: dict[str, Any]) -> None:
    log(f"{name} {stage}", metrics)


def _pooled(runs: Sequence[EvalRun], seeds: Sequence[int]) -> EvalRun:
    """Runs of one arm as one: each episode by the seed that its policy was trained with."""
    records = [
        record.model_copy(update={"seed": seed})
        for run, seed in zip(runs, seeds, strict=True)
        for record in run.records
    ]
    config = {key: value for key, value in runs[0].config.items() if key != "policy"}
    return EvalRun(runs[0].name, sorted(records, key=lambda one: (one.task.id, one.seed)), config)


def _measured(study: Study, name: str, folder: str, policy: str, environment: EnvironmentConfig | None) -> EvalRun:
    out = study.out / "eval" / folder
    records, summary, config = answer_all(study.heldout, policy, environment, study.config.rl, out)
    if summary.accuracy is not None:
        study.say(f"{name} ({folder}): {100 * summary.accuracy.value:.1f} % of {summary.accuracy.n} right")
    return EvalRun(name, records, config)
