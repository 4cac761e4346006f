"""Documents that came over HTTP, or that the server was started with, become pages in the background, one corpus at a
time, as `vrag index` makes them.

What is killed or stopped goes on with the next run. Documents are read by worker processes that can be killed
(`vrag.corpus.pool`); here is only a thread that waits for them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vrag.corpus.ingest import IngestReport, ingest
from vrag.corpus.options import IngestOptions, Progress
from vrag.corpus.paths import uploads_folder, vectors_marker
from vrag.corpus.recognition import recognise
from vrag.corpus.store import Corpus, Failure
from vrag.database import Busy
from vrag.errors import InfrastructureError, VragError
from vrag.servers.agent.shelf import Shelf
from vrag.servers.engine import Engine
from vrag.types import Frozen

AGAIN = 5.0  # s after which a corpus that another process indexes is tried again
MOST = 300.0  # s to which AGAIN grows while an encoder doesn't answer
AWAY = (
    "the encoder, or what keeps its vectors, doesn't answer: it is asked again, and until then new pages are found by"
    " their text; the server's log says more"
)
_log = logging.getLogger(__name__)


class IndexingState(Frozen):
    """How far the indexing of a corpus is: `done` of `total` pages of a `stage`, at the document `current`. `runs`
    ended since the server began; `reason` says why the last one failed, or what it waits for.
    """

    state: Literal["idle", "waiting", "running", "failed"] = "idle"
    stage: str | None = None
    done: int = 0
    total: int = 0
    failed: int = 0
    current: str | None = None
    runs: int = 0
    reason: str | None = None
    left: tuple[Failure, ...] = ()  # documents that the last run left: office documents wait for LibreOffice


class _Ended(Exception):
    """The server ends: so does the run, after what it has committed."""


@dataclass
class Indexer:
    """Indexes the uploads of the corpora that it is asked to, while `work` runs."""

    shelf: Shelf
    options: IngestOptions

    def __post_init__(self) -> None:
        self._states: dict[str, IndexingState] = {}
        self._owed: dict[str, None] = {}  # in the order in which they came
        self._paths: dict[str, tuple[Path, ...]] = {}
        self._pauses: dict[str, float] = {}  # s that a corpus waits whose encoder is away
        self._later: dict[str, asyncio.TimerHandle] = {}
        self._arrived, self._ending = asyncio.Event(), False

    def ask(self, corpus: str, paths: Sequence[Path] = ()) -> None:
        """Index it as soon as possible, once more if a run is under way; from now on with the files under `paths`, too,
        which are nothing that came over HTTP.
        """
        self._owed[corpus] = None
        self._paths[corpus] = (*self._paths.get(corpus, ()), *paths)
        if self.state(corpus).state != "running":
            self._set(corpus, state="waiting", reason=None)
        self._arrived.set()

    def state(self, corpus: str) -> IndexingState:
        return self._states.get(corpus, IndexingState())

    @property
    def owed(self) -> int:
        return len(self._owed)

    def end(self) -> None:
        """`work` returns soon, when the page that is being read is there."""
        self._ending = True
        self._arrived.set()

    async def work(self) -> None:
        while not self._ending:
            await self._arrived.wait()
            self._arrived.clear()
            while self._owed and not self._ending:
                corpus = next(iter(self._owed))
                del self._owed[corpus]
                await self._run(corpus)

    async def _run(self, corpus: str) -> None:
        self._set(corpus, state="running", stage=None, done=0, total=0, failed=0, current=None, reason=None)
        loop = asyncio.get_running_loop()

        def progress(made: Progress) -> None:
            if self._ending:
                raise _Ended
            loop.call_soon_threadsafe(self._note, corpus, made)

        state, reason, left = "idle", None, list[Failure]()
        try:
            left, away = await self._index(corpus, progress)
            if away is None:
                self._pauses.pop(corpus, None)
            else:
                state, reason = "waiting", AWAY
                pause = self._pauses[corpus] = min(2 * self._pauses.get(corpus, AGAIN / 2), MOST)
                _log.warning("corpus %s has pages without vectors, again in %g s: %s", corpus, pause, away)
                self._ask_later(corpus, pause)
        except Busy as busy:
            _log.info("corpus %s: %s", corpus, busy)
            state, reason = "waiting", "another process is indexing this corpus"
            self._ask_later(corpus, AGAIN)
        except _Ended:
            state = "waiting"
        except Exception as error:  # noqa: BLE001  the boundary: the other corpora go on
            _log.warning("corpus %s can't be indexed: %s", corpus, error, exc_info=not isinstance(error, VragError))
            state, reason = "failed", "the corpus can't be read or written; the server's log says why"
        again = corpus in self._owed
        runs = self.state(corpus).runs + (state != "waiting")
        self._set(corpus, state="waiting" if again else state, reason=reason, left=tuple(left), runs=runs, current=None)

    def _ask_later(self, corpus: str, seconds: float) -> None:
        if corpus in self._later:
            self._later[corpus].cancel()  # one is enough, however often it was asked for
        self._later[corpus] = asyncio.get_running_loop().call_later(seconds, self.ask, corpus)

    async def _index(
        self, corpus: str, progress: Callable[[Progress], None]
    ) -> tuple[list[Failure], InfrastructureError | None]:
        """As `vrag index`: first what makes pages searchable, OCR last. Returns what was left for a later run, and why
        there are no vectors yet: text waits for no encoder.
        """
        folder = self.shelf.folder(corpus)
        paths = [uploads_folder(folder), *self._paths.get(corpus, ())]
        report = await asyncio.to_thread(self._read, folder, paths, progress)
        away = None
        try:
            await self._encode(corpus, folder, progress)
        except InfrastructureError as error:
            away = error
        await asyncio.to_thread(self._recognise, folder, paths, progress)
        return report.office.left(), away

    def _read(self, folder: Path, paths: Sequence[Path], progress: Callable[[Progress], None]) -> IngestReport:
        uploads_folder(folder).mkdir(exist_ok=True)
        with Corpus.open(folder) as corpus:
            return ingest(paths, corpus, replace(self.options, ocr="off"), progress)

    async def _encode(self, name: str, folder: Path, progress: Callable[[Progress], None]) -> None:
        """Vectors of the new pages, where the corpus has vectors."""
        if vectors_marker(folder) is not None:
            engine = await self.shelf.engine(name)
            await asyncio.to_thread(_embed, engine, progress)

    def _recognise(self, folder: Path, paths: Sequence[Path], progress: Callable[[Progress], None]) -> None:
        with Corpus.open(folder) as corpus:
            recognise(corpus, self.options, progress, paths)

    def _note(self, corpus: str, made: Progress) -> None:
        fields = {"stage": made.stage, "done": made.done, "total": made.total, "failed": made.failed}
        self._set(corpus, **fields, current=made.current or None)

    def _set(self, corpus: str, **changes: object) -> None:
        self._states[corpus] = self.state(corpus).model_copy(update=changes)


def _embed(engine: Engine, progress: Callable[[Progress], None]) -> None:
    from vrag.embed import embed, open_index

    with Corpus.open(engine.folder) as corpus, closing(open_index(corpus)) as index:
        embed(corpus, engine.encoders.of(index), index, progress)
