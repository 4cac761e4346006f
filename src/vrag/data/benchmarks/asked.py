"""A question as any dataset asks it, and what a format of datasets has to give."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vrag.corpus.options import Progress
from vrag.data.rows import Problem, Row
from vrag.errors import DataError

Say = Callable[[Progress], None]

_KINDS = {
    "pure-text (plain-text)": "text",
    "pure text": "text",
    "generalized-text (layout)": "layout",
    "2d_layout": "layout",
}


@dataclass(frozen=True)
class Asked:
    """`document` is what the dataset calls it ("": it says none), `pages` of it count from 1; `answers` are
    alternatives.
    """

    where: str  # file and row, for people
    id: str
    question: str
    answers: list[str]
    document: str = ""
    pages: list[int] = field(default_factory=lambda: [])
    hops: int = 1
    kind: str = "unknown"
    source: str = "unknown"
    meta: dict[str, Any] = field(default_factory=lambda: {})


class Benchmark(Protocol):
    """One dataset, found and not yet read. `problems` grows while it is read."""

    source: str  # what its tasks are said to be from
    problems: list[Problem]

    def questions(self) -> list[Asked]: ...

    def documents(self, folder: Path, dpi: int, say: Say) -> list[Path]:
        """Files or folders to index; what has to be made of the dataset is made in `folder`, for pages of `dpi`. A
        file that is there already, from an earlier run, stays.
        """
        ...


@dataclass(frozen=True)
class Family:
    """How one of the published datasets is found: `patterns` are its files on the Hub; `load` takes the folder that
    holds them, a name for people, and the split.
    """

    name: str
    splits: tuple[str, ...]
    patterns: Callable[[str], list[str]]
    load: Callable[[Path, str, str], Benchmark]


def collect(rows: Iterable[Row], read: Callable[[Row], Asked], problems: list[Problem]) -> list[Asked]:
    """Every row as a question. One that `read` raises `DataError` for becomes a problem; so does one with the id of an
    earlier one.
    """
    found: dict[str, Asked] = {}
    for row in rows:
        try:
            asked = read(row)
            _check_text(asked)
        except DataError as error:
            problems.append(Problem(row.where, str(error)))
            continue
        first = found.setdefault(asked.id, asked)
        if first is not asked:
            problems.append(Problem(row.where, f"id {asked.id} is also that of {first.where}, which is used"))
    return list(found.values())


def _check_text(asked: Asked) -> None:
    """Raises `DataError` for half a character, which JSON can write and no file of text can hold."""
    try:
        json.dumps(asdict(asked), ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"holds half a character ({error.object[error.start]!a}); write it whole") from error


def filled(row: dict[str, Any], column: str) -> str:
    """The text of a column that has to hold one; raises `DataError` naming it."""
    text = "" if row.get(column) is None else str(row[column]).strip()
    if not text:
        raise DataError(f"has no {column}")
    return text


def kind_of(source: str) -> str:
    """One word for a kind of content, whichever dataset names it."""
    plain = source.strip().casefold()
    return _KINDS.get(plain, plain) or "unknown"
