"""Verdicts that a judge gave, kept on disk, so that the same answer is never paid for twice.

An entry is a hash, a verdict and the model's name: no text of a question or an answer. Several processes may use one
file; a killed one loses nothing that was answered.
"""

from __future__ import annotations

from pathlib import Path

from vrag import database
from vrag.errors import VragError
from vrag.killpoints import killpoint

KIND = database.Kind("judge's cache", 0x76726A31, format=1)  # "vrj1"
_SCHEMA = """
CREATE TABLE verdicts (
    key   TEXT PRIMARY KEY,
    right INTEGER NOT NULL,
    model TEXT NOT NULL,
    at    TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID;
"""


class VerdictCache:
    """Raises `CorpusError` naming the file when it can't be read or written."""

    def __init__(self, file: Path) -> None:
        self._what = f"judge's cache {file}"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            database.ensure(file, KIND, _SCHEMA, {})
        except OSError as failure:
            raise VragError(
                f"{self._what}: can't be made ({failure.strerror}): choose another by cache=FILE"
            ) from failure
        self._db = database.connect(file, KIND)

    def get(self, key: str) -> bool | None:
        with database.translated(self._what):
            row = self._db.execute("SELECT right FROM verdicts WHERE key = ?", (key,)).fetchone()
        return None if row is None else bool(row[0])

    def keep(self, key: str, right: bool, model: str) -> None:
        """The first verdict stays, so that all who ask later hear the same."""
        with database.translated(self._what):
            self._db.execute(
                "INSERT OR IGNORE INTO verdicts (key, right, model) VALUES (?, ?, ?)", (key, int(right), model)
            )
        killpoint("judge.kept")

    def close(self) -> None:
        self._db.close()
