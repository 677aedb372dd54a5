"""Vectors of items: the best inner products with one, and which past item is nearest."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import kernel, sums_in_any_order


@sums_in_any_order
def _product(vectors: Any, row: int, vector: Any) -> Any:
    """Inner product; of a place in an array, for a slice costs more than the sum."""
    total = np.float32(0)
    for place in range(len(vector)):
        total += vectors[row, place] * vector[place]
    return total


@kernel("f4[2], i4[1], f4[1], i8, out f4[2]")
def products(vectors: Any, items: Any, vector: Any, column: int, out: Any) -> None:
    """Fill a column with the inner products of some vectors with one."""
    for row in range(len(items)):
        out[row, column] = _product(vectors, items[row], vector)


@sums_in_any_order
def _coded_product(codes: Any, row: int, vector: Any) -> Any:
    """The same of a vector of whole numbers."""
    total = np.float32(0)
    for place in range(len(vector)):
        total += np.float32(codes[row, place]) * vector[place]
    return total


@kernel("f4[2], i8[1], i4[1], i1[2], f4[1], f4[1], i8, out i4[1], out f4[1]")
def search(
    centres: Any, starts: Any, items: Any, codes: Any, scales: Any, vector: Any, wanted: int, found: Any, scores: Any
) -> int:  # fmt: skip
    """Look at the groups whose centres point where the vector does, until `wanted` items were seen.

    Fills the items and their inner products, as exact as codes are, and returns how many there are.
    """
    said = np.empty(len(centres), np.float32)
    for group in range(len(centres)):
        said[group] = _product(centres, group, vector)
    count = 0
    for _ in range(len(centres)):
        if count >= wanted:
            break
        group = int(np.argmax(said))  # few groups are looked at: quicker than to sort them all
        if said[group] == -np.inf:  # seen already, or no number could be lower: a group is looked at once
            break
        said[group] = -np.inf
        for row in range(starts[group], starts[group + 1]):
            found[count], scores[count] = items[row], _coded_product(codes, row, vector) * scales[row]
            count += 1
    return count


@kernel("i4[1], f4[2], i4[1], out i4[1]")
def nearest(past: Any, vectors: Any, items: Any, causes: Any) -> None:
    """Fill in for each item the past one, but itself, whose vector points most where its own does; else -1."""
    size = np.empty(len(past), np.float32)
    for at in range(len(past)):
        size[at] = np.sqrt(_product(vectors, past[at], vectors[past[at]])) + np.float32(1e-12)
    for row in range(len(items)):
        most, causes[row] = np.float32(-np.inf), -1
        mine = vectors[items[row]]
        for at in range(len(past)):
            if past[at] != items[row]:
                said = _product(vectors, past[at], mine) / size[at]
                if said > most:
                    most, causes[row] = said, past[at]
