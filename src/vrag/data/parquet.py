"""The parquet files of a dataset in the Hub's layout, and their rows, a few at a time.

A table's files are TABLE/SPLIT-00000-of-00001.parquet, TABLE/SPLIT/0000.parquet or TABLE/SPLIT.parquet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vrag.data.hub import located
from vrag.data.rows import Row
from vrag.errors import DataError, UsageError

BATCH = 8  # rows at once: page images are large
_BUFFER = 1 << 20  # bytes that are read at once; pyarrow's own choice holds all images of a file in memory
_SHARD = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}(-[0-9a-f]+)?")


@dataclass(frozen=True)
class Table:
    """One table of one split."""

    folder: Path
    files: list[Path]

    def count(self) -> int:
        """Rows, from the files' footers."""
        return sum(_open(file).metadata.num_rows for file in self.files)

    def columns(self) -> set[str]:
        """The columns of its first file, `-` as `_`."""
        return {name.replace("-", "_") for name in _open(self.files[0]).schema_arrow.names}

    def rows(self, required: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
        """All rows in order, with these columns; an optional one that a file lacks is None.

        Raises `DataError` naming the file that lacks a required column or can't be read.
        """
        for file in self.files:
            name = file.relative_to(self.folder).as_posix()
            opened = _open(file)
            there = {column.replace("-", "_"): column for column in opened.schema_arrow.names}
            if lacking := [column for column in required if column not in there]:
                raise DataError(f"{name}: has no column {', '.join(lacking)} (but {', '.join(there.values())})")
            chosen = [column for column in (*required, *optional) if column in there]
            number = 0
            for values in _batches(opened, name, [there[column] for column in chosen]):
                for row in values:
                    number += 1
                    yield Row(f"{name} row {number}", {column: row[there[column]] for column in chosen})


@dataclass(frozen=True)
class Dataset:
    """The tables of one split. `revision` is the Hub's commit, None for a folder."""

    name: str
    split: str
    tables: dict[str, Table]
    revision: str | None = None


def find_dataset(name: str, split: str = "test", revision: str | None = None) -> Dataset:
    """A folder in the Hub's layout, or owner/name on the Hub, which is fetched to its cache.

    Raises `DataError` when there is none or it has no such split, and `UsageError` for a missing extra.
    """
    wanted = [f"*{split}{ending}" for ending in ("-*.parquet", "/*.parquet", ".parquet")]
    found = located(name, wanted, revision)
    return dataset_in(found.folder, name, split, found.revision)


def dataset_in(folder: Path, name: str, split: str, revision: str | None = None) -> Dataset:
    """The tables of one split under `folder`; `name` is what it is called. Raises `DataError` without such a split."""
    files: dict[str, dict[str, list[Path]]] = {}
    for file in sorted(folder.rglob("*.parquet")):
        table, its_split = _place(file.relative_to(folder))
        files.setdefault(its_split, {}).setdefault(table, []).append(file)
    if split not in files:
        there = ", ".join(sorted(files)) or "no parquet file at all"
        raise DataError(f"{name}: has no split {split!r} (but {there})")
    return Dataset(name, split, {table: Table(folder, paths) for table, paths in files[split].items()}, revision)


def _place(path: Path) -> tuple[str, str]:
    """Table and split of a file, by its path in the dataset; files at the top are of the table ""."""
    folders = path.parts[:-1]
    shard = _SHARD.fullmatch(path.stem)
    if shard is not None:
        return "/".join(folders), shard["split"]
    if len(folders) > 1:
        return "/".join(folders[:-1]), folders[-1]
    return "/".join(folders), path.stem


def _open(file: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as failure:
        raise UsageError("reading parquet needs pyarrow: pip install 'vrag[datasets]'") from failure
    try:
        return parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
    except (OSError, pyarrow.ArrowException) as failure:
        raise DataError(f"{file}: can't be read as parquet ({failure}); download it again") from failure


def _batches(opened: Any, name: str, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    import pyarrow

    try:
        for batch in opened.iter_batches(batch_size=BATCH, columns=columns):
            yield batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as failure:
        raise DataError(f"{name}: is damaged ({failure}); download it again") from failure
