"""MaxSim on a device of torch, which keeps the vectors that are asked for again; see `vrag.index.maxsim` for the axes.

A vector takes D + 4 bytes of the device. A segment's vectors are uploaded once and stay as soon as searches have sent
as many one by one, and as long as there is room: a scan of all pages has them uploaded at once, the candidates of a
single query don't. What doesn't stay is sent for each search, a chunk at a time, with the same result.
"""

from __future__ import annotations

import logging
import threading
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch

from vrag.errors import InfrastructureError, UsageError
from vrag.index.maxsim import Rows, chunks, rows_of
from vrag.index.quantize import Quantized

CHUNK = 1 << 25  # floats that a chunk of vectors, or of similarities, has: 128 MiB of the device each
MEMORY = 1 << 30  # bytes for vectors on a device that doesn't say how much is free
_log = logging.getLogger(__name__)


class _OnDevice(NamedTuple):
    codes: torch.Tensor  # int8 [V, D]
    scales: torch.Tensor  # fp32 [V], what a code of 1 stands for

    @property
    def bytes(self) -> int:
        return self.codes.nbytes + self.scales.nbytes


class TorchMaxSim:
    """A `vrag.index.maxsim.Kernel`; several threads and indexes may share it. What an index no longer uses leaves the
    device by itself. Products are fp32, as exact as `torch.set_float32_matmul_precision` has them.
    """

    def __init__(self, device: str, memory: int | None = None) -> None:
        """`memory` in bytes bounds the vectors that stay; None: half of what a GPU has free now, 1 GiB of another
        device. Raises `UsageError` for a device that isn't there.
        """
        try:
            self.device = torch.zeros(1, device=device).device
        except (RuntimeError, AssertionError) as error:  # a name unknown to torch; torch without CUDA
            reason = str(error).partition("\n")[0]
            raise UsageError(
                f"torch has no device {device!r} here ({reason}): choose another kernel or device"
            ) from error
        free = torch.cuda.mem_get_info(self.device)[0] // 2 if self.device.type == "cuda" else MEMORY
        self._memory = free if memory is None else memory
        self._lock = threading.Lock()
        self._held: WeakKeyDictionary[Quantized, _OnDevice] = WeakKeyDictionary()
        self._sent: WeakKeyDictionary[Quantized, int] = WeakKeyDictionary()

    @property
    def bytes_held(self) -> int:
        """By vectors that stay on the device."""
        return sum(held.bytes for held in list(self._held.values()))

    @torch.inference_mode()
    def __call__(
        self, vectors: Quantized, starts: np.ndarray, ends: np.ndarray, query: np.ndarray, rough: bool = False
    ) -> np.ndarray:
        """Scores [P]; `rough` ones are as exact and no quicker. Raises `InfrastructureError` when not even a chunk fits
        the device.
        """
        held = self._resident(vectors, int((ends - starts).sum()))
        try:
            asked = torch.from_numpy(query).to(self.device).T.contiguous()
            scores: list[torch.Tensor] = []
            for part in chunks(starts, ends, max(1, CHUNK // max(asked.shape))):
                rows = rows_of(starts[part], ends[part])
                some = self._sent_now(vectors, rows) if held is None else self._picked(held, rows)
                scores.append(_scores(some, torch.from_numpy(ends[part] - starts[part]).to(self.device), asked))
            return torch.cat(scores).cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise InfrastructureError(
                f"no memory is left on {self.device} to compare vectors: give them less of it, or choose another kernel"
            ) from error

    def _resident(self, vectors: Quantized, wanted: int) -> _OnDevice | None:
        """All of `vectors` on the device, if they are worth it by now and there is room."""
        with self._lock:
            held = self._held.get(vectors)
            if held is not None:
                return held
            count, dim = len(vectors.scales), vectors.dim
            self._sent[vectors] = self._sent.get(vectors, 0) + wanted
            if self._sent[vectors] < count or self.bytes_held + count * (dim + 4) > self._memory:
                return None
            try:
                held = self._held[vectors] = self._uploaded(vectors)
            except torch.OutOfMemoryError:
                self._memory = self.bytes_held
                _log.warning("%s has less memory than there was: more vectors are sent for each search", self.device)
            return held

    def _uploaded(self, vectors: Quantized) -> _OnDevice:
        """All vectors, a chunk at a time: what is mapped needn't fit the host's memory."""
        count, dim = len(vectors.scales), vectors.dim
        codes = torch.empty((count, dim), dtype=torch.int8, device=self.device)
        scales = torch.empty(count, dtype=torch.float32, device=self.device)
        step = max(1, CHUNK // dim)
        for first in range(0, count, step):
            span = slice(first, first + step)
            codes[span], scales[span] = self._sent_now(vectors, span)
        return _OnDevice(codes, scales)

    def _sent_now(self, vectors: Quantized, rows: Rows) -> _OnDevice:
        some = vectors[rows]
        codes = some.integers()  # a copy: torch takes no array that can't be written to
        return _OnDevice(torch.from_numpy(codes).to(self.device), torch.from_numpy(some.units).to(self.device))

    def _picked(self, held: _OnDevice, rows: Rows) -> _OnDevice:
        where = rows if isinstance(rows, slice) else torch.from_numpy(rows).to(self.device)
        return _OnDevice(held.codes[where], held.scales[where])


def _scores(vectors: _OnDevice, lengths: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """[P], of pages of `lengths` [P] that lie one after the other; `query` [D, N]."""
    similar = (vectors.codes.float() @ query).mul_(vectors.scales[:, None])
    return torch.segment_reduce(similar, "max", lengths=lengths, axis=0).sum(dim=1)
