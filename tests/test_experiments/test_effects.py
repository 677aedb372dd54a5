"""Effects that hold at every look, checks that stop a verdict, groups that are corrected for their number."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.experiments.cohort import LINKED, SEVERAL, Entrants
from training.experiments.collected import Collected
from training.experiments.effects import Level, compare, guarded, holm, judge, skewed
from training.experiments.looks import adjusted, difference, rates
from training.experiments.sound import SMALL, alike, one_arm_each, sample_ratio
from training.experiments.traits import Traits

ONCE = Level(0.95, 1.0)


def entrants(arm: np.ndarray, shares: tuple[float, ...] | None = None, **left_out: int) -> Entrants:
    names = ("control", "a", "b")[: max(2, int(arm.max(initial=1)) + 1)]
    told = None if shares is None else np.array(shares)
    return Entrants(names, arm.astype(np.int32), np.zeros(len(arm), np.int64), told, left_out, False, 0)


def traits(*columns: np.ndarray, n: int = 0, **slices: np.ndarray) -> Traits:
    table = np.column_stack(columns) if columns else np.zeros((n, 0))
    made = {name: (codes.astype(np.int32), ("x", "y", "z")) for name, codes in slices.items()}
    return Traits(made, table, tuple(f"c{place}" for place in range(len(columns))))


def collected(**outcomes: np.ndarray) -> Collected:
    return Collected(dict(outcomes), {}, {}, ())


def test_all_arms_and_all_looks_together_miss_seldom() -> None:
    """Two arms without an effect, eight weekly looks, few buyers who carry the money, weeks that hang together."""
    random, runs, wrong = np.random.default_rng(11), 100, 0
    for _ in range(runs):
        arm = random.integers(0, 3, 600)
        taste = random.gamma(0.5, 2.0, 600)
        weeks = (random.poisson(taste[:, None], (600, 9)) * random.lognormal(0, 0.7, (600, 9))).cumsum(axis=1)
        people, known = entrants(arm), traits(weeks[:, 0])
        money = weeks[:, 1:] - weeks[:, :1]
        shown = [judge(people, collected(money=money[:, look - 1]), known, look, {}) for look in range(1, 9)]
        wrong += any(effect.ruling != "open" for found in shown for effect in found.effects)
    assert wrong <= 11, "5 in the mean at most; more than 11 has probability .004"


def test_an_effect_is_found_with_its_relative_change() -> None:
    """Half of 10 more in one arm, nothing in the other; the arms stand in the order of their names."""
    random = np.random.default_rng(1)
    arm = random.integers(0, 3, 9000)
    before = random.normal(0, 3, 9000)
    y = 10 + before + random.normal(0, 2, 9000) + 5 * (arm == 1)
    found = judge(entrants(arm, (1 / 3, 1 / 3, 1 / 3)), collected(y=y), traits(before), 1, {})
    one, two = found.effects
    assert (one.ruling, two.ruling) == ("raises", "open")
    assert one.found.saved == pytest.approx(9 / 13, abs=0.02)
    assert one.relative.low < 0.5 < one.relative.high and one.relative.high - one.relative.low < 0.05
    assert one.p < 1e-6 and two.p > 0.05
    assert found.confidence == pytest.approx(1 - 0.05 / 2 / 2), "two arms, the first of all looks"


def test_the_interval_of_the_relative_change_covers() -> None:
    """600 experiments with +20 %, with a past that foretells half: 95 % of the intervals hold it."""
    random, hold = np.random.default_rng(2), 0
    for _ in range(600):
        arm = (random.random(400) < 0.5).astype(int)
        before = random.gamma(2.0, 1.0, 400)
        y = before + random.gamma(2.0, 1.0, 400) + 0.8 * arm
        found = compare(entrants(arm), traits(before), 1, "y", y, ONCE)
        hold += found.relative.low <= 0.2 <= found.relative.high
    assert 0.925 <= hold / 600 <= 0.975


def test_what_foretells_leaves_the_difference_unbiased() -> None:
    """The mean over 400 draws of the arms is the true effect of each subject's own, with several columns."""
    random = np.random.default_rng(3)
    columns = random.gamma(1.0, 1.0, (300, 3))
    base = columns @ [1.0, -2.0, 0.5] + random.normal(0, 0.5, 300)
    effect = columns[:, 0] * 0.4
    found = []
    for _ in range(400):
        treated = random.random(300) < 0.3
        found.append(difference(base + effect * treated, treated, columns).found.value)
    error = np.std(found) / 20
    assert np.mean(found) == pytest.approx(effect.mean(), abs=3.5 * error)
    assert np.std(found) < 0.3 * np.std([difference(base, random.random(300) < 0.3).found.value for _ in range(200)])


@given(st.integers(3, 30), st.integers(1, 4), st.integers(0, 1000))
def test_several_columns_are_a_regression_within_groups(n: int, p: int, seed: int) -> None:
    """Slopes equal those of least squares with one intercept a group; a column twice or without spread adds nothing."""
    random = np.random.default_rng(seed)
    treated = np.arange(4 * n) % 4 == 0
    x, y = random.normal(size=(4 * n, p)), random.normal(size=4 * n)
    design = np.column_stack([treated, ~treated, x]).astype(float)
    slopes = np.linalg.lstsq(design, y, rcond=None)[0][2:]
    expected = y - (x - x.mean(axis=0)) @ slopes
    for table in (x, np.column_stack([x, x[:, 0], np.full(4 * n, 7.0)])):
        values, saved = adjusted(y, treated, table)
        np.testing.assert_allclose(values, expected, atol=1e-7)
        assert 0 <= saved <= 1


def test_an_unknown_past_counts_as_the_mean() -> None:
    x = np.array([1.0, np.nan, 3.0, 2.0, 0.0, 5.0])
    y, treated = np.arange(6.0) ** 2, np.array([True, False] * 3)
    filled = np.where(np.isnan(x), np.nanmean(x), x)
    assert adjusted(y, treated, x)[0].tolist() == pytest.approx(adjusted(y, treated, filled)[0].tolist())
    assert adjusted(y, treated, np.full(6, np.nan)) == (pytest.approx(y), 0.0)


def test_few_subjects_are_no_news() -> None:
    """NaN with the counts below SMALL subjects; Welch's t is wider than the normal for just enough."""
    random = np.random.default_rng(4)
    arm = np.r_[np.zeros(SMALL - 1), np.ones(500)].astype(int)
    found = compare(entrants(arm), traits(n=len(arm)), 1, "y", random.normal(size=len(arm)), ONCE)
    assert found.ruling == "unknown" and np.isnan(found.p) and np.isnan(found.relative.value)
    assert (found.found.treated, found.found.held) == (500, SMALL - 1)
    few = difference(random.normal(size=10), np.arange(10) < 5, confidence=0.9999)
    assert (few.found.high - few.found.low) / 2 > 1.5 * 3.89 * few.error
    missing = np.where(np.arange(len(arm)) < 5, np.nan, 1.0)
    assert compare(entrants(arm), traits(n=len(arm)), 1, "y", missing, ONCE).undefined == 5


def test_nothing_of_a_few_is_not_nothing() -> None:
    """0 of 59 beside 40 of 2,500: no alarm, since 1.6 % of 59 is one. Few buyers say nothing of money."""
    arm = np.repeat([0, 1], (59, 2500))
    rare = np.r_[np.zeros(59), np.ones(40), np.zeros(2460)]
    found = compare(entrants(arm), traits(n=len(arm)), 1, "unsubscribe", rare, ONCE)
    assert found.found.found.value == pytest.approx(0.016) and found.ruling == "open" and found.p > 0.05
    many = np.r_[np.zeros(59), np.ones(700), np.zeros(1800)]
    found = compare(entrants(arm), traits(n=len(arm)), 1, "unsubscribe", many, ONCE)
    assert found.ruling == "raises" and found.p < 0.001
    assert compare(entrants(arm), traits(n=len(arm)), 1, "margin", 30 * many, ONCE).ruling == "unknown"


def test_intervals_of_rare_events_hold_and_agree_with_their_p() -> None:
    """3,000 draws of rare events in a small and a large group; the p-value is below .05 where zero is outside."""
    random = np.random.default_rng(12)
    treated = np.repeat([False, True], (80, 1500))
    for one, other in ((0.01, 0.01), (0.03, 0.01), (0.0, 0.02)):
        hold = 0
        for _ in range(1000):
            y = (random.random(1580) < np.where(treated, one, other)).astype(float)
            found = rates(y, treated)
            hold += found.found.low <= one - other <= found.found.high
            assert (found.p < 0.05) == (found.found.low > 0 or found.found.high < 0)
        assert hold / 1000 >= 0.935


@pytest.mark.parametrize(
    ("counts", "shares", "look", "verdict"),
    [
        ((500, 500), (0.5, 0.5), 1, "passed"), ((600, 400), (0.5, 0.5), 1, "failed"),
        ((100, 900), (0.1, 0.9), 1, "passed"), ((60, 900), (0.1, 0.9), 1, "failed"),
        ((548, 452), (0.5, 0.5), 1, "warned"), ((548, 452), (0.5, 0.5), 9, "passed"),
        ((3, 90), (0.02, 0.98), 1, "warned"), ((500, 500), None, 1, "warned"), ((0, 0), (0.5, 0.5), 1, "warned"),
    ],
)  # fmt: skip
def test_sample_ratio(counts: tuple[int, int], shares: Any, look: int, verdict: str) -> None:
    """p = .0024 at the first look is worth a look, at the ninth it is what many looks bring."""
    check = sample_ratio(entrants(np.repeat([0, 1], counts), shares), look)
    assert check.verdict == verdict
    assert f"{counts[0]:,}" in check.sentence


def test_no_effect_is_told_where_a_check_failed() -> None:
    arm = np.repeat([0, 1], (600, 400))
    found = judge(entrants(arm, (0.5, 0.5)), collected(y=np.arange(1000.0)), traits(n=1000), 1, {})
    assert [check.name for check in found.failed] == ["sample-ratio"]
    assert not found.effects and not found.slices and not found.guards


def test_groups_that_were_never_alike() -> None:
    """A difference of half a standard deviation before entering fails; many looks and many columns are allowed for."""
    random = np.random.default_rng(5)
    arm = random.integers(0, 2, 2000)
    same, other = random.normal(size=2000), random.normal(size=2000) + 0.5 * arm
    assert alike(entrants(arm), traits(same), 1).verdict == "passed"
    assert alike(entrants(arm), traits(same, other), 3).verdict == "failed"
    assert alike(entrants(arm), traits(n=2000), 1).verdict == "warned"
    false = sum(
        alike(entrants(random.permutation(arm)), traits(*random.normal(size=(10, 2000))), 1).verdict != "passed"
        for _ in range(60)
    )
    assert false <= 4, "1 % of them in the mean"


def test_a_small_holdout_that_lacks_what_is_rare_is_no_broken_assignment() -> None:
    """100 of 5,000 held out, rare values and a few who spent much: a right draw fails one time in a thousand."""
    random, failed = np.random.default_rng(8), 0
    arm = np.repeat([0, 1], (100, 4900))
    for _ in range(100):
        rare = [(random.random(5000) < share).astype(float) for share in (0.005, 0.01, 0.02)]
        spent = random.lognormal(0, 1.5, 5000) * (random.random(5000) < 0.1)
        failed += alike(entrants(arm), traits(*rare, spent), 1).verdict == "failed"
    assert failed <= 1, "two have probability .005"


def test_groups_that_differ_in_a_rare_value_or_in_how_much_were_spent() -> None:
    random = np.random.default_rng(9)
    arm = np.repeat([0, 1], (200, 4800))
    rare = (random.random(5000) < np.where(arm == 0, 0.1, 0.01)).astype(float)
    spent = random.lognormal(0.8 * (arm == 0), 1.0, 5000)
    assert alike(entrants(arm), traits(rare), 1).verdict == "failed"
    assert alike(entrants(arm), traits(spent), 1).verdict == "failed"
    assert alike(entrants(arm), traits(np.full(5000, 3.0)), 1).verdict == "warned", "nothing differs, so no test"


def test_changing_arms_is_told() -> None:
    arm = np.zeros(98, int)
    assert [check.verdict for check in one_arm_each(entrants(arm, **{SEVERAL: 2}))] == ["failed", "passed"]
    assert [check.verdict for check in one_arm_each(entrants(arm, **{LINKED: 20}))] == ["passed", "warned"]
    assert [check.verdict for check in one_arm_each(entrants(arm))] == ["passed", "passed"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_closed_testing_by_bonferroni(p: list[float]) -> None:
    """Adjusted p of one: the largest Bonferroni p of any set that holds it (Marcus, Peritz & Gabriel 1976)."""
    places = range(len(p))
    sets = [each for size in range(1, len(p) + 1) for each in combinations(places, size)]
    expected = [max(min(1.0, len(s) * min(p[at] for at in s)) for s in sets if place in s) for place in places]
    assert holm(p) == pytest.approx(expected)


def test_slices_are_corrected_for_their_number() -> None:
    """An effect in one group only; a group too small for both arms is counted, not shown."""
    random = np.random.default_rng(6)
    arm, group = random.integers(0, 2, 3000), random.integers(0, 2, 3000)
    group[:20] = 2
    y = random.normal(size=3000) + 0.5 * arm * (group == 1)
    found = judge(entrants(arm, (0.5, 0.5)), collected(y=y), traits(n=3000, tier=group), 2, {})
    assert found.small == 1 and [each.level for each in found.slices] == ["x", "y"]
    still, moved = found.slices
    assert moved.adjusted == pytest.approx(2 * moved.effect.p) and moved.adjusted < 0.001 < still.adjusted
    times = 2 * 3  # of the second look
    assert still.effect.p == pytest.approx(min(1.0, times * still.effect.found.p))


def test_guards() -> None:
    """Broken only beyond doubt, kept only beyond doubt."""
    random = np.random.default_rng(7)
    arm = random.integers(0, 2, 20_000)
    people, none = entrants(arm), traits(n=20_000)
    bad = (random.random(20_000) < 0.02 + 0.02 * arm).astype(float)
    effect = compare(people, none, 1, "unsubscribe", bad, ONCE)
    states = {limit: guarded([effect], {"unsubscribe": limit})[0].state for limit in (0.0, 0.02, 0.05)}
    assert states == {0.0: "broken", 0.02: "open", 0.05: "kept"}
    assert not guarded([effect], {})[0].asked and guarded([effect], {})[0].state == "broken"
    assert not guarded([compare(people, none, 1, "orders", bad, ONCE)], {})


def test_skewness_asks_for_many_subjects() -> None:
    """One buyer in a thousand: 355 x (999^.5)^2, nearly (Kohavi et al. 2014)."""
    rare = np.zeros(100_000)
    rare[::1000] = 2
    assert skewed(rare) == pytest.approx(355 * (1 - 2 * 0.001) ** 2 / (0.001 * 0.999), rel=1e-6)
    assert skewed(rare / 2) == 0, "events have intervals of their own"
    assert skewed(np.ones(5)) == skewed(np.array([1.0])) == 0
