"""Fault table, row 3: an evaluation killed anywhere owes only what it hadn't written, and ends the same."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("evaluate_chance.py")
EPISODES = 40


def run(path: Path, kill_at: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VRAG_KILL_AT": kill_at}
    command = [sys.executable, str(SCRIPT), str(path)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    finished = run(tmp_path_factory.mktemp("whole") / "run")
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture
def kills(full: bool) -> list[int]:
    return list(range(1, EPISODES + 1)) if full else [1, 13, 40]


def test_a_killed_evaluation_continues_to_the_same_numbers(
    tmp_path: Path, uninterrupted: str, kills: list[int]
) -> None:
    for count in kills:
        path = tmp_path / str(count)
        killed = run(path, kill_at=f"evaluation.recorded:{count}")
        assert killed.returncode == -signal.SIGKILL
        log = path / "episodes.jsonl"
        before = log.read_bytes()
        assert before.count(b"\n") == count

        resumed = run(path)
        assert resumed.returncode == 0, resumed.stderr
        assert resumed.stdout == uninterrupted
        after = log.read_bytes()
        assert after.startswith(before), "what was written is kept"
        assert after.count(b"\n") == EPISODES, "and only what was owed is added"


def test_a_torn_last_line_is_owed_and_nothing_else(tmp_path: Path, uninterrupted: str, full: bool) -> None:
    assert run(tmp_path / "run").returncode == 0
    log = tmp_path / "run" / "episodes.jsonl"
    whole = log.read_bytes()
    last_line = whole[:-1].rfind(b"\n") + 1
    cuts = range(last_line, len(whole), 40 if full else 900)
    for cut in cuts:
        log.write_bytes(whole[:cut])
        resumed = run(tmp_path / "run")
        assert resumed.returncode == 0, resumed.stderr
        assert resumed.stdout == uninterrupted
        assert log.read_bytes()[:last_line] == whole[:last_line]
        assert log.read_bytes().count(b"\n") == EPISODES
