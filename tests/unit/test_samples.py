"""Sample episodes of a run: which are kept, within bounds, and over a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vrag.episode import Episode, Reward
from vrag.errors import DataError
from vrag.training.samples import KeptEpisode, SampleConfig, SampleLog, chosen, read_samples
from vrag.types import StopReason, Task, Turn


def batch(*rewards: float | None) -> list[Episode]:
    return [
        Episode(
            task=Task(id=f"t{i}", question="?"),
            turns=[Turn(text="<answer>1</answer>")],
            stop=StopReason.ANSWER if reward is not None else StopReason.ERROR,
            answer="1",
            tokens=None,
            reward=None if reward is None else Reward(total=reward, parts={"answer": reward}),
        )
        for i, reward in enumerate(rewards)
    ]


def run(out: Path, config: SampleConfig, steps: int, start: int = 0, end: int | None = None) -> None:
    log = SampleLog(out, config, 0, start)
    for step in range(start, end or steps):
        keep(log, step, steps)


def keep(log: SampleLog, step: int, steps: int) -> None:
    found = log.choose(step, steps, batch(0.1, 0.9, 0.5, 0.0))
    log.add(step, [KeptEpisode(step=step, why=why, episode=episode.record()) for why, episode in found])


def kept_steps(out: Path) -> list[int]:
    return [kept.step for kept in read_samples(out)]


def picks(*rewards: float | None) -> list[tuple[str, str]]:
    return [(why, episode.task.id) for why, episode in chosen(batch(*rewards), np.random.default_rng(0))]


def test_the_best_the_worst_and_another_are_kept() -> None:
    found = picks(0.1, 0.9, 0.5, 0.0)
    assert found[:2] == [("best", "t1"), ("worst", "t3")] and found[2] in [("random", "t0"), ("random", "t2")]
    assert picks(0.5, 0.5)[:2] == [("best", "t0"), ("worst", "t1")]
    assert picks(0.5) == [("best", "t0")] and picks() == []


def test_what_was_not_scored_is_never_the_worst() -> None:
    assert picks(None, 0.2) == [("best", "t1"), ("random", "t0")]
    assert picks(None) == [("random", "t0")]


def test_the_first_every_nth_and_the_last_step_are_kept(tmp_path: Path) -> None:
    run(tmp_path, SampleConfig(every=4), steps=11)
    assert sorted(set(kept_steps(tmp_path))) == [0, 4, 8, 10] and len(kept_steps(tmp_path)) == 12
    first = read_samples(tmp_path)[0]
    assert (first.why, first.episode.task.id, first.episode.answer) == ("best", "t1", "1")


def test_none_are_kept_when_none_are_wanted(tmp_path: Path) -> None:
    run(tmp_path, SampleConfig(every=0), steps=3)
    assert read_samples(tmp_path) == []


@pytest.mark.parametrize("most", [6, 10, 33])
def test_the_file_stays_within_its_bound_and_spans_the_run(most: int, tmp_path: Path) -> None:
    log = SampleLog(tmp_path, SampleConfig(every=1, most=most), 0, 0)
    for step in range(101):
        keep(log, step, 101)
        assert len(kept_steps(tmp_path)) <= most
    steps = sorted(set(kept_steps(tmp_path)))
    assert (steps[0], steps[-1]) == (0, 100)
    distances = np.diff(steps)[:-1]
    assert len(set(distances.tolist())) <= 1


def test_a_killed_run_keeps_the_same_samples(tmp_path: Path) -> None:
    config = SampleConfig(every=2, most=20)
    run(tmp_path / "whole", config, 30)
    run(tmp_path / "killed", config, 30, end=17)
    with (tmp_path / "killed" / "samples.jsonl").open("ab") as file:
        file.write(b'{"step": 18, "why": "be')  # a torn line
    run(tmp_path / "killed", config, 30, start=10)
    assert read_samples(tmp_path / "killed") == read_samples(tmp_path / "whole")


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(DataError, match=r"samples\.jsonl, line 1"):
        read_samples(tmp_path)
