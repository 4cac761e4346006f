"""One corpus under search, swapped for what is on disk now without dropping a request.

The corpus and its vectors show what was committed to them last by themselves. What they can't is become others: a
corpus that was replaced, or its first vectors, or another encoder's. Then all is opened anew beside the old one, which
is closed after its last request.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vrag.corpus.store import Corpus
from vrag.errors import CorpusError, UsageError
from vrag.index.embedded import EmbeddedIndex
from vrag.protocols import PageEncoder
from vrag.retriever import Way, open_ways
from vrag.servers.generation import Generation, Identity, identity
from vrag.servers.serial import Encoders

if TYPE_CHECKING:
    from vrag.index.vectors import EncoderName, VectorIndex
    from vrag.kernels import KernelChoice

POLL = 1.0  # s between two looks at the files
RETRY = 30.0  # s after which what couldn't be opened is tried again
_log = logging.getLogger(__name__)


class Engine:
    """The generation that requests are to use. `refresh` or `watch` it for changes on disk."""

    def __init__(
        self,
        folder: Path,
        by: Way = "auto",
        encoder: EncoderName | None = None,
        kernel: KernelChoice | None = None,
        encoders: Encoders | None = None,
    ) -> None:
        """Opens it, which loads the encoder if there is one: the one that made the vectors, or `encoder`, which has to
        be the same. `encoders`, in the place of `encoder`: those that several engines share. Raises as `Corpus.open`
        and `open_retriever`.
        """
        if by == "text" and encoder is not None:
            raise UsageError(f"search by text asks no encoder: leave {encoder.name} out")
        self.folder, self.encoders = folder, encoders or Encoders(encoder)
        self._by: Way = by
        self._kernel = kernel
        self._boot, self._count = secrets.token_hex(4), itertools.count(1)
        self._refused: tuple[Identity, float] | None = None
        self._swapping, self._tasks = asyncio.Lock(), set[asyncio.Task[None]]()
        self._current, self.held = self._open(), 0

    @contextmanager
    def hold(self) -> Generator[None]:
        """Meanwhile it isn't to be closed to make room for others, whatever is its generation."""
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    @property
    def current(self) -> Generation:
        return self._current

    def present(self) -> bool:
        """Whether there is a corpus on disk."""
        return identity(self.folder, self._by) is not None

    def moved(self, generation: Generation) -> bool:
        """Whether something else is on disk, or in use, than `generation`."""
        return generation is not self._current or identity(self.folder, self._by) not in (generation.identity, None)

    def replaced(self, generation: Generation) -> bool:
        """Whether the catalogue itself is another one now, which a connection made late may have read."""
        found = identity(self.folder, self._by)
        return found is not None and found[0] != generation.identity[0]

    async def refresh(self) -> None:
        """Swap to what is on disk now. What can't be opened is logged, and the old one stays. Goes on when whoever
        waits for it is cancelled: what is half open has to be used or closed.
        """
        task = asyncio.create_task(self._refresh())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def _refresh(self) -> None:
        async with self._swapping:
            found = await asyncio.to_thread(identity, self.folder, self._by)
            if found is None or found == self._current.identity or self._is_refused(found):
                return
            try:
                fresh = await asyncio.to_thread(self._open)
            except Exception as error:  # noqa: BLE001  the boundary: searches go on with the old one
                self._refused = found, asyncio.get_running_loop().time()
                _log.warning("corpus %s changed and can't be opened, the old one stays: %s", self.folder, error)
                return
            old, self._current = self._current, fresh
            _log.info("corpus %s changed: index version %s replaces %s", self.folder, fresh.version, old.version)
            old.retire()

    async def watch(self, seconds: float = POLL) -> None:
        """Refresh for ever."""
        while True:
            await asyncio.sleep(seconds)
            await self.refresh()

    def close(self) -> None:
        self._current.retire()

    def _is_refused(self, found: Identity) -> bool:
        if self._refused is None or self._refused[0] != found:
            return False
        return asyncio.get_running_loop().time() - self._refused[1] < RETRY

    def _open(self) -> Generation:
        found = identity(self.folder, self._by)  # before it is opened: what changes meanwhile is seen by the next look
        corpus = Corpus.open(self.folder)
        try:
            if found is None:
                raise CorpusError(f"corpus {self.folder} is being made: try again")
            ways = open_ways(corpus, self._by, self._encoder_of, self._kernel)
        except BaseException:
            corpus.close()
            raise
        return Generation(f"{self._boot}-{next(self._count)}", found, corpus, ways, self._by)

    def _encoder_of(self, index: VectorIndex) -> PageEncoder:
        if isinstance(index, EmbeddedIndex):
            index.ids()  # maps its files now: later another index may have taken their names
        return self.encoders.of(index)
