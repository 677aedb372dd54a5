"""Sequences: which item comes next after which, in the order in which customers met them.

Only forward pairs count, and a pair counts less the more steps lie between its items. A step is all that happened at
one instant (a basket): what has no order makes no pair, so the order in which equal times are listed does not matter.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from msgspec import Meta

from features.errors import DataError
from features.history import Histories
from features.kinds import EventType
from features.moments import MINUTE
from serving.sources.ordered import FOLLOWED, SESSION_WEIGHTS, Followed, Shown
from training.collaborative import as_neighbours, heaviest
from training.interactions import Fitted, Progress, silent
from training.known import Known

Counts = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0)]
Minutes = Annotated[float, Meta(gt=0)]
ON_PAGE = (EventType.VIEW, EventType.CLICK, EventType.CART, EventType.WISHLIST)


class SequenceParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The next item; `types`, `decay` and `last` serve the request."""

    neighbours: Positive = 200
    window: Positive = 3
    """Steps that a pair may lie apart."""
    gap_power: Share = 1.0
    """A pair that lies g steps apart counts g^-gap_power."""
    shrink: Share = 20.0
    """A row with so much weight is believed by half."""
    damping: Annotated[float, Meta(ge=0, le=1)] = 0.45
    """How much of an item's own popularity is taken out."""
    largest_step: Positive = 100
    """Steps of more items are left out: a reseller's basket, or a stock-taking."""
    types: tuple[Followed, ...] = FOLLOWED
    decay: Annotated[float, Meta(gt=0, le=1)] = 0.7
    """What an item one step further back counts."""
    last: Positive = 5
    """Steps of the past that a request starts from."""


class SessionParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Intent of the session; `weights`, `break_minutes`, `half_life_minutes` and `own` serve the request."""

    neighbours: Positive = 200
    window: Positive = 3
    gap_power: Share = 1.0
    shrink: Share = 20.0
    damping: Annotated[float, Meta(ge=0, le=1)] = 0.45
    largest_step: Positive = 100
    weights: dict[Shown, float] = msgspec.field(default_factory=lambda: dict(SESSION_WEIGHTS))
    """Event type -> what it says of the interest in its item."""
    break_minutes: Minutes = 30.0
    """A session ends when nothing happens for so long."""
    half_life_minutes: Minutes = 10.0
    """An event of the session this old counts half."""
    own: Share = 1.0
    """What the interest in an item counts for the item itself, beside a sure step from it to another."""


def fit_sequence(known: Known, params: SequenceParams, *, threads: int = 0, progress: Progress = silent) -> Fitted:
    """What follows what in the histories of all subjects.

    Args:
        known: as of the moment of the fit.
        params: of the fit.
        threads: ignored: a sparse product has one.
        progress: hears of the start and the end.

    Returns:
        `indptr`, `indices`, `weights` over all items, directed: row i holds what follows i.

    Raises:
        DataError: nothing follows anything.
    """
    types = tuple(int(EventType[name.upper()]) for name in params.types)
    offsets, items, time = sequences_of(known.known, types)
    return _fit(offsets, items, time, known.listed, params, progress)


def fit_session(known: Known, params: SessionParams, *, threads: int = 0, progress: Progress = silent) -> Fitted:
    """What follows what within the sessions of all subjects: views, carts and the like, with what was bought there.

    Raises:
        DataError: there are no events of pages, or no session with two items.
    """
    if not np.isin(known.known.events.type, ON_PAGE).any():
        raise DataError("no events of pages (views, carts) to learn sessions from", where="session")
    types = (*ON_PAGE, EventType.PURCHASE)
    offsets, items, time = sequences_of(known.known, types, pause=int(params.break_minutes * MINUTE))
    return _fit(offsets, items, time, known.listed, params, progress)


def sequences_of(
    histories: Histories, types: tuple[int, ...], *, pause: int | None = None
) -> tuple[Counts, Rows, Counts]:
    """The items of all subjects in order, as flat arrays.

    Args:
        histories: as of the moment of the fit.
        types: codes of the events that count.
        pause: microseconds without an event that end a sequence; None: a subject's past is one.

    Returns:
        offsets int64[s + 1], items int32[m], time int64[m]: sequence s is items[offsets[s]:offsets[s + 1]].
    """
    offsets, at = runs_of(histories, types, pause)
    return offsets, histories.events.item[at], histories.events.time[at]


def runs_of(histories: Histories, types: tuple[int, ...], pause: int | None) -> tuple[Counts, Counts]:
    """Which events `sequences_of` takes: offsets int64[s + 1], rows int64[m] of the histories' events."""
    events = histories.events
    at = np.flatnonzero(np.isin(events.type, types) & (events.item >= 0))
    subject, time = histories.subject_rows()[at], events.time[at]
    new = np.ones(len(at), bool)
    new[1:] = subject[1:] != subject[:-1]
    if pause is not None:
        new[1:] |= np.diff(time) > pause
    return np.append(np.flatnonzero(new), len(at)).astype(np.int64), at


def transition_matrix(
    offsets: Counts, items: Rows, n_items: int, *, steps: Counts | None = None, window: int = 3, gap_power: float = 1.0,
    shrink: float = 0.0, damping: float = 0.0, largest_step: int | None = None,
) -> sp.csr_matrix:  # fmt: skip
    """How surely item j comes within the next steps after item i.

    C[i, j] = sum over forward pairs of gap^-gap_power
    T[i, j] = C[i, j] / (sum_j C[i, j] + shrink) / a_j^damping

    where a_j is how often j is arrived at beside the mean of the items that are arrived at.

    Args:
        offsets: int64[s + 1], rising; sequence s is items[offsets[s]:offsets[s + 1]].
        items: int32[m], rows below `n_items`, oldest first.
        n_items: how many items there are.
        steps: int64[m], rising within a sequence; items of one step have no order among them. Default: each is its own.
        window: steps that a pair may lie apart.
        gap_power: how fast a pair loses by distance; 0 counts all gaps alike.
        shrink: weight beside that of the row, so that rows of little weight say little.
        damping: 0 leaves popular items as they are, 1 divides by how often an item is arrived at.
        largest_step: steps of more distinct items make no pairs.

    Returns:
        float64[n_items, n_items], nothing on the diagonal.
    """
    matrix, sequence = _steps(offsets, items, n_items, steps)
    if largest_step is not None:
        kept = np.flatnonzero(np.diff(matrix.indptr) <= largest_step)
        matrix, sequence = matrix[kept], sequence[kept]
    counts = sp.csr_matrix((n_items, n_items))
    for gap in range(1, min(window, len(sequence) - 1) + 1):
        first = np.flatnonzero(sequence[:-gap] == sequence[gap:])
        counts = counts + (matrix[first].T @ matrix[first + gap]) * float(gap) ** -gap_power
    counts.setdiag(0)
    counts.eliminate_zeros()
    return _normalised(counts, shrink, damping)


def _fit(
    offsets: Counts, items: Rows, time: Counts, listed: Mask, params: SequenceParams | SessionParams, progress: Progress
) -> Fitted:
    progress(0, 1)
    found = transition_matrix(
        offsets, items, len(listed), steps=time, window=params.window, gap_power=params.gap_power,
        shrink=params.shrink, damping=params.damping, largest_step=params.largest_step,
    )  # fmt: skip
    found = heaviest(found @ sp.diags(listed.astype(np.float64)), params.neighbours)
    found.eliminate_zeros()
    if not found.nnz:
        raise DataError("nothing to learn from: no listed item follows another one", where="sequences")
    progress(1, 1)
    return Fitted(as_neighbours(found), {"sequences": float(len(offsets) - 1), "pairs": float(found.nnz)})


def _steps(offsets: Counts, items: Rows, n_items: int, steps: Counts | None) -> tuple[sp.csr_matrix, Counts]:
    """Steps x items, 1 where the step holds the item, in order; and the sequence of each step.

    A step of one item that repeats the one before (viewed, put into the cart, bought) is the same step.
    """
    sequence = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    step = np.arange(len(items)) if steps is None else steps
    new = np.ones(len(items), bool)
    new[1:] = (sequence[1:] != sequence[:-1]) | (step[1:] != step[:-1])
    row = np.cumsum(new) - 1
    count = int(row[-1]) + 1 if len(row) else 0
    matrix = sp.csr_matrix((np.ones(len(items)), (row, items)), shape=(count, n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    of_step = sequence[new]
    single = np.diff(matrix.indptr) == 1
    only = np.where(single, matrix.indices[np.minimum(matrix.indptr[:-1], max(matrix.nnz - 1, 0))], -1)
    again = np.zeros(count, bool)
    again[1:] = single[1:] & (only[1:] == only[:-1]) & (of_step[1:] == of_step[:-1])
    return matrix[np.flatnonzero(~again)], of_step[~again]


def _normalised(counts: sp.csr_matrix, shrink: float, damping: float) -> sp.csr_matrix:
    left = np.asarray(counts.sum(axis=1)).ravel()
    arrived = np.asarray(counts.sum(axis=0)).ravel()
    usual = arrived[arrived > 0].mean() if (arrived > 0).any() else 1.0
    by_row = np.where(left > 0, 1 / np.maximum(left + shrink, np.finfo(float).tiny), 0)
    by_column = np.where(arrived > 0, (np.maximum(arrived, np.finfo(float).tiny) / usual) ** -damping, 0)
    return sp.csr_matrix(sp.diags(by_row) @ counts @ sp.diags(by_column))
