"""`kokyaku bench accuracy` on public pairs of customers and items: the published tables, with our rows in them.

The whole flow is `judged_task`: fit on a part of what is known, learn on the rest of it in which order candidates
are shown, fit on all of it, and rank every item for every customer of the test. The order, which is called `kokyaku`,
comes from held-out pairs of what is known; the published rows were tuned on the test.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.box import SIMPLE
from rich.table import Table

from features.errors import DataError
from training import metrics
from training.bench.judging import CHOSEN
from training.bench.pair_data import CASES, Known, PairCase, PairTask
from training.bench.pair_pool import batches, gathered, goal, pooled
from training.bench.pair_trees import Order, learned_order
from training.bench.pair_voices import VOICES, Scores
from training.bench.pair_weights import weighed
from training.bench.rows import Row
from training.bench.shops import Split as Part
from training.contest import sampled
from training.intervals import mean_intervals
from training.meter import Meter, Tell
from training.metrics import Rows
from training.split import Truth, halves

PLAIN, WEIGHTED = "plain-sum", "weighted-sum"
"""Blends of all methods: each weighs the same, or what held-out pairs say."""
TUNED_CUSTOMERS = 5000
"""Customers that the order is learned from, at most."""


@dataclass(frozen=True)
class Heard:
    """Methods that were fitted.

    Args:
        scores: by method.
        seconds: of each fit.
        left_out: why, for each that could not be fitted.
    """

    scores: Mapping[str, Scores]
    seconds: Mapping[str, float]
    left_out: Mapping[str, str]


def run(
    name: str, folder: Path, *, part: Part, resamples: int = 2000, tell: Tell = lambda what, done, total: None
) -> tuple[list[Row], list[str]]:
    """Measure a data set.

    Args:
        name: of `CASES`.
        folder: where its files are.
        part: `test`, or `valid`: weights are chosen on half of the held-out customers and judged on the others.
        resamples: of the bootstrap.
        tell: hears `(what, done, total)`.

    Returns:
        Rows, and sentences that belong beside them.

    Raises:
        DataError: a file is not there, or is not what it should be.
    """
    case, meter, rows, notes = CASES[name], Meter(), [], []
    for task in case.load(folder):
        with meter.step(task.name):
            found, said = judged_task(case, task, part, resamples, tell)
        rows += found
        notes += said
    if part == "test":
        rows += [
            Row("accuracy", name, "test", f"published:{method}", metric, value)
            for method, both in case.published.items()
            for metric, value in zip(case.metrics, both, strict=True)
        ]
    return [*rows, Row("accuracy", name, "fit", "run", "peak-memory", round(meter.peak_mb, 1), unit="MiB")], notes


def judged_task(case: PairCase, task: PairTask, part: Part, resamples: int, tell: Tell) -> tuple[list[Row], list[str]]:
    """Fit, learn the order, fit again, judge."""
    heard = fitted(case, task.tuned.known, f"{task.name}, held out", tell)
    learned, judged = task.tuned.truth, task.test.truth
    if part == "valid":
        learned, judged = (task.tuned.truth.take(half) for half in halves(len(task.tuned.truth)))
    learned = sampled(learned, TUNED_CUSTOMERS)
    tell(f"{task.name}, learn the order", 0, 1)
    pool = pooled(heard.scores, task.tuned.known, learned.subjects)
    order = learned_order(pool, learned, lambda truth: goal(truth, case.metrics), case.k)
    tell(f"{task.name}, learn the order", 1, 1)
    known = task.tuned.known
    if part == "test":
        del heard, pool  # the matrices of a fit are large: one at a time
        known, heard = task.test.known, fitted(case, task.test.known, task.name, tell)
    lists, seconds = ranked(heard.scores, order, known, judged, case.k, f"{task.name}, ranked", tell)
    rows = _rows(case, task.name, part, lists, judged, resamples)
    rows += [Row("accuracy", task.name, "fit", name, "fit-seconds", round(took, 3), unit="s")
             for name, took in heard.seconds.items()]  # fmt: skip
    rows.append(Row("accuracy", task.name, part, CHOSEN, "answer-ms", 1000 * seconds / len(judged), unit="ms"))
    left_out = [f"{task.name}: {name} is left out: {why}." for name, why in heard.left_out.items()]
    return rows, [f"{task.name}: {_told(order)}", *left_out]


def fitted(case: PairCase, known: Known, what: str, tell: Tell) -> Heard:
    """All methods of a case that can be fitted on what is known."""
    scores, seconds, left_out = {}, {}, {}
    for done, (name, params) in enumerate(case.voices.items()):
        tell(f"fit on {what}", done, len(case.voices))
        start = time.perf_counter()
        try:
            scores[name] = VOICES[name](known, params)
        except DataError as error:
            left_out[name] = error.line()
            continue
        seconds[name] = time.perf_counter() - start
    tell(f"fit on {what}", len(case.voices), len(case.voices))
    return Heard(scores, seconds, left_out)


def ranked(
    heard: Mapping[str, Scores], order: Order, known: Known, truth: Truth, k: int, what: str, tell: Tell
) -> tuple[dict[str, Rows], float]:
    """The lists of each method, of the sums and of what is called `kokyaku`, and the seconds of all together.

    Returns:
        name -> int32[n, k], best first; what a customer has already is not shown.
    """
    parts: list[dict[str, Rows]] = []
    start, done = time.perf_counter(), 0
    for which in batches(truth.subjects):
        pool, own = gathered(heard, known, which, width=k)
        equally = dict.fromkeys(pool.names, 1.0)
        parts.append({
            **own,
            PLAIN: pool.shown(weighed(pool, equally), k),
            WEIGHTED: pool.shown(weighed(pool, order.weights), k),
            CHOSEN: pool.shown(order.scores(pool), k),
        })  # fmt: skip
        done += len(which)
        tell(what, done, len(truth))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, time.perf_counter() - start


def tables_of(rows: Sequence[Row], name: str) -> list[Table]:
    """One table a task of a data set: our rows and the published ones, best first."""
    quoted = [row for row in rows if row.metric in CASES[name].metrics]
    return [_table(quoted, CASES[name], data) for data in dict.fromkeys(row.data for row in quoted)]


def _table(rows: Sequence[Row], case: PairCase, name: str) -> Table:
    primary, second = case.metrics
    value = {(row.subject, row.metric): row for row in rows if row.data == name}
    table = Table(title=name, box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("subject", primary, "95 %", second):
        table.add_column(column, no_wrap=True, justify="left" if column == "subject" else "right")
    subjects = {subject for subject, _ in value}
    for subject in sorted(subjects, key=lambda each: (-value[each, primary].value, each)):
        first, other = value[subject, primary], value[subject, second]
        between = "" if first.low is None else f"{first.low:.4f}-{first.high:.4f}"
        table.add_row(subject, f"{first.value:.4f}", between, f"{other.value:.4f}")
    return table


def _rows(case: PairCase, data: str, part: Part, lists: Mapping[str, Rows], truth: Truth, resamples: int) -> list[Row]:
    """Figures of each list, and of the blend minus every other, paired by customer."""
    by_customer = {name: metrics.scores(shown, truth, (case.k,)) for name, shown in lists.items()}
    columns: dict[tuple[str, str], npt.NDArray[np.float64]] = {}
    for metric in case.metrics:
        mine = by_customer[CHOSEN][metric]
        columns |= {(name, metric): found[metric] for name, found in by_customer.items()}
        columns |= {(CHOSEN, f"{metric}-difference:{name}"): mine - found[metric]
                    for name, found in by_customer.items() if name != CHOSEN}  # fmt: skip
    return [
        Row("accuracy", data, part, name, metric, each.value, each.low, each.high)
        for (name, metric), each in mean_intervals(columns, resamples=resamples).items()
    ]


def _told(order: Order) -> str:
    said = " + ".join(f"{weight:g} {name}" for name, weight in order.weights.items() if weight)
    if order.trees is None:
        return f"kokyaku is the weighted sum, {said} (scores standardised by customer); trees did not improve on it."
    beside = f" beside {order.share:.0%} of the weighted sum" if order.share else ""
    return (
        f"kokyaku is trees over the candidates{beside}; the weighted sum is {said} (scores standardised by customer)."
    )
