"""Presets, what may differ from them, and which combinations are refused."""

from __future__ import annotations

import pytest

from vrag.config import resolve
from vrag.episode import Episode, Reward, Tokens
from vrag.errors import ConfigError
from vrag.rewards.overlong import overlong_punishment, punish_overlong
from vrag.training.algorithm import PRESETS, TITLES, Algorithm, AlgorithmConfig
from vrag.training.rl_config import RLConfig
from vrag.types import StopReason, Task


def test_a_name_alone_is_its_preset_and_the_default_is_the_papers_grpo() -> None:
    for name, preset in PRESETS.items():
        assert resolve(RLConfig, None, [f"algorithm.name={name}"]).algorithm.settle() == preset
    assert RLConfig().algorithm.settle() == Algorithm(clip_low=0.2, clip_high=0.2, kl=0.01)
    assert set(TITLES) == set(PRESETS)


def test_what_is_set_differs_from_the_preset_and_the_rest_does_not() -> None:
    found = resolve(RLConfig, None, ["algorithm.name=dapo", "algorithm.clip_high=0.3"]).algorithm.settle()
    assert found == PRESETS["dapo"].model_copy(update={"clip_high": 0.3})


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_run_saves_names_every_value_and_reads_back_as_the_same(name: str) -> None:
    config = resolve(RLConfig, None, [f"algorithm.name={name}"])
    saved = config.filled().model_dump(mode="json")
    assert None not in saved["algorithm"].values()
    assert RLConfig.model_validate(saved).algorithm.settle() == config.algorithm.settle()
    assert saved["algorithm"].keys() == {"name", *Algorithm.model_fields} == AlgorithmConfig.model_fields.keys()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["algorithm=dapo"], "algorithm: is a group of settings: write algorithm.name=dapo"),
        (["algorithm.name=ppo"], "algorithm.name"),
        (["algorithm.clip_hihg=0.3"], "did you mean algorithm.clip_high"),
        (["algorithm.ratio=sequence"], "ratio=sequence: set clip_low and clip_high"),
        (["algorithm.name=gspo", "algorithm.ratio=token", "algorithm.clip_low=0.2"], "ratio=token: set clip_low and"),
        (["algorithm.surrogate=cispo"], "surrogate=cispo: set clip_low and clip_high"),
        (["algorithm.overlong_penalty=0.5"], "while overlong_zone is 0"),
        (["algorithm.name=dapo", "algorithm.overlong_zone=0", "algorithm.overlong_penalty=2"], "overlong_zone is 0"),
        (["algorithm.overlong_zone=1"], "algorithm.overlong_zone"),
        (["algorithm.clip_low=1.5"], "algorithm.clip_low"),
        (["algorithm.clip_high=inf"], "algorithm.clip_high"),
        (["algorithm.kl=-0.1"], "algorithm.kl"),
        (["algorithm.extra_rounds=-1"], "algorithm.extra_rounds"),
        (["group_size=1"], "group_size"),
        (["updates=0"], "updates"),
        (["groups=2", "group_size=2", "updates=5"], "^5 updates need as many episodes, a batch has 4"),
        (["old_logprobs=never"], "old_logprobs"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_fix(changes: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        resolve(RLConfig, None, changes)


def test_a_ratio_of_sequences_may_be_had_with_a_clip_range_of_its_own() -> None:
    changes = ["algorithm.ratio=sequence", "algorithm.clip_low=3e-4", "algorithm.clip_high=4e-4"]
    assert resolve(RLConfig, None, changes).algorithm.settle().ratio == "sequence"


@pytest.mark.parametrize(("length", "part"), [(0, 0.0), (16_384, 0.0), (18_432, -0.5), (20_480, -1.0), (30_000, -1.0)])
def test_over_long_punishment_grows_through_the_zone_before_the_limit(length: int, part: float) -> None:
    """The numbers of DAPO's paper: 20,480 tokens, the last 4,096 of them as the zone."""
    assert overlong_punishment(length, 20_480, 0.2) == pytest.approx(part)


@pytest.mark.parametrize(("stop", "part"), [(StopReason.ANSWER, -0.5), (StopReason.LENGTH, -1.0)])
def test_an_episode_that_the_limit_ended_has_the_whole_punishment(stop: StopReason, part: float) -> None:
    tokens = Tokens(prompt_ids=[1] * 50, response_ids=[1] * 40)
    episode = Episode(Task(id="t", question="?"), [], stop, None, tokens)
    found = punish_overlong(Reward(total=0.7, parts={"answer": 1.0}), episode, limit=100, zone=0.2, penalty=0.6)
    assert found.total == pytest.approx(0.7 + 0.6 * part)
    assert found.parts == {"answer": 1.0, "overlong": pytest.approx(part)}
