"""Cold actions: drawn towards their kind by the conditional normal distribution, derived a second time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.slots.kinds import shrunk_to_kinds

NAN = np.nan


@given(st.integers(0, 10_000), st.integers(3, 9))
def test_the_posterior_is_that_of_the_joint_normal_distribution(seed, n) -> None:
    """Second derivation: effects, kinds and mu as one normal vector with a flat mu, conditioned on measurements."""
    random = np.random.default_rng(seed)
    kinds = [str(kind) for kind in random.integers(0, 3, n)]
    mean, error = random.normal(0.1, 0.05, n), random.uniform(0.01, 0.1, n)
    mean[random.random(n) < 0.3] = NAN
    if not np.isfinite(mean).any():
        mean[0] = 0.1
    found = shrunk_to_kinds(mean, error, kinds)
    # Coordinates: mu, one a kind, one an action; effect = mu + kind + action. mu's prior is flat for all purposes.
    names = sorted(set(kinds))
    design = np.column_stack([np.ones(n), [[kind == name for name in names] for kind in kinds], np.eye(n)]).astype(
        float
    )
    prior = np.diag([0.0, *[1 / max(found.between, 1e-9) ** 2] * len(names), *[1 / max(found.within, 1e-9) ** 2] * n])
    known = np.isfinite(mean)
    precision = prior + design[known].T @ (design[known] / error[known, None] ** 2)
    covariance = design @ np.linalg.inv(precision) @ design.T
    expected = covariance[:, known] @ (mean[known] / error[known] ** 2)
    np.testing.assert_allclose(found.mean, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.error, np.sqrt(np.diag(covariance)), rtol=1e-2, atol=1e-5)


def test_few_decisions_lean_on_the_kind_and_many_do_not() -> None:
    """Ten guides do about .1, one of them measured badly at .5, another well at .2."""
    mean = np.array([*np.linspace(0.09, 0.11, 8), 0.5, 0.2])
    error = np.array([*[0.005] * 8, 0.3, 0.001])
    found = shrunk_to_kinds(mean, error, ["guide"] * 10)
    assert abs(found.mean[8] - found.average) < 0.02, "hardly its own"
    assert found.mean[9] == pytest.approx(0.2, abs=0.001)
    assert found.error[8] < 0.1


def test_one_that_was_never_seen_is_its_kind_with_the_spread_of_the_kind() -> None:
    """Tips do .3 and videos .1, each within .02: a new video is about .1, a thing of a new kind about .2."""
    random = np.random.default_rng(0)
    mean = np.concatenate([0.3 + 0.02 * random.normal(size=12), 0.1 + 0.02 * random.normal(size=12), [NAN, NAN]])
    found = shrunk_to_kinds(mean, np.full(26, 1e-4), ["tip"] * 12 + ["video"] * 12 + ["video", "poem"])
    assert found.mean[24] == pytest.approx(mean[12:24].mean(), abs=0.005)
    assert found.error[24] == pytest.approx(mean[12:24].std(), rel=0.5)
    assert found.mean[25] == pytest.approx(0.2, abs=0.03)
    assert found.error[25] > 0.1, "nobody knows what a poem does"
    assert found.within == pytest.approx(0.02, rel=0.3)


def test_where_little_was_measured_a_new_action_is_still_open() -> None:
    one = shrunk_to_kinds(np.array([0.2, NAN]), np.array([0.01, NAN]), ["tip", "tip"])
    assert one.mean[1] == pytest.approx(0.2)
    assert one.error[1] >= 0.2, "as far from it as it is from nothing"
    alike = shrunk_to_kinds(np.array([0.2, 0.2, NAN]), np.array([0.02, 0.02, NAN]), ["tip", "tip", "tip"])
    assert alike.error[2] > 0.02, "two that agree do not prove that all do"
    apart = shrunk_to_kinds(np.array([0.2, 0.4, NAN]), np.array([0.01, 0.01, NAN]), ["tip", "video", "tip"])
    assert apart.between == 0
    assert apart.error[2] > 0.1, "one of a kind says little of the kind"


def test_nothing_measured_says_nothing() -> None:
    found = shrunk_to_kinds(np.array([NAN, NAN]), np.array([NAN, NAN]), ["a", "b"])
    assert np.isnan(found.mean).all()
    assert np.isnan(found.error).all()
