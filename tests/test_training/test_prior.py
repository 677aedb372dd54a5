"""The contextual prior: cells follow their own rows where they have many, the cells above where they have few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.errors import DataError
from serving.prior import DIMENSIONS, NOTHING, ContextPrior, find, packed
from training.prior import PriorParams, counted, fit_actions, fit_prior, log_likelihood
from training.prior_log import contexts, seen_in, strangers
from training.prior_rows import Seen
from training.uplift.log import DecisionLog

PLAIN = PriorParams(("region", "device"), least_people=1)


def seen_of(chance, *, n=4_000, seed=0, propensity=None) -> Seen:
    """Rows of arms by region (2) and device (2): `chance[region][device][arm]`; somebody else each time."""
    random = np.random.default_rng(seed)
    chance = np.asarray(chance, float)
    region, device = random.integers(0, 2, n), random.integers(0, 2, n)
    drawn = np.full((*chance.shape[:2], chance.shape[2]), 1 / chance.shape[2]) if propensity is None else propensity
    odds = np.asarray(drawn)[region, device]
    arm = (random.random(n)[:, None] >= np.cumsum(odds, axis=1)[:, :-1]).sum(axis=1)
    outcome = random.random(n) < chance[region, device, arm]
    return Seen(
        arm, outcome.astype(float), 1 / odds[np.arange(n), arm], np.arange(n), np.arange(n),
        np.stack([region, device], axis=1), tuple("abcdef"[: chance.shape[2]]), ("region", "device"),
        (("north", "south"), ("desk", "phone")),
    )  # fmt: skip


def by_hand(seen: Seen, between: float, strengths: dict[str, float], row: dict[str, str], arm: int) -> float:
    """A second derivation: loops, one row at a time."""

    def mean_and_size(rows):
        w = [seen.weight[at] for at in rows]
        return sum(seen.weight[at] * seen.outcome[at] for at in rows) / sum(w), sum(w) ** 2 / sum(x * x for x in w)

    everybody, _ = mean_and_size(range(len(seen)))
    mine = [at for at in range(len(seen)) if seen.arm[at] == arm]
    mean, size = mean_and_size(mine)
    p = (size * mean + between * everybody) / (size + between)
    for name in [name for name in seen.names if name in row]:
        at = seen.names.index(name)
        mine = [each for each in mine if seen.codes[each, at] == seen.words[at].index(row[name])]
        if mine:
            mean, size = mean_and_size(mine)
            p = (size * mean + strengths[name] * p) / (size + strengths[name])
    return p


def test_chances_are_those_of_a_second_derivation() -> None:
    odds = [[[0.2, 0.8], [0.5, 0.5]], [[0.9, 0.1], [0.3, 0.7]]]
    seen = seen_of([[[0.1, 0.5], [0.4, 0.2]], [[0.6, 0.3], [0.2, 0.9]]], n=200, propensity=odds)
    strengths = {"region": 7.0, "device": 19.0}
    prior = counted(seen, 11.0, strengths, PLAIN)
    for row in (
        {},
        {"region": "south"},
        {"device": "phone"},
        {"region": "north", "device": "desk"},
        {"region": "east"},
    ):
        told = {name: word for name, word in row.items() if word != "east"}
        for arm in range(2):
            assert prior.score(row)[arm] == pytest.approx(by_hand(seen, 11.0, strengths, told, arm))


def test_what_tells_something_stays_and_what_tells_nothing_goes() -> None:
    north_likes_a = [[[0.6, 0.1], [0.6, 0.1]], [[0.1, 0.6], [0.1, 0.6]]]
    fitted = fit_prior(seen_of(north_likes_a), PLAIN)
    assert fitted.prior.names == ("region",)
    assert [gain.kept for gain in fitted.gains] == [True, True, False]
    assert fitted.prior.score({"region": "north"}) == pytest.approx([0.6, 0.1], abs=0.06)
    assert fitted.prior.score({"region": "south"}) == pytest.approx([0.1, 0.6], abs=0.06)
    assert fitted.prior.score({}) == pytest.approx([0.35, 0.35], abs=0.06)


def test_the_past_alone_is_learned_from() -> None:
    """What comes after a row does not change what was learned up to it; strengths are chosen on the past's own end."""
    seen = seen_of([[[0.6, 0.1], [0.5, 0.2]], [[0.1, 0.6], [0.2, 0.4]]])
    early = seen.take(seen.time < 2_000)
    changed = replace(seen, outcome=np.where(seen.time < 2_000, seen.outcome, 1 - seen.outcome))
    one, other = fit_prior(early, PLAIN), fit_prior(changed.take(changed.time < 2_000), PLAIN)
    assert one.gains == other.gains
    assert one.prior.scores(seen.codes[:, :1]).tolist() == other.prior.scores(seen.codes[:, :1]).tolist()


def test_few_rows_tell_no_dimension_from_chance() -> None:
    fitted = fit_prior(seen_of([[[0.9, 0.1]] * 2, [[0.1, 0.9]] * 2], n=150), PLAIN)
    assert fitted.prior.names == ()
    assert np.isnan(fitted.gains[1].mean)
    assert fitted.prior.score({"region": "north"}) == pytest.approx(fitted.prior.score({}))


def test_what_is_always_the_same_tells_nothing() -> None:
    """Its cell holds all rows, so it would only undo what the arms were drawn together."""
    seen = seen_of([[[0.9, 0.1]] * 2, [[0.9, 0.1]] * 2])
    same = replace(seen, codes=np.zeros_like(seen.codes), words=(("north",), ("desk",)))
    fitted = fit_prior(same, PLAIN)
    assert fitted.prior.names == ()
    assert np.isnan(fitted.gains[1].mean)


def test_propensities_undo_what_the_shop_liked_to_show() -> None:
    """In the north, where everybody clicks, `a` is shown mostly: its average is higher without weights alone."""
    odds = [[[0.9, 0.1]] * 2, [[0.1, 0.9]] * 2]
    seen = seen_of([[[0.6, 0.6]] * 2, [[0.1, 0.1]] * 2], n=20_000, propensity=odds)
    naive = fit_prior(replace(seen, weight=np.ones(len(seen))), PriorParams((), least_people=1)).prior.score({})
    assert naive[0] > naive[1] + 0.2
    assert fit_prior(seen, PriorParams((), least_people=1)).prior.score({}) == pytest.approx([0.35, 0.35], abs=0.04)


def test_actions_are_told_beyond_what_a_context_does_anyway() -> None:
    """The region moves everybody alike: that is the base's; no action gets a word of it."""
    fitted = fit_actions(seen_of([[[0.6, 0.5]] * 2, [[0.2, 0.1]] * 2], n=12_000), PLAIN)
    assert fitted.base.prior.names == ("region",)
    assert fitted.beyond.prior.names == ()
    added = fitted.beyond.prior.score({})
    assert added[0] - added[1] == pytest.approx(0.1, abs=0.03)
    assert fitted.base.prior.score({"region": "north"})[0] + added[0] == pytest.approx(0.6, abs=0.03)


def test_contexts_of_few_people_have_no_cell() -> None:
    seen = seen_of([[[0.6, 0.1]] * 2, [[0.1, 0.6]] * 2])
    household = replace(seen, person=np.where(seen.codes[:, 0] == 0, seen.person % 5, seen.person))
    prior = counted(household.about(["region"]), 10.0, {"region": 3.0}, PriorParams(least_people=20))
    assert prior.score({"region": "north"}) == pytest.approx(prior.score({}))
    assert prior.score({"region": "south"})[1] > 0.5


@pytest.mark.parametrize(
    ("change", "what"),
    [({"outcome": np.array([2.0])}, "between 0 and 1"), ({"weight": np.array([0.0])}, "not above 0"), ({}, "nothing")],
)
def test_what_cannot_be_learned_from_is_refused(change, what) -> None:
    seen = seen_of([[[0.5]] * 2] * 2, n=1)
    with pytest.raises(DataError, match=what):
        fit_prior(replace(seen, **change) if change else seen.take(np.zeros(1, bool)), PLAIN)
    with pytest.raises(DataError, match="no such dimension"):
        seen.about(["weather"])


@given(st.integers(0, 10_000), st.floats(0.5, 1e5), st.floats(0.5, 1e5))
def test_a_cell_lies_between_its_own_rows_and_the_cell_above(seed: int, region: float, device: float) -> None:
    random = np.random.default_rng(seed)
    seen = seen_of(random.random((2, 2, 2)), n=60, seed=seed)
    prior = counted(seen, 5.0, {"region": region, "device": device}, PLAIN)
    above, here = prior.score({"region": "north"}), prior.score({"region": "north", "device": "desk"})
    for arm in range(2):
        mine = (seen.arm == arm) & (seen.codes == 0).all(axis=1)
        own = seen.outcome[mine].mean() if mine.any() else above[arm]
        assert min(own, above[arm]) - 1e-9 <= here[arm] <= max(own, above[arm]) + 1e-9
        assert 0 <= here[arm] <= 1


def test_a_prior_is_read_back_as_it_was_written() -> None:
    prior = fit_prior(seen_of([[[0.6, 0.1]] * 2, [[0.1, 0.6]] * 2]), PLAIN).prior
    again = ContextPrior.from_arrays(prior.arrays("x"), "x")
    assert again is not None
    assert (again.arms, again.names, again.words) == (prior.arms, prior.names, prior.words)
    assert again.score({"region": "south"}).tolist() == prior.score({"region": "south"}).tolist()
    assert ContextPrior.from_arrays(prior.arrays("x"), "y") is None


def test_an_arm_that_was_never_seen_is_not_known() -> None:
    seen = replace(seen_of([[[0.5, 0.5]] * 2] * 2, n=300), arms=("a", "b", "c"))
    assert np.isnan(fit_prior(seen, PLAIN).prior.score({"region": "north"})).tolist() == [False, False, True]


@given(arrays(np.int64, (6, 3), elements=st.integers(-1, 3)))
def test_packed_codes_are_one_to_one(codes) -> None:
    found = packed(codes, [4, 4, 4])
    for one, other, a, b in zip(codes, codes[::-1], found, found[::-1], strict=True):
        assert (a == -1) == (one < 0).any()
        if a >= 0 and b >= 0:
            assert (a == b) == (one == other).all()


def test_find_gives_places_and_nothing_else() -> None:
    assert find(np.array([2, 5, 9]), np.array([5, 4, -1, 9, 10])).tolist() == [1, -1, -1, 2, -1]
    assert find(np.empty(0, np.int64), np.array([1])).tolist() == [-1]


def log_of(features, known=None) -> DecisionLog:
    n = len(features)
    block = np.asarray(features, np.float32)
    return DecisionLog(
        subject=np.arange(n), request=np.arange(n), decided_at=np.arange(n), slot=np.zeros(n, np.int32),
        position=np.zeros(n, np.int32), action=np.zeros(n, np.int32), propensity=np.full((n, 2), 0.5), features=block,
        rewards={"click": np.ones(n)}, usable=np.ones(n, bool), holdout=np.zeros(n, bool), slots=("hero",),
        actions=(None, "a"), names=("region", "month", "hour", "known"), categorical=(True, False, False, False),
        words=(("north", "south"), (), (), ()),
    )  # fmt: skip


def test_a_visit_is_read_off_the_log() -> None:
    log = log_of([[0, 1, 23, 0], [1, 1, 6, 0], [np.nan, 7, 21, 1], [0, 1, 23, np.nan]])
    codes, words = contexts(log, southern=["south"])
    told = [
        {name: words[at][code] for at, (name, code) in enumerate(zip(DIMENSIONS, row, strict=True)) if code >= 0}
        for row in codes.tolist()
    ]
    assert told[0] == told[3] == {"region": "north", "season": "winter", "hour": "night"}
    assert told[1] == {"region": "south", "season": "summer", "hour": "morning"}
    assert told[2] == {"season": "summer", "hour": "evening"}
    assert strangers(log).tolist() == [True, True, False, True]
    seen = seen_in(log, "click", ["south"])
    assert len(seen) == 3
    assert seen.arms == (NOTHING, "a")
    assert seen.weight.tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(DataError, match="no decision"):
        seen_in(log.take(np.array([2])), "click")


def test_likelihood_of_a_chance_that_was_said_is_best() -> None:
    outcome = np.array([1.0, 0.0, 0.0, 0.0])
    grid = np.linspace(0.01, 0.99, 99)
    best = max(grid, key=lambda p: log_likelihood(np.full(4, p), outcome).sum())
    assert best == pytest.approx(0.25)
    assert np.isfinite(log_likelihood(np.array([0.0, 1.0]), np.array([1.0, 0.0]))).all()
