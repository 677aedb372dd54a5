"""From drawn slots to a policy for each and the gate's ruling on it: `slot_study` is the whole flow.

Slots of a page are drawn one after the other without replacement, so the policy of a page is a product: each slot's
policy decides among what is left, and is judged on the decisions of its own place, with the earlier ones as logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from features.errors import ConfigError, DataError
from serving.policies import NULL, Explore, PolicySpec, allowed, net_values, probabilities
from training.meter import Tell
from training.session import silent
from training.slots.places import Place, places_of
from training.slots.sizes import Arms, Evidence, Sized, kinds_of, sized
from training.uplift.checks import Check
from training.uplift.crossfit import CrossFit, cross_fit
from training.uplift.gate import Guard, Ruling, rule
from training.uplift.learners import LEARNERS
from training.uplift.log import DecisionLog, Doubles, Mask
from training.uplift.nuisance import LEAST_ARM
from training.uplift.study import StudyOptions, check_options, checked, shared_rows, tiers_of

SLOT, POSITION = "page.slot", "page.position"
"""Columns that models see beside the features; in a policy their values are fixed."""
LEARNER = "R"


@dataclass(frozen=True)
class SlotOptions:
    """What is wanted of the slots.

    Args:
        study: worth, costs, guards, floor, caution and how it is estimated; no budget.
        explore: how a policy shares out what the floor leaves.
        learner: whose effects.
        kinds: action -> its kind.
        modules: slot -> what may take it, where the shop's file says so; actions there that were never shown get the
            average of their kind.
        positions: slot -> where on the page it is, from the same file; else where it was most often.
        draws: of a Thompson policy.
    """

    study: StudyOptions
    explore: Explore = "thompson"
    learner: str = LEARNER
    kinds: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    positions: Mapping[str, int] = field(default_factory=dict)
    draws: int = 500


@dataclass(frozen=True)
class SlotFound:
    """One slot.

    Args:
        place: where it was judged, and for which place its numbers are.
        spec: its policy.
        arms: places of its actions among those of the study's `Arms`; -1: the one that all are held against.
        rows: bool[n], decisions that it was judged on.
        chances: float64[rows, 1 + actions], what the policy would have done, exploration included, out of fold.
        net: float64[rows, 1 + actions], doubly robust scores of the net value.
        ruling: the gate's, against the best single action of the slot.
    """

    place: Place
    spec: PolicySpec
    arms: tuple[int, ...]
    rows: Mask
    chances: Doubles
    net: Doubles
    ruling: Ruling


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
    checks = checked(log, options.study, tell)
    log, base = held_against(log)
    log, fits = learned(placed(log), options, tell)
    places, place = places_of(log)
    arms = arms_of(log, places, place, options)
    found = {
        reward: sized(Evidence(fit, options.learner, places, place, arms)) for reward, fit in fits.items()
    }
    slots = [judged(log, options, base, found, at) for at in chosen(places, place, options)]
    notes = dict.fromkeys([*log.notes, *(note for fit in fits.values() for note in fit.notes), *_told(base, slots)])
    return SlotStudy(log, options, checks, base, places, arms, found, tuple(slots), tuple(notes))


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
        raise DataError(what, got=got, hint=f"it takes {enough} decisions in each; or learn one slot at a time (--slot)")
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


def arms_of(log: DecisionLog, places: tuple[Place, ...], place: np.ndarray, options: SlotOptions) -> Arms:
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


def chosen(places: tuple[Place, ...], place: np.ndarray, options: SlotOptions) -> list[int]:
    """Of each slot the place that its policy is for: where the shop's file has it, else where it was most often."""
    counts = np.bincount(place, minlength=len(places))
    found = []
    for slot in dict.fromkeys(each.slot for each in places):
        own = [at for at, each in enumerate(places) if each.slot == slot]
        there = [at for at in own if places[at].position == options.positions.get(slot)]
        found.append(there[0] if there else max(own, key=lambda at: counts[at]))
    return found


def judged(
    log: DecisionLog, options: SlotOptions, base: str | None, found: Mapping[str, Sized], at: int
) -> SlotFound:  # fmt: skip
    """The policy of one place, and the ruling on it."""
    one = next(iter(found.values())).evidence
    names = {action: arm for arm, action in enumerate(one.arms.actions) if one.arms.able[arm, at]}
    if base is not None:
        names[base] = -1
    actions = tuple(sorted(names))
    arms = tuple(names[action] for action in actions)
    net = net_of(found, options.study, log, arms, actions)
    # Where the one that all are held against was not possible nobody knows what it would have brought.
    rows = (one.place == at) & np.isfinite(net[:, NULL])
    spread = spread_of(found, options.study, arms)[rows]
    spec = spec_of(f"slot-{one.places[at].slot}", actions, options, gap=gap_of(spread), nothing=base is None)
    values = net_values(spec, {reward: _columns(each.out, arms)[rows] for reward, each in found.items()})
    eligible = eligible_of(log, arms, base)[rows]
    chances = probabilities(spec, values, allowed(spec, eligible), spread)
    ruling = _ruled(log, options, found, arms, (rows, chances, net), actions)
    return SlotFound(one.places[at], spec, arms, rows, chances, net[rows], _worded(ruling, base))


def spec_of(name: str, actions: tuple[str, ...], options: SlotOptions, *, gap: float, nothing: bool) -> PolicySpec:
    """The policy of a slot."""
    how = options.study
    return PolicySpec(
        name, actions, dict(how.worth), dict(how.costs), floor=how.floor, explore=options.explore, draws=options.draws,
        gap=gap, seed=how.seed, cautious=how.cautious, nothing=nothing,
    )  # fmt: skip


def net_of(
    found: Mapping[str, Sized], study: StudyOptions, log: DecisionLog, arms: tuple[int, ...], actions: tuple[str, ...]
) -> Doubles:  # fmt: skip
    """float64[n, 1 + actions]: doubly robust scores of the net value; NaN where not eligible or never seen.

    The first column is of what all are held against.
    """
    gross = sum(worth * _scores(found[reward], arms) for reward, worth in study.worth.items())
    costs = np.array([study.costs.get(action, 0.0) for action in actions])
    base = sum(cost for cost, arm in zip(costs, arms, strict=True) if arm < 0)
    return np.asarray(gross - np.concatenate([[base], costs]), np.float64)


def _scores(of: Sized, arms: tuple[int, ...]) -> Doubles:
    """float64[n, 1 + actions]: scores of what all are held against, and of some actions."""
    scores = of.evidence.scores
    columns = [np.full(len(scores), np.nan) if arm + 1 >= scores.shape[1] else scores[:, arm + 1] for arm in arms]
    return np.column_stack([scores[:, NULL], *columns])


def spread_of(found: Mapping[str, Sized], study: StudyOptions, arms: tuple[int, ...]) -> Doubles:
    """float64[n, 1 + actions]: how uncertain net values are, rewards as if independent; 0 for the first."""
    square = sum(
        worth**2 * _columns(each.error**2 + each.left**2, arms)
        for reward, worth in study.worth.items()
        for each in [found[reward]]
    )
    square = np.asarray(square)
    return np.sqrt(np.concatenate([np.zeros((len(square), 1)), square], axis=1))


def eligible_of(log: DecisionLog, arms: tuple[int, ...], base: str | None) -> Mask:
    """bool[n, 1 + actions]: what could have been taken; nothing, where that was one of the possibilities."""
    could = log.eligible
    width = could.shape[1]
    columns = [could[:, arm + 1] if arm + 1 < width else np.zeros(len(log), np.bool_) for arm in arms]
    return np.column_stack([could[:, NULL] & (base is None), *columns])


def gap_of(spread: Doubles) -> float:
    """How sharply inverse-gap weighting avoids what is worse: sqrt(k / mean squared error of the values).

    Foster & Rakhlin (2020, theorem 1) take sqrt(k T / regret of the regression), which after T decisions is T times the
    mean squared error. So it explores as long as, and as widely as, values are uncertain.
    """
    square = spread[:, 1:] ** 2
    known = square[np.isfinite(square)]
    error = float(known.mean()) if known.size else 0.0
    return float(np.sqrt(spread.shape[1] / error)) if error > 0 else 1e9


def _columns(table: Doubles, arms: tuple[int, ...]) -> Doubles:
    """Columns of some actions; 0 for the one that all are held against."""
    return np.column_stack([np.zeros(len(table)) if arm < 0 else table[:, arm] for arm in arms])


def _ruled(
    log: DecisionLog, options: SlotOptions, found: Mapping[str, Sized], arms: tuple[int, ...],
    judging: tuple[Mask, Doubles, Doubles], actions: tuple[str, ...],
) -> Ruling:  # fmt: skip
    rows, chances, net = judging
    guards = [
        Guard(reward, _scores(found[reward], arms)[rows], limit) for reward, limit in options.study.guards.items()
    ]
    tiers = {tier: who[rows] for tier, who in tiers_of(log, options.study.tier).items()}
    fold = next(iter(found.values())).evidence.fit.fold[rows].astype(np.int64)
    return rule(chances, net[rows], fold, log.subject[rows], (None, *actions), guards=guards, tiers=tiers)


def _worded(ruling: Ruling, base: str | None) -> Ruling:
    """Where slots are never empty, what the gate calls nothing is the action that all are held against."""
    if base is None:
        return ruling
    claims = tuple(
        replace(each, what=each.what.replace("- nothing", f"- {base}"),
                sentence=each.sentence.replace("better than nothing", f"better than {base}"))
        for each in ruling.claims
    )  # fmt: skip
    values = {name: each for name, each in ruling.values.items() if name != "nothing"}
    return replace(ruling, claims=claims, values=values)


def _told(base: str | None, slots: list[SlotFound]) -> list[str]:
    """What a reader has to know of the comparison."""
    if base is None:
        return []
    return [f"Slots were hardly ever empty: effects are against {base}, on decisions in which it was possible."]
