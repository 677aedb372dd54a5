"""A slot's policy from sized effects, and the gate's ruling on it: exploration included, against the best action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from serving.policies import NULL, Explore, PolicySpec, allowed, net_values, probabilities
from training.slots.places import Place
from training.slots.sizes import Sized
from training.uplift.gate import Guard, Ruling, rule
from training.uplift.log import DecisionLog, Doubles, Mask
from training.uplift.options import StudyOptions, tiers_of
from training.uplift.rare import Logged

LEARNER = "T"


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
    chances = alike_once(spec, values, allowed(spec, eligible), spread)
    ruling = _ruled(log, options, found, arms, (rows, chances, net), actions)
    return SlotFound(one.places[at], spec, arms, rows, chances, net[rows], _worded(ruling, base))


def alike_once(spec: PolicySpec, values: Doubles, eligible: Mask, spread: Doubles) -> Doubles:
    """`serving.policies.probabilities`, worked out once for rows that are equal: those of Thompson are dear."""
    whole = np.ascontiguousarray(np.column_stack([values, spread, eligible]))
    keys = whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1]))).ravel()
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    return probabilities(spec, values[first], eligible[first], spread[first])[place]


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
    table = np.asarray(square, np.float64)
    return np.asarray(np.sqrt(np.column_stack([np.zeros(len(table)), table])), np.float64)


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
    return rule(
        _held(chances, arms), net[rows], fold, log.subject[rows], (None, *actions), guards=guards, tiers=tiers,
        logged=_logged(log, options.study, found, arms, rows),
    )  # fmt: skip


def _held(chances: Doubles, arms: tuple[int, ...]) -> Doubles:
    """float64[n, 1 + actions]: what all are held against has its probabilities in the first column, wherever it is."""
    found = chances.copy()
    for place in (1 + at for at, arm in enumerate(arms) if arm < 0):
        found[:, NULL] += found[:, place]
        found[:, place] = 0
    return found


def _logged(
    log: DecisionLog, study: StudyOptions, found: Mapping[str, Sized], arms: tuple[int, ...], rows: Mask
) -> Logged:
    """What was taken and what happened, in a slot's columns; nothing is known where it took what it has no more."""
    chance = next(iter(found.values())).evidence.fit.choice.chance[rows]
    place_of = np.full(len(log.actions), -1, np.int32)
    place_of[NULL] = NULL
    columns = [chance[:, NULL]]
    for place, arm in enumerate(arms, 1):
        known = 0 <= arm < len(log.actions) - 1
        columns.append(chance[:, arm + 1] if known else np.full(len(chance), np.nan))
        if known:
            place_of[arm + 1] = place
    action = place_of[log.action[rows]]
    rewards = {reward: np.where(action >= 0, log.reward(reward)[rows], np.nan) for reward in found}
    return Logged(action, np.column_stack(columns), rewards, study.worth)


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
