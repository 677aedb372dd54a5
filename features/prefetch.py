"""An instruction that numba has no name for: have the memory fetch what will be read soon.

What stands anywhere in a table of a whole shop is hardly ever at hand, and waiting for it, item after item, is most of
what a kernel takes that looks a few items up. Whoever knows them beforehand asks for all of them at once.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

_READ, _KEEP, _DATA = 0, 3, 1
"""Of LLVM's `prefetch`: it will be read, more than once, and is no code."""


@intrinsic
def ask_ahead(typing: Any, array: Any, place: Any) -> Any:
    """Of an array and a place along its first axis: nothing is read, and there is nothing to wait for."""

    def generated(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        held = arrayobj.make_array(signature.args[0])(context, builder, given[0])
        (stride, *_) = cgutils.unpack_tuple(builder, held.strides)
        offset = builder.mul(context.cast(builder, given[1], signature.args[1], types.intp), stride)
        address = cgutils.pointer_add(builder, held.data, offset, cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        builder.call(fetch, [address, number(_READ), number(_KEEP), number(_DATA)])
        return context.get_dummy_value()

    return types.void(array, place), generated
