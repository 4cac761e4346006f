"""Removing a corpus: what is its own in its folder, and nothing else that lies there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from vrag.corpus import catalog, paths
from vrag.corpus.recognition import sole_recogniser
from vrag.corpus.store import alternatives
from vrag.corpus.writer import sole_writer
from vrag.database import Busy
from vrag.errors import CorpusError


def check_corpus(folder: Path) -> None:
    """Raises `CorpusError` when the folder holds no corpus that this vrag knows."""
    if not paths.is_corpus(folder):
        raise CorpusError(f"{folder} holds no corpus ({alternatives(folder.name)})")
    catalog.connect(folder).close()


def remove_corpus(folder: Path) -> list[str]:
    """Delete the corpus in `folder`, and the folder, unless it holds other things: their names are returned.

    The catalogue goes last, so that a removal that was cut short can be run again. Raises as `check_corpus`, and
    `CorpusError` while another process indexes into it or recognises text of it, or when something can't be deleted.
    """
    check_corpus(folder)
    with sole_writer(folder), sole_recogniser(folder):
        _delete_own(folder)
    _delete_locks(folder)
    left = sorted(path.name for path in folder.iterdir())
    if not left and not folder.is_symlink():
        folder.rmdir()
    return left


def take_back(folder: Path, *, keep_folder: bool) -> None:
    """Remove a corpus that was made in vain, unless somebody uses it meanwhile. Raises `CorpusError` when something
    can't be deleted.
    """
    with suppress(Busy), sole_writer(folder), sole_recogniser(folder):
        if not _holds_documents(folder):
            _delete_own(folder)
    if paths.is_corpus(folder):
        return
    _delete_locks(folder)
    if not keep_folder:
        with suppress(OSError):  # something else came into it
            folder.rmdir()


def _holds_documents(folder: Path) -> bool:
    uploads = paths.uploads_folder(folder)
    with closing(catalog.connect(folder)) as db:
        indexed = db.execute("SELECT 1 FROM sources").fetchone() is not None
    return indexed or (uploads.is_dir() and any(uploads.iterdir()))


def _delete_own(folder: Path) -> None:
    last = paths.catalog_file(folder)
    try:
        for own in (*_existing(paths.own_folders(folder)), *_existing(_beside(last)), last):
            _delete(own)
    except OSError as error:
        reason = error.strerror or error
        raise CorpusError(f"{error.filename}: {reason}; the rest of {folder} is still there") from error


def _delete_locks(folder: Path) -> None:
    for lock in (paths.writer_lock(folder), paths.ocr_lock(folder)):
        for own in _existing((*_beside(lock), lock)):
            own.unlink()


def _beside(file: Path) -> tuple[Path, ...]:
    """What SQLite keeps beside a file."""
    return tuple(file.with_name(file.name + ending) for ending in ("-wal", "-shm", "-journal"))


def _existing(files: tuple[Path, ...]) -> Iterator[Path]:
    return (file for file in files if file.exists() or file.is_symlink())


def _delete(path: Path) -> None:
    """A link goes, and what it points to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
