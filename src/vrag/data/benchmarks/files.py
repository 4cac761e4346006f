"""The files of a dataset: in a folder, or in zips, which write nothing outside the folder that was asked for."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vrag.corpus.options import Progress
from vrag.data.benchmarks.asked import Say
from vrag.data.rows import Problem
from vrag.errors import DataError
from vrag.runs import atomic_write


def files_in(folder: Path, *suffixes: str) -> list[Path]:
    """The files below with one of these suffixes, in a stable order; hidden ones and what is in hidden folders are left
    out.
    """
    found = [path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file()]
    return sorted(path for path in found if not _hidden(path.relative_to(folder).parts))


def unzip(archive: Path, folder: Path, suffixes: Sequence[str], problems: list[Problem], say: Say) -> Path:
    """Write what `archive` holds of these suffixes to `folder`, which is returned; a file that is there in its size
    stays. A damaged one becomes a problem. Raises `DataError` for what is no zip.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            wanted = [one for one in opened.infolist() if _wanted(one, suffixes)]
            for done, one in enumerate(wanted, start=1):
                _extract(opened, one, folder, problems)
                say(Progress("unpack", done, len(wanted), len(problems), one.filename))
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{archive}: can't be read as a zip ({error}); download it again") from error
    return folder


def _wanted(one: zipfile.ZipInfo, suffixes: Sequence[str]) -> bool:
    parts = PurePosixPath(one.filename).parts
    return not one.is_dir() and PurePosixPath(one.filename).suffix.lower() in suffixes and not _hidden(parts)


def _extract(opened: zipfile.ZipFile, one: zipfile.ZipInfo, folder: Path, problems: list[Problem]) -> None:
    parts = PurePosixPath(one.filename.replace("\\", "/")).parts
    where = f"{Path(opened.filename or '').name}: {one.filename}"
    if ".." in parts or parts[0] == "/" or ":" in parts[0]:
        problems.append(Problem(where, "its name leads out of the folder; it is left out"))
        return
    target = folder.joinpath(*parts)
    if target.is_file() and target.stat().st_size == one.file_size:
        return
    try:
        atomic_write(target, opened.read(one))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        problems.append(Problem(where, f"can't be unpacked ({error}); download the zip again"))


def _hidden(parts: Sequence[str]) -> bool:
    return any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts)
