"""GRPO scores whole groups by a rubric: with progress, masked samples, and a step that aborts for too many of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.chats import FALSE, TRUE, chat_server, fails, says
from tests.papers import write_pdf
from tests.tiny import NoisyWorld, Tiny, make_tiny, spec_of
from vrag.actions import STOP_TAGS, stop_tags
from vrag.cli import main
from vrag.data.tasks import write_tasks
from vrag.environment import EnvironmentConfig
from vrag.episode import Episode, Judgement
from vrag.errors import InfrastructureError
from vrag.policies.load import save_policy
from vrag.rewards.rubric import GroupScore, Rubric, Term, Value, per_episode
from vrag.rewards.weights import Linear
from vrag.runs import read_lines
from vrag.scene import Scene
from vrag.training.advantages import advantages_of
from vrag.training.algorithm import AlgorithmConfig
from vrag.training.rl import GRPO
from vrag.training.rl_config import RLConfig
from vrag.training.rollout_metrics import describe
from vrag.types import Observation, Task

TASKS = [Task(id="1", question="?"), Task(id="2", question="?", source="other")]


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return make_tiny("qwen2_5_vl")


def roll_out(tiny: Tiny, rubric: Rubric, step: int = 0) -> list[Episode]:
    config = RLConfig(steps=3, group_size=5, algorithm=AlgorithmConfig(kl=0.0), limits_tokens=300, limits_turn_tokens=4)
    return GRPO(tiny.model, tiny.codec, lambda: NoisyWorld(tiny.factor), rubric, config).roll_out(TASKS, step)


def say(failed: int) -> GroupScore:
    """One for all of a group but those of the second task whose place is less than `failed`."""

    def score(group: Sequence[Episode]) -> list[Value]:
        fails = group[0].task.id == "2"
        for episode in group:
            episode.judgement = Judgement(right=True, by="model", calls=2, prompt_tokens=10)
        return [InfrastructureError("judge: no verdict") if fails and i < failed else 1.0 for i in range(len(group))]

    return score


def test_a_turn_in_training_ends_at_the_tags_that_are_given(tiny: Tiny) -> None:
    config, tags = RLConfig(algorithm=AlgorithmConfig(kl=0.0)), stop_tags("find")
    trainer = GRPO(tiny.model, tiny.codec, lambda: NoisyWorld(tiny.factor), Rubric([]), config, tags)
    assert trainer.policy.stop_tags == tags != STOP_TAGS


def test_terms_see_their_group_and_weigh_by_the_progress_of_training(tiny: Tiny) -> None:
    rubric = Rubric([Term("place", lambda group: [float(i) for i in range(len(group))], Linear(start=0, end=1))])
    for step, progress in ((0, 0.0), (1, 0.5), (2, 1.0)):
        totals = [e.reward.total for e in roll_out(tiny, rubric, step) if e.reward]
        assert totals == [place * progress for place in range(5)] * 2


def test_what_was_not_said_is_masked_and_never_zero(tiny: Tiny) -> None:
    only_first = per_episode("first", lambda episode: 0.5, applies=lambda task: task.id == "1")
    episodes = roll_out(tiny, Rubric([Term("answer", say(failed=1)), only_first]))
    assert [e.reward is None for e in episodes] == [False] * 5 + [True] + [False] * 4
    advantages, _ = advantages_of(episodes, 5)
    assert advantages[5] is None and None not in advantages[6:]
    metrics = describe(episodes)
    assert (metrics["unscored"], metrics["reward/answer"], metrics["reward/first"]) == (1.0, 1.0, 0.5)
    assert (metrics["judge/asked"], metrics["judge/calls"], metrics["judge/prompt_tokens"]) == (10, 20, 100)


def test_a_step_with_too_many_unscored_samples_aborts_and_says_why(tiny: Tiny) -> None:
    with pytest.raises(InfrastructureError, match=r"2 of 10 episodes have no reward .*answer: judge: no verdict"):
        roll_out(tiny, Rubric([Term("answer", say(failed=2))]))


def test_a_batch_in_which_nothing_could_be_said_makes_no_update(tiny: Tiny, tmp_path: Path) -> None:
    """The prompt alone is over the limit; with a KL penalty every episode would count."""
    config = RLConfig(steps=1, groups=2, group_size=2, limits_tokens=20, limits_turn_tokens=4)
    rubric = Rubric([per_episode("answer", lambda episode: 0.0)])
    GRPO(tiny.model, tiny.codec, lambda: NoisyWorld(tiny.factor), rubric, config).train(TASKS, tmp_path / "run")
    [row] = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert (row["stop/length"], row["sampled_tokens"]) == (1, 0) and "loss" not in row


# ------------------------------------------------------------------------------------ vrag train rl


@pytest.fixture
def command(tiny: Tiny, tmp_path: Path) -> list[str]:
    """One step on a corpus of one page."""
    write_pdf(tmp_path / "docs/amber.pdf", ["The amber harbour opened in 1984"])
    assert main(["index", str(tmp_path / "docs"), "-c", "mine", "--workers", "1", "--ocr", "off"]) == 0
    write_tasks(tmp_path / "tasks.jsonl", [Task(id="a", question="When did the harbour open?", answers=["1984"])])
    save_policy(tmp_path / "model", tiny.model, tiny.codec, EnvironmentConfig(view=spec_of(tiny)))
    small = ["steps=1", "groups=1", "group_size=2", "limits_tokens=600", "limits_turn_tokens=6", "algorithm.kl=0"]
    sets = [part for setting in small for part in ("--set", setting)]
    paths = ["--tasks", str(tmp_path / "tasks.jsonl"), "--model", str(tmp_path / "model")]
    return ["train", "rl", "--corpus", "mine", *paths, "--out", str(tmp_path / "run"), *sets]


def test_training_asks_the_judge_first_and_keeps_which_one_it_was(command: list[str], tmp_path: Path) -> None:
    for _ in range(2):  # the rerun finds the judge at another place
        with chat_server(says(TRUE), says(FALSE)) as server:
            assert main([*command, "--judge", server.url, "--judge-model", "m", "--set", "rewards.pattern=0"]) == 0
            assert len(server.asked) == 2
    config = json.loads((tmp_path / "run" / "run.json").read_text())
    assert config["judge"]["model"] == "m" and config["rewards"]["pattern"] == 0 and "url" not in config["judge"]
    rows = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert [(row["step"], row["judge/by_rules"], row["judge/asked"]) for row in rows] == [(0, 2, 0)]


def test_a_judge_that_refuses_is_said_before_anything_is_done(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_server(fails(401)) as server:
        assert main([*command, "--judge", server.url, "--judge-model", "m"]) == 1
    assert "VRAG_JUDGE_KEY" in capsys.readouterr().err and not (tmp_path / "run").exists()


OWN = per_episode("own", lambda episode: 1.5, weight=0.1)


def test_training_takes_a_term_by_its_name_and_keeps_which_one_it_was(command: list[str], tmp_path: Path) -> None:
    named = f"{__name__}:OWN"
    assert main([*command, "--set", f'rewards.terms=["{named}"]']) == 0
    [row] = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert row["reward/own"] == 1.5
    assert json.loads((tmp_path / "run" / "run.json").read_text())["rewards"]["terms"] == [named]
    assert main([*command, "--set", 'rewards.terms=["gone:term"]']) == 2


class Peek:
    name = "peek"
    about = "With <peek></peek> you see nothing."

    async def observe(self, content: str, scene: Scene) -> Observation:
        return Observation(kind="message", text="nothing")


def test_training_takes_an_action_by_its_name_teaches_it_and_ends_turns_at_its_tag(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[GRPO] = []
    train = GRPO.train
    monkeypatch.setattr(GRPO, "train", lambda self, *args: (made.append(self), train(self, *args))[1])
    named = f"{__name__}:Peek"
    assert main([*command, "--set", f'actions=["{named}"]']) == 0
    assert made[0].policy.stop_tags[-1] == "</peek>"
    opening = made[0].make_environment().reset(Task(id="a", question="What?", answers=[]))
    assert Peek.about in str(opening)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["actions"] == [named]
    assert main(command) == 2, "a run without it is another"
    assert "actions" in capsys.readouterr().err
    assert main([*command, "--set", f'actions=["{__name__}:OWN"]']) == 2
    assert "has no about and no observe" in capsys.readouterr().err
