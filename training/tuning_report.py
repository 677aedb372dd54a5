"""What a search leaves behind: a table of trials, its history as a plot, the best parameters, and words about them."""

from __future__ import annotations

from collections import Counter

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from features.moments import format_instant
from training.found import Found
from training.gate import TASK_NAMES
from training.plots import Point, history
from training.study import State
from training.tracking import Run, Value

STATES: tuple[State, ...] = ("complete", "pruned", "failed", "interrupted")


def difference_in(found: Found) -> str:
    """The difference of the best to the default with its interval."""
    gap = found.difference
    if not gap.n:
        return "nobody to judge it on"
    return f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"


def told_in(found: Found) -> list[str]:
    """Where the best parameters come from, as comments of their table."""
    course, (usual, mine) = found.course, found.held
    tasks = " and ".join(TASK_NAMES[task] for task in course.tasks)
    return [
        f"Trial {found.best.number} of {len(found.tried)}, tuned on {course.window}, on what was known at "
        f"{format_instant(course.material.as_of)}.",
        f"{course.metric}, mean of {tasks}, of {course.customers} customers: default {found.default.value:.4f}, "
        f"best {found.best.value:.4f}.",
        f"Of {len(course.held)} customers kept apart: default {usual:.4f}, best {mine:.4f}, "
        f"difference {difference_in(found)}.",
    ]


def ended(found: Found) -> str:
    """How many trials ended in which way."""
    counts = Counter(tried.state for tried in found.tried)
    return f"{len(found.tried)} trials: " + ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def failures(found: Found) -> list[str]:
    """Trials that could not be fitted, each with its reason."""
    return [f"Trial {tried.number} failed: {tried.why}." for tried in found.tried if tried.why]


def log(run: Run, found: Found) -> None:
    """Figures, tables, the plot and the best parameters, into MLflow."""
    usual, mine = found.held
    run.log_metrics({
        "default": found.default.value, "best": found.best.value, "held/default": usual, "held/best": mine,
        "held/difference": found.difference.value, "held/difference/low": found.difference.low,
        "held/difference/high": found.difference.high, "trials": float(len(found.tried)), "seconds": found.seconds,
    })  # fmt: skip
    names, tasks = list(found.course.space), found.course.tasks
    columns = ("trial", "state", "value", *tasks, "seconds", *names, "why")
    rows: list[list[Value]] = [
        [
            tried.number, tried.state, tried.value, *(tried.figures.get(task, float("nan")) for task in tasks),
            tried.seconds, *(tried.params.get(name) for name in names), tried.why,
        ]
        for tried in found.tried
    ]  # fmt: skip
    run.log_table("tables/trials.csv", columns, rows)
    points = [Point(tried.number, tried.value, tried.state) for tried in found.tried]
    run.log_file("plots/history.png", history(points, found.default.value, metric=found.course.metric.upper()))
    run.log_text("best.toml", found.table)
    run.tag("outcome", found.outcome)
    run.describe("\n\n".join([f"**{found.outcome}** {ended(found)}.", *told_in(found), *found.notes, *failures(found)]))


def print_found(console: Console, found: Found) -> None:
    """The default beside the best, and what became of it."""
    course = found.course
    console.print(f"Tuned on {course.window}, the window before the judged one.", highlight=False)
    tasks = " and ".join(TASK_NAMES[task] for task in course.tasks)
    table = Table(
        course.subject.name, title=f"{course.metric.upper()}, mean of {tasks}", title_justify="left", box=SIMPLE,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    for heading in (f"{course.customers} customers of the trials", f"{len(course.held)} kept apart"):
        table.add_column(heading, justify="right")
    table.add_row("default", f"{found.default.value:.4f}", f"{found.held[0]:.4f}")
    table.add_row(f"best (trial {found.best.number})", f"{found.best.value:.4f}", f"{found.held[1]:.4f}")
    table.add_row("difference", f"{found.best.value - found.default.value:+.4f}", difference_in(found))
    console.print(table)
    for sentence in (*found.notes, *failures(found)):
        console.print(f"  - {escape(sentence)}", highlight=False)
    console.print(escape(found.table), highlight=False, soft_wrap=True)
    console.print(f"{ended(found)}; {found.seconds:.0f} s in this call.", highlight=False)
    console.print(f"[bold]{escape(found.outcome)}[/bold]", highlight=False)
