"""The catalogue of a corpus: `catalog.sqlite` in WAL mode, one writer, any number of readers meanwhile.

documents   one row a content; `seq` orders them; pages of it have row ids from `first_row(seq)` on
sources     the files: path → content as last seen (size, mtime); two files may hold one content
pages       one row a page that is stored; the row's commit is what makes the page visible
page_words  the FTS5 index (`vrag.index.lexical`), in the same transactions
failures    what couldn't be read and why: of a source (not even hashed), of a document, or of a page
trash       ids of pages whose rows are gone and whose image files are still to be deleted
"""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path

from vrag import database
from vrag.corpus.paths import catalog_file
from vrag.index import lexical

# `ocr_done`: whether OCR has looked at a page, or needn't, for it is blank. A page that waits for OCR has no text, or
# is a scan with next to none (`vrag.corpus.scans`).
SEEN, BLANK = 1, 2
OWED = "ocr_done = 0 AND (text_source = 'none' OR (text_source = 'layer' AND scanned = 1))"
_OWED_INDEX = f"CREATE INDEX pages_owed ON pages(ocr_done) WHERE {OWED}"
_UPGRADES = {1: ("ALTER TABLE pages ADD COLUMN scanned INTEGER NOT NULL DEFAULT 0", _OWED_INDEX)}
KIND = database.Kind("corpus", 0x76726167, format=2, upgrades=_UPGRADES)  # "vrag"
_PAGE_BITS = 20  # row id = seq << 20 | page number

_SCHEMA = f"""
CREATE TABLE documents (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, kind TEXT, pages INTEGER
);
CREATE TABLE sources (
    path BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    document INTEGER REFERENCES documents(seq)
) WITHOUT ROWID;
CREATE INDEX sources_of_document ON sources(document);
CREATE TABLE pages (
    rowid INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, width INTEGER NOT NULL, height INTEGER NOT NULL,
    text TEXT NOT NULL, words BLOB NOT NULL, text_source TEXT NOT NULL, ocr_done INTEGER NOT NULL DEFAULT 0,
    scanned INTEGER NOT NULL DEFAULT 0
);
{_OWED_INDEX};
CREATE TABLE failures (
    path BLOB, document INTEGER, page INTEGER, stage TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE INDEX failures_of_document ON failures(document);
CREATE TABLE trash (id TEXT PRIMARY KEY) WITHOUT ROWID;
{lexical.SCHEMA};
"""


def first_row(seq: int) -> int:
    return seq << _PAGE_BITS


def page_row(seq: int, number: int) -> int:
    """The row id of a page: ordered by document, then by page."""
    return (seq << _PAGE_BITS) | number


def split_row(rowid: int) -> tuple[int, int]:
    """The inverse of `page_row`: (seq, page number)."""
    return rowid >> _PAGE_BITS, rowid & ((1 << _PAGE_BITS) - 1)


def row_span(seq: int) -> tuple[int, int]:
    """First and last row id that pages of document `seq` can have."""
    return page_row(seq, 0), page_row(seq + 1, 0) - 1


def translated(folder: Path) -> AbstractContextManager[None]:
    """SQLite's errors as `CorpusError`, naming the corpus and the way out."""
    return database.translated(f"corpus {folder}")


def connect(folder: Path) -> sqlite3.Connection:
    """Open the catalogue of the corpus in `folder`. Raises as `database.connect`."""
    return database.connect(catalog_file(folder), KIND)


def create(folder: Path, dpi: int) -> None:
    """Make an empty catalogue, whole or not at all. Raises as `database.create`."""
    database.create(catalog_file(folder), KIND, _SCHEMA, {"dpi": dpi, "tokens": lexical.VERSION})
