"""The files that hold page vectors: append-only, memory-mapped.

A segment is four files: codes and scales of all its pages' vectors, and of their pooled vectors. What a segment holds
is what the catalogue has committed; bytes beyond that are what a kill left behind, and the next append writes over
them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vrag.errors import CorpusError
from vrag.index.quantize import Quantized

Span = tuple[int, int]  # first vector of a page in its segment, and the one after the last


@dataclass(frozen=True)
class Vectors:
    """A segment's vectors as mapped: `codes` int8 [V, D], `scales` uint16 [V]."""

    codes: np.ndarray
    scales: np.ndarray


def append(folder: Path, segment: int, kind: str, at: int, added: Quantized) -> None:
    """Write vectors behind the first `at`, durably."""
    _write(folder / f"{kind}-{segment:06d}.i8", at * added.codes.shape[1], added.codes)
    _write(folder / f"{kind}-{segment:06d}.u16", at * added.scales.itemsize, added.scales)


def _write(file: Path, offset: int, data: np.ndarray) -> None:
    new = not file.exists()
    try:
        with file.open("xb" if new else "r+b") as out:
            out.seek(offset)
            out.write(np.ascontiguousarray(data).tobytes())
            out.truncate()
            out.flush()
            os.fsync(out.fileno())
        if new and os.name == "posix":
            _sync_folder(file.parent)
    except OSError as error:
        reason = error.strerror or error
        raise CorpusError(f"{file}: {reason}: free some space there and run the command again") from error


def _sync_folder(folder: Path) -> None:
    """A new file's name is durable once its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load(folder: Path, segment: int, kind: str, count: int, dim: int) -> Vectors:
    """Map the first `count` vectors. Raises `CorpusError` when the files hold fewer."""
    return Vectors(
        _map(folder / f"{kind}-{segment:06d}.i8", np.dtype(np.int8), (count, dim)),
        _map(folder / f"{kind}-{segment:06d}.u16", np.dtype(np.uint16), (count,)),
    )


def _map(file: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    if file.stat().st_size < int(np.prod(shape)) * dtype.itemsize:
        raise CorpusError(f"{file} is shorter than its catalogue says: delete {file.parent} and index again")
    return np.asarray(np.memmap(file, dtype=dtype, mode="r", shape=shape))


def files(folder: Path, segment: int) -> list[Path]:
    """All files of a segment."""
    return [folder / f"{kind}-{segment:06d}.{suffix}" for kind in ("full", "pool") for suffix in ("i8", "u16")]
