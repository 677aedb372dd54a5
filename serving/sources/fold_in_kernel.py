"""A subject's vector from those of their items: the solution of `folding.folded_in`, by Cholesky's factors.

Tables are filled up to multiples of eight, so that every loop is a whole number of wide instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from features.compiled import helper, kernel, sums_in_any_order

EIGHT = 8
LEAST = 1e-12
"""As confidence; it is divided by, and what is below changes nothing that single precision holds."""


@helper
def _up_to_eights(count: int) -> int:
    return (count + EIGHT - 1) // EIGHT * EIGHT


@sums_in_any_order
def _add_eight(rows: Any, at: int, by: Any, sign: float, to: Any, many: int, count: int) -> None:
    """Add multiples of eight rows to each of the first `many` of others: a sum is read and written once for eight.

    Args:
        rows, at: which eight.
        by: by[at + i, row] is the multiple of the i-th that a row is given.
        sign: of all multiples.
        to, many: the others.
        count: so many columns; 0: up to the diagonal.
    """
    for row in range(many):
        end = count if count else _up_to_eights(row + 1)
        first, second, third, fourth = by[at, row], by[at + 1, row], by[at + 2, row], by[at + 3, row]
        fifth, sixth, seventh, eighth = by[at + 4, row], by[at + 5, row], by[at + 6, row], by[at + 7, row]
        for column in range(end):
            to[row, column] += sign * (
                first * rows[at, column] + second * rows[at + 1, column] + third * rows[at + 2, column]
                + fourth * rows[at + 3, column] + fifth * rows[at + 4, column] + sixth * rows[at + 5, column]
                + seventh * rows[at + 6, column] + eighth * rows[at + 7, column]
            )  # fmt: skip


@sums_in_any_order
def _solve(table: Any) -> None:
    """Solve symmetric equations: their lower triangle stands above the right side, whose place the solution takes.

    The last row is eliminated first, so that what is left of each begins at column 0; eight are, then all above them.
    """
    width = table.shape[1]
    rows = np.empty((EIGHT, width))
    for first in range(width - EIGHT, -1, -EIGHT):
        for at in range(EIGHT - 1, -1, -1):
            pivot = first + at
            scale = 1 / np.sqrt(table[pivot, pivot])
            right = table[width, pivot] * scale
            for column in range(first + EIGHT):
                rows[at, column] = table[pivot, column] * scale
            for column in range(first + EIGHT):
                table[pivot, column] = rows[at, column]
            for row in range(first, pivot):
                by = rows[at, row]
                for column in range(first + EIGHT):
                    table[row, column] -= by * rows[at, column]
            for column in range(pivot):
                table[width, column] -= right * rows[at, column]
            table[width, pivot] = right
        _add_eight(rows, 0, rows, -1.0, table, first, 0)
    for row in range(width):
        total = table[width, row]
        for column in range(row):
            total -= table[row, column] * table[width, column]
        table[width, row] = total / table[row, row]


@sums_in_any_order
def _by_factors(vectors: Any, items: Any, weights: Any, alpha: float, gram: Any, out: Any) -> None:
    """One equation a factor: as `folded_in` writes them down."""
    width = len(gram)
    table, rows = np.zeros((width + 1, width)), np.zeros((EIGHT, width))
    for row in range(width):
        for column in range(row + 1):
            table[row, column] = gram[row, column]
    for begin in range(0, len(items), EIGHT):
        for at in range(EIGHT):
            if begin + at >= len(items):
                for column in range(width):
                    rows[at, column] = 0
                continue
            which, extra = items[begin + at], max(alpha * weights[begin + at], LEAST)
            root = np.sqrt(extra)
            share = (1 + extra) / root
            for column in range(len(out)):
                rows[at, column] = root * vectors[which, column]
            for column in range(width):
                table[width, column] += share * rows[at, column]
        _add_eight(rows, 0, rows, 1.0, table, width, 0)
    _solve(table)
    for place in range(len(out)):
        out[place] = table[width, place]


@sums_in_any_order
def _by_items(vectors: Any, items: Any, weights: Any, alpha: float, root: Any, out: Any) -> None:
    """One equation an item: the solution is a sum of the items' vectors, each times the inverse of the Gram matrix."""
    count, wide, width = len(items), len(root), _up_to_eights(len(items))
    table, mine = np.zeros((width + 1, width)), np.zeros((wide, width))
    turned, total = np.zeros((width, wide)), np.zeros(wide)
    for at in range(count):
        for place in range(len(out)):
            mine[place, at] = vectors[items[at], place]
    for begin in range(0, wide, EIGHT):
        _add_eight(root, begin, mine, 1.0, turned, count, begin + EIGHT)
    for row in range(count):
        for column in range(row + 1):
            product = 0.0
            for place in range(wide):
                product += turned[row, place] * turned[column, place]
            table[row, column] = product
    for at in range(width):
        extra = max(alpha * weights[at], LEAST) if at < count else 1.0
        table[at, at] += 1 / extra
        table[width, at] = (1 + extra) / extra
    _solve(table)
    for at in range(count):
        by = table[width, at]
        for place in range(wide):
            total[place] += by * turned[at, place]
    for place in range(len(out)):
        summed = 0.0
        for column in range(place + 1):
            summed += root[place, column] * total[column]
        out[place] = summed


@kernel("f4[2], i4[1], f4[1], f8, f8[2], f8[2], out f4[1]")
def fold_in(vectors: Any, items: Any, weights: Any, alpha: float, gram: Any, root: Any, out: Any) -> None:
    """Fill the vector of a subject: one equation an item where that is half as many as one a factor, or fewer.

    Args:
        vectors: float32[n_items, k].
        items, weights: int32[n] and float32[n], the subject's.
        alpha: what a weight is multiplied by.
        gram, root: of `folding.equations`.
        out: float32[k].
    """
    if 2 * len(items) <= len(root):  # there both take as long, by measurement
        _by_items(vectors, items, weights, alpha, root, out)
    else:
        _by_factors(vectors, items, weights, alpha, gram, out)
