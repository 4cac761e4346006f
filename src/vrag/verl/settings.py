"""The `vrag` group of a verl configuration: what episodes act in, and what they are rewarded for."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from vrag.config import merged, validated
from vrag.environment import EnvironmentConfig
from vrag.retriever import Way
from vrag.rewards.combine import RewardWeights
from vrag.rewards.judge import JudgeSettings
from vrag.types import Frozen


class VerlSettings(Frozen):
    """`environment` holds what is to differ from the checkpoint's own environment, or else from the paper's.

    Pages are shown from `corpus`, a folder that every node sees; `search_url` is a search server over the same corpus,
    and without one each agent process searches by itself. The whole context of an episode is verl's
    `rollout.response_length`. Training stops when more episodes of a step than `max_unscored` (a share) have no reward.
    """

    corpus: str
    by: Way = "auto"
    search_url: str | None = None
    environment: dict[str, Any] = Field(default_factory=lambda: {})
    rewards: RewardWeights = RewardWeights()
    judge: JudgeSettings | None = None
    max_turn_tokens: int = Field(default=2_048, ge=1)
    min_turn_tokens: int = Field(default=16, ge=1)
    max_unscored: float = Field(default=0.1, ge=0, le=1)

    def environment_over(self, own: EnvironmentConfig) -> EnvironmentConfig:
        """`own` with what is to differ; raises `ConfigError` for an unknown key."""
        return validated(EnvironmentConfig, merged(own.model_dump(), self.environment), "vrag.environment")


def read_settings(group: str) -> VerlSettings:
    """From the group as JSON; raises `ConfigError` naming the key."""
    return validated(VerlSettings, json.loads(group), "vrag")
