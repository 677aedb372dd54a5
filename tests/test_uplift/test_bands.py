"""The band of the Qini curve: heights are the curve's own, intervals follow from weighing single rows differently."""

from __future__ import annotations

import numpy as np
import pytest

from features.errors import ConfigError
from tests.test_uplift.worlds import trial
from training.uplift.bands import qini_at
from training.uplift.curves import Trial, curve


def world(seed: int, n: int = 60) -> tuple[np.ndarray, Trial]:
    """Distinct scores, unequal probabilities, several rows a subject."""
    random = np.random.default_rng(seed)
    treated = random.random(n) < 0.5
    chance = np.where(random.random((n, 1)) < 0.5, [[0.4, 0.6]], [[0.7, 0.3]])
    subject = random.integers(0, n // 2, n)
    return random.permutation(n).astype(float), trial(treated, random.normal(size=n) + treated, chance, subject)


@pytest.mark.parametrize("seed", range(3))
def test_heights_are_those_of_the_curve(seed: int) -> None:
    """At borders between rows, which is where a curve of distinct scores has its points."""
    score, some = world(seed)
    whole = curve(score, some)
    places = [20, 35, len(whole.share) - 1]
    found = qini_at(score, some, [float(whole.share[place]) for place in places])
    np.testing.assert_allclose([each.value for each in found], whole.value[places], atol=1e-9)


def test_influence_is_the_derivative_by_the_weight_of_a_row() -> None:
    """Against finite differences: a row of a slightly greater weight, all others and the border as they were."""
    score, some = world(5)
    found = qini_at(score, some, [0.5])[0]
    inside = score >= np.sort(score)[len(score) // 2]

    def height(weight: np.ndarray) -> float:
        sides = [weight * side * inside for side in (some.treated, ~some.treated)]
        means = [side @ some.reward / side.sum() for side in sides]
        return float((means[0] - means[1]) * sides[0].sum() / (weight * some.treated).sum())

    # one head a row, so that the border is that of half of them
    even = Trial(some.treated, some.reward, np.full((len(some), 2), 0.5), some.subject, some.places)
    found = qini_at(score, even, [0.5])[0]
    step = 1e-6
    for row in range(len(some)):
        weight = even.weight.copy()
        weight[row] *= 1 + step
        assert found.influence[row] == pytest.approx((height(weight) - height(even.weight)) / step, abs=1e-6)
    assert found.influence.sum() == pytest.approx(0, abs=1e-12)


def test_unknown_scores_are_left_out_and_what_cannot_be_said_is_nan() -> None:
    """Only treated rows at the top: no height there."""
    some = trial([True, True, False, False], [1, 0, 1, 0])
    found = qini_at(np.array([4.0, 3.0, 2.0, np.nan]), some, [1 / 3, 1.0])
    assert np.isnan(found[0].value)
    assert found[1].value == pytest.approx(0.5 - 1.0)
    assert (found[1].n, found[1].undefined) == (3, 1)
    with pytest.raises(ConfigError, match="share"):
        qini_at(np.arange(4.0), some, [0.0])


def test_the_last_band_is_that_of_the_average_effect() -> None:
    """Everybody is reached: the difference of means with its usual error, which covers the truth."""
    inside = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        treated = random.random(400) < 0.5
        last = qini_at(random.random(400), trial(treated, random.normal(size=400) + 0.3 * treated), [1.0])[0]
        inside += last.low <= 0.3 <= last.high
    assert 0.90 * 200 <= inside <= 0.99 * 200
