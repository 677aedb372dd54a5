"""Buy again: cycles are recovered from a world that has them, shrunk where little is known, and peak where due."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataError
from features.kinds import EventType
from features.moments import DAY
from serving.query import Query
from serving.recipe import Recipe, SourceSpec
from serving.sources import build_sources
from serving.sources.replenishment import elapsed
from tests.test_training.test_fitting import NOW, histories_of
from training.fitting import Cut, fit_bundle
from training.replenishment import ReplenishmentParams, Trials, fit_replenishment, shrunk

SPEC = SourceSpec("again", "replenishment", "replenishment", {"horizon_days": 7.0})
CYCLES = (5.0, 15.0, 40.0)
REPEATS = (0.9, 0.6, 0.2)
LONG = 1000.0


def renewals(customers: int = 300, seed: int = 3, spread: float = 0.3) -> list[tuple]:
    """Customers who buy three items, each with its own cycle (log-logistic) and probability of going on."""
    random, lines = np.random.default_rng(seed), []
    for customer in range(customers):
        for item, (cycle, repeat) in enumerate(zip(CYCLES, REPEATS, strict=True)):
            at = random.uniform(0, LONG / 2)
            while at < LONG:
                lines.append((f"c:{customer:04}", at, item))
                if random.random() > repeat:
                    break
                at += cycle * np.exp(spread * np.sqrt(3) / np.pi * random.logistic())
    return lines


def cut_of(lines: list[tuple], items: int = 6, days: float = LONG) -> Cut:
    return Cut(histories_of(lines, items), int(days * DAY), min_customers=1)


@pytest.fixture(scope="module")
def world() -> Cut:
    return cut_of(renewals())


@pytest.fixture(scope="module")
def source(world):
    return build_sources(fit_bundle(world, Recipe("r", (SourceSpec("popularity", "popularity"), SPEC), {})))["again"]


def scores(source, *lines: tuple[float, int], now: float = 100.0) -> dict[int, float]:
    """Scores by item, for purchases (day, item)."""
    past = histories_of([("c:x", *line) for line in lines]).at(0)
    said = source.opine(Query(now=int(now * DAY), history=past))
    return dict(zip(said.items.tolist(), said.scores.tolist(), strict=True))


def test_cycles_and_repeats_of_a_known_world_are_recovered(world) -> None:
    """Median cycles within a tenth, repeat probabilities within 0.05, spreads near 0.3."""
    found = fit_replenishment(world, ReplenishmentParams()).arrays
    assert np.exp(found["log_days"][:3]) == pytest.approx(CYCLES, rel=0.1)
    assert found["repeat"][:3] == pytest.approx(REPEATS, abs=0.05)
    assert found["spread"][1:3] == pytest.approx([0.3, 0.3], abs=0.06)


def test_an_item_without_repeats_takes_what_the_shop_knows(world) -> None:
    """Items 3 to 5 were never bought: the shop's mean, between the shortest and the longest cycle."""
    found = fit_replenishment(world, ReplenishmentParams()).arrays
    assert np.ptp(found["log_days"][3:]) == 0
    assert np.log(CYCLES[0]) < found["log_days"][3] < np.log(CYCLES[2])
    assert REPEATS[2] < found["repeat"][3] < REPEATS[0]


def test_open_intervals_are_not_failures() -> None:
    """Everybody goes on, but the past is short: taken as failures, open intervals would give less than 0.75."""
    random = np.random.default_rng(0)
    lines = [(f"c:{n:03}", at, 0) for n in range(200) for at in np.arange(random.uniform(0, 60), 60, 20.0)]
    found = fit_replenishment(cut_of(lines, days=60), ReplenishmentParams())
    naive = Trials.of(cut_of(lines, days=60).known, 60 * DAY)
    assert naive.followed[naive.earlier == 0].mean() < 0.75
    assert found.arrays["repeat"][0] > 0.95


@pytest.mark.parametrize(("item", "cycle"), list(enumerate(CYCLES)))
def test_the_score_is_highest_where_the_item_is_due(source, item: int, cycle: float) -> None:
    """Over all waiting times, the peak lies near one cycle less half the horizon, and it has fallen long after."""
    waited = np.arange(0.5, 12 * cycle, cycle / 20)
    said = np.array([scores(source, (1000 - days, item), now=1000)[item] for days in waited])
    peak = waited[said.argmax()]
    assert 0.3 * cycle < peak < 1.5 * cycle
    assert said[-1] < 0.75 * said.max()
    assert said[0] < said.max()


def test_own_intervals_take_over_from_the_items(source) -> None:
    """Someone who buys the 15-day item every 40 days is not yet due after 15; by one purchase that cannot be known."""
    cycles = source.cycles(histories_of([("c:x", day, 1) for day in (0, 40, 80, 120, 160)]).at(0), 175 * DAY)
    single = source.cycles(histories_of([("c:x", 160, 1)]).at(0), 175 * DAY)
    assert single.median[0] == pytest.approx(15, rel=0.1)
    assert single.median[0] < cycles.median[0] <= 41
    assert (single.own[0], cycles.own[0]) == (0, 4)
    assert cycles.spread[0] <= single.spread[0]
    assert cycles.repeat[0] > single.repeat[0]


def test_two_purchases_already_say_something(source) -> None:
    """With customers who differ, one own interval moves the cycle towards it."""
    one = source.cycles(histories_of([("c:x", 0, 1), ("c:x", 40, 1)]).at(0), 60 * DAY)
    none = source.cycles(histories_of([("c:x", 40, 1)]).at(0), 60 * DAY)
    assert one.median[0] >= none.median[0]
    assert one.own.tolist() == [1]


def test_customers_who_differ_are_believed_sooner() -> None:
    """Each has a cycle of their own (7 or 60 days, hardly any noise): two purchases tell which it is."""
    random = np.random.default_rng(1)
    lines = [
        (f"c:{n:03}", at + random.uniform(-0.5, 0.5), 0) for n in range(60) for at in np.arange(5, 300, (7, 60)[n % 2])
    ]
    cut = cut_of(lines, days=300)
    assert cut.fit(SPEC).figures["within"] < 0.2
    source = build_sources(fit_bundle(cut, Recipe("r", (SourceSpec("popularity", "popularity"), SPEC), {})))["again"]
    cycles = source.cycles(histories_of([("c:x", 200, 0), ("c:x", 260, 0)]).at(0), 300 * DAY)
    assert cycles.median[0] == pytest.approx(60, rel=0.3)


def test_what_came_back_is_not_due(source) -> None:
    past = histories_of([("c:x", 80, 0), ("c:x", 81, 0, EventType.RETURN), ("c:x", 80, 1)]).at(0)
    found = source.opine(Query(now=NOW, history=past)).best(5)
    assert found.items.tolist() == [1]


def test_a_day_counts_once_and_order_within_it_says_nothing(source) -> None:
    """Three lines of one day are one purchase, in whatever order they stand."""
    one = scores(source, (80.1, 0), (80.5, 0), (80.9, 1), (90.0, 0))
    two = scores(source, (80.9, 0), (80.2, 1), (90.0, 0))
    assert one == pytest.approx(two)


def test_nothing_after_the_moment_is_learned() -> None:
    lines = renewals(60)
    now = int(500 * DAY)
    whole = Cut(histories_of(lines), now, min_customers=1)
    before = Cut(
        histories_of([line for line in lines if line[1] < 500], subjects=sorted({r[0] for r in lines})),
        now,
        min_customers=1,
    )
    one, two = (fit_replenishment(each, ReplenishmentParams()).arrays for each in (whole, before))
    assert all((one[name] == two[name]).all() for name in one)


def test_categories_lend_their_cycle() -> None:
    """Two categories with cycles of 10 and 60 days; an item with a single repeat is near its category's."""
    random = np.random.default_rng(2)
    lines = [
        (f"c:{n:03}", start + k * cycle * random.uniform(0.9, 1.1), item)
        for n in range(60)
        for item, cycle in ((0, 10), (1, 10), (2, 60), (3, 60))
        for start in [random.uniform(0, 30)]
        for k in range(4)
    ]
    lines += [("c:500", 50, 4), ("c:500", 80, 4), ("c:500", 50, 5), ("c:500", 80, 5)]
    cut = cut_of(lines, days=400)
    cut.items["shared.category"][:] = np.array([0, 0, 1, 1, 0, 1], np.int32)
    days = np.exp(fit_replenishment(cut, ReplenishmentParams()).arrays["log_days"])
    assert days[:4] == pytest.approx([10, 10, 60, 60], rel=0.1)
    assert days[4] == pytest.approx(10, rel=0.35)
    assert days[5] == pytest.approx(60, rel=0.35)


def test_a_shop_without_repeats_has_no_cycles() -> None:
    with pytest.raises(DataError, match="20 purchases that repeat"):
        fit_replenishment(cut_of([(f"c:{n}", 10 + n, 0) for n in range(50)]), ReplenishmentParams())


@given(
    st.lists(st.tuples(st.integers(1, 30), st.floats(-5, 5)), min_size=1, max_size=10),
    st.floats(0.01, 10),
    st.floats(-5, 5),
)
def test_shrunk_means_lie_between_their_own_and_the_centre(groups, variance, centre) -> None:
    """Never outside, and exactly the centre for a group of no observations."""
    count = np.array([0, *(size for size, _ in groups)])
    own = np.array([0.0, *(mean for _, mean in groups)])
    found = shrunk(own * count, count, np.full(len(count), centre), variance)
    assert found[0] == pytest.approx(centre)
    low, high = np.minimum(own, centre)[1:], np.maximum(own, centre)[1:]
    assert ((low - 1e-9 <= found[1:]) & (found[1:] <= high + 1e-9)).all()


def test_shrinkage_recovers_how_much_groups_differ() -> None:
    """Groups with tau = 2 around 0, ten observations of variance 4 each: k = 4 / 4 = 1, so a mean keeps 10 / 11."""
    random = np.random.default_rng(5)
    truth = random.normal(0, 2, 4000)
    total = (truth + random.normal(0, 2 / np.sqrt(10), 4000)) * 10
    found = shrunk(total, np.full(4000, 10), np.zeros(4000), 4.0)
    assert np.polyfit(total / 10, found, 1)[0] == pytest.approx(10 / 11, abs=0.01)
    chance = random.normal(0, 2 / np.sqrt(10), 4000) * 10
    assert np.abs(shrunk(chance, np.full(4000, 10), np.zeros(4000), 4.0)).max() < 0.3


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0.5, 500), st.floats(0.05, 3))
def test_elapsed_is_a_distribution(one, more, median, spread) -> None:
    """From 0 to 1, rising, one half at the median."""
    first, later, middle = (
        elapsed(np.array([d]), np.array([median]), np.array([spread]))[0] for d in (one, one + more, median)
    )
    assert 0 <= first <= later <= 1
    assert middle == pytest.approx(0.5)
