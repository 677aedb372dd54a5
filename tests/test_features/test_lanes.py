"""Inner products of bytes side by side: exact, by the machine's own instruction and without it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from features.compiled import add_up, available, reaching
from serving.sources import vector_kernels

lanes = pytest.importorskip("features.lanes", reason="numba is not installed")
pytestmark = pytest.mark.skipif(not available(), reason="numba is switched off")
NUMBERS = (-32_768, -32_767, -1, 0, 1, 32_767)


def check() -> bool:
    """Whether sums of blocks are those of whole numbers, extremes among them; where nothing else is written."""
    import numba

    @numba.njit
    def of_places(codes, begin, pairs, steps, first, sums, row, least):
        most = add_up(codes, begin, pairs, steps, first, sums, row)
        return most, reaching(sums, row, np.int32(least))

    random, lanes_of = np.random.default_rng(1), 1 << np.arange(lanes.LANES)
    for pairs in (1, 2, 3, 32, 33, 64):
        codes = random.integers(-128, 128, (3, pairs, lanes.LANES, 2)).astype(np.int8)
        steps = random.integers(-32_768, 32_768, 2 * pairs).astype(np.int16)
        steps[: len(NUMBERS)] = NUMBERS[: len(steps)]
        codes[0, :, :4] = random.choice([-128, 127], (pairs, 4, 2))
        for block, first in ((0, 0), (1, pairs // 2), (2, pairs - 1)):
            sums = random.integers(-1_000, 1_000, (3, lanes.LANES)).astype(np.int32)
            held, begin = sums.copy(), 2 * lanes.LANES * (pairs * block + first)
            chosen = codes[block, first:].astype(np.int64), steps[2 * first :].reshape(-1, 2).astype(np.int64)
            held[1] += np.einsum("plt,pt->l", *chosen)
            least = int(random.choice(held[1])) + block % 2
            most, bits = of_places(codes.ravel(), begin, pairs - first, steps, first, sums, 1, least)
            if (sums != held).any() or most != held[1].max() or bits != lanes_of[held[1] >= least].sum():
                return False
    return True


def test_sums_are_exact() -> None:
    assert check()


def test_on_a_machine_without_the_instruction_they_are_the_same() -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    command = """
from numba.core.registry import cpu_target
from tests.test_features.test_lanes import check
assert "+avx2" not in cpu_target.target_context.codegen().magic_tuple()[-1]
assert check()
print("the same")
"""
    found = subprocess.run(
        [sys.executable, "-c", command], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert found.stdout == "the same\n", found.stderr[-2000:]


def test_kernels_know_this_file() -> None:
    """numba looks at the file of a kernel alone: a change of `features.lanes` has to be one of it too."""
    digest = hashlib.sha256(Path(lanes.__file__).read_bytes()).hexdigest()
    assert digest.startswith(vector_kernels.LANES_CODE) and len(vector_kernels.LANES_CODE) == 12
    assert lanes.LANES == vector_kernels.LANES
