"""Folders that appear whole or not at all, and second names for files that never change."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from vrag import database
from vrag.errors import CorpusError, UsageError
from vrag.killpoints import killpoint


@contextmanager
def whole_folder(target: Path) -> Generator[Path]:
    """An empty folder beside `target`, which takes its name, durably, when the block ends without an error. What a kill
    leaves of it (`.NAME.partial`) is deleted by the next run. Raises `UsageError` when `target` is there and isn't
    empty, `CorpusError` when it can't be made or someone else is making it.
    """
    target = target.resolve()  # "x/.." has no name of its own
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is there and isn't an empty folder: name another")
    partial, lock = target.with_name(f".{target.name}.partial"), target.with_name(f".{target.name}.lock")
    with _named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with database.exclusive(lock, f"another process is making {target}: wait for it to end"):
        try:
            with _named(target):
                if partial.exists():
                    shutil.rmtree(partial)
                partial.mkdir()
            yield partial
            killpoint("staging.before-rename")
            with _named(target):
                if target.exists():
                    target.rmdir()
                partial.rename(target)
                sync_folder(target.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            with suppress(PermissionError):  # Windows keeps what is open
                lock.unlink(missing_ok=True)


@contextmanager
def _named(target: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise CorpusError(f"{target} can't be made: {error.strerror or error}") from error


def link_or_copy(source: Path, target: Path, size: int | None = None) -> None:
    """Another name for a file whose first `size` bytes (None: all) never change; where the file system can't give one,
    a durable copy of those bytes. Raises `FileNotFoundError` when `source` is gone, else `CorpusError`.
    """
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # two file systems, or one without links
        try:
            _copy(source, target, source.stat().st_size if size is None else size)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise CorpusError(f"{source} can't be copied to {target}: {error.strerror or error}") from error


def _copy(source: Path, target: Path, size: int) -> None:
    with source.open("rb") as read, target.open("xb") as write:
        while size > 0 and (block := read.read(min(size, 1 << 20))):
            size -= write.write(block)
        write.flush()
        os.fsync(write.fileno())


def sync_folder(folder: Path) -> None:
    """A new file's name is durable once its folder is."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
