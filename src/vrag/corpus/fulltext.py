"""Text search of a corpus: FTS5 in the catalogue always, and tantivy beside it where that was asked for.

The catalogue is the truth. tantivy answers when its index holds just what the catalogue holds (`vrag.corpus.following`
sees to that), and FTS5 meanwhile, so that no page that was committed is ever missing.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path
from typing import Literal

from vrag.corpus import changes, paths
from vrag.errors import CorpusError
from vrag.index import lexical
from vrag.index.lexical import Rows, Scored
from vrag.index.tantivy_text import State, TantivyText

TextIndex = Literal["fts5", "tantivy"]
_log = logging.getLogger(__name__)


def chosen(db: sqlite3.Connection) -> TextIndex:
    """What searches the text of a catalogue."""
    return "fts5" if changes.state(db) is None else "tantivy"


class TextSearch:
    """Searches the text of the corpus in `folder`, from any number of threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._index: TantivyText | None = None
        self._opened: tuple[int, int] | None = None  # what there was to open, the last time
        self._said: str | None = None

    def search(self, db: sqlite3.Connection, query: str, k: int, rows: Rows | None = None) -> list[Scored]:
        """As `lexical.search`; `db` is in a transaction. Raises `UsageError` when tantivy is missing."""
        wanted = changes.state(db)
        if wanted is None:
            return lexical.search(db, query, k, rows)
        try:
            found = self._at(wanted).search(query, k, rows)
        except CorpusError as error:
            self._say(str(error))
            return lexical.search(db, query, k, rows)
        self._said = None
        return found

    def _at(self, wanted: State) -> TantivyText:
        """The index at that state. Raises `CorpusError` when it is at another, or can't be opened."""
        with self._lock:
            if self._index is None or self._index.state != wanted:
                self._reopen()
            if self._index is None or self._index.state != wanted:
                raise CorpusError("tantivy's index isn't up to date")
            return self._index

    def _reopen(self) -> None:
        """Open the index anew if it was committed to since the last time."""
        folder = paths.tantivy_folder(self._folder)
        try:
            found = (folder / "meta.json").stat()
        except OSError as error:
            self._index = self._opened = None
            raise CorpusError("tantivy's index is missing") from error
        if self._opened != (found.st_ino, found.st_mtime_ns):
            self._opened, self._index = (found.st_ino, found.st_mtime_ns), None
            self._index = TantivyText.open(folder)

    def _say(self, reason: str) -> None:
        """Once for each time that it happens."""
        if reason != self._said:
            self._said = reason
            _log.warning("corpus %s: FTS5 answers until `vrag index` has run: %s", self._folder, reason)
