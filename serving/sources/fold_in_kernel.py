"""A subject's vector from those of their items: the solution of `folding.folded_in`, by Cholesky's factors.

All of it is inner products of rows: of two rows with four others at once, each number that is read is used twice or
four times. Rows are filled up to multiples of eight numbers, so that each is a whole number of wide instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import ask_ahead, helper, inlined, kernel, sums_in_any_order

TWO, FOUR, EIGHT = 2, 4, 8
CHUNK = 64
"""So many items are added to the equations at once: their numbers stay at hand."""
LINE = 16
"""Numbers of four bytes that the memory hands over at once."""
FEW = 0.7
"""One equation an item where these are at most so many a factor: there both take as long, by measurement."""
LEAST = 1e-12
"""As confidence; it is divided by, and what is below changes nothing that single precision holds."""


@helper
def _up_to_eights(count: int) -> int:
    return (count + EIGHT - 1) // EIGHT * EIGHT


@inlined
def _block(left: Any, row: int, right: Any, other: int, end: int) -> Any:
    """The inner products of two rows with four others, of `end` numbers: of the one, then of the other."""
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = 0.0
    for at in range(end):
        first, second = left[row, at], left[row + 1, at]
        r0, r1, r2, r3 = right[other, at], right[other + 1, at], right[other + 2, at], right[other + 3, at]
        a0, a1, a2, a3 = a0 + first * r0, a1 + first * r1, a2 + first * r2, a3 + first * r3
        b0, b1, b2, b3 = b0 + second * r0, b1 + second * r1, b2 + second * r2, b3 + second * r3
    return a0, a1, a2, a3, b0, b1, b2, b3


@inlined
def _add(to: Any, row: int, column: int, sign: float, block: Any) -> None:
    """Add such a block to two rows of a table, or take it off."""
    to[row, column] += sign * block[0]
    to[row, column + 1] += sign * block[1]
    to[row, column + 2] += sign * block[2]
    to[row, column + 3] += sign * block[3]
    to[row + 1, column] += sign * block[4]
    to[row + 1, column + 1] += sign * block[5]
    to[row + 1, column + 2] += sign * block[6]
    to[row + 1, column + 3] += sign * block[7]


@sums_in_any_order
def _add_products(rows: Any, end: int, many: int, to: Any) -> None:
    """Add the inner products of some rows with each other, of `end` numbers, to the lower triangle of a table."""
    for row in range(0, many, TWO):
        for other in range(0, row + 1, FOUR):
            _add(to, row, other, 1.0, _block(rows, row, rows, other, end))


@sums_in_any_order
def _finish_four(table: Any, first: int, scales: Any) -> None:
    """Of Cholesky's factor four columns, of which what stands before them was taken off."""
    for column in range(first, first + FOUR):
        for row in range(column, first + FOUR):
            total = table[row, column]
            for at in range(first, column):
                total -= table[row, at] * table[column, at]
            if row == column:
                scales[row] = 1 / np.sqrt(total)
            table[row, column] = total * scales[column]
    s0, s1, s2, s3 = scales[first], scales[first + 1], scales[first + 2], scales[first + 3]
    t10, t20, t21 = table[first + 1, first], table[first + 2, first], table[first + 2, first + 1]
    t30, t31, t32 = table[first + 3, first], table[first + 3, first + 1], table[first + 3, first + 2]
    for row in range(first + FOUR, table.shape[1] + 1):
        x0 = table[row, first] * s0
        x1 = (table[row, first + 1] - t10 * x0) * s1
        x2 = (table[row, first + 2] - t20 * x0 - t21 * x1) * s2
        x3 = (table[row, first + 3] - t30 * x0 - t31 * x1 - t32 * x2) * s3
        table[row, first], table[row, first + 1], table[row, first + 2], table[row, first + 3] = x0, x1, x2, x3


@sums_in_any_order
def _solve(table: Any) -> None:
    """Solve symmetric equations: their lower triangle stands above the right side, whose place the solution takes.

    A row of zeros follows, for rows go two by two.
    """
    width = table.shape[1]
    scales = np.empty(width)
    for first in range(0, width, FOUR):
        for row in range(first, width + TWO, TWO):
            _add(table, row, first, -1.0, _block(table, row, table, first, first))
        _finish_four(table, first, scales)
    for row in range(width - 1, -1, -1):
        found = table[width, row] * scales[row]
        for column in range(row):
            table[width, column] -= found * table[row, column]
        table[width, row] = found


@sums_in_any_order
def _by_factors(vectors: Any, items: Any, weights: Any, alpha: float, gram: Any, out: Any) -> None:
    """One equation a factor: as `folded_in` writes them down."""
    width = len(gram)
    table, mine = np.zeros((width + TWO, width)), np.zeros((width, CHUNK))
    for row in range(width):
        for column in range(row + 1):
            table[row, column] = gram[row, column]
    for begin in range(0, len(items), CHUNK):
        many = min(len(items) - begin, CHUNK)
        if begin:
            mine[:] = 0
        for at in range(many):
            which, extra = items[begin + at], max(alpha * weights[begin + at], LEAST)
            root = np.sqrt(extra)
            for place in range(len(out)):
                mine[place, at] = root * vectors[which, place]
                table[width, place] += (1 + extra) * vectors[which, place]
        _add_products(mine, _up_to_eights(many), width, table)
    _solve(table)
    for place in range(len(out)):
        out[place] = table[width, place]


@sums_in_any_order
def _by_items(vectors: Any, items: Any, weights: Any, alpha: float, half: Any, out: Any) -> None:
    """One equation an item: the solution is a sum of the items' vectors, each times the inverse of the Gram matrix."""
    count, wide, width = len(items), len(half), _up_to_eights(len(items))
    mine, turned, table = np.zeros((width, wide)), np.zeros((width, wide)), np.zeros((width + TWO, width))
    total, summed = np.zeros(wide), np.zeros(wide)
    for at in range(count):
        for place in range(len(out)):
            mine[at, place] = vectors[items[at], place]
    for row in range(0, width, TWO):
        for other in range(0, wide, FOUR):
            _add(turned, row, other, 1.0, _block(mine, row, half, other, _up_to_eights(other + FOUR)))
    _add_products(turned, wide, width, table)
    for at in range(width):
        extra = max(alpha * weights[at], LEAST) if at < count else 1.0
        table[at, at] += 1 / extra
        table[width, at] = (1 + extra) / extra
    _solve(table)
    for at in range(count):
        by = table[width, at]
        for place in range(wide):
            total[place] += by * turned[at, place]
    for row in range(wide):
        by = total[row]
        for place in range(row + 1):
            summed[place] += by * half[row, place]
    for place in range(len(out)):
        out[place] = summed[place]


@kernel("f4[2], i4[1], f4[1], f8, f8[2], f8[2], out f4[1]")
def fold_in(vectors: Any, items: Any, weights: Any, alpha: float, gram: Any, half: Any, out: Any) -> None:
    """Fill the vector of a subject, by one equation an item where these are few.

    Args:
        vectors: float32[n_items, k].
        items, weights: int32[n] and float32[n], the subject's.
        alpha: what a weight is multiplied by.
        gram, half: of `folding.equations`.
        out: float32[k].
    """
    for at in range(len(items)):
        for place in range(0, len(out), LINE):
            ask_ahead(vectors[items[at]], place)
    if len(items) <= FEW * len(half):
        _by_items(vectors, items, weights, alpha, half, out)
    else:
        _by_factors(vectors, items, weights, alpha, gram, out)
