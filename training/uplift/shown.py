"""What the report of a study shows, as figures: curves, budgets, values, tenths, balance and weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from serving.policies import NULL, best_of
from training.intervals import Interval
from training.plots import Gap, Line, Mark
from training.uplift import metrics
from training.uplift.balance import love, overlap
from training.uplift.bands import qini_at
from training.uplift.calibration import out_of_fold
from training.uplift.challengers import CHALLENGERS
from training.uplift.contrasts import contrasts_of
from training.uplift.draws import effective_size
from training.uplift.gate import always, value_of
from training.uplift.log import DecisionLog, Doubles, Mask
from training.uplift.options import costs_in, eligible_in
from training.uplift.proposals import Proposal
from training.uplift.study import Study

PANELS = 6
"""Pairs of an action and an outcome that pictures show: worth something, the most frequent actions first."""
SHARES = tuple((np.arange(1, 41) / 40).tolist())
"""Where a curve has its band."""
POINTS = 24
"""Budgets that are tried."""
MOST_GAPS = 25
"""Rows of a love plot, the largest differences first."""


def shown_learner(found: Study) -> str:
    """Whose effects the pictures show: the best proposal of a learner that is no plain challenger, else the best."""
    return next((each.learner for each in found.proposals if each.learner not in CHALLENGERS), found.challenger.learner)


def proposal_of(found: Study, learner: str) -> Proposal:
    """The policy made of a learner's effects."""
    return next(each for each in found.proposals if each.learner == learner)


def pairs(found: Study) -> list[tuple[str, int]]:
    """Outcomes that are worth something and places of actions, of the most frequent actions, at most `PANELS`."""
    counts = np.bincount(found.log.action, minlength=len(found.log.actions))
    frequent = sorted(range(1, len(found.log.actions)), key=lambda action: -int(counts[action]))
    every = [(reward, action) for action in frequent for reward, worth in found.options.worth.items() if worth]
    return every[:PANELS]


def panel(found: Study, reward: str, action: int) -> str:
    """How a pair is named."""
    return f"{found.log.actions[action]}: {reward}"


def qini_lines(found: Study, reward: str, action: int) -> list[Line]:
    """The shown learner's Qini curve with its band, the challengers' beside it, and the line of a random order."""
    fit = found.fits[reward]
    trial = metrics.trial_of(fit.log, reward, fit.log.actions[action])
    mine = shown_learner(found)
    lines = []
    for name in dict.fromkeys((mine, *(each for each in CHALLENGERS if each in fit.effects))):
        if name not in fit.effects:
            continue
        score = metrics.ranks_in_folds(fit.effects[name][:, action - 1], fit.fold)[trial.places]
        heights = qini_at(score, trial, SHARES)
        banded = name == mine
        lines.append(Line(
            f"{name}, with its 95 % band" if banded else name, "learner" if banded else name,
            np.append(0.0, SHARES), np.append(0.0, [each.value for each in heights]),
            np.append(0.0, [each.low for each in heights]) if banded else None,
            np.append(0.0, [each.high for each in heights]) if banded else None,
        ))  # fmt: skip
    end = lines[0].value[-1] if lines else np.nan
    return [*lines, Line("in random order", "random", np.array([0.0, 1.0]), np.array([0.0, end]))]


def spending(found: Study) -> tuple[Doubles, str]:
    """float64[k], what an action uses up of the budget, and what that is: its cost, or one where nothing costs."""
    costs = costs_of(found)
    if (costs > 0).any():
        return costs, "mean cost a decision"
    ones = np.ones(len(costs))
    ones[NULL] = 0.0
    return ones, "share of decisions in which something is done"


def gain_lines(found: Study) -> list[Line]:
    """Net gain beyond nothing against what is spent: the shown learner, its challengers, the best action at random."""
    spent, _ = spending(found)
    mine = shown_learner(found)
    lines: list[Line] = []
    for name in (mine, "linear-T", "response"):
        if name in {each.learner for each in found.proposals} and (name != mine or not lines):
            lines.append(_gain_line(found, proposal_of(found, name), spent, banded=name == mine))
    given = always(found.net)
    means = np.nanmean(given - given[:, [NULL]], axis=0)
    best = int(np.argmax(means))
    if best != NULL:
        name = f"{found.log.actions[best]}, handed out at random"
        full = float(np.where(eligible_in(found.log)[:, best], spent[best], 0.0).mean())
        lines.append(Line(name, "random", np.array([0.0, full]), np.array([0.0, float(means[best])])))
    return lines


def gain_points(found: Study) -> list[tuple[str, float, float]]:
    """What the gate judged: its policy's spending and net gain."""
    spent, _ = spending(found)
    gain = value_of(found.chances, found.net) - always(found.net)[:, NULL]
    return [("the policy", float((found.chances * spent).sum(axis=1).mean()), float(np.nanmean(gain)))]


def _gain_line(found: Study, proposal: Proposal, spent: Doubles, *, banded: bool) -> Line:
    """Each price of a unit spent gives a policy: the higher the price, the fewer are worth it."""
    costs, eligible = costs_of(found), eligible_in(found.log)
    values = proposal.values + proposal.spec.price * costs
    nothing, rows = always(found.net)[:, NULL], np.arange(len(found.log))
    xs, estimates = [0.0], [None]
    for price in _prices(values, spent, eligible):
        taken = best_of(values - price * spent, eligible)
        xs.append(float(spent[taken].mean()))
        gain = found.net[rows, taken] - nothing
        estimates.append(metrics.mean_of(gain, found.log.subject))  # type: ignore[arg-type]
    order = np.argsort(xs, kind="stable")
    ends = [
        np.array([0.0 if each is None else getattr(each, end) for each in estimates])[order]
        for end in ("value", "low", "high")
    ]  # fmt: skip
    name = f"{proposal.learner}, with its 95 % band" if banded else proposal.learner
    role = "learner" if banded else proposal.learner
    return Line(name, role, np.array(xs)[order], ends[0], *(ends[1:] if banded else (None, None)))


def _prices(values: Doubles, spent: Doubles, eligible: Mask) -> list[float]:
    """Prices at which about every `1 / POINTS` of the rows stop being worth it; the last lets everybody in."""
    paid = np.flatnonzero(spent > 0)
    usable = eligible[:, paid] & np.isfinite(values[:, paid])
    ratio = np.where(usable, values[:, paid] / spent[paid], -np.inf).max(axis=1)
    ratio = ratio[np.isfinite(ratio)]
    if not len(ratio):
        return []
    inner = np.quantile(ratio, np.linspace(1, 0, POINTS, endpoint=False)[1:])
    return [*np.unique(inner)[::-1].tolist(), float(ratio.min()) - 1e-9 * max(1.0, abs(float(ratio.min())))]


def value_marks(found: Study) -> dict[str, list[Mark]]:
    """The gate's policy, each action for everybody and nothing; then every learner's own proposal."""
    ruled = found.ruling.values
    gate = [_mark("the policy before the gate", ruled["policy"], "challenger")]
    gate += [
        _mark("nothing" if name == "nothing" else f"{name} for everybody", each, "baseline")
        for name, each in ruled.items()
        if name != "policy"
    ]
    own = [_mark(f"{each.learner}'s proposal", each.value.interval, "candidate") for each in found.proposals]
    return {"What the gate compared": gate, "What each learner proposes": own}


def tenths(found: Study, reward: str, action: int) -> tuple[metrics.Tenth, ...]:
    """The shown learner's calibrated effects beside doubly robust scores, lowest first."""
    fit = found.fits[reward]
    effects = out_of_fold(fit.effects[shown_learner(found)], fit.contrasts, fit.log.subject, fit.fold)
    return metrics.by_decile(effects[:, action - 1], fit.contrasts[:, action - 1], fit.log.subject)


def gaps(found: Study) -> list[Gap]:
    """Standardised differences of the judged decisions, as the checks measure them; the largest `MOST_GAPS`."""
    contrasts = contrasts_of(found.log, found.options.seed)
    weighted = overlap(contrasts, found.options.seed)[1] if found.log.observational else None
    points = [] if found.log.observational and not weighted else love(contrasts, weighted)
    points = sorted(points, key=lambda each: -max(abs(each.before), abs(each.after)))[:MOST_GAPS]
    return [Gap(f"{each.column}, {each.action}", each.before, each.after) for each in points]


def chance_of_taken(found: Study) -> Doubles:
    """float64[n]: the probability of what was done, an estimate where nobody drew."""
    fit = next(iter(found.fits.values()))
    return np.asarray(fit.choice.chance[np.arange(len(found.log)), found.log.action], np.float64)


def weights(found: Study) -> tuple[dict[str, Doubles], float]:
    """Weights of the decisions by what was done, and the effective sample size of all."""
    taken = chance_of_taken(found)
    by_action = {
        str(action or "nothing"): 1 / taken[found.log.action == place]
        for place, action in enumerate(found.log.actions)
        if (found.log.action == place).any()
    }
    return by_action, effective_size(taken)


def costs_of(found: Study) -> Doubles:
    """float64[k]: the cost of each action; null costs nothing."""
    return costs_in(found.log, found.options)


def unit(found: Study) -> str:
    """Of values: the outcome where one alone counts one, else worth."""
    worth = {reward: each for reward, each in found.options.worth.items() if each}
    if list(worth.values()) == [1.0]:
        return f"{next(iter(worth))} a decision" + (", less costs" if costs_of(found).any() else "")
    return "net worth a decision"


def interval_text(found: Interval, form: str = "{:.4g}") -> str:
    """A figure with its interval as text.

    >>> interval_text(Interval(0.18251, 0.1772, 0.1878, 9, 0))
    '0.1825 [0.1772, 0.1878]'
    """
    if not np.isfinite(found.value):
        return "not defined"
    told = form.format(found.value)
    if not np.isfinite(found.low):
        return told
    return f"{told} [{form.format(found.low)}, {form.format(found.high)}]"


def counts(log: DecisionLog) -> dict[str, int]:
    """Action -> decisions in which it was taken."""
    number: npt.NDArray[np.int64] = np.bincount(log.action, minlength=len(log.actions))
    return {str(action or "nothing"): int(number[place]) for place, action in enumerate(log.actions)}


def _mark(name: str, found: Interval, role: str) -> Mark:
    return Mark(name, found.value, found.low, found.high, role)


def titles(found: Study) -> Sequence[str]:
    """Names of the pairs that pictures show."""
    return [panel(found, reward, action) for reward, action in pairs(found)]
