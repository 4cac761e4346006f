"""What `vrag train rl` takes and keeps in run.json: the algorithm, and what the reward is made of."""

from __future__ import annotations

from vrag.rewards.combine import RewardWeights
from vrag.rewards.judge import JudgeSettings
from vrag.training.rl_config import RLConfig


class RLRecipe(RLConfig):
    """`judge` None: answers are scored by rules."""

    rewards: RewardWeights = RewardWeights()
    judge: JudgeSettings | None = None
