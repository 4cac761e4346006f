"""Which pages of a catalogue changed, in order, for a text index beside it to follow.

Triggers note it in the transaction that changes the page, so no writer can forget to. They exist only while such an
index is in use. The newest change is always kept, and so the number of the next is known; where earlier ones are gone,
a gap says that an index was left behind.
"""

from __future__ import annotations

import secrets
import sqlite3

from vrag import database
from vrag.index import lexical
from vrag.index.tantivy_text import State

_KEY = "tantivy"  # the setting that says that tantivy is in use, and names the catalogue
_ON = (
    "CREATE TABLE text_changes (number INTEGER PRIMARY KEY, row INTEGER NOT NULL)",
    "CREATE TRIGGER text_added AFTER INSERT ON pages BEGIN INSERT INTO text_changes(row) VALUES (new.rowid); END",
    "CREATE TRIGGER text_removed AFTER DELETE ON pages BEGIN INSERT INTO text_changes(row) VALUES (old.rowid); END",
    "CREATE TRIGGER text_replaced AFTER UPDATE OF text ON pages"
    " BEGIN INSERT INTO text_changes(row) VALUES (new.rowid); END",
    "CREATE TRIGGER text_renamed AFTER UPDATE OF name ON documents BEGIN INSERT INTO text_changes(row)"
    " SELECT rowid FROM pages WHERE rowid BETWEEN new.seq << 20 AND ((new.seq + 1) << 20) - 1; END",
    "INSERT INTO text_changes(row) VALUES (0)",  # no page: where the numbers begin
)
_OFF = (
    *(f"DROP TRIGGER text_{name}" for name in ("added", "removed", "replaced", "renamed")),
    "DROP TABLE text_changes",
)


def state(db: sqlite3.Connection) -> State | None:
    """What an index has to be to hold what the catalogue holds now; None where FTS5 alone is in use."""
    found = db.execute("SELECT value FROM settings WHERE key = ?", (_KEY,)).fetchone()
    if found is None:
        return None
    newest = db.execute("SELECT max(number) FROM text_changes").fetchone()[0]
    return State(found[0], newest, lexical.VERSION)


def turn_on(db: sqlite3.Connection) -> None:
    """Note changes from now on, under a name that no index has."""
    with database.transaction(db):
        for statement in _ON:
            db.execute(statement)
        db.execute("INSERT INTO settings VALUES (?, ?)", (_KEY, secrets.token_hex(8)))


def turn_off(db: sqlite3.Connection) -> None:
    with database.transaction(db):
        db.execute("DELETE FROM settings WHERE key = ?", (_KEY,))
        for statement in _OFF:
            db.execute(statement)


def since(db: sqlite3.Connection, number: int) -> list[int] | None:
    """Rows of the pages that changed after change `number`, each once; None when that is no longer known."""
    oldest, newest = db.execute("SELECT min(number), max(number) FROM text_changes").fetchone()
    if not oldest - 1 <= number <= newest:
        return None
    rows = db.execute("SELECT DISTINCT row FROM text_changes WHERE number > ? AND row > 0 ORDER BY row", (number,))
    return [row for (row,) in rows]


def forget(db: sqlite3.Connection, number: int) -> None:
    """Drop the changes before `number`."""
    with database.transaction(db):
        db.execute("DELETE FROM text_changes WHERE number < ?", (number,))
