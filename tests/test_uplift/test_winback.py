"""Whom to mail, in worlds where it is known whom a mail moves and who comes back anyway."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from tests.test_uplift.drawn import randomised
from training.intervals import Interval
from training.uplift.crossfit import CrossFit
from training.uplift.log import DecisionLog
from training.uplift.nuisance import Choice, Outcomes
from training.uplift.winback import (
    HAZARD,
    RANDOM,
    UPLIFT,
    WinBackOptions,
    _mail,
    foremost,
    headline,
    judged,
    sentences,
    thousand,
    win_back,
)

OPTIONS = WinBackOptions("visit", budget=0.3, threads=1)


def world(effect: str, n: int = 3_000) -> DecisionLog:
    """Who has x0 > 0 comes back anyway nearly half the time, the others hardly ever; the mail moves `effect`."""
    log = randomised(n, seed=5)
    loyal = log.features[:, 0] > 0
    moved = {"loyal": loyal, "gone": ~loyal, "all": np.ones(n, bool)}[effect]
    chance = np.where(loyal, 0.45, 0.05) + 0.3 * (moved & (log.action == 1))
    visit = (np.random.default_rng(7).random(n) < chance).astype(float)
    return replace(log, rewards={"visit": visit})


def test_where_the_gone_are_gone_uplift_is_better():
    """The mail moves only those who come anyway: hazard mails the others, and gets nothing."""
    found = win_back(world("loyal"), OPTIONS)
    assert headline(found).startswith("Mail by uplift")
    assert found.values[UPLIFT].value == pytest.approx(0.3, abs=0.08)
    assert found.values[HAZARD].value == pytest.approx(0.0, abs=0.05)
    assert found.values[RANDOM].value == pytest.approx(0.15, abs=0.04)
    assert found.gaps[UPLIFT, HAZARD].low > 0
    assert found.shared < 0.1
    told = " ".join(sentences(found))
    assert "By uplift they bring more than at random" in told
    assert "By hazard they bring less than at random" in told


@pytest.mark.parametrize("effect", ["gone", "all"])
def test_where_it_is_no_better_it_says_so(effect: str):
    """The mail moves the gone, or everybody alike: nothing is gained by knowing the effects."""
    found = win_back(world(effect), OPTIONS)
    assert headline(found).startswith("Uplift is not shown to be better here")
    assert found.gaps[UPLIFT, HAZARD].low <= 0 <= found.gaps[UPLIFT, HAZARD].high
    assert found.mailed == pytest.approx(900, abs=5)


def fitted(effect: np.ndarray, without: np.ndarray, gain: np.ndarray, fold: np.ndarray) -> CrossFit:
    """What would be known, with doubly robust scores of the gain as given."""
    n = len(gain)
    log = randomised(n, actions=(None, "mail"))
    out = np.column_stack([without, without])
    scores = np.column_stack([np.zeros(n), gain])
    outcomes = Outcomes(out, (), (), (), 0.0)
    return CrossFit("visit", log, np.ones(n, bool), fold.astype(np.int32), Choice(log.propensity, False, 0), outcomes,
                    scores, {"DR": effect[:, None]}, {}, {}, ())  # fmt: skip


def test_values_are_means_over_the_mailed():
    """400 customers, 100 mails each way, no customer in both; gains 3 of the one, 1 of the other, 0 of the rest."""
    place = np.arange(400)
    effect, without = (place < 100).astype(float), (place < 300).astype(float)
    gain = np.select([place < 100, place >= 300], [3.0, 1.0], 0.0)
    found = judged(fitted(effect, without, gain, place % 2), replace(OPTIONS, budget=0.25))
    assert {name: each.value for name, each in found.values.items()} == pytest.approx(
        {UPLIFT: 3.0, HAZARD: 1.0, RANDOM: 1.0}
    )
    assert found.gaps[UPLIFT, HAZARD].value == pytest.approx(2.0)
    assert (found.mailed, found.shared, found.action) == (100, 0.0, "mail")
    # paired: of the 200 who are in either, 3 and -1 over a share of .25
    each = np.select([place < 100, place >= 300], [3.0, -1.0], 0.0) / 0.25
    error = np.sqrt(each.var(ddof=1) / 400)
    assert found.gaps[UPLIFT, HAZARD].high - 2.0 == pytest.approx(1.96 * error, rel=1e-3)


def test_where_hazard_is_better_it_says_so():
    place = np.arange(400)
    found = judged(
        fitted((place < 100).astype(float), (place < 300).astype(float), (place >= 300) * 2.0, place % 2),
        replace(OPTIONS, budget=0.25),
    )  # fmt: skip
    assert headline(found).startswith("Mail by hazard")


def test_intervals_cluster_by_subject():
    """The same customers twice say no more than once."""
    place = np.arange(400)
    effect, without = np.sin(place), np.cos(place)
    gain = np.sin(3 * place) + 1
    once = judged(fitted(effect, without, gain, place % 2), OPTIONS)
    twice = fitted(*(np.tile(each, 2) for each in (effect, without, gain, place % 2)))
    twice = replace(twice, log=replace(twice.log, subject=np.tile(place, 2)))
    again = judged(twice, OPTIONS)
    width = once.values[RANDOM].high - once.values[RANDOM].low
    assert again.values[RANDOM].high - again.values[RANDOM].low == pytest.approx(width)


@given(st.integers(1, 60), st.integers(1, 5), st.floats(0.05, 0.95), st.integers(0, 100))
def test_the_foremost_of_each_fold(n: int, folds: int, share: float, seed: int):
    """As many as the share says, none outside better than one inside, however many are alike."""
    random = np.random.default_rng(seed)
    score, fold = random.integers(0, 4, n).astype(float), random.integers(0, folds, n).astype(np.int32)
    chosen = foremost(score, fold, share, seed=seed)
    for number in range(folds):
        here = fold == number
        assert chosen[here].sum() == int(share * here.sum() + 1e-9)
        if (here & chosen).any() and (here & ~chosen).any():
            assert score[here & chosen].min() >= score[here & ~chosen].max()


def test_only_the_lapsed_are_asked_about():
    log = randomised(1_000, seed=5)
    some = win_back(log, replace(OPTIONS, lapsed={"x1": 0.0}))
    assert some.customers == int((log.features[:, 1] >= 0).sum())


@pytest.mark.parametrize(
    ("change", "error", "where"),
    [
        ({"budget": 1.0}, ConfigError, "--budget"), ({"budget": 0.0}, ConfigError, "--budget"),
        ({"action": "fax"}, ConfigError, "--action"), ({"learner": "Q"}, ConfigError, "--learner"),
        ({"lapsed": {"age": 3.0}}, ConfigError, "--lapsed"), ({"lapsed": {"x0": 9.0}}, DataError, "--lapsed"),
        ({"outcome": "smile"}, DataError, "smile"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(change: dict[str, Any], error: type[Exception], where: str):
    with pytest.raises(error, match=where):
        win_back(randomised(500), replace(OPTIONS, **change))


def test_too_few_who_could_get_the_mail():
    place = np.arange(300)
    gain = np.where(place < 150, np.nan, 1.0)
    with pytest.raises(DataError, match="too few customers could have got the mail"):
        judged(fitted(np.sin(place), np.cos(place), gain, place % 2), OPTIONS)


def test_what_nobody_drew_is_a_hint():
    place = np.arange(400)
    fit = fitted(np.sin(place), np.cos(place), np.ones(400), place % 2)
    fit = replace(fit, log=replace(fit.log, observational=True))
    assert "Nobody drew at random" in " ".join(sentences(judged(fit, OPTIONS)))


def test_a_figure_that_is_not_there_is_not_zero():
    assert thousand(Interval(float("nan"), float("nan"), float("nan"), 0, 3)) == "not defined"


def test_a_mail_that_nobody_got_is_not_the_best():
    """Its effect is not known: no warning, no crash; where none is known that is a sentence."""
    gains = np.array([[np.nan, -1.0], [np.nan, -2.0]])
    fit = SimpleNamespace(
        log=SimpleNamespace(actions=(None, "new", "old")), rows=np.ones(2, bool), contrasts=gains
    )  # fmt: skip
    assert _mail(fit, WinBackOptions("visit")) == (1, "old")
    fit.contrasts = np.full((2, 2), np.nan)
    with pytest.raises(DataError, match="no mail has an effect"):
        _mail(fit, WinBackOptions("visit"))
