"""Landing pages in shops of known truth: values by enumeration, provable worlds, the holdout, coverage, the cache."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError, DataError
from features.shop import Shop
from serving.decide import in_holdout
from serving.policies import PolicySpec, probabilities
from training.bench import pages
from training.bench.page_launch import (
    BEST,
    ESTIMATORS,
    GREEDY,
    KNOWN,
    ORACLE,
    ORDER,
    POLICY,
    STATIC,
    Launched,
    happened,
    launched,
    options_of,
    valued_before,
    windows,
)
from training.bench.page_report import rows_of, table_of
from training.bench.page_served import picked, served
from training.bench.page_static import SHOWN, Static, best_order, best_static
from training.bench.page_truth import OUTCOMES, Truth, by_tables, logging, possible
from training.bench.page_world import CLICK, HOLDOUT, PURCHASE, Contexts, Visits, held_out, log_of, visits_of
from training.bench.policy import Load, query_of
from training.bench.rows import Row
from training.bench.slot_world import WIDTH, could
from training.simulation.effects import PAGE_ACTIONS, Segment
from training.slots.judging import alike_once
from training.slots.study import slot_study

COLUMN = {action.id: at for at, action in enumerate(PAGE_ACTIONS, 1)}
LESS = 4_000


@pytest.fixture(scope="module")
def tiny() -> Visits:
    return visits_of("tiny", 0)


@pytest.fixture(scope="module")
def shop() -> Visits:
    return visits_of("s", 0)


def huge() -> Truth:
    """Bargain hunters click on the offer, others on the season; in the band tips for pets or the question.

    The hero has something better than tips for everybody: then the best page is the best of each slot in turn.
    """
    effects = {name: table.copy() for name, table in Truth.nothing().effects.items()}
    bargain = (np.arange(effects[CLICK].shape[1]) & int(Segment.BARGAIN)) > 0
    pet = (np.arange(effects[CLICK].shape[1]) & int(Segment.PET)) > 0
    effects[CLICK][COLUMN["offer-ten-percent"], bargain] = 0.8
    effects[CLICK][COLUMN["content-season"], ~bargain] = 0.8
    effects[CLICK][COLUMN["tip-pet-care"], pet] = 0.5
    effects[CLICK][COLUMN["question-pet"], ~pet] = 0.5
    return Truth(effects)


def test_the_holdout_is_that_of_serving(tmp_path) -> None:
    shop = Shop("mine", tmp_path / "mine")
    asked = msgspec.structs.replace(query_of(Load(events=1)), user_id=None)
    number = np.repeat(np.arange(400), 2)
    anonymous = np.tile([True, False], 400)
    mine = held_out("mine", anonymous, number, secret=shop.secret.hex())
    theirs = [
        in_holdout(
            shop,
            msgspec.structs.replace(asked, **({"visitor_id": f"v{n}"} if alone else {"user_id": f"c{n}"})),
            HOLDOUT,
        )
        for n, alone in zip(number.tolist(), anonymous.tolist(), strict=True)
    ]
    assert mine.tolist() == theirs
    assert 0 < mine.sum() < 50


def test_pages_are_what_the_shop_logged(tiny) -> None:
    log, n = log_of(tiny), len(tiny)
    np.testing.assert_allclose(log.propensity.sum(axis=1), 1)
    assert (log.taken > 0).all()
    hero, band = log.action[:n], log.action[n:]
    assert ((hero != band) | (hero == 0)).all(), "no action stands twice on a page"
    assert (np.diff(tiny.at) >= 0).all()
    assert log.reward(CLICK).sum() == tiny.clicked.sum()
    assert log.reward(PURCHASE)[n:].tolist() == tiny.bought.tolist()
    assert (log.usable == ~log.holdout).all()
    with pytest.raises(ConfigError, match="unknown size"):
        visits_of("huge", 0)


def test_values_are_sums_over_pairs(tiny) -> None:
    """Second derivation, page by page over all pairs, of the shop's own drawing and of the oracle."""
    some = tiny.take(slice(0, None, 40))
    contexts, truth = Contexts.among(some), Truth.frozen()
    tables = logging(contexts)
    found = truth.valued(some, contexts.of, by_tables(tables))
    best = truth.valued(some, contexts.of, truth.oracle({PURCHASE: 1.0}))
    for page in range(len(some)):
        heroes, bands = (np.flatnonzero(could(mask[[page]])[0]) for mask in (some.hero, some.band))
        sums, top = np.zeros(len(OUTCOMES)), -1.0
        for hero, band in product(heroes, bands):
            if hero == band and hero:
                continue
            context = contexts.of[page]
            chance = tables.hero[context, hero] * tables.band[hero, context, band]
            each = np.array([truth.pairs(some.take([page]), name)[0, hero, band] for name in OUTCOMES])
            sums, top = sums + chance * each, max(top, each[1])
        np.testing.assert_allclose(found[page], sums, atol=1e-12)
        assert best[page, 1] == pytest.approx(top)
    contexts = Contexts.among(tiny)
    every = truth.valued(tiny, contexts.of, by_tables(logging(contexts))).mean(axis=0)
    assert every[1] == pytest.approx(tiny.bought.mean(), abs=0.05)
    assert every[0] == pytest.approx(tiny.clicked.sum(axis=1).mean(), abs=0.04)


def test_effects_are_those_of_the_frozen_world() -> None:
    """A customer with a project, on the desk, by hand: the guide adds .09 to clicks, and .98 of clicks are recorded."""
    one = Visits(
        person=np.array([0]), at=np.array([0]), situation=np.array([int(Segment.PROJECT)]),
        hero=np.array([(1 << 13) - 1]), band=np.array([(1 << 13) - 1]), click_base=np.array([[0.05, 0.04]]),
        buy_base=np.array([0.96]), action=np.array([[0, 0]]), clicked=np.array([[False, False]]),
        bought=np.array([False]), holdout=np.array([False]),
    )  # fmt: skip
    truth, guide, early = Truth.frozen(), COLUMN["guide-choosing"], COLUMN["early-access"]
    clicks = truth.pairs(one, CLICK)[0]
    assert clicks[guide, 0] == pytest.approx(0.98 * 0.14)
    assert clicks[0, guide] == pytest.approx(0.98 * 0.13)
    assert clicks[0, 0] == 0
    assert truth.pairs(one, PURCHASE)[0, guide, 0] == pytest.approx(0.97), "no visit is surer than that"
    new = replace(one, situation=np.array([int(Segment.NEW)]))
    assert truth.pairs(new, "lost-purchases")[0, early, 0] == pytest.approx(0.008)
    assert truth.pairs(new, "lost-clicks")[0, early, 0] == pytest.approx(0.02)
    impossible = replace(new, buy_base=np.array([-9.0]))
    assert truth.pairs(impossible, "lost-purchases").sum() == 0
    assert truth.pairs(impossible, PURCHASE).sum() == 0
    atelier, gold = COLUMN["exclusive-atelier"], replace(one, situation=np.array([int(Segment.GOLD | Segment.HIDDEN)]))
    assert truth.slots(gold, CLICK)[0, 0, atelier] == pytest.approx(0.98 * (0.05 + 0.08))
    assert truth.slots(gold, CLICK, hidden=0.25)[0, 0, atelier] == pytest.approx(0.98 * (0.05 + 0.05 + 0.25 * 0.03))


def test_the_best_static_page_is_the_best_of_all(tiny) -> None:
    some = tiny.take(slice(0, None, 3))
    contexts, truth = Contexts.among(some), Truth.frozen()

    def clicks(page: Static) -> float:
        return float(truth.valued(some, contexts.of, by_tables(page.tables(contexts)))[:, 0].mean())

    best, order = (find(truth, some, contexts, CLICK) for find in (best_static, best_order))
    every = [clicks(Static((hero,), (band,))) for hero, band in product(*SHOWN) if hero != band]
    assert clicks(best) == pytest.approx(max(every))
    oracle = truth.valued(some, contexts.of, truth.oracle({CLICK: 1.0}))[:, 0].mean()
    assert clicks(best) <= clicks(order) <= oracle
    assert possible(some)[:, 0, 0].all()
    assert not possible(some)[:, range(1, WIDTH), range(1, WIDTH)].any(), "no action twice"


def test_a_static_page_takes_the_first_that_may_be_shown(tiny) -> None:
    contexts = Contexts.among(tiny)
    tables = Static((COLUMN["early-access"], COLUMN["products-popular"]), (COLUMN["products-popular"],)).tables(
        contexts
    )
    known = contexts.eligible(0)[:, COLUMN["early-access"]]
    assert (tables.hero[known, COLUMN["early-access"]] == 1).all()
    assert (tables.hero[~known, COLUMN["products-popular"]] == 1).all()
    assert (tables.band[COLUMN["products-popular"], :, 0] == 1).all(), "it is taken: the band stays empty"
    assert (tables.band[0, :, COLUMN["products-popular"]] == 1).all()


def test_where_effects_are_huge_the_policy_is_the_oracle(shop) -> None:
    truth = huge()
    visits = truth.redrawn(shop, np.random.default_rng(1))
    found = launched(visits, truth, np.random.default_rng(2), decisions=3 * LESS // 2)
    value = {name: each[0] for name, each in found.values.items()}
    assert set(found.ships.values()) == {"policy"}
    assert found.static == found.best, "nobody can take the wrong page for the best one"
    assert value[GREEDY] == pytest.approx(value[ORACLE], rel=0.01)
    assert value[KNOWN] == pytest.approx(value[ORACLE]), "there is no hidden taste in it"
    assert value[BEST] < value[POLICY] <= value[GREEDY], "exploring costs"
    assert found.holdout[0] > 0
    assert found.holdout[1] == 0
    _, low, high = found.said[CLICK]["dr"]
    assert low < found.true[CLICK] < high
    assert low > 0
    assert found.realised[CLICK] == pytest.approx(found.true[CLICK], abs=0.2)
    [passes] = [row.value for row in rows_of("s", CLICK, [found, found]) if row.metric == "passes"]
    assert passes == 1


def test_where_nothing_matters_the_gate_refuses_and_nothing_changes(shop) -> None:
    truth = Truth.nothing()
    found = launched(truth.redrawn(shop, np.random.default_rng(3)), truth, np.random.default_rng(4), decisions=LESS)
    assert found.decisions <= LESS
    assert "policy" not in found.ships.values()
    assert found.true == {CLICK: 0, PURCHASE: 0}, "the static page stays"
    assert found.said[CLICK]["dr"] == (0, 0, 0)
    assert found.values[ORACLE][0] == pytest.approx(found.values[BEST][0])
    share = {row.subject: row.value for row in rows_of("s", CLICK, [found, found]) if row.metric.startswith("share-of")}
    assert np.isnan(share[POLICY]), "a share of no gain is undefined"


def test_the_holdout_is_not_learned_from_and_not_served(shop) -> None:
    """With half of all people held out, the log that is learned from has none of them, and none sees the policy."""
    truth = huge()
    half = np.random.default_rng(5).random(int(shop.person.max()) + 1) < 0.5
    visits = replace(truth.redrawn(shop, np.random.default_rng(6)), holdout=half[shop.person])
    past, before, launch = windows(visits)
    log = log_of(past.take(slice(0, LESS // 2)))
    assert not half[log.subject[log.usable]].any()
    study = slot_study(log, options_of(CLICK))
    assert not np.concatenate([half[study.log.subject[slot.rows]] for slot in study.slots]).any()
    other = replace(visits, clicked=visits.clicked | visits.holdout[:, None])
    static, (known, contexts) = picked(study), Contexts.shared(before, launch)
    page, fixed = served(study, contexts, static), static.tables(contexts)
    said = valued_before(before, known, page, fixed)
    assert valued_before(windows(other)[1], known, page, fixed) == said, "what they did is not asked for"
    assert launch.holdout.sum() > 200
    for out in (launch.holdout, ~launch.holdout):
        _, strange = happened(truth, replace(launch, holdout=out), contexts, page, fixed, np.random.default_rng(7))
        assert strange == 0
    _, strange = happened(truth, launch, contexts, page, page, np.random.default_rng(7))
    assert strange > 20, "two draws of the policy differ: the count can see a policy"


def test_what_the_hero_takes_from_the_band_biases_no_estimate(shop) -> None:
    """The guide is worth much in both slots. Where the log's hero took it the band could not, a static page's can."""
    effects = {name: table.copy() for name, table in Truth.nothing().effects.items()}
    effects[CLICK][COLUMN["guide-choosing"]] = 0.8
    truth, before = Truth(effects), windows(shop)[1]
    contexts = Contexts.among(before)
    page, fixed = (Static((COLUMN["content-season"],), (COLUMN[band],)).tables(contexts)
                   for band in ("guide-choosing", "question-pet"))  # fmt: skip
    kept = ~before.holdout
    mine, other = (truth.valued(before.take(kept), contexts.of[kept], by_tables(each))[:, 0].mean()
                   for each in (page, fixed))  # fmt: skip
    drawn = [truth.redrawn(before, np.random.default_rng(seed)) for seed in range(9)]
    said = [valued_before(each, contexts, page, fixed)[CLICK] for each in drawn]
    for name in ESTIMATORS:
        value = np.array([each[name][0] for each in said])
        assert value.mean() == pytest.approx(mine - other, abs=4 * value.std(ddof=1) / 3), name
        assert all(low < middle < high for middle, low, high in (each[name] for each in said))
    assert np.std([each["dr"][0] for each in said]) < 0.04, "a hero of .8 in a tenth of pages would be seen"


def test_a_shop_without_a_past_is_refused(tiny) -> None:
    with pytest.raises(DataError, match="no pages from before"):
        windows(tiny.take(tiny.at > tiny.at.max() - 1_000_000))
    past, before, launch = windows(tiny)
    assert len(past) + len(before) + len(launch) == len(tiny)
    assert past.at.max() < before.at.min() <= before.at.max() < launch.at.min()


def by_hand(seed: int, low: float, high: float, policy: float = 0.15) -> Launched:
    """A launch that adds .05 clicks in truth, .045 as it was drawn."""
    values = {name: [0.1, 0.3, 0.0, 0.0, 0.0, 0.0] for name in (STATIC, BEST, ORDER, "best static for purchases",
              "logging")} | {POLICY: [policy, 0.33, 0.001, 0.0, 0.0, 0.0], GREEDY: [0.17, 0.3, 0, 0, 0, 0],
              KNOWN: [0.2, 0.3, 0, 0, 0, 0], ORACLE: [0.2, 0.3, 0, 0, 0, 0]}  # fmt: skip
    said = {name: dict.fromkeys(ESTIMATORS, (0.05, low, high)) for name in (CLICK, PURCHASE)}
    return Launched(
        seed, 1000, 500, {"hero": "policy", "band": "nothing" if seed else "policy"}, "a", "b", "c", values, values,
        said, {CLICK: 0.05, PURCHASE: 0.03}, {CLICK: 0.045, PURCHASE: 0.03}, (10, 0),
    )  # fmt: skip


def test_figures_over_shops() -> None:
    found = [by_hand(0, 0.04, 0.06), by_hand(1, 0.048, 0.06), by_hand(2, 0.051, 0.06), by_hand(3, -0.1, 0.2, 0.17)]
    rows: dict[tuple[str, str], Row] = {(row.subject, row.metric): row for row in rows_of("m", CLICK, found)}
    assert rows["dr", "click-covered"].value == 0.75
    assert rows["dr", "click-realised-covered"].value == 0.5
    assert rows["dr", "purchase-covered"].value == 0.25
    assert rows["dr", "click-above-zero"].value == 0.75
    assert rows[POLICY, "share-of-oracle-gain"].value == pytest.approx((3 * 0.5 + 0.7) / 4)
    assert rows[POLICY, "click-lift-over-best-static"].value == pytest.approx((3 * 0.5 + 0.7) / 4)
    assert rows[POLICY, "purchase-lift-over-best-static"].value == pytest.approx(0.1)
    assert rows["gate", "passes"].value == 0.25
    assert rows["gate", "passes-hero"].value == 1
    assert rows["holdout", "pages"].value == 40
    assert rows["holdout", "personalised"].value == 0
    low, high = rows[POLICY, "share-of-oracle-gain"].low, rows[POLICY, "share-of-oracle-gain"].high
    assert low is not None
    assert high is not None
    assert 0.49 < low < high < 0.71
    assert table_of("m", CLICK, found).row_count > 10


def test_finished_shops_are_not_made_again(tmp_path, monkeypatch) -> None:
    made = []

    def once(visits: Visits, truth: Truth, random: object, outcome: str, *, seed: int, decisions: int,
             tell: object) -> Launched:  # fmt: skip
        made.append((seed, decisions))
        return by_hand(seed, 0.0, 0.1)

    monkeypatch.setattr(pages, "launched", once)
    plan = pages.Plan("tiny")
    first = pages.run(plan, [0, 1], [0], tmp_path)
    again = pages.run(plan, [0, 1, 2], [0, 1000], tmp_path)
    assert made == [(0, 0), (1, 0), (0, 1000), (1, 1000), (2, 0), (2, 1000)]
    assert again[0][:2] == first[0]
    assert [each.seed for each in again[1]] == [0, 1, 2]


@given(
    st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 0.5, float("nan")]), st.booleans()), min_size=1, max_size=12),
    st.sampled_from(["greedy", "thompson", "inverse-gap"]),
)
def test_equal_rows_have_the_probabilities_of_each_alone(rows, explore) -> None:
    values = np.array([[0.0, value, 0.1] for value, _ in rows])
    eligible = np.array([[True, may, True] for _, may in rows])
    spread = np.full(values.shape, 0.2)
    spec = PolicySpec("p", ("a", "b"), {CLICK: 1.0}, floor=0.05, explore=explore, draws=50)
    np.testing.assert_array_equal(
        alike_once(spec, values, eligible, spread), probabilities(spec, values, eligible, spread)
    )
