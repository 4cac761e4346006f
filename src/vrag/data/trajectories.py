"""Expert trajectories for SFT: the scripted expert played through the one loop, in memory or into a dataset on disk."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.dataset import Manifest, TrajectoryWriter
from vrag.environment import DocumentEnvironment
from vrag.episode import Episode
from vrag.errors import DataError, UsageError
from vrag.geometry import ViewSpec
from vrag.policies.expert import ExpertPolicy, ExpertStyle, can_play
from vrag.policies.extractive import NOTHING
from vrag.protocols import PageStore, Policy
from vrag.rollout import Job, Limits, rollout, rollout_many
from vrag.types import Request, Sample, Sampling, StopReason, Task


class Tokenized:
    """Gives a policy that speaks only text the ids of what it says, so that its episodes can be trained on."""

    def __init__(self, policy: Policy, codec: QwenVLCodec) -> None:
        self._policy, self._codec = policy, codec

    async def generate(self, request: Request) -> Sample:
        sample = await self._policy.generate(request)
        ids = self._codec.encode_sampled(sample.text)
        return replace(sample, ids=ids, logprobs=[0.0] * len(ids))

    def close(self, session: str) -> None:
        self._policy.close(session)


def expert_episodes(
    tasks: Sequence[Task],
    store: PageStore,
    make_environment: Callable[[], DocumentEnvironment],
    codec: QwenVLCodec,
    spec: ViewSpec,
    style: ExpertStyle,
    seed: int,
    *,
    samples: int = 1,
) -> list[Episode]:
    """`samples` finished episodes per task; those that the expert could not finish, or in which it gave up (unless it
    always did), are left out, and so are tasks that it can't play. Raises `UsageError` where the environment doesn't
    let the expert play as `style` says.
    """
    _check_playable(style, make_environment())

    def expert(job: Job) -> Policy:
        rng = random.Random(job.session_seed())
        return Tokenized(ExpertPolicy(job.task, store, spec, style, rng), codec)

    jobs = [Job(task, sample, seed) for task in tasks if can_play(task) for sample in range(samples)]
    limits = Limits()
    episodes = asyncio.run(rollout_many(jobs, make_environment, expert, codec, limits, Sampling(), concurrency=8))
    finished = [e for e in episodes if e.stop is StopReason.ANSWER]
    return [e for e in finished if e.answer != NOTHING] or finished


async def write_expert_trajectories(
    tasks: Sequence[Task],
    store: PageStore,
    make_environment: Callable[[], DocumentEnvironment],
    writer: TrajectoryWriter,
    spec: ViewSpec,
    style: ExpertStyle,
    seed: int,
    *,
    samples: int = 1,
    on_episode: Callable[[], None] = lambda: None,
) -> Manifest:
    """`samples` episodes per task into the dataset of `writer`, those that are there already not again. A task that the
    expert can't play is dropped with the reason; so is an episode in which it gave up. Raises `UsageError` where the
    environment doesn't let the expert play as `style` says.
    """
    _check_playable(style, make_environment())
    for job in writer.owed([Job(task, sample, seed) for task in tasks for sample in range(samples)]):
        try:
            policy = ExpertPolicy(job.task, store, spec, style, random.Random(job.session_seed()))
            sampling = Sampling(seed=job.session_seed())
            episode = await rollout(make_environment(), policy, None, job.task, Limits(), sampling, sample=job.sample)
        except (DataError, UsageError) as reason:
            writer.drop(job, "unusable task", str(reason))
        else:
            episode.seed = seed
            if episode.answer == NOTHING:
                writer.drop(job, "gave up")
            else:
                writer.add(episode)
        on_episode()
    return writer.finish()


def _check_playable(style: ExpertStyle, environment: DocumentEnvironment) -> None:
    if style.miss and environment.config.crops_of != "page":
        raise UsageError(
            f"the expert's miss is {style.miss}, but boxes are written over the last image here, so that a crop that "
            'missed is the end: set miss to 0, or crops_of to "page" for the model'
        )
