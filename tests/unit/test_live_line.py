"""The line that a training command writes for each step."""

from __future__ import annotations

import pytest

from vrag.cli.live import LiveLine


def test_time_left_is_told_once_a_step_has_been_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([100.0, 130.0, 160.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with LiveLine() as line:
        for step in range(3):
            line.step("rl", {"step": step, "steps": 5, "reward": 0.5})
    assert capsys.readouterr().err.splitlines() == [
        "rl 1/5  reward 0.500",
        "rl 2/5  reward 0.500  ETA 1:30",
        "rl 3/5  reward 0.500  ETA 1:00",
    ]


def test_a_run_that_goes_on_says_after_which_step(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveLine() as line:
        for step in (2, 3):
            line.step("rl", {"step": step, "steps": 4, "reward": 0.5})
    assert capsys.readouterr().err.splitlines()[:2] == ["rl: goes on after step 2 of 4", "rl 3/4  reward 0.500"]
