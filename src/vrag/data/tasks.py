"""Task files: one `Task` per line of JSON. What is wrong with a line is said with its file and number."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from vrag.errors import DataError
from vrag.runs import first_fault
from vrag.types import Task

_TABLES = {".csv", ".tsv", ".xlsx", ".xls", ".ods"}


def read_tasks(path: str | Path) -> list[Task]:
    """Every task of `path`, in order; blank lines are skipped.

    Raises `DataError` naming `file:line` for a line that is no task, for an id that is used twice, and
    for a file that can't be read or is a table.
    """
    path = Path(path)
    if path.suffix.lower() in _TABLES:
        raise DataError(f"{path}: is a table and no task file; run `vrag data import` first, which makes one of it")
    tasks: list[Task] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            task = Task.model_validate_json(line)
        except ValidationError as error:
            how = "each line must be one task as JSON; `vrag data import` makes them of questions of your own"
            raise DataError(f"{path}:{number}: {first_fault(error)}; {how}") from error
        if task.id in seen:
            raise DataError(f"{path}:{number}: id {task.id!r} is also that of line {seen[task.id]}; ids must be unique")
        seen[task.id] = number
        tasks.append(task)
    return tasks


def write_tasks(path: Path, tasks: Iterable[Task]) -> None:
    """Write `tasks` in order, replacing `path` in one step, so that a killed run leaves no half file."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            for task in tasks:
                file.write(task.model_dump_json() + "\n")
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path}: can't be written: {error.strerror or error}") from error


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start}); task files are JSON lines") from error
