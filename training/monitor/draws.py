"""Whether actions are taken as often as their logged probabilities say: all that is learned from a log rests on it.

Given the probabilities p of a decision, the action is one draw; over decisions the counts O miss their expectations
E = sum of p by a sum of independent errors with covariance V = sum of (diag(p) - p p'). Where probabilities are true,
(O - E)' V^- (O - E) is near chi-square with as many degrees of freedom as V has rank: Pearson's test, for probabilities
that differ from row to row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
from scipy.special import chdtrc

from features import columns as c
from training.intervals import Interval, share_interval
from training.monitor.answers import slug
from training.monitor.measure import NAN, Limits, Measure
from training.monitor.reading import Look

GROUP: Final = "policies"
LIMITS: Final = Limits(0.02, 0.05)
"""Shares of decisions that took another action than they would have by their probabilities."""
LEAST: Final = 5.0
"""Draws that an action needs to be expected to have: rarer ones count as one."""
EDGES: Final = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
"""Between the bins of probabilities in the picture."""


@dataclass(frozen=True, slots=True)
class Point:
    """One bin of a reliability plot: what was said, what came of it, and of how many."""

    said: float
    found: Interval
    n: int


@dataclass(frozen=True, slots=True)
class Draws:
    """Draws of one slot.

    Args:
        decision: int64[m], which decision each eligible action belongs to.
        action: int64[m], number of the action.
        chance: float64[m], its probability.
        taken: bool[m], whether it was taken.
        names: of the actions.
    """

    decision: npt.NDArray[np.int64]
    action: npt.NDArray[np.int64]
    chance: npt.NDArray[np.float64]
    taken: npt.NDArray[np.bool_]
    names: Sequence[str]

    @property
    def n(self) -> int:
        """Decisions."""
        return int(self.taken.sum())


def draws(look: Look) -> Iterator[tuple[Measure, list[Point]]]:
    """Each slot of the window that `look` is narrowed to, in which anything was drawn."""
    places = look.rows("""
        SELECT surface, slot FROM decision WHERE side = 1 AND drawn AND json_array_length(eligible) > 1
        GROUP BY ALL ORDER BY ALL""")
    for surface, slot in places:
        found = _read(look, surface, slot)
        yield measured(f"{surface} {slot}", found), reliability(found)


def measured(place: str, found: Draws) -> Measure:
    """Counts beside probabilities as a measure: the share of decisions by which they differ."""
    test = pearson(found)
    name, title = f"draws/{slug(place)}", f"Draws beside their probabilities: {place}"
    if not test.rank:
        reason = "too few draws to tell" if found.n else "no probability was recorded"
        return Measure(GROUP, name, title, n=found.n, p=NAN, limits=LIMITS, reason=reason)
    miss = np.abs(test.taken - test.expected)
    gap, most = float(miss.sum()) / 2 / found.n, int(np.argmax(miss))
    return Measure(
        GROUP, name, title, gap, reference=test.by_chance, n=found.n, unit="share",
        p=float(chdtrc(test.rank, test.statistic)), size=max(0.0, gap - test.by_chance), limits=LIMITS,
        found=f"{found.names[most]}: {test.taken[most]:,.0f} times, {test.expected[most]:,.1f} by its probabilities",
        remedy="Learn nothing from these decisions until it is known why: somebody changes answers after the draw, or "
               "loses some of them before they are logged.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pearson:
    """Counts beside expectations.

    Args:
        taken, expected: float64[k], how often each action was taken, and by its probabilities.
        by_chance: the share of decisions by which they differ on average where the probabilities are true.
        statistic, rank: Pearson's, and its degrees of freedom; 0 where hardly anything was left to chance.
    """

    taken: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float64]
    by_chance: float
    statistic: float
    rank: int


def pearson(found: Draws) -> Pearson:
    """Test probabilities; actions that are expected fewer than `LEAST` times are put together for the statistic."""
    kinds = len(found.names)
    taken, expected, each = (
        np.bincount(found.action, weights=weights, minlength=kinds).astype(np.float64)
        for weights in (found.taken, found.chance, found.chance * (1 - found.chance))
    )
    by_chance = float(np.sqrt(2 / np.pi * each).sum()) / 2 / max(found.n, 1)  # of a normal law, mean of |x|
    kept, code = np.unique(np.where(expected < LEAST, kinds, np.arange(kinds)), return_inverse=True)
    _, row = np.unique(found.decision, return_inverse=True)
    table = np.zeros((found.n, len(kept)))
    np.add.at(table, (row, code[found.action]), found.chance)
    values, vectors = np.linalg.eigh(np.diag(table.sum(axis=0)) - table.T @ table)
    able = values > 1e-9 * max(values.max(initial=0), 1)
    if values[able].sum() < LEAST:
        return Pearson(taken, expected, by_chance, 0.0, 0)
    miss = vectors.T @ np.bincount(code, weights=taken - expected, minlength=len(kept))
    return Pearson(taken, expected, by_chance, float((miss[able] ** 2 / values[able]).sum()), int(able.sum()))


def reliability(found: Draws) -> list[Point]:
    """By bins of the probability: its mean, and how often such an action was taken, clustered by decision."""
    code = np.searchsorted(EDGES, found.chance, side="right")
    sure = (found.chance > 0) & (found.chance < 1)
    return [
        Point(
            float(found.chance[rows].mean()), share_interval(found.taken[rows], found.decision[rows]), int(rows.sum())
        )
        for rows in ((code == at) & sure for at in range(len(EDGES) + 1)) if rows.any()
    ]  # fmt: skip


def _read(look: Look, surface: str, slot: str) -> Draws:
    """The draws of a slot; decisions that fell back, or whose probabilities are not all recorded, are none."""
    rows = look.duck.execute(f"""
        SELECT eligible, {c.ACTION_ID} FROM decision
        WHERE side = 1 AND drawn AND fallback IS NULL AND surface = $surface AND slot = $slot
        ORDER BY {c.DECISION_ID}""", {"surface": surface, "slot": slot}).fetchall()  # fmt: skip
    return draws_of([(orjson.loads(eligible), action) for eligible, action in rows])


def draws_of(rows: Sequence[tuple[Sequence[tuple[str | None, Any]], str | None]]) -> Draws:
    """Draws from eligible actions with their probabilities, and the action that was taken."""
    names: dict[str | None, int] = {}
    flat = [
        (number, names.setdefault(action, len(names)), chance, action == taken)
        for number, (eligible, taken) in enumerate(rows)
        if all(chance is not None for _, chance in eligible) and any(action == taken for action, _ in eligible)
        for action, chance in eligible
    ]
    decision, action, chance, hit = zip(*flat, strict=True) if flat else ((), (), (), ())
    return Draws(
        np.array(decision, np.int64), np.array(action, np.int64), np.array(chance, np.float64), np.array(hit, bool),
        ["(nothing)" if name is None else name for name in names],
    )  # fmt: skip
