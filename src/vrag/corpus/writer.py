"""Every change of a catalogue that the one process that indexes makes; what OCR changes is `vrag.corpus.owed`'s.

Changes collect in a transaction that `commit` ends; a kill in between loses just them. Image files are
deleted after the rows that point to them, by way of `trash`, so that no visible page is ever without its
image.
"""

from __future__ import annotations

import base64
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vrag import database
from vrag.corpus import catalog, paths
from vrag.corpus.files import Found, unique_name
from vrag.index import lexical
from vrag.killpoints import killpoint

BATCH_PAGES = 64
BATCH_SECONDS = 2.0


@dataclass(frozen=True)
class Source:
    """A file as the catalogue knows it; `document` is None when it couldn't be read at all."""

    path: str
    size: int
    mtime_ns: int
    document: int | None


def sole_writer(folder: Path) -> AbstractContextManager[None]:
    """Keep other indexing runs out; the lock goes with the process, however it ends."""
    return database.exclusive(
        paths.writer_lock(folder), f"another process is indexing into {folder}: wait for it to end"
    )


class Writer:
    """The writing side of one corpus."""

    def __init__(self, folder: Path, batch_pages: int = BATCH_PAGES) -> None:
        self.folder = folder
        self._batch_pages = batch_pages
        self._db = catalog.connect(folder)
        self._waiting = 0
        self._since = time.monotonic()

    def close(self) -> None:
        """What isn't committed is lost."""
        self._db.close()

    def _begin(self) -> sqlite3.Connection:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
            self._since = time.monotonic()
        return self._db

    def commit(self) -> None:
        """Make everything so far visible and safe from a kill."""
        if self._db.in_transaction:
            killpoint("ingest.before-commit")
            self._db.execute("COMMIT")
            killpoint("ingest.after-commit")
        self._waiting = 0

    def commit_when_due(self) -> None:
        """Count one page, and commit when a batch is full or old."""
        self._waiting += 1
        if self._waiting >= self._batch_pages or time.monotonic() - self._since >= BATCH_SECONDS:
            self.commit()

    # ---------------------------------------------------------------------------------------- sources

    def sources(self) -> dict[str, Source]:
        return {source.path: source for source in self._sources("1")}

    def holders(self, content: str) -> list[Source]:
        """The files that held that content when they were last seen."""
        return self._sources("document = (SELECT seq FROM documents WHERE id = ?)", content)

    def _sources(self, where: str, *values: str) -> list[Source]:
        rows = self._db.execute(f"SELECT path, size, mtime_ns, document FROM sources WHERE {where}", values)
        return [Source(os.fsdecode(path), size, mtime, document) for path, size, mtime, document in rows]

    def register(self, found: Found, content: str | None, problem: tuple[str, str] | None = None) -> None:
        """Note a file and its content, or the `problem` (kind, reason) with it. Clears older failures to read it."""
        db, path = self._begin(), os.fsencode(found.path)
        known = db.execute("SELECT name FROM sources WHERE path = ?", (path,)).fetchone()
        name = known[0] if known else unique_name(found, self._is_taken)
        document = None if content is None else self._document(content, name)
        db.execute(
            "INSERT INTO sources VALUES (?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET"
            " size = excluded.size, mtime_ns = excluded.mtime_ns, document = excluded.document",
            (path, name, found.size, found.mtime_ns, document),
        )
        db.execute("DELETE FROM failures WHERE stage = 'read' AND (path = ? OR document = ?)", (path, document))
        if problem is not None:
            db.execute("INSERT INTO failures VALUES (?, NULL, NULL, 'read', ?, ?)", (path, *problem))

    def block(self, path: str, kind: str, reason: str) -> None:
        """Note a path that can't be looked at. What is known of it stays: it may be back the next time."""
        db, raw = self._begin(), os.fsencode(path)
        if db.execute("SELECT 1 FROM sources WHERE path = ?", (raw,)).fetchone() is None:
            self.register(Found(path, Path(path).name, -1, -1), None)
        db.execute("INSERT INTO failures VALUES (?, NULL, NULL, 'read', ?, ?)", (raw, kind, reason))

    def clear_blocked(self, looked_at: Iterable[str]) -> None:
        """Forget why these paths couldn't be looked at, or read at all, the last time."""
        failed = {path for (path,) in self._db.execute("SELECT path FROM failures WHERE path IS NOT NULL")}
        again = failed.intersection(map(os.fsencode, looked_at))
        self._begin().executemany("DELETE FROM failures WHERE path = ?", [(path,) for path in again])

    def _is_taken(self, name: str) -> bool:
        return self._db.execute("SELECT 1 FROM sources WHERE name = ?", (name,)).fetchone() is not None

    def _document(self, content: str, name: str) -> int:
        db = self._db
        db.execute("INSERT INTO documents(id, name) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", (content, name))
        return db.execute("SELECT seq FROM documents WHERE id = ?", (content,)).fetchone()[0]

    def forget(self, sources: Iterable[Source]) -> None:
        """Drop files that are gone. Documents stay until `drop_orphans`: a moved file keeps its pages."""
        db = self._begin()
        for source in sources:
            path = (os.fsencode(source.path),)
            db.execute("DELETE FROM sources WHERE path = ?", path)
            db.execute("DELETE FROM failures WHERE path = ?", path)

    def rename_documents(self) -> None:
        """Call each document by one of its files, where the file that named it is gone."""
        db = self._begin()
        stale = db.execute(
            "SELECT seq,"
            " (SELECT name FROM sources WHERE document = seq ORDER BY length(name), name LIMIT 1) AS heir"
            " FROM documents WHERE heir IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM sources WHERE document = seq AND name = documents.name)"
        ).fetchall()
        for seq, name in stale:
            db.execute("UPDATE documents SET name = ? WHERE seq = ?", (name, seq))
            lexical.rename(db, *catalog.row_span(seq), name)

    # -------------------------------------------------------------------------------------- documents

    def pending(self, seq: int) -> tuple[str, int | None, list[int]]:
        """Content id, page count (None: not opened yet) and the pages that are still to be read."""
        db = self._db
        content, count = db.execute("SELECT id, pages FROM documents WHERE seq = ?", (seq,)).fetchone()
        bad = {page for (page,) in db.execute(
            "SELECT page FROM failures WHERE document = ? AND stage = 'read'", (seq,)
        )}  # fmt: skip
        if None in bad:
            return content, count or 0, []
        if count is None:
            return content, None, []
        rows = db.execute("SELECT rowid FROM pages WHERE rowid BETWEEN ? AND ?", catalog.row_span(seq))
        done = {catalog.split_row(rowid)[1] for (rowid,) in rows} | bad
        return content, count, [number for number in range(1, count + 1) if number not in done]

    def is_owed(self, seq: int) -> bool:
        """Whether pages of the document are still to be read."""
        _, count, missing = self.pending(seq)
        return count is None or bool(missing)

    def is_content_owed(self, content: str) -> bool:
        """The same of the document with that id; False when there is none."""
        row = self._db.execute("SELECT seq FROM documents WHERE id = ?", (content,)).fetchone()
        return row is not None and self.is_owed(row[0])

    def set_count(self, seq: int, kind: str, count: int) -> None:
        self._begin().execute("UPDATE documents SET kind = ?, pages = ? WHERE seq = ?", (kind, count, seq))

    def add_page(self, seq: int, page: dict[str, Any]) -> None:
        """Store what a worker says about a page whose image is in place. A page already there stays."""
        db, number = self._begin(), int(page["page"])
        content, name = db.execute("SELECT id, name FROM documents WHERE seq = ?", (seq,)).fetchone()
        row = catalog.page_row(seq, number)
        words = base64.b64decode(page["words"])
        values = (row, paths.page_id(content, number), page["width"], page["height"], page["text"], words)
        added = db.execute(
            "INSERT INTO pages(rowid, id, width, height, text, words, text_source, scanned, ocr_done)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (*values, "layer" if words else "none", page["scanned"], catalog.BLANK if page["blank"] else 0),
        )
        if added.rowcount:
            lexical.add(db, row, name, page["index"])
        killpoint("ingest.page")

    def add_failure(self, seq: int, page: int | None, kind: str, reason: str) -> None:
        """Of reading."""
        self._begin().execute("INSERT INTO failures VALUES (NULL, ?, ?, 'read', ?, ?)", (seq, page, kind, reason))

    def clear_failures(self, documents: Iterable[int]) -> None:
        """Forget that reading failed, so that it is tried again."""
        self._begin().executemany(
            "DELETE FROM failures WHERE document = ? AND stage = 'read'", [(seq,) for seq in documents]
        )

    def give_text(self, id: str, text: str) -> None:
        """Make `text` the text of a stored page, without boxes; a page that isn't stored is left out."""
        held = self._db.execute("SELECT rowid, text_source, text FROM pages WHERE id = ?", (id,)).fetchone()
        if held is None or held[1:] == ("given", text):
            return
        db = self._begin()
        db.execute("UPDATE pages SET text = ?, words = x'', text_source = 'given' WHERE rowid = ?", (text, held[0]))
        lexical.replace_body(db, held[0], lexical.index_text(text))
        killpoint("ingest.text-given")

    # ---------------------------------------------------------------------------------------- standing

    def count_pages(self, documents: Iterable[int]) -> int:
        """Stored pages of these documents."""
        wanted = set(documents)
        rows = self._db.execute("SELECT rowid >> 20, count(*) FROM pages GROUP BY 1")
        return sum(count for seq, count in rows if seq in wanted)

    def names(self, wanted: Callable[[str], bool]) -> set[str]:
        """Names of the files whose path is wanted."""
        rows = self._db.execute("SELECT path, name FROM sources")
        return {name for path, name in rows if wanted(os.fsdecode(path))}

    # ----------------------------------------------------------------------------------------- leaving

    def drop_orphans(self) -> int:
        """Remove the documents that no file holds any more, with their pages; returns how many."""
        self.commit()
        orphans = self._db.execute(
            "SELECT seq, id, pages FROM documents WHERE NOT EXISTS (SELECT 1 FROM sources WHERE document = seq)"
        ).fetchall()
        for seq, content, pages in orphans:
            db, span = self._begin(), catalog.row_span(seq)
            ids = self._image_ids(content, pages)
            db.executemany("INSERT OR IGNORE INTO trash VALUES (?)", [(id,) for id in ids])
            db.execute("DELETE FROM pages WHERE rowid BETWEEN ? AND ?", span)
            lexical.remove(db, *span)
            db.execute("DELETE FROM failures WHERE document = ?", (seq,))
            db.execute("DELETE FROM documents WHERE seq = ?", (seq,))
            self.commit()
        killpoint("ingest.before-trash")
        self.empty_trash()
        return len(orphans)

    def _image_ids(self, content: str, pages: int | None) -> list[str]:
        """Of all page images that a document may have: also of pages without a row, for a kill may have left those, and
        before it could note how many there are.
        """
        if pages is not None:
            return [paths.page_id(content, number) for number in range(1, pages + 1)]
        first = paths.page_file(self.folder, paths.page_id(content, 1))
        return [file.stem for file in first.parent.glob(f"{content}-*{first.suffix}")]

    def empty_trash(self) -> None:
        """Delete the image files whose rows are gone."""
        self.commit()
        ids = [id for (id,) in self._db.execute("SELECT id FROM trash")]
        for id in ids:
            paths.page_file(self.folder, id).unlink(missing_ok=True)
            killpoint("ingest.image-deleted")
        if ids:
            self._begin().execute("DELETE FROM trash")
            self.commit()
