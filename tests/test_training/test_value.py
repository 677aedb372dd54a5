"""Expected value per customer: what events bring, samples without the future, calibration, and the walk by hand."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from features.build import histories_as_of
from features.dataset import Dataset
from features.errors import DataError
from features.history import Histories, History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY, parse_instant
from features.shop import Shop
from training.cli import main
from training.value.forecast import Samples, forecast_value, horizon_of, verdict_of
from training.value.judge import deciles_of, deviances, normalised_gini, scores_of, spearman
from training.value.methods import BASELINES, BG_NBD, CORRECTED, HURDLE, LAST_PERIOD, MEAN, METHODS
from training.value.money import Money, money_of
from training.value.report import SCHEMA, value_table
from training.value.sample import NAMES, Sample, sample_at

MakeDataset = Callable[..., Dataset]
MakeShop = Callable[[Path], Shop]
AS_OF = parse_instant("2017-06-01")
PURCHASE, RETURN, WISH = int(EventType.PURCHASE), int(EventType.RETURN), int(EventType.WISHLIST)
Happening = tuple[int, float, int, float]
"""(customer, day, type, amount)"""


def histories_of(happenings: Sequence[Happening], n: int) -> tuple[Histories, np.ndarray]:
    """Histories of customers 0 ... n-1, and what each event brought (returns negative)."""
    ordered = sorted(happenings, key=lambda each: (each[0], each[1]))
    who = np.array([each[0] for each in ordered], np.int64)
    time = np.array([round(each[1] * DAY) for each in ordered], np.int64)
    kind = np.array([each[2] for each in ordered], np.int8)
    amount = np.array([each[3] for each in ordered], np.float64)
    one = np.ones(len(ordered), np.float32)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(who, minlength=n))])
    events = History(
        time, time.copy(), np.zeros(len(ordered), np.int32), kind, one, amount.astype(np.float32),
        np.arange(len(ordered), dtype=np.uint64),
    )  # fmt: skip
    subjects = Vocabulary.of(f"c:{row:06d}" for row in range(n))
    brought = np.where(kind == PURCHASE, amount, np.where(kind == RETURN, -amount, 0))
    return Histories(subjects, Vocabulary.of(["tea"]), offsets.astype(np.int64), events), brought


def money(folder: Path, make_dataset: MakeDataset, **tables: Any) -> tuple[Money, Histories]:
    dataset = make_dataset(folder, **tables)
    histories = histories_as_of(dataset, AS_OF)
    return money_of(dataset, histories, AS_OF), histories


def totals(found: tuple[Money, Histories]) -> dict[str, float]:
    """Customer -> what all their events brought."""
    amounts, histories = found[0].amount, found[1]
    sums = np.bincount(histories.subject_rows(), amounts, len(histories))
    return {subject: float(each) for subject, each in zip(histories.subjects, sums, strict=True)}


def line(who: str, at: str, price: float | None, item: str = "tea", **more: Any) -> dict[str, Any]:
    return {"customer_id": who, "item_id": item, "at": at, "unit_price": price, **more}


# --- what events bring


def test_revenue_where_costs_are_unknown_and_returns_are_taken_away(tmp_path, make_dataset):
    events = [
        line("ann", "2017-03-01", 10, quantity=3, discount=4),
        line("ann", "2017-03-05", 10, quantity=1, discount=1, type="return"),
        line("bob", "2017-03-02", 5),
        line("bob", "2017-03-03", 100, type="view"),
        line("cat", "2017-03-02", 7, type="return"),
    ]
    found = money(tmp_path, make_dataset, events=events)
    assert found[0].unit == "revenue"
    assert "0.0% of the revenue" in found[0].why
    assert totals(found) == pytest.approx({"c:ann": 26 - 9, "c:bob": 5, "c:cat": -7})


def test_margin_by_the_cost_at_the_time_of_the_line(tmp_path, make_dataset):
    """A line before the first known cost takes the first one; a later cost does not reach back."""
    items = [
        {"item_id": "tea", "valid_from": parse_instant("2017-02-01"), "unit_cost": 4.0},
        {"item_id": "tea", "valid_from": parse_instant("2017-04-01"), "unit_cost": 6.0},
        {"item_id": "cup", "valid_from": 0, "unit_cost": 1.0},
        {"item_id": "cup", "valid_from": parse_instant("2018-01-01"), "unit_cost": 100.0},
    ]
    events = [
        line("ann", "2017-01-01", 10, quantity=2),
        line("bob", "2017-03-31T23:59:59Z", 10),
        line("cat", "2017-04-01", 10),
        line("dan", "2017-05-01", 10, item="cup", quantity=3),
        line("dan", "2017-05-03", 10, item="cup", quantity=1, type="return"),
    ]
    found = money(tmp_path, make_dataset, events=events, items=items)
    assert found[0].unit == "margin"
    assert totals(found) == pytest.approx({"c:ann": 12, "c:bob": 6, "c:cat": 4, "c:dan": 27 - 9})


@pytest.mark.parametrize(("costless", "unit"), [(4.0, "margin"), (6.0, "revenue")])
def test_margin_needs_the_cost_of_nearly_all_revenue(tmp_path, make_dataset, costless, unit):
    """Of 100 in all, so much has no cost; in a margin it counts the margin of the others, and is told."""
    items = [{"item_id": "tea", "unit_cost": 5.0}, {"item_id": "cup"}]
    events = [line("ann", "2017-03-01", (100 - costless) / 8, quantity=8), line("bob", "2017-03-01", costless, "cup")]
    found = money(tmp_path, make_dataset, events=events, items=items)
    assert found[0].unit == unit
    margin = 100 - costless - 40
    share = margin / (100 - costless)
    assert totals(found)["c:bob"] == pytest.approx(costless * share if unit == "margin" else costless)
    assert any("without a cost" in note for note in found[0].notes) == (unit == "margin")


def test_the_tax_inside_a_price_is_nobodys_value(tmp_path, make_dataset):
    items = [
        {"item_id": "tea", "tax_included": True, "tax_rate": 0.25},
        {"item_id": "cup", "tax_included": False, "tax_rate": 0.25},
    ]
    events = [line("ann", "2017-03-01", 10), line("bob", "2017-03-01", 10, "cup")]
    assert totals(money(tmp_path, make_dataset, events=events, items=items)) == pytest.approx({"c:ann": 8, "c:bob": 10})


def test_lines_without_a_price_are_counted_and_a_shop_without_prices_is_refused(tmp_path, make_dataset):
    some = money(
        tmp_path / "some", make_dataset, events=[line("ann", "2017-03-01", 10), line("ann", "2017-03-02", None)]
    )
    assert totals(some) == {"c:ann": 10}
    assert some[0].notes[0].startswith("1 purchases and returns have no price")
    with pytest.raises(DataError, match="no customer's purchase has a price"):
        money(tmp_path / "none", make_dataset, events=[line("ann", "2017-03-01", None)])


# --- samples

HAPPENINGS = st.lists(
    st.tuples(
        st.integers(0, 4), st.floats(0, 300, allow_nan=False), st.sampled_from([PURCHASE, PURCHASE, RETURN, WISH]),
        st.integers(1, 1000).map(float),
    ),
    max_size=40,
)  # fmt: skip


def naive(happenings: Sequence[Happening], customer: int, now: float, horizon: float) -> dict[str, float]:
    """A few features by a loop over one customer's events."""
    mine = sorted(each for each in happenings if each[0] == customer and each[1] < now)
    days = sorted({math.floor(each[1]) for each in mine if each[2] == PURCHASE})
    gaps = [b - a for a, b in itertools.pairwise(days)]
    sums = {
        day: sum(each[3] for each in mine if each[2] == PURCHASE and math.floor(each[1]) == day) for day in days
    }  # fmt: skip
    sign = {PURCHASE: 1, RETURN: -1, WISH: 0}
    nan = math.nan
    return {
        "value_all": sum(sign[each[2]] * each[3] for each in mine),
        "value_horizon": sum(sign[each[2]] * each[3] for each in mine if each[1] >= now - horizon),
        "value_before": sum(sign[e[2]] * e[3] for e in mine if now - 2 * horizon <= e[1] < now - horizon),
        "baskets_all": len(days),
        "baskets_90d": sum(day >= now - 90 for day in days),
        "recency_days": now - days[-1] if days else nan,
        "tenure_days": now - days[0] if days else nan,
        "gap_mean": float(np.mean(gaps)) if gaps else nan,
        "gap_spread": float(np.std(gaps)) if gaps else nan,
        "last_gap": gaps[-1] if gaps else nan,
        "basket_value": float(np.mean(list(sums.values()))) if days else nan,
        "basket_value_spread": float(np.std(list(sums.values()))) if len(days) > 1 else nan,
        "last_basket_value": sums[days[-1]] if days else nan,
        "recent_basket_value": float(np.mean([sums[day] for day in days[-4:]])) if days else nan,
        "largest_basket_value": max(sums.values()) if days else nan,
        "lines_per_basket": sum(each[2] == PURCHASE for each in mine) / len(days) if days else nan,
        "returns_all": sum(each[2] == RETURN for each in mine),
        "wishes_90d": sum(each[2] == WISH and each[1] >= now - 90 for each in mine),
        "days_since_wish": now - max((each[1] for each in mine if each[2] == WISH), default=nan),
        "days_since_event": now - mine[-1][1],
        "known_days": now - mine[0][1],
    }


@given(HAPPENINGS, st.sampled_from([150.0, 200.5]), st.sampled_from([30, 61]))
def test_features_are_what_a_loop_over_each_customer_finds(happenings, now, horizon):
    happenings = [(who, round(day * 64) / 64, kind, amount) for who, day, kind, amount in happenings]
    histories, brought = histories_of(happenings, 5)
    sample = sample_at(histories, brought, int(now * DAY), horizon * DAY, 300 * DAY)
    assert sample.rows.tolist() == sorted({each[0] for each in happenings if each[1] < now})
    for place, customer in enumerate(sample.rows.tolist()):
        got = dict(zip(NAMES, sample.features[place].tolist(), strict=True))
        for name, value in naive(happenings, customer, now, horizon).items():
            # the spread is the root of a difference of large squares
            assert got[name] == pytest.approx(value, rel=1e-5, abs=1e-3, nan_ok=True), name


@given(HAPPENINGS, st.sampled_from([150.0, 200.5]))
def test_nothing_at_or_after_the_moment_is_in_a_sample_except_in_its_outcome(happenings, now):
    histories, brought = histories_of(happenings, 5)
    moment = int(now * DAY)
    before = histories.events.time < moment
    full = sample_at(histories, brought, moment, 30 * DAY, 300 * DAY)
    cut = sample_at(histories.where(before), brought[before], moment, 30 * DAY, moment)
    assert cut.next is None
    assert full.next is not None
    assert full.rows.tolist() == cut.rows.tolist()
    np.testing.assert_array_equal(full.features, cut.features)
    for name in ("repeats", "recency", "age"):
        np.testing.assert_array_equal(getattr(full.visits, name), getattr(cut.visits, name))
    for place, customer in enumerate(full.rows.tolist()):
        inside = [e for e in happenings if e[0] == customer and moment <= round(e[1] * DAY) < moment + 30 * DAY]
        sums = sum(e[3] * {PURCHASE: 1, RETURN: -1, WISH: 0}[e[2]] for e in inside)
        assert full.next.value[place] == pytest.approx(sums)
        assert full.next.orders[place] == len({round(e[1] * DAY) // DAY for e in inside if e[2] == PURCHASE})


def test_what_was_recorded_later_was_not_known():
    histories, brought = histories_of([(0, 10, PURCHASE, 5), (1, 11, PURCHASE, 7)], 2)
    histories.events.recorded[1] = 50 * DAY
    assert sample_at(histories, brought, 40 * DAY, 5 * DAY, 60 * DAY).rows.tolist() == [0]
    assert sample_at(histories, brought, 50 * DAY, 5 * DAY, 60 * DAY).rows.tolist() == [0, 1]


# --- judging

VALUES = st.lists(
    st.tuples(st.floats(0, 1e5, allow_nan=False), st.floats(-1e3, 1e5, allow_nan=False)), min_size=1, max_size=60
)


@given(VALUES)
def test_deciles_part_all_customers_and_their_means_make_the_total(pairs):
    predicted, observed = np.array(pairs).T
    deciles = deciles_of(predicted, observed)
    n = np.array([each.n for each in deciles])
    assert len(deciles) == min(10, len(pairs))
    assert n.sum() == len(pairs)
    assert n.max() - n.min() <= 1
    assert n @ [each.predicted for each in deciles] == pytest.approx(predicted.sum(), rel=1e-9, abs=1e-6)
    assert n @ [each.observed.value for each in deciles] == pytest.approx(observed.sum(), rel=1e-9, abs=1e-6)
    means = [each.predicted for each in deciles]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(means))


def test_equal_forecasts_are_not_parted_by_the_customers_order():
    """Outcomes that grow with the row would look like a ranking otherwise."""
    observed = np.arange(1000.0)
    means = [each.observed.value for each in deciles_of(np.ones(1000), observed)]
    assert max(means) - min(means) < 200


@given(VALUES)
def test_gini_is_the_area_between_curves(pairs):
    """Against the sum over all pairs: sum_ij (y_i - y_j) sign(f_i - f_j) is 2 n cov(y, ranks of f)."""
    predicted, observed = (np.round(each) for each in np.array(pairs).T)
    signs = np.sign(predicted[:, None] - predicted[None])
    gaps = observed[:, None] - observed[None]
    best = np.abs(gaps).sum()
    expected = (gaps * signs).sum() / best if best > 0 else math.nan
    assert normalised_gini(predicted, observed) == pytest.approx(expected, nan_ok=True, abs=1e-9)


def test_rankings_at_their_ends():
    observed = np.array([0.0, 0.0, 3.0, 10.0, 100.0])
    assert normalised_gini(observed, observed) == pytest.approx(1)
    assert normalised_gini(-observed, observed) == pytest.approx(-1)
    assert normalised_gini(np.ones(5), observed) == 0
    assert math.isnan(normalised_gini(observed, np.ones(5)))
    assert math.isnan(spearman(np.ones(5), observed))
    other = np.array([1.0, 0.0, 9.0, 4.0, 4.0])
    assert spearman(other, observed) == pytest.approx(spearmanr(other, observed).statistic)


@given(st.lists(st.floats(0, 1e4), min_size=2, max_size=30).filter(lambda y: sum(y) > 1), st.floats(0.3, 3))
def test_of_flat_forecasts_the_mean_has_the_least_deviance(observed, factor):
    y = np.array(observed)
    of_mean = deviances(np.full(len(y), y.mean()), y).mean()
    assert of_mean <= deviances(np.full(len(y), factor * y.mean()), y).mean() + 1e-9 * (1 + y.max())


def test_scores_by_hand():
    scores = scores_of(np.array([4.0, 1.0, 1.0]), np.array([9.0, 1.0, -4.0]))
    assert scores.mae == pytest.approx((5 + 0 + 5) / 3)
    assert scores.bias == pytest.approx(6 / 6 - 1)
    assert scores.deviance == pytest.approx((4 * (3 - 2) ** 2 / 2 + 0 + 4 * (0 - 1) ** 2 / 1) / 3)
    nothing = scores_of(np.zeros(0), np.zeros(0))
    assert all(math.isnan(getattr(nothing, name)) for name in ("deviance", "mae", "gini", "spearman", "bias"))
    assert math.isnan(scores_of(np.ones(2), np.zeros(2)).bias)


@given(st.floats(1, 5000), st.integers(1, 1000))
def test_the_past_holds_three_horizons_and_a_time_before_them(past, wanted):
    days = horizon_of(past, wanted)
    assert 0 <= days <= wanted
    assert 3 * days + min(days, 90) <= past or days == 0
    assert days == wanted or days % 7 == 0


@pytest.mark.parametrize(("past", "days"), [(1185.0, 365), (1184.0, 364), (373.2, 91), (365.0, 91), (40.0, 7)])
def test_a_year_ahead_needs_three_and_a_quarter_years(past, days):
    assert horizon_of(past, 365) == days


# --- methods


def regulars(n: int, days: int, seed: int) -> tuple[Histories, np.ndarray]:
    """A shop of BG/NBD and Gamma-Gamma customers."""
    rng = np.random.default_rng(seed)
    happenings: list[Happening] = []
    for customer in range(n):
        rate, leaves = rng.gamma(1.2, 1 / 25), rng.beta(1.0, 4.0)
        scale = rng.gamma(8.0, 1 / 160.0)
        at = float(rng.integers(0, days // 3))
        while at < days:
            happenings.append((customer, at, PURCHASE, max(float(rng.gamma(6.0, 1 / scale)), 0.01)))
            if rng.random() < leaves:
                break
            at += rng.exponential(1 / rate)
    return histories_of(happenings, n)


@pytest.fixture(scope="module")
def world() -> Samples:
    histories, brought = regulars(900, 400, 3)
    return Samples(histories, brought, 90 * DAY, 400 * DAY, lambda what, done, total: None)


def test_models_beat_the_plain_methods_where_customers_are_bg_nbd(world):
    judge = world.end - world.horizon
    found, failed = world.forecasts(judge, list(METHODS), "judge")
    assert not failed
    outcome = world.at(judge).next
    assert outcome is not None
    scores = {name: scores_of(each.value, outcome.value) for name, each in found.items()}
    for model in (BG_NBD, HURDLE, CORRECTED):
        assert scores[model].deviance < min(scores[name].deviance for name in BASELINES)
        assert scores[model].gini > scores[LAST_PERIOD].gini
        assert abs(scores[model].bias) < 0.2
        assert found[model].buys.mean() == pytest.approx((outcome.orders > 0).mean(), abs=0.05)
        assert found[model].orders.sum() == pytest.approx(outcome.orders.sum(), rel=0.2)
    deciles = deciles_of(found[BG_NBD].value, outcome.value)
    top, last = deciles[0], deciles[-1]
    assert top.observed.low > last.observed.high


def test_a_method_is_the_same_whatever_comes_later(world):
    """The whole way of a forecast, from examples to trees, sees nothing at or after its moment."""
    judge = world.end - world.horizon
    before = world.histories.events.time < judge
    cut = Samples(world.histories.where(before), world.amount[before], world.horizon, judge, world.tell)
    seen, blind = (shelf.forecasts(judge, list(METHODS), "judge")[0] for shelf in (world, cut))
    for name in METHODS:
        np.testing.assert_array_equal(seen[name].value, blind[name].value, err_msg=name)


def test_examples_end_before_the_moment_they_teach_for(world):
    for moment in (world.end, world.end - world.horizon, world.end - 2 * world.horizon):
        moments = [sample.moment for sample in world.before(moment)]
        assert len(set(moments)) == len(moments) > 1
        assert max(moments) + world.horizon <= moment
        assert all(sample.next is not None for sample in world.before(moment))


def sample_of(world: Samples) -> Sample:
    return world.at(world.end - world.horizon)


def test_plain_methods_by_hand(world):
    now = sample_of(world)
    past = world.before(now.moment)
    last = METHODS[LAST_PERIOD](past, now, world.horizon)
    start = now.moment - world.horizon
    time = world.histories.events.time
    inside = (time >= start) & (time < now.moment)
    sums = np.bincount(world.histories.subject_rows()[inside], world.amount[inside], len(world.histories))
    np.testing.assert_allclose(last.value, sums[now.rows])
    outcome = past[-1].next
    assert outcome is not None
    flat = METHODS[MEAN](past, now, world.horizon)
    assert set(flat.value.tolist()) == {float(outcome.value.mean())}


# --- the walk


@pytest.fixture
def tiny(tmp_path: Path, make_shop: MakeShop, tiny_dataset: Path) -> Shop:
    shop = make_shop(tmp_path / "shop")
    shutil.copytree(tiny_dataset, shop.dataset)
    return shop


def test_the_walk_on_a_simulated_shop(tiny, tmp_path, capsys, monkeypatch):
    """Tables and sentences are printed, customers go to the file, aggregates to MLflow."""
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "values.parquet"
    assert main_with(["value", "--shop", tiny.id, "--root", str(tiny.root), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for words in (
        "Calibration by decile", "last period", "mean of all", "of revenue in the 35 days after", "nothing is scaled",
        "judged window",
    ):  # fmt: skip
        assert words in printed
    table = pq.read_table(out)
    assert table.schema.equals(SCHEMA)
    assert len(set(table["customer_id"].to_pylist())) == len(table) > 100
    assert set(table["unit"].to_pylist()) == {"revenue"}  # of 93.8 % of it the cost is known
    assert set(table["horizon_days"].to_pylist()) == {35}
    values = table["value"].to_numpy()
    assert np.isfinite(values).all()
    assert (np.diff(values) <= 0).all()
    logged = {path.name for path in tiny.mlflow_artifacts.rglob("value/*")}
    assert logged == {"deciles.csv", "methods.csv", "deciles.png"}
    [deciles] = tiny.mlflow_artifacts.rglob("deciles.csv")
    rows = pyarrow.csv.read_csv(deciles)
    assert rows["decile"].to_pylist() == list(range(1, 11))


def test_events_after_as_of_change_nothing(tiny, make_dataset):
    """Neither what happened later, nor what was recorded later of what happened before."""
    moment = parse_instant("2025-05-01")
    before = forecast_value(tiny, as_of=moment)
    customer = before.customers[0]
    later = [
        {"customer_id": customer, "item_id": "tea", "at": "2025-05-01", "unit_price": 1e6},
        {"customer_id": customer, "item_id": "tea", "at": "2025-04-01", "recorded_at": "2025-05-02", "unit_price": 1e6},
    ]
    make_dataset(tiny.dataset, events=later)
    after = forecast_value(tiny, as_of=moment)
    assert before.customers == after.customers
    assert before.method == after.method
    np.testing.assert_array_equal(before.forecast.value, after.forecast.value)
    assert before.deciles == after.deciles
    now = forecast_value(tiny)
    assert now.forecast.value[now.customers.index(customer)] > before.forecast.value.max()


def small(tmp_path: Path, make_shop: MakeShop, make_dataset: MakeDataset, days: int, customers: int) -> Shop:
    """Everybody buys for 10 each ten days, one of them twice as dear."""
    shop = make_shop(tmp_path / f"shop{days}")
    start = parse_instant("2017-01-01")
    events = [
        {
            "customer_id": f"k{who}",
            "item_id": "tea",
            "occurred_at": start + day * DAY + who,
            "unit_price": 10 + 10 * (not who),
        }
        for who in range(customers)
        for day in range(0, days, 10)
    ]
    make_dataset(shop.dataset, events=events)
    return shop


def test_too_short_a_past_gives_the_last_period_and_says_so(tmp_path, make_shop, make_dataset):
    report = forecast_value(small(tmp_path, make_shop, make_dataset, 31, 20))
    assert (report.method, report.horizon_days, report.judged, report.deciles) == (LAST_PERIOD, 30, {}, [])
    assert "Purchases of 30 days are too few to judge a forecast" in report.notes[-1]
    assert dict(zip(report.customers, report.forecast.value.tolist(), strict=True))["k0"] == 60
    table = value_table(report)
    assert table["p_buys"].null_count == len(table) == 20
    assert table["customer_id"][0].as_py() == "k0"
    assert "could be judged" in verdict_of(report)


def test_too_few_customers_are_judged_by_plain_methods_only(tmp_path, make_shop, make_dataset):
    report = forecast_value(small(tmp_path, make_shop, make_dataset, 400, 20), horizon=60)
    assert report.horizon_days == 60
    assert set(report.judged) == set(BASELINES)
    assert report.method == LAST_PERIOD
    assert any("20 customers are too few for a model" in note for note in report.notes)
    assert report.judged[LAST_PERIOD].judged_on.mae == pytest.approx(0)
    assert "No model was better" in verdict_of(report)


def main_with(arguments: list[str]) -> int:
    """The exit code."""
    try:
        main(arguments)
    except SystemExit as done:
        return int(done.code or 0)
    return 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "values.txt"], "neither .parquet nor .csv"),
        (["--out", "nowhere/values.csv"], "no such folder"),
        (["--as-of", "yesterday"], "not a time"),
        (["--as-of", "1999-01-01"], "no events before"),
    ],
)
def test_mistakes_are_one_line(tiny, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main_with(["value", "--root", str(tiny.root), "--shop", tiny.id, *arguments]) == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert len(told.splitlines()) == 1
