"""What the routes of the agent server share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import HTTPException
from starlette.requests import Request

from vrag.corpus.options import IngestOptions
from vrag.corpus.paths import uploads_folder
from vrag.errors import UsageError
from vrag.policies.speaker import SpeakerOf
from vrag.servers.agent.asking import Asked, Asking
from vrag.servers.agent.indexing import Indexer
from vrag.servers.agent.limits import AgentLimits
from vrag.servers.agent.playing import Question
from vrag.servers.agent.runs import Runs
from vrag.servers.agent.shelf import Shelf
from vrag.servers.batching import Slots
from vrag.servers.engine import POLL
from vrag.servers.metrics import Metrics
from vrag.servers.service import Searching


class AgentService:
    """Corpora, what searches them, what answers from them, and what indexes them. The first policy is the default."""

    def __init__(
        self,
        shelf: Shelf,
        policies: dict[str, SpeakerOf],
        limits: AgentLimits,
        options: IngestOptions,
        *,
        read_only: bool = False,
        poll: float = POLL,
        owed: Mapping[str, Sequence[Path]] | None = None,
        runs: Path | None = None,
    ) -> None:
        """`owed`: files and folders to index at the start, by corpus; `runs`: the folder of the runs that it
        shows. Raises `UsageError` where that is none.
        """
        self.runs = None if runs is None else Runs(runs)  # first: it may be none, and the others open something
        self.shelf, self.limits, self.metrics, self.read_only = shelf, limits, Metrics(), read_only
        self.searching = Searching(limits, self.metrics)
        self.asking = Asking(limits, self.metrics, policies)
        self.indexer = Indexer(shelf, options)
        self.uploads = Slots(limits.uploads)
        self._owed = dict(owed or {})
        self._poll = poll
        self.metrics.gauge("vrag_corpora_to_index", "Corpora that wait to be indexed.", lambda: self.indexer.owed)

    @property
    def policies(self) -> list[str]:
        return list(self.asking.policies)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Requests are answered inside; afterwards nothing runs and all corpora are closed."""
        self._go_on()
        indexing = asyncio.create_task(self.indexer.work())
        watching = asyncio.create_task(self.shelf.watch(self._poll))
        try:
            async with self.searching, self.asking:
                yield
        finally:
            watching.cancel()
            self.indexer.end()
            await asyncio.gather(watching, indexing, return_exceptions=True)
            self.shelf.close()

    def _go_on(self) -> None:
        """With what an earlier server may have left unindexed, and what this one was started with."""
        for name in [] if self.read_only else self.shelf.names():
            if uploads_folder(self.shelf.folder(name)).is_dir():
                self.indexer.ask(name)
        for name, paths in self._owed.items():
            self.indexer.ask(name, paths)

    def writable(self) -> None:
        """Raises 403 where nothing may be changed."""
        if self.read_only:
            raise HTTPException(403, "this server only reads: it was started with --read-only")

    async def ask(self, corpus: str, policy: str | None, question: Question) -> Asked:
        """Raises `QueueFull`, `UnknownCorpus`, `UsageError` for a policy that isn't here, and what opening a corpus
        raises.
        """
        chosen = policy or self.policies[0]
        if chosen not in self.asking.policies:
            raise UsageError(f"no such policy here: this server has {', '.join(self.policies)}")
        return self.asking.ask(corpus, await self.shelf.engine(corpus), chosen, question)


def service(request: Request) -> AgentService:
    return request.app.state.service
