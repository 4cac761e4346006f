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

    steps: int = Field(default=100, ge=1)
    groups: int = Field(default=32, ge=1)
    group_size: int = Field(default=5, ge=2)  # an episode alone has nothing to be compared with
    updates: int = Field(default=1, ge=1)  # optimiser steps per batch of rollouts
    algorithm: AlgorithmConfig = AlgorithmConfig()
    old_logprobs: OldLogprobs = "auto"
    temperature: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    max_tokens: int = Field(default=16_384, ge=1)  # of one micro-batch, before what its episodes share is taken out
    max_batch: int = Field(default=64, ge=1)  # episodes that decode together
    # less memory for a second forward: as what is watched below, no part of what a run must agree in
    gradient_checkpointing: bool = Field(default=False, exclude=True)
    freeze_vision: bool = False
    lora: PolicyLora | None = None  # None: all weights that aren't frozen are trained
    # the step aborts when more episodes than this share have no reward
    max_unscored: float = Field(default=0.1, ge=0, le=1)
    seed: int = 0
    limits_tokens: int = Field(default=10_240, ge=1)
    limits_turn_tokens: int = Field(default=2_048, ge=1)
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
