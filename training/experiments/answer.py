"""An experiment's answer in words, tables and one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from training.experiments.cohort import HOLDOUT, SERVED, Entrants
from training.experiments.effects import FEW, Effect, Findings, Guard, Slice
from training.experiments.sound import SMALL
from training.intervals import Interval
from training.pages import pictures_of, rendered
from training.plots import Mark

PLOT_TITLES: Mapping[str, str] = {"outcomes": "What each arm changes", "slices": "In whom it changes something"}
"""Plot name -> heading, in the order of the page."""
READING: Mapping[str, str] = {
    "outcomes": "Only where a whole interval lies to one side of the dashed line something changed.",
    "slices": "Groups overlap and each has fewer subjects than the whole: believe the corrected p-values first.",
}
"""Plot name -> what to see in it."""
MONEY: Final = ("revenue", "margin")


@dataclass(frozen=True)
class Answer:
    """All that the page, the table and the rows show.

    Args:
        shop: its name.
        name: of the experiment.
        entrants, findings: what was found.
        currency: of money.
        dates: first and last day on which a subject entered, and the day of the data's end.
        days: that count after entering; None: all until the end.
        before: days before entering that foretell.
        followed: mean days from entering to the end of following.
        notes: what to know of how outcomes were made.
        plots: name -> PNG.
    """

    shop: str
    name: str
    entrants: Entrants
    findings: Findings
    currency: str
    dates: tuple[str, str, str]
    days: float | None
    before: float
    followed: float
    notes: Sequence[str] = ()
    plots: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def control(self) -> str:
        """The arm that others are compared with."""
        return self.entrants.arms[0]


def verdicts(answer: Answer) -> list[str]:
    """The verdict: why there is none, or a sentence for each arm, then what guards say."""
    failed = answer.findings.failed
    if failed:
        why = " ".join(f"{check.name}: {check.sentence} {check.remedy}" for check in failed)
        return [f"No verdict, since a check failed. {why}"]
    first = answer.findings.effects[0].outcome
    told = [verdict(answer, effect) for effect in answer.findings.effects if effect.outcome == first]
    guards = [
        each for each in answer.findings.guards if each.state == "broken" or (each.state == "open" and each.asked)
    ]
    return told + [guard_sentence(answer, guard) for guard in guards]


def verdict(answer: Answer, effect: Effect) -> str:
    """What an arm does to an outcome, in one sentence."""
    found, what, arm = effect.found.found, effect.outcome, spoken(answer, effect.arm)
    if effect.ruling == "unknown":
        return (
            f"Too little data to say what {arm} does to {what}: {effect.arm} has {effect.found.treated:,} subjects and "
            f"{answer.control} {effect.found.held:,}; each needs {SMALL} at least, and {FEW} with any {what}."
        )
    currency = f" {answer.currency}" if what in MONEY else ""
    told = f"{found.value:+.4g}{currency} a subject, {span(found)}"
    if effect.ruling == "open":
        return f"Whether {arm} changes {what} cannot be told yet: {told}."
    grown = f", {effect.relative.value:+.1%}" if np.isfinite(effect.relative.value) else ""
    doubt = " Few subjects carry most of it: the interval may be too narrow." if skew_caution(effect) else ""
    return f"{arm[:1].upper() + arm[1:]} {effect.ruling} {what} against {answer.control}: {told}{grown}.{doubt}"


def guard_sentence(answer: Answer, guard: Guard) -> str:
    """What became of a guard, in one sentence."""
    effect = guard.effect
    found, what, arm = effect.found.found, effect.outcome, spoken(answer, effect.arm)
    told = f"{number(found.value, '+')} a subject, {span(found)}, at most {guard.limit:g}"
    if guard.state == "broken":
        return f"{arm[:1].upper() + arm[1:]} adds too much {what}: {told}."
    return f"Whether {arm} adds too much {what} cannot be told yet: {told}."


def spoken(answer: Answer, arm: str) -> str:
    """An arm inside a sentence."""
    return "the service" if (arm, answer.control) == (SERVED, HOLDOUT) else arm


def facts(answer: Answer) -> list[str]:
    """Who was compared, over which time and how sure, as sentences."""
    entrants, findings = answer.entrants, answer.findings
    counts = np.bincount(entrants.arm, minlength=len(entrants.arms)).tolist()
    arms = ", ".join(f"{arm} {many:,}" for arm, many in zip(entrants.arms, counts, strict=True))
    span = "all until then counts" if answer.days is None else f"the {answer.days:g} days after it count"
    told = [
        f"{len(entrants):,} subjects ({arms}) entered from {answer.dates[0]} to {answer.dates[1]}; data end on "
        f"{answer.dates[2]}. A subject enters with its first decision and {span}: {answer.followed:.1f} days in the "
        "mean.",
        f"This is look {findings.look} at this experiment. Each interval is at {findings.confidence:.2%}, so that "
        "those of the first outcome hold for all arms and all looks together 95 times of 100.",
    ]
    if entrants.switched:
        told.append(
            f"{entrants.switched:,} subjects stood in another arm as visitors before they signed in; they count from "
            "their first decision as customers, in the arm that they got then."
        )
    told += [f"{many:,} subjects {why}; they are left out." for why, many in entrants.left_out.items()]
    told += [
        f"{each.undefined:,} subjects have no known {each.outcome} and are left out of it."
        for each in findings.effects if each.undefined
    ]  # fmt: skip
    worst = {each.outcome: each for each in sorted(findings.effects, key=lambda each: each.needed)}
    told += [caution for each in worst.values() if (caution := skew_caution(each))]
    return [*told, *answer.notes]


def skew_caution(effect: Effect) -> str:
    """Where few subjects carry most of an outcome: how many a group would need for its interval to be trusted."""
    smaller = min(effect.found.treated, effect.found.held)
    if not 2 <= smaller < effect.needed:
        return ""
    return (
        f"Few subjects carry most of {effect.outcome}: its interval can be trusted from about {effect.needed:,.0f} "
        f"subjects in each group (Kohavi et al. 2014); the smaller one has {smaller:,}."
    )


def effect_heads(control: str) -> tuple[str, ...]:
    """Columns of `effect_rows`."""
    return ("outcome", "arm", f"{control}, mean", "difference", "interval", "change", "variance saved", "p")


def effect_rows(effects: Sequence[Effect]) -> list[tuple[str, ...]]:
    """A line an outcome and arm."""
    return [
        (
            each.outcome, each.arm, number(each.mean), number(each.found.found.value, "+"), span(each.found.found),
            share(each.relative), f"{each.found.saved:.1%}", p_text(each.p),
        )
        for each in effects
    ]  # fmt: skip


def slice_heads() -> tuple[str, ...]:
    """Columns of `slice_rows`."""
    return ("group", "arm", "subjects", "difference", "interval", "p", "p, corrected")


def slice_rows(slices: Sequence[Slice]) -> list[tuple[str, ...]]:
    """A line a group and arm."""
    return [
        (
            f"{each.column}: {each.level}", each.effect.arm, f"{each.effect.found.found.n:,}",
            number(each.effect.found.found.value, "+"), span(each.effect.found.found), p_text(each.effect.p),
            p_text(each.adjusted),
        )
        for each in slices
    ]  # fmt: skip


def slice_note(findings: Findings) -> str:
    """How many groups were looked at, and what that does to chance."""
    hold = sum(each.adjusted < 0.05 for each in findings.slices)
    told = (
        f"{len(findings.slices)} groups and arms are shown, so one may look different by chance alone. Intervals are "
        f"of each by itself; p is corrected for all of them (Holm). {hold} of them stay below .05 so corrected."
    )
    return told + (f" {findings.small} are too small to be shown." if findings.small else "")


def marks(effects: Sequence[Effect]) -> dict[str, list[Mark]]:
    """Relative changes by outcome, as the plot shows them."""
    panels: dict[str, list[Mark]] = {}
    for each in effects:
        low, high = each.relative.low, each.relative.high
        mark = Mark(each.arm, 100 * each.relative.value, 100 * low, 100 * high)
        panels.setdefault(each.outcome, []).append(mark)
    return panels


def slice_marks(effects: Sequence[Effect], slices: Sequence[Slice]) -> dict[str, list[Mark]]:
    """Differences in the first outcome by group, all subjects on top."""
    several = len({each.arm for each in effects}) > 1

    def mark(name: str, each: Effect) -> Mark:
        found = each.found.found
        return Mark(f"{name}, {each.arm}" if several else name, found.value, found.low, found.high)

    panels = {"everybody": [mark("all", each) for each in effects if each.outcome == effects[0].outcome]}
    for each in slices:
        panels.setdefault(each.column, []).append(mark(each.level, each.effect))
    return panels


def html(answer: Answer) -> str:
    """The page, self-contained: pictures are inside and nothing is fetched."""
    findings = answer.findings
    reading = {PLOT_TITLES[name]: sentence for name, sentence in READING.items()}
    return rendered(
        "experiments/report.html.j2", answer=answer, accepted=good(findings), verdicts=verdicts(answer),
        facts=facts(answer), pictures=pictures_of(answer.plots, PLOT_TITLES), reading=reading,
        effect_heads=effect_heads(answer.control), effects=effect_rows(findings.effects), slice_heads=slice_heads(),
        slices=slice_rows(findings.slices), slice_note=slice_note(findings),
    )  # fmt: skip


def good(findings: Findings) -> bool:
    """Whether the first outcome grew and no guard is broken."""
    broken = any(guard.state == "broken" for guard in findings.guards)
    return bool(findings.effects) and findings.effects[0].ruling == "raises" and not broken


def number(value: float, sign: str = "") -> str:
    """Four digits that count; a word where it is not defined."""
    return f"{value:{sign}.4g}" if np.isfinite(value) else "not defined"


def span(found: Interval) -> str:
    """An interval's ends."""
    return f"[{found.low:+.4g}, {found.high:+.4g}]" if np.isfinite(found.low) else "not defined"


def share(found: Interval) -> str:
    """A relative change with its interval."""
    if not np.isfinite(found.value):
        return "not defined"
    return f"{found.value:+.1%} [{found.low:+.1%}, {found.high:+.1%}]"


def p_text(p: float) -> str:
    """A p-value."""
    return "not defined" if not np.isfinite(p) else "<0.0001" if p < 0.0001 else f"{p:.4f}"
