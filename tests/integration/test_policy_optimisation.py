"""Each algorithm trains a random tiny model over real rollouts, and continues exactly after it was stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny import NoisyWorld, Tiny, make_tiny
from vrag.episode import Episode, Reward, Tokens
from vrag.errors import InfrastructureError
from vrag.runs import read_config, read_lines
from vrag.training.algorithm import PRESETS, AlgorithmConfig
from vrag.training.learner import Learner
from vrag.training.lora import PolicyLora
from vrag.training.optimizer import OptimizerConfig
from vrag.training.rl import GRPO
from vrag.training.rl_config import RLConfig
from vrag.training.run import CheckpointConfig
from vrag.types import StopReason, Task

TASKS = [Task(id=str(i), question="?") for i in range(6)]
FLAT = {"0", "3", "5"}
BASE = RLConfig(
    steps=2,
    groups=2,
    group_size=3,
    updates=2,
    limits_tokens=400,
    limits_turn_tokens=10,
    optimizer=OptimizerConfig(lr=1e-3),
    checkpoints=CheckpointConfig(every=1),
)

Score = Callable[[Episode], Reward | None]


class Stopped(Exception):
    pass


def by_tokens(episode: Episode) -> Reward:
    """Some function of what was sampled, so that groups have variance."""
    assert episode.tokens is not None
    total = sum(episode.tokens.response_ids) % 7 / 7
    return Reward(total=total, parts={"answer": total})


def flat_for_some(episode: Episode) -> Reward:
    return Reward(total=0.5, parts={"answer": 0.5}) if episode.task.id in FLAT else by_tokens(episode)


def trainer_of(config: RLConfig, score: Score = by_tokens) -> tuple[Tiny, GRPO]:
    tiny = make_tiny("qwen2_5_vl")
    return tiny, GRPO(tiny.model, tiny.codec, lambda: NoisyWorld(tiny.factor), score, config)


def weights(tiny: Tiny) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in tiny.model.state_dict().items()}


def rows(out: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if "second" not in k} for row in read_lines(out / "metrics.jsonl")]


def stop(metrics: dict[str, Any]) -> None:
    raise Stopped


@pytest.mark.parametrize("name", PRESETS)
def test_each_algorithm_learns_and_a_stopped_run_equals_the_whole_one(name: str, tmp_path: Path) -> None:
    config = BASE.model_copy(update={"algorithm": AlgorithmConfig(name=name)})  # type: ignore[arg-type]
    tiny, trainer = trainer_of(config, flat_for_some)
    before = weights(tiny)
    trainer.train(TASKS, tmp_path / "whole")
    whole = weights(tiny)
    assert any(not torch.equal(before[key], whole[key]) for key in whole)
    for row in rows(tmp_path / "whole"):
        assert all(np.isfinite(value) for value in row.values())
        assert row["gradient_norm"] > 0 and row["logprob_drift"] < 1e-5
    assert read_config(tmp_path / "whole")["algorithm"] == {"name": name, **PRESETS[name].model_dump()}  # type: ignore[index]

    with pytest.raises(Stopped):
        trainer_of(config, flat_for_some)[1].train(TASKS, tmp_path / "stopped", stop)
    tiny, trainer = trainer_of(config, flat_for_some)
    trainer.train(TASKS, tmp_path / "stopped")
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    assert all(torch.equal(whole[key], value) for key, value in weights(tiny).items())


def test_dynamic_sampling_replaces_flat_groups_and_counts_what_it_drew(tmp_path: Path) -> None:
    config = BASE.model_copy(update={"algorithm": AlgorithmConfig(extra_rounds=4, kl=0.0), "groups": 4, "steps": 1})
    seen: list[Episode] = []
    _, trainer = trainer_of(config, flat_for_some)
    trainer.train(TASKS, tmp_path / "run", on_episodes=lambda step, episodes: seen.extend(episodes))
    row = rows(tmp_path / "run")[0]
    groups = [seen[i].task.id for i in range(0, len(seen), 3)]
    flat = sum(task in FLAT for task in groups)
    assert row["groups_drawn"] == len(groups) > 4 and row["episodes"] == len(seen)
    assert row["groups_kept"] == len(groups) - flat == 4
    assert row["groups_zero_variance"] == pytest.approx(flat / len(groups))
    assert row["rollout_rounds"] > 1
    assert len(set(groups[:6])) == 6, "no task comes twice before each has come once"
    assert [e.sample for e in seen] == list(range(len(seen))), "a task drawn again gets other samples"


def test_one_failure_in_a_small_extra_round_does_not_end_the_run() -> None:
    _, trainer = trainer_of(BASE)
    scored = trainer.roll_out(TASKS[:5], 0)
    fails = iter([None, *[Reward(total=0.0, parts={})] * 5])
    trainer.score = lambda _: next(fails)
    assert trainer.roll_out(TASKS[:1], 0, scored)[0].reward is None, "1 of 18, not 1 of 3"
    with pytest.raises(InfrastructureError, match="3 of 3"):
        trainer.score = lambda _: None
        trainer.roll_out(TASKS[:1], 0)


def test_recomputed_log_probabilities_forgive_what_the_rollout_said_and_report_the_drift() -> None:
    """As when the rollout's engine rounds otherwise: its log-probabilities are all off by 0.1."""
    found: dict[str, tuple[dict[str, float], dict[str, torch.Tensor]]] = {}
    for mode, shift in (("recompute", 0.0), ("recompute", 0.1), ("rollout", 0.0), ("rollout", 0.1)):
        config = BASE.model_copy(update={"old_logprobs": mode, "updates": 1})
        tiny, trainer = trainer_of(config)
        episodes = trainer.roll_out(TASKS[:2], 0)
        for tokens in (e.tokens for e in episodes if e.tokens):
            tokens.logprobs = [lp - shift * m for lp, m in zip(tokens.logprobs, tokens.loss_mask, strict=True)]
        found[f"{mode} {shift}"] = trainer.learner.update(episodes, 0), weights(tiny)
    plain, shifted = found["recompute 0.0"], found["recompute 0.1"]
    assert plain[0]["logprob_drift"] < 1e-5 and shifted[0]["logprob_drift"] == pytest.approx(0.1, abs=1e-4)
    assert shifted[0]["logprob_change"] < 1e-5, "before the first update nothing has moved"
    assert all(torch.equal(value, shifted[1][key]) for key, value in plain[1].items())
    assert found["rollout 0.1"][0]["logprob_drift"] == pytest.approx(0.1, abs=1e-4)
    assert found["rollout 0.0"][0]["gradient_norm"] == pytest.approx(plain[0]["gradient_norm"], rel=1e-4)
    assert found["rollout 0.1"][0]["gradient_norm"] != pytest.approx(plain[0]["gradient_norm"], rel=1e-2)


def test_auto_recomputes_for_several_updates_and_for_weights_that_round() -> None:
    assert trainer_of(BASE)[1].learner.recomputes
    tiny, trainer = trainer_of(BASE.model_copy(update={"updates": 1}))
    assert not trainer.learner.recomputes
    tiny.model.to(torch.bfloat16)
    assert trainer.learner.recomputes


def test_the_token_mean_is_taken_over_all_tokens_also_of_episodes_without_advantage() -> None:
    algorithm = AlgorithmConfig(aggregate="token", normalize=False, kl=0.0)
    _, trainer = trainer_of(BASE.model_copy(update={"algorithm": algorithm, "updates": 1}))
    episodes = trainer.roll_out(TASKS[:1], 0)
    rewards = [0.0, 0.5, 1.0]
    for episode, total in zip(episodes, rewards, strict=True):
        episode.reward = Reward(total=total, parts={})
    lengths = [sum(e.tokens.loss_mask) for e in episodes if e.tokens]
    expected = -sum(n * (r - 0.5) for n, r in zip(lengths, rewards, strict=True)) / sum(lengths)
    assert trainer.learner.update(episodes, 0)["loss"] == pytest.approx(expected, abs=1e-5)


def test_a_long_episode_loses_reward_and_the_metrics_say_how_much(tmp_path: Path) -> None:
    algorithm = AlgorithmConfig(overlong_zone=0.9, overlong_penalty=0.5)
    config = BASE.model_copy(update={"algorithm": algorithm, "steps": 1, "limits_tokens": 250})
    seen: list[Episode] = []
    _, trainer = trainer_of(config)
    trainer.train(TASKS, tmp_path / "run", on_episodes=lambda step, episodes: seen.extend(episodes))
    parts = [e.reward.parts["overlong"] for e in seen if e.reward]
    assert min(parts) < max(parts) <= 0
    assert rows(tmp_path / "run")[0]["reward/overlong"] == pytest.approx(np.mean(parts))
    for episode in seen:
        assert episode.reward is not None
        assert episode.reward.total == pytest.approx(
            episode.reward.parts["answer"] + 0.5 * episode.reward.parts["overlong"]
        )
    cut = replace(seen[0], stop=StopReason.LENGTH)
    trainer.reward([cut], step=0)
    assert cut.reward is not None and cut.reward.parts["overlong"] == -1.0


def test_an_episode_without_room_to_speak_makes_no_metric_undefined() -> None:
    tiny = make_tiny("qwen3_vl")

    def made(length: int, reward: float, said: str) -> Episode:
        tokens = Tokens(prompt_ids=tiny.codec.encode_text("what? " * length))
        ids = tiny.codec.encode_sampled(said) if said else []
        tokens.add_sampled(ids, [-6.0] * len(ids))
        scored = Reward(total=reward, parts={})
        return Episode(TASKS[0], [], StopReason.LENGTH, None, tokens, reward=scored)

    learner = Learner(tiny.model, tiny.codec, RLConfig(groups=1, group_size=2, max_tokens=50))
    metrics = learner.update([made(100, 0.0, ""), made(3, 1.0, "<answer>find</answer>")], 0)
    assert all(np.isfinite(value) for value in metrics.values())


def test_a_step_without_any_useful_group_leaves_the_model_as_it_is(tmp_path: Path) -> None:
    algorithm = AlgorithmConfig(name="dapo", extra_rounds=1, overlong_zone=0.0)
    config = BASE.model_copy(update={"algorithm": algorithm, "steps": 1})
    tiny, trainer = trainer_of(config, lambda _: Reward(total=0.5, parts={}))
    before = weights(tiny)
    trainer.train(TASKS, tmp_path / "run")
    row = rows(tmp_path / "run")[0]
    assert (row["groups_drawn"], row["groups_kept"], row["groups_zero_variance"]) == (4, 0, 1.0)
    assert "loss" not in row
    assert all(torch.equal(before[key], value) for key, value in weights(tiny).items())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21 with transformers 5.24
@pytest.mark.parametrize("kl", [0.0, 0.1])
def test_adapters_alone_learn_and_continue_exactly(kl: float, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    adapters = {"lora": PolicyLora(rank=4), "freeze_vision": True}
    config = BASE.model_copy(update=adapters | {"algorithm": AlgorithmConfig(kl=kl), "steps": 3, "updates": 1})
    before = weights(make_tiny("qwen2_5_vl"))
    tiny, trainer = trainer_of(config)
    trainer.train(TASKS, tmp_path / "whole")
    whole = weights(tiny)
    changed = {key.split(".")[-2] for key in before if not torch.equal(before[key], whole[key])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    found = rows(tmp_path / "whole")
    assert all(row["logprob_drift"] < 1e-5 for row in found), "what is sampled from has the adapters in it"
    assert found[0]["kl"] == pytest.approx(0, abs=1e-6) and (found[-1]["kl"] > 1e-7) == (kl > 0)

    with pytest.raises(Stopped):
        trainer_of(config)[1].train(TASKS, tmp_path / "stopped", stop)
    tiny, trainer = trainer_of(config)
    trainer.train(TASKS, tmp_path / "stopped")
    assert rows(tmp_path / "stopped") == found
    assert all(torch.equal(whole[key], value) for key, value in weights(tiny).items())
