"""The page about a training run that a merchant can read: what was compared, what was decided and why, in pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

import jinja2

from features.moments import format_instant
from training.gate import TASK_NAMES, Comparison, Row, Verdict
from training.meter import Step

PLOT_TITLES: Mapping[str, str] = {
    "comparison": "How good each recipe is",
    "differences": "The challenger against the others, customer by customer",
    "slices": "For whom and for which items",
    "coverage": "How much of the catalogue is recommended",
    "months": "What it learned from",
}
"""Plot name -> heading, in the order of the page."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page shows.

    Args:
        shop: the shop's name.
        verdict: the gate's.
        outcome: what became of it, as a sentence (promoted, kept, nothing new).
        as_of: the instant up to which events were known.
        windows: name -> [start, end).
        counts: what there was: customers, items, events.
        recipes: recipe -> how it is made, as a sentence.
        findings: what a person should know, as sentences.
        notes: what was left out and why.
        steps: time and memory.
        plots: name -> PNG.
    """

    shop: str
    verdict: Verdict
    outcome: str
    as_of: int
    windows: Mapping[str, tuple[int, int]]
    counts: Mapping[str, int]
    recipes: Mapping[str, str]
    findings: Sequence[str] = ()
    notes: Sequence[str] = ()
    steps: Sequence[Step] = ()
    plots: Mapping[str, bytes] = field(default_factory=dict)


def headline(verdict: Verdict) -> str:
    """The verdict in one sentence."""
    if verdict.champion is None:
        return f"{verdict.winner} is the best that there is, and nothing served before: it may serve."
    if verdict.accepted and verdict.challenger == verdict.champion:
        return f"Nothing beat {verdict.champion}: it goes on serving, fitted on newer data."
    if verdict.accepted:
        return f"{verdict.challenger} is better than {verdict.champion}, which served so far: it may serve."
    return f"{verdict.challenger} is not shown to be better than {verdict.champion}, which goes on serving."


def findings(comparisons: Sequence[Comparison]) -> list[str]:
    """Plain sentences on models beside the best plain baseline.

    Args:
        comparisons: each model against the best baseline, rule `better`.
    """
    said = []
    for found in comparisons:
        where = TASK_NAMES[found.task]
        if found.low is None or found.high is None or found.difference is None:
            said.append(f"{found.recipe} cannot be compared with {found.against} on {where}: nobody to judge it on.")
        elif found.high < 0:
            said.append(f"{found.recipe} loses to the plain baseline {found.against} on {where}{_by(found)}.")
        elif found.low <= 0:
            said.append(f"{found.recipe} is no better than the plain baseline {found.against} on {where}{_by(found)}.")
        else:
            said.append(f"{found.recipe} beats the plain baseline {found.against} on {where}{_by(found)}.")
    return said


def html(report: Report) -> str:
    """The page, self-contained: pictures are inside and nothing is fetched."""
    pictures = [
        (title, base64.b64encode(report.plots[name]).decode())
        for name, title in PLOT_TITLES.items()
        if name in report.plots
    ]
    return _template().render(
        report=report, verdict=report.verdict, headline=headline(report.verdict), rows=report.verdict.table,
        pictures=pictures, windows=_windows(report), as_of=format_instant(report.as_of), figure=figure,
        seconds=sum(step.seconds for step in report.steps),
    )  # fmt: skip


def markdown(report: Report) -> str:
    """The short form: headline, table and reasons."""
    verdict = report.verdict
    lines = [f"**{headline(verdict)}** {report.outcome}", ""]
    lines += [f"| recipe | role | {verdict.metric}, all purchases | {verdict.metric}, never bought before |"]
    lines += ["|---|---|---|---|"]
    lines += [f"| {row.recipe} | {row.role} | {figure(row.all)} | {figure(row.new)} |" for row in verdict.table]
    for title, sentences in (("Why", verdict.reasons), ("Findings", report.findings), ("Left out", report.notes)):
        if sentences:
            lines += ["", f"{title}:", "", *(f"- {sentence}" for sentence in sentences)]
    return "\n".join(lines) + "\n"


def table_rows(rows: Sequence[Row]) -> list[list[str]]:
    """The verdict's table as text cells: recipe, role, all purchases, never bought before."""
    return [[row.recipe, row.role, figure(row.all), figure(row.new)] for row in rows]


def figure(triple: tuple[float | None, float | None, float | None]) -> str:
    """A value and its interval as text.

    >>> figure((0.3604, 0.351, 0.3702)), figure((None, None, None))
    ('0.360 [0.351, 0.370]', 'not defined')
    """
    value, low, high = triple
    if value is None:
        return "not defined"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _by(found: Comparison) -> str:
    return f" ({found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}])"


def _windows(report: Report) -> list[str]:
    return [
        f"{name}: {format_instant(start)} to {format_instant(end)}" for name, (start, end) in report.windows.items()
    ]


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    source = resources.files("training").joinpath("report.html.j2").read_text(encoding="utf-8")
    return jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
