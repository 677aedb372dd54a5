"""Policies beside what came of them, where the truth is known: intervals hold it, broken promises are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from features.dataset import Dataset
from features.moments import DAY, HOUR, format_instant, parse_instant
from features.shop import Shop
from serving.policy_files import write_policy
from tests.test_serving.grown import policy, stump
from training.monitor.draws import Draws, draws_of, measured, pearson, reliability
from training.monitor.measure import Measure, Verdict, judged
from training.monitor.outcomes import Calibration, Sample, calibration_of
from training.monitor.report import Found
from training.monitor.watch import watch
from training.monitor.windows import Asked

MONDAY = parse_instant("2026-03-02")


# Calibration of gains, on drawn worlds.


def world(seed: int, *, kept: float = 1.0, people: int = 250, alike: bool = False) -> tuple[Sample, float]:
    """Decisions of a policy between nothing and one action, several a person; and what it truly gains a decision.

    Args:
        seed: of the draws.
        kept: which share of each expected effect is true.
        people: who were decided for, one to five times.
        alike: whether the same is expected of all.
    """
    random = np.random.default_rng(seed)
    subject = np.repeat(np.arange(people), random.integers(1, 6, people))
    n = len(subject)
    nothing = random.uniform(0.15, 0.5, n)
    effect = np.full(n, 0.15) if alike else random.uniform(-0.1, 0.4, n)
    nothing = np.full(n, 0.3) if alike else nothing
    shown = random.random(n) > nothing
    level = random.beta(2, 6, people)[subject]  # persons differ in what they do anyway
    chance = np.clip(level + np.where(shown, kept * effect, 0), 0, 1)
    net = (random.random(n) < chance).astype(float)
    truly = (1 - nothing) * (np.clip(level + kept * effect, 0, 1) - level)
    return Sample((1 - nothing) * effect, net, nothing, shown, subject), float(truly.mean())


def test_intervals_hold_the_true_gain():
    """95 % intervals of 300 worlds, in which a person comes several times."""
    held = [
        found.low <= truth <= found.high for found, truth in ((calibration_of(s).gained, t) for s, t in worlds(300))
    ]
    assert 0.92 <= np.mean(held) <= 0.985


def worlds(count: int, **given: Any) -> Iterator[tuple[Sample, float]]:
    for seed in range(count):
        yield world(seed, **given)


def test_a_slope_of_one_where_promises_are_kept_and_of_less_where_they_are_not():
    kept = [calibration_of(sample).slope for sample, _ in worlds(100)]
    assert np.mean([each.value for each in kept]) == pytest.approx(1, abs=0.12)
    assert np.mean([each.low <= 1 <= each.high for each in kept]) >= 0.9
    third = [calibration_of(sample).slope.value for sample, _ in worlds(100, kept=0.3)]
    assert np.mean(third) == pytest.approx(0.3, abs=0.12)


def test_bins_are_where_the_truth_is():
    """Each bin's interval holds what was promised, nearly always, where promises are kept."""
    held = [
        point.found.low <= point.said <= point.found.high
        for sample, _ in worlds(60, people=800) for point in calibration_of(sample).points
    ]  # fmt: skip
    assert len(held) == 300 and np.mean(held) >= 0.88


def test_what_is_undefined_is_nan_with_a_count():
    """No decisions; nothing never shown; one person; all expected alike."""
    none = calibration_of(Sample(*(np.empty(0) for _ in range(3)), np.empty(0, bool), np.empty(0, np.int64), 7))
    assert np.isnan(none.gained.value) and (none.n, none.undefined, none.points) == (0, 7, [])
    sample, _ = world(1)
    always = calibration_of(
        Sample(sample.expected, sample.net, sample.nothing, np.ones(len(sample), bool), sample.subject)
    )
    assert np.isnan(always.gained.value) and always.n == len(sample) and np.isnan(always.slope.value)
    lone = calibration_of(
        Sample(sample.expected, sample.net, sample.nothing, sample.shown, np.zeros(len(sample), np.int64))
    )
    assert np.isfinite(lone.gained.value) and np.isnan(lone.gained.low)
    same = calibration_of(world(2, alike=True)[0])
    assert np.isnan(same.slope.value) and same.slope.undefined == same.n and np.isfinite(same.gained.low)


# The same from a dataset, with a policy on disk.


def page(random: np.random.Generator, number: int, at: int, *, kept: float, floor: float) -> tuple[dict, dict | None]:
    """A decision of the policy `hero` and the click that it brought, if any.

    The policy expects of a desktop 0.3 and of a mobile 0.1 more clicks; it shows `popular` unless it explores.
    """
    device = "mobile" if random.random() < 0.5 else "desktop"
    shown = random.random() > floor
    effect = 0.1 if device == "mobile" else 0.3
    who = f"c{random.integers(300)}"
    decision = {
        "decision_id": f"d{number}", "request_id": f"r{number}", "at": format_instant(at), "customer_id": who,
        "action_id": "popular" if shown else None, "action_propensity": 1 - floor if shown else floor,
        "eligible": orjson.dumps([[None, floor], ["popular", 1 - floor]]).decode(), "policy": "hero",
        "features": orjson.dumps({"names": ["device", "hour", "orders_28d"], "rows": [[device, 12, 0]]}).decode(),
    }  # fmt: skip
    if random.random() >= 0.2 + (kept * effect if shown else 0):
        return decision, None
    click = {"type": "click", "at": format_instant(at + HOUR), "customer_id": who, "decision_id": f"d{number}"}
    return decision, click


def shop_of(folder: Path, make_dataset: Callable[..., Dataset], *, kept: float, floor: float = 0.3) -> Shop:
    """A shop whose policy promised more by a factor than it keeps; the outcomes of its pages are known by MONDAY."""
    shop = Shop("toy", folder)
    random = np.random.default_rng(3)
    pages = [
        page(random, number, MONDAY - 2 * DAY - number * 5 * DAY // 1500, kept=kept, floor=floor)
        for number in range(1500)
    ]
    make_dataset(shop.dataset, decisions=[each for each, _ in pages], events=[click for _, click in pages if click])
    trees = {"popular": stump(0, 0.5, 0.3, 0.1)}
    write_policy(shop.policies, policy("hero", {"popular": 0.0}, trees=trees, floor=floor))
    return shop


def look(shop: Shop) -> Found:
    ((_, found, _),) = watch(shop, Asked(MONDAY), after=DAY)
    return found


def one(found: Found, name: str) -> Measure:
    return next(each for each in found.measures if each.name == name)


GAIN, SLOPE = "gain/hero-on-page-home-hero", "slope/hero-on-page-home-hero"


def test_a_policy_that_keeps_its_promise(tmp_path: Path, make_dataset: Callable[..., Dataset]):
    """Expected: 0.7 x 0.2 clicks a decision more than nothing; that is what came."""
    found = look(shop_of(tmp_path, make_dataset, kept=1.0))
    gain, slope = one(found, GAIN), one(found, SLOPE)
    assert gain.reference == pytest.approx(0.7 * 0.2, abs=0.01) and gain.low <= 0.14 <= gain.high
    assert gain.verdict is Verdict.OK and slope.verdict is Verdict.OK and slope.low <= 1 <= slope.high
    assert gain.n > 1000
    curve = next(each for each in found.curves if each.measure == GAIN)
    assert [round(dot.said, 2) for dot in curve.dots] == [0.07, 0.21] and all(dot.low < dot.found for dot in curve.dots)
    assert one(found, "draws/page-home-hero").verdict is Verdict.OK


def test_a_policy_that_does_not(tmp_path: Path, make_dataset: Callable[..., Dataset]):
    """Nothing of the promise came true: act."""
    gain = one(look(shop_of(tmp_path, make_dataset, kept=-0.2)), GAIN)
    assert gain.verdict is Verdict.ACT and gain.high < 0.1 and "expected" in gain.found and "replay" in gain.remedy


def test_a_policy_that_never_shows_nothing(tmp_path: Path, make_dataset: Callable[..., Dataset]):
    """There is nothing to compare with; the decisions are counted."""
    gain = one(look(shop_of(tmp_path, make_dataset, kept=1.0, floor=0.0)), GAIN)
    assert gain.verdict is Verdict.UNKNOWN and np.isnan(gain.value) and gain.n == 0
    assert "could have shown nothing" in gain.reason and "left out" in gain.found


def test_a_decision_counts_in_one_window(tmp_path: Path, make_dataset: Callable[..., Dataset]):
    """In the week in which its outcome became known: of those from Friday on, after three days, in the next one."""
    shop = shop_of(tmp_path, make_dataset, kept=1.0)
    asked = Asked(MONDAY + 7 * DAY, since=MONDAY - 21 * DAY)
    counted = [
        each.n for _, found, _ in watch(shop, asked, after=3 * DAY) for each in found.measures if each.name == GAIN
    ]  # fmt: skip
    assert counted == [1199, 301]


def test_what_fell_back_was_not_drawn(tmp_path: Path, make_dataset: Callable[..., Dataset]):
    """Four hundred decisions that failed and showed nothing are neither draws nor gains."""
    shop = shop_of(tmp_path, make_dataset, kept=1.0)
    before = look(shop)
    random = np.random.default_rng(4)
    failed = [
        {
            **page(random, 9000 + n, MONDAY - 3 * DAY, kept=1.0, floor=0.3)[0],
            "action_id": None,
            "action_propensity": 0.3,
            "fallback": "error",
        }
        for n in range(400)
    ]
    make_dataset(shop.dataset, decisions=failed)
    after = look(shop)
    for name in ("draws/page-home-hero", GAIN):
        assert (one(after, name).n, one(after, name).value) == (one(before, name).n, one(before, name).value)


def test_a_policy_whose_file_is_damaged(tmp_path: Path, make_dataset: Callable[..., Dataset]):
    shop = shop_of(tmp_path, make_dataset, kept=1.0)
    (shop.policies / "hero" / "manifest.json").write_text('{"kind": "policy"')
    gain = one(look(shop), GAIN)
    assert gain.verdict is Verdict.UNKNOWN and "damaged" in gain.reason


# Draws.


def drawn(seed: int, n: int = 400, *, wrong: float = 0.0) -> Draws:
    """Draws by probabilities that differ from row to row; a share of them is replaced by the first action."""
    random = np.random.default_rng(seed)
    names = [None, "a", "b", "c", "d"]
    chance = 0.05 + 0.75 * random.dirichlet(np.ones(5), n)
    place = (chance.cumsum(axis=1) < random.random((n, 1))).sum(axis=1).clip(max=4)
    place[random.random(n) < wrong] = 0
    told = [list(zip(names, row, strict=True)) for row in chance.tolist()]
    return draws_of([(each, names[at]) for each, at in zip(told, place.tolist(), strict=True)])


def test_true_probabilities_are_rarely_called_wrong():
    """Of 300 logs at most the stated share, and three standard errors."""
    wrong = sum(measured("p s", drawn(seed)).p < 0.05 for seed in range(300))
    assert 2 <= wrong <= 300 * 0.05 + 3 * np.sqrt(300 * 0.05 * 0.95)


def test_answers_changed_after_the_draw():
    found = judged([measured("p s", drawn(1, 2000, wrong=0.1))])[0]
    assert found.verdict is Verdict.ACT and found.value == pytest.approx(0.08, abs=0.03)
    assert found.found.startswith("(nothing)")


def test_reliability_of_draws():
    """What was said lies in the intervals of what came; certain draws say nothing."""
    points = reliability(drawn(2, 3000))
    assert sum(point.found.low <= point.said <= point.found.high for point in points) >= len(points) - 1
    assert reliability(draws_of([([(None, 1.0)], None)] * 5)) == []


def test_draws_that_nobody_can_judge():
    """Unrecorded probabilities are no draws; certain ones leave nothing to chance."""
    assert draws_of([([(None, None), ("a", 0.5)], "a")]).n == 0
    unknown = measured("p s", draws_of([([(None, None), ("a", 0.5)], "a")]))
    assert unknown.reason == "no probability was recorded" and np.isnan(unknown.value)
    certain = draws_of([([(None, 0.0), ("a", 1.0)], "a")] * 50)
    assert pearson(certain).rank == 0 and measured("p s", certain).reason == "too few draws to tell"


def test_calibration_counts_people():
    found: Calibration = calibration_of(world(1)[0])
    assert found.people == 250
