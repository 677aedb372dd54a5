"""The simulated shop's action prior for unknown visitors, beside the best single action and the best possible one.

The prior learns from the shop's own draws up to a moment; the visitors who came later are the judges. Of each of their
decisions the truth of every action is known, so a policy's value is a mean of true chances, over the actions that were
eligible then. Intervals are over visitors. All figures are of the simulated shop, never of real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features.dataset import Dataset
from features.errors import DataError
from features.text import event_key
from serving.prior import ContextPrior
from training.bench.rows import Row
from training.intervals import Interval, compare, mean_interval, ratio
from training.prior import ActionsFitted, Gain, PriorParams, fit_actions
from training.prior_log import contexts, seen_in, strangers
from training.prior_rows import Seen
from training.simulation.effects import Segment
from training.simulation.sessions import APART
from training.simulation.truth import Truth
from training.uplift.log import DecisionLog, Doubles, Keys, Whole
from training.uplift.reading import read_log

SURFACE = "page.home"
TOLD = Segment.COLD | Segment.MOBILE | Segment.NIGHT
"""What region, month, device and hour of a visit tell of the segments that actions care about."""
SHARE_JUDGED = 0.5
"""Share of the visitors' decisions that are judged, the latest."""
PRIOR, SINGLE, LOGGED, BY_CONTEXT, ORACLE = (
    "kokyaku", "best single action", "the shop's own drawing", "oracle of contexts", "oracle",
)  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """Later decisions about unknown visitors.

    Args:
        visitor: int64[m].
        value: policy -> float64[m], the true chance of the outcome under it.
        fitted: the prior, learned before.
        learned_from: decisions.
    """

    visitor: Whole
    value: Mapping[str, Doubles]
    fitted: ActionsFitted
    learned_from: int


def judge(dataset: Dataset, truth: Truth, slot: str, reward: str, params: PriorParams | None = None) -> Judged:
    """Learn the prior of a slot on the earlier decisions, and value it on the later ones.

    Args:
        dataset, truth: of one simulated shop.
        slot: `hero` or `band`.
        reward: `click` or `purchase`.
        params: of the prior.

    Raises:
        DataError: too few decisions.
    """
    log = read_log(dataset, surface=SURFACE, slot=slot, rewards=(reward,), window=APART, history=False)
    log = log.take(log.usable & strangers(log))
    cut = np.quantile(log.decided_at, 1 - SHARE_JUDGED)
    before, later = log.take(log.decided_at < cut), log.take(log.decided_at >= cut)
    if not len(before) or not len(later):
        raise DataError("too few decisions about unknown visitors", got=len(log), hint="simulate a larger shop")
    seen = seen_in(before, reward)
    fitted = fit_actions(seen, params)
    added = asked(fitted.beyond.prior, seen, later)
    true = truth_of(truth, later, slot, reward)
    alone = np.tile(fitted.beyond.prior.average, (len(later), 1))
    rows = np.arange(len(later))
    values = {
        PRIOR: true[rows, best(added, later)], SINGLE: true[rows, best(alone, later)],
        LOGGED: (later.propensity * np.nan_to_num(true)).sum(axis=1),
        BY_CONTEXT: true[rows, best(_told(true, truth, later), later)], ORACLE: true[rows, best(true, later)],
    }  # fmt: skip
    return Judged(later.subject, values, fitted, len(seen))


def asked(prior: ContextPrior, seen: Seen, log: DecisionLog) -> Doubles:
    """float64[n, k]: what the prior says of each decision's actions; words that it never saw are not told."""
    codes, words = contexts(log)
    columns = []
    for name, known in zip(prior.names, prior.words, strict=True):
        at = seen.names.index(name)
        again = {word: place for place, word in enumerate(known)}
        table = np.array([*(again.get(word, -1) for word in words[at]), -1])
        columns.append(table[codes[:, at]])
    return prior.scores(np.column_stack(columns) if columns else np.empty((len(log), 0), np.int64))


def best(values: Doubles, log: DecisionLog) -> Whole:
    """int64[n]: the eligible action of highest value; nothing where none is known."""
    usable = np.where(log.eligible & ~np.isnan(values), values, -np.inf)
    found: Whole = usable.argmax(axis=1)
    return found


def truth_of(truth: Truth, log: DecisionLog, slot: str, reward: str) -> Doubles:
    """float64[n, k]: the true chance of the outcome by action; NaN where it was not eligible."""
    ids, actions, matrix = truth.responses(slot, reward)
    place = {event_key(each): row for row, each in enumerate(ids)}
    rows = np.array([place[key] for key in _keys(log).tolist()])
    columns = [actions.index(action) if action in actions else -1 for action in log.actions]
    known = np.column_stack([matrix, np.full(len(matrix), np.nan)])
    return np.asarray(known[np.ix_(rows, np.array(columns))])


def _told(true: Doubles, truth: Truth, log: DecisionLog) -> Doubles:
    """float64[n, k]: mean true chances of all whom nothing but what a visit tells keeps apart."""
    table = truth.decisions.select(["decision_id", "situation"])
    known = {event_key(each): bits for each, bits in zip(*map(list, table.to_pydict().values()), strict=True)}
    cell = np.array([known[key] & int(TOLD) for key in _keys(log).tolist()])
    _, where = np.unique(np.column_stack([cell, log.eligible]), axis=0, return_inverse=True)
    where = where.ravel()
    total = np.stack([np.bincount(where, np.nan_to_num(each)) for each in true.T], axis=1)
    mean: Doubles = (total / np.bincount(where)[:, None])[where]
    return np.where(np.isfinite(true), mean, np.nan)


def _keys(log: DecisionLog) -> Keys:
    if log.keys is None:
        raise DataError("the log does not say which decisions these are")
    return log.keys


def rows_of(data: str, task: str, found: Judged, resamples: int = 2000) -> list[Row]:
    """Values, gains over the best single action, and the share of what contexts could add at most."""

    def row(subject: str, metric: str, of: Interval) -> Row:
        return Row("context", data, task, subject, metric, of.value, of.low, of.high)

    rows = []
    for name, value in found.value.items():
        rows.append(row(name, "value", mean_interval(value, clusters=found.visitor, resamples=resamples)))
        if name != SINGLE:
            gain = compare(value, found.value[SINGLE], clusters=found.visitor, resamples=resamples)
            rows.append(row(name, "gain-over-single", gain))
    visitors = {name: _by_visitor(value - found.value[SINGLE], found.visitor) for name, value in found.value.items()}
    for other in (BY_CONTEXT, ORACLE):
        share = ratio(visitors[PRIOR], visitors[other], resamples=resamples)
        rows.append(row(PRIOR, f"share-of-gain:{other}", share))
    rows.append(Row("context", data, task, PRIOR, "learned-from", float(found.learned_from)))
    rows.append(Row("context", data, task, PRIOR, "judged", float(len(found.visitor))))
    return rows


def _by_visitor(value: Doubles, visitor: Whole) -> Doubles:
    """float64[visitors]: sums, so that the ratio of their means is that of all decisions."""
    _, where = np.unique(visitor, return_inverse=True)
    return np.bincount(where, value).astype(np.float64)


def sentence(gains: tuple[Gain, ...]) -> str:
    """What the dimensions of a prior were worth, in words."""
    if np.isnan(gains[0].mean):
        return "too few decisions to tell any dimension from chance"
    kept = [f"{gain.name} (strength {gain.strength:g})" for gain in gains[1:] if gain.kept]
    return f"dimensions that tell something: {', '.join(kept) or 'none'}"
