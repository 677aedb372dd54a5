"""What `kokyaku bench candidates` found, as tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from training.bench.judging import PRIMARY
from training.bench.rows import Row

METRICS = (PRIMARY, "recall@20")


def table_of(rows: Sequence[Row], task: str) -> Table:
    """One task as a table: a line a breadth and the trees that were asked; the change is of the primary metric."""
    value = {(row.subject, row.metric): row for row in rows if row.task == task}
    title = {"all": "all purchases", "new": "never bought before"}.get(task, task)
    table = Table(title=title, box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("candidates", METRICS[0], "change in % (95 %)", METRICS[1], "rows", "us"):
        table.add_column(column, no_wrap=True, justify="left" if column == "candidates" else "right")
    for subject in dict.fromkeys(subject for subject, _ in value):
        primary, other = (value[subject, metric] for metric in METRICS)
        change = _change(value.get((subject, f"{PRIMARY}-difference")), primary)
        costs = (value.get((subject, metric)) for metric in ("candidates", "answer-us"))
        table.add_row(
            subject, f"{primary.value:.4f}", change, f"{other.value:.4f}",
            *(f"{each.value:.0f}" if each else "" for each in costs),
        )  # fmt: skip
    return table


def _change(row: Row | None, own: Row) -> str:
    """In percent of the reference's value, with the interval."""
    if row is None or row.low is None or row.high is None:
        return ""
    base = own.value - row.value
    share, low, high = (100 * each / base if base else np.nan for each in (row.value, row.low, row.high))
    return f"{share:+.1f} ({low:+.1f} to {high:+.1f})"
