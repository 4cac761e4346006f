"""Trackers show what metrics.jsonl holds: one run over all restarts, and never in the way of training."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vrag.errors import UsageError
from vrag.runs import RunDir
from vrag.training.tracking import TrackedRun, Tracking, numbers


class Recorder:
    """A tracker that keeps what it gets; fails at the step `fails_at`."""

    def __init__(self, run: TrackedRun, fails_at: int | None) -> None:
        self.run, self.fails_at, self.closed = run, fails_at, False
        self.steps: dict[int, Mapping[str, float]] = {}

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if step == self.fails_at:
            raise OSError("the server is gone")
        self.steps[step] = metrics

    def close(self) -> None:
        self.closed = True


def train(
    out: Path, steps: range, tracker: str = "fake:mine", fails_at: int | None = None
) -> tuple[list[Recorder], list[str]]:
    """Steps of a pretended run under a tracker; those before it are in the log already."""
    opened: list[Recorder] = []
    said: list[str] = []

    def opener(run: TrackedRun) -> Recorder:
        opened.append(Recorder(run, fails_at))
        return opened[-1]

    log = RunDir.open(out, {"lr": 0.1}).metrics
    with Tracking(tracker, out, said.append, {"fake": opener} if tracker.startswith("fake") else None) as tracking:
        for step in steps:
            log.append({"step": step, "loss": 1 / (1 + step)})
            tracking({"step": step, "steps": 9, "loss": 1 / (1 + step)})
    return opened, said


def test_a_tracker_gets_every_number_of_every_step(tmp_path: Path) -> None:
    [tracker], said = train(tmp_path / "run", range(3))
    assert tracker.steps == {0: {"loss": 1.0}, 1: {"loss": 0.5}, 2: {"loss": 1 / 3}} and tracker.closed and not said
    run = tracker.run
    assert (run.project, run.config, run.first) == ("mine", {"lr": 0.1}, 0) and run.name.startswith("run-")
    assert numbers({"step": 1, "steps": 2, "a": 1, "warnings": {"kl": "far"}}) == {"a": 1.0}


def test_a_resumed_run_is_the_same_tracked_run(tmp_path: Path) -> None:
    [first], _ = train(tmp_path / "run", range(3))
    [second], _ = train(tmp_path / "run", range(3, 5))
    assert second.run.id == first.run.id and second.run.first == 3 and list(second.steps) == [3, 4]
    [other], _ = train(tmp_path / "other", range(1))
    assert other.run.id != first.run.id


def test_a_run_that_was_not_tracked_before_is_caught_up_on(tmp_path: Path) -> None:
    log = RunDir.open(tmp_path / "run", {"lr": 0.1}).metrics
    for step in range(3):
        log.append({"step": step, "loss": 0.0})
    [tracker], _ = train(tmp_path / "run", range(3, 5))
    assert list(tracker.steps) == [0, 1, 2, 3, 4]


def test_a_tracker_that_fails_is_named_once_and_training_goes_on(tmp_path: Path) -> None:
    [tracker], said = train(tmp_path / "run", range(6), fails_at=2)
    assert list(tracker.steps) == [0, 1]
    assert len(said) == 1 and "tracking by fake failed (OSError: the server is gone)" in said[0]


def test_an_unknown_tracker_and_a_missing_package_name_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no tracker 'mlflow': give one of tensorboard, trackio, wandb"):
        Tracking("mlflow", tmp_path, print)
    for name, module in (("trackio", "trackio"), ("wandb", "wandb"), ("tensorboard", "torch.utils.tensorboard")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(UsageError, match=rf"pip install 'vrag\[{name}\]'"):
            Tracking(name, tmp_path, print)


def test_no_tracker_is_imported_unless_it_is_asked_for() -> None:
    code = (
        "import sys, vrag.training.tracking, vrag.cli.train; print({'tensorboard','trackio','wandb'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


# ---------------------------------------------------------------------------------------- the real ones


def test_tensorboard_shows_each_step_once_after_a_kill(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(tmp_path / "run", range(4), "tensorboard")
    RunDir.open(tmp_path / "run", {"lr": 0.1}).metrics.keep(lambda row: row["step"] < 2)  # as resuming does
    train(tmp_path / "run", range(2, 5), "tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    read = [(event.step, event.value) for event in events.Scalars("loss")]
    assert read == [(step, pytest.approx(1 / (1 + step))) for step in range(5)]


def in_a_process(code: str, **environment: str) -> str:
    """A tracker's threads and services end with their process. Connections to elsewhere fail."""
    guard = """
import socket, sys
def refuse(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "localhost"):
        raise AssertionError(f"a connection to {address}")
    return connect(self, address)
connect, socket.socket.connect = socket.socket.connect, refuse
from pathlib import Path
from tests.unit.test_tracking import train
"""
    done = subprocess.run(
        [sys.executable, "-c", guard + code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stderr
    return done.stdout


def test_trackio_keeps_one_run_on_this_machine(tmp_path: Path) -> None:
    if importlib.util.find_spec("trackio") is None:
        pytest.skip("trackio isn't installed")
    home = tmp_path / "home"
    out = in_a_process(
        f"""
for steps in (range(3), range(3, 5)):
    opened, said = train(Path({str(tmp_path / "run")!r}), steps, "trackio:mine")
    assert not said, said
from trackio.sqlite_storage import SQLiteStorage
[run] = SQLiteStorage.get_runs("mine")
print([(row["step"], row["loss"]) for row in SQLiteStorage.get_logs("mine", run)])
""",
        TRACKIO_DIR=str(home),
    )
    assert out.strip() == str([(step, 1 / (1 + step)) for step in range(5)])
    assert (home / "mine.db").is_file()


def test_wandb_writes_both_parts_of_a_run_under_one_id(tmp_path: Path) -> None:
    if importlib.util.find_spec("wandb") is None:
        pytest.skip("wandb isn't installed")
    in_a_process(
        f"""
for steps in (range(3), range(3, 5)):
    opened, said = train(Path({str(tmp_path / "run")!r}), steps, "wandb")
    assert not said, said
""",
        WANDB_MODE="offline",
        WANDB_SILENT="true",
    )
    folders = list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    ids = {folder.name.rsplit("-", 1)[1] for folder in folders}
    assert folders and len(ids) == 1
    [identity] = ids
    assert identity in (tmp_path / "run" / "tracking.json").read_text()
    data: Any = b"".join(file.read_bytes() for folder in folders for file in folder.glob("*.wandb"))
    assert b"loss" in data
