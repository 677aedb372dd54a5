"""Learning when open order lines arrive: the tables that a bundle carries, and the levels at which they are read.

Three moments follow each other. Up to the first, tables are fitted to choose by; what happens until the second chooses
the prior, each state's anchor and the side on which its interval may miss. Up to the second, the tables are fitted that
are shipped; what happens until the last calibrates their levels: four of five deliveries shall fall into the interval,
of lines that are late and of those that are not (split conformal prediction on the level of a quantile: Chernozhukov,
Wuethrich & Zhu 2021, "Distributional conformal prediction", PNAS 118).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.ids import Array
from features.moments import DAY
from features.orders import OrderLine
from serving.delivery import PROMISE, STATE_BEGAN, STATES
from training.delivery_asked import Answers, Question, answers_of, asked
from training.delivery_lines import (
    Doubles,
    Groups,
    Kinds,
    Spells,
    Whole,
    before,
    counted,
    groups_of,
    span_of,
    spells_of,
)
from training.delivery_tables import CLOCKS, Prior, at_levels, tables_of

COVERAGE: Final = 0.8
LEAST: Final = 200
"""Delivered lines without which nothing is learned."""
LEAST_OWN, MOST_OWN = 10, 1000
"""Deliveries that an item needs for tables of its own, and how many items have some at most."""
LEAST_ASKED, LEAST_OF_STATE = 100, 400
"""Answers without which no level is corrected, and without which a state has the level of all states."""
WINDOW, SHARE = 90.0, 0.2
"""Days of a later window, at most, and its share of the past, at most."""
PRIORS: Final = (Prior(20.0, 20.0, 20.0, 20.0), Prior(20.0, 3.0, 3.0, 20.0))
"""Tried ones."""
TILTS: Final = (0.5, 0.25, 0.1)
"""Tried shares of the misses that come before the interval; the others come after it."""
TAILS: Final = np.array([0.1, 0.5, 0.9])
_States = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen on the window before the calibration.

    Args:
        priors: of `PRIORS` the one with less loss, by state; the first where nothing was asked.
        loss: float64[2, 5], mean pinball loss in days by anchor and state, of lines with a promise; NaN: not asked.
        anchor: int8[5], the one with less loss; the promise where nothing was asked: it knows the lead time.
        tilt: float64[5], the share of `TILTS` that gave the narrowest interval.
    """

    priors: Sequence[Prior]
    loss: Doubles
    anchor: _States
    tilt: Doubles


@dataclass(frozen=True)
class Learned:
    """Tables with what is known of them.

    Args:
        arrays: `delivery.*`, as a bundle carries them.
        choice: what they were made by.
        levels: float64[5, 4], of the columns of the table, by state.
        calibrated: int64[5], answers of each state that they are from.
        counts: lines by what became of them.
    """

    arrays: Mapping[str, Array]
    choice: Choice
    levels: Doubles
    calibrated: Array
    counts: Mapping[str, int]


def learn(lines: Sequence[OrderLine], kinds: Kinds, as_of: int) -> Learned | None:
    """Learn from order lines.

    Args:
        lines: as known at `as_of`.
        kinds: of their items; rows and categories are those of the bundle.
        as_of: microseconds.

    Returns:
        None where fewer than `LEAST` lines were delivered before the calibration.
    """
    length = window_of(lines, as_of)
    fitted_at = as_of - length
    past = before(lines, fitted_at)
    if counted(past)["delivered"] < LEAST:
        return None
    choice = choose(past, kinds, fitted_at - length, fitted_at)
    whole = fit(past, kinds, fitted_at, choice.anchor, choice.priors)
    later = answers_of(whole, asked(lines, kinds, fitted_at, as_of), as_of)
    miss, count = misses(later.where(~later.late), choice.tilt)
    low, high = choice.tilt * miss, 1 - (1 - choice.tilt) * miss
    levels = np.stack([low, np.full(len(STATES), 0.5), high, np.maximum(high, late_level(later))], axis=1)
    arrays = {**whole, "delivery.table": at_levels(whole["delivery.table"].view(np.float32), levels)}
    return Learned(arrays, choice, levels, count, counted(lines))


def window_of(lines: Sequence[OrderLine], as_of: int) -> int:
    """Microseconds of the later windows."""
    return int(min(WINDOW, SHARE * span_of(lines, as_of)) * DAY)


def fit(
    lines: Sequence[OrderLine], kinds: Kinds, as_of: int, anchor: _States, priors: Sequence[Prior]
) -> dict[str, Array]:  # fmt: skip
    """`delivery.*` with all levels (`ATOM_LEVELS`) in the table.

    Args:
        lines: as known at `as_of`.
        kinds: of their items.
        as_of: microseconds.
        anchor: int8[5]; the state's beginning is used where too few lines of a state had a promise.
        priors: what wider groups count like, by state.
    """
    return _fitted(_groups(lines, kinds), spells_of(lines, as_of), kinds, anchor, priors)


def _groups(lines: Sequence[OrderLine], kinds: Kinds) -> Groups:
    return groups_of(lines, kinds, least=LEAST_OWN, most=MOST_OWN)


def _fitted(
    groups: Groups, spells: Spells, kinds: Kinds, anchor: _States, priors: Sequence[Prior]
) -> dict[str, Array]:  # fmt: skip
    """`fit`, of lines that were read already."""
    table = tables_of(spells, groups, priors)
    told = ~np.isnan(table[PROMISE, :, 0, 0, 0])
    return {
        "delivery.table": table, "delivery.clock": CLOCKS, "delivery.level": groups.level,
        "delivery.anchor": np.where(told, anchor, STATE_BEGAN).astype(np.int8), "delivery.item_group": groups.item,
        "delivery.item_class": kinds.lead_class, "delivery.category_group": groups.category,
        "delivery.class_group": groups.lead_class,
    }  # fmt: skip


def choose(lines: Sequence[OrderLine], kinds: Kinds, fitted_at: int, until: int) -> Choice:
    """Fit at a moment with each prior; choose for each state by what was asked from then on.

    Args:
        lines: as known at `until`.
        kinds: of their items.
        fitted_at, until: microseconds.
    """
    past, questions = before(lines, fitted_at), asked(lines, kinds, fitted_at, until)
    groups, spells = _groups(past, kinds), spells_of(past, fitted_at)
    tried = [_by_anchor(groups, spells, kinds, prior, questions, until) for prior in PRIORS]
    both = np.intersect1d(tried[0][STATE_BEGAN].question, tried[0][PROMISE].question)
    losses = np.array([[_losses(each, both) for each in pair] for pair in tried])
    least = np.argmin(np.nan_to_num(losses.min(axis=1), nan=np.inf), axis=0)
    loss = np.take_along_axis(losses, least[None, None], axis=0)[0]
    anchor = np.where(loss[STATE_BEGAN] <= loss[PROMISE], STATE_BEGAN, PROMISE).astype(np.int8)
    used = [
        each.where((least[each.state] == row) & (anchor[each.state] == kind))
        for row, pair in enumerate(tried)
        for kind, each in enumerate(pair)
    ]
    return Choice([PRIORS[row] for row in least], loss, anchor, _tilts(used))


def _by_anchor(
    groups: Groups, spells: Spells, kinds: Kinds, prior: Prior, questions: Sequence[Question], until: int
) -> tuple[Answers, Answers]:
    """What tables say with either anchor in all states."""
    arrays = _fitted(groups, spells, kinds, np.full(len(STATES), STATE_BEGAN, np.int8), [prior] * len(STATES))
    promise = {**arrays, "delivery.anchor": np.full(len(STATES), PROMISE, np.int8)}
    return answers_of(arrays, questions, until), answers_of(promise, questions, until)


def _losses(answers: Answers, questions: Whole) -> Doubles:
    """float64[5]: mean of max(l (y - q), (l - 1) (y - q)), l of .1, .5 and .9, where there was a promise and it came.

    Both anchors are compared on the questions to which both have an answer.
    """
    mine = answers.where(answers.has_promise & np.isfinite(answers.took) & np.isin(answers.question, questions))
    ends = np.maximum(mine.at(TAILS), mine.clock[:, None])
    over = mine.took[:, None] - ends
    loss = np.maximum(TAILS * over, (TAILS - 1) * over).mean(axis=1) if len(mine) else np.empty(0)
    count = np.bincount(mine.state, minlength=len(STATES))
    total = np.bincount(mine.state, weights=loss, minlength=len(STATES))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _tilts(parts: Sequence[Answers]) -> Doubles:
    """float64[5]: the side on which each state's interval may miss, by the least mean width at the same coverage."""
    width = np.full((len(TILTS), len(STATES)), np.nan)
    for row, tilt in enumerate(TILTS):
        for state in range(len(STATES)):
            mine = [part.where(part.state == state) for part in parts]
            size = sum(len(each) for each in mine)
            if size < LEAST_OF_STATE:
                continue
            miss = _miss(np.concatenate([each.allowed(tilt) for each in mine]))
            ends = np.array([tilt * miss, 1 - (1 - tilt) * miss])
            both = np.concatenate([np.maximum(each.at(ends), each.clock[:, None]) for each in mine])
            width[row, state] = float((both[:, 1] - both[:, 0]).mean())
    known = np.isfinite(width[0])
    common = int(np.argmin(width[:, known].sum(axis=1))) if known.any() else 0
    return np.array([TILTS[int(np.argmin(width[:, s])) if known[s] else common] for s in range(len(STATES))])


def misses(answers: Answers, tilt: Doubles) -> tuple[Doubles, Array]:
    """The share that an interval may miss by its tables, so that it misses 1 - `COVERAGE` of a later window.

    Returns:
        float64[5], and int64[5]: how many answers of each state there were.
    """
    allowed = answers.allowed(tilt[answers.state])
    count = np.bincount(answers.state, minlength=len(STATES))
    common = _miss(allowed)
    own = [_miss(allowed[answers.state == s]) if count[s] >= LEAST_OF_STATE else common for s in range(len(STATES))]
    return np.array(own), count


def late_level(answers: Answers) -> float:
    """The level below which `COVERAGE` of the lines came that were late when it was asked; 0 where there were few.

    Their interval begins now. What made a line late may go on, which its state and clock alone do not tell.
    """
    levels = answers.level()[answers.late]
    if len(levels) < LEAST_ASKED:
        return 0.0
    return float(np.sort(levels)[min(int(np.ceil((len(levels) + 1) * COVERAGE - 1e-9)), len(levels)) - 1])


def _miss(allowed: Doubles) -> float:
    """The floor((n + 1)(1 - COVERAGE))-th smallest of what each answer allows: split conformal prediction."""
    if len(allowed) < LEAST_ASKED:
        return 1 - COVERAGE
    return float(np.sort(allowed)[int((len(allowed) + 1) * (1 - COVERAGE) + 1e-9) - 1])
