"""The one loop: environment, policy and codec in, episode out.

Ask, serve, data construction, training and evaluation all run episodes through `rollout`.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from vrag.chat import NoReply
from vrag.episode import Episode, Tokens
from vrag.errors import InfrastructureError, UsageError
from vrag.protocols import Codec, Environment, Policy
from vrag.types import Answer, Message, Request, Sample, Sampling, Step, StopReason, Task, Turn, Usage


@dataclass(frozen=True)
class Limits:
    """Token budgets. `max_tokens` is the whole context of an episode, image tokens counted one by one.

    The environment owns the budgets of turns and pixels. The paper's context is 10,240 tokens and its
    response budget 2,048 (FACTS: rollout, RL hyperparameters).
    """

    max_tokens: int = 10_240
    max_turn_tokens: int = 2_048
    min_turn_tokens: int = 16  # an observation that leaves less room than this to react to it isn't shown


_sessions = itertools.count()

OnTurn = Callable[[Turn], None]


async def rollout(
    environment: Environment,
    policy: Policy,
    codec: Codec | None,
    task: Task,
    limits: Limits,
    sampling: Sampling,
    *,
    sample: int = 0,
    on_turn: OnTurn | None = None,
) -> Episode:
    """Run one episode. Without a codec the policy speaks text only and the episode carries no tokens.

    A failure of infrastructure (`InfrastructureError`) becomes `StopReason.ERROR` on the episode, with what
    happened so far; every other exception is a bug or bad input and propagates. Raises `UsageError` for a policy that
    samples no ids where there is a codec.
    """
    session = f"{task.id}#{sample}#{next(_sessions)}"  # also two episodes of one task and seed are two
    loop = _Loop(environment, policy, codec, task, limits, sampling, session)
    started = time.perf_counter()
    error = None
    try:
        stop = await loop.run(on_turn)
    except InfrastructureError as failure:
        stop, error = StopReason.ERROR, str(failure)
        loop.spend(failure.usage if isinstance(failure, NoReply) else None)
    finally:
        policy.close(loop.session)
    if loop.tokens is not None and codec is not None:
        loop.tokens.check(codec, task.id)
    return Episode(
        task=task,
        turns=loop.turns,
        stop=stop,
        answer=loop.answer(),
        tokens=loop.tokens,
        sample=sample,
        seed=sampling.seed,
        error=error,
        usage=loop.usage,
        seconds=time.perf_counter() - started,
        messages=loop.messages,
    )


class _Loop:
    """The state of one episode while it runs."""

    def __init__(
        self,
        environment: Environment,
        policy: Policy,
        codec: Codec | None,
        task: Task,
        limits: Limits,
        sampling: Sampling,
        session: str,
    ) -> None:
        self.environment, self.policy, self.codec = environment, policy, codec
        self.limits, self.sampling, self.session = limits, sampling, session
        self.turns: list[Turn] = []
        self.messages: list[Message] = environment.reset(task)
        self.tokens: Tokens | None = None
        self.usage: Usage | None = None

    async def run(self, on_turn: OnTurn | None) -> StopReason:
        stop = await self._open(on_turn)
        while stop is None:
            stop = await self._turn(on_turn)
        return stop

    async def _open(self, on_turn: OnTurn | None) -> StopReason | None:
        """What comes before the policy speaks: the messages of `reset`, and the turn that they may end with."""
        stop = None
        if self.messages[-1].role == "assistant":
            step = await self.environment.step("".join(p for p in self.messages[-1].parts if isinstance(p, str)))
            self.messages += step.messages
            self._keep(step.turn, on_turn)
            stop = step.stop
        if self.codec is not None:
            prompt = self.codec.prompt(self.messages)
            self.tokens = Tokens(prompt_ids=prompt.ids, images=list(prompt.images))
        return stop

    async def _turn(self, on_turn: OnTurn | None) -> StopReason | None:
        room = self._room()
        if room < self.limits.min_turn_tokens:
            return StopReason.LENGTH
        sample = await self.policy.generate(self._request(min(room, self.limits.max_turn_tokens)))
        self.spend(sample.usage)
        if self.tokens is not None:
            if sample.text and not sample.ids:
                raise UsageError("this policy samples no token ids: run it without a codec; it can't be trained")
            self.tokens.add_sampled(sample.ids, sample.logprobs)
        self.messages.append(Message("assistant", [sample.text]))
        step = await self.environment.step(sample.text)
        shown = step.stop is None and self._show(step, sample)
        seen = step.turn.observation if shown or step.stop else None
        self._keep(step.turn.model_copy(update={"observation": seen, "read_from": sample.read_from}), on_turn)
        return step.stop if shown or step.stop else StopReason.LENGTH

    def _keep(self, turn: Turn, on_turn: OnTurn | None) -> None:
        self.turns.append(turn)
        if on_turn is not None:
            on_turn(turn)

    def spend(self, usage: Usage | None) -> None:
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage + usage

    def _room(self) -> int:
        return self.limits.max_tokens - (len(self.tokens.ids) if self.tokens else 0)

    def _request(self, max_tokens: int) -> Request:
        sampling = replace(self.sampling, max_tokens=min(max_tokens, self.sampling.max_tokens))
        if self.tokens is None:
            return Request(self.session, list(self.messages), sampling)
        return Request(self.session, list(self.messages), sampling, self.tokens.ids, list(self.tokens.images))

    def _show(self, step: Step, sample: Sample) -> bool:
        """Append the observation whole, or not at all when it doesn't fit."""
        if self.codec is not None and self.tokens is not None:
            closed = bool(sample.ids) and sample.ids[-1] == self.codec.end_of_turn_id
            delta = self.codec.observe(step.messages, closed=closed)
            if len(delta.ids) + self.limits.min_turn_tokens > self._room():
                return False
            self.tokens.add_observed(delta.ids, delta.images)
        self.messages += step.messages
        return True

    def answer(self) -> str | None:
        last = self.turns[-1].action if self.turns else None
        return last.text if isinstance(last, Answer) else None


@dataclass(frozen=True)
class Job:
    """One episode to run: a task, which of its samples this is, and the run's seed."""

    task: Task
    sample: int = 0
    seed: int = 0

    def session_seed(self) -> int:
        """A stable 63-bit seed, so that an episode samples the same whatever runs beside it."""
        digest = hashlib.sha256(f"{self.seed}/{self.task.id}/{self.sample}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1


async def rollout_many(
    jobs: Sequence[Job],
    make_environment: Callable[[], Environment],
    policy: Policy | Callable[[Job], Policy],
    codec: Codec | None,
    limits: Limits,
    sampling: Sampling,
    *,
    concurrency: int = 64,
    on_episode: Callable[[Episode], Awaitable[None]] | None = None,
) -> list[Episode]:
    """Run `jobs`, at most `concurrency` at a time; the result is in the order of `jobs`.

    `policy` may be a factory, for policies that belong to one task (the scripted expert). `on_episode` is called as
    each ends, and holds up no other.
    """
    gate = asyncio.Semaphore(concurrency)

    async def one(job: Job) -> Episode:
        async with gate:
            speaker = policy if hasattr(policy, "generate") else policy(job)  # type: ignore[operator]
            episode = await rollout(
                make_environment(),
                speaker,  # type: ignore[arg-type]
                codec,
                job.task,
                limits,
                replace(sampling, seed=job.session_seed()),
                sample=job.sample,
            )
        episode.seed = job.seed
        if on_episode is not None:
            await on_episode(episode)
        return episode

    return list(await asyncio.gather(*(one(job) for job in jobs)))
