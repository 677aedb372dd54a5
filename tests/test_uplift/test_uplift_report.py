"""The page and the cards of a study: the ruling in plain words, every picture, who must be left alone, nobody's row."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.errors import ConfigError, DataError
from features.shop import Shop
from tests.test_uplift.worlds import log_of
from training import plots
from training.intervals import Interval
from training.meter import Meter, Step
from training.session import silent
from training.uplift import shown
from training.uplift.card import CHECKS_JA, answer_of, card, case_of
from training.uplift.gate import Claim, Ruling
from training.uplift.groups import LEAST, by_tier
from training.uplift.log import DecisionLog
from training.uplift.options import StudyOptions
from training.uplift.record import draw, figures_of
from training.uplift.report import PLOT_TITLES, UpliftReport, headline, html, markdown, overridden
from training.uplift.study import Study, study
from training.uplift.training import Wanted, reported

PNG = b"\x89PNG\r\n\x1a\n"
SUBJECT = 7_310_000_000
"""Subjects are this and more: digits that no figure has."""


def world(effect: Callable[[np.ndarray], np.ndarray], *, seed: int = 0, n: int = 1200, **changes: Any) -> DecisionLog:
    """Two arms and nothing, a third each; column x0 and a tier (gold, silver) are known before."""
    random = np.random.default_rng(seed)
    x = np.column_stack([random.normal(size=(n, 2)), random.integers(0, 2, n)])
    action = random.integers(0, 3, n)
    gained = np.column_stack([np.zeros(n), effect(x)])[np.arange(n), action]
    made = log_of(
        action, np.full((n, 3), 1 / 3), x, gained + 0.5 * random.normal(size=n), categorical=(False, False, True)
    )
    fields = {"names": ("x0", "x1", "tier"), "words": ((), (), ("gold", "silver")), "subject": SUBJECT + np.arange(n)}
    return replace(made, **{**fields, **changes})


def split(x: np.ndarray) -> np.ndarray:
    """Each half needs the other action, and is harmed by the wrong one."""
    return np.column_stack([np.sign(x[:, 0]), -np.sign(x[:, 0])])


def alike(x: np.ndarray) -> np.ndarray:
    """The second action is best for everybody."""
    return np.tile([0.2, 1.0], (len(x), 1))


def useless(x: np.ndarray) -> np.ndarray:
    """Both harm everybody."""
    return np.tile([-0.5, -0.5], (len(x), 1))


OPTIONS = StudyOptions({"visit": 1.0}, folds=3, permutations=20, threads=1, tier="tier")


def told(found: Study, **plots: bytes) -> UpliftReport:
    """A report without its pictures, which take long."""
    return UpliftReport("Grün & <Söhne>", "spring|mail", found, 14.0, ("2024-03-01", "2024-03-14"), "EUR", plots=plots,
                        tiers=by_tier(found)[0], steps=[Step("study", 1.5, 200.0)])  # fmt: skip


@pytest.fixture(scope="module")
def pays() -> Study:
    return study(world(split, n=2400), OPTIONS)  # tenths of 240: enough to be known to be harmed


@pytest.fixture(scope="module")
def single() -> Study:
    return study(world(alike), replace(OPTIONS, costs={"arm-1": 0.05, "arm-2": 0.1}))


@pytest.fixture(scope="module")
def nothing() -> Study:
    """Counts are not those of the draw, which was overridden."""
    log = world(useless)
    kept = (log.action != 1) | (np.arange(len(log)) % 2 == 0)
    return study(log.take(kept), replace(OPTIONS, overridden=("sample-ratio", "mean-weight", "effective-sample-size")))


def test_where_personalisation_pays(pays: Study, tmp_path: Path) -> None:
    """The policy ships, the page has every picture, and who is harmed by which action is named."""
    report = reported(Shop("toy", tmp_path), Wanted(OPTIONS, "mail"), pays, "EUR", Meter(), silent)
    page = html(report)
    assert pays.ruling.ships == "policy"
    assert headline(pays) in page
    assert set(report.plots) == set(PLOT_TITLES)
    assert all(picture.startswith(PNG) for picture in report.plots.values())
    assert page.count("data:image/png;base64,") == len(PLOT_TITLES)
    assert all(f"<h2>{title}</h2>" in page for title in PLOT_TITLES.values())
    assert {(each.action, each.tier) for each in report.blocked} >= {("arm-1", False), ("arm-2", False)}
    lowest = {int(each.who) for each in report.blocked if each.action == "arm-1"}
    assert 1 in lowest
    assert 10 not in lowest, "those whom it helps are not spared it"
    for text in (page, card(report), card(report, "ja"), markdown(report)):
        assert str(SUBJECT)[:4] not in re.sub('base64,[^"]*', "", text), "nobody's number is told"


def test_where_one_action_is_best_for_all(single: Study) -> None:
    """It is named in the verdict, and the budget is counted in money."""
    assert (single.ruling.ships, case_of(single)) == ("action", "action")
    page = html(told(single))
    assert "Do not personalise: arm-2 for everybody" in page
    assert "does not hold" in page
    assert shown.spending(single)[1] == "mean cost a decision"
    assert "arm-2 for everybody is better than doing nothing" in card(told(single))
    line = shown.gain_lines(single)[-1]
    assert (line.role, line.share[-1]) == ("random", pytest.approx(0.1))


def test_where_nothing_helps_and_a_check_was_overridden(nothing: Study) -> None:
    """The override stands in the page, in both cards and in the short form."""
    assert (nothing.ruling.ships, case_of(nothing)) == ("nothing", "nothing")
    assert "sample-ratio" in overridden(nothing)
    report = told(nothing)
    for text, words in (
        (html(report), "failed, overridden"), (markdown(report), "overridden by name: "),
        (card(report), "- sample-ratio failed and was overridden by name."),
        (card(report), "Have somebody look at the checks"), (card(report, "ja"), "(承認済み)"),
    ):  # fmt: skip
        assert words in text
    with pytest.raises(DataError, match="sample-ratio"):
        study(nothing.log, replace(OPTIONS, overridden=()))


@pytest.mark.parametrize("name", ["pays", "single", "nothing"])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_first_three_lines_are_for_everybody(name: str, language: Any, request: pytest.FixtureRequest) -> None:
    """What was asked, the answer, what to do: without a figure; the title comes after."""
    report = told(request.getfixturevalue(name))
    text = card(report, language)
    lines = text.splitlines()
    assert all(line.startswith("- **") for line in lines[:3])
    plain = " ".join(lines[:3]).replace("arm-1", "").replace("arm-2", "")
    assert not re.search(r"\d|%|interval|significan|区間|有意|Qini", plain)
    assert lines[4].startswith("# ")
    assert "spring\\|mail" not in lines[0]
    widths = [len(re.split(r"(?<!\\)\|", line)) for line in lines if line.startswith("|---")]
    assert len(widths) >= 5
    assert "Söhne" in text


def test_the_page_is_escaped_and_has_tiers_and_reasons(pays: Study) -> None:
    """Names are data; every claim and check is there."""
    page = html(told(pays))
    assert "Grün &amp; &lt;Söhne&gt;" in page
    assert all(check.name in page for check in pays.checks)
    assert "<td>gold</td>" in page
    assert "<td>silver</td>" in page
    assert page.count("holds</span>") == sum(claim.passed for claim in pays.ruling.claims)


def test_tiers_of_a_few_people_are_counted_and_not_shown(pays: Study) -> None:
    """A figure of ten people is theirs."""
    features = pays.log.features.copy()
    features[: LEAST - 1, 2], features[LEAST - 1 :, 2] = 0, 1
    tiers, small = by_tier(replace(pays, log=replace(pays.log, features=features)))
    assert ([each.tier for each in tiers], small) == (["silver"], 1)


def test_figures_have_names_and_are_those_of_the_ruling(pays: Study) -> None:
    """What MLflow gets."""
    found = figures_of(pays)
    assert found["value/policy"] == pays.ruling.values["policy"].value
    assert found["value/policy/low"] < found["value/policy"] < found["value/policy/high"]
    assert found["data/decisions"] == len(pays.log)
    assert found["visit/arm-1/constant/qini"] == pytest.approx(0, abs=1e-12), "one effect for all ranks nobody"


def test_the_gain_of_a_budget_ends_where_everybody_is_treated(pays: Study) -> None:
    """No cost: the budget is the share of decisions in which something is done. At its best it is the policy's."""
    first = shown.gain_lines(pays)[0]
    assert first.share[0] == 0
    assert first.share[-1] == pytest.approx(1.0)
    assert (np.diff(first.share) >= 0).all()
    gain = shown.gain_points(pays)[0][2]
    assert max(first.value) == pytest.approx(gain, abs=0.1)


def test_harm_is_told_apart_from_too_little_gain(pays: Study) -> None:
    """A guard that fails is another answer than a policy that is no better."""
    near = Interval(0.01, 0.0, 0.02, 9, 0)
    better = Claim("the policy - the best single action", near, 0.0, True, "better")
    harm = Claim("extra unsubscribe", near, 0.0, False, "What it adds may exceed: 1.")
    one = Claim("arm-1 for everybody - nothing", near, 0.0, True, "better")
    for ships, claims, case in (
        ("nothing", (better, harm, one, harm), "nothing-harm"), ("action", (better, harm, one), "action-harm"),
        ("policy", (better,), "policy"),
        ("nothing", (replace(better, passed=False), replace(one, passed=False)), "nothing"),
    ):  # fmt: skip
        found = replace(pays, ruling=Ruling(ships, 1, claims, pays.ruling.values))
        assert case_of(found) == case
        assert answer_of(told(found), "en").answer != answer_of(told(found), "ja").answer
    text = card(told(replace(pays, ruling=Ruling("nothing", 0, (better, harm, one), pays.ruling.values))), "ja")
    assert "unsubscribeの増加が上限以内とは言えない" in text
    assert "顧客ごとの選択は全員に同じ最良の施策より良い" in text
    assert "全員へのarm-1は何もしないことより良い" in text


def test_an_observational_log_is_a_hint_in_both_languages(pays: Study) -> None:
    """Whatever the figures say."""
    found = replace(pays, log=replace(pays.log, observational=True))
    assert "as a hint for the next experiment" in html(told(found))
    assert "a hint and no proof" in card(told(found))
    assert "手がかり" in card(told(found), "ja").splitlines()[2]
    for text in (html(told(found)), card(told(found))):
        assert "arm-1 on visit" in text and "would explain it away" in text
    assert "見かけだけかもしれません" in card(told(found), "ja")
    assert "explain it away" not in html(told(pays)) + card(told(pays))


def test_every_check_has_a_japanese_name(pays: Study) -> None:
    """Also those that this log does not call for."""
    assert {check.name for check in pays.checks} <= set(CHECKS_JA)


def test_pictures_of_a_log_without_features_or_choice_do_not_fail(single: Study) -> None:
    """No covariate gives an empty love plot, and values that are not known draw nothing."""
    bare = replace(single.log, features=np.zeros((len(single.log), 0), np.float32), names=(), categorical=(), words=())
    values = {**single.ruling.values, "arm-1": Interval(np.nan, np.nan, np.nan, 0, 9)}
    found = replace(single, log=bare, ruling=replace(single.ruling, values=values))
    assert all(picture.startswith(PNG) for picture in draw(replace(found, options=replace(OPTIONS, tier=""))).values())


def test_options_that_name_nothing_are_refused(pays: Study) -> None:
    """Before anything is fitted."""
    asked = partial(study, pays.log)
    with pytest.raises(ConfigError, match="no such action"):
        asked(replace(OPTIONS, costs={"arm-9": 1.0}))
    with pytest.raises(ConfigError, match="no such column"):
        asked(replace(OPTIONS, tier="rank"))


def test_names_from_data_are_no_formulas() -> None:
    """Dollars in a name stay dollars: the label is as wide as its letters, and an odd formula does not fail."""
    drawn = [plots.love([plots.Gap(name, 0.0, 0.0)], limit=0.1) for name in ("$100 - $200", "x100 - x200", r"$\frac$")]
    assert drawn[0] != plots.love([plots.Gap("100 - 200", 0.0, 0.0)], limit=0.1)
    heavy = {"a": np.array([1.0, 50.0, 400.0]), "b$c$": np.array([2.0])}
    drawn += [plots.weights(heavy, effective=1.5), plots.weights({}, effective=0.0)]
    assert all(picture.startswith(PNG) for picture in drawn)
