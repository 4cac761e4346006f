"""docs/metrics.md names what runs write, all of it and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tiny import NoisyWorld, make_tiny, roll_out
from vrag.episode import Episode, Judgement, Reward
from vrag.runs import read_lines
from vrag.training.alarms import AlarmConfig, alarms
from vrag.training.algorithm import AlgorithmConfig
from vrag.training.rl import GRPO
from vrag.training.rl_config import RLConfig
from vrag.training.run import CheckpointConfig
from vrag.training.samples import read_samples
from vrag.training.sft import SFTConfig, sft
from vrag.types import Answer, Task

DOC = Path(__file__).parents[2] / "docs" / "metrics.md"
GLANCES = {"looked", "echoed"}  # of SFT with guidance, which needs pages with gold boxes: see test_sft_glances


def documented(heading: str) -> list[str]:
    """The names in the first column of the table under `heading`."""
    section = DOC.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def assert_documented(written: set[str], heading: str) -> None:
    names = documented(heading)
    assert names and len(set(names)) == len(names)
    patterns = {name: re.compile(re.escape(name).replace("…", ".+")) for name in names}
    assert {name for name in written if not any(p.fullmatch(name) for p in patterns.values())} == set()
    assert {name for name, p in patterns.items() if not any(p.fullmatch(one) for one in written)} == set()


def score(episode: Episode) -> Reward:
    assert episode.tokens is not None
    episode.judgement = Judgement(right=True, by="model", calls=1)
    total = sum(episode.tokens.response_ids) % 7 / 7
    return Reward(total=total, parts={"answer": total})


def train(out: Path, **settings: object) -> list[dict]:
    tiny = make_tiny("qwen2_5_vl")
    config = RLConfig(
        steps=2, groups=2, group_size=3, limits_tokens=400, limits_turn_tokens=10,
        checkpoints=CheckpointConfig(every=1), **settings,  # type: ignore[arg-type]
    )  # fmt: skip
    tasks = [Task(id=str(i), question="?") for i in range(5)]
    GRPO(tiny.model, tiny.codec, lambda: NoisyWorld(tiny.factor), score, config).train(tasks, out)
    return read_lines(out / "metrics.jsonl")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Of a run with every kind of metric: several updates, a judge, a warning."""
    alarm = AlarmConfig(window=1, flat_groups=0.0)
    return train(tmp_path_factory.mktemp("rl") / "run", updates=2, alarms=alarm)


def test_every_metric_of_rl_is_documented_and_every_documented_one_is_written(rows: list[dict]) -> None:
    assert_documented({name for row in rows for name in row}, "RL, by step")


def test_every_metric_of_sft_is_documented(tmp_path: Path) -> None:
    tiny = make_tiny("qwen2_5_vl")
    episodes = roll_out(tiny, ["1", "2"])
    for episode in episodes:
        episode.turns = [turn.model_copy(update={"action": Answer(text="a")}) for turn in episode.turns]
    sft(tiny.model, tiny.codec, episodes, SFTConfig(epochs=1, batch=2, precision="fp32"), tmp_path / "run")
    written = {name for row in read_lines(tmp_path / "run" / "metrics.jsonl") for name in row}
    assert_documented(written | GLANCES, "SFT, by step")


def test_every_cause_of_a_warning_is_documented() -> None:
    source = (DOC.parents[1] / "src/vrag/training/alarms.py").read_text(encoding="utf-8")
    causes = set(re.findall(r'yield \(?\s*"([a-z_]+)"', source))
    assert causes == set(documented("Warnings")) and len(causes) == 7


def test_the_parts_add_up(rows: list[dict]) -> None:
    for row in rows:
        assert sum(row[name] for name in row if name.startswith("stop/")) == pytest.approx(1)
        assert row["length"] * row["episodes"] == pytest.approx(row["tokens"])
        assert row["sampled_length"] * row["episodes"] == pytest.approx(row["sampled_tokens"])
        assert row["sampled_length"] <= row["sampled_length_max"] <= row["length_max"]
        assert row["rollout_tokens_per_second"] == pytest.approx(row["sampled_tokens"] / row["rollout_seconds"])
        assert row["update_tokens_per_second"] == pytest.approx(row["trained_tokens"] / row["update_seconds"])
        assert 0 < row["distinct_tokens"] <= row["trained_tokens"] <= row["tokens"]
    assert rows[0]["saving_seconds"] == 0 < rows[1]["saving_seconds"]


def test_samples_and_warnings_are_written_and_are_no_part_of_what_a_run_must_agree_in(tmp_path: Path) -> None:
    alarm = AlarmConfig(window=1, flat_groups=0.0)
    first = train(tmp_path / "run", alarms=alarm, algorithm=AlgorithmConfig(kl=0.0))
    assert {kept.step for kept in read_samples(tmp_path / "run")} == {0, 1}
    assert "flat_groups" in first[0]["warnings"] and alarms(first, alarm).keys() == first[1]["warnings"].keys()
    assert train(tmp_path / "run", algorithm=AlgorithmConfig(kl=0.0)) == first  # other alarms: the same run
