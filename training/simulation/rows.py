"""Columns of equal length as one value, and the generators that fill them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


@dataclass
class Rows:
    """Base of column sets: every field is an array with one entry (or one row) per row."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def take(self, which: Array) -> Self:
        """The rows of a mask or of positions."""
        return type(self)(**{field.name: getattr(self, field.name)[which] for field in fields(self)})

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """All parts one after the other."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})


def generator(seed: int, *stream: int) -> np.random.Generator:
    """A counter-based generator for one numbered part of the world: no part depends on how others were drawn."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=stream)))


def mix(values: Array) -> npt.NDArray[np.uint64]:
    """A bijection of 64-bit numbers that looks random (the finaliser of SplitMix64, Steele et al. 2014)."""
    z = values.astype(np.uint64) + _ODD
    z = (z ^ (z >> np.uint64(30))) * _MIX1
    z = (z ^ (z >> np.uint64(27))) * _MIX2
    return z ^ (z >> np.uint64(31))


def pair_noise(left: Array, right: Array) -> npt.NDArray[np.float64]:
    """A number in [0, 1) that belongs to a pair for good: what this person happens to like about that item."""
    both = mix(left.astype(np.uint64) * _ODD ^ mix(right))
    return (both >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def pick(rng: np.random.Generator, weights: Array) -> npt.NDArray[np.intp]:
    """One column per row, drawn in proportion to non-negative weights[rows, columns]."""
    cumulative = np.cumsum(weights, axis=1)
    wanted = rng.random(len(weights)) * cumulative[:, -1]
    chosen = (cumulative <= wanted[:, None]).sum(axis=1)
    inside: npt.NDArray[np.intp] = np.minimum(chosen, weights.shape[1] - 1)
    return inside


def spread(counts: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """Repeat row numbers by their counts; also each copy's place (0, 1, ...) within its row.

    >>> [part.tolist() for part in spread(np.array([2, 0, 1]))]
    [[0, 0, 2], [0, 1, 0]]
    """
    row = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    return row, np.arange(len(row)) - np.repeat(first, counts)
