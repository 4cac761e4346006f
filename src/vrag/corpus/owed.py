"""Pages that wait for OCR, and what became of them, in the catalogue; beside an indexing run, if there is one.

A page is known by its id here, for it may leave, or get a text from elsewhere, while it is being recognised.
"""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vrag import database
from vrag.corpus import catalog
from vrag.corpus.store import Failure
from vrag.index import lexical
from vrag.killpoints import killpoint

_PATIENCE = 300_000  # milliseconds: an indexing run keeps a transaction open while it waits for a slow page
_ANY = f"ocr_done <> {catalog.SEEN} AND text_source NOT IN ('ocr', 'given')"
_EMPTY = "text_source = 'none' AND ocr_done ="


@dataclass(frozen=True)
class OwedPage:
    """`words`: those of its text layer that stay, packed."""

    id: str
    document: str
    number: int
    words: bytes


@dataclass(frozen=True)
class Outcome:
    """What OCR made of a page: what the worker read (no words: nothing new), or a failure (kind, reason)."""

    page: OwedPage
    read: dict[str, Any] | None = None
    failure: tuple[str, str] | None = None


class Owed:
    """The pages of the documents whose file's path is `wanted` (None: of all). With `force` every page is that
    nobody gave a text, and without its layer's words.
    """

    def __init__(self, folder: Path, wanted: Callable[[str], bool] | None, *, force: bool = False) -> None:
        self._force = force
        self._which = _ANY if force else catalog.OWED
        self._db = catalog.connect(folder)
        self._db.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
        self._documents: set[int] | None = None
        if wanted is not None:
            sources = self._db.execute("SELECT path, document FROM sources WHERE document IS NOT NULL")
            self._documents = {document for path, document in sources if wanted(os.fsdecode(path))}

    def close(self) -> None:
        self._db.close()

    def pages(self) -> list[OwedPage]:
        """By document and number."""
        rows = self._db.execute(
            "SELECT pages.id, pages.rowid, documents.name, words FROM pages"
            f" JOIN documents ON documents.seq = pages.rowid >> 20 WHERE {self._which} ORDER BY pages.rowid"
        )
        split = ((id, *catalog.split_row(row), name, words) for id, row, name, words in rows)
        return [
            OwedPage(id, name, number, b"" if self._force else words)
            for id, seq, number, name, words in split
            if self._covers(seq)
        ]

    def count(self) -> int:
        """How many wait for OCR, whether it is forced or not."""
        rows = self._db.execute(f"SELECT rowid FROM pages WHERE {catalog.OWED}")
        return sum(self._covers(row >> 20) for (row,) in rows)

    def without_text(self) -> int:
        """Pages on which OCR read nothing, or failed."""
        return self._count_empty(catalog.SEEN)

    def blank(self) -> int:
        """Pages on which there is nothing to read, so that OCR doesn't look at them."""
        return self._count_empty(catalog.BLANK)

    def _count_empty(self, state: int) -> int:
        rows = self._db.execute(f"SELECT rowid >> 20, count(*) FROM pages WHERE {_EMPTY} ? GROUP BY 1", (state,))
        return sum(count for seq, count in rows if self._covers(seq))

    def failures(self) -> list[Failure]:
        """Of OCR, by file and page."""
        rows = self._db.execute(
            "SELECT sources.name, page, kind, reason, sources.document FROM failures"
            " JOIN sources ON sources.document = failures.document WHERE stage = 'ocr' ORDER BY sources.name, page"
        )
        return [
            Failure(document=name, page=page, stage="ocr", kind=kind, reason=reason)
            for name, page, kind, reason, seq in rows
            if self._covers(seq)
        ]

    def retry(self) -> None:
        """Forget that OCR of a page failed: it is owed again."""
        failed = [
            (seq, number)
            for seq, number in self._db.execute("SELECT document, page FROM failures WHERE stage = 'ocr'")
            if self._covers(seq)
        ]
        with database.transaction(self._db):
            for seq, number in failed:
                self._db.execute("UPDATE pages SET ocr_done = 0 WHERE rowid = ?", (catalog.page_row(seq, number),))
                self._db.execute(
                    "DELETE FROM failures WHERE document = ? AND page = ? AND stage = 'ocr'", (seq, number)
                )

    def store(self, outcomes: Sequence[Outcome]) -> None:
        """Commit a batch, all or nothing."""
        with database.transaction(self._db):
            for outcome in outcomes:
                row = self._row(outcome.page.id)
                if row is not None:
                    _store(self._db, row, outcome)
                killpoint("ocr.page")
            killpoint("ocr.before-commit")
        killpoint("ocr.after-commit")

    def _covers(self, seq: int) -> bool:
        return self._documents is None or seq in self._documents

    def _row(self, id: str) -> int | None:
        """The row of a page that is still owed."""
        found = self._db.execute(f"SELECT rowid FROM pages WHERE id = ? AND {self._which}", (id,)).fetchone()
        return found and found[0]


def _store(db: sqlite3.Connection, row: int, outcome: Outcome) -> None:
    """When nothing was read, the page stays as it was. Either way it isn't owed any more."""
    db.execute("UPDATE pages SET ocr_done = ? WHERE rowid = ?", (catalog.SEEN, row))
    if outcome.failure is not None:
        seq, number = catalog.split_row(row)
        db.execute("INSERT INTO failures VALUES (NULL, ?, ?, 'ocr', ?, ?)", (seq, number, *outcome.failure))
    elif outcome.read is not None and outcome.read["words"]:
        read = outcome.read
        db.execute(
            "UPDATE pages SET text = ?, words = ?, text_source = 'ocr' WHERE rowid = ?",
            (read["text"], base64.b64decode(read["words"]), row),
        )
        lexical.replace_body(db, row, read["index"])
