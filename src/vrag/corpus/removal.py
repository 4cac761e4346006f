"""Removing a corpus: what is its own in its folder, and nothing else that lies there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from vrag.corpus import catalog
from vrag.corpus.recognition import sole_recogniser
from vrag.corpus.writer import sole_writer
from vrag.errors import CorpusError

_CATALOG = "catalog.sqlite"
_FOLDERS = ("pages", "converted", "vectors", "uploads", "tantivy")
_LOCKS = ("writer.lock", "ocr.lock")


def check_corpus(folder: Path) -> None:
    """Raises `CorpusError` when the folder holds no corpus that this vrag knows."""
    if not (folder / _CATALOG).is_file():
        raise CorpusError(f"{folder} holds no corpus")
    catalog.connect(folder / _CATALOG).close()


def remove_corpus(folder: Path) -> list[str]:
    """Delete the corpus in `folder`, and the folder, unless it holds other things: their names are returned.

    The catalogue goes last, so that a removal that was cut short can be run again. Raises as `check_corpus`, and
    `CorpusError` while another process indexes into it or recognises text of it, or when something can't be deleted.
    """
    check_corpus(folder)
    with sole_writer(folder), sole_recogniser(folder):
        try:
            for own in (*_existing(folder, _FOLDERS), *_existing(folder, _beside(_CATALOG)), folder / _CATALOG):
                _delete(own)
        except OSError as error:
            raise CorpusError(
                f"{error.filename}: {error.strerror or error}; the rest of {folder} is still there"
            ) from error
    for lock in _LOCKS:
        for own in _existing(folder, (*_beside(lock), lock)):
            own.unlink()
    left = sorted(path.name for path in folder.iterdir())
    if not left and not folder.is_symlink():
        folder.rmdir()
    return left


def _beside(name: str) -> tuple[str, ...]:
    """What SQLite keeps beside a file."""
    return f"{name}-wal", f"{name}-shm", f"{name}-journal"


def _existing(folder: Path, names: tuple[str, ...]) -> Iterator[Path]:
    return (folder / name for name in names if (folder / name).exists() or (folder / name).is_symlink())


def _delete(path: Path) -> None:
    """A link goes, and what it points to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
