"""An instruction that numba has no name for: have the memory fetch what will be read soon.

What stands anywhere in a table of a whole shop is hardly ever at hand, and waiting for it, item after item, is most of
what a kernel takes that looks a few items up. Whoever knows them beforehand asks for all of them at once.
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
_READ, _KEEP, _DATA = 0, 3, 1
"""Of LLVM's `prefetch`: it will be read, more than once, and is no code."""


@intrinsic
def ask_ahead(typing: Any, array: Any, place: Any) -> Any:
    """Of an array and a place along its first axis: nothing is read, and there is nothing to wait for."""

    def generated(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        held = _arrays.make_array(signature.args[0])(context, builder, given[0])
        (stride, *_) = _code.unpack_tuple(builder, held.strides)
        offset = builder.mul(context.cast(builder, given[1], signature.args[1], types.intp), stride)
        address = _code.pointer_add(builder, held.data, offset, _code.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [_code.voidptr_t, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [_code.voidptr_t], kind)
        builder.call(fetch, [address, number(_READ), number(_KEEP), number(_DATA)])
        return context.get_dummy_value()

    return types.void(array, place), generated
