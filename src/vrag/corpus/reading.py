"""Reading pages by worker processes.

A document is read in chunks of pages. A chunk whose worker crashes or hangs costs the page it was at: the
rest of the chunk becomes a new one. A document that goes on failing is given up, so that no file can hold up
the others for long.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from vrag.corpus.files import Found
from vrag.corpus.pool import Job, Lost, Pool
from vrag.corpus.writer import Writer
from vrag.errors import BudgetExceeded, CorpusError, UnreadableDocument

CHUNK = 32  # pages: bounds what pdfium keeps in memory, and lets workers share a long document
MAX_LOST = 3  # crashes or time-outs of one document
MAX_BAD = 50  # bad pages in a document without as many good ones

Notify = Callable[[int, int, int, str], None]  # done, total, failed, current document


@dataclass
class Chunk:
    """Pages of one document that go to a worker together. `at` counts those that are dealt with."""

    seq: int
    content: str
    file: Found
    pages: list[int]
    opened: bool = False
    at: int = 0

    def job(self) -> Job:
        file = self.file
        request = {"op": "read", "path": file.path, "document": self.content, "pages": self.pages}
        return Job({**request, "size": file.size, "mtime_ns": file.mtime_ns}, self)


class PageReading:
    """Read what is missing of `documents` (seq → a file that holds it)."""

    def __init__(self, writer: Writer, documents: dict[int, Found], notify: Notify) -> None:
        self.pages = self.failed = 0
        self.office: dict[int, Found] = {}  # those that are to be converted first, and weren't read
        self._writer = writer
        self._notify = notify
        self._jobs: deque[Job] = deque()
        self._good: Counter[int] = Counter()
        self._bad: Counter[int] = Counter()
        self._lost: Counter[int] = Counter()
        self._left: set[int] = set()
        self._expected = 0  # pages known to be read in this run
        self._unopened: set[int] = set()
        for seq, file in documents.items():
            content, count, missing = writer.pending(seq)
            if count is None:
                self._unopened.add(seq)
                self._jobs.append(Chunk(seq, content, file, list(range(1, CHUNK + 1))).job())
            else:
                self._expected += len(missing)
                self._jobs.extend(chunk.job() for chunk in _chunks(seq, content, file, missing))

    def run(self, pool: Pool) -> None:
        """Raises `CorpusError` when the corpus can't be written."""
        if not self._jobs:
            return
        with closing(pool.run(self._jobs)) as events:
            for event in events:
                chunk: Chunk = event.job.context
                if isinstance(event, Lost):
                    self._on_lost(chunk, event)
                else:
                    self._on_message(chunk, event.message)
                self._notify(self.pages + self.failed, self._estimate(), self.failed, chunk.file.name)
        self._writer.commit()

    def _estimate(self) -> int:
        opened = len(self._good | self._bad) or 1
        return self._expected + len(self._unopened) * max(1, self._expected // opened)

    def _on_message(self, chunk: Chunk, message: dict[str, Any]) -> None:
        if "fatal" in message:
            raise CorpusError(f"{message['fatal']}: mend that and run the command again; what was committed is kept")
        if "count" in message:
            chunk.opened = True
            self._on_opened(chunk, message["kind"], message["count"])
        elif "office" in message:
            self.office[chunk.seq] = chunk.file
            self._leave(chunk.seq)
        elif "page" not in message:
            self._fail(chunk.seq, None, message["failed"], message["reason"])
            self._leave(chunk.seq)
        elif chunk.seq in self._left:
            return
        elif "failed" in message:
            chunk.at += 1
            self._fail(chunk.seq, message["page"], message["failed"], message["reason"])
        else:
            chunk.at += 1
            self._writer.add_page(chunk.seq, message)
            self._good[chunk.seq] += 1
            self.pages += 1
            self._writer.commit_when_due()

    def _on_opened(self, chunk: Chunk, kind: str, count: int) -> None:
        """The first chunk of a document tells how many pages it has; the other chunks follow at once."""
        chunk.pages = [number for number in chunk.pages if number <= count]
        if chunk.seq not in self._unopened:
            return
        self._unopened.discard(chunk.seq)
        self._expected += count
        self._writer.set_count(chunk.seq, kind, count)
        rest = range(len(chunk.pages) + 1, count + 1)
        self._jobs.extendleft(
            one.job() for one in reversed(list(_chunks(chunk.seq, chunk.content, chunk.file, list(rest))))
        )

    def _on_lost(self, chunk: Chunk, lost: Lost) -> None:
        if chunk.seq in self._left:
            return
        kind = BudgetExceeded if lost.overdue else UnreadableDocument
        if not chunk.opened:
            self._fail(chunk.seq, None, kind.__name__, f"opening it {lost.reason}")
            self._leave(chunk.seq)
            return
        self._lost[chunk.seq] += 1
        if chunk.at < len(chunk.pages):
            self._fail(chunk.seq, chunk.pages[chunk.at], kind.__name__, f"reading the page {lost.reason}")
        rest = chunk.pages[chunk.at + 1 :]
        if chunk.seq not in self._left and rest:
            self._jobs.appendleft(Chunk(chunk.seq, chunk.content, chunk.file, rest).job())

    def _fail(self, seq: int, page: int | None, kind: str, reason: str) -> None:
        self.failed += 1
        self._bad[seq] += 1
        self._writer.add_failure(seq, page, kind, reason)
        self._writer.commit_when_due()
        hopeless = self._bad[seq] >= MAX_BAD and self._bad[seq] > self._good[seq]
        if page is not None and seq not in self._left and (self._lost[seq] >= MAX_LOST or hopeless):
            self._leave(seq)
            reason = f"given up after {self._bad[seq]} pages that can't be read; the others are left out"
            self._writer.add_failure(seq, None, UnreadableDocument.__name__, reason)

    def _leave(self, seq: int) -> None:
        """Read no more of a document."""
        self._left.add(seq)
        self._unopened.discard(seq)
        rest = [job for job in self._jobs if job.context.seq != seq]
        self._expected -= sum(len(job.context.pages) for job in self._jobs if job.context.seq == seq)
        self._jobs.clear()
        self._jobs.extend(rest)


def _chunks(seq: int, content: str, file: Found, pages: list[int]) -> Iterable[Chunk]:
    for start in range(0, len(pages), CHUNK):
        yield Chunk(seq, content, file, pages[start : start + CHUNK])
