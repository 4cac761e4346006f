"""What goes wrong in training is said in words, and what is well isn't."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vrag.cli.live import LiveLine
from vrag.training.alarms import AlarmConfig, alarms, warned

CONFIG = AlarmConfig()
STEPS = 60
HEALTHY = {
    "reward": 0.5, "reward_std": 0.3, "entropy": 0.4, "kl": 0.02, "sampled_length": 80.0, "stop/length": 0.02,
    "groups_zero_variance": 0.3, "groups_all_right": 0.1, "groups_all_wrong": 0.1, "invalid_actions": 0.03,
    "gradient_norm": 0.4, "loss": 0.01,
}  # fmt: skip


def run(steps: int = STEPS, seed: int = 0, **ends: float) -> list[dict[str, Any]]:
    """A noisy run that is healthy, but for the metrics named, which go evenly to what is given by two thirds."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for step in range(steps):
        gone = min(1.0, 1.5 * step / steps)
        row = {name: value + gone * (ends.get(name, value) - value) for name, value in HEALTHY.items()}
        rows.append({"step": step} | {name: value * rng.uniform(0.8, 1.2) for name, value in row.items()})
    return rows


def causes(rows: list[dict[str, Any]], config: AlarmConfig = CONFIG) -> set[str]:
    """All that were raised at any step."""
    return {cause for end in range(1, len(rows) + 1) for cause in alarms(rows[:end], config)}


def renamed(**ends: float) -> dict[str, float]:
    return {name.replace("stop_", "stop/"): value for name, value in ends.items()}


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_run_is_left_alone(seed: int) -> None:
    assert causes(run(seed=seed)) == set()
    learns = {"reward": 0.9, "entropy": 0.15, "kl": 0.1, "sampled_length": 150.0, "groups_zero_variance": 0.7}
    assert causes(run(seed=seed, **learns)) == set()


def test_runs_that_really_trained_are_left_alone() -> None:
    runs = json.loads((Path(__file__).parents[1] / "healthy_rl.json").read_text())
    assert [len(rows) for rows in runs] == [36, 30, 36]
    assert [causes(rows) for rows in runs] == [set(), set(), set()]


@pytest.mark.parametrize(
    ("ends", "cause", "said"),
    [
        ({"entropy": 0.01}, "entropy", "clip"),
        ({"kl": 2.0}, "kl", "algorithm.kl"),
        ({"sampled_length": 400.0}, "length", "episodes grew from"),
        ({"sampled_length": 6.0}, "length", "shrank from"),
        ({"stop_length": 0.6}, "length", "token limit ends"),
        ({"groups_zero_variance": 1.2, "groups_all_right": 1.0}, "flat_groups", "too easy"),
        ({"groups_zero_variance": 1.2, "groups_all_wrong": 1.0}, "flat_groups", "vrag train sft"),
        ({"groups_zero_variance": 1.2}, "flat_groups", "copies"),
        ({"reward": 0.0}, "reward", "the reward fell from 0.4"),
        ({"invalid_actions": 0.5}, "invalid_actions", "format"),
    ],
)
def test_each_way_to_fail_is_named_with_what_to_try(ends: dict[str, float], cause: str, said: str) -> None:
    rows = run(**renamed(**ends))
    assert causes(rows) == {cause}
    assert said in alarms(rows, CONFIG)[cause]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_is_said_at_once(value: float) -> None:
    rows = run(steps=1)
    rows[0]["gradient_norm"] = value
    assert "spoilt" in alarms(rows, CONFIG)["not_finite"]


def test_a_warning_ends_with_its_cause() -> None:
    rows = run(entropy=0.01)
    assert alarms(rows, CONFIG)
    assert alarms([*rows, *run()[: CONFIG.window]], CONFIG) == {}


def test_one_bad_step_among_good_ones_is_no_warning() -> None:
    rows = run()
    rows[40] |= {"entropy": 0.0, "reward": 0.0, "invalid_actions": 1.0, "groups_zero_variance": 1.0, "kl": 3.0}
    assert causes(rows) == set()


def test_thresholds_are_settings() -> None:
    rows = run(entropy=0.15)
    assert causes(rows) == set() and causes(rows, AlarmConfig(entropy=0.5)) == {"entropy"}


def test_metrics_that_a_run_does_not_have_are_not_warned_about() -> None:
    assert causes([{"step": step, "loss": 0.1} for step in range(40)]) == set() and alarms([], CONFIG) == {}


def test_a_cause_is_said_once_and_its_span_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"step": step, "warnings": {"kl": f"far away {step}"}} if step > 2 else {"step": step} for step in range(6)]
    with LiveLine() as line:
        for row in rows:
            line.step("rl", {**row, "steps": 6})
    said = capsys.readouterr().err
    assert said.count("far away") == 1 and "warning, rl step 4: far away 3" in said
    assert warned(rows) == [(4, 6, "far away 5")]
