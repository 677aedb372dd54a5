"""The page about an uplift study: what may serve and why, first in words, then in pictures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from training.intervals import Interval
from training.meter import Step
from training.pages import pictures_of, rendered
from training.uplift.blocks import Blocked
from training.uplift.checks import Check
from training.uplift.groups import TierEffect
from training.uplift.measured import Measured
from training.uplift.sensitivity import sensitivities, unseen
from training.uplift.shown import counts, interval_text, shown_learner, unit
from training.uplift.study import Study
from training.uplift.written import NOT_WRITTEN, Written

PLOT_TITLES: Mapping[str, str] = {
    "values": "What each way of deciding is worth",
    "qini": "Whether the best customers can be told apart",
    "gain": "What a budget brings",
    "tenths": "Whether what is foretold comes true",
    "love": "Whether the groups were alike before",
    "weights": "How many decisions stand behind the answer",
}
"""Plot name -> heading, in the order of the page."""
READING: Mapping[str, str] = {
    "values": "The policy may serve only if it is better than the best single action (dashed) beyond its interval.",
    "qini": "The thick line should bulge above the dashed one by more than its band is wide.",
    "gain": "The highest point of the thick line is the budget that pays best; the dashed line spends it at random.",
    "tenths": "Points should lie along the dashed line; points level in height mean that all customers are alike.",
    "love": "Filled points beyond the dashed lines say in what the groups differed before anything was done.",
    "weights": "Few decisions of great weight would carry the whole answer.",
}
"""Plot name -> what to see in it."""


@dataclass(frozen=True)
class UpliftReport:
    """All that the page and the card show.

    Args:
        shop: its name.
        name: of the experiment, surface or slot.
        found: the study.
        window_days: of attribution.
        dates: first and last day of the decisions, e.g. 2024-03-01.
        currency: of costs and worth.
        tiers: effects by loyalty tier.
        small_tiers: tiers that are too small to be shown.
        blocked: who must be left alone.
        steps: time and memory.
        plots: name -> PNG.
        policy: what became of the ruling on disk.
    """

    shop: str
    name: str
    found: Study
    window_days: float
    dates: tuple[str, str]
    currency: str
    tiers: Sequence[TierEffect] = ()
    small_tiers: int = 0
    blocked: Sequence[Blocked] = ()
    steps: Sequence[Step] = ()
    plots: Mapping[str, bytes] = field(default_factory=dict)
    policy: Written = NOT_WRITTEN

    @property
    def outcome(self) -> str:
        """What became of the verdict."""
        return f"Nothing was put into service by this run. {' '.join(self.policy.sentences)}"


def headline(found: Study) -> str:
    """The verdict in one sentence."""
    ships = found.ruling.ships
    if ships == "policy":
        return "Personalise: choosing for each customer is better than the best single action for everybody."
    if ships == "action":
        return f"Do not personalise: {shipped(found)} for everybody is what these data support."
    return "Do nothing: neither a policy nor one action for everybody clears every bar."


def shipped(found: Study) -> str:
    """The single action that the ruling names, in words."""
    return str(found.log.actions[found.ruling.action] or "nothing")


def cautions(found: Study) -> list[str]:
    """What takes from the verdict's weight, as sentences: nobody drew, or a failed check was overridden."""
    told = []
    if found.log.observational:
        told.append("Nobody drew these actions at random: take this as a hint for the next experiment, not as proof.")
    if names := overridden(found):
        told.append(f"The verdict stands on checks that failed and were overridden by name: {', '.join(names)}.")
    return told


def overridden(found: Study) -> list[str]:
    """Names of the checks that failed and were overridden."""
    return [
        check.name for check in found.checks if check.verdict == "failed" and check.name in found.options.overridden
    ]


def check_rows(found: Study) -> list[tuple[Check, str]]:
    """Every check with its verdict in words."""
    gone = overridden(found)
    return [(check, f"{check.verdict}, overridden" if check.name in gone else check.verdict) for check in found.checks]


def learner_heads() -> tuple[str, ...]:
    """Columns of `learner_rows`."""
    return ("learner", "effect of", "Qini per treated", "AUTOC", "gain of the best 30 %", "slope", "placebo")


def learner_rows(measured: Sequence[Measured]) -> list[tuple[str, ...]]:
    """A line a learner, action and outcome, highest Qini first within each pair; intervals as half their width."""
    order = sorted(measured, key=lambda each: (each.action, each.reward, -np.nan_to_num(each.qini.value, nan=-np.inf)))
    return [
        (
            each.learner,
            f"{each.action} on {each.reward}",
            *(within(part.interval) for part in (each.qini, each.autoc, each.gain)),
            within(each.slope.interval, ".2f"),
            "not defined" if np.isnan(each.placebo) else f"{each.placebo:.1f}",
        )
        for each in order
    ]


def within(found: Interval, form: str = ".3g") -> str:
    """A figure and half the width of its interval.

    >>> within(Interval(0.00779, 0.00597, 0.00961, 9, 0))
    '0.00779 ±0.00182'
    """
    if not np.isfinite(found.value):
        return "not defined"
    value = 0.0 if abs(found.value) < 1e-9 else found.value  # what ranks nobody gains nothing but for rounding
    half = (found.high - found.low) / 2
    return f"{value:{form}}" if not half >= 1e-9 else f"{value:{form}} ±{half:{form}}"


def facts(report: UpliftReport) -> list[str]:
    """What was asked of which data, as sentences."""
    found, options = report.found, report.found.options
    money = [f"{action} costs {cost:g}" for action, cost in options.costs.items()]
    worth = [f"one {reward} is worth {each:g}" for reward, each in options.worth.items()]
    told = [
        f"{len(found.log):,} decisions of {len(np.unique(found.log.subject)):,} customers, {report.dates[0]} to "
        f"{report.dates[1]}: " + ", ".join(f"{name} {many:,}" for name, many in counts(found.log).items()) + ".",
        f"{_upper('; '.join([*worth, *money]))}. Outcomes count within {report.window_days:g} days.",
    ]
    if options.budget is not None:
        told.append(f"At most {options.budget:g} may be spent a decision.")
    told += [f"It may add at most {limit:g} {reward} a decision." for reward, limit in options.guards.items()]
    told += [f"{many:,} decisions are left out: {why}." for why, many in found.log.left_out.items()]
    return [*told, *([found.log.covariates_as_of] if found.log.covariates_as_of else [])]


def html(report: UpliftReport) -> str:
    """The page, self-contained: pictures are inside and nothing is fetched."""
    found = report.found
    reading = {PLOT_TITLES[name]: sentence for name, sentence in READING.items()}
    return rendered(
        "uplift/report.html.j2", report=report, found=found, accepted=found.ruling.ships == "policy",
        headline=headline(found), cautions=cautions(found), facts=facts(report),
        pictures=pictures_of(report.plots, PLOT_TITLES), reading=reading, checks=check_rows(found),
        heads=learner_heads(), learners=learner_rows(found.measured), told=interval_text, unit=unit(found),
        unseen=[unseen(each) for each in sensitivities(found)],
        blocked=[*map(blocked_sentence, report.blocked)], by_blocks=by_blocks(found), learner=shown_learner(found),
        seconds=sum(step.seconds for step in report.steps),
    )  # fmt: skip


def markdown(report: UpliftReport) -> str:
    """The short form at the top of the run: verdict, why, checks that did not pass."""
    found = report.found
    lines = [f"**{headline(found)}** {report.outcome}", "", *(f"{each}\n" for each in cautions(found)), "Why:", ""]
    lines += [f"- {claim.sentence}" for claim in found.ruling.claims]
    if doubts := [(check, said) for check, said in check_rows(found) if check.verdict != "passed"]:
        lines += ["", "Checks that did not pass:", ""]
        lines += [f"- {check.name} ({said}): {check.sentence} {check.remedy}".rstrip() for check, said in doubts]
    return "\n".join(lines) + "\n"


def by_blocks(found: Study) -> str:
    """What the blocks do to the policy that was judged, as a sentence."""
    changed = interval_text(found.by_blocks.interval, "{:+.4g}")
    return (
        f"They are left alone in the policy that was judged, by blocks decided on other customers; that changes its "
        f"value by {changed} a decision. The chance that anything harmless is among them is 5 % at most."
    )


def blocked_sentence(each: Blocked) -> str:
    """Who must be left alone, as a sentence."""
    tenth = f"the tenth number {each.who} by the foretold net value (1 is the lowest)"
    group = f"the tier {each.who}" if each.tier else tenth
    by = " by all actions together" if each.together else ""
    told = interval_text(each.effect, "{:+.4g}")
    return f"{each.action} for {group}: {told} a decision{by}, {each.decisions:,} decisions."


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
