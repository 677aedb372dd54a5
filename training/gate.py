"""The gate: what a recipe must show on the judged window before it may serve.

*Better*: the lower end of the customer-clustered paired interval of (challenger - champion) is above 0, on all
purchases. *Not worse*: that end is above minus `guard_margin` of the other's value; asked on items never bought
before against the champion, and on all purchases against every plain baseline. The challenger is chosen on an earlier
window, so that the judged one is read once for it.

A challenger that differs from the champion in nothing but more varied lists, or in fewer voices of its ranker, is not
asked to be better: variety costs a little, and fewer voices answer sooner. It must be *not worse*, on all purchases by
`variety_margin` and on new items by `guard_margin`. On the earlier window `training.variety` chose its lists beside
lists that trade off nothing, and `training.worth` its voices beside the best lists on the way, so small losses do not
add up from one champion to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from serving.settings.shop import GateSettings
from training.intervals import Interval, compare, mean_interval

Floats = npt.NDArray[np.float64]
Task = Literal["all", "new"]
TASKS: tuple[Task, Task] = ("all", "new")
TASK_NAMES: Mapping[str, str] = {"all": "all purchases", "new": "items never bought before"}


@dataclass(frozen=True, slots=True)
class Entrant:
    """A recipe as judged: its primary metric for each customer of the window.

    Args:
        name: the recipe's name.
        scores: task -> float64[customers], the same customers in the same order for all entrants; NaN where the
            metric is undefined (the customer bought nothing that the task counts).
        baseline: whether it is one of the plain baselines that every shop could have without a model.
    """

    name: str
    scores: Mapping[Task, Floats]
    baseline: bool = False


class Comparison(msgspec.Struct, frozen=True):
    """One paired difference that a rule looked at."""

    rule: Literal["better", "not worse"]
    task: Task
    recipe: str
    against: str
    value: float | None
    """The other's own value, which the margin is a share of."""
    difference: float | None
    low: float | None
    high: float | None
    customers: int
    passed: bool
    sentence: str


class Row(msgspec.Struct, frozen=True):
    """One recipe's figures in the verdict's table."""

    recipe: str
    role: str
    """`champion`, `challenger`, `baseline` or `candidate`."""
    all: tuple[float | None, float | None, float | None]
    """Value, low and high of the interval."""
    new: tuple[float | None, float | None, float | None]


class Verdict(msgspec.Struct, frozen=True):
    """What the gate decided, and all that it decided on."""

    accepted: bool
    """Whether `winner` may serve as it was judged here."""
    winner: str
    """The recipe that should serve: the challenger where accepted, else the champion."""
    challenger: str
    champion: str | None
    champion_bundle: str | None
    rules: tuple[str, ...]
    reasons: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    table: tuple[Row, ...]
    metric: str = "ndcg@20"
    only: str = ""
    """Where the challenger was judged as the champion and nothing else: with what, e.g. `more varied lists`."""

    def figures(self, recipe: str) -> dict[str, float]:
        """The metric of one recipe by task, where it is defined."""
        row = next(row for row in self.table if row.recipe == recipe)
        return {task: value for task, (value, _, _) in (("all", row.all), ("new", row.new)) if value is not None}


def decide(
    entrants: Sequence[Entrant],
    *,
    ranking: Sequence[str],
    champion: str | None,
    champion_bundle: str | None = None,
    settings: GateSettings | None = None,
    alike: Mapping[str, str] | None = None,
) -> Verdict:
    """Judge the first recipe of the ranking.

    Args:
        entrants: all recipes judged on the same customers.
        ranking: names of the recipes that compete, best on the earlier window first.
        champion: the entrant whose recipe serves now, or None.
        champion_bundle: the bundle that serves now; a promotion later checks that it still does.
        settings: the margins; default: those of an empty `[gate]`.
        alike: entrants that are the champion and nothing else, with what: more varied lists
            (`training.variety.only_more_varied`), or fewer voices (`training.recipes.is_leaner`).

    Returns:
        A verdict; never an error, whatever the figures are.
    """
    settings = settings or GateSettings()
    judge = _Judge({entrant.name: entrant for entrant in entrants}, settings)
    challenger, notes = judge.challenger(ranking, champion)
    reasons = [*notes]
    accepted, only = True, (alike or {}).get(challenger, "") if champion is not None else ""
    if challenger == champion:
        accepted = False
        reasons.append(f"No recipe did better than the champion's own, {champion}, on the earlier window.")
    elif champion is not None:
        accepted = judge.keeps_up(challenger, champion) if only else judge.beats(challenger, champion)
        reasons.append(_against_champion(challenger, champion, accepted, only))
    reasons += [comparison.sentence for comparison in judge.seen]
    return Verdict(
        accepted=accepted, winner=challenger if accepted else (champion or challenger), challenger=challenger,
        champion=champion, champion_bundle=champion_bundle, rules=rules(settings), reasons=tuple(reasons),
        comparisons=tuple(judge.seen), table=judge.table(challenger, champion), metric=settings.metric, only=only,
    )  # fmt: skip


def refreshed(verdict: Verdict) -> Verdict:
    """The verdict under which the champion's own recipe, fitted on newer data, replaces it.

    No difference is asked of it: it is the recipe that serves.
    """
    assert verdict.champion is not None
    reason = f"{verdict.champion} serves on: this is its recipe, fitted on newer data."
    return msgspec.structs.replace(
        verdict, accepted=True, winner=verdict.champion, challenger=verdict.champion, reasons=(reason, *verdict.reasons)
    )


def beside_baselines(entrants: Sequence[Entrant], settings: GateSettings | None = None) -> list[Comparison]:
    """Each recipe that is no baseline against the best plain baseline of each task, as the report tells it."""
    judge = _Judge({entrant.name: entrant for entrant in entrants}, settings or GateSettings())
    baselines = [entrant.name for entrant in entrants if entrant.baseline]
    compared = []
    for task in TASKS:
        if baselines:
            best = max(baselines, key=lambda name: _filled(judge.value(name, task).value))
            others = [entrant.name for entrant in entrants if not entrant.baseline]
            compared += [judge.compare(name, best, task, "better") for name in others]
    return compared


def rules(settings: GateSettings) -> tuple[str, ...]:
    """The rules as sentences, with this shop's numbers."""
    share, margin = f"{settings.confidence:.0%}", f"{settings.guard_margin:.1%}"
    little = f"{settings.variety_margin:.1%}"
    return (
        f"Primary: {settings.metric} on all purchases; the lower end of the {share} interval of the customers' paired "
        "differences to the champion is above 0.",
        f"Guard: on items never bought before that end is above -{margin} of the champion's value.",
        f"Baselines: on all purchases that end is above -{margin} of every plain baseline's value, else the best "
        "baseline is the challenger.",
        "Variety and speed: where the challenger is the champion with more varied lists, or with fewer voices, and "
        f"nothing else, that end on all purchases need only be above -{little} of the champion's value; the guard "
        "holds.",
    )


class _Judge:
    """Remembers every comparison it makes."""

    def __init__(self, entrants: Mapping[str, Entrant], settings: GateSettings) -> None:
        self.entrants, self.settings = entrants, settings
        self.seen: list[Comparison] = []

    def challenger(self, ranking: Sequence[str], champion: str | None) -> tuple[str, list[str]]:
        """The first of the ranking unless it is worse than a plain baseline: then the best baseline."""
        first = ranking[0]
        others = [e.name for e in self.entrants.values() if e.baseline and e.name not in (first, champion)]
        compared = {name: self.compare(first, name, "all", "not worse") for name in others}
        # Where nobody can be judged, a model gives way to a baseline, but one baseline does not give way to another.
        plain = self.entrants[first].baseline
        lost = [name for name, found in compared.items() if not (found.passed or (plain and not found.customers))]
        if not lost:
            return first, []
        best = max(lost, key=lambda name: _filled(self.value(name, "all").value))
        return best, [f"{first} is worse than the plain baseline {best}, so {best} stands in its place."]

    def beats(self, challenger: str, champion: str) -> bool:
        """Better on all purchases, and not worse on new items."""
        better = self.compare(challenger, champion, "all", "better")
        guard = self.compare(challenger, champion, "new", "not worse")
        return better.passed and guard.passed

    def keeps_up(self, challenger: str, champion: str) -> bool:
        """Not worse on all purchases, by the little that variety or speed may cost, and not worse on new items."""
        level = self.compare(challenger, champion, "all", "not worse", self.settings.variety_margin)
        guard = self.compare(challenger, champion, "new", "not worse")
        return level.passed and guard.passed

    def compare(
        self, recipe: str, against: str, task: Task, rule: Literal["better", "not worse"], margin: float | None = None
    ) -> Comparison:
        """Judge one rule by the paired interval; by default what is not worse is so by the guard's margin."""
        mine, other = self.entrants[recipe].scores[task], self.entrants[against].scores[task]
        draws, share = self.settings.resamples, self.settings.confidence
        paired = compare(mine, other, resamples=draws, confidence=share)
        value = self.value(against, task).value
        passed = _passes(paired, value, rule, self.settings.guard_margin if margin is None else margin)
        if rule == "not worse" and paired.n == 0 and task == "new":
            passed = True  # nobody bought anything new in the window: there is nobody whom the guard protects
        sentence = _sentence(recipe, against, task, rule, paired, passed)
        made = Comparison(
            rule, task, recipe, against, _plain(value), _plain(paired.value), _plain(paired.low),
            _plain(paired.high), paired.n, passed, sentence,
        )  # fmt: skip
        self.seen.append(made)
        return made

    def value(self, name: str, task: Task) -> Interval:
        """A recipe's own mean with its interval."""
        draws, share = self.settings.resamples, self.settings.confidence
        return mean_interval(self.entrants[name].scores[task], resamples=draws, confidence=share)

    def table(self, challenger: str, champion: str | None) -> tuple[Row, ...]:
        """All recipes, best on all purchases first."""
        rows = [
            Row(
                name, _role(entrant, challenger, champion), *(_triple(self.value(name, task)) for task in TASKS)
            )
            for name, entrant in self.entrants.items()
        ]  # fmt: skip
        return tuple(sorted(rows, key=lambda row: (-_filled(row.all[0]), row.recipe)))


def _passes(paired: Interval, value: float, rule: str, margin: float) -> bool:
    if not np.isfinite(paired.low):
        return False
    if rule == "better":
        return paired.low > 0
    return paired.low >= 0 or paired.low > -margin * value


def _against_champion(challenger: str, champion: str, accepted: bool, only: str) -> str:
    if only:
        what = f"{challenger} is the champion {champion} with {only} and nothing else"
        if accepted:
            return f"{what}: it is not worse, and may serve."
        return f"{what}: they may cost more than they are worth, so {champion} goes on serving."
    if accepted:
        return f"{challenger} is better than the champion {champion} and may serve."
    return f"{challenger} is no better than the champion {champion}, which goes on serving."


def _sentence(recipe: str, against: str, task: Task, rule: str, paired: Interval, passed: bool) -> str:
    where = TASK_NAMES[task]
    if paired.n == 0:
        outcome = "so there is nothing to judge" + ("" if passed else ", and what cannot be judged is not accepted")
        return f"{recipe} against {against} on {where}: no customer has an outcome in the window, {outcome}."
    figures = f"{paired.value:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}], {paired.n:,} customers"
    claim = {"better": ("is better than", "is not shown to be better than")}.get(rule)
    claim = claim or ("is not worse than", "may be worse than")
    return f"{recipe} {claim[0] if passed else claim[1]} {against} on {where}: {figures}."


def _role(entrant: Entrant, challenger: str, champion: str | None) -> str:
    if entrant.name == champion:
        return "champion"
    if entrant.name == challenger:
        return "challenger"
    return "baseline" if entrant.baseline else "candidate"


def _triple(interval: Interval) -> tuple[float | None, float | None, float | None]:
    return _plain(interval.value), _plain(interval.low), _plain(interval.high)


def _plain(value: float) -> float | None:
    """NaN is null in a verdict: JSON has no NaN."""
    return float(value) if np.isfinite(value) else None


def _filled(value: float | None) -> float:
    return -1.0 if value is None or not np.isfinite(value) else float(value)
