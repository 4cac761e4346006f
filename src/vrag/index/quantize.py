"""Page vectors as int8 with one scale each: a quarter of fp32, and MaxSim ranks pages as well as with bf16.

A scale is the vector's largest part in 65535ths (uint16): vectors no longer than 1 have parts no larger than 1. That is
two bytes a vector, and a kernel needs no half-precision floats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LARGEST = 127  # of a code
STEPS = 65535  # of a scale
UNIT = 1 / (LARGEST * STEPS)  # what a code of 1 at a scale of 1 stands for


@dataclass(frozen=True, eq=False)
class Quantized:
    """`codes` int8 [V, D], `scales` uint16 [V], in memory or mapped; the vectors are codes * scales * UNIT."""

    codes: np.ndarray
    scales: np.ndarray


def quantize(vectors: np.ndarray) -> Quantized:
    """Of [V, D] finite floats, none longer than 1 (`vrag.index.vectors.check_page`)."""
    peaks = np.abs(vectors).max(axis=1, initial=0)
    scales = np.ceil(peaks * STEPS).clip(1, STEPS).astype(np.uint16)  # rounded up: no code outgrows int8
    codes = np.rint(vectors / (scales[:, None] * np.float32(UNIT)))
    return Quantized(codes.clip(-LARGEST, LARGEST).astype(np.int8), scales)


def dequantize(codes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """fp32 [V, D]."""
    return codes.astype(np.float32) * (scales.astype(np.float32) * np.float32(UNIT))[:, None]
