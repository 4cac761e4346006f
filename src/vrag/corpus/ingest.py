"""Files → corpus. A run does only what is new or changed, so running it again is how to resume it.

Order: what is gone is forgotten; new and changed files are hashed and noted; documents without a file leave;
pages that are missing are read by worker processes and committed in batches; texts that the caller has of pages are
theirs; pages without text go to OCR; a text index beside the catalogue follows.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vrag.corpus import catalog, following
from vrag.corpus.files import Found, Scan, as_text, content_id, scan
from vrag.corpus.fulltext import TextIndex
from vrag.corpus.ocr import HINT, ocr_available
from vrag.corpus.pool import WorkerPool
from vrag.corpus.reading import PageReading, TextRecognition
from vrag.corpus.store import Corpus, Failure
from vrag.corpus.writer import BATCH_PAGES, Source, Writer, sole_writer
from vrag.errors import UnreadableDocument, UsageError
from vrag.killpoints import killpoint
from vrag.types import Frozen

# the first is `vrag.data.vidore`'s, the last `vrag.embed`'s
Stage = Literal["unpack", "hash", "read", "ocr", "text", "encode"]


@dataclass(frozen=True)
class IngestOptions:
    """`ocr`: "auto" reads pages without text when the extra is installed, "force" reads every page. `text`: what is to
    search the text from now on; None: what the corpus uses, which is FTS5 at first.
    """

    workers: int = 0  # 0: one for each core
    ocr: Literal["auto", "off", "force"] = "auto"
    text: TextIndex | None = None
    retry_failed: bool = False
    page_seconds: float = 30.0
    ocr_seconds: float = 120.0
    page_memory: int = 2 << 30  # bytes of address space of a process that reads documents
    batch_pages: int = BATCH_PAGES  # committed together: what a kill can cost

    @property
    def processes(self) -> int:
        if self.workers:
            return self.workers
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Progress:
    """How far a run is. `total` is an estimate while documents are still to be opened."""

    stage: Stage
    done: int
    total: int
    failed: int = 0
    current: str = ""


class IngestReport(Frozen):
    """What a run did, and how the paths of the run stand after it (older failures included)."""

    files: int
    unchanged: int
    documents_removed: int
    pages_added: int
    pages_ocr: int
    pages_without_text: int
    pages_here: int
    pages: int  # in the whole corpus
    text_index: TextIndex
    skipped: dict[str, int]  # files of other kinds, by suffix
    failures: list[Failure]
    seconds: float


def ingest(
    paths: Sequence[str | Path],
    corpus: Corpus,
    options: IngestOptions | None = None,
    progress: Callable[[Progress], None] | None = None,
    texts: Mapping[str, str] | None = None,
) -> IngestReport:
    """Bring `corpus` in line with the files under `paths`; everything else in it stays. `texts`: page id → the text of
    that page, where a dataset has it; such pages need no OCR.

    Raises `UsageError` for a path that neither exists nor was indexed before and for an extra that isn't installed, and
    `CorpusError` when the corpus can't be written (disk full, another run at work). What a single file or page does
    wrong is data in the report.
    """
    options = options or IngestOptions()
    if options.ocr == "force" and not ocr_available():
        raise UsageError(f"OCR isn't installed: {HINT}, or choose --ocr auto")
    with (
        sole_writer(corpus.folder),
        catalog.translated(corpus.folder),
        closing(Writer(corpus.folder, options.batch_pages)) as writer,
    ):
        following.choose(corpus.folder, options.text)
        return _Run(corpus, writer, options, progress or (lambda _: None)).run(paths, texts or {})


class _Run:
    """One run and what it knows meanwhile."""

    def __init__(
        self, corpus: Corpus, writer: Writer, options: IngestOptions, progress: Callable[[Progress], None]
    ) -> None:
        self.corpus = corpus
        self.writer = writer
        self.options = options
        self.progress = progress
        self.documents: dict[int, Found] = {}  # document → the file it is read from

    def run(self, paths: Sequence[str | Path], texts: Mapping[str, str]) -> IngestReport:
        started = time.monotonic()
        self._clean_up()
        listed = scan(paths)
        before = self.writer.sources()
        _check_roots(listed, before)
        present = {file.path for file in listed.found}
        self.writer.forget([one for one in before.values() if listed.covers(one.path) and one.path not in present])
        unchanged = self._register(listed, before)
        self.writer.rename_documents()
        removed = self.writer.drop_orphans()
        if self.options.retry_failed:
            self.writer.clear_failures(self.documents)
        reading = self._read()
        self._give(texts)
        recognised = self._recognise()
        self.writer.commit()
        following.follow(self.corpus.folder, lambda done, total: self.progress(Progress("text", done, total)))
        return IngestReport(
            files=len(listed.found),
            unchanged=unchanged,
            documents_removed=removed,
            pages_added=reading.pages,
            pages_ocr=recognised.pages,
            skipped=dict(listed.skipped.most_common()),
            seconds=round(time.monotonic() - started, 2),
            **self._standing(listed),
        )

    def _clean_up(self) -> None:
        """Finish what a killed run left half done."""
        unfinished = self.corpus.folder / "pages" / "tmp"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, exist_ok=True)
        self.writer.empty_trash()

    def _register(self, listed: Scan, before: dict[str, Source]) -> int:
        """Note every file that is new or changed; returns how many are neither."""
        unchanged = 0
        for path, reason in listed.blocked.items():
            problem = (UnreadableDocument.__name__, reason)
            self.writer.register(Found(path, Path(path).name, -1, -1), None, problem)
        for count, file in enumerate(listed.found):
            known = before.get(file.path)
            if known and known.document is not None and (known.size, known.mtime_ns) == (file.size, file.mtime_ns):
                unchanged += 1
                continue
            self.progress(Progress("hash", count, len(listed.found), current=as_text(file.name)))
            try:
                self.writer.register(file, content_id(file.path))
            except OSError as error:
                problem = (UnreadableDocument.__name__, error.strerror or str(error))
                self.writer.register(file, None, problem)
            killpoint("ingest.file-noted")
            self.writer.commit_when_due()
        self.writer.commit()
        after = self.writer.sources()
        for file in listed.found:
            document = after[file.path].document
            if document is not None:
                self.documents.setdefault(document, file)
        return unchanged

    def _read(self) -> PageReading:
        reading = PageReading(self.writer, self.documents, self._notify("read"))
        with self._pool(self.options.processes, 1, self.options.page_seconds, self.options.page_memory) as pool:
            reading.run(pool)
        return reading

    def _give(self, texts: Mapping[str, str]) -> None:
        for id, text in texts.items():
            if text.strip():
                self.writer.give_text(id, text)
                self.writer.commit_when_due()
        self.writer.commit()

    def _recognise(self) -> TextRecognition:
        wanted = self.options.ocr != "off" and ocr_available()
        force = self.options.ocr == "force"
        pages = self.writer.without_text(list(self.documents), force=force) if wanted else []
        recognition = TextRecognition(
            self.writer, pages, lambda seq: as_text(self.documents[seq].name), self._notify("ocr")
        )
        threads = min(4, self.options.processes)
        with self._pool(max(1, self.options.processes // threads), threads, self.options.ocr_seconds, 0) as pool:
            recognition.run(pool)
        return recognition

    def _pool(self, size: int, threads: int, seconds: float, memory: int) -> WorkerPool:
        settings = {
            "folder": str(self.corpus.folder.absolute()),
            "dpi": self.corpus.dpi,
            "memory": memory,
            "threads": threads,
        }
        return WorkerPool(settings, size, seconds)

    def _notify(self, stage: Stage) -> Callable[[int, int, int, str], None]:
        return lambda done, total, failed, current: self.progress(Progress(stage, done, total, failed, current))

    def _standing(self, listed: Scan) -> dict[str, Any]:
        """How the paths of this run stand in the corpus now."""
        stored, without = self.writer.count_pages(self.documents)
        names = self.writer.names(listed.covers)
        blocked = {os.fsencode(path) for path in listed.blocked}
        names |= self.writer.names(lambda path: os.fsencode(path) in blocked)
        return {
            "pages_here": stored,
            "pages_without_text": without,
            "pages": self.corpus.count(),
            "text_index": self.corpus.text_index,
            "failures": [failure for failure in self.corpus.failures() if failure.document in names],
        }


def _check_roots(listed: Scan, known: dict[str, Source]) -> None:
    for root in listed.roots:
        inside = Scan(roots=[root])
        if not os.path.lexists(root) and not any(inside.covers(path) for path in known):
            raise UsageError(f"no such file or folder: {as_text(root)}")
