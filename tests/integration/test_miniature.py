"""The study of the paper's tables runs whole on a few pages, and does nothing twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vrag.app import miniature
from vrag.app.miniature import ARMS, MiniatureConfig, run_miniature
from vrag.app.splits import SplitData
from vrag.app.tiny.recipe import TinyRecipe
from vrag.app.tiny.stages import prepare
from vrag.evaluation.comparison import Comparison
from vrag.runs import read_lines

pytest.importorskip("reportlab")

CONFIG = MiniatureConfig(
    documents=4,
    heldout_documents=4,
    seeds=(3, 4),
    rl=TinyRecipe().rl.model_copy(update={"steps": 1, "groups": 1, "group_size": 2}),
)
QUESTIONS = 5
TRAINED = [f"{arm.folder}-{seed}" for arm in (ARMS[1], ARMS[2]) for seed in CONFIG.seeds]


def few(recipe: TinyRecipe, split: str, out: Path) -> SplitData:
    data = prepare(recipe, split, out)
    return replace(data, tasks=data.tasks[:QUESTIONS])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A study of two arms, run twice: the folder, both comparisons, and what was said each time."""
    out = tmp_path_factory.mktemp("study")
    found: list[tuple[Comparison, list[str]]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(miniature, "prepare", few)
        patch.setattr(miniature, "ARMS", ARMS[1:3])
        patch.setattr(miniature, "OURS", ARMS[1].name)
        patch.setattr(miniature, "PROMPTED", ("react-visual",))
        for _ in range(2):
            steps: list[str] = []
            comparison = run_miniature(CONFIG, out, lambda stage, metrics: steps.append(stage), lambda text: None)  # noqa: B023
            found.append((comparison, steps))
    return out, found


def test_each_arm_is_trained_with_each_seed_and_only_once(study: tuple[Path, list[Any]]) -> None:
    out, ((first, trained), (second, again)) = study
    assert trained == [f"{name} rl" for name in TRAINED] and again == []
    assert first == second
    assert all(len(read_lines(out / name / "metrics.jsonl")) == 1 for name in TRAINED)


def test_seeds_are_samples_of_one_run_and_every_question_is_asked(study: tuple[Path, list[Any]]) -> None:
    _, ((comparison, _), _) = study
    runs = comparison.runs
    assert list(runs) == ["extractive, no model", "react-visual", "SFT", ARMS[1].name, ARMS[2].name]
    asked = runs["SFT"].questions
    assert asked == QUESTIONS
    for arm in (ARMS[1].name, ARMS[2].name):
        assert (runs[arm].questions, runs[arm].episodes, runs[arm].errored) == (asked, 2 * asked, 0)
        assert set(runs[arm].by_sample) == {"3.0", "4.0"}, "the seeds that its policies were trained with"
    assert comparison.baseline == ARMS[1].name and set(comparison.paired) == set(runs) - {ARMS[1].name}


def test_arms_differ_in_crop_and_retrieval_reward_alone(study: tuple[Path, list[Any]]) -> None:
    out, ((comparison, _), _) = study
    assert comparison.runs[ARMS[2].name].crops == 0
    own = TinyRecipe().rewards
    assert ARMS[0].rewards == own and ARMS[1].rewards == own.model_copy(update={"retrieval": 0.0})
    no_reward, reward = (read_lines(out / name / "metrics.jsonl")[0] for name in (TRAINED[0], TRAINED[2]))
    for row, weight in ((no_reward, 0.0), (reward, own.retrieval)):
        parts = own.answer * row["reward/answer"] + own.pattern * row["reward/pattern"]
        assert row["reward"] <= parts + weight * row["reward/retrieval"] + 1e-9
    page = (out / "report.html").read_text()
    assert "no retrieval reward" in page and "McNemar" in page
