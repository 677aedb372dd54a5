"""How a training run looks on a terminal: bars while it runs, then the table and the verdict."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from training.gate import Verdict
from training.report import headline, table_rows

if TYPE_CHECKING:
    from training.conclusion import Outcome

_STYLES = {"champion": "yellow", "challenger": "green", "baseline": "dim"}


class Bars:
    """One progress bar for each thing that `tell` hears of."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._progress.stop()

    def tell(self, what: str, done: int, total: int) -> None:
        """Show that so much of it is done."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(escape(what), total=total)
        self._progress.update(self._tasks[what], completed=done, total=total)


def verdict_table(verdict: Verdict) -> Table:
    """All recipes with their intervals, best first."""
    title = f"{verdict.metric.upper()} with its interval, in the judged window"
    table = Table("recipe", "role", title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("all purchases", "never bought before"):
        table.add_column(heading, no_wrap=True)
    for cells in table_rows(verdict.table):
        table.add_row(*map(escape, cells), style=_STYLES.get(cells[1], ""))
    return table


def print_verdict(console: Console, verdict: Verdict) -> None:
    """The table, the verdict in one sentence, and the reasons."""
    console.print(verdict_table(verdict))
    console.print(f"[bold]{escape(headline(verdict))}[/bold]", highlight=False)
    for reason in verdict.reasons:
        console.print(f"  - {escape(reason)}", highlight=False)


def print_outcome(console: Console, outcome: Outcome) -> None:
    """The verdict, what a person should know, and what became of it."""
    print_verdict(console, outcome.verdict)
    report = outcome.report
    for title, sentences in (("In plain words", report.findings), ("Left out", report.notes)):
        if sentences:
            console.print(f"{title}:")
        for sentence in sentences:
            console.print(f"  - {escape(sentence)}", highlight=False)
    seconds, peak = sum(step.seconds for step in report.steps), max((s.peak_mb for s in report.steps), default=0.0)
    console.print(f"{seconds:.0f} s, {peak / 1024:.1f} GiB at most.", highlight=False)
    console.print(f"[bold]{escape(report.outcome)}[/bold]", highlight=False)
