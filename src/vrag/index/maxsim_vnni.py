"""MaxSim by the int8 products of AVX-512 VNNI: 64 of them in an instruction, where fp32 has 16.

The query becomes integers of 15 bits in two planes of int8, high and low, so that scores are those of fp32 to 1e-4; or
of 8 bits in one plane, which is twice as quick and enough to choose candidates. Products with the codes are exact. LLVM
doesn't find the instruction by itself, so it is named here.
"""

# numba's decorators carry no types that a checker could follow, and fill in an intrinsic's first parameter
# pyright: reportUntypedFunctionDecorator=false, reportCallIssue=false

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from vrag.index.quantize import UNIT, Quantized

BLOCK = 32  # query vectors: in each plane two registers of 16 sums
_ROWS, _REGISTERS = 4, 2
_BASE = 128  # what 1 in a plane is in the next
_SIGN = 0x80808080  # flips four int8 to uint8, each 128 more: the instruction wants one side without sign
_I8, _I32, _SUMS = ir.IntType(8), ir.IntType(32), ir.VectorType(ir.IntType(32), 16)


@cache
def is_supported(dim: int) -> bool:
    """Whether numba compiles for a CPU with the instruction, and vectors are whole groups of four."""
    target: Any = cpu_target.target_context
    features: str = target.codegen().magic_tuple()[2]
    return dim % 4 == 0 and "+avx512vnni" in features.split(",")


def add(
    vectors: Quantized,
    starts: np.ndarray,
    ends: np.ndarray,
    query: np.ndarray,
    scores: np.ndarray,
    rough: bool = False,
) -> None:
    """Add to `scores` [P] those of `query` [N, D], N at most 32; `rough`: of the query in one plane."""
    count, dim = query.shape
    steps = np.abs(query).max(axis=1) / (127 if rough else 127 * _BASE)
    whole = np.zeros((BLOCK, dim), dtype=np.int32)
    whole[:count] = np.rint(query / np.where(steps > 0, steps, 1)[:, None])
    high = np.rint(whole / _BASE).astype(np.int32)
    planes = (whole,) if rough else (high, whole - _BASE * high)
    too_much = np.array([128 * plane.sum(axis=1) for plane in planes], np.int32)  # codes count 128 more than they are
    packed = tuple(_packed(plane) for plane in planes)
    units = (steps * UNIT).astype(np.float32)
    _add(vectors.codes, vectors.scales, starts, ends, packed, too_much, units, scores)


def _packed(plane: np.ndarray) -> np.ndarray:
    """[32, D] → int8 [D / 4, 2 registers, 16 query vectors, 4 dimensions]."""
    lanes = plane.astype(np.int8).reshape(_REGISTERS, 16, -1, 4)
    return np.ascontiguousarray(lanes.transpose(2, 0, 1, 3))


@numba.njit(parallel=True, fastmath=True, cache=True)  # pragma: no cover
def _add(codes: Any, scales: Any, starts: Any, ends: Any, planes: Any, too_much: Any, units: Any, scores: Any) -> None:
    """`planes`: one or two, as packed; `too_much` int32 [planes, 32]; `units` fp32 [N]."""
    for page in numba.prange(len(starts)):
        best = np.full(BLOCK, np.float32(-1e30))
        sums = np.empty((_ROWS, len(planes), BLOCK), np.int32)
        row, last = starts[page], ends[page] - 1
        while row <= last:
            rows = row, min(row + 1, last), min(row + 2, last), min(row + 3, last)
            _products(codes, rows, planes, sums)
            for r in range(_ROWS):
                scale = np.float32(scales[rows[r]])
                for n in range(BLOCK):
                    value = np.float32(sums[r, 0, n] - too_much[0, n])
                    if len(planes) == 2:
                        value = value * np.float32(_BASE) + np.float32(sums[r, 1, n] - too_much[1, n])
                    best[n] = max(best[n], value * scale)
            row += _ROWS
        total = np.float32(0)
        for n in range(len(units)):
            total += best[n] * units[n]
        scores[page] += total


@intrinsic
def _products(context: Any, codes: Any, rows: Any, planes: Any, sums: Any) -> Any:
    """Writes `sums` int32 [4, planes, 32]: of four `rows` of `codes` int8 [V, D], plus 128 each, with the query."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        held, written = (context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 3))
        packed = [
            context.make_array(signature.args[2].dtype)(context, builder, builder.extract_value(args[2], plane)).data
            for plane in range(len(signature.args[2]))
        ]
        dim = builder.extract_value(held.shape, 1)
        firsts = [builder.mul(builder.extract_value(args[1], r), dim) for r in range(_ROWS)]
        starts = [builder.gep(held.data, [first]) for first in firsts]
        width = _REGISTERS * len(packed)
        totals = [[cgutils.alloca_once_value(builder, _SUMS([0] * 16)) for _ in range(width)] for _ in starts]
        with cgutils.for_range(builder, builder.sdiv(dim, dim.type(4))) as loop:
            at = builder.mul(loop.index, dim.type(64 * _REGISTERS))
            offsets = [builder.add(at, dim.type(64 * register)) for register in range(_REGISTERS)]
            asked = [_load(builder, plane, offset, _SUMS) for plane in packed for offset in offsets]
            for start, row in zip(starts, totals, strict=True):
                four = _load(builder, start, builder.mul(loop.index, dim.type(4)), _I32)
                spread = _spread(builder, builder.xor(four, _I32(_SIGN)))
                for total, part in zip(row, asked, strict=True):
                    builder.store(_multiply_add(builder, builder.load(total), spread, part), total)
        flat = builder.bitcast(written.data, _SUMS.as_pointer())
        for place, total in enumerate(total for row in totals for total in row):
            builder.store(builder.load(total), builder.gep(flat, [_I32(place)]), align=4)
        return context.get_dummy_value()

    return numba.types.void(codes, rows, planes, sums), generate


def _load(builder: Any, data: Any, offset: Any, kind: Any) -> Any:
    """What lies `offset` bytes behind `data`, at any alignment."""
    return builder.load(builder.bitcast(builder.gep(data, [offset]), kind.as_pointer()), align=1)


def _spread(builder: Any, four: Any) -> Any:
    """The same four bytes in each of 16 lanes."""
    nothing = _SUMS(ir.Undefined)
    first = builder.insert_element(nothing, four, _I32(0))
    return builder.shuffle_vector(first, nothing, _SUMS([0] * 16))


def _multiply_add(builder: Any, sums: Any, unsigned: Any, signed: Any) -> Any:
    kind = ir.FunctionType(_SUMS, [_SUMS] * 3)
    instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
    return builder.call(instruction, [sums, unsigned, signed])
