"""FAULTS row 2: training that is killed, in the middle of a save too, continues exactly."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vrag.runs import read_lines

SCRIPT = Path(__file__).parent / "train_steps.py"
COMPARED = ("loss", "reward", "entropy", "kl", "gradient_norm", "tokens", "level")
KILLS = [
    "checkpoint.model:2",
    pytest.param("checkpoint.model", marks=pytest.mark.full),
    pytest.param("checkpoint.before_rename", marks=pytest.mark.full),
    pytest.param("checkpoint.before_rename:3", marks=pytest.mark.full),
]


def train(stage: str, out: Path, kill_at: str = "") -> int:
    environment = {**os.environ, "VRAG_KILL_AT": kill_at}
    return subprocess.run([sys.executable, str(SCRIPT), stage, str(out)], env=environment, check=False).returncode


@pytest.fixture(scope="module", params=["pretrain", "sft", "sft-lora", "rl"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict]]:
    if request.param == "sft-lora":
        pytest.importorskip("peft")
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(request.param, out) == 0
    return request.param, read_lines(out / "metrics.jsonl")


def assert_equal(found: list[dict], expected: list[dict]) -> None:
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for a, b in zip(found, expected, strict=True):
        for key in COMPARED:
            if key in b:
                assert a[key] == pytest.approx(b[key], abs=1e-6), f"step {a['step']}: {key}"


@pytest.mark.parametrize("point", KILLS)
def test_a_run_killed_while_saving_equals_the_whole_one(
    whole: tuple[str, list[dict]], point: str, tmp_path: Path
) -> None:
    stage, expected = whole
    out = tmp_path / "run"
    assert train(stage, out, point) == -signal.SIGKILL
    assert train(stage, out) == 0
    assert_equal(read_lines(out / "metrics.jsonl"), expected)


def test_a_run_killed_at_any_moment_equals_the_whole_one(
    whole: tuple[str, list[dict]], tmp_path: Path, full: bool
) -> None:
    stage, expected = whole
    out, rng = tmp_path / "run", random.Random(0)
    for _ in range(50 if full else 1):
        process = subprocess.Popen([sys.executable, str(SCRIPT), stage, str(out)])
        time.sleep(rng.uniform(3.0, 12.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert train(stage, out) == 0
    assert_equal(read_lines(out / "metrics.jsonl"), expected)


def test_a_checkpoint_without_its_last_file_is_not_taken(tmp_path: Path) -> None:
    from vrag.training.checkpoint import newest

    for name, complete in (("step-000002", True), ("step-000004", False)):
        (tmp_path / name).mkdir()
        if complete:
            (tmp_path / name / "state.json").write_text(json.dumps({"step": 2}))
    found = newest(tmp_path)
    assert found is not None and found.name == "step-000002"
