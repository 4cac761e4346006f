"""What every SQLite file of vrag has in common: made whole or not at all, known by its application id, in WAL mode with
one writer and any number of readers, and its errors named.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vrag.errors import CorpusError

_OPTIONS: dict[str, Any] = {"uri": True, "timeout": 30, "isolation_level": None, "check_same_thread": False}
_SETTINGS = "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"


@dataclass(frozen=True)
class Kind:
    """What a file is: a name for messages, an id in the file's head, the newest format that this vrag reads, and for
    each older format the statements that make it the next one.
    """

    name: str
    application: int
    format: int
    upgrades: Mapping[int, Sequence[str]] = field(default_factory=lambda: {})


class Fixed(sqlite3.Connection):
    """To a file that can't be written here, as it was when it was opened: it sees no later change of another machine's
    or user's, and must not outlive one.
    """


class Busy(CorpusError):
    """Another process holds the lock."""


class ReadOnly(CorpusError):
    """It can't be written here, by this user or on this disk."""


def write_error(error: OSError) -> type[CorpusError]:
    """What an `error` of the file system in writing to a corpus is."""
    return ReadOnly if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else CorpusError


@contextmanager
def translated(what: str) -> Generator[None]:
    """SQLite's errors as `CorpusError`, naming `what` it is about and the way out."""
    try:
        yield
    except sqlite3.Error as error:
        reason = str(error)
        if "full" in reason or "disk I/O" in reason:
            reason += ": free some space there and run the command again; what was committed is kept"
        elif "locked" in reason:
            reason += ": another process is writing to it; wait for it to end"
        elif _is_unwritable(reason):
            reason += ": it can't be written here, by this user or on this disk; `vrag snapshot` makes a copy"
            raise ReadOnly(f"{what}: {reason}") from error
        raise CorpusError(f"{what}: {reason}") from error


def connect(file: Path, kind: Kind) -> sqlite3.Connection:
    """Open an existing file, and bring it to the newest format; a `Fixed` connection where it can't be written. Raises
    `CorpusError` when it is of another kind, or was written by a newer version.
    """
    with translated(f"{kind.name} {file.parent}"):
        db = _opened(file)
        try:
            application, version = _pragma(db, "application_id"), _pragma(db, "user_version")
            if application != kind.application:
                raise CorpusError(f"{file} holds no {kind.name} of vrag: choose another name or path")
            if version > kind.format:
                raise CorpusError(f"{kind.name} {file.parent} was written by a newer vrag: upgrade vrag to read it")
            db.execute("PRAGMA synchronous = NORMAL")
            if version < kind.format:
                _upgrade(db, kind)
        except BaseException:
            db.close()
            raise
    return db


def _opened(file: Path) -> sqlite3.Connection:
    """SQLite reads a file in WAL mode only where it can write beside it, unless it is told that nobody writes. That is
    so where no log lies beside it: whoever writes makes one.
    """
    uri = file.absolute().as_uri()
    db = sqlite3.connect(f"{uri}?mode=rw", **_OPTIONS)
    try:
        _pragma(db, "application_id")
        return db
    except sqlite3.Error as error:
        db.close()
        log = file.with_name(f"{file.name}-wal")
        if not _is_unwritable(str(error)) or (log.exists() and log.stat().st_size):
            raise
    return sqlite3.connect(f"{uri}?mode=ro&immutable=1", factory=Fixed, **_OPTIONS)


def _is_unwritable(reason: str) -> bool:
    return "readonly" in reason or "unable to open" in reason


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


def _upgrade(db: sqlite3.Connection, kind: Kind) -> None:
    with transaction(db):
        for version in range(_pragma(db, "user_version"), kind.format):  # asked anew: another process may have done it
            for statement in kind.upgrades[version]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {version + 1}")


def create(file: Path, kind: Kind, schema: str, settings: Mapping[str, object]) -> None:
    """Make an empty file with `schema` and a table of `settings`, whole or not at all. Raises `FileExistsError` where
    one is, also where another process has just made it.
    """
    with _made(file, kind, schema, settings) as temporary:
        try:
            file.hardlink_to(temporary)  # unlike a rename, never in the place of a file that another process uses
        except FileExistsError:
            raise
        except OSError as error:  # a file system without links
            if file.exists():
                raise FileExistsError(error.errno, error.strerror, str(file)) from error
            temporary.replace(file)


def ensure(file: Path, kind: Kind, schema: str, settings: Mapping[str, object]) -> None:
    """`create`, unless the file is there. Of several processes that do it at once, one makes it for all."""
    if not file.exists():
        with suppress(FileExistsError):
            create(file, kind, schema, settings)


@contextmanager
def _made(file: Path, kind: Kind, schema: str, settings: Mapping[str, object]) -> Generator[Path]:
    """The empty file under a name of its own, which is gone afterwards."""
    temporary = file.with_name(f"{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        with translated(f"{kind.name} {file.parent}"):
            db = sqlite3.connect(temporary, isolation_level=None)
            try:
                db.executescript(_SETTINGS + schema)
                db.execute(f"PRAGMA application_id = {kind.application}")
                db.execute(f"PRAGMA user_version = {kind.format}")
                rows = [(key, str(value)) for key, value in settings.items()]
                db.executemany("INSERT INTO settings VALUES (?, ?)", rows)
                db.execute("PRAGMA journal_mode = WAL")
            finally:
                db.close()
        yield temporary
    finally:
        for leftover in file.parent.glob(f"{temporary.name}*"):
            leftover.unlink(missing_ok=True)


@contextmanager
def copied(db: sqlite3.Connection, file: Path) -> Generator[sqlite3.Connection]:
    """A copy of what `db` has committed, open to be changed; it is `file` when the block ends without an error."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with translated(str(file)):
        copy = sqlite3.connect(temporary, isolation_level=None)
        try:
            copy.execute("PRAGMA synchronous = FULL")
            db.backup(copy)
            yield copy
        finally:
            copy.close()
    temporary.replace(file)


@contextmanager
def exclusive(file: Path, busy: str) -> Generator[None]:
    """Hold a lock that goes with the process, however it ends. Raises `Busy`, saying `busy`, when another does."""
    with translated(str(file)):
        lock = sqlite3.connect(file, isolation_level=None, timeout=0)
    try:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise (Busy(busy) if "locked" in str(error) else CorpusError(f"{file}: {error}")) from error
        yield
    finally:
        lock.close()


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
