"""Checks: each passes on an experiment that is one, and fails on the fault that it is there to find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from features.errors import ConfigError, DataError
from features.moments import DAY
from tests.test_uplift.drawn import START, randomised
from training.uplift.balance import Balance, balance, love
from training.uplift.checks import insist, refuse_unless, run_checks
from training.uplift.contrasts import area, contrasts_of
from training.uplift.draws import chi_square, duplicates, effective_size, mean_weight, positivity, sample_ratio
from training.uplift.leaks import permuted_qini, placebo
from training.uplift.log import DecisionLog
from training.uplift.verdict import Check


def verdicts(checks: list[Check]) -> dict[str, str]:
    """Name -> verdict."""
    return {check.name: check.verdict for check in checks}


def changed(log: DecisionLog, **fields: Any) -> DecisionLog:
    """The log with other fields."""
    from dataclasses import replace

    return replace(log, **fields)


def qini(score: Any, treated: Any, outcome: Any) -> float:
    """Mean over heads of the gain that ranking adds to treating at random."""
    order = np.argsort(-score, kind="stable")
    t, y = treated[order].astype(float), outcome[order]
    effect = y * t / t.mean() - y * (1 - t) / (1 - t).mean()
    return float((np.cumsum(effect) - np.arange(1, len(y) + 1) / len(y) * effect.sum()).mean() / len(y))


def biased(score: Any, treated: Any, outcome: Any) -> float:
    """A measure that pays for ranking by the outcome."""
    return qini(score, treated, outcome) + 0.01 * float(np.corrcoef(score, outcome)[0, 1])


def test_an_experiment_passes() -> None:
    """All of it; what cannot be tested says so and does not fail."""
    log = randomised(
        rewards={"visit": randomised().reward("visit"), "before:visit": randomised(seed=9).reward("visit")}
    )
    checks = run_checks(log, qini=qini)
    assert set(verdicts(checks).values()) == {"passed"}, checks
    assert [check.name for check in checks] == [
        "sample-ratio", "sample-ratio-by-day", "mean-weight", "duplicates", "positivity", "effective-sample-size",
        "arm-classifier", "balance", "leaks", "placebo-outcome", "permuted-qini",
    ]  # fmt: skip
    assert all(check.remedy == "" for check in checks)
    refuse_unless(checks)
    assert [check.figure for check in run_checks(log, qini=qini)] == [check.figure for check in checks]


def test_counts_that_are_not_as_drawn() -> None:
    """A tenth of the control lost; on one day only; overall but not on any day."""
    log = randomised(9_000)
    lost = (log.action == 0) & (np.arange(len(log)) % 8 == 0)
    assert verdicts(list(sample_ratio(log.take(~lost))))["sample-ratio"] == "failed"
    assert mean_weight(log.take(~lost)).verdict == "failed"
    first = lost & (log.decided_at == START)
    found = verdicts(list(sample_ratio(log.take(~(first | ((log.action == 0) & (log.decided_at == START)))))))
    assert found["sample-ratio-by-day"] == "failed"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(10, 60), min_size=2, max_size=4))
def test_equal_probabilities_give_pearsons_chi_square(counts: list[int]) -> None:
    """The quadratic form is scipy's where all rows have the same probabilities."""
    k, n = len(counts), sum(counts)
    log = randomised(
        n, action=np.repeat(np.arange(k), counts).astype(np.int32), propensity=np.full((n, k), 1 / k),
        actions=(None, *"abc"[: k - 1]),
    )  # fmt: skip
    assert chi_square(log)[0] == pytest.approx(float(stats.chisquare(counts).pvalue), abs=1e-9)


def test_p_values_are_uniform_where_probabilities_differ_by_row() -> None:
    """Also with an action that is not eligible everywhere: one row in ten has p below .1."""
    random = np.random.default_rng(0)
    found = []
    for seed in range(400):
        chance = random.dirichlet((2.0, 2.0, 2.0), 200)
        chance[:50, 2] = 0
        chance /= chance.sum(axis=1, keepdims=True)
        action = (random.random((200, 1)) > np.cumsum(chance, axis=1)).sum(axis=1).astype(np.int32)
        found.append(
            chi_square(randomised(200, seed=seed, action=action, propensity=chance, actions=(None, "a", "b")))[0]
        )
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_propensities_that_are_not_those_of_the_draw() -> None:
    """Drawn at .5 and logged at .4; where only what was taken is known, the weights still tell."""
    log = randomised(propensity=np.tile([0.6, 0.4], (3_000, 1)))
    assert mean_weight(log).verdict == "failed"
    partly = randomised().propensity.copy()
    partly[np.arange(3_000), 1 - randomised().action] = np.nan
    told = changed(randomised(), propensity=partly)
    assert mean_weight(told).verdict == "passed"
    assert next(sample_ratio(told)).verdict == "warned"
    assert next(sample_ratio(told)).sentence.startswith("Not tested")


def test_a_feature_that_knows_the_draw() -> None:
    """The classifier, the balance and the leaks see it; reweighting by what the draw depended on is forgiven."""
    log = randomised()
    noisy = log.action + np.random.default_rng(1).normal(size=len(log))
    leaky = changed(log, features=np.column_stack([log.features, noisy]).astype(np.float32),
                    names=(*log.names, "mailed_at"), categorical=(False,) * 4)  # fmt: skip
    found = verdicts(run_checks(leaky))
    assert {name for name, verdict in found.items() if verdict == "failed"} == {"arm-classifier", "balance", "leaks"}
    chance = np.where(log.features[:, 0] > 0, 0.8, 0.3)
    action = (np.random.default_rng(2).random(len(log)) < chance).astype(np.int32)
    drawn = changed(log, action=action, propensity=np.column_stack([1 - chance, chance]))
    assert "failed" not in verdicts(run_checks(drawn)).values()


def test_columns_from_after_the_decision() -> None:
    """One that tells the outcome, one that is missing where nothing came, one that is named like it."""
    log = randomised()
    visit = log.reward("visit")
    for column, name in ((visit, "pages"), (np.where(visit > 0, 1.0, np.nan), "pages"), (log.features[:, 0], "Visit")):
        leaky = changed(log, features=np.column_stack([log.features, column]).astype(np.float32),
                        names=(*log.names, name), categorical=(False,) * 4)  # fmt: skip
        check = next(each for each in run_checks(leaky) if each.name == "leaks")
        assert (check.verdict, name in check.sentence) == ("failed", True)
    words = np.random.default_rng(0).integers(0, 800, len(log))
    rare = changed(log, features=np.column_stack([log.features, words]).astype(np.float32),
                   names=(*log.names, "postcode"), categorical=(False, False, False, True))  # fmt: skip
    assert next(each for each in run_checks(rare) if each.name == "leaks").verdict == "passed"


def test_a_past_that_the_action_cannot_have_changed() -> None:
    """Those who got it had visited more before."""
    log = randomised()
    before = (np.random.default_rng(3).random(len(log)) < 0.3 + 0.1 * log.action).astype(float)
    torn = changed(log, rewards={**log.rewards, "before:visit": before})
    assert placebo(torn, contrasts_of(torn)).verdict == "failed"
    assert placebo(log, contrasts_of(log)).verdict == "warned"


def test_a_measure_that_pays_for_nothing() -> None:
    """A fair Qini is centred on zero when the action is drawn anew; one that pays for the outcome is found out."""
    contrasts = contrasts_of(randomised())
    assert permuted_qini(contrasts, "visit", qini).verdict == "passed"
    assert permuted_qini(contrasts, "visit", biased).verdict == "failed"


def test_people_twice() -> None:
    """Once is a slip, often is a fault, and with two actions it is fatal; later decisions are no repeats."""
    log = randomised(1_000, decided_at=np.full(1_000, START))
    assert duplicates(log).verdict == "passed"
    slip = changed(log, subject=np.where(np.arange(1_000) == 1, 0, log.subject), action=np.zeros(1_000, np.int32))
    assert duplicates(slip).verdict == "warned"
    assert duplicates(changed(slip, action=(np.arange(1_000) % 2).astype(np.int32))).verdict == "failed"
    assert duplicates(changed(slip, subject=np.arange(1_000) // 2)).verdict == "failed"
    assert (
        duplicates(changed(log, subject=np.arange(1_000) // 2, decided_at=START + np.arange(1_000))).verdict == "passed"
    )


def test_actions_with_hardly_a_chance() -> None:
    """Below a hundredth for a tenth of the rows; and too few rows for an action."""
    chance = np.where(np.arange(3_000) % 10 == 0, 0.005, 0.5)
    log = randomised(propensity=np.column_stack([1 - chance, chance]), action=np.ones(3_000, np.int32))
    found = {check.name: check for check in positivity(log)}
    assert found["positivity"].verdict == "failed"
    assert found["positivity"].figure == pytest.approx(0.1)
    assert found["effective-sample-size"].verdict == "failed", "nobody got nothing"


def test_effective_size() -> None:
    """All of them where weights are even; one where one weighs all."""
    assert effective_size(np.full(50, 0.1)) == pytest.approx(50)
    assert effective_size(np.array([1e-9, 1.0, 1.0])) == pytest.approx(1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(1, 3)), min_size=2, max_size=20))
def test_the_area_counts_pairs(rows: list[tuple[int, bool, int]]) -> None:
    """Weighted pairs of a positive and a negative, ties half."""
    score, label, weight = (np.array(column) for column in zip(*rows, strict=True))
    if label.all() or not label.any():
        return
    wins = [
        (a[2] * b[2] * (1.0 if a[0] > b[0] else 0.5 if a[0] == b[0] else 0.0), a[2] * b[2])
        for a in rows if a[1] for b in rows if not b[1]
    ]  # fmt: skip
    expected = sum(win for win, _ in wins) / sum(pair for _, pair in wins)
    found, _ = area(score.astype(float), label, weight.astype(float), np.arange(len(rows)))
    assert found == pytest.approx(expected)


def test_the_error_of_the_area() -> None:
    """It is the spread over repeated samples, clusters too: every row doubled changes nothing."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(300):
        label = random.random(200) < 0.4
        score = random.normal(size=200) + label
        found.append(area(score, label, np.ones(200), np.arange(200)))
    areas, errors = np.array(found).T
    assert np.mean(errors) == pytest.approx(areas.std(), rel=0.15)
    twice = area(np.tile(score, 2), np.tile(label, 2), np.ones(400), np.tile(np.arange(200), 2))
    assert twice == pytest.approx(found[-1])


def test_the_love_plot_by_hand() -> None:
    """(3 - 1) / sqrt((1 + 1) / 2) = 2; categories value by value, with their words; missing is a column too."""
    action = np.tile([0, 1], 40).astype(np.int32)
    x = np.where(action == 1, 3.0, 1.0) + np.tile([-1.0, -1.0, 1.0, 1.0], 20)
    colour = np.tile([0.0, 1.0, 1.0, 1.0], 20)
    colour[0] = np.nan
    log = randomised(80, action=action, features=np.column_stack([x, colour]).astype(np.float32), names=("x", "colour"),
                     categorical=(False, True), words=((), ("red", "blue")))  # fmt: skip
    points = {point.column: point for point in love(contrasts_of(log))}
    assert points["x"].before == points["x"].after == pytest.approx(2)
    assert set(points) == {"x", "colour missing", "colour=red", "colour=blue"}
    assert points["x"].error == pytest.approx(np.sqrt(1 / 40 + 1 / 40))


def test_little_data_is_no_imbalance() -> None:
    """A difference of .2 in 40 people may be chance; in a log that nobody drew it counts as what it is."""
    points = [Balance("x", "a against nothing", 0.2, 0.2, np.sqrt(2 / 20))]
    assert balance(points, observational=False).verdict == "passed"
    assert balance(points, observational=True).verdict == "failed"


def test_a_log_that_nobody_drew() -> None:
    """Overlap is measured; what good weights can mend is mended, and what they cannot is said."""
    random = np.random.default_rng(0)
    log = randomised(observational=True, propensity=np.full((3_000, 2), np.nan))
    mild = (random.random(3_000) < 1 / (1 + np.exp(-0.5 * log.features[:, 0]))).astype(np.int32)
    found = {check.name: check for check in run_checks(changed(log, action=mild))}
    assert found["overlap"].verdict == "passed"
    assert found["balance"].figure < 0.1
    assert found["sample-ratio"].sentence.startswith("Not tested")
    harsh = (random.random(3_000) < 1 / (1 + np.exp(-6 * log.features[:, 0]))).astype(np.int32)
    found = {check.name: check for check in run_checks(changed(log, action=harsh))}
    assert found["overlap"].verdict == "failed"
    assert "AUC 0.9" in found["overlap"].sentence


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"action": np.zeros(3_000, np.int32)}, "one arm only"),
        ({"action": (np.arange(3_000) < 5).astype(np.int32)}, "fewer than two actions with 30 decisions"),
        ({"usable": np.zeros(3_000, bool), "left_out": {"fallback after an error": 3_000}}, "3,000 fallback"),
        ({"propensity": np.tile([1.2, -0.2], (3_000, 1))}, "a propensity outside (0, 1]"),
        ({"features": np.full((3_000, 3), np.inf, np.float32)}, "an infinite feature; got 'x0'"),
        ({"rewards": {"visit": np.full(3_000, np.nan)}}, "a reward of which nothing is known"),
        ({"rewards": {}}, "the log has no such reward"),
    ],
)
def test_what_no_override_can_help(fields: Any, words: str) -> None:
    """One sentence each."""
    with pytest.raises(DataError) as caught:
        insist(randomised(**fields), ["visit"])
    assert words in caught.value.line()


def test_a_failed_check_stops_unless_named() -> None:
    """With a sentence and a remedy for each; a name that is none is refused too."""
    checks = [
        Check("a", "passed", 0, 1, "Fine."), Check("b", "failed", 2, 1, "B is off.", "Mend b."),
        Check("c", "failed", 2, 1, "C is off.", "Mend c."), Check("d", "warned", 2, 1, "D.", "Look at d."),
    ]  # fmt: skip
    with pytest.raises(DataError) as caught:
        refuse_unless(checks, ["b"])
    assert "1 of 4 checks failed. c: C is off. Mend c." in caught.value.line()
    assert "B is off" not in caught.value.line()
    refuse_unless(checks, ["b", "c"])
    with pytest.raises(ConfigError, match="no such check"):
        refuse_unless(checks, ["e"])


def test_days_with_hardly_a_decision_are_not_tested() -> None:
    """Two decisions a day: all actions of a day together are too few, and that is no failure."""
    log = randomised(40)
    log = changed(log, decided_at=np.repeat(np.arange(20), 2) * DAY)
    found = {check.name: check for check in sample_ratio(log)}
    assert found["sample-ratio-by-day"].verdict == "warned"
    assert np.isnan(found["sample-ratio-by-day"].figure)
