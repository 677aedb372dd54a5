"""`kokyaku bench oracle`: no recipe beats the true probabilities, and shares are ratios over the same customers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError
from training.bench.accuracy import CHOSEN, PRIMARY, Result
from training.bench.best import ORACLE, Chances, lists_of
from training.bench.oracle import command, error_line, run, share_table
from training.intervals import ratio
from training.recipes import BASELINES

ERRORS = ("ndcg@20-half", "ndcg@20-gain-of-runs", "halves-overlap@20", "probability-error@20")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The benchmark on a tiny shop."""
    return run("tiny", 2, runs=60, cache=tmp_path_factory.mktemp("cache"), resamples=100)


def values(result: Result, task: str) -> dict[tuple[str, str], float]:
    """(subject, metric) -> value."""
    return {(row.subject, row.metric): row.value for row in result.rows if row.task == task}


def test_no_recipe_beats_the_oracle(result):
    """On all purchases and on new ones, up to the error of the shares: the window is one draw of many."""
    for task in ("all", "new"):
        shares = {r.subject: r.low for r in result.rows if (r.task, r.metric) == (task, f"{PRIMARY}-share")}
        assert {CHOSEN, *BASELINES, "ials", "ease"} <= shares.keys()
        assert all(low < 1 for low in shares.values())
        assert values(result, task)[CHOSEN, PRIMARY] < values(result, task)[ORACLE, PRIMARY]


def test_a_share_is_the_ratio_of_two_means(result):
    """Over the same customers, so the plain rows say the same."""
    found = values(result, "all")
    assert found[CHOSEN, f"{PRIMARY}-share"] == pytest.approx(found[CHOSEN, PRIMARY] / found[ORACLE, PRIMARY])


def test_segments_have_their_customers_and_shares(result):
    """Pet owners, bargain hunters, gold, quiet and hidden ones, and those of no segment."""
    found = values(result, "all")
    for segment in ("pet", "bargain", "gold", "quiet", "hidden", "none"):
        assert found[ORACLE, f"customers:{segment}"] <= found[ORACLE, "customers"]
        assert (CHOSEN, f"{PRIMARY}-share:{segment}") in found


def test_the_error_of_the_runs_is_told(result):
    """Both halves, what they share, the gain of more runs and the error of a probability."""
    for task in ("all", "new"):
        assert {metric for _, metric in values(result, task)} >= set(ERRORS)
        assert 0 < values(result, task)[ORACLE, "probability-error@20"] < 0.5 / np.sqrt(60)
        assert "half of the runs" in error_line(result.rows, task)


def test_figures_are_labelled_as_simulated(result):
    """In the rows, in the notes and over the table."""
    assert all(row.data.startswith("simulated-") for row in result.rows)
    assert "never evidence about real shops" in result.notes[0]
    assert "simulated" in str(share_table(result.rows, "all").title)


def test_the_oracle_ranks_by_probability_then_by_the_mean():
    """Ties go to what more customers buy, then to the lower row; what is barred is not shown."""
    chances = Chances(np.array([[0.5, 0.25, 0.25, 0.0], [0.0, 0.0, 0.75, 0.0]]), 4)
    allowed = np.array([[True, True, True, True], [True, False, False, True]])
    assert lists_of(chances, allowed)[:, :4].tolist() == [[0, 2, 1, 3], [0, 3, -1, -1]]


@given(st.lists(st.floats(0.1, 1.0), min_size=2, max_size=20), st.floats(0.1, 3.0))
def test_a_ratio_of_multiples_is_known_without_error(scores, factor):
    """If everyone's score is c times the other, so is every resample."""
    found = ratio(factor * np.array(scores), np.array(scores), resamples=20)
    assert np.allclose([found.value, found.low, found.high], factor)


def test_a_ratio_over_nothing_is_undefined_and_counted():
    """NaN with a count, never 0; different customers are refused."""
    found = ratio(np.array([0.2, np.nan]), np.array([0.0, 1.0]), resamples=20)
    assert np.isnan(found.value)
    assert (found.n, found.undefined) == (1, 1)
    with pytest.raises(ConfigError, match="same customers"):
        ratio(np.zeros(2), np.zeros(3))


def test_an_unknown_preset_is_refused():
    """One line that names what there is."""
    with pytest.raises(ConfigError, match="no such preset"):
        command(preset="quickly")
