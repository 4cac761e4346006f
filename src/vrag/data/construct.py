"""Expert trajectories from models behind endpoints (paper, section 3.3), played through the one loop, and filtered.

Tasks are played beside each other, samples of one task one after the other, so that it can stop at the first that is
accepted. What infrastructure fails is owed again, and so is then what comes after it: reruns end in the same dataset as
a run without failures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from pydantic import Field

from vrag.data.balance import Balance
from vrag.data.dataset import Manifest, TrajectoryWriter
from vrag.data.filters import Filters, Refusal, refusal, wrong
from vrag.data.gold_first import GoldFirst
from vrag.data.replies import Replies
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.episode import Episode
from vrag.errors import InfrastructureError
from vrag.policies.grounder import Asks, Grounder, GrounderSettings, Unteachable
from vrag.policies.planner import PlannerPolicy, PlannerSettings
from vrag.protocols import PageStore, Retriever
from vrag.rewards.combine import paper_rubric
from vrag.rewards.judge import Judge, Judged
from vrag.rewards.rubric import reward_all
from vrag.rollout import Job, Limits, rollout
from vrag.types import Sampling, StopReason, Task, Usage
from vrag.views import ViewRenderer


class ConstructConfig(Judged):
    """How to construct. `samples` episodes of each task, or up to the first that is accepted.

    `gold_first`: gold pages among so many hits are shown before others (see `GoldFirst`); 0: as they are found.
    `max_turns` replaces that of the pupil's environment. `concurrency` tasks are played at once; after `max_failures`
    episodes in a row that infrastructure failed no more are begun. What changes no episode is no part of the run, so
    that it may be changed when the run is resumed: these two, and `balance`.
    """

    planner: PlannerSettings | None = None
    grounder: GrounderSettings | None = None
    samples: int = Field(default=1, ge=1)
    stop_at_first: bool = True
    seed: int = 0
    gold_first: int = Field(default=50, ge=0)
    max_turns: int | None = Field(default=None, ge=1)
    filters: Filters = Filters()
    balance: Balance = Field(default=Balance(), exclude=True)
    concurrency: int = Field(default=16, ge=1, exclude=True)
    max_failures: int = Field(default=20, ge=1, exclude=True)


@dataclass(frozen=True)
class Experts:
    """The models: planner and grounder with their settings, and a judge or None."""

    planner: Asks
    planning: PlannerSettings
    grounder: Asks
    grounding: GrounderSettings
    judge: Judge | None = None


@dataclass(frozen=True)
class World:
    """What is searched and shown, and how the pupil sees it."""

    store: PageStore
    retriever: Retriever
    environment: EnvironmentConfig
    renderer: ViewRenderer


class Outcome(str, Enum):
    ACCEPTED = "accepted"
    DROPPED = "dropped"
    FAILED = "failed"


@dataclass
class Progress:
    """Where a run is: episodes by outcome, of this run of the command, and tasks done. `failure`: the latest."""

    accepted: int = 0
    dropped: int = 0
    failed: int = 0
    tasks: int = 0
    failure: str = ""
    failures_in_row: int = 0

    def add(self, outcome: Outcome) -> None:
        setattr(self, outcome.value, getattr(self, outcome.value) + 1)
        self.failures_in_row = self.failures_in_row + 1 if outcome is Outcome.FAILED else 0


class Construction:
    """Fills a dataset. `replies` counts what was spent, the judge's part too."""

    def __init__(
        self,
        config: ConstructConfig,
        world: World,
        experts: Experts,
        writer: TrajectoryWriter,
        replies: Replies,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self._config, self._world, self._experts = config, world, experts
        self._writer, self._replies, self._on_progress = writer, replies, on_progress
        self._grounder = Grounder(experts.grounder, experts.grounding, world.renderer)
        self._rubric = paper_rubric(judge=experts.judge)
        self.progress = Progress()

    async def run(self, tasks: Sequence[Task]) -> Manifest:
        """Play what is owed and write the manifest. Raises `InfrastructureError` when too many episodes in a row
        failed, and what `TrajectoryWriter` raises.
        """
        gate = asyncio.Semaphore(self._config.concurrency)
        owed = [task for task in tasks if self._owes(task)]
        if owed and self._experts.judge is not None and self._config.filters.right:
            await self._experts.judge.check()

        async def one(task: Task) -> None:
            async with gate:
                await self._samples(task)
            self.progress.tasks += 1
            self._on_progress(self.progress)

        self.progress.tasks = len(tasks) - len(owed)
        await asyncio.gather(*map(one, owed))
        if self._hopeless():  # also where they were the last: without a manifest the dataset isn't taken for whole
            raise InfrastructureError(
                f"{self.progress.failures_in_row} episodes in a row failed, so no more were begun; what was made is "
                f"kept, and the same command goes on from there. The last failure: {self.progress.failure}"
            )
        return self._writer.finish(self._replies.costs())

    def _owes(self, task: Task) -> bool:
        if self._config.stop_at_first and any(map(self._writer.has, self._jobs(task))):
            return False
        return bool(self._writer.owed(self._jobs(task)))

    def _jobs(self, task: Task) -> list[Job]:
        return [Job(task, sample, self._config.seed) for sample in range(self._config.samples)]

    def _hopeless(self) -> bool:
        return self.progress.failures_in_row >= self._config.max_failures

    async def _samples(self, task: Task) -> None:
        for job in self._writer.owed(self._jobs(task)):
            if self._hopeless():
                return
            outcome = await self._played(job)
            self.progress.add(outcome)
            self._on_progress(self.progress)
            if self._config.stop_at_first and outcome is not Outcome.DROPPED:
                return

    async def _played(self, job: Job) -> Outcome:
        if self._config.filters.right and not any(answer.strip() for answer in job.task.answers):
            return self._drop(job, Refusal("unusable task", "it has no answer that the expert's could be checked by"))
        try:
            episode = await self._episode(job)
        except Unteachable as failure:
            return self._drop(job, Refusal(failure.reason, str(failure)))
        if episode.stop is StopReason.ERROR:
            return self._fail(job, episode)
        if episode.stop is not StopReason.ANSWER:
            return self._drop(job, Refusal(f"ended by {episode.stop.value}", ""))
        found = refusal(episode, self._config.filters, self._world.environment)
        if found is None and self._config.filters.right:
            await self._score(episode)
            if episode.reward is None:
                return self._fail(job, episode)
            found = wrong(episode)
        if found is not None:
            return self._drop(job, found)
        self._writer.add(episode)
        return Outcome.ACCEPTED

    async def _episode(self, job: Job) -> Episode:
        world, experts, task = self._world, self._experts, job.task
        gold = [evidence.ref for evidence in task.gold]
        retriever = GoldFirst(world.retriever, gold, self._config.gold_first)
        environment = DocumentEnvironment(world.store, retriever, world.environment, world.renderer)
        policy = PlannerPolicy(experts.planner, experts.planning, self._grounder, world.environment)
        sampling = Sampling(temperature=experts.planning.temperature, seed=job.session_seed())
        episode = await rollout(environment, policy, None, task, Limits(), sampling, sample=job.sample)
        episode.seed = job.seed
        return episode

    async def _score(self, episode: Episode) -> None:
        await reward_all(self._rubric, [[episode]])
        said = episode.judgement
        if said is not None and said.calls:
            self._replies.spend(
                "judge",
                Usage(calls=said.calls, prompt_tokens=said.prompt_tokens, completion_tokens=said.completion_tokens),
            )

    def _drop(self, job: Job, refused: Refusal) -> Outcome:
        self._writer.drop(job, refused.reason, refused.detail)
        return Outcome.DROPPED

    def _fail(self, job: Job, episode: Episode) -> Outcome:
        self.progress.failure = f"task {job.task.id}: {episode.error}"
        self._writer.fail()
        return Outcome.FAILED
