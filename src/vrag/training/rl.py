"""Policy optimisation on the embedded engine: roll out groups, score, compare within the group, update.

One step: draw `groups` tasks; roll out `group_size` episodes of each with the policy as it is; reward each
episode; turn rewards into group-relative advantages; take `updates` clipped steps on the sampled tokens, with a KL
penalty to the frozen starting model (paper §3.3; FACTS: RL hyperparameters). That is GRPO; `algorithm` changes the
loss, the rewards of long episodes, and which groups are kept (`vrag.training.algorithm`). What is trained on are the
ids of the rollout itself. Left out on purpose: value functions and per-token rewards, which no member of this
family has.

Episodes whose reward is None (infrastructure failed) are masked; a group left with fewer than two is dropped.
Each is counted in the metrics, which `vrag.training.alarms` looks through for what goes wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vrag.actions import STOP_TAGS
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.episode import Episode
from vrag.errors import DataError, InfrastructureError
from vrag.policies.transformers import TransformersPolicy
from vrag.protocols import Environment
from vrag.rewards.overlong import punish_overlong
from vrag.rewards.rubric import Score, reward_all
from vrag.rollout import Job, Limits, rollout_many
from vrag.training.advantages import advantages_of
from vrag.training.alarms import alarms
from vrag.training.draws import Draw, draw, further_tasks
from vrag.training.learner import Learner
from vrag.training.lora import result_of
from vrag.training.phases import Phases
from vrag.training.rl_config import RLConfig
from vrag.training.rollout_metrics import answers_by_group, describe, speeds
from vrag.training.run import TrainingRun
from vrag.training.samples import KeptEpisode, SampleLog, Why
from vrag.training.sft import indices
from vrag.training.watch import Watch
from vrag.types import Sampling


class GRPO:
    """One training run. `make_environment` gives a fresh environment per episode; `score` rewards episodes; a turn ends
    at the first of `stop_tags`.
    """

    def __init__(
        self,
        model: Any,
        codec: QwenVLCodec,
        make_environment: Callable[[], Environment],
        score: Score,
        config: RLConfig,
        stop_tags: Sequence[str] = STOP_TAGS,
    ) -> None:
        self.model, self.codec, self.config = model, codec, config.filled()
        self.make_environment, self.score = make_environment, score
        self.learner = Learner(model, codec, self.config)
        self.policy = TransformersPolicy(model, codec, max_batch=config.max_batch, stop_tags=stop_tags)
        self.phases = Phases()

    def train(
        self,
        tasks: Sequence[Any],
        out: Path,
        on_step: Callable[[dict[str, Any]], None] = lambda metrics: None,
        on_episodes: Callable[[int, list[Episode]], None] = lambda step, episodes: None,
    ) -> Any:
        """Train in place; rerunning the same call continues from the newest checkpoint. Returns what is to be saved:
        the model, adapters merged, or with `lora.merge` off the peft model around it.

        `on_episodes` gets all that a step rolled out, also what dynamic sampling dropped.
        """
        if not tasks:
            raise DataError("no tasks to train on")
        config = self.config
        run = TrainingRun(out, config, self.learner.trained, self.codec, self.learner.optimizer, config.checkpoints)
        samples = SampleLog(out, config.samples, config.seed, run.start)
        rows = run.run.metrics.read()
        for step in range(run.start, config.steps):
            found = self.draw(tasks, step)
            metrics: dict[str, Any] = self.describe(found)
            chosen = samples.choose(step, config.steps, found.drawn)
            watch = Watch(episode for _, episode in chosen)
            with self.phases("update"):
                metrics |= self.learner.update(found.kept, step, watch)
            metrics |= self.phases.take() | {"saving_seconds": run.saving_seconds}
            metrics |= speeds(metrics)
            rows.append(metrics)
            if warnings := alarms(rows, config.alarms):
                metrics["warnings"] = warnings
            samples.add(step, [self.kept(step, why, episode, watch) for why, episode in chosen])
            run.commit(step, config.steps, metrics)
            on_episodes(step, found.drawn)
            on_step({"step": step, "steps": config.steps, **metrics})
        return result_of(self.learner.trained, config.lora)

    def kept(self, step: int, why: Why, episode: Episode, watch: Watch) -> KeptEpisode:
        """An episode as it is kept to be read."""
        return KeptEpisode(step=step, why=why, episode=episode.record(), tokens=watch.trace(episode, self.codec))

    def describe(self, found: Draw) -> dict[str, float]:
        """What the step rolled out was like."""
        size = self.config.group_size
        _, groups = advantages_of(found.drawn, size)
        return describe(found.drawn) | groups.metrics() | answers_by_group(found.drawn, size) | found.metrics(size)

    def draw(self, tasks: Sequence[Any], step: int) -> Draw:
        """The episodes of `step`: a function of the policy, the seed and `step`."""
        config = self.config
        chosen = indices(step, config.groups, len(tasks), config.seed)
        further = further_tasks(chosen, len(tasks), config.seed, step)

        def roll_out(picked: Sequence[int], before: list[Episode]) -> list[Episode]:
            return self.roll_out([tasks[i] for i in picked], step, before)

        return draw(chosen, further, roll_out, config.group_size, self.learner.algorithm.extra_rounds)

    def roll_out(self, tasks: Sequence[Any], step: int, before: Sequence[Episode] = ()) -> list[Episode]:
        """`group_size` scored episodes of each task, a task's next to each other.

        Raises `InfrastructureError` when more than `max_unscored` of them and of those that the step rolled out
        `before` could not be scored.
        """
        config = self.config
        seed = config.seed * 1_000_003 + step
        # numbered through the step: a task that is drawn twice gets other samples the second time
        numbered = enumerate((task for task in tasks for _ in range(config.group_size)), start=len(before))
        jobs = [Job(task, sample, seed) for sample, task in numbered]
        with self.phases("rollout"):
            episodes = asyncio.run(
                rollout_many(
                    jobs,
                    self.make_environment,
                    self.policy,
                    self.codec,
                    Limits(config.limits_tokens, config.limits_turn_tokens),
                    Sampling(temperature=config.temperature, max_tokens=config.limits_turn_tokens),
                    concurrency=len(jobs),
                )
            )
        with self.phases("scoring"):
            self.reward(episodes, step)
        rolled_out = [*before, *episodes]
        unscored = [e for e in rolled_out if e.reward is None]
        if len(unscored) > config.max_unscored * len(rolled_out):
            raise InfrastructureError(
                f"step {step}: {len(unscored)} of {len(rolled_out)} episodes have no reward "
                f"(first: {unscored[0].error}); fix what fails and rerun: training continues from its checkpoint"
            )
        return episodes

    def reward(self, episodes: Sequence[Episode], step: int) -> None:
        """Set the rewards: the scores, less what the algorithm takes for length; None where infrastructure failed."""
        config, algorithm = self.config, self.learner.algorithm
        groups = [episodes[i : i + config.group_size] for i in range(0, len(episodes), config.group_size)]
        asyncio.run(reward_all(self.score, groups, step / max(1, config.steps - 1)))
        if not algorithm.overlong_zone:
            return
        for episode in episodes:
            if episode.reward is not None:
                episode.reward = punish_overlong(
                    episode.reward, episode, config.limits_tokens, algorithm.overlong_zone, algorithm.overlong_penalty
                )
