"""tantivy's index of a corpus, kept in line with the catalogue. Only for whoever holds the writer's lock.

Pages are committed to the catalogue first, and to this index at the end of a run, all at once. A run that is killed in
between leaves an index of an earlier state, and the next one goes on from there: a change that was followed already,
done once more, changes nothing. OCR may commit texts meanwhile; no page comes or leaves.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from vrag.corpus import catalog, changes, paths
from vrag.corpus.fulltext import TextIndex, chosen
from vrag.corpus.writer import sole_writer
from vrag.errors import CorpusError, InvariantError
from vrag.index import tantivy_text
from vrag.index.tantivy_text import State, TantivyText
from vrag.killpoints import killpoint

Notify = Callable[[int, int], None]
_PORTION = 256  # pages that are read from the catalogue at once
_log = logging.getLogger(__name__)


def choose(folder: Path, wanted: TextIndex | None) -> None:
    """Search by `wanted` from now on; None: as now. Raises `UsageError` when that is tantivy and it isn't installed."""
    with _catalogue(folder) as db:
        now = chosen(db)
        if (wanted or now) == "tantivy":
            tantivy_text.require()
        if wanted == "tantivy" and now == "fts5":
            changes.turn_on(db)
            killpoint("fulltext.turned-on")
        elif wanted == "fts5" and now == "tantivy":
            changes.turn_off(db)
            killpoint("fulltext.turned-off")
            shutil.rmtree(paths.tantivy_folder(folder), ignore_errors=True)


def switch(folder: Path, wanted: TextIndex, progress: Notify = lambda done, total: None) -> None:
    """Choose and follow, for whoever indexes nothing. Raises `CorpusError` when another run is at work."""
    with sole_writer(folder), catalog.translated(folder):
        choose(folder, wanted)
        follow(folder, progress)


def follow(folder: Path, progress: Notify = lambda done, total: None) -> None:
    """Bring tantivy's index, if it is in use, in line with the catalogue: by what changed since its state, or anew when
    it is missing, damaged, left behind, or made by another version. `progress` gets pages, done and in all.
    """
    with _catalogue(folder) as db:
        wanted = changes.state(db)
        if wanted is None:
            return
        stored = db.execute("SELECT count(*) FROM pages").fetchone()[0]
        held = _update(folder, db, wanted, progress)
        if held != stored:
            held = _rebuild(folder, db, wanted, progress)
        if held != stored:
            raise InvariantError(f"text index of corpus {folder}: {held} pages, the catalogue has {stored}")
        changes.forget(db, wanted.change)
        killpoint("fulltext.forgotten")


def _update(folder: Path, db: sqlite3.Connection, wanted: State, progress: Notify) -> int | None:
    """Returns how many pages the index then holds; None when it has to be made anew."""
    try:
        index = TantivyText.open(paths.tantivy_folder(folder))
    except CorpusError as error:
        _log.info("corpus %s: the text index is made anew: %s", folder, error)
        return None
    held = index.state
    if held == wanted:
        return index.pages
    if held is None or replace(held, change=wanted.change) != wanted:
        return None  # of another catalogue, or by another version
    rows = changes.since(db, held.change)
    return None if rows is None else _write(index, db, rows, wanted, progress)


def _rebuild(folder: Path, db: sqlite3.Connection, wanted: State, progress: Notify) -> int:
    killpoint("fulltext.before-rebuild")
    index = TantivyText.create(paths.tantivy_folder(folder))
    rows = [row for (row,) in db.execute("SELECT rowid FROM pages ORDER BY rowid")]
    return _write(index, db, rows, wanted, progress)


def _write(index: TantivyText, db: sqlite3.Connection, rows: Sequence[int], wanted: State, progress: Notify) -> int:
    """Put the pages that these rows hold now and remove those of the others; returns how many the index then holds."""
    with index.writing() as writer:
        for done, (row, words) in enumerate(_words(db, rows)):
            if words is None:
                writer.remove(row)
            else:
                writer.put(row, *words)
            killpoint("fulltext.half-written")
            progress(done + 1, len(rows))
        killpoint("fulltext.before-commit")
        writer.commit(wanted)
        killpoint("fulltext.after-commit")
    return TantivyText.open(index.folder).pages


def _words(db: sqlite3.Connection, rows: Sequence[int]) -> Iterator[tuple[int, tuple[str, str] | None]]:
    """Each row with the tokens of its name and body, or None where no page is any more."""
    for first in range(0, len(rows), _PORTION):
        portion = rows[first : first + _PORTION]
        marks = ", ".join("?" * len(portion))
        found = db.execute(f"SELECT rowid, name, body FROM page_words WHERE rowid IN ({marks})", portion)
        held = {row: (name, body) for row, name, body in found}
        for row in portion:
            yield row, held.get(row)


@contextmanager
def _catalogue(folder: Path) -> Generator[sqlite3.Connection]:
    with catalog.translated(folder), closing(catalog.connect(folder)) as db:
        yield db
