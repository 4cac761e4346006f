"""The catalogue of a corpus: `catalog.sqlite` in WAL mode, one writer, any number of readers meanwhile.

documents   one row a content; `seq` orders them; pages of it have row ids from `first_row(seq)` on
sources     the files: path → content as last seen (size, mtime); two files may hold one content
pages       one row a page that is stored; the row's commit is what makes the page visible
page_words  the FTS5 index (`vrag.index.lexical`), in the same transactions
failures    what couldn't be read and why: of a source (not even hashed), of a document, or of a page
trash       ids of pages whose rows are gone and whose image files are still to be deleted
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from vrag.errors import CorpusError
from vrag.index import lexical

FORMAT = 1
APPLICATION_ID = 0x76726167  # "vrag"
_PAGE_BITS = 20  # row id = seq << 20 | page number

_SCHEMA = f"""
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
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
    text TEXT NOT NULL, words BLOB NOT NULL, text_source TEXT NOT NULL, ocr_done INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE failures (
    path BLOB, document INTEGER, page INTEGER, stage TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE INDEX failures_of_document ON failures(document);
CREATE TABLE trash (id TEXT PRIMARY KEY) WITHOUT ROWID;
{lexical.SCHEMA};
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
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


@contextmanager
def translated(what: Path) -> Generator[None]:
    """SQLite's errors as `CorpusError`, naming the corpus and the way out."""
    try:
        yield
    except sqlite3.Error as error:
        reason = str(error)
        if "full" in reason or "disk I/O" in reason:
            reason += ": free some space there and run the command again; what was committed is kept"
        elif "locked" in reason:
            reason += ": another process is writing to it; wait for it to end"
        raise CorpusError(f"corpus {what}: {reason}") from error


def connect(file: Path) -> sqlite3.Connection:
    """Open an existing catalogue. Raises `CorpusError` when it is none, or was written by a newer version."""
    with translated(file.parent):
        db = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=30,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            (application,), (version,) = (
                db.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
            )
            if application != APPLICATION_ID:
                raise CorpusError(f"{file} is no catalogue of vrag: choose another corpus name or path")
            if version > FORMAT:
                raise CorpusError(f"corpus {file.parent} was written by a newer vrag: upgrade vrag to read it")
            db.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            db.close()
            raise
    return db


def create(file: Path, dpi: int) -> None:
    """Make an empty catalogue, whole or not at all."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with translated(file.parent):
        db = sqlite3.connect(temporary, isolation_level=None)
        try:
            db.executescript(_SCHEMA)
            settings = {"dpi": dpi, "tokens": lexical.VERSION}
            db.executemany("INSERT INTO settings VALUES (?, ?)", [(key, str(value)) for key, value in settings.items()])
            db.execute("PRAGMA journal_mode = WAL")
        finally:
            db.close()
    temporary.replace(file)
    for leftover in file.parent.glob(f"{temporary.name}-*"):
        leftover.unlink(missing_ok=True)


def setting(db: sqlite3.Connection, key: str) -> str:
    return db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()[0]


@contextmanager
def transaction(db: sqlite3.Connection) -> Generator[None]:
    """All or nothing; takes the write lock at once."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
