"""The settings of reinforcement learning on the embedded engine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vrag.training.alarms import AlarmConfig
from vrag.training.algorithm import AlgorithmConfig
from vrag.training.lora import PolicyLora
from vrag.training.optimizer import OptimizerConfig
from vrag.training.run import CheckpointConfig
from vrag.training.samples import SampleConfig
from vrag.types import Frozen

OldLogprobs = Literal["auto", "rollout", "recompute"]


class RLConfig(Frozen):
    """Defaults are the paper's: G = 5, lr 1e-6 with warmup 0.285, KL 0.01, clip 0.2, one epoch of batches of 32.

    `old_logprobs` says what ratios are taken against: the log-probabilities that the rollout gave, or those of the
    training forward, recomputed before the first update. "auto" recomputes where the rollout's would not do: with
    several updates per batch, and for weights that aren't fp32, where rollout and training round apart.
    """

    steps: int = 100
    groups: int = 32
    group_size: int = Field(default=5, ge=2)  # an episode alone has nothing to be compared with
    updates: int = Field(default=1, ge=1)  # optimiser steps per batch of rollouts
    algorithm: AlgorithmConfig = AlgorithmConfig()
    old_logprobs: OldLogprobs = "auto"
    temperature: float = 1.0
    max_tokens: int = 16_384  # of one micro-batch, before what its episodes share is taken out
    max_batch: int = 64  # episodes that decode together
    # less memory for a second forward: as what is watched below, no part of what a run must agree in
    gradient_checkpointing: bool = Field(default=False, exclude=True)
    freeze_vision: bool = False
    lora: PolicyLora | None = None  # None: all weights that aren't frozen are trained
    max_unscored: float = 0.1  # the step aborts when more episodes than this share have no reward
    seed: int = 0
    limits_tokens: int = 10_240
    limits_turn_tokens: int = 2_048
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-6, schedule="constant", warmup=0.285)
    checkpoints: CheckpointConfig = CheckpointConfig()
    # what is watched doesn't change what is trained: not part of what a run must agree in to be continued
    samples: SampleConfig = Field(default=SampleConfig(), exclude=True)
    alarms: AlarmConfig = Field(default=AlarmConfig(), exclude=True)

    def filled(self) -> RLConfig:
        """The same, with every setting of the algorithm written out: what a run saves."""
        return self.model_copy(update={"algorithm": self.algorithm.filled()})

    @model_validator(mode="after")
    def _enough_episodes(self) -> RLConfig:
        if self.updates > self.groups * self.group_size:
            raise ValueError(
                f"{self.updates} updates need as many episodes, a batch has {self.groups * self.group_size}: "
                "lower updates, or raise groups"
            )
        return self
