"""How a verdict looks on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.gate import Verdict
from training.report import headline, table_rows

_STYLES = {"champion": "yellow", "challenger": "green", "baseline": "dim"}


def verdict_table(verdict: Verdict) -> Table:
    """All recipes with their intervals, best first."""
    metric = verdict.metric.upper()
    table = Table("recipe", "role", f"{metric}, all purchases", f"{metric}, never bought before")
    for cells in table_rows(verdict.table):
        table.add_row(*map(escape, cells), style=_STYLES.get(cells[1], ""))
    return table


def print_verdict(console: Console, verdict: Verdict) -> None:
    """The table, the verdict in one sentence, and the reasons."""
    console.print(verdict_table(verdict))
    console.print(f"[bold]{escape(headline(verdict))}[/bold]")
    for reason in verdict.reasons:
        console.print(f"  - {escape(reason)}", highlight=False)
