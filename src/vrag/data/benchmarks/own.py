"""A person's own questions: CSV, JSON or JSON Lines with a question, an answer, a document and a page in each row, or
the reference's JSON.

    question    or query
    answer      one; or answers: alternatives, separated by | in CSV, a list in JSON
    document    or file, file_name, doc_id: its file name, with or without its suffix; may be left out
    page        or pages: numbers from 1, separated by commas, all of which the answer needs; may be left out
    id, hops, kind    may be left out

Other columns are kept in the task's metadata.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vrag.data.benchmarks.asked import Asked, Say, collect, filled, kind_of
from vrag.data.benchmarks.unified import read_unified
from vrag.data.rows import Problem, Row, json_rows, list_of, pages_of, read_text, text_of, texts_of
from vrag.errors import DataError, UsageError
from vrag.suggest import did_you_mean

_NAMES = {
    "question": ("question", "query"),
    "answer": ("answer", "answers", "reference_answer"),
    "document": ("document", "file", "file_name", "doc_id"),
    "page": ("page", "pages"),
    "id": ("id",),
    "hops": ("hops",),
    "kind": ("kind",),
}
_KNOWN = {name for names in _NAMES.values() for name in names}
_DELIMITERS = ",;\t"


class OwnQuestions:
    """Implements `vrag.data.benchmarks.asked.Benchmark`. `paths`: documents to index; none: they are in the corpus."""

    def __init__(self, file: Path, paths: Sequence[Path] = (), source: str | None = None) -> None:
        """Raises `UsageError` for a kind of file that isn't read and for documents that aren't there."""
        if file.suffix.lower() not in {".csv", ".tsv", ".json", ".jsonl", ".ndjson"}:
            raise UsageError(f"{file}: questions are read from CSV, TSV, JSON or JSON Lines, by the file's suffix")
        for path in paths:
            if not path.exists():
                raise UsageError(f"no such file or folder: {path}")
        self.source, self.problems = source or file.stem, list[Problem]()
        self._file, self._paths = file, list(paths)

    def questions(self) -> list[Asked]:
        """Raises `DataError` for a file without its columns; those of pages need one of documents."""
        table = self._file.suffix.lower() in {".csv", ".tsv"}
        rows = list(csv_rows(self._file, self.problems) if table else json_rows(self._file, self.problems))
        asked = collect(rows, self._read, self.problems)
        columns = list(dict.fromkeys(name for row in rows for name in row.values))
        if "meta_info" not in columns and any(one.pages for one in asked):
            _check_column(self._file, "document", columns)
        return asked

    def documents(self, folder: Path, dpi: int, say: Say) -> list[Path]:
        return self._paths

    def _read(self, row: Row) -> Asked:
        if "meta_info" in row.values:
            return read_unified(row, self.source)
        found = {name: _cell(row.values, names) for name, names in _NAMES.items()}
        if (hops := text_of(found["hops"]) or "1") not in {str(count) for count in range(1, 100)}:
            raise DataError(f"hops {hops!r} is no whole number from 1 to 99")
        answers = list(dict.fromkeys(text for name in _NAMES["answer"] for text in texts_of(row.values.get(name))))
        if not answers:
            raise DataError("has no answer")
        return Asked(
            where=row.where,
            id=text_of(found["id"]) or f"{self.source}-{row.where.rpartition(' ')[2]}",
            question=filled(found, "question"),
            answers=answers,
            document=text_of(found["document"]),
            pages=pages_of(_numbers(found["page"])),
            hops=int(hops),
            kind=kind_of(text_of(found["kind"])),
            source=self.source,
            meta={name: value for name, value in row.values.items() if name not in _KNOWN and value not in (None, "")},
        )


def csv_rows(file: Path, problems: list[Problem]) -> Iterator[Row]:
    """Rows of a table with a header; its delimiter is the one of comma, semicolon and tab that the header has most of.
    A row with more cells than the header becomes a problem. Raises `DataError` for a table without its columns.
    """
    text = read_text(file)
    header, _, _ = text.partition("\n")
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns = [str(name).strip().casefold() for name in reader.fieldnames or ()]
    for wanted in ("question", "answer"):
        _check_column(file, wanted, columns)
    reader.fieldnames = columns
    while True:
        try:
            values: dict[Any, Any] | None = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{file}: {error} after line {reader.line_num}; check its quotes") from error
        if values is None:
            return
        where = f"{file.name} line {reader.line_num}"
        if None in values:
            problems.append(Problem(where, "has more cells than the header; put cells with a delimiter into quotes"))
            continue
        if "answers" in values:
            values["answers"] = text_of(values["answers"]).split("|")
        yield Row(where, values)


def _check_column(file: Path, wanted: str, columns: Sequence[str]) -> None:
    """Raises `DataError` for a file without that column, with those that it has and the nearest."""
    names = _NAMES[wanted]
    if set(columns) & set(names):
        return
    others = [column for column in columns if column not in _KNOWN]
    near = next(filter(None, (did_you_mean(name, others) for name in names)), "")
    there = ", ".join(columns) or "no header"
    raise DataError(f"{file}: has no column {' or '.join(names)} (but {there})" + (f"; {near}" if near else ""))


def _cell(values: dict[str, Any], names: Sequence[str]) -> Any:
    return next((values[name] for name in names if values.get(name) not in (None, "", [])), None)


def _numbers(value: Any) -> Any:
    """ "3, 5" as a list. Raises `DataError` for alternatives: metrics want all gold pages."""
    if isinstance(value, str) and "|" in value:
        raise DataError(f"page {value!r}: pages have no alternatives, all of them count; name the one that answers")
    if isinstance(value, str) and not value.strip().startswith("["):
        return [part for part in value.replace(";", ",").split(",") if part.strip()]
    return list_of(value)
