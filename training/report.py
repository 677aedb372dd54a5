"""The page about a training run that a merchant can read: what was compared, what was decided and why, in pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from features.moments import format_instant
from serving.recipe import Recipe, SelectionSpec
from training.gate import TASK_NAMES, Comparison, Row, Verdict
from training.meter import Step
from training.pages import pictures_of, rendered

PLOT_TITLES: Mapping[str, str] = {
    "comparison": "How good each recipe is",
    "differences": "The challenger against the others, customer by customer",
    "slices": "For whom and for which items",
    "coverage": "How much of the catalogue is recommended",
    "voices": "What lists lose without a source",
    "variety": "What variety costs",
    "learned": "What the ranker looks at",
    "calibration": "Whether the score is the chance of a purchase",
    "category-lists": "Where the bought item stands in its category",
    "deliveries": "Whether orders arrive when it was said",
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
    if verdict.challenger == verdict.champion:
        fitted = ", fitted on newer data" if verdict.accepted else ""
        return f"Nothing beat {verdict.champion}: it goes on serving{fitted}."
    if verdict.only:
        what = f"{verdict.challenger} is {verdict.champion}, which served so far, with {verdict.only}"
        if verdict.accepted:
            return f"{what}, and not worse: it may serve."
        return f"{what} that may cost too much: {verdict.champion} goes on serving."
    if verdict.accepted:
        return f"{verdict.challenger} is better than {verdict.champion}, which served so far: it may serve."
    return f"{verdict.challenger} is not shown to be better than {verdict.champion}, which goes on serving."


def findings(comparisons: Sequence[Comparison]) -> list[str]:
    """Plain sentences on models beside the best plain baseline, one a task and outcome.

    Args:
        comparisons: each model against the best baseline of the task, rule `better`.
    """
    said: dict[tuple[str, str, str], list[str]] = {}
    for found in comparisons:
        said.setdefault((TASK_NAMES[found.task], _outcome(found), found.against), []).append(_with_figures(found))
    return [
        f"On {where} {_listed(models)} {outcome[len(models) > 1]} {against}."
        for (where, kind, against), models in said.items()
        for outcome in (_OUTCOMES[kind],)
    ]


def html(report: Report) -> str:
    """The page, self-contained: pictures are inside and nothing is fetched."""
    return rendered(
        "report.html.j2", report=report, verdict=report.verdict, accepted=report.verdict.accepted,
        headline=headline(report.verdict), rows=report.verdict.table, pictures=pictures_of(report.plots, PLOT_TITLES),
        windows=_windows(report), as_of=format_instant(report.as_of), figure=figure,
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


def describe(recipe: Recipe) -> str:
    """How a recipe is made, in words.

    >>> describe(Recipe("x", (), {"personal-frequency": 1.0, "ials": 0.1}, {"ials": 1.0}))
    'personal-frequency + 0.1 x ials; for new items ials'
    """
    traded = traded_off(recipe.selection)
    end = f"; {traded}" if traded else ""
    end += f"; while a session runs it counts {recipe.session_weight:g} beside that" if recipe.session_weight else ""
    if recipe.ranker is not None:
        what = {"binary": "the chance of a purchase", "lambdarank": "the order"}[recipe.ranker.objective]
        return f"trees that learned {what} of what {', '.join(recipe.ranker.voices)} propose{end}"
    told = _told(recipe.weights)
    return f"{told}{end}" if not recipe.new_weights else f"{told}; for new items {_told(recipe.new_weights)}{end}"


def traded_off(spec: SelectionSpec) -> str:
    """What a list gives up of relevance, in words; empty where nothing.

    >>> traded_off(SelectionSpec(0.1, 0.05))
    'each further item of a category counts 10 % less, and one that half as many buy 3.5 % more'
    """
    said = []
    if spec.diversity:
        said.append(f"each further item of a category counts {100 * spec.diversity:g} % less")
    if spec.novelty:
        more = f"{100 * (2**spec.novelty - 1):.1f} % more"
        said.append(f"{'one' if said else 'an item'} that half as many buy {'' if said else 'counts '}{more}")
    return ", and ".join(said)


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


def _told(weights: Mapping[str, float]) -> str:
    used = sorted(((name, weight) for name, weight in weights.items() if weight), key=lambda pair: -pair[1])
    return " + ".join(name if weight == 1 else f"{weight:g} x {name}" for name, weight in used)


_OUTCOMES: Mapping[str, tuple[str, str]] = {
    "better": ("beats the best plain baseline,", "beat the best plain baseline,"),
    "even": ("is no better than the plain baseline", "are no better than the plain baseline"),
    "worse": ("loses to the plain baseline", "lose to the plain baseline"),
    "undefined": ("cannot be compared with", "cannot be compared with"),
}
"""Outcome -> verb for one model and for several."""


def _outcome(found: Comparison) -> str:
    if found.low is None or found.high is None:
        return "undefined"
    return "better" if found.low > 0 else "worse" if found.high < 0 else "even"


def _with_figures(found: Comparison) -> str:
    if found.difference is None or found.low is None:
        return found.recipe
    return f"{found.recipe} ({found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}])"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _windows(report: Report) -> list[str]:
    return [
        f"{name}: {format_instant(start)} to {format_instant(end)}" for name, (start, end) in report.windows.items()
    ]
