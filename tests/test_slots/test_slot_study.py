"""From pages to policies: the right action for each, judged slot by slot, shipped as learned, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from features.errors import ConfigError, DataError
from serving.policy_files import open_policy, write_policy
from tests.test_slots.toys import QUICK, fitted, options, page_log
from training.slots.judging import gap_of
from training.slots.page import page_policy, page_value
from training.slots.places import places_of
from training.slots.shipping import effects_in, slot_policy
from training.slots.sizes import Evidence, sized
from training.slots.study import arms_of, held_against, placed, slot_study
from training.uplift.gate import value_of

EVEN = [[0.2, 0.4, 0.4], [0.2, 0.4, 0.4]]
# Slot, hour, action: a by day and b by night at the top; b always lower down.
TASTES = [[[0, 0.4, 0.1], [0, 0.1, 0.4]], [[0, 0.1, 0.3], [0, 0.1, 0.3]]]


@pytest.fixture(scope="module")
def found():
    log = page_log(TASTES, EVEN, pages=3_000)
    return slot_study(log, options(modules={"s0": ("a", "b", "new"), "s1": ("a", "b")}, kinds={"new": "=b"}))


def test_each_gets_what_suits_where_it_is_shown(found) -> None:
    """The best of each slot and hour gets nearly all, and the gate says which slot is worth choosing in."""
    top, low = found.slots
    hour = found.log.features[top.rows, 0]
    assert top.spec.actions == ("a", "b", "new")
    assert top.chances[hour == 0, 1].mean() > 0.95
    assert top.chances[hour == 1, 2].mean() > 0.95
    assert low.chances[:, 2].mean() > 0.95
    assert top.ruling.ships == "policy"
    assert low.ruling.ships == "action"
    assert (None, *low.spec.actions)[low.ruling.action] == "b"


def test_a_slot_is_judged_by_scores_of_its_own_decisions(found) -> None:
    """Against the true value of what the policy does, which is known."""
    for slot, tastes in zip(found.slots, np.array(TASTES), strict=True):
        hour = found.log.features[slot.rows, 0].astype(int)
        truth = (slot.chances[:, :3] * tastes[hour]).sum(axis=1).mean()
        told = slot.ruling.values["policy"]
        assert told.low <= truth <= told.high
        assert told.value == pytest.approx(value_of(slot.chances, slot.net).mean())


def test_a_new_action_gets_its_kind_and_is_explored(found) -> None:
    """`new` is of b's kind: b's average, less sure of it, nobody's trees."""
    sizes = found.sized["click"].sizes[0]
    b, new = found.arms.actions.index("b"), found.arms.actions.index("new")
    assert sizes[new].average == pytest.approx(sizes[b].average, abs=0.1)
    assert sizes[new].spread > 2 * sizes[b].spread
    assert sizes[new].kept == 0
    assert found.sized["click"].sizes[1][new].average is None, "it is not for that slot"


@pytest.mark.parametrize("explore", ["thompson", "inverse-gap", "greedy"])
def test_what_is_served_is_what_was_learned(found, explore, tmp_path) -> None:
    """Trees with the place put in, over the file: the same effects, and exploration with the slot's own numbers."""
    for slot in found.slots:
        slot = replace(slot, spec=msgspec.structs.replace(slot.spec, explore=explore))
        made = slot_policy(found, slot, f"{slot.place.slot}-{explore}")
        policy = open_policy(write_policy(tmp_path, made))
        assert policy.sheet.spec.explore == explore
        for hour in (0.0, 1.0):
            scored = policy.score({"hour": hour})
            block = np.array([[hour]], np.float32)
            expected = effects_in(found.sized["click"], slot.place, block)[0, list(slot.arms)]
            np.testing.assert_allclose(scored.values[0, 1:], expected, atol=1e-9)
            sizes = found.sized["click"].sizes[found.places.index(slot.place)]
            np.testing.assert_allclose(scored.spread[0, 1:], [sizes[arm].spread for arm in slot.arms])


def test_slots_that_are_never_empty_are_held_against_what_they_show() -> None:
    """No decision shows nothing: the policies never do either, and values are against the commonest action."""
    log = page_log(TASTES, [[0, 0.5, 0.5], [0, 0.4, 0.6]], pages=3_000)
    found = slot_study(log, options())
    top = found.slots[0]
    assert found.base == "b"
    assert not top.spec.nothing
    assert (top.chances[:, 0] == 0).all()
    hour = found.log.features[top.rows, 0]
    assert top.chances[hour == 0, 1].mean() > 0.9
    assert top.chances[hour == 1, 2].mean() > 0.9
    policy = slot_policy(found, top, "s0")
    at = policy.places["b"]
    assert policy.score({"hour": 1.0}).values[0, at] == 0
    assert policy.score({"hour": 1.0}).spread[0, at] == 0
    assert any("against b" in note for note in found.notes)
    assert "nothing" not in top.ruling.values


def test_a_page_is_the_product_of_its_slots(found) -> None:
    """Rows sum to 1; the page gains what its slots gain, by its own estimators."""
    policy = page_policy(found)
    np.testing.assert_allclose(policy.sum(axis=1), 1)
    page = page_value(found, "click")
    truth = (
        np.array(TASTES)[:, :, 1:].max(axis=2).mean(axis=1).sum() - np.array(TASTES)[:, :, 1:].mean(axis=1).sum() * 0.4
    )
    for name in ("rips", "snrips", "iips"):
        gain = page.pages[name].gain
        assert abs(gain.value - truth) < 4 * gain.error
    assert page_value(replace(found, places=found.places[:1]), "click") is None


def test_confident_days_do_not_drown_what_was_tried_before() -> None:
    """After 1,000 even pages come 9,000 that hardly ever show a: their few a's, weighing 500 each, are kept small."""
    first = page_log(TASTES[:1], [[0.2, 0.4, 0.4]], pages=1_000)
    then = page_log(TASTES[:1], [[0.002, 0.002, 0.996]], pages=9_000, seed=1)
    n = len(first)
    log = replace(
        first, rewards={"click": np.append(first.rewards["click"], then.rewards["click"])},
        **{name: np.append(getattr(first, name), n + getattr(then, name))
           for name in ("subject", "request", "decided_at")},
        **{name: np.concatenate([getattr(first, name), getattr(then, name)])
           for name in ("slot", "position", "action", "propensity", "features", "usable", "holdout")},
    )  # fmt: skip
    places, place = places_of(log)
    evidence = Evidence(fitted(log), "T", places, place, arms_of(log, places, place, options()))
    told = evidence.averages(np.ones(len(log), bool))
    scores = evidence.contrasts[:, 0]
    plain = scores.std() / np.sqrt(len(scores))
    assert told.own_error[0, 0] < 0.7 * plain
    assert abs(told.own[0, 0] - 0.25) < 3 * told.own_error[0, 0]


def test_few_clicks_are_not_believed_by_accident() -> None:
    """Three decisions that all were clicked have no scatter; their error is what chance makes of three."""
    log = page_log([[[0, *[0.1] * 5]] * 2], [[0.2, 0.2, 0.2, 0.2, 0.198, 0.002]], pages=2_500, seed=3)
    few = log.action == 5
    assert 0 < few.sum() < 12
    log = replace(log, rewards={"click": np.where(few, 1.0, log.reward("click"))})
    places, place = places_of(log)
    arms = arms_of(log, places, place, options(kinds=dict.fromkeys("abcde", "tip")))
    told = Evidence(fitted(log), "T", places, place, arms).averages(np.ones(len(log), bool))
    chance = np.sqrt(log.reward("click").var() / 0.002 / len(log))
    assert told.own_error[4, 0] >= 0.9 * chance
    assert told.own[4, 0] > 0.5
    assert told.mean[4, 0] < 0.2, "drawn towards its kind"


def test_the_gap_follows_what_is_not_known() -> None:
    """sqrt(k / mean squared error): twice as unsure, half as sharp; nothing known of one action changes nothing."""
    spread = np.array([[0.0, 0.1, 0.1, np.nan]])
    assert gap_of(spread) == pytest.approx(np.sqrt(4 / 0.01))
    assert gap_of(2 * spread) == pytest.approx(gap_of(spread) / 2)
    assert gap_of(np.zeros((1, 3))) == 1e9


def test_one_place_needs_no_column() -> None:
    log = page_log(TASTES[:1], [[0.2, 0.4, 0.4]], pages=200)
    assert placed(log).names == ("hour",)
    assert placed(page_log(TASTES, EVEN, pages=50)).names == ("hour", "page.slot", "page.position")


@pytest.mark.parametrize("empty", [0.2, 0.0])
def test_a_guard_is_not_kept_because_nothing_happened_yet(empty) -> None:
    """Nobody of 1,000 left, yet one in two hundred may: exact bounds are beyond .001, with or without empty slots."""
    chance = [[empty, (1 - empty) / 2, (1 - empty) / 2]]
    log = page_log([[[0, 0.4, 0.1], [0, 0.1, 0.4]]], chance, pages=1_000)
    log = replace(log, rewards={**log.rewards, "left": np.zeros(len(log))})
    strict, loose = (
        slot_study(log, options(study=replace(QUICK, guards={"left": limit}))).slots[0].ruling
        for limit in (0.001, 0.05)
    )
    claims = [each for each in strict.claims if each.what == "extra left"]
    assert len(claims) == 2, "of the policy, and of one action for everybody"
    assert all(not each.passed and each.found.high > 3.7 / 1_000 for each in claims)
    assert all(each.passed for each in loose.claims if each.what == "extra left")
    assert loose.ships == "policy" and strict.ships == "nothing"


def test_what_cannot_be_learned_is_refused() -> None:
    log = page_log(TASTES, EVEN, pages=400)
    with pytest.raises(ConfigError, match="trees can be served; got 'linear'"):
        slot_study(log, options(learner="linear"))
    with pytest.raises(ConfigError, match="no such action"):
        slot_study(log, options(study=replace(QUICK, costs={"x": 1.0})))
    apart = page_log(TASTES, [[0, 1, 0], [0, 0, 1]], pages=400)
    with pytest.raises(DataError, match=r"shown often enough in every slot.*--slot"):
        held_against(apart)


def test_sizes_are_judged_on_folds_that_did_not_make_them() -> None:
    """With the clicks of one fold changed, what is said of that fold stays, and what is said of the others does not."""
    log = page_log(TASTES[:1], [[0.2, 0.4, 0.4]], pages=900)
    places, place = places_of(log)
    fit, arms = fitted(log), arms_of(log, places, place, options())
    before = sized(Evidence(fit, "T", places, place, arms))
    mine = fit.fold == 0
    clicks = np.where(mine & (log.action > 0), 1.0, log.reward("click"))
    after = sized(Evidence(replace(fit, log=replace(log, rewards={"click": clicks})), "T", places, place, arms))
    np.testing.assert_allclose(after.out[mine], before.out[mine], atol=1e-12)
    assert not np.allclose(after.out[~mine], before.out[~mine], atol=0.01)
