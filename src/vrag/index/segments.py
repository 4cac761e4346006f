"""The files that hold page vectors: append-only, memory-mapped.

A segment is four files: codes (`.i8`, or `.u4` with two in a byte) and scales (`.u16`) of all its pages' vectors, and
of their pooled vectors. What a segment holds is what the catalogue has committed; bytes beyond that are what a kill
left behind, and the next append writes over them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vrag.errors import CorpusError
from vrag.index.quantize import Bits, Quantized
from vrag.staging import link_or_copy, sync_folder


def append(folder: Path, segment: int, kind: str, at: int, added: Quantized) -> None:
    """Write vectors behind the first `at`, durably."""
    codes, scales = _files(folder, segment, kind, added.bits)
    _write(codes, at * added.codes.shape[1], added.codes)
    _write(scales, at * added.scales.itemsize, added.scales)


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


def load(folder: Path, segment: int, kind: str, count: int, dim: int, bits: Bits = 8) -> Quantized:
    """Map the first `count` vectors, whose codes have `bits`. Raises `CorpusError` when the files hold fewer."""
    codes, scales = _files(folder, segment, kind, bits)
    shape, dtype = ((count, dim), np.int8) if bits == 8 else ((count, dim // 2), np.uint8)
    return Quantized(_map(codes, np.dtype(dtype), shape), _map(scales, np.dtype(np.uint16), (count,)))


def _map(file: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    if file.stat().st_size < int(np.prod(shape)) * dtype.itemsize:
        raise CorpusError(f"{file} is shorter than its catalogue says: delete {file.parent} and index again")
    return np.asarray(np.memmap(file, dtype=dtype, mode="r", shape=shape))


def files(folder: Path, segment: int) -> list[Path]:
    """All files that a segment may have."""
    return [folder / f"{kind}-{segment:06d}.{suffix}" for kind in ("full", "pool") for suffix in ("i8", "u4", "u16")]


def strays(folder: Path, known: Iterable[int]) -> list[Path]:
    """Files of segments other than those: a compaction that was killed left them."""
    own = {file for segment in known for file in files(folder, segment)}
    found = [*folder.glob("full-*.*"), *folder.glob("pool-*.*")]
    return [file for file in found if file.suffix in (".i8", ".u4", ".u16") and file not in own]


def share(folder: Path, segment: int, kind: str, count: int, dim: int, target: Path, bits: Bits = 8) -> None:
    """Give another folder the first `count` vectors, which never change. Raises as `vrag.staging.link_or_copy`."""
    for file, width in zip(_files(folder, segment, kind, bits), (dim * bits // 8, 2), strict=True):
        link_or_copy(file, target / file.name, count * width)


def _files(folder: Path, segment: int, kind: str, bits: Bits) -> tuple[Path, Path]:
    """Of codes and of scales."""
    name = f"{kind}-{segment:06d}"
    return folder / f"{name}.{'i8' if bits == 8 else 'u4'}", folder / f"{name}.u16"
