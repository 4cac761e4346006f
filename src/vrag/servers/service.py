"""Searches and lookups: the queue in front of corpora, and how long a request may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from vrag.corpus.store import Corpus
from vrag.errors import InfrastructureError
from vrag.fusion import search_many
from vrag.protocols import Retriever
from vrag.remote import Found, FoundPage
from vrag.retriever import Way
from vrag.servers.app import within
from vrag.servers.batching import Batcher, QueueFull, Slots
from vrag.servers.engine import POLL, Engine
from vrag.servers.generation import Generation
from vrag.servers.limits import Limits
from vrag.servers.metrics import Metrics
from vrag.types import Hit

T = TypeVar("T")


@dataclass(frozen=True)
class _Key:
    """Queries that share it are searched in one call, with the same answers as alone: `k` is part of it because fusion
    looks deeper for a larger one.
    """

    generation: Generation
    retriever: Retriever
    k: int


class Searching:
    """Searches and lookups of any corpora, bounded in number and time. Searches are answered inside the context."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits, self._lookups = limits, Slots(limits.queue)
        self._batcher: Batcher[_Key, str, list[Hit]] = Batcher(
            _run,
            max_batch=limits.batch,
            max_queue=limits.queue,
            lane=lambda key: key.generation.lane(key.retriever),
            observe=metrics.batches("queries"),
        )
        metrics.queue("queries", self._batcher)

    async def __aenter__(self) -> Searching:
        await self._batcher.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._batcher.__aexit__(*error)

    async def search(
        self, engine: Engine, request: Request, queries: Sequence[str], k: int, by: Way | None = None
    ) -> Found:
        """Raises `QueueFull`, `UsageError` for a way to search that isn't there, `InfrastructureError`."""
        return await within(self._limits.timeout, request, self.find(engine, queries, k, by))

    async def lookup(self, engine: Engine, request: Request, look: Callable[[Corpus], T]) -> T:
        """Something of the corpus, in a thread. Raises `QueueFull`, and what `look` raises."""
        return await within(self._limits.timeout, request, self.look(engine, look))

    async def look(self, engine: Engine, look: Callable[[Corpus], T]) -> T:
        """The same for who is no request, and bounds the time."""
        with self._lookups.take(), engine.current.used() as generation:
            return await asyncio.to_thread(look, generation.corpus)

    async def find(self, engine: Engine, queries: Sequence[str], k: int, by: Way | None = None) -> Found:
        """`search` for who is no request, and bounds the time. On one index version; anew on the next one when that is
        why it failed, or what it may have read.
        """
        with engine.current.used() as generation:
            try:
                found = await self._found(generation, queries, k, by)
                if not engine.replaced(generation):
                    return found
            except QueueFull:
                raise
            except InfrastructureError:
                if not engine.moved(generation):
                    raise
        await engine.refresh()
        with engine.current.used() as generation:
            return await self._found(generation, queries, k, by)

    async def _found(self, generation: Generation, queries: Sequence[str], k: int, by: Way | None) -> Found:
        results = await self._batcher.submit(_Key(generation, generation.retriever(by), k), queries)
        return Found(results=[[_page(hit) for hit in hits] for hits in results], index_version=generation.version)


class Service:
    """What the routes of the search server share: one corpus."""

    def __init__(self, engine: Engine, limits: Limits, poll: float = POLL) -> None:
        self.engine, self.limits, self.metrics = engine, limits, Metrics()
        self._poll, self._searching = poll, Searching(limits, self.metrics)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Searches are answered inside; afterwards the corpus is closed."""
        async with self._searching:
            watch = asyncio.create_task(self.engine.watch(self._poll))
            try:
                yield
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
        self.engine.close()

    async def search(self, request: Request, queries: Sequence[str], k: int, by: Way | None = None) -> Found:
        """As `Searching.search`."""
        return await self._searching.search(self.engine, request, queries, k, by)

    async def lookup(self, request: Request, look: Callable[[Corpus], T]) -> T:
        """As `Searching.lookup`."""
        return await self._searching.lookup(self.engine, request, look)


async def _run(key: _Key, queries: Sequence[str]) -> list[list[Hit]]:
    with key.generation.used():  # those who asked may be gone before it ends
        return await search_many(key.retriever, queries, key.k)


def _page(hit: Hit) -> FoundPage:
    return FoundPage(
        page_id=hit.page_id, document=hit.ref.document, page=hit.ref.page, score=hit.score, ranks=hit.ranks
    )
