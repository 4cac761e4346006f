"""Which policy-optimisation algorithm: five presets, and each of their settings by itself.

A preset is where the settings start; `docs/policy-optimisation.md` has the formulas. A recipe names one and what it
wants otherwise, and `run.json` shows every value that was used:

    vrag train rl … --set algorithm.name=dapo --set algorithm.clip_high=0.3
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from vrag.types import Frozen

Name = Literal["grpo", "dapo", "dr_grpo", "gspo", "cispo"]
Surrogate = Literal["clip", "cispo"]
Level = Literal["token", "sequence"]
Aggregate = Literal["sequence", "token", "constant"]


class Algorithm(Frozen):
    """Every setting of an algorithm; the defaults are GRPO with the paper's values.

    - `surrogate`: "clip" is the clipped surrogate of PPO; "cispo" weighs log-probabilities by the clipped ratio,
      which takes no gradient.
    - `ratio`: of each token, or of the whole episode (the geometric mean over its sampled tokens).
    - `clip_low`, `clip_high`: the ratio is held within 1 - `clip_low` and 1 + `clip_high`; a `clip_low` of 1 sets no
      lower bound.
    - `aggregate`: "sequence" takes the mean over an episode's tokens, then over episodes; "token" over all tokens;
      "constant" divides the sum by episodes x the tokens that an episode may have.
    - `normalize`: divide a group's advantages by their standard deviation.
    - `kl`: weight of the KL penalty to the starting model; 0 keeps no reference model.
    - `extra_rounds`: dynamic sampling. Groups whose rewards are all equal are replaced, in at most so many further
      rounds of rollouts; 0 trains on what the first round gave.
    - `overlong_zone`, `overlong_penalty`: within the last `overlong_zone` (a share) of an episode's token limit, the
      reward falls by up to `overlong_penalty`; a zone of 0 punishes no length.
    """

    surrogate: Surrogate = "clip"
    ratio: Level = "token"
    clip_low: float = 0.2
    clip_high: float = 0.2
    aggregate: Aggregate = "sequence"
    normalize: bool = True
    kl: float = 0.01
    extra_rounds: int = 0
    overlong_zone: float = 0.0
    overlong_penalty: float = 1.0


# VRAG-RL §3.3; DAPO, Yu et al. 2025; Dr. GRPO, Liu et al. 2025; GSPO, Zheng et al. 2025; CISPO, MiniMax-M1 2025
PRESETS: dict[Name, Algorithm] = {
    "grpo": Algorithm(),
    "dapo": Algorithm(clip_high=0.28, aggregate="token", kl=0.0, extra_rounds=3, overlong_zone=0.2),
    "dr_grpo": Algorithm(aggregate="constant", normalize=False, kl=0.0),
    "gspo": Algorithm(ratio="sequence", clip_low=3e-4, clip_high=4e-4, kl=0.0),
    "cispo": Algorithm(surrogate="cispo", clip_low=1.0, clip_high=4.0, aggregate="token", kl=0.0),
}
TITLES: dict[Name, str] = {"grpo": "GRPO", "dapo": "DAPO", "dr_grpo": "Dr. GRPO", "gspo": "GSPO", "cispo": "CISPO"}


class AlgorithmConfig(Frozen):
    """A preset by `name`, and the settings of `Algorithm` that are to differ from it; None is the preset's value."""

    name: Name = "grpo"
    surrogate: Surrogate | None = None
    ratio: Level | None = None
    clip_low: float | None = Field(default=None, gt=0, le=1)
    clip_high: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    aggregate: Aggregate | None = None
    normalize: bool | None = None
    kl: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    extra_rounds: int | None = Field(default=None, ge=0)
    overlong_zone: float | None = Field(default=None, ge=0, lt=1)
    overlong_penalty: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @property
    def title(self) -> str:
        """The name as papers write it."""
        return TITLES[self.name]

    def settle(self) -> Algorithm:
        """The preset with what differs from it."""
        return PRESETS[self.name].model_copy(update=self.model_dump(exclude={"name"}, exclude_none=True))

    def filled(self) -> AlgorithmConfig:
        """The same, with no setting left to the preset."""
        return AlgorithmConfig(name=self.name, **self.settle().model_dump())

    @model_validator(mode="before")
    @classmethod
    def _group(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(f"is a group of settings: write algorithm.name={value}")
        return value

    @model_validator(mode="after")
    def _sensible(self) -> AlgorithmConfig:
        preset, settled = PRESETS[self.name], self.settle()
        for field in ("surrogate", "ratio"):
            value = getattr(settled, field)
            if value != getattr(preset, field) and (self.clip_low is None or self.clip_high is None):
                raise ValueError(
                    f"{self.name}'s clip range isn't meant for {field}={value}: set clip_low and clip_high too "
                    "(as a rule 0.2 and 0.2 for ratios of tokens, 3e-4 and 4e-4 of sequences, 1 and 4 for cispo)"
                )
        if not settled.overlong_zone and settled.overlong_penalty != preset.overlong_penalty:
            raise ValueError("overlong_penalty does nothing while overlong_zone is 0: set that too, for example to 0.2")
        return self
