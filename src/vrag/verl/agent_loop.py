"""verl's agent loop "vrag": the one `rollout()`, rewarded at its end."""

# verl has an environment of its own, where these types can't be checked.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false, reportUntypedClassDecorator=false
# pyright: reportUnknownParameterType=false

from __future__ import annotations

import json
import time
from typing import Any

from omegaconf import OmegaConf
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput, register

from vrag.episode import Episode
from vrag.rewards.rubric import reward_all
from vrag.rollout import Limits, rollout
from vrag.types import Sampling, Task
from vrag.verl.output import output_fields
from vrag.verl.policy import ServerPolicy
from vrag.verl.shared import shared


@register("vrag")
class VragAgentLoop(AgentLoopBase):
    """One episode. What it raises, verl logs and counts as a missing sample of the group (`vrag.verl.sampler` stops the
    run when there are too many).
    """

    def __init__(self, *args: Any, hf_model_type: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, hf_model_type=hf_model_type, **kwargs)
        group = json.dumps(OmegaConf.to_container(self.config.vrag, resolve=True), sort_keys=True)
        model = str(self.config.actor_rollout_ref.model.path)
        self.shared = shared(group, model, hf_model_type, self.tokenizer, self.processor)

    async def run(
        self,
        sampling_params: dict[str, Any],
        *,
        task: str,
        session_id: int = 0,
        global_steps: int | None = None,
        priority: int = 0,
        **row: Any,
    ) -> AgentLoopOutput:
        """`task` and the `row` are those of `vrag.verl.dataset`; verl adds which sample and which step it is."""
        own, engine = self.shared, str(self.rollout_config.name)
        policy = ServerPolicy(self.server_manager, own.codec, sampling_params, engine, int(priority))
        episode = await rollout(
            own.make_environment(),
            policy,
            own.codec,
            Task.model_validate_json(task),
            self._limits(),
            Sampling(float(sampling_params["temperature"]), own.settings.max_turn_tokens),
            sample=int(session_id),
        )
        scoring = await self._reward(episode, global_steps)
        parts = [term.name for term in own.rubric.terms]
        rollout_config = self.rollout_config
        fields = output_fields(episode, parts, rollout_config.prompt_length, rollout_config.response_length)
        fields["extra_fields"] |= {"min_global_steps": policy.steps[0], "max_global_steps": policy.steps[1]}
        return AgentLoopOutput(
            **fields,
            metrics={
                "generate_sequences": policy.seconds,
                "tool_calls": episode.seconds - policy.seconds,
                "compute_score": scoring,
                "num_preempted": policy.preempted,
            },
        )

    def _limits(self) -> Limits:
        """The whole context is held within the response's length, so that the response is too."""
        settings = self.shared.settings
        return Limits(int(self.rollout_config.response_length), settings.max_turn_tokens, settings.min_turn_tokens)

    async def _reward(self, episode: Episode, step: int | None) -> float:
        """Returns how many seconds it took."""
        started = time.perf_counter()
        await reward_all(self.shared.rubric, [[episode]], progress_of(self.config, step))
        return time.perf_counter() - started


def progress_of(config: Any, step: int | None) -> float:
    """From 0 at the first step to 1 at the last, 1 where verl doesn't say; verl counts its steps from 1."""
    steps = OmegaConf.select(config, "actor_rollout_ref.actor.optim.total_training_steps") or 0
    if step is None or steps < 2:
        return 1.0
    return min(1.0, max(0.0, (int(step) - 1) / (steps - 1)))
