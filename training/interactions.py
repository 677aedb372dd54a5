"""Interactions: histories as a subject x item matrix of confidence, as of a moment.

Each row is exactly what the service reads of that subject at that moment: both call `features.confidence`. Of a long
past a request folds in the foremost items only (`serving.recipe.Breadth`); a fit learns from all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from msgspec import structs

from features.confidence import ConfidenceParams, preferences
from features.errors import DataError
from features.history import Histories
from features.ids import Array

Progress = Callable[[int, int], None]
"""Hears `(done, total)` while something long runs."""


def silent(done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit leaves behind.

    Args:
        arrays: of the candidate source, as a bundle carries them.
        figures: what a person should know of the fit, by name.
        seconds: how long it took.
    """

    arrays: Mapping[str, Array]
    figures: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def preference_matrix(
    histories: Histories, now: int, params: ConfidenceParams, *, columns: int | None = None
) -> sp.csr_matrix:
    """float32[n_subjects, columns]: the positive preferences of all subjects, items ascending in each row.

    Types weigh by `params.weights` (a return or a removed wish lowers the preference), old events by
    `params.half_life_days`; what is not above zero in the end is not stored.

    Args:
        histories: as of `now` or later; later events are left out.
        now: the moment that ages are relative to.
        params: weights and half-life.
        columns: only the first so many items; default: all.
    """
    known = histories.as_of(now)
    known = known.where(known.events.item >= 0)
    n_items, width = len(histories.items), len(histories.items) if columns is None else columns
    # One subject's preferences over items numbered subject * n_items + item are all subjects' preferences at once,
    # so the arithmetic is not merely alike: it is the same function.
    number = known.subject_rows().astype(np.int64) * n_items + known.events.item
    pairs, weights = preferences(structs.replace(known.events, item=number), now, params)
    rows, items = np.divmod(pairs.astype(np.int64), max(n_items, 1))
    inside = items < width
    return _csr(rows[inside], items[inside], weights[inside], (len(histories), width))


def trainable(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The rows that hold anything.

    Raises:
        DataError: none does, or a weight is not finite: nothing can be learned from it.
    """
    if not np.isfinite(matrix.data).all():
        raise DataError("a confidence is not finite", hint="check the quantities of the events")
    kept = matrix[np.flatnonzero(np.diff(matrix.indptr) > 0)]
    if not kept.nnz:
        raise DataError("no interactions to learn from", hint="import purchases before the moment of training")
    return kept


def binary(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The same pattern with every weight 1."""
    return sp.csr_matrix((np.ones_like(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)


def _csr(
    rows: np.typing.NDArray[np.int64],
    items: np.typing.NDArray[np.int64],
    weights: np.typing.NDArray[np.float32],
    shape: tuple[int, int],
) -> sp.csr_matrix:
    """From pairs that are sorted and distinct already, so nothing is sorted again."""
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(rows, minlength=shape[0]), dtype=np.int64)])
    small = np.int32 if len(items) < 2**31 else np.int64
    return sp.csr_matrix((weights, items.astype(np.int32), indptr.astype(small)), shape=shape)
