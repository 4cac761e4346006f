"""Questions under way: a bounded number at once, each an episode that can be followed, and ended."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import ExitStack
from typing import Any

from vrag.policies.speaker import SpeakerOf
from vrag.servers.agent import events
from vrag.servers.agent.events import Event
from vrag.servers.agent.limits import AgentLimits
from vrag.servers.agent.playing import FAILED, Question, play
from vrag.servers.agent.runner import Runner
from vrag.servers.batching import Slots
from vrag.servers.engine import Engine
from vrag.servers.metrics import Metrics
from vrag.types import StopReason

RETRY_AFTER = 5  # s; an episode takes seconds
_log = logging.getLogger(__name__)


class Asked:
    """A question under way. One client takes its `events`, and cancels it when it takes no more."""

    def __init__(self) -> None:
        self.id = f"ask-{secrets.token_hex(8)}"
        self.steps = 0
        self._told: asyncio.Queue[Event | None] = asyncio.Queue()  # bounded by the turns of an episode
        self._task: asyncio.Task[None] | None = None

    def begin(self, work: Coroutine[Any, Any, None], held: ExitStack) -> asyncio.Task[None]:
        """`held` is closed when it has ended, however that came."""
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(lambda _: held.close())
        self._task.add_done_callback(lambda _: self._told.put_nowait(None))
        return self._task

    def tell(self, event: Event) -> None:
        if isinstance(event, events.StepStarted):
            self.steps = event.step
        self._told.put_nowait(event)

    def cancel(self) -> None:
        """Does nothing to an episode that has ended."""
        if self._task is not None:
            self._task.cancel()

    async def events(self) -> AsyncGenerator[Event]:
        """Until the `Stopped`, or until it was cancelled."""
        while (event := await self._told.get()) is not None:
            yield event


class Asking:
    """At most `limits.episodes` episodes run at once and `limits.waiting` more wait; others are refused. An async
    context manager: it works inside, and ends what runs when it is left.
    """

    def __init__(self, limits: AgentLimits, metrics: Metrics, policies: dict[str, SpeakerOf]) -> None:
        self.policies, self._limits = policies, limits
        self.slots = Slots(limits.episodes + limits.waiting, RETRY_AFTER)
        self._turnstile = asyncio.Semaphore(limits.episodes)
        self._runner, self.under_way = Runner(), set[asyncio.Task[None]]()
        self._ended = metrics.counter("vrag_episodes", "Episodes that have ended, by why.", "stop")
        metrics.gauge("vrag_episodes_admitted", "Episodes that run or wait.", lambda: self.slots.taken)

    async def __aenter__(self) -> Asking:
        self._runner.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.under_way:
            task.cancel()
        await asyncio.gather(*self.under_way, return_exceptions=True)
        await asyncio.to_thread(self._runner.stop)

    @property
    def alive(self) -> bool:
        """Whether episodes can run."""
        return self._runner.alive

    def ask(self, corpus: str, engine: Engine, policy: str, question: Question) -> Asked:
        """Raises `QueueFull` at once when there is no place."""
        with ExitStack() as held:
            held.enter_context(self.slots.take())
            held.enter_context(engine.hold())
            asked = Asked()
            asked.tell(events.Started(id=asked.id, corpus=corpus, policy=policy, question=question.text))
            task = asked.begin(self._run(asked, corpus, engine, policy, question), held.pop_all())
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        return asked

    async def _run(self, asked: Asked, corpus: str, engine: Engine, policy: str, question: Question) -> None:
        began, stop = time.perf_counter(), StopReason.ERROR
        try:
            work = self._episode(asked, corpus, engine, policy, question)
            stop = await asyncio.wait_for(work, self._limits.episode_seconds)
        except asyncio.TimeoutError:
            why = f"no answer within {self._limits.episode_seconds:g} s"
            asked.tell(events.Failed(code="timeout", message=why))
        except asyncio.CancelledError:
            self._ended("cancelled")
            raise
        except Exception:  # noqa: BLE001  the boundary: what went wrong with one question is its client's and the log's
            _log.exception("question %s failed", asked.id)
            asked.tell(events.Failed(code="internal", message=FAILED))
        self._ended(stop.value)
        asked.tell(events.Stopped(reason=stop, steps=asked.steps, seconds=round(time.perf_counter() - began, 3)))

    async def _episode(self, asked: Asked, corpus: str, engine: Engine, policy: str, question: Question) -> StopReason:
        loop = asyncio.get_running_loop()

        def tell(event: Event) -> None:
            loop.call_soon_threadsafe(asked.tell, event)

        async with self._turnstile:
            with engine.current.used() as generation:
                store, retriever = generation.corpus, generation.retriever(None)
                speaker = self.policies[policy](store)
                return await self._runner.run(play(asked.id, question, speaker, store, retriever, corpus, tell))
