"""Files → corpus. A run does only what is new or changed, so running it again is how to resume it.

Order: what is gone is forgotten; new and changed files are hashed and noted; documents without a file leave;
pages that are missing are read by worker processes and committed in batches, those of office documents after these are
converted; texts that the caller has of pages are
theirs; a text index beside the catalogue follows. Then the pages that wait for OCR are recognised, while others may
index (`vrag.corpus.recognition`).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from vrag.corpus import catalog, conversion, following
from vrag.corpus.conversion import Conversion, OfficeReport
from vrag.corpus.files import Found, Scan, as_text, content_id, is_gone, scan
from vrag.corpus.fulltext import TextIndex
from vrag.corpus.options import IngestOptions, Progress, Stage
from vrag.corpus.paths import unfinished_pages
from vrag.corpus.pool import MakePool, WorkerPool
from vrag.corpus.reading import PageReading
from vrag.corpus.recognition import OcrReport, missing_engine, recognise
from vrag.corpus.store import Corpus, Failure
from vrag.corpus.writer import Source, Writer, sole_writer
from vrag.errors import UnreadableDocument, UsageError
from vrag.killpoints import killpoint
from vrag.types import Frozen


class IngestReport(Frozen):
    """What a run did, and how the paths of the run stand after it (older failures included; those of OCR in `ocr`)."""

    files: int
    unchanged: int  # files that were known, and of which nothing was left to be read
    documents_removed: int
    pages_added: int
    pages_here: int
    pages: int  # in the whole corpus
    text_index: TextIndex
    skipped: dict[str, int]  # files of other kinds, by suffix
    office: OfficeReport
    failures: list[Failure]
    seconds: float
    ocr: OcrReport


def ingest(
    paths: Sequence[str | Path] | str | Path,
    corpus: Corpus,
    options: IngestOptions | None = None,
    progress: Callable[[Progress], None] | None = None,
    texts: Mapping[str, str] | None = None,
    make_pool: MakePool = WorkerPool,
) -> IngestReport:
    """Bring `corpus` in line with the files under `paths`; everything else in it stays. `texts`: page id → the text of
    that page, where a dataset has it; such pages need no OCR. `make_pool`: who reads pages, if not processes here.

    Raises `UsageError` for a path that neither exists nor was indexed before and for an extra that isn't installed, and
    `CorpusError` when the corpus can't be written (disk full, another run at work). What a single file or page does
    wrong is data in the report.
    """
    paths = [paths] if isinstance(paths, (str, Path)) else paths
    options = options or IngestOptions()
    say = progress or _silent
    missing_engine(options)
    with (
        sole_writer(corpus.folder),
        catalog.translated(corpus.folder),
        closing(Writer(corpus.folder, options.batch_pages)) as writer,
    ):
        following.choose(corpus.folder, options.text)
        done = _Run(corpus, writer, options, say, make_pool).run(paths, texts or {})
    return IngestReport(**done, ocr=recognise(corpus, options, say, paths, make_pool))


class _Run:
    """One run and what it knows meanwhile."""

    def __init__(
        self,
        corpus: Corpus,
        writer: Writer,
        options: IngestOptions,
        progress: Callable[[Progress], None],
        make_pool: MakePool,
    ) -> None:
        self.corpus = corpus
        self.writer = writer
        self.options = options
        self.progress = progress
        self.make_pool = make_pool
        self.documents: dict[int, Found] = {}  # document → the file it is read from

    def run(self, paths: Sequence[str | Path], texts: Mapping[str, str]) -> dict[str, Any]:
        """The report but for OCR."""
        started = time.monotonic()
        self._clean_up()
        listed = scan(paths)
        before = self.writer.sources()
        _check_roots(listed, before)
        if not self.options.emptied:
            own = f"{self.corpus.folder.absolute()}{os.sep}"  # uploads: no disk that may be missing
            listed.hold_emptied([path for path in before if not path.startswith(own)])
        present = listed.present
        self.writer.forget([one for one in before.values() if listed.covers(one.path) and one.path not in present])
        known = self._register(listed, before)
        self.writer.rename_documents()
        removed = self.writer.drop_orphans()
        if self.options.retry_failed:
            self.writer.clear_failures(self.documents)
        unchanged = sum(not self.writer.is_owed(seq) for seq in known)
        pages, office = self._read()
        self._give(texts)
        following.follow(self.corpus.folder, lambda done, total: self.progress(Progress("text", done, total)))
        return {
            "files": len(listed.found),
            "unchanged": unchanged,
            "documents_removed": removed,
            "pages_added": pages,
            "office": office,
            "skipped": dict(listed.skipped.most_common()),
            "seconds": round(time.monotonic() - started, 2),
            **self._standing(listed),
        }

    def _clean_up(self) -> None:
        """Finish what a killed run left half done."""
        unfinished = unfinished_pages(self.corpus.folder)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, exist_ok=True)
        conversion.clear_unfinished(self.corpus.folder)
        self.writer.empty_trash()

    def _register(self, listed: Scan, before: dict[str, Source]) -> list[int]:
        """Note every file that is new or changed; returns the documents of those that are neither."""
        unchanged: list[int] = []
        present = listed.present
        self.writer.clear_blocked([*present, *listed.blocked])
        for path, reason in listed.blocked.items():
            self.writer.block(path, UnreadableDocument.__name__, reason)
        for count, file in enumerate(listed.found):
            known = before.get(file.path)
            if known and known.document is not None and (known.size, known.mtime_ns) == (file.size, file.mtime_ns):
                unchanged.append(known.document)
                continue
            self.progress(Progress("hash", count, len(listed.found), current=as_text(file.name)))
            try:
                content = content_id(file.path)
                others = [one for one in self.writer.holders(content) if one.path not in present]
                self.writer.forget(one for one in others if is_gone(one.path))  # it was moved here
                self.writer.register(file, content)
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

    def _read(self) -> tuple[int, OfficeReport]:
        """How many pages were read, and what became of office documents, which are converted after the others."""
        reading = self._read_files(self.documents)
        office = Conversion(self.corpus.folder, self.writer, self.options, self._notify("convert"))
        office.run(reading.office)
        converted = self._read_files(office.pdfs)
        conversion.clear_read(self.corpus.folder, self.writer)
        return reading.pages + converted.pages, office.report()

    def _read_files(self, documents: dict[int, Found]) -> PageReading:
        reading = PageReading(self.writer, documents, self._notify("read"))
        settings = {
            "folder": str(self.corpus.folder.absolute()),
            "dpi": self.corpus.dpi,
            "memory": self.options.page_memory,
        }
        with self.make_pool(settings, self.options.processes, self.options.page_seconds) as pool:
            reading.run(pool)
        return reading

    def _give(self, texts: Mapping[str, str]) -> None:
        for id, text in texts.items():
            if text.strip():
                self.writer.give_text(id, text)
                self.writer.commit_when_due()
        self.writer.commit()

    def _notify(self, stage: Stage) -> Callable[[int, int, int, str], None]:
        return lambda done, total, failed, current: self.progress(Progress(stage, done, total, failed, current))

    def _standing(self, listed: Scan) -> dict[str, Any]:
        """How the paths of this run stand in the corpus now."""
        names = self.writer.names(listed.covers)
        blocked = {os.fsencode(path) for path in listed.blocked}
        names |= self.writer.names(lambda path: os.fsencode(path) in blocked)
        return {
            "pages_here": self.writer.count_pages(self.documents),
            "pages": self.corpus.count(),
            "text_index": self.corpus.text_index,
            "failures": [one for one in self.corpus.failures() if one.stage == "read" and one.document in names],
        }


def _silent(_: Progress) -> None:
    pass


def _check_roots(listed: Scan, known: dict[str, Source]) -> None:
    for root in listed.roots:
        inside = Scan(roots=[root])
        if not os.path.lexists(root) and not any(inside.covers(path) for path in known):
            raise UsageError(f"no such file or folder: {as_text(root)}")
