"""Intervals by drawing the holdout again, against all draws there are, and where standard errors fail."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from training.experiments import redrawn
from training.experiments.looks import difference
from training.experiments.redrawn import Redrawn


def groups(treated: int, held: int) -> np.ndarray:
    return np.arange(treated + held) < treated


def test_an_effect_that_all_have_has_no_width():
    """Nothing but the effect differs, so no draw moves anything."""
    treated = groups(60, 7)
    found = Redrawn(treated).difference(np.where(treated, 12.5, 10.0))
    assert (found.treated, found.held) == (60, 7)
    assert found.found.value == pytest.approx(2.5)
    assert found.found.low == pytest.approx(2.5)
    assert found.found.high == pytest.approx(2.5)


def test_the_draws_are_those_that_there_are():
    """Second derivation: the ends are those of all 120 ways to hold three of ten out."""
    treated, values = groups(7, 3), np.array([0, 0, 0, 9, 1, 2, 0, 0, 4, 1.0])
    left = values.copy()
    for mine in (treated, ~treated):
        size = mine.sum()
        left[mine] = (values[mine] - values[mine].mean()) * np.sqrt(size / (size - 1))
    every = [
        left[[at for at in range(10) if at not in out]].mean() - left[list(out)].mean()
        for out in combinations(range(10), 3)
    ]
    found = Redrawn(treated).difference(values).found
    gap = values[treated].mean() - values[~treated].mean()
    least, low, high, most = np.percentile(every, [1.3, 4, 96, 98.7])  # 2,000 draws of 120 are near 2.5 and 97.5
    assert found.value == pytest.approx(gap)
    assert gap - most <= found.low <= gap - high
    assert gap - low <= found.high <= gap - least


def test_where_nothing_is_skewed_it_is_the_usual_interval():
    random = np.random.default_rng(1)
    treated = groups(4000, 400)
    past = random.normal(size=4400)
    values = past + random.normal(size=4400) + 0.2 * treated
    mine, usual = Redrawn(treated).difference(values, past), difference(values, treated, past)
    assert mine.saved == pytest.approx(usual.saved)
    assert mine.found.value == pytest.approx(usual.found.value)
    assert mine.found.high - mine.found.low == pytest.approx(usual.found.high - usual.found.low, rel=0.08)


def test_the_smaller_group_may_be_either():
    random = np.random.default_rng(2)
    treated = groups(300, 30)
    values = random.exponential(size=330)
    one, other = Redrawn(treated).difference(values).found, Redrawn(~treated).difference(values).found
    assert one.value == pytest.approx(-other.value)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_it_holds_where_a_few_bring_most_of_the_money(monkeypatch: pytest.MonkeyPatch):
    """Personalisation does nothing. Of 100 intervals 5 should miss; with standard errors some 30 do."""
    monkeypatch.setattr(redrawn, "DRAWS", 200)
    monkeypatch.setattr(redrawn, "FEWEST", 200)
    random = np.random.default_rng(3)
    values = np.where(random.random(3000) < 0.05, np.exp(random.normal(2, 1.2, 3000)), 0.0)
    missed = {"redrawn": 0, "errors": 0}
    for seed in range(200):
        treated = np.ones(3000, bool)
        treated[random.choice(3000, 60, replace=False)] = False
        for name, found in {
            "redrawn": Redrawn(treated, seed=seed).difference(values), "errors": difference(values, treated),
        }.items():  # fmt: skip
            missed[name] += not found.found.low <= 0 <= found.found.high
    assert missed["redrawn"] / 200 < 0.1
    assert missed["errors"] / 200 > 0.2


@pytest.mark.parametrize("treated", [groups(5, 0), groups(0, 5), groups(5, 1), groups(0, 0)])
def test_too_few_have_no_interval(treated: np.ndarray):
    found = Redrawn(treated).difference(np.ones(len(treated)))
    assert np.isnan(found.found.value)
    assert found.found.n == len(treated)


def test_the_same_data_give_the_same_interval():
    values = np.random.default_rng(4).exponential(size=200)
    assert Redrawn(groups(180, 20)).difference(values) == Redrawn(groups(180, 20)).difference(values)
