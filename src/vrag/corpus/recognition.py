"""OCR of the pages that wait for it, after everything else that makes pages searchable.

The catalogue knows which pages are owed, so a run that ends anywhere is resumed by the next one. Worker processes
recognise, each page once; what they read is committed in batches and can be searched from then on. Meanwhile others
search, copy and index: a run keeps only other OCR runs out.
"""

from __future__ import annotations

import base64
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import Any

from vrag import database
from vrag.corpus import catalog, following, paths
from vrag.corpus.files import Scan, absolute
from vrag.corpus.ocr import why_missing
from vrag.corpus.options import IngestOptions, Progress
from vrag.corpus.owed import Outcome, Owed, OwedPage
from vrag.corpus.pool import Answer, Job, Lost, MakePool, NoWorker, WorkerPool
from vrag.corpus.store import Corpus, Failure
from vrag.corpus.writer import BATCH_SECONDS, sole_writer
from vrag.errors import BudgetExceeded, UnreadableDocument, UsageError
from vrag.types import Frozen

MAX_THREADS = 4  # of one engine; more cores run more engines
MAX_FAILED = 8  # pages, before the first success: an engine that has only failed is given up


class OcrReport(Frozen):
    """What a run did, and how the pages that it is about stand after it (older failures included)."""

    pages: int  # that the engine has read
    owed: int  # that still wait
    without_text: int  # on which it read nothing, or failed
    blank: int  # that are of one colour, and were left out
    failures: list[Failure]
    not_done: str | None  # why pages were left that were to be read
    seconds: float


def sole_recogniser(folder: Path) -> AbstractContextManager[None]:
    """Keep other OCR runs out; the lock goes with the process, however it ends."""
    return database.exclusive(paths.ocr_lock(folder), f"another process is recognising text of corpus {folder}")


def missing_engine(options: IngestOptions) -> str | None:
    """Why pages can't be recognised, as far as can be told without loading the engine. Raises `UsageError` when "force"
    asks for it, and for a bad name.
    """
    missing = why_missing(options.ocr_engine)
    if missing and options.ocr == "force":
        raise UsageError(f"{missing}, or choose --ocr auto")
    return missing


def recognise(
    corpus: Corpus,
    options: IngestOptions | None = None,
    progress: Callable[[Progress], None] | None = None,
    paths: Sequence[str | Path] = (),
    make_pool: MakePool = WorkerPool,
) -> OcrReport:
    """Recognise the pages that wait for OCR; with `paths`, only those of the files there. With `options.ocr` "off" it
    counts them. A page that fails is in the report, and tried again with `options.retry_failed` only.

    Where the engine is missing or doesn't start, or another process is recognising, pages go on waiting, and the report
    says why. Raises as `missing_engine`, and `CorpusError` when the corpus can't be written.
    """
    options = options or IngestOptions()
    started, done, not_done = time.monotonic(), 0, None
    wanted = Scan(roots=[absolute(path) for path in paths]).covers if paths else None
    with (
        catalog.translated(corpus.folder),
        closing(Owed(corpus.folder, wanted, force=options.ocr == "force")) as owed,
    ):
        if options.ocr != "off":
            done, not_done = _recognise(corpus, owed, options, progress or (lambda _: None), make_pool)
        return OcrReport(
            pages=done,
            owed=owed.count(),
            without_text=owed.without_text(),
            blank=owed.blank(),
            failures=owed.failures(),
            not_done=not_done,
            seconds=round(time.monotonic() - started, 2),
        )


def _recognise(
    corpus: Corpus, owed: Owed, options: IngestOptions, progress: Callable[[Progress], None], make_pool: MakePool
) -> tuple[int, str | None]:
    """How many pages were read, and why others were left."""
    missing = missing_engine(options)
    corpus.check_search()
    try:
        with sole_recogniser(corpus.folder):
            if options.retry_failed:
                owed.retry()
            run = _Run(owed, options, progress)
            if missing:
                run.not_done = missing
            elif run.total:
                run.work(corpus, make_pool)
    except database.Busy as busy:
        return 0, str(busy) if owed.pages() else None
    with suppress(database.Busy), sole_writer(corpus.folder):  # a run that is indexing follows at its end
        following.follow(corpus.folder, lambda done, total: progress(Progress("text", done, total)))
    return run.read, run.not_done if run.total else None


class _Run:
    """Pages on their way to workers and back."""

    def __init__(self, owed: Owed, options: IngestOptions, progress: Callable[[Progress], None]) -> None:
        self.read = self.failed = 0
        self.not_done: str | None = None
        self._owed = owed
        self._options = options
        self._progress = progress
        self._jobs = deque(Job(_request(page), page) for page in owed.pages())
        self.total = len(self._jobs)
        self._batch: list[Outcome] = []
        self._since = time.monotonic()  # when the batch began

    def work(self, corpus: Corpus, make_pool: MakePool) -> None:
        threads = min(MAX_THREADS, self._options.processes)
        settings = {
            "folder": str(corpus.folder.absolute()),
            "dpi": corpus.dpi,
            "memory": 0,
            "threads": threads,
            "engine": self._options.ocr_engine,
        }
        size = max(1, self._options.processes // threads)
        self._say("")
        try:
            with make_pool(settings, size, self._options.ocr_seconds) as pool, closing(pool.run(self._jobs)) as events:
                for event in events:
                    self._take(event)
                    if self.not_done:
                        break
        except NoWorker as reason:
            self.not_done = str(reason)
        self._store()

    def _take(self, event: Answer | Lost) -> None:
        page: OwedPage = event.job.context
        if isinstance(event, Lost):
            kind = BudgetExceeded if event.overdue else UnreadableDocument
            self._fail(page, kind.__name__, f"OCR of the page {event.reason}")
        elif "failed" in event.message:
            self._fail(page, event.message["failed"], f"OCR of the page failed: {event.message['reason']}")
        else:
            self.read += 1
            self._add(Outcome(page, read=event.message))
        self._say(page.document)

    def _fail(self, page: OwedPage, kind: str, reason: str) -> None:
        self.failed += 1
        self._add(Outcome(page, failure=(kind, reason)))
        if self.failed == MAX_FAILED and not self.read and self.failed < self.total:
            self.not_done = f"OCR failed on each of the first {MAX_FAILED} pages, and the others were left"

    def _add(self, outcome: Outcome) -> None:
        if not self._batch:
            self._since = time.monotonic()
        self._batch.append(outcome)
        if len(self._batch) >= self._options.batch_pages or time.monotonic() - self._since >= BATCH_SECONDS:
            self._store()

    def _store(self) -> None:
        if self._batch:
            self._owed.store(self._batch)
            self._batch = []

    def _say(self, document: str) -> None:
        self._progress(Progress("ocr", self.read + self.failed, self.total, self.failed, document))


def _request(page: OwedPage) -> dict[str, Any]:
    return {"op": "ocr", "id": page.id, "page": page.number, "words": base64.b64encode(page.words).decode()}
