"""The rows and tables of `kokyaku bench visits`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rich.box import SIMPLE
from rich.table import Table

from training.bench.judging import CHOSEN, PRIMARY
from training.bench.rows import Row
from training.intent import Answers, Part
from training.intervals import Interval, compare, mean_interval
from training.recipes import POPULARITY, SESSION
from training.visits import Visits

HIT = "hr@20"
CONTEXT, UNTOLD, BLEND, BESIDE = "context-popularity", "context-untold", "blend", "+session"
GROUPS = ("customers", "visitors", "first visits")
"""Known customers; anonymous visitors; those of them of whom nothing was known before this visit."""
PAIRS = (
    (CHOSEN + BESIDE, CHOSEN), (BLEND + BESIDE, BLEND), (SESSION, CHOSEN), (CHOSEN + BESIDE, SESSION),
    (CONTEXT, UNTOLD), (CONTEXT, POPULARITY), (CHOSEN, POPULARITY),
)  # fmt: skip
"""Whose differences are told: the first minus the second."""
Mask = npt.NDArray[np.bool_]


def shown(views: int) -> str:
    """How much of the visit is known, in words."""
    return {0: "arrival", 1: "1 view"}.get(views, f"{views} views")


def groups_of(visits: Visits, answers: Answers) -> dict[str, Mask]:
    """Group -> bool[n]: which moments are of it."""
    moments, time = answers.moments, visits.histories.events.time
    unknown = np.array([moment.visitor >= 0 for moment in moments], bool)
    begins = (int(time[visits.events[moment.visit][0]]) for moment in moments)
    past = zip(answers.histories, begins, strict=True)
    first = np.array([not (history.time < begin).any() for history, begin in past], bool)
    return dict(zip(GROUPS, (~unknown, unknown, unknown & first), strict=True))


def rows_of(data: str, visits: Visits, answers: Answers, views: int, resamples: int) -> list[Row]:
    """Figures of all subjects in all groups just after so many views, and paired differences.

    Metrics are `ndcg@20:customers:1 view` and `ndcg@20-difference:<other>:customers:1 view`; `visits:...` and
    `persons:...` count what has something to find. Intervals are clustered by person.
    """
    rows = []
    for group, mask in groups_of(visits, answers).items():
        of, persons = f"{group}:{shown(views)}", answers.persons[mask]
        for part, scores in answers.scores.items():
            for metric in (PRIMARY, HIT):
                values = {name: each[metric][mask] for name, each in scores.items()}
                for name, each in values.items():
                    found = mean_interval(each, clusters=persons, resamples=resamples)
                    rows.append(_row(data, part, name, f"{metric}:{of}", found))
                for mine, other in PAIRS:
                    if mine in values and other in values:
                        gain = compare(values[mine], values[other], clusters=persons, resamples=resamples)
                        rows.append(_row(data, part, mine, f"{metric}-difference:{other}:{of}", gain))
            defined = np.isfinite(scores[POPULARITY][PRIMARY][mask])
            counts = {"visits": int(defined.sum()), "persons": len(np.unique(persons[defined]))}
            rows += [Row("visits", data, part, "all", f"{what}:{of}", float(n)) for what, n in counts.items()]
    return rows


def table_of(rows: Sequence[Row], group: str, part: Part, kept: Sequence[int]) -> Table:
    """NDCG@20 and hit rate of a group, a line a subject, a column a moment; differences of NDCG@20 below.

    `context-untold` is context-popularity where nothing is told but the season.
    """
    value = {(row.subject, row.metric): row for row in rows if row.task == part}
    what = {"all": "all that the rest of the visit buys", "not viewed": "of that, what was not viewed yet"}[part]
    table = Table(title=f"{group}: {what}; NDCG@20, hit rate", box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("subject", no_wrap=True)
    for views in kept:
        table.add_column(shown(views), justify="right", no_wrap=True)
    ends = [f"{group}:{shown(views)}" for views in kept]
    table.add_row("visits (persons)", *(_counted(value, end) for end in ends))
    names = dict.fromkeys(subject for subject, metric in value if metric.startswith(f"{PRIMARY}:"))
    for name in names:
        cells = ([value.get((name, f"{metric}:{end}")) for metric in (PRIMARY, HIT)] for end in ends)
        table.add_row(name, *(" ".join(_figure(row) for row in pair) for pair in cells))
    for mine, other in PAIRS:
        told = [value.get((mine, f"{PRIMARY}-difference:{other}:{end}")) for end in ends]
        if any(told):
            table.add_row(f"{mine}\n  minus {other}", *(_gain(row) for row in told))
    return table


def _counted(value: dict[tuple[str, str], Row], end: str) -> str:
    visits, persons = (value.get(("all", f"{what}:{end}")) for what in ("visits", "persons"))
    return "" if visits is None or persons is None else f"{visits.value:.0f} ({persons.value:.0f})"


def _figure(row: Row | None) -> str:
    return f"{row.value:.3f}" if row is not None and np.isfinite(row.value) else "  -  "


def _gain(row: Row | None) -> str:
    if row is None or not np.isfinite(row.value):
        return ""
    known = row.low is not None and row.high is not None and np.isfinite(row.low)
    return f"{row.value:+.3f}" + (f"\n{row.low:+.3f} {row.high:+.3f}" if known else "")


def _row(data: str, part: Part, subject: str, metric: str, interval: Interval) -> Row:
    return Row("visits", data, part, subject, metric, interval.value, interval.low, interval.high)
