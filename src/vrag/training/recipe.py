"""What `vrag train rl` takes and keeps in run.json: the algorithm, and what the reward is made of."""

from __future__ import annotations

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from vrag.rewards.combine import RewardWeights
from vrag.rewards.judge import JudgeSettings
from vrag.training.rl_config import RLConfig


class RLRecipe(RLConfig):
    """`judge` None: answers are scored by rules. `actions` are one's own, each the "module:attribute" of an
    `vrag.scene.OwnAction` or of what makes one.
    """

    rewards: RewardWeights = RewardWeights()
    judge: JudgeSettings | None = None
    actions: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _written(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `actions` where there are none, so that runs from before there were any go on."""
        return {name: value for name, value in plain(self).items() if name != "actions" or self.actions}
