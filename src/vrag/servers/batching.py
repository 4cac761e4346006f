"""What arrives together is answered together: a bounded queue in front of work that is cheaper in batches."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator, Hashable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from types import TracebackType
from typing import Any, Generic, TypeVar

from vrag.errors import InfrastructureError

K = TypeVar("K")
Q = TypeVar("Q")
R = TypeVar("R")

WINDOW = 0.002  # s that the first of a batch waits for others
WORKERS = 2  # batches of a lane that run at once


class QueueFull(InfrastructureError):
    """More than is admitted at once; come back in `retry_after` seconds."""

    retry_after = 1

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        if retry_after is not None:
            self.retry_after = retry_after


class Slots:
    """How much may be under way at once; more is refused, not kept waiting."""

    def __init__(self, limit: int, retry_after: int | None = None) -> None:
        """`retry_after`: seconds after which to ask again what was refused."""
        self.limit, self.taken, self._retry_after = limit, 0, retry_after

    @contextmanager
    def take(self, count: int = 1) -> Generator[None]:
        """Raises `QueueFull` at once when fewer than `count` are free."""
        if self.taken + count > self.limit:
            why = f"{self.taken} of {self.limit} are under way already; ask again in a moment"
            raise QueueFull(why, self._retry_after)
        self.taken += count
        try:
            yield
        finally:
            self.taken -= count


@dataclass(frozen=True, eq=False)
class _Entry(Generic[K, Q, R]):
    key: K
    item: Q
    answer: asyncio.Future[R]


class Batcher(Generic[K, Q, R]):
    """Answers items by `run(key, items)`, as many of one key at a time as together cost `max_batch`, or one that costs
    more; oldest first. At most `max_queue` items are admitted at once. Of the keys of a `lane` `workers` batches run at
    once; one that hangs holds up no other lane. `observe` is told how many each batch has. An async context manager: it
    works inside.
    """

    def __init__(
        self,
        run: Callable[[K, Sequence[Q]], Awaitable[Sequence[R]]],
        *,
        max_batch: int,
        max_queue: int,
        window: float = WINDOW,
        workers: int = WORKERS,
        cost: Callable[[Q], int] = lambda _: 1,
        lane: Callable[[K], Hashable] = lambda _: None,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._run, self._observe, self._cost, self._lane = run, observe, cost, lane
        self._max_batch, self._window, self._workers = max_batch, window, workers
        self.slots = Slots(max_queue)
        self._waiting: list[_Entry[K, Q, R]] = []
        self._arrived, self._enough = asyncio.Event(), asyncio.Event()
        self._running, self._tasks = Counter[Hashable](), set[asyncio.Task[None]]()
        self._begun: asyncio.Queue[Sequence[_Entry[K, Q, R]]] = asyncio.Queue()
        self._idle = 0  # tasks that answer, without work

    async def __aenter__(self) -> Batcher[K, Q, R]:
        self._add(self._work())
        for _ in range(self._workers):
            self._add(self._answering())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._set(self._waiting[:0])

    @property
    def waiting(self) -> int:
        """Items that no batch has taken yet."""
        return len(self._waiting)

    async def submit(self, key: K, items: Sequence[Q]) -> list[R]:
        """The answer to each item. Raises `QueueFull` at once when they aren't admitted, and what `run` raises for an
        item alone. Cancelling it gives its places free; a batch that runs already goes on for the others.
        """
        with self.slots.take(len(items)):
            loop = asyncio.get_running_loop()
            entries = [_Entry(key, item, loop.create_future()) for item in items]
            self._set([*self._waiting, *entries])
            try:
                return await asyncio.gather(*(entry.answer for entry in entries))
            finally:
                for entry in entries:
                    entry.answer.cancel()  # does nothing to one that is done
                self._set([entry for entry in self._waiting if not entry.answer.done()])

    def _set(self, waiting: list[_Entry[K, Q, R]]) -> None:
        """What waits now, and what `_work` is told of it."""
        self._waiting = waiting
        ready = self._ready()
        enough = sum(self._cost(entry.item) for entry in ready) >= self._max_batch
        for event, is_set in ((self._arrived, bool(ready)), (self._enough, enough)):
            if is_set:
                event.set()
            else:
                event.clear()

    def _ready(self) -> list[_Entry[K, Q, R]]:
        """What waits, without that whose lane is full."""
        return [entry for entry in self._waiting if self._running[self._lane(entry.key)] < self._workers]

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            window = loop.call_later(self._window, self._enough.set)
            await self._enough.wait()
            window.cancel()
            while ready := self._ready():
                self._begin(self._take(ready))
            self._set(self._waiting)

    def _take(self, ready: Sequence[_Entry[K, Q, R]]) -> list[_Entry[K, Q, R]]:
        """Up to a batch of those that share the key of the oldest one."""
        alike = [entry for entry in ready if entry.key == ready[0].key]
        costs = list(accumulate(self._cost(entry.item) for entry in alike))
        batch = alike[: max(1, bisect_right(costs, self._max_batch))]
        taken = set(map(id, batch))
        self._set([entry for entry in self._waiting if id(entry) not in taken])
        return batch

    def _begin(self, batch: Sequence[_Entry[K, Q, R]]) -> None:
        self._running[self._lane(batch[0].key)] += 1
        self._begun.put_nowait(batch)
        if self._begun.qsize() > self._idle:  # all answer for other lanes
            self._add(self._answering())

    async def _answering(self) -> None:
        """Answer what is begun. Of those without work as many stay as a lane needs."""
        while self._idle < self._workers:
            self._idle += 1
            try:
                batch = await self._begun.get()
            finally:
                self._idle -= 1
            await self._answer(batch)
            self._running[self._lane(batch[0].key)] -= 1
            self._running += Counter()  # without those that are empty
            self._set(self._waiting)

    def _add(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: Sequence[_Entry[K, Q, R]]) -> None:
        batch = [entry for entry in batch if not entry.answer.done()]  # done: nobody waits for it any more
        if not batch:
            return
        self._observe(len(batch))
        try:
            answers = await self._run(batch[0].key, [entry.item for entry in batch])
            pairs = list(zip(batch, answers, strict=True))
        except Exception as error:  # noqa: BLE001  the boundary: a failure becomes the answer of whoever waits for it
            if len(batch) == 1:
                if not batch[0].answer.done():
                    batch[0].answer.set_exception(error)
                return
            for entry in batch:  # one bad item spoils no other
                await self._answer([entry])
            return
        for entry, answer in pairs:
            if not entry.answer.done():
                entry.answer.set_result(answer)
