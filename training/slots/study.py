"""From drawn slots to a policy for each and the gate's ruling on it: `slot_study` is the whole flow.

Slots of a page are drawn one after the other without replacement, so the policy of a page is a product: each slot's
policy decides among what is left, and is judged on the decisions of its own place, with the earlier ones as logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from features.errors import ConfigError, DataError
from serving.policies import NULL
from training.meter import Tell
from training.session import silent
from training.slots.judging import SlotFound, SlotOptions, judged
from training.slots.places import Place, places_of
from training.slots.sizes import Arms, Evidence, Sized, kinds_of, sized
from training.uplift.checks import Check, refuse_unless, run_checks
from training.uplift.crossfit import CrossFit, cross_fit
from training.uplift.learners import LEARNERS
from training.uplift.log import Codes, DecisionLog
from training.uplift.nuisance import LEAST_ARM
from training.uplift.options import check_options
from training.uplift.study import shared_rows

SLOT, POSITION = "page.slot", "page.position"
"""Columns that models see beside the features; in a policy their values are fixed."""
FEW = "effective-sample-size"
"""The check that speaks of actions with few decisions."""


@dataclass(frozen=True)
class SlotStudy:
    """All that was found.

    Args:
        log: the decisions that were learned from, with the columns of the place.
        options: what was wanted.
        checks: before any fit.
        base: the action that all are held against; None: nothing.
        places: from the top down.
        arms: the actions.
        sized: reward -> effects brought to size.
        slots: one a slot, from the top down.
        notes: what a person should know, as sentences.
    """

    log: DecisionLog
    options: SlotOptions
    checks: list[Check]
    base: str | None
    places: tuple[Place, ...]
    arms: Arms
    sized: Mapping[str, Sized]
    slots: tuple[SlotFound, ...]
    notes: tuple[str, ...]


def slot_study(log: DecisionLog, options: SlotOptions, tell: Tell = silent) -> SlotStudy:
    """Check, learn, bring to size, and ask the gate slot by slot.

    Args:
        log: from `read_log`, of one surface.
        options: what is wanted.
        tell: hears the progress of each step.

    Raises:
        DataError: nothing can be compared, no action to hold others against, a failed check that is not overridden, or
            too little to learn from.
        ConfigError: options that name what is not there.
    """
    if options.learner not in LEARNERS:
        hint = f"one of: {', '.join(LEARNERS)}"
        raise ConfigError("not a learner whose trees can be served", got=options.learner, hint=hint)
    check_options(log, options.study)
    checks = checked(log, options, tell)
    log, base = held_against(log)
    log, fits = learned(placed(log), options, tell)
    places, place = places_of(log)
    arms = arms_of(log, places, place, options)
    found = {reward: sized(Evidence(fit, options.learner, places, place, arms)) for reward, fit in fits.items()}
    slots = [judged(log, options, base, found, at) for at in chosen(places, place, options)]
    notes = dict.fromkeys([*log.notes, *(note for fit in fits.values() for note in fit.notes), *_told(base, slots)])
    return SlotStudy(log, options, checks, base, places, arms, found, tuple(slots), tuple(notes))


def checked(log: DecisionLog, options: SlotOptions, tell: Tell) -> list[Check]:
    """The checks; a failed one that is not overridden ends the study.

    That an action has few decisions fails none: here it leans on its kind, and is tried.
    """
    how = options.study
    tell("checks", 0, 1)
    checks = [
        replace(check, verdict="warned", remedy="Actions with few decisions lean on others of their kind.")
        if check.name == FEW and check.verdict == "failed" else check
        for check in run_checks(log, rewards=[*how.worth, *how.guards], seed=how.seed)
    ]  # fmt: skip
    tell("checks", 1, 1)
    refuse_unless(checks, how.overridden)
    return checks


def held_against(log: DecisionLog) -> tuple[DecisionLog, str | None]:
    """The log, its first action being the one that all others are held against.

    Nothing is that where every place was left empty often enough; else the action that was shown most in the place that
    showed it least, among the decisions in which something was.

    Raises:
        DataError: no action was shown often enough in every place.
    """
    places, place = places_of(log)
    counts = np.zeros((len(places), len(log.actions)), np.int64)
    np.add.at(counts, (place[log.usable], log.action[log.usable]), 1)
    least = counts.min(axis=0)
    # Folds of outcomes are nested: the least arm has to be known in each.
    enough = 2 * LEAST_ARM
    if least[NULL] >= enough:
        return log, None
    best = 1 + int(least[1:].argmax()) if len(least) > 1 else NULL
    if best == NULL or least[best] < enough:
        what = "no action was shown often enough in every slot to hold the others against"
        got = {str(log.actions[at] or "nothing"): int(least[at]) for at in np.argsort(-least, kind="stable")[:3]}
        raise DataError(
            what, got=got, hint=f"it takes {enough} decisions in each; or learn one slot at a time (--slot)"
        )
    base = str(log.actions[best])
    return log.only(base, *(action for action in log.actions if action not in (None, base))), base


def placed(log: DecisionLog) -> DecisionLog:
    """The log with slot and position among its features, where they differ."""
    extra = {SLOT: (log.slot, True), POSITION: (log.position, False)}
    extra = {name: each for name, each in extra.items() if len(np.unique(each[0])) > 1}
    words = log.words or ((),) * len(log.names)
    return replace(
        log, features=np.column_stack([log.features, *(values for values, _ in extra.values())]).astype(np.float32),
        names=(*log.names, *extra), categorical=(*log.categorical, *(codes for _, codes in extra.values())),
        words=(*words, *(log.slots if codes else () for _, codes in extra.values())),
    )  # fmt: skip


def learned(log: DecisionLog, options: SlotOptions, tell: Tell) -> tuple[DecisionLog, dict[str, CrossFit]]:
    """Cross-fitted effects on every reward that is worth something or guarded, on the decisions that know them all."""
    how = options.study
    fits = {
        reward: cross_fit(
            log, reward, learners={options.learner: LEARNERS[options.learner]}, folds=how.folds, seed=how.seed,
            threads=how.threads, tell=tell,
        )
        for reward in dict.fromkeys((*how.worth, *how.guards))
    }  # fmt: skip
    for reward, fit in fits.items():
        if options.learner not in fit.models:
            raise DataError("effects could not be learned", where=reward, got=options.learner, hint=fit.notes[-1])
    return shared_rows(log, fits)


def arms_of(log: DecisionLog, places: tuple[Place, ...], place: Codes, options: SlotOptions) -> Arms:
    """The actions of the log and those that the shop's file names for its slots, and where each can be shown."""
    seen = [str(action) for action in log.actions[1:]]
    listed = [name for each in places for name in options.modules.get(each.slot, ())]
    actions = [*seen, *sorted({*listed} - {*seen, str(log.actions[0])})]
    able = np.zeros((len(actions), len(places)), np.bool_)
    for at, each in enumerate(places):
        if each.slot in options.modules:
            able[:, at] = [action in options.modules[each.slot] for action in actions]
        else:
            able[: len(seen), at] = log.eligible[place == at, 1:].any(axis=0)
    return Arms(tuple(actions), kinds_of(actions, options.kinds), able)


def chosen(places: tuple[Place, ...], place: Codes, options: SlotOptions) -> list[int]:
    """Of each slot the place that its policy is for: where the shop's file has it, else where it was most often."""
    counts = np.bincount(place, minlength=len(places))
    found = []
    for slot in dict.fromkeys(each.slot for each in places):
        own = [at for at, each in enumerate(places) if each.slot == slot]
        there = [at for at in own if places[at].position == options.positions.get(slot)]
        found.append(there[0] if there else max(own, key=lambda at: counts[at]))
    return found


def _told(base: str | None, slots: list[SlotFound]) -> list[str]:
    """What a reader has to know of the comparison."""
    if base is None:
        return []
    return [f"Slots were hardly ever empty: effects are against {base}, on decisions in which it was possible."]
