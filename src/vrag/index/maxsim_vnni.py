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

from vrag.index.pooling import LANES
from vrag.index.quantize import MIDDLE, Quantized

_ROWS = 4
_BASE = 128  # what 1 in a plane is in the next
_LOWER, _HALF = np.uint8(15), np.uint8(4)  # what takes a byte of two codes apart
_SIGN = -128  # flips int8 to uint8, each 128 more: the instruction wants one side without sign
_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_SUMS, _FLOATS = ir.VectorType(_I32, LANES), ir.VectorType(ir.FloatType(), LANES)


def is_supported(vectors: Quantized) -> bool:
    """Whether numba compiles for a CPU with the instruction, and half a vector is whole groups of four."""
    return vectors.dim % 8 == 0 and _has_instruction()


@cache
def _has_instruction() -> bool:
    target: Any = cpu_target.target_context
    features: str = target.codegen().magic_tuple()[2]
    return "+avx512vnni" in features.split(",")


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
    whole = np.zeros((-(-count // LANES) * LANES, dim), dtype=np.int32)
    whole[:count] = np.rint(query / np.where(steps > 0, steps, 1)[:, None])
    high = np.rint(whole / _BASE).astype(np.int32)
    planes = (whole,) if rough else (high, whole - _BASE * high)
    more = MIDDLE if vectors.bits == 4 else -_SIGN  # than it is, a code counts
    bias = tuple((-more * plane.sum(axis=1)).astype(np.int32) for plane in planes)
    packed = tuple(register for plane in planes for register in _packed(plane))
    units = (steps * vectors.unit).astype(np.float32)
    _add(vectors.codes.reshape(-1), vectors.scales, starts, ends, packed, bias, units, scores)


def _packed(plane: np.ndarray) -> list[np.ndarray]:
    """[N, D] → for each register int8 [D / 4, 16 query vectors, 4 dimensions]."""
    lanes = plane.astype(np.int8).reshape(-1, LANES, plane.shape[1] // 4, 4)
    return [np.ascontiguousarray(register.transpose(1, 0, 2)) for register in lanes]


@numba.njit(parallel=True, fastmath=True, cache=True)  # pragma: no cover
def _add(codes: Any, scales: Any, starts: Any, ends: Any, packed: Any, bias: Any, units: Any, scores: Any) -> None:
    """`codes` [V * D], or [V * D / 2] with two in a byte; `packed`: the registers of one or two planes; `bias` for
    each plane int32 [16 or 32]: where sums start; `units` [N]. How many there are of both is in their types, so that
    each case is compiled by itself.
    """
    dim = 4 * len(packed[0])
    width = len(codes) // len(scales)
    apart = dim // 2 if width == dim else _ROWS * width  # the halves of a row
    for page in numba.prange(len(starts)):
        best = np.full(len(bias[0]), np.float32(-1e30))
        flipped = np.empty(_ROWS * dim, np.int8)  # in memory: four bytes of it are spread by a plain load
        lower, upper = flipped[:apart], flipped[apart:]
        for first in range(starts[page], ends[page], _ROWS):
            last = min(first + _ROWS, ends[page]) - 1
            four = codes[first * width : (last + 1) * width]
            if width == dim:
                for place in range(len(four)):
                    flipped[place] = four[place] ^ _SIGN
            else:
                for place in range(len(four)):
                    lower[place] = four[place] & _LOWER
                    upper[place] = four[place] >> _HALF
            rows = first, min(first + 1, last), min(first + 2, last), last
            _keep_best(flipped, (width, apart), scales, rows, packed, bias, best)
        total = np.float32(0)
        for n in range(len(units)):
            total += best[n] * units[n]
        scores[page] += total


@intrinsic
def _keep_best(
    context: Any, flipped: Any, steps: Any, scales: Any, rows: Any, packed: Any, bias: Any, best: Any
) -> Any:
    """Raises `best` fp32 [16 or 32] to the similarities of four `rows`, whose codes `flipped` uint8 [4 * D] holds: with
    `steps` from a row to the next, and from the first half of a row to the other.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def array(kind: Any, value: Any) -> Any:
            return context.make_array(kind)(context, builder, value)

        def arrays(place: int) -> list[Any]:
            kind = signature.args[place]
            return [array(kind.dtype, builder.extract_value(args[place], i)).data for i in range(kind.count)]

        held, scaled, kept = (array(signature.args[place], args[place]) for place in (0, 2, 6))
        registers, begun = arrays(4), arrays(5)
        width = len(registers) // len(begun)
        half = builder.sdiv(builder.extract_value(held.shape, 0), _I64(2 * _ROWS))
        to_row, to_half = (builder.extract_value(args[1], i) for i in range(2))
        places = [builder.extract_value(args[3], r) for r in range(_ROWS)]
        data = [builder.gep(held.data, [builder.mul(to_row, builder.sub(place, places[0]))]) for place in places]
        halves = data, [builder.gep(row, [to_half]) for row in data]
        zeros = [_load(builder, bias, _I64(64 * r), _SUMS) for bias in begun for r in range(width)]
        totals = _products(builder, halves, half, registers, zeros)
        for register in range(width):
            at = _I64(64 * register)
            top = _load(builder, kept.data, at, _FLOATS)
            for place, row in zip(places, totals, strict=True):
                scale = builder.uitofp(builder.load(builder.gep(scaled.data, [place])), ir.FloatType())
                similar = builder.fmul(_joined(builder, row[register::width]), _spread(builder, scale))
                top = builder.select(builder.fcmp_ordered(">", similar, top), similar, top)
            builder.store(top, _place(builder, kept.data, at, _FLOATS), align=1)
        return context.get_dummy_value()

    return numba.types.void(flipped, steps, scales, rows, packed, bias, best), generate


def _products(builder: Any, halves: Any, half: Any, registers: Any, zeros: Any) -> list[list[Any]]:
    """For each of four rows, given as two `halves`, a sum for each of `registers`: of `zeros` and the products with the
    query.
    """
    totals = [[cgutils.alloca_once_value(builder, zero) for zero in zeros] for _ in range(_ROWS)]
    groups = builder.sdiv(half, _I64(4))
    with cgutils.for_range(builder, groups) as loop:
        for number, rows in enumerate(halves):
            at = builder.mul(_I64(64), builder.add(loop.index, builder.mul(groups, _I64(number))))
            asked = [_load(builder, register, at, _SUMS) for register in registers]
            for row, sums in zip(rows, totals, strict=True):
                spread = _spread(builder, _load(builder, row, builder.mul(loop.index, _I64(4)), _I32))
                for total, part in zip(sums, asked, strict=True):
                    builder.store(_multiply_add(builder, builder.load(total), spread, part), total)
    return [[builder.load(total) for total in sums] for sums in totals]


def _joined(builder: Any, planes: Any) -> Any:
    """The sums of one or two planes as floats."""
    high, *lower = (builder.sitofp(plane, _FLOATS) for plane in planes)
    for low in lower:
        high = builder.fadd(builder.fmul(high, _FLOATS([float(_BASE)] * LANES)), low)
    return high


def _place(builder: Any, data: Any, offset: Any, kind: Any) -> Any:
    """What lies `offset` bytes behind `data`."""
    start = builder.bitcast(data, _I8.as_pointer())
    return builder.bitcast(builder.gep(start, [offset]), kind.as_pointer())


def _load(builder: Any, data: Any, offset: Any, kind: Any) -> Any:
    """From `offset` bytes behind `data`, at any alignment."""
    return builder.load(_place(builder, data, offset, kind), align=1)


def _spread(builder: Any, value: Any) -> Any:
    """The same four bytes in each lane."""
    kind = ir.VectorType(value.type, LANES)
    first = builder.insert_element(kind(ir.Undefined), value, _I32(0))
    return builder.shuffle_vector(first, kind(ir.Undefined), _SUMS([0] * LANES))


def _multiply_add(builder: Any, sums: Any, unsigned: Any, signed: Any) -> Any:
    kind = ir.FunctionType(_SUMS, [_SUMS] * 3)
    instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
    return builder.call(instruction, [sums, unsigned, signed])
