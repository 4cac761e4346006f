"""`benchmarks/training_engine` measures what it says: both sides of an update make the same gradient."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MEASURE = Path(__file__).parents[2] / "benchmarks" / "training_engine" / "measure.py"
LOAD = {"groups": 1, "group_size": 2, "turns": 2, "tokens": 48, "repeats": 1}


def measured(kind: str, way: str, **more: Any) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, str(MEASURE), json.dumps({"kind": kind, "way": way, **LOAD, **more})],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_an_update_is_measured() -> None:
    ours = measured("update", "vrag", micro_tokens=2048)
    assert ours["tokens"] > 0 and ours["seconds"] > 0 and ours["norm"] > 0


@pytest.mark.full
def test_an_update_by_either_engine_has_the_same_gradient() -> None:
    pytest.importorskip("trl")
    ours, theirs = (measured("update", way, micro_tokens=2048) for way in ("vrag", "TRL"))
    assert ours["tokens"] == theirs["tokens"] > 0
    assert ours["norm"] == pytest.approx(theirs["norm"], rel=5e-2)  # of a random model, which samples what it may not


@pytest.mark.full
@pytest.mark.parametrize("way", ["vrag", "generate"])
def test_a_rollout_is_measured(way: str) -> None:
    rollout = measured("rollout", way)
    assert rollout["tokens"] > 0 and rollout["seconds"] > 0 and rollout["mb"] > 0
