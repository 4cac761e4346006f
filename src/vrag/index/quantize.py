"""Page vectors as small integers with one scale each: int8 ranks pages as well as bf16 does, at a quarter of fp32; half
a byte a code is enough to choose candidates by.

A scale is the vector's largest part in 65535ths (uint16): vectors no longer than 1 have parts no larger than 1. That is
two bytes a vector, and a kernel needs no half-precision floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Bits = Literal[4, 8]

STEPS = 65535  # of a scale
MIDDLE = 8  # added to a code of 4 bits, which has no sign


@dataclass(frozen=True, eq=False)
class Quantized:
    """`codes` [V, D] int8, or [V, D / 2] uint8 of two codes each; `scales` uint16 [V]; in memory or mapped. The vectors
    are `integers` * scales * `unit`.

    The lower half of byte i is dimension i and the upper one dimension D / 2 + i, so that a row is taken apart by two
    operations on all of it.
    """

    codes: np.ndarray
    scales: np.ndarray

    @property
    def bits(self) -> Bits:
        """Of a code."""
        return 4 if self.codes.dtype == np.uint8 else 8

    @property
    def dim(self) -> int:
        return self.codes.shape[1] * 8 // self.bits

    @property
    def unit(self) -> float:
        """What a code of 1 at a scale of 1 stands for."""
        return _unit(self.bits)

    @property
    def units(self) -> np.ndarray:
        """fp32 [V]: what a code of 1 stands for at each vector's own scale."""
        return self.scales.astype(np.float32) * np.float32(self.unit)

    def __getitem__(self, rows: slice | np.ndarray) -> Quantized:
        return Quantized(self.codes[rows], self.scales[rows])

    def integers(self, out: np.ndarray | None = None) -> np.ndarray:
        """[V, D], a copy: int8, or `out` of any type, which is filled without an array in between."""
        if out is None:
            out = np.empty((len(self.codes), self.dim), dtype=np.int8)
        if self.bits == 8:
            out[:] = self.codes
        else:
            half = self.codes.shape[1]
            np.bitwise_and(self.codes, 15, out=out[:, :half], casting="unsafe")
            np.right_shift(self.codes, 4, out=out[:, half:], casting="unsafe")
            out -= MIDDLE
        return out


def quantize(vectors: np.ndarray, bits: Bits = 8) -> Quantized:
    """Of [V, D] finite floats, none longer than 1 (`vrag.index.vectors.check_page`); D is even for 4 bits."""
    largest = _largest(bits)
    peaks = np.abs(vectors).max(axis=1, initial=0)
    scales = np.ceil(peaks * STEPS).clip(1, STEPS).astype(np.uint16)  # rounded up: no code outgrows its bits
    codes = np.rint(vectors / (scales[:, None] * np.float32(_unit(bits)))).clip(-largest, largest)
    if bits == 8:
        return Quantized(codes.astype(np.int8), scales)
    lower, upper = np.split((codes + MIDDLE).astype(np.uint8), 2, axis=1)
    return Quantized(lower | upper << 4, scales)


def dequantize(vectors: Quantized) -> np.ndarray:
    """fp32 [V, D]."""
    return vectors.integers().astype(np.float32) * vectors.units[:, None]


def _largest(bits: Bits) -> int:
    """The largest code; the smallest is its opposite."""
    return 2 ** (bits - 1) - 1


def _unit(bits: Bits) -> float:
    return 1 / (_largest(bits) * STEPS)
