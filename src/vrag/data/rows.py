"""Rows of published datasets, and what their cells mean: texts, lists written out as texts, page numbers, images."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vrag.errors import DataError


@dataclass(frozen=True)
class Row:
    """Some columns of one row; `where` names file and row (from 1) for people."""

    where: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """A row that can't be used, or something of it; the others are. `where` names file and row for people."""

    where: str
    reason: str


def text_of(value: Any) -> str:
    return "" if value is None else str(value).strip()


def texts_of(value: Any) -> list[str]:
    """The texts of a cell that holds one, or a list of them; the list may be written out as a text."""
    return [text for text in map(text_of, list_of(value)) if text]


def list_of(value: Any) -> list[Any]:
    """A list, also one that is written out as a text, "[3, 5]"; else a list of the value alone; None: empty."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return [value]
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def pages_of(value: Any) -> list[int]:
    """Whole numbers, each once, in order. Raises `DataError` for what is none."""
    pages: list[int] = []
    for one in list_of(value):
        try:
            page = int(re.sub(r"\.0+$", "", str(one).strip()))  # 3.0: a table program's column with blanks
        except ValueError:
            raise DataError(f"page {one!r} is no whole number") from None
        if page not in pages:
            pages.append(page)
    return pages


def image_of(value: Any) -> bytes | None:
    """The bytes of an image column: a struct {bytes, path}, or bytes."""
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) and data else None


def json_rows(file: Path, problems: list[Problem]) -> Iterator[Row]:
    """The objects of a JSON file, which holds a list of them or {"examples": [...]}, or of a JSON Lines file. What is
    no object becomes a problem. Raises `DataError` for a file that can't be read, or is no JSON as a whole.
    """
    text = read_text(file)
    lines = file.suffix.lower() in {".jsonl", ".ndjson"}
    for number, value in _parsed_lines(file, text, problems) if lines else enumerate(_parsed(file, text), start=1):
        where = f"{file.name} {'line' if lines else 'row'} {number}"
        if isinstance(value, dict):
            yield Row(where, value)
        else:
            problems.append(Problem(where, "is no JSON object"))


def read_text(file: Path) -> str:
    """Raises `DataError` for a file that can't be read or isn't UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: isn't UTF-8 text (byte {error.start}); save it as UTF-8") from error


def _parsed_lines(file: Path, text: str, problems: list[Problem]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                problems.append(Problem(f"{file.name} line {number}", f"is no JSON ({error})"))


def _parsed(file: Path, text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: is no JSON ({error})") from error
    if isinstance(value, dict):
        value = value.get("examples")
    if not isinstance(value, list):
        raise DataError(f'{file}: holds no list of questions; expected [...] or {{"examples": [...]}}')
    return value
