"""The files that hold page vectors: append-only, memory-mapped.

A segment is four files: codes and scales of all its pages' vectors, and of their pooled vectors. What a segment holds
is what the catalogue has committed; bytes beyond that are what a kill left behind, and the next append writes over
them.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vrag.errors import CorpusError
from vrag.index.quantize import Quantized
from vrag.staging import link_or_copy, sync_folder


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
        if new:
            sync_folder(file.parent)
    except OSError as error:
        reason = error.strerror or error
        raise CorpusError(f"{file}: {reason}: free some space there and run the command again") from error


def load(folder: Path, segment: int, kind: str, count: int, dim: int) -> Quantized:
    """Map the first `count` vectors. Raises `CorpusError` when the files hold fewer."""
    return Quantized(
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


def share(folder: Path, segment: int, kind: str, count: int, dim: int, target: Path) -> None:
    """Give another folder the first `count` vectors, which never change. Raises as `vrag.staging.link_or_copy`."""
    for suffix, width in (("i8", dim), ("u16", 2)):
        name = f"{kind}-{segment:06d}.{suffix}"
        link_or_copy(folder / name, target / name, count * width)
