"""What a run may be told, and what it says of its progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vrag.cores import usable_cores
from vrag.corpus.fulltext import TextIndex
from vrag.corpus.ocr import DEFAULT_ENGINE
from vrag.corpus.writer import BATCH_PAGES

# the first is `vrag.data.vidore`'s, the last `vrag.embed`'s
Stage = Literal["unpack", "hash", "read", "convert", "ocr", "text", "encode"]


@dataclass(frozen=True)
class IngestOptions:
    """`ocr`: "auto" reads the pages that wait for OCR when the engine is installed, "force" every page that OCR hasn't
    read, "off" none: they go on waiting. `ocr_engine`: "module:attribute" of what makes an `OcrEngine` of a number of
    threads. `emptied`: let the documents of a folder leave that is gone or without a file; else they stay, for its disk
    may not be mounted. `text`: what is to search the text from now on; None: what the corpus uses, which is FTS5 at
    first.
    """

    workers: int = 0  # 0: one for each core
    ocr: Literal["auto", "off", "force"] = "auto"
    ocr_engine: str = DEFAULT_ENGINE
    text: TextIndex | None = None
    retry_failed: bool = False
    emptied: bool = False
    page_seconds: float = 30.0
    ocr_seconds: float = 120.0
    office_seconds: float = 120.0  # of one document
    page_memory: int = 2 << 30  # bytes of address space of a process that reads documents
    office_memory: int = 4 << 30  # the same of one that converts them
    batch_pages: int = BATCH_PAGES  # committed together: what a kill can cost

    @property
    def processes(self) -> int:
        return self.workers or usable_cores()


@dataclass(frozen=True)
class Progress:
    """How far a run is. `total` is an estimate while documents are still to be opened."""

    stage: Stage
    done: int
    total: int
    failed: int = 0
    current: str = ""
