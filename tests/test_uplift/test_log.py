"""The table of logged decisions: some of its rows, and some of its actions."""

from __future__ import annotations

import numpy as np
import pytest

from features.errors import DataError
from training.uplift.log import DecisionLog


def log(n: int = 12, seed: int = 0) -> DecisionLog:
    """Three actions with known probabilities, one slot, one feature."""
    random = np.random.default_rng(seed)
    chance = random.dirichlet((2.0, 2.0, 2.0), n)
    return DecisionLog(
        subject=np.arange(n) // 2, request=np.arange(n), decided_at=np.arange(n) * 1_000_000,
        slot=np.zeros(n, np.int32), position=np.zeros(n, np.int32),
        action=np.array([random.choice(3, p=row) for row in chance], np.int32), propensity=chance,
        features=random.normal(size=(n, 1)).astype(np.float32), rewards={"visit": random.random(n)},
        usable=np.ones(n, bool), holdout=np.zeros(n, bool), slots=("email",), actions=(None, "mens", "womens"),
        names=("recency",), categorical=(False,),
    )  # fmt: skip


def test_the_propensity_of_what_was_taken():
    """One number a row, from the column of the action."""
    found = log()
    assert found.taken.tolist() == [found.propensity[row, place] for row, place in enumerate(found.action)]
    assert found.eligible.all()


def test_some_rows_keep_everything_side_by_side():
    """By mask and by place alike."""
    found = log()
    mask = found.action == 1
    for some in (found.take(mask), found.take(np.flatnonzero(mask))):
        assert len(some) == mask.sum()
        assert (some.action == 1).all()
        assert some.reward("visit").tolist() == found.reward("visit")[mask].tolist()
        assert some.features.tolist() == found.features[mask].tolist()


def test_two_of_three_actions_are_as_if_there_were_no_third():
    """Probabilities are conditional, and the order is the one that was asked for."""
    found = log()
    two = found.only(None, "womens")
    kept = found.take(found.action != 1)
    assert two.actions == (None, "womens")
    assert two.action.tolist() == [0 if action == 0 else 1 for action in kept.action]
    np.testing.assert_allclose(two.propensity.sum(axis=1), 1)
    np.testing.assert_allclose(
        two.propensity[:, 0] / two.propensity[:, 1], kept.propensity[:, 0] / kept.propensity[:, 2]
    )


def test_what_is_not_there_is_named():
    """With what there is."""
    with pytest.raises(DataError, match="visit"):
        log().reward("vist")
    with pytest.raises(DataError, match="mens"):
        log().only(None, "men")
