"""Fits of a training that has not come to its end, on the disk: one that was cut off goes on where it stood.

Fits of fifty million events take minutes each, and a training needs dozens. What is taken up again is what would be
fitted: same data, same moment, same method and parameters, same program. A training that publishes leaves nothing here.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

import features
import serving
import training
from features.files import file_sha256, write_atomically
from features.ids import Array
from training.interactions import Fitted
from training.meter import package_versions

LASTING = 10.0
"""Seconds that a fit must have taken to be worth a file: small shops write none."""


class _Kept(msgspec.Struct):
    """A fit as it lies on the disk: of each array its type, its shape and its bytes."""

    arrays: dict[str, tuple[str, tuple[int, ...], bytes]]
    figures: dict[str, float]
    seconds: float


class Unfinished:
    """The fits of one training.

    Args:
        folder: the shop's, for all of its trainings; what others left in it goes.
        data_hash: of all that the training reads (`training.material.Material`).
    """

    def __init__(self, folder: Path, data_hash: str) -> None:
        self._home, self._folder = folder, folder / f"{data_hash}-{_program()}"
        for other in folder.glob("*"):
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)

    def fitted(self, *key: bytes | int, fit: Callable[[], Fitted]) -> Fitted:
        """What a training that was cut off has fitted, else what `fit` does.

        Args:
            key: all that tells this fit from others of the same data.
            fit: raises what it will; what raised is tried again.
        """
        path = self._folder / f"{hashlib.sha256(msgspec.json.encode(key)).hexdigest()[:24]}.fit"
        if (found := _read(path)) is not None:
            return found
        made = fit()
        if made.seconds >= LASTING:
            # What cannot be written costs the next training time, and this one nothing.
            with suppress(OSError, MemoryError, msgspec.MsgspecError):
                _write(path, made)
        return made

    def done(self) -> None:
        """The training has fitted all that it will."""
        shutil.rmtree(self._home, ignore_errors=True)


def _read(path: Path) -> Fitted | None:
    """None where there is none, or none that can be read."""
    with suppress(OSError, ValueError, TypeError, msgspec.MsgspecError):
        kept = msgspec.msgpack.decode(path.read_bytes(), type=_Kept)
        arrays = {name: _array(*each) for name, each in kept.arrays.items()}
        return Fitted(arrays, kept.figures, kept.seconds)
    return None


def _array(kind: str, shape: tuple[int, ...], content: bytes) -> Array:
    if np.dtype(kind).hasobject:
        raise ValueError(kind)  # bytes would be taken for addresses
    return np.ndarray(shape, kind, content).copy()


def _write(path: Path, made: Fitted) -> None:
    arrays = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in made.arrays.items()}
    figures = {name: float(each) for name, each in made.figures.items()}
    write_atomically(path, msgspec.msgpack.encode(_Kept(arrays, figures, made.seconds)))


@cache
def _program() -> str:
    """Twelve hex digits of all modules and of what they stand on: another program may fit otherwise."""
    homes = [Path(home) for package in (features, serving, training) for home in package.__path__]
    modules = sorted(path for home in homes for path in home.rglob("*.py"))
    facts = [*map(file_sha256, modules), package_versions()]
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()[:12]
