"""Policies beside what came of them: is what they expected to gain what was gained?

A policy expects of each decision sum over actions b of pi(b) net(b): its probabilities times the net values that its
trees give, against showing nothing. What was gained needs no model, since the probabilities were logged: with Y the
reward after costs, w0 = [nothing was shown] / p(nothing) and m the w0-weighted mean of Y,

    gained = mean of (1 - w0) (Y - m)

the mean of Y less the self-normalised estimate of Y under nothing (Swaminathan & Joachims 2015). Intervals cluster by
person. Decisions count in the window in which their outcomes became known, so each counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr

from features import columns as c
from features.errors import KokyakuError
from features.shop import Shop
from serving.effects import SlotPolicy
from serving.policies import NULL
from serving.policy_files import open_policy, policy_names
from training.calibration import binned
from training.monitor.answers import slug
from training.monitor.draws import GROUP, Point
from training.monitor.measure import NAN, Limits, Measure
from training.monitor.reading import Look, quoted
from training.monitor.windows import Window
from training.offpolicy.learned import reads_past, valued
from training.uplift.estimate import Estimate, difference, estimated, mean_of
from training.uplift.log import DecisionLog, Doubles, Mask, Whole
from training.uplift.reading import read_log

LOST: Final = Limits(0.5, 1.0)
"""Shares of the expected gain that did not come."""
FLAT: Final = Limits(0.5, 1.0)
"""How far a slope is below 1: at 1 whole, what is expected of one decision says nothing of its gain."""
PARTS: Final = 5
"""Bins of the expectation in the picture."""
LEAST: Final = 20
"""People below which nothing is compared."""
_REMEDY: Final = (
    "Train the policy again on what is logged now (kokyaku train slots or train uplift) and let the gate say whether "
    "it still ships; kokyaku replay compares it with showing one thing to all."
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """Decisions of one policy whose outcomes are known.

    Args:
        expected: float64[n], expected net gain against nothing, in the shop's currency.
        net: float64[n], what came of it after costs.
        nothing: float64[n], probability that nothing was shown, above 0.
        shown: bool[n], whether anything was.
        subject: int64[n].
        undefined: decisions that were left out: nothing could not have been shown, or something is not known.
    """

    expected: Doubles
    net: Doubles
    nothing: Doubles
    shown: Mask
    subject: Whole
    undefined: int = 0

    def __len__(self) -> int:
        return len(self.net)

    def take(self, rows: np.typing.NDArray[np.intp]) -> Sample:
        """Some of the decisions."""
        return Sample(
            self.expected[rows], self.net[rows], self.nothing[rows], self.shown[rows], self.subject[rows],
            self.undefined,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was expected of decisions beside what came of them.

    Args:
        expected, gained: means of a decision.
        missing: gained - expected, paired.
        slope: of the gain on the expectation; 1 is right. NaN where all is expected alike.
        points: bins of the expectation, lowest first.
        n, people: decisions that count, and whose they are.
        undefined: decisions that do not count.
    """

    expected: Estimate
    gained: Estimate
    missing: Estimate
    slope: Estimate
    points: list[Point]
    n: int
    people: int
    undefined: int


def calibration_of(sample: Sample) -> Calibration:
    """Expectations beside outcomes; NaN with a count of 0 where there are none."""
    expected, gained = mean_of(sample.expected, sample.subject), _gained(sample)
    points = []
    for rows in binned(sample.expected, PARTS):
        part = sample.take(rows)
        points.append(Point(float(part.expected.mean()), _gained(part).interval, len(part)))
    return Calibration(
        expected, gained, difference(gained, expected, sample.subject), _slope(sample), points, len(sample),
        len(np.unique(sample.subject)), sample.undefined,
    )  # fmt: skip


def _weights(sample: Sample) -> Doubles:
    """float64[n]: of showing nothing, with mean 1; all NaN where nothing never was shown."""
    weight = np.where(sample.shown, 0.0, 1 / sample.nothing)
    total = weight.sum()
    return weight * (len(sample) / total) if total > 0 else np.full(len(sample), np.nan)


def _gained(sample: Sample) -> Estimate:
    """The mean reward less that under nothing, with the influence of both."""
    weight = _weights(sample)
    n = len(sample)
    base = float((weight * sample.net).mean()) if n else np.nan
    if not np.isfinite(base):
        return Estimate(np.nan, np.nan, np.nan, np.nan, n, 0, np.full(n, np.nan))
    mean = float(sample.net.mean())
    influence = (sample.net - mean - weight * (sample.net - base)) / n
    return estimated(mean - base, influence, sample.subject)


def _slope(sample: Sample) -> Estimate:
    """Of (1 - w0) (Y - m) on the expectation, by least squares."""
    n, weight = len(sample), _weights(sample)
    centred = sample.expected - sample.expected.mean() if n else sample.expected
    square = float(centred @ centred)
    alike = square <= 1e-12 * float(np.square(sample.expected).sum())
    if n < 3 or alike or not np.isfinite(weight).all():
        return Estimate(np.nan, np.nan, np.nan, np.nan, 0, n, np.zeros(n))
    score = (1 - weight) * (sample.net - (weight * sample.net).mean())
    slope = float(centred @ score) / square
    rest = score - score.mean() - slope * centred
    return estimated(slope, centred * rest / square, sample.subject)


def outcomes(
    look: Look, shop: Shop, window: Window, after: int, erased: Callable[[str], bool] | None = None
) -> Iterator[tuple[Measure, list[Point]]]:
    """Each learned policy whose decisions' outcomes became known in a window.

    Args:
        look: at the shop.
        shop: with its policies.
        window: which.
        after: microseconds after a decision in which rewards count.
        erased: whether a subject asked to be forgotten.
    """
    known, since, until = policy_names(shop.policies), window.start - after, window.end - after
    places = look.rows(f"""
        SELECT policy, surface, slot FROM decisions WHERE {c.DECIDED_AT} >= make_timestamptz({since})
        AND {c.DECIDED_AT} < make_timestamptz({until}) AND drawn GROUP BY ALL ORDER BY ALL""")
    for name, surface, slot in places:
        if name in known:
            place = f"{name} on {surface} {slot}"
            try:
                policy = open_policy(shop.policies / name)
                log = _read(look, policy, (surface, slot), since, until, after, erased)
                found = calibration_of(sample_of(policy, log))
            except KokyakuError as error:
                yield _unknown(place, error.line()), []
                continue
            yield from _measures(place, found)


def _read(
    look: Look, policy: SlotPolicy, place: tuple[str, str], since: int, until: int, after: int,
    erased: Callable[[str], bool] | None,
) -> DecisionLog:  # fmt: skip
    """The decisions of a policy in a slot whose outcomes became known."""
    spec = policy.sheet.spec
    log = read_log(
        look.dataset, surface=place[0], slot=place[1], rewards=[name for name, worth in spec.worth.items() if worth],
        window=after, since=since, as_of=until + after, history=True if reads_past(policy) else None, erased=erased,
    )  # fmt: skip
    keys = look.table(f"""
        SELECT md5_number_lower({c.DECISION_ID}) AS key FROM decisions WHERE policy = {quoted(spec.name)}
        AND {c.DECIDED_AT} >= make_timestamptz({since}) AND {c.DECIDED_AT} < make_timestamptz({until})""")["key"]
    assert log.keys is not None  # it was read from a dataset
    return log.take(log.usable & np.isin(log.keys, keys.to_numpy()))


def sample_of(policy: SlotPolicy, log: DecisionLog) -> Sample:
    """What a policy expected of its own decisions, and what came of them.

    Args:
        policy: that drew them.
        log: its decisions, with the rewards that are worth anything to it.

    Raises:
        DataError: the log does not carry what the policy reads.
    """
    spec = policy.sheet.spec
    values, known = valued(policy, log)
    chances = np.column_stack([
        log.propensity[:, log.actions.index(action)] if action in log.actions else np.zeros(len(log))
        for action in policy.ids
    ])  # fmt: skip
    price = {action: (1 + spec.price) * cost for action, cost in spec.costs.items()}
    costs = np.array([0.0 if action is None else price.get(action, 0.0) for action in log.actions])
    net = sum((worth * log.reward(name) for name, worth in spec.worth.items() if worth), np.zeros(len(log)))
    net = net - costs[log.action]
    expected = np.where(chances > 0, chances * values, 0.0).sum(axis=1)
    usable = known & np.isfinite(expected) & np.isfinite(net) & (chances[:, NULL] > 0) & log.told
    usable &= np.abs(chances.sum(axis=1) - 1) < 1e-6  # else something was drawn that the policy does not know
    return Sample(
        expected[usable], net[usable], chances[usable, NULL], (log.action != NULL)[usable], log.subject[usable],
        int((~usable).sum()),
    )  # fmt: skip


def _measures(place: str, found: Calibration) -> Iterator[tuple[Measure, list[Point]]]:
    """The gain beside its expectation, and the slope."""
    gained, expected = found.gained, found.expected
    left = f", {found.undefined:,} left out" if found.undefined else ""
    reason = _why_not(found)
    p = NAN if reason else _two_sided(found.missing.value, found.missing.error)
    lost = NAN if reason else -found.missing.value / abs(expected.value)
    said = f"{gained.value:.4g} gained a decision, {expected.value:.4g} expected; {found.n:,} decisions{left}"
    gain = Measure(
        GROUP, f"gain/{slug(place)}", f"Gain of {place}", gained.value, gained.low, gained.high, expected.value,
        n=found.n, p=p, size=lost, limits=LOST, found=said if found.n else f"no decisions{left}", remedy=_REMEDY,
        reason=reason,
    )  # fmt: skip
    yield gain, found.points
    slope = found.slope
    flat = reason or ("" if np.isfinite(slope.error) else "all decisions expect the same")
    yield Measure(
        GROUP, f"slope/{slug(place)}", f"Slope of gain on expectation of {place}", slope.value, slope.low, slope.high,
        1.0, n=found.n, p=NAN if flat else _two_sided(slope.value - 1, slope.error),
        size=NAN if flat else 1 - slope.value, limits=FLAT,
        found="1 is right; 0: what it expects of one customer says nothing", remedy=_REMEDY, reason=flat,
    ), []  # fmt: skip


def _why_not(found: Calibration) -> str:
    if not found.n:
        return "no decision could have shown nothing, or nothing is known of their outcomes"
    if not np.isfinite(found.missing.error) or found.missing.error == 0:
        return "nothing was never shown, so there is nothing to compare with"
    if found.people < LEAST:
        return "too few people to compare"
    return "" if found.expected.value else "the policy expects nothing"


def _unknown(place: str, reason: str) -> Measure:
    return Measure(GROUP, f"gain/{slug(place)}", f"Gain of {place}", p=NAN, limits=LOST, remedy=_REMEDY, reason=reason)


def _two_sided(value: float, error: float) -> float:
    return float(2 * ndtr(-abs(value) / error)) if error > 0 else NAN
