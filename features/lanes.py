"""Many inner products of bytes at once, side by side, as numba does not write them by itself.

Bytes of `LANES` rows stand side by side, two places of each row together: int8[pairs, LANES, 2]. Added up
row by row, a vector's own sum waits for the sums within it; side by side each row has a lane of its own, and a pair of
places is multiplied and added in one instruction. That takes a quarter of the time, as long as the memory keeps up.

What numba kept of a kernel does not change with this file: `serving.sources.vector_kernels` names its digest.
"""

from __future__ import annotations

from typing import Any

import numba.core.cgutils
import numba.np.arrayobj
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_arrays: Any = numba.np.arrayobj
_code: Any = numba.core.cgutils
LANES = 32
_BYTE, _SHORT, _INT, _SIZE = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_WIDE, _SHORTS = (ir.VectorType(kind, 2 * LANES) for kind in (_BYTE, _SHORT))
_INTS = ir.VectorType(_INT, LANES)
_AT_ONCE = 16
"""Numbers of 16 bits that AVX2 multiplies in one instruction."""


@intrinsic
def add_up(typing: Any, codes: Any, begin: Any, pairs: Any, steps: Any, first: Any, sums: Any, row: Any) -> Any:
    """Add to a row of sums the inner products of `LANES` rows of bytes with one vector, over some of their places.

    Returns the largest of that row.

    Args:
        codes: int8[n], of it int8[pairs, LANES, 2] from `begin` on.
        begin, pairs: where those places stand, and half of how many there are.
        steps: int16[m], the vector.
        first: from which pair of its places on.
        sums: int32[rows, LANES]; what does not fit into 32 bits is wrong.
        row: which.
    """

    def generated(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        held, asked, out = (
            _arrays.make_array(signature.args[at])(context, builder, given[at]) for at in (0, 3, 5)
        )  # fmt: skip
        place, count, start, line = (
            context.cast(builder, given[at], signature.args[at], types.intp) for at in (1, 2, 4, 6)
        )  # fmt: skip
        rows = builder.gep(held.data, [place])
        vector = builder.gep(builder.bitcast(asked.data, _INT.as_pointer()), [start])  # two places of it are one number
        kept = builder.bitcast(builder.gep(out.data, [builder.mul(line, _SIZE(LANES))]), _INTS.as_pointer())
        total = _code.alloca_once(builder, _INTS)
        builder.store(builder.load(kept, align=4), total)
        with _code.for_range(builder, count, intp=_SIZE) as loop:
            here = builder.gep(rows, [builder.mul(loop.index, _SIZE(2 * LANES))])
            read = builder.load(builder.bitcast(here, _WIDE.as_pointer()), align=1)
            pair = builder.load(builder.gep(vector, [loop.index]), align=2)
            alone = builder.insert_element(_INTS(ir.Undefined), pair, _INT(0))
            alike = builder.shuffle_vector(alone, _INTS(ir.Undefined), _INTS([0] * LANES))
            multiply = _by_instruction if "+avx2" in context.codegen().magic_tuple()[-1] else _by_halves
            added = multiply(builder, builder.sext(read, _SHORTS), alike)
            builder.store(builder.add(builder.load(total), added), total)
        found = builder.load(total)
        builder.store(found, kept, align=4)
        name = f"llvm.vector.reduce.smax.v{LANES}i32"
        return builder.call(_code.get_or_insert_function(builder.module, ir.FunctionType(_INT, [_INTS]), name), [found])

    return types.int32(codes, begin, pairs, steps, first, sums, row), generated


@intrinsic
def reaching(typing: Any, sums: Any, row: Any, least: Any) -> Any:
    """Of a row of int32[rows, LANES], a bit for each sum that is no lower than an int32."""

    def generated(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        held = _arrays.make_array(signature.args[0])(context, builder, given[0])
        line = context.cast(builder, given[1], signature.args[1], types.intp)
        here = builder.gep(held.data, [builder.mul(line, _SIZE(LANES))])
        read = builder.load(builder.bitcast(here, _INTS.as_pointer()), align=4)
        alone = builder.insert_element(_INTS(ir.Undefined), given[2], _INT(0))
        alike = builder.shuffle_vector(alone, _INTS(ir.Undefined), _INTS([0] * LANES))
        return builder.bitcast(builder.icmp_signed(">=", read, alike), _INT)

    return types.uint32(sums, row, types.int32), generated


def _by_instruction(builder: Any, read: Any, alike: Any) -> Any:
    """int32[LANES]: the sum of two products of 16 bits each, by the instruction that x86 has for it."""
    shorts, ints = ir.VectorType(_SHORT, _AT_ONCE), ir.VectorType(_INT, _AT_ONCE // 2)
    name = "llvm.x86.avx2.pmadd.wd"
    call = _code.get_or_insert_function(builder.module, ir.FunctionType(ints, [shorts, shorts]), name)
    asked, parts = builder.bitcast(alike, _SHORTS), []
    for begin in range(0, 2 * LANES, _AT_ONCE):
        places = ir.VectorType(_INT, _AT_ONCE)(list(range(begin, begin + _AT_ONCE)))
        parts.append(
            builder.call(
                call, [builder.shuffle_vector(each, each.type(ir.Undefined), places) for each in (read, asked)]
            )
        )
    while len(parts) > 1:
        parts = [_joined(builder, left, right) for left, right in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _joined(builder: Any, left: Any, right: Any) -> Any:
    many = 2 * left.type.count
    return builder.shuffle_vector(left, right, ir.VectorType(_INT, many)(list(range(many))))


def _by_halves(builder: Any, read: Any, alike: Any) -> Any:
    """The same on any machine: both numbers of 16 bits are taken out of each of 32."""
    pairs, by = builder.bitcast(read, _INTS), _INTS([16] * LANES)
    low = [builder.ashr(builder.shl(each, by), by) for each in (pairs, alike)]
    high = [builder.ashr(each, by) for each in (pairs, alike)]
    return builder.add(builder.mul(*low), builder.mul(*high))
