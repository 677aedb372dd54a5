"""Drift in a simulated shop: nothing is called where nothing was planted, and what was planted is called, alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features.dataset import Dataset
from features.moments import DAY, HOUR, parse_instant
from features.shop import Shop
from training.monitor.answers import rarefied, slug
from training.monitor.drift import between, novelties
from training.monitor.measure import Measure, Verdict
from training.monitor.rates import EVENT_RATES, Rate, rates
from training.monitor.reading import looking
from training.monitor.report import Found
from training.monitor.watch import watch, windows
from training.monitor.windows import Asked, Length, Trained, Window, serving_then, windows_of

Change = Callable[[pa.Table], pa.Table]
MONDAY = parse_instant("2025-05-19")
ZONE = "UTC"
QUIET = {"share/newcomers", "share/fresh-items"}
"""The tiny shop is young: in its first months there are more of both."""


@pytest.fixture
def shop(tiny_dataset: Path, tmp_path: Path) -> Shop:
    shutil.copytree(tiny_dataset, tmp_path / "shop" / "dataset")
    return Shop("toy", tmp_path / "shop")


def changed(shop: Shop, table: str, column: str, change: Callable[[pa.Table], pa.Array]) -> None:
    """Change a column of a table's rows in the window that begins on MONDAY."""
    moment = "occurred_at" if table == "events" else "decided_at"
    for part in Dataset(shop.dataset).parts(table):
        rows = pq.read_table(part, partitioning=None)
        at = rows[moment].cast(pa.int64())
        inside = pc.and_(pc.greater_equal(at, MONDAY), pc.less(at, MONDAY + 7 * DAY))
        place = rows.schema.get_field_index(column)
        new = pc.if_else(inside, change(rows).cast(rows.schema.field(column).type), rows[column])
        pq.write_table(rows.set_column(place, rows.schema.field(column), new), part)


def week(shop: Shop, since: int | None = None) -> list[Found]:
    asked = Asked(MONDAY + 7 * DAY, since=since)
    return [found for _, found, _ in watch(shop, asked)]


def called(found: Found) -> set[str]:
    return {each.name for each in found.measures if each.verdict in (Verdict.WATCH, Verdict.ACT)}


def one(found: Found, name: str) -> Measure:
    return next(each for each in found.measures if each.name == name)


def test_nothing_planted_nothing_called(shop: Shop):
    """Nine weeks of a shop in which nothing changes, campaigns, seasons and all."""
    several = week(shop, parse_instant("2025-03-24"))
    assert len(several) == 9
    assert sum(bool(called(found) - QUIET) for found in several) <= 1


def half(random: np.random.Generator, rows: int) -> pa.Array:
    return pa.array(random.random(rows) < 0.5)


@pytest.mark.parametrize(
    ("column", "name", "value"),
    [
        ("device", "psi/device", "tablet"), ("traffic_source", "psi/traffic-source", "ads"),
        ("region", "psi/region", "Texas"), ("channel", "psi/channel", "store_service"),
    ],
)  # fmt: skip
def test_a_planted_change_is_found_and_only_that_one(shop: Shop, column: str, name: str, value: str):
    """Half of the events of one week tell another value than they should."""
    random = np.random.default_rng(1)
    changed(shop, "events", column, lambda rows: pc.if_else(half(random, len(rows)), value, rows[column]))
    (found,) = week(shop)
    assert called(found) == {name}
    assert value in one(found, name).found and one(found, name).remedy


def test_prices_in_another_currency(shop: Shop):
    changed(shop, "events", "unit_price", lambda rows: pc.multiply(rows["unit_price"], 150.0))
    (found,) = week(shop)
    assert called(found) == {"psi/price"} and one(found, "psi/price").verdict is Verdict.ACT


def test_a_value_that_never_was(shop: Shop):
    """A renamed device is drift and novelty, with its name."""
    random = np.random.default_rng(1)
    changed(shop, "events", "device", lambda rows: pc.if_else(half(random, len(rows)), "toaster", rows["device"]))
    (found,) = week(shop)
    assert called(found) == {"psi/device", "new/devices"}
    assert one(found, "new/devices").found == "most often toaster"


def test_a_lost_column(shop: Shop):
    changed(shop, "events", "session_id", lambda rows: pa.nulls(len(rows), pa.string()))
    (found,) = week(shop)
    assert called(found) == {"share/missing/session"} and one(found, "share/missing/session").value == 1


def test_fallbacks_by_their_reason(shop: Shop):
    """A third of a week's decisions fell back, with numbers in the reason: the whole and the reason are called."""
    random = np.random.default_rng(1)

    def failing(rows: pa.Table) -> pa.Array:
        reason = pa.array([f"source ials took {n} ms" for n in range(len(rows))])
        return pc.if_else(pa.array(random.random(len(rows)) < 0.33), reason, rows["fallback"])

    changed(shop, "decisions", "fallback", failing)
    (found,) = week(shop)
    assert called(found) == {"share/fallback", "share/fallback/source-ials-took-n-ms"}
    assert one(found, "share/fallback").verdict is Verdict.ACT


def test_unlogged_answers(shop: Shop):
    changed(shop, "decisions", "logged", lambda rows: pa.array(np.arange(len(rows)) % 4 > 0))
    (found,) = week(shop)
    assert called(found) == {"share/unlogged"}


def test_fewer_items_are_shown(shop: Shop):
    """Everybody sees the same two items: coverage is lost, beyond what chance takes."""
    first = Dataset(shop.dataset).read("items")["item_id"].to_pylist()[:2]

    def same(rows: pa.Table) -> pa.Array:
        filled = pc.greater(pc.fill_null(pc.list_value_length(rows["items"]), 0), 0).to_pylist()
        return pa.array([first if full else [] for full in filled], pa.list_(pa.string()))

    (before,) = week(shop)
    assert one(before, "coverage").verdict is Verdict.OK
    changed(shop, "decisions", "items", same)
    (found,) = week(shop)
    assert called(found) == {"coverage"}
    (again,) = week(shop)
    assert [repr(each) for each in again.measures] == [repr(each) for each in found.measures], "draws go by the people"


def test_draws_that_do_not_follow_their_probabilities(shop: Shop):
    """Somebody replaces what was drawn in the hero by nothing, now and then."""
    (before,) = week(shop)
    assert one(before, "draws/page-home-hero").verdict is Verdict.OK
    random = np.random.default_rng(1)

    def undone(rows: pa.Table) -> pa.Array:
        hero = pc.equal(rows["slot"], "hero")
        return pc.if_else(pc.and_(hero, half(random, len(rows))), None, rows["action_id"])

    changed(shop, "decisions", "action_id", undone)
    (found,) = week(shop)
    assert "draws/page-home-hero" in called(found) and "draws/page-home-band" not in called(found)
    assert "(nothing)" in one(found, "draws/page-home-hero").found


def test_silence(shop: Shop):
    """Three weeks after the last event nothing else is known, and that is an alarm."""
    ((_, found, _),) = watch(shop, Asked(MONDAY + 35 * DAY))
    assert called(found) == {"age/events", "age/decisions"} and found.verdict is Verdict.ACT
    assert one(found, "psi/device").verdict is Verdict.UNKNOWN
    assert one(found, "psi/device").reason == "nothing in the window" and one(found, "psi/device").n == 0


def test_what_was_recorded_later_is_not_known(shop: Shop):
    """A window holds what was recorded by its end, as it was told then."""
    changed(shop, "events", "recorded_at", lambda rows: pc.add(rows["recorded_at"].cast(pa.int64()), 30 * DAY))
    (found,) = week(shop)
    assert one(found, "psi/device").n == 0


def test_a_day_is_held_against_the_same_weekday(shop: Shop):
    """A Tuesday against eight Tuesdays, from midnight to midnight where the shop is."""
    (day,) = windows(shop, Asked(MONDAY + 2 * DAY, Length.DAY))
    with looking(Dataset(shop.dataset), day.since, day.end, ZONE) as look:
        look.sides(day)
        assert look.rows(
            "SELECT side, count(DISTINCT day), min(isodow(day)), max(isodow(day)) FROM event GROUP BY side"
        ) == [(0, 8, 2, 2), (1, 1, 2, 2)]


def test_the_erased_are_not_read(shop: Shop):
    """Whoever asked to be forgotten is in no figure."""
    window = windows(shop, Asked(MONDAY + 7 * DAY))[0]
    with looking(Dataset(shop.dataset), window.since, window.end, ZONE, lambda subject: True) as look:
        look.sides(window)
        # What is left is of nobody: no customer, no visitor.
        assert not look.row("SELECT count(*) FROM event WHERE named")[0]
        assert not look.row("SELECT count(*) FROM person")[0]


def test_psi_of_a_feature_is_that_of_its_counts(tmp_path: Path, make_dataset: Callable[..., Dataset]):
    """By hand: 300 and 100 people of one event each, a half and a quarter of them on a phone."""
    events = [
        {"customer_id": f"{at}{n}", "type": "view", "item_id": "i", "at": at, "device": "ph" if n % share else "desk"}
        for at, many, share in (("2025-05-12", 300, 2), ("2025-05-20", 100, 4)) for n in range(many)
    ]  # fmt: skip
    shop = Shop("toy", tmp_path)
    make_dataset(shop.dataset, events=events, items=[{"item_id": "i"}])
    (found,) = week(shop)
    p, q = np.array([150.5, 150.5]) / 301, np.array([75.5, 25.5]) / 101
    assert one(found, "psi/device").value == pytest.approx(((p - q) * np.log(p / q)).sum())
    assert one(found, "psi/device").band == pytest.approx(3.84 * (1 / 300 + 1 / 100), rel=0.1)
    assert one(found, "psi/device").found == "desk 50.0% → 25.0%, ph 50.0% → 75.0%"


def test_rates_are_shares_of_their_rows(shop: Shop):
    window = windows(shop, Asked(MONDAY + 7 * DAY))[0]
    with looking(Dataset(shop.dataset), window.since, window.end, ZONE) as look:
        look.sides(window)
        asked = [*EVENT_RATES, Rate("views", "Views", "type = 'view'", where="device = 'mobile'")]
        *_, views = rates(look, asked, "data")
        hits, n = look.row(
            "SELECT count(*) FILTER (type = 'view'), count(*) FROM event WHERE side = 1 AND device = 'mobile'"
        )
        assert (views.value, views.n) == (hits / n, n)
        assert all(np.isfinite(each.value) for each in novelties(look))


# Coverage.


def test_rarefaction_is_the_mean_over_all_choices():
    """Three people, items seen by 1, 2 and 3 of them: every choice of two, by hand."""
    assert rarefied(np.array([1.0, 2.0, 3.0]), 3, 2) == pytest.approx(2 / 3 + 1 + 1)
    assert rarefied(np.array([1.0, 2.0]), 3, 3) == pytest.approx(2) and rarefied(np.array([1.0]), 3, 0) == 0
    random = np.random.default_rng(0)
    seen = random.random((40, 25)) < random.random(25) * 0.3
    drawn = [seen[random.permutation(40)[:10]].any(axis=0).sum() for _ in range(4000)]
    assert rarefied(seen.sum(axis=0).astype(float), 40, 10) == pytest.approx(np.mean(drawn), abs=0.15)


def test_names_of_metrics():
    assert slug("The first choice could not be filled!") == "the-first-choice-could-not-be-filled"
    assert slug("画像なし") == "other" and len(slug("x" * 500)) == 60
    assert between([1.0, 2000.0]) == ["below 1", "1 to 2,000", "from 2,000"] and between([]) == ["all"]


# Windows.


def days(window: Window) -> str:
    return window.name


def test_windows_lie_on_the_calendar():
    """A week begins on Monday wherever in the week it is asked for: the same windows, so they can be told again."""
    for hours in (0, 5, 100, 167):
        asked = Asked(parse_instant("2026-01-05") + hours * HOUR, since=parse_instant("2025-12-20"))
        assert [each.name for each in windows_of(asked, "UTC")] == [
            "2025-12-22 to 2025-12-28", "2025-12-29 to 2026-01-04",
        ]  # fmt: skip
    (day,) = windows_of(Asked(parse_instant("2026-01-05T12:00Z"), Length.DAY), "UTC")
    assert day.name == "2026-01-04" and day.weekdays == [7]


def test_days_are_the_shops_own():
    """In New York a day begins at five in the morning UTC, and the day of the clock change has 23 hours."""
    asked = Asked(parse_instant("2025-03-10T06:00Z"), Length.DAY)
    (day,) = windows_of(asked, "America/New_York")
    assert day.end - day.start == 23 * HOUR and day.start == parse_instant("2025-03-09T05:00Z")
    (earlier,) = windows_of(Asked(parse_instant("2025-03-10T03:00Z"), Length.DAY), "America/New_York")
    assert earlier.name == "2025-03-08"


def test_the_reference_is_what_the_bundle_learned_from():
    old, new = Trained("old", parse_instant("2026-02-01")), Trained("new", parse_instant("2026-03-01"), live=True)
    asked = Asked(parse_instant("2026-03-16"), since=parse_instant("2026-01-05"))
    several = windows_of(asked, "UTC", [old, new])
    assert [each.bundle.name if each.bundle else "" for each in several] == [""] * 4 + ["old"] * 4 + ["new"] * 2
    first, *_, last = several
    assert first.until == first.start and first.until - first.since == 56 * DAY
    assert last.until == new.as_of and last.until - last.since == 56 * DAY
    rolled_back = [Trained("old", 0, live=True), Trained("new", 10)]
    assert serving_then(rolled_back, 20) is rolled_back[0]  # what serves, though another one is newer
    assert serving_then(rolled_back, -1) is None


@pytest.mark.parametrize(("since", "what"), [("2026-03-10", "no whole window"), ("1990-01-01", "too many windows")])
def test_windows_that_are_none(since: str, what: str):
    from features.errors import ConfigError

    with pytest.raises(ConfigError, match=what):
        windows_of(Asked(parse_instant("2026-03-16"), since=parse_instant(since)), "UTC")
