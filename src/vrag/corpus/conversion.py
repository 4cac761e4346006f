"""Office documents on their way to pages: each is converted once, by worker processes, to a PDF in the corpus.

The PDF is read like any other, under the name of its document, and deleted when all its pages are read. A run that ends
anywhere is resumed by the next one. Where LibreOffice is missing the documents wait, and the report says so.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vrag.corpus import paths
from vrag.corpus.files import Found
from vrag.corpus.office import INSTALL, find_soffice
from vrag.corpus.options import IngestOptions
from vrag.corpus.pool import Answer, Job, Lost, WorkerPool
from vrag.corpus.store import Failure
from vrag.corpus.writer import Writer
from vrag.errors import BudgetExceeded, CorpusError, UnreadableDocument, UnsupportedFormat
from vrag.types import Frozen

MAX_TOGETHER = 4  # conversions, of some 200 MB each
MAX_FAILED = 8  # documents, before the first success: a LibreOffice that has only failed is given up

Notify = Callable[[int, int, int, str], None]  # done, total, failed, current document


class OfficeReport(Frozen):
    """What a run did. `waiting`: names of the documents that were left, and `not_done` why."""

    converted: int
    waiting: list[str]
    not_done: str | None

    def left(self) -> list[Failure]:
        """The same as failures, for who has no other place to name them. The next run tries them again."""
        reason = self.not_done or ""
        return [
            Failure(document=name, page=None, stage="convert", kind=UnsupportedFormat.__name__, reason=reason)
            for name in self.waiting
        ]


@dataclass
class Conversion:
    """Office documents (seq → their file) of one run; `pdfs` are those that can be read now, as files of their own."""

    folder: Path  # of the corpus
    writer: Writer
    options: IngestOptions
    notify: Notify
    pdfs: dict[int, Found] = field(default_factory=lambda: {})
    converted: int = 0
    failed: int = 0
    waiting: list[str] = field(default_factory=lambda: [])
    not_done: str | None = None

    def run(self, documents: dict[int, Found]) -> None:
        """Raises `CorpusError` when the corpus can't be written."""
        jobs: deque[Job] = deque()
        soffice = find_soffice()
        for seq, file in documents.items():
            content, _, _ = self.writer.pending(seq)
            if paths.converted_file(self.folder, content).is_file():
                self._ready(seq, content, file)
            elif soffice is None:
                self.waiting.append(file.name)
                self.not_done = f"LibreOffice isn't there: {INSTALL}"
            else:
                jobs.append(_job(seq, content, file, soffice))
        if jobs:
            self._convert(jobs)

    def report(self) -> OfficeReport:
        return OfficeReport(converted=self.converted, waiting=self.waiting, not_done=self.not_done)

    def _convert(self, jobs: deque[Job]) -> None:
        total = len(jobs)
        settings = {"folder": str(self.folder.absolute()), "dpi": 0, "memory": self.options.office_memory}
        size = min(MAX_TOGETHER, self.options.processes)
        try:
            with WorkerPool(settings, size, self.options.office_seconds) as pool:
                for event in pool.run(jobs):
                    seq, content, file = event.job.context
                    self._take(event, seq, content, file)
                    self.notify(self.converted + self.failed, total, self.failed, file.name)
                    if self.failed == MAX_FAILED and not self.converted and jobs:
                        self.not_done = f"LibreOffice failed on each of the first {MAX_FAILED} documents"
                        self.waiting += [job.context[2].name for job in jobs]
                        jobs.clear()
        finally:
            self.writer.commit()
            clear_unfinished(self.folder)

    def _take(self, event: Answer | Lost, seq: int, content: str, file: Found) -> None:
        if isinstance(event, Lost):
            kind = BudgetExceeded if event.overdue else UnreadableDocument
            self._fail(seq, kind.__name__, f"converting it {event.reason}")
        elif "fatal" in event.message:
            raise CorpusError(f"{event.message['fatal']}: mend that and run the command again")
        elif "failed" in event.message:
            self._fail(seq, event.message["failed"], event.message["reason"])
        else:
            self.converted += 1
            self._ready(seq, content, file)

    def _ready(self, seq: int, content: str, file: Found) -> None:
        pdf = paths.converted_file(self.folder, content)
        info = pdf.stat()
        self.pdfs[seq] = Found(str(pdf.absolute()), file.name, info.st_size, info.st_mtime_ns)

    def _fail(self, seq: int, kind: str, reason: str) -> None:
        self.failed += 1
        self.writer.add_failure(seq, None, kind, reason)
        self.writer.commit_when_due()


def clear_unfinished(folder: Path) -> None:
    """Delete what a conversion that was killed has left."""
    shutil.rmtree(paths.unfinished_conversions(folder), ignore_errors=True)


def clear_read(folder: Path, writer: Writer) -> None:
    """Delete the PDFs of which no page is still to be read, or whose document has left the corpus."""
    for pdf in paths.converted_folder(folder).glob("*.pdf"):
        if not writer.is_content_owed(pdf.stem):
            pdf.unlink(missing_ok=True)


def _job(seq: int, content: str, file: Found, soffice: str) -> Job:
    request = {"op": "convert", "path": file.path, "document": content, "soffice": soffice}
    return Job({**request, "size": file.size, "mtime_ns": file.mtime_ns}, (seq, content, file))
