"""The gate: its rules on constructed, paired figures."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.settings.shop import GateSettings
from training.gate import Entrant, Verdict, decide, refreshed, rules

N = 400
NAN = np.full(N, np.nan)


def noise(seed: int, spread: float = 0.05) -> np.ndarray:
    """Paired noise around 0 that keeps its mean at exactly 0."""
    drawn = np.random.default_rng(seed).normal(0, spread, N)
    return drawn - drawn.mean()


BASE = 0.3 + noise(0, 0.1)
NEW = 0.1 + noise(1, 0.04)


def entrant(name: str, gain: float, new_gain: float = 0.0, *, baseline: bool = False, seed: int = 7) -> Entrant:
    """A recipe whose customers gain so much on average over BASE and NEW."""
    scores = {"all": BASE + gain + noise(seed), "new": NEW + new_gain + noise(seed + 1, 0.01)}
    return Entrant(name, scores, baseline=baseline)


CHAMPION = Entrant("champion", {"all": BASE, "new": NEW})
FREQUENCY = Entrant("personal-frequency", {"all": BASE - 0.02, "new": NEW}, baseline=True)
POPULARITY = Entrant("popularity", {"all": BASE - 0.2, "new": NEW}, baseline=True)


def judge(*entrants: Entrant, ranking: list[str] | None = None, champion: str | None = "champion") -> Verdict:
    names = ranking or [entrants[0].name]
    return decide(entrants, ranking=names, champion=champion, champion_bundle="b0" if champion else None)


def test_a_better_challenger_is_accepted() -> None:
    """+0.02 with a standard error of 0.0025: the lower end is near +0.015, above 0."""
    verdict = judge(entrant("blend", 0.02), CHAMPION, FREQUENCY)
    assert (verdict.accepted, verdict.winner, verdict.champion_bundle) == (True, "blend", "b0")
    better = next(c for c in verdict.comparisons if c.rule == "better")
    assert better.difference == pytest.approx(0.02)
    assert better.low == pytest.approx(0.02 - 1.96 * 0.05 / np.sqrt(N), abs=0.002)
    assert better.customers == N


def test_a_difference_within_the_noise_is_refused() -> None:
    """+0.002 with a standard error of 0.0025: the interval holds 0, so the champion serves on, and it is said why."""
    verdict = judge(entrant("blend", 0.002), CHAMPION, FREQUENCY)
    assert (verdict.accepted, verdict.winner) == (False, "champion")
    assert verdict.reasons[0] == "blend is no better than the champion champion, which goes on serving."
    assert any("is not shown to be better than champion on all purchases" in reason for reason in verdict.reasons)


def test_a_worse_challenger_is_refused() -> None:
    """-0.05 on all purchases."""
    assert not judge(entrant("blend", -0.05), CHAMPION).accepted


def test_the_guard_refuses_what_loses_on_new_items() -> None:
    """Better by far on all, but 5 % of 0.1 lost on new: more than the margin of 2 %."""
    verdict = judge(entrant("blend", 0.05, -0.005), CHAMPION)
    assert not verdict.accepted
    guard = next(c for c in verdict.comparisons if c.task == "new")
    assert (guard.rule, guard.passed) == ("not worse", False)


def test_the_guard_lets_a_small_loss_pass() -> None:
    """Lower end near -0.0005 - 0.001 = -0.0015, above -2 % of 0.1 = -0.002."""
    assert judge(entrant("blend", 0.05, -0.0005), CHAMPION).accepted


def test_the_margin_is_the_shops(tmp_path: object) -> None:
    """With a margin of 20 % the loss of 5 % passes the guard."""
    entrants = (entrant("blend", 0.05, -0.005), CHAMPION)
    verdict = decide(entrants, ranking=["blend"], champion="champion", settings=GateSettings(guard_margin=0.2))
    assert verdict.accepted
    assert "-20.0%" in " ".join(verdict.rules)


VARIED = {"varied": "more varied lists"}


def judge_varied(gain: float, new_gain: float = 0.0, **settings: float) -> Verdict:
    """The champion with more varied lists: most lists find the same, so the noise is small."""
    scores = {"all": BASE + gain + noise(7, 0.005), "new": NEW + new_gain + noise(8, 0.005)}
    entrants = (Entrant("varied", scores), CHAMPION)
    return decide(entrants, ranking=["varied"], champion="champion", settings=GateSettings(**settings), alike=VARIED)


def test_the_champion_with_more_varied_lists_need_not_be_better() -> None:
    """-0.0005 with a standard error of 0.00025: the lower end near -0.001 is above -0.5 % of 0.3 = -0.0015."""
    verdict = judge_varied(-0.0005)
    assert (verdict.accepted, verdict.winner, verdict.only) == (True, "varied", "more varied lists")
    said = "varied is the champion champion with more varied lists and nothing else: it is not worse, and may serve."
    assert verdict.reasons[0] == said
    assert [(c.task, c.rule) for c in verdict.comparisons] == [("all", "not worse"), ("new", "not worse")]


def test_the_same_figures_of_any_other_recipe_are_refused() -> None:
    """Only what differs in nothing but its lists is asked less; and a margin of a shop's own may refuse that too."""
    scores = {"all": BASE - 0.0005 + noise(7, 0.005), "new": NEW + noise(8, 0.005)}
    for alike in (None, {"another": "more varied lists"}):
        verdict = decide(
            [Entrant("varied", scores), CHAMPION], ranking=["varied"], champion="champion", alike=alike
        )  # fmt: skip
        assert (verdict.accepted, verdict.only) == (False, "")
    assert not judge_varied(-0.0005, variety_margin=0.001).accepted


@pytest.mark.parametrize(("gain", "new_gain", "failed"), [(-0.002, 0.0, "all"), (0.0, -0.003, "new")])
def test_more_varied_lists_that_cost_too_much_are_refused(gain: float, new_gain: float, failed: str) -> None:
    """-0.002 of 0.3 is more than 0.5 %, though less than the guard's 2 %; -0.003 of 0.1 on new is more than 2 %."""
    verdict = judge_varied(gain, new_gain)
    assert (verdict.accepted, verdict.winner, verdict.only) == (False, "champion", "more varied lists")
    assert [c.task for c in verdict.comparisons if not c.passed] == [failed]
    assert "may cost more than they are worth, so champion goes on serving" in verdict.reasons[0]
    assert any("may be worse than champion" in reason for reason in verdict.reasons)


def test_more_varied_lists_without_anybody_to_judge_them_are_refused() -> None:
    """Without one outcome on all purchases nothing shows what they cost."""
    nobody = [Entrant(name, {"all": NAN, "new": NAN}) for name in ("varied", "champion")]
    assert not decide(nobody, ranking=["varied"], champion="champion", alike=VARIED).accepted


def test_a_baseline_in_the_place_of_a_varied_challenger_must_be_better() -> None:
    """The rule is the challenger's; the baseline that is better than it is judged as any other."""
    lists = Entrant("varied", {"all": BASE - 0.05, "new": NEW})
    verdict = decide([lists, CHAMPION, FREQUENCY], ranking=["varied"], champion="champion", alike=VARIED)
    assert (verdict.challenger, verdict.accepted, verdict.only) == ("personal-frequency", False, "")


def test_equal_figures_are_not_worse_and_not_better() -> None:
    """The champion's own recipe again: every difference is exactly 0."""
    twin = Entrant("twin", CHAMPION.scores)
    verdict = judge(twin, CHAMPION)
    assert not verdict.accepted
    assert [c.passed for c in verdict.comparisons] == [False, True]


def test_not_worse_when_the_champion_scores_nothing() -> None:
    """A margin of a share of 0 is 0: no loss at all still passes."""
    zero = Entrant("champion", {"all": BASE, "new": np.zeros(N)})
    same = Entrant("blend", {"all": BASE + 0.1, "new": np.zeros(N)})
    assert judge(same, zero).accepted


def test_customers_without_an_outcome_do_not_count() -> None:
    """NaN (bought nothing that the task counts) is left out of the pairs, not read as 0."""
    half = np.where(np.arange(N) % 2 == 0, np.nan, 1.0)
    champion = Entrant("champion", {"all": BASE * half, "new": NEW * half})
    challenger = Entrant("blend", {"all": (BASE + 0.05) * half, "new": NEW * half})
    verdict = judge(challenger, champion)
    assert verdict.accepted
    assert {c.customers for c in verdict.comparisons} == {N // 2}


def test_a_guard_without_anybody_to_guard_passes() -> None:
    """Nobody bought anything new in the window: the verdict says so and does not refuse for it."""
    verdict = judge(
        Entrant("blend", {"all": BASE + 0.05, "new": NAN}), Entrant("champion", {"all": BASE, "new": NAN})
    )  # fmt: skip
    assert verdict.accepted
    assert any("no customer has an outcome" in reason for reason in verdict.reasons)


def test_nothing_to_judge_on_is_not_accepted() -> None:
    """Without one outcome in the window the champion serves on."""
    verdict = judge(Entrant("blend", {"all": NAN, "new": NAN}), Entrant("champion", {"all": NAN, "new": NAN}))
    assert (verdict.accepted, verdict.winner) == (False, "champion")


def test_the_first_model_must_not_lose_to_a_plain_baseline() -> None:
    """No champion: iALS ranked first on the earlier window, but repeat purchase is better on the judged one."""
    ials = Entrant("ials", {"all": BASE - 0.15, "new": NEW})
    verdict = judge(ials, FREQUENCY, POPULARITY, champion=None)
    assert (verdict.accepted, verdict.winner) == (True, "personal-frequency")
    assert "ials is worse than the plain baseline personal-frequency" in verdict.reasons[0]


def test_the_first_model_serves_when_it_is_the_best() -> None:
    """No champion, and the blend is not worse than any baseline."""
    verdict = judge(entrant("blend", 0.0), FREQUENCY, POPULARITY, champion=None)
    assert (verdict.accepted, verdict.winner) == (True, "blend")


def test_with_nobody_to_judge_on_a_model_gives_way_to_popularity() -> None:
    """Without an outcome no model is believed; popularity itself stands."""
    entrants = [Entrant(name, {"all": NAN, "new": NAN}, baseline=name in ("popularity", "personal-frequency"))
                for name in ("popularity", "personal-frequency", "ials")]  # fmt: skip
    for first in ("ials", "popularity"):
        verdict = decide(entrants, ranking=[first], champion=None)
        assert (verdict.accepted, verdict.winner) == (True, "popularity")


def test_with_a_champion_too_a_baseline_takes_the_place_of_a_worse_challenger() -> None:
    """The challenger beats a weak champion, but a plain baseline is better still: the baseline is judged."""
    champion = Entrant("champion", {"all": BASE - 0.1, "new": NEW})
    challenger = Entrant("bpr", {"all": BASE - 0.08, "new": NEW})
    verdict = judge(challenger, champion, FREQUENCY)
    assert (verdict.accepted, verdict.winner) == (True, "personal-frequency")


def test_the_champion_of_the_same_recipe_may_be_refreshed() -> None:
    """Newer data under the champion's own recipe needs no difference."""
    verdict = refreshed(judge(entrant("blend", 0.0), CHAMPION))
    assert (verdict.accepted, verdict.winner, verdict.challenger) == (True, "champion", "champion")


def test_the_table_is_sorted_and_names_the_roles() -> None:
    """Best on all purchases first."""
    verdict = judge(entrant("blend", 0.02), CHAMPION, FREQUENCY, POPULARITY, entrant("ease", -0.1))
    assert [(row.recipe, row.role) for row in verdict.table] == [
        ("blend", "challenger"),
        ("champion", "champion"),
        ("personal-frequency", "baseline"),
        ("ease", "candidate"),
        ("popularity", "baseline"),
    ]
    assert verdict.table[1].all[0] == pytest.approx(0.3)


def test_a_verdict_survives_json() -> None:
    """NaN becomes null, everything else comes back as it was."""
    verdict = judge(Entrant("blend", {"all": BASE, "new": NAN}), Entrant("champion", {"all": BASE, "new": NAN}))
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict


def test_the_same_figures_give_the_same_verdict() -> None:
    """The resampling is seeded: a verdict can be checked by anyone."""
    assert judge(entrant("blend", 0.005), CHAMPION) == judge(entrant("blend", 0.005), CHAMPION)


def test_the_rules_are_sentences_with_the_shops_numbers() -> None:
    """The rules name the metric and the margins."""
    said = " ".join(rules(GateSettings(metric="ndcg@20", guard_margin=0.02, variety_margin=0.007)))
    assert "-0.7%" in said
    assert "ndcg@20" in said
    assert "-2.0%" in said


@given(st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=30), st.floats(-0.1, 0.1))
def test_accepted_always_means_a_positive_mean_difference(differences: list[float], shift: float) -> None:
    """Whatever the figures, an accepted challenger has a mean above the champion's and a finite lower end above 0."""
    base = np.full(len(differences), 0.5)
    challenger = Entrant("blend", {"all": base + np.array(differences) + shift, "new": base})
    quick = GateSettings(resamples=200)
    verdict = decide([challenger, Entrant("champion", {"all": base, "new": base})], ranking=["blend"],
                     champion="champion", settings=quick)  # fmt: skip
    if verdict.accepted:
        better = verdict.comparisons[0]
        assert better.low is not None
        assert better.low > 0
        assert np.mean(differences) + shift > 0
