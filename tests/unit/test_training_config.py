"""Settings of training that would lose, undo or never end it are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from vrag.training.rl_config import RLConfig
from vrag.training.sft import SFTConfig


@pytest.mark.parametrize("config", [RLConfig, SFTConfig])
@pytest.mark.parametrize(
    "setting",
    [
        {"checkpoints": {"keep": 0}},
        {"checkpoints": {"every": 0}},
        {"optimizer": {"lr": -1}},
        {"optimizer": {"lr": float("nan")}},
        {"optimizer": {"beta2": 1}},
        {"optimizer": {"max_grad_norm": 0}},
        {"optimizer": {"max_grad_norm": -1}},
        {"optimizer": {"warmup": 2}},
        {"max_tokens": 0},
    ],
)
def test_no_training_has_these(config: type[RLConfig] | type[SFTConfig], setting: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"(greater|less) than|finite number"):
        config.model_validate(setting)


@pytest.mark.parametrize(
    "setting", [{"steps": -1}, {"groups": 0}, {"max_batch": 0}, {"temperature": -1}, {"temperature": float("nan")}]
)
def test_nor_has_reinforcement_learning(setting: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RLConfig.model_validate(setting)


@pytest.mark.parametrize(
    "setting", [{"epochs": float("nan")}, {"epochs": 0}, {"batch": 0}, {"turn_weights": {"bbox": -1}}]
)
def test_nor_has_imitation(setting: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SFTConfig.model_validate(setting)
