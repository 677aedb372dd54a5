"""The one shape of a benchmark's results: a table for people, the same rows as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from features.files import write_atomically


class Row(msgspec.Struct, frozen=True):
    """One measured figure.

    Args:
        bench: `accuracy`, `import`, `serve` ...
        data: what it was measured on.
        task: `all`, `new`, `test`, `serve`, `import` ...
        subject: `kokyaku`, `popularity`, `floor`, `published:SimpleX` ...
        metric: in lower case, e.g. `ndcg@20`.
        value: NaN where undefined (null in JSON).
        low, high: the interval, or None where there is none.
        unit: e.g. `ms`; empty for shares and ratios.
    """

    bench: str
    data: str
    task: str
    subject: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as a JSON list, whole or not at all."""
    plain = [msgspec.structs.replace(row, low=_finite(row.low), high=_finite(row.high)) for row in rows]
    write_atomically(path, msgspec.json.format(msgspec.json.encode(plain), indent=1))


def print_rows(console: Console, rows: Sequence[Row], title: str = "") -> None:
    """Print rows as a table."""
    table = Table(title=title or None, box=None, pad_edge=False)
    for name in ("data", "task", "subject", "metric", "value", "interval", "unit"):
        table.add_column(name, no_wrap=True, overflow="fold")
    for row in rows:
        interval = "" if row.low is None or row.high is None else f"{_text(row.low)} to {_text(row.high)}"
        table.add_row(row.data, row.task, row.subject, row.metric, _text(row.value), interval, row.unit)
    console.print(table)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _text(value: float) -> str:
    if math.isnan(value):
        return "undefined"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
