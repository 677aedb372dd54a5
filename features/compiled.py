"""Kernels: loops over flat arrays as machine code, where numba is there.

Beside each kernel stands the same in numpy: it serves where numba is missing, and tests hold the two against each
other. A kernel is compiled for one signature, once a machine (numba keeps it beside the source), and `warm` makes sure
that no request waits for a compiler. Helpers must stand in the file of the kernel that calls them: numba looks at that
file alone to see whether what it kept is still true.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Any, cast

import numpy as np
import numpy.typing as npt

numba: Any
trailing_zeros: Any
"""Of an integer, for kernels: the place of its lowest bit."""
ask_ahead: Any
"""Of an array and a first place, for kernels: the memory fetches what stands there while other work goes on."""
add_up: Any
"""Of rows of bytes that stand side by side, for kernels: their inner products with one (`features.lanes`)."""
reaching: Any
"""Of such inner products, for kernels: which are no lower than a number (`features.lanes`)."""


_alone = threading.RLock()


@contextmanager
def _without_scipy() -> Iterator[None]:
    """Numba loads SciPy's linear algebra where it finds it, and with that a hundred modules that no kernel needs.

    One thread after the other, and the outermost call puts it back: two may compile at once.
    """
    with _alone:
        hidden = "scipy" not in sys.modules
        if hidden:
            sys.modules["scipy"] = None  # type: ignore[assignment]
        try:
            yield
        finally:
            if hidden:
                del sys.modules["scipy"]


try:
    with _without_scipy():
        import numba
        from numba.cpython.unsafe.numbers import trailing_zeros

        from features.lanes import add_up, reaching
        from features.prefetch import ask_ahead
except ImportError:
    numba = trailing_zeros = ask_ahead = add_up = reaching = None

SWITCH = "KOKYAKU_KERNELS"
"""`numpy` in this variable of the environment leaves numba alone."""
BUILT = "KOKYAKU_COMPILED"
"""Names in the environment a folder of kernels that were compiled while an image was built."""
_CODES = {"f4": "float32", "f8": "float64", "i1": "int8", "i4": "int32", "i8": "int64", "u1": "uint8",
          "u4": "uint32", "u8": "uint64", "b1": "boolean"}  # fmt: skip


class Kernel:
    """A function over arrays and numbers, compiled when it is first used or warmed.

    What a call runs stands in a slot of each kernel, so that nothing stands between the caller and machine code.

    Args:
        function: what to compile.
        signature: its arguments, such as `f4[2], out f8[1], i8`: a type, then the dimensions of an array, which is
            C-contiguous and only read where it does not say `out`. A number before it: a tuple of so many.
    """

    __slots__ = ("__call__", "_compiled", "function", "signature")
    __call__: Callable[..., Any]

    def __init__(self, function: Callable[..., Any], signature: str) -> None:
        self.function, self.signature = function, signature
        self._compiled: Callable[..., Any] | None = None
        self.__call__ = lambda *args: self.warm()(*args)

    def warm(self) -> Callable[..., Any]:
        """Compile it, or load what an earlier process compiled."""
        if self._compiled is None:
            types = tuple(_type(each.strip()) for each in self.signature.split(","))
            self._compiled = self.__call__ = _jit(self.function, types)
        return self._compiled

    def timed_into(self, spent: dict[str, int]) -> None:
        """Add the nanoseconds of each call to an entry of its name, until it is `untimed`."""
        run, name = self.warm(), self.function.__name__.lstrip("_")

        def timed_run(*args: Any) -> Any:
            begun = perf_counter_ns()
            found = run(*args)
            spent[name] = spent.get(name, 0) + perf_counter_ns() - begun
            return found

        self.__call__ = timed_run

    def untimed(self) -> None:
        """Run it as it is."""
        self.__call__ = self.warm()


KERNELS: list[Kernel] = []
"""All that were declared by modules that are loaded."""
_on = numba is not None and os.environ.get(SWITCH) != "numpy"
_local = threading.local()


def kernel(signature: str) -> Callable[[Callable[..., Any]], Kernel]:
    """Declare a kernel, as `Kernel` says."""

    def declared(function: Callable[..., Any]) -> Kernel:
        KERNELS.append(Kernel(function, signature))
        return KERNELS[-1]

    return declared


def helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that kernels of the same file call."""
    return function if numba is None else _jit(function, None)


def sums_in_any_order(function: Callable[..., Any]) -> Callable[..., Any]:
    """A `helper` that may add up in any order, many numbers in one instruction."""
    return function if numba is None else _jit(function, None, {"reassoc", "contract"})


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A `helper` whose code is put in the place of each call: for what is done hundreds of times, of several arrays."""
    return function if numba is None else cast("Callable[..., Any]", numba.njit(function, inline="always"))


def available() -> bool:
    """Whether kernels are used; else numpy serves."""
    return _on


def warm() -> int:
    """Have every kernel ready, so that no request compiles anything; returns how many there are."""
    if not _on:
        return 0
    for each in KERNELS:
        each.warm()
    return len(KERNELS)


@contextmanager
def switched(on: bool) -> Iterator[None]:
    """With kernels, or without: for tests and benches that compare the two."""
    global _on
    before, _on = _on, on and numba is not None
    try:
        yield
    finally:
        _on = before


@contextmanager
def timed() -> Iterator[dict[str, int]]:
    """Within it, what each kernel takes is added up by its name, in nanoseconds."""
    spent: dict[str, int] = {}
    try:
        for each in KERNELS if _on else ():
            each.timed_into(spent)
        yield spent
    finally:
        for each in KERNELS if _on else ():
            each.untimed()


def scratch(name: str, size: int, dtype: Any, fill: float = 0) -> npt.NDArray[Any]:
    """An array of this thread that is kept between requests; whoever uses it leaves it filled with `fill`.

    Args:
        name: of its user.
        size: at least so many values; it is made anew where it was smaller.
        dtype, fill: of its values.
    """
    held: npt.NDArray[Any] | None = getattr(_local, name, None)
    if held is None or len(held) < size:
        held = np.full(size, fill, dtype)
        setattr(_local, name, held)
    return held


def _take_over(built: str) -> None:
    """Work with a copy of what was compiled elsewhere: numba keeps nothing where it may only read."""
    own = tempfile.mkdtemp(prefix="kokyaku-kernels-")
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    shutil.copytree(built, own, dirs_exist_ok=True)
    numba.config.CACHE_DIR = own


if _on and (_folder := os.environ.get(BUILT)) and Path(_folder).is_dir():
    _take_over(_folder)


def _jit(
    function: Callable[..., Any], types: tuple[Any, ...] | None, fast: set[str] | bool = False
) -> Callable[..., Any]:
    with _without_scipy():
        return _made(function, types, fast)


def _made(
    function: Callable[..., Any], types: tuple[Any, ...] | None, fast: set[str] | bool
) -> Callable[..., Any]:  # fmt: skip
    # The interpreter's lock is kept: a kernel takes a tenth of a millisecond, and to hand the lock over takes five.
    try:
        made = numba.njit(types, cache=True, error_model="numpy", fastmath=fast)(function)
    except RuntimeError:  # there is no folder that numba could keep it in: it is compiled at every start
        made = numba.njit(types, error_model="numpy", fastmath=fast)(function)
    return cast("Callable[..., Any]", made)


def _type(code: str) -> Any:
    many, _, each = code.partition(" ")
    if many.isdigit():
        return numba.types.UniTuple(_type(each), int(many))
    out, code = code.startswith("out "), code.removeprefix("out ")
    scalar = getattr(numba.types, _CODES[code[:2]])
    if "[" not in code:
        return scalar
    return numba.types.Array(scalar, int(code[3:-1]), "C", readonly=not out)
