"""The audit: every planted fault is found by its check, a sound shop has none, and no report names a customer."""

from __future__ import annotations

import html.parser
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.audit import (
    CHECKS,
    AuditReport,
    Finding,
    Verdict,
    as_html,
    as_markdown,
    audit,
    catalogue,
    journeys,
    money,
    people,
    rows,
    times,
    volume,
)
from features.audit.registry import Check
from features.dataset import Dataset
from features.errors import DataError
from features.moments import DAY, HOUR, MINUTE, SECOND, parse_instant

MakeDataset = Callable[..., Dataset]
Rows = list[dict[str, Any]]

T0 = parse_instant("2017-01-01T09:00Z")
NOW = parse_instant("2018-01-01")
ITEMS = [f"item-{n}" for n in range(6)]


def sound_shop() -> dict[str, Rows]:
    """200 purchases by 20 customers over 100 days, each after a view, with everything told."""
    events: Rows = []
    for n in range(200):
        at = T0 + n * DAY // 2 + (n * 37 % 600) * MINUTE
        who = {"customer_id": f"secret-{n % 20}", "item_id": ITEMS[n % 6], "recorded_at": at + MINUTE * (n % 7)}
        events.append({**who, "type": "view", "occurred_at": at - 5 * MINUTE, "event_id": f"v{n}"})
        events.append({**who, "occurred_at": at, "event_id": f"p{n}", "unit_price": 5.0 + n % 6, "order_id": f"o{n}"})
    items: Rows = [
        {"item_id": item, "valid_from": T0 - DAY * (2 + n), "title": item, "category": ["all"], "price": 5.0 + n}
        for n, item in enumerate(ITEMS)
    ]
    customers: Rows = [{"customer_id": f"secret-{n}", "valid_from": T0 - n * DAY} for n in range(20)]
    return {"events": events, "items": items, "customers": customers}


def check(which: Check, dataset: Dataset) -> Finding:
    """What one check finds."""
    [finding] = audit(dataset, NOW, checks=(which,)).findings
    return finding


@pytest.fixture
def found(tmp_path: Path, make_dataset: MakeDataset) -> Callable[..., Finding]:
    """`found(check, table=[rows added to the sound shop], ...)` -> what that check finds."""

    def find(which: Check, **added: Any) -> Finding:
        shop: dict[str, Any] = sound_shop()
        for name, given in added.items():
            shop[name] = shop[name] + given if name in shop else given
        return check(which, make_dataset(tmp_path, **shop))

    return find


# the whole


def test_a_sound_shop_has_no_warning(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Nothing is cried where nothing is wrong."""
    report = audit(make_dataset(tmp_path, **sound_shop()), NOW)
    assert {f.id: f.sentence for f in report.findings if f.verdict is not Verdict.OK} == {}
    assert not report.failed
    assert [(size.table, size.rows) for size in report.sizes if size.rows] == [
        ("events", 400), ("items", 6), ("customers", 20),
    ]  # fmt: skip


def test_every_check_answers_an_empty_dataset(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Without a single row each check has a sentence, and the missing events are a failure."""
    report = audit(make_dataset(tmp_path), NOW)
    assert len({finding.id for finding in report.findings}) == len(CHECKS)
    assert all(finding.sentence.endswith(".") for finding in report.findings)
    assert report.finding("event-mix").verdict is Verdict.FAILED


def test_findings_that_are_not_well_say_what_to_do(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """A warning or a failure comes with a remedy."""
    report = audit(make_dataset(tmp_path, events=[{"item_id": "a"}] * 3), NOW)
    bad = [finding for finding in report.findings if finding.verdict in (Verdict.WARNING, Verdict.FAILED)]
    assert bad
    assert all(finding.remedy for finding in bad)


def test_no_dataset_is_an_error(tmp_path: Path) -> None:
    """There is nothing to audit where nothing was imported."""
    with pytest.raises(DataError, match="no dataset"):
        audit(Dataset(tmp_path), NOW)


def test_findings_are_the_same_in_every_run(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Two audits of one dataset at one moment are equal to the byte."""
    dataset = make_dataset(tmp_path, **sound_shop())
    assert audit(dataset, NOW).to_json() == audit(dataset, NOW).to_json()


# time


def test_recorded_before_it_occurred(found: Callable[..., Finding]) -> None:
    """4 of 404 events (1.0 %, just under 1 %) are a warning."""
    early = [
        {"customer_id": "a", "item_id": "item-0", "occurred_at": T0 + DAY, "recorded_at": T0, "quantity": n}
        for n in range(4)
    ]
    finding = found(times.recorded_order, events=early)
    assert (finding.verdict, finding.figures["events"]) == (Verdict.WARNING, 4)


def test_events_of_the_future(found: Callable[..., Finding]) -> None:
    """An event after now fails the audit, and now itself is not the future."""
    at_now = [{"customer_id": "a", "item_id": "item-0", "at": NOW}]
    assert found(times.future, events=at_now).verdict is Verdict.OK


def test_events_after_now_fail(found: Callable[..., Finding]) -> None:
    """One microsecond later it is."""
    finding = found(times.future, events=[{"customer_id": "a", "item_id": "item-0", "at": NOW + 1}])
    assert (finding.verdict, finding.figures["events"]) == (Verdict.FAILED, 1)


def test_one_timestamp_for_all(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """A dataset whose events all have one time cannot be trained as of a moment: failed."""
    events = [{"customer_id": f"c{n % 7}", "item_id": f"i{n}", "at": T0} for n in range(50)]
    finding = check(times.one_timestamp, make_dataset(tmp_path, events=events))
    assert (finding.verdict, finding.figures["share"]) == (Verdict.FAILED, 1.0)


def test_one_timestamp_for_a_tenth(found: Callable[..., Finding]) -> None:
    """45 of 445 events (10.1 %) at one instant are a default value: warning."""
    default = [{"customer_id": f"c{n}", "item_id": "item-0", "at": "2017-01-01"} for n in range(45)]
    finding = found(times.one_timestamp, events=default)
    assert finding.verdict is Verdict.WARNING
    assert finding.figures["share"] == pytest.approx(45 / 445)


def test_dates_without_time_of_day(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Midnights of Tokyo, in UTC 15:00, are dates."""
    midnight = parse_instant("2017-01-01T00:00+09:00")
    events = [{"customer_id": "a", "item_id": "i", "at": midnight + n * DAY} for n in range(30)]
    assert check(times.resolution, make_dataset(tmp_path, events=events)).verdict is Verdict.NOTE


def test_a_historical_import_is_said(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """recorded_at == occurred_at everywhere is told as what it is."""
    events = [{"customer_id": "a", "item_id": "i", "at": T0 + n * HOUR} for n in range(30)]
    finding = check(times.lateness, make_dataset(tmp_path, events=events))
    assert (finding.verdict, finding.figures["same"]) == (Verdict.NOTE, 1.0)


# rows and ids


def test_exact_duplicates_are_counted(found: Callable[..., Finding]) -> None:
    """Three equal rows with ids of their own are two repetitions; an order of two equal lines counts too."""
    again = [{"customer_id": "a", "item_id": "item-0", "at": T0}] * 3
    finding = found(rows.exact_duplicates, events=again)
    assert (finding.verdict, finding.figures["events"]) == (Verdict.NOTE, 2)


def test_the_same_id_twice_fails(found: Callable[..., Finding]) -> None:
    """One event id in two rows of one revision is a fault of the import."""
    twice = [{"customer_id": "a", "item_id": "item-0", "event_id": "x", "quantity": q} for q in (1, 2)]
    assert found(rows.repeated_ids, events=twice).verdict is Verdict.FAILED


def test_revisions_are_not_duplicates(found: Callable[..., Finding]) -> None:
    """An amended event is one event, and the amendment is mentioned."""
    line = {"customer_id": "a", "item_id": "item-0", "event_id": "x", "at": T0}
    later = {**line, "revision": 1, "quantity": 2, "recorded_at": T0 + DAY, "occurred_at": T0}
    finding = found(rows.repeated_ids, events=[line, later], amends=True)
    assert (finding.verdict, finding.figures["amended"], finding.figures["repeated"]) == (Verdict.OK, 1, 0)


def test_quarantine_is_counted_by_reason(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Refused rows are counted by reason; a collision of ids is a warning by itself."""
    (tmp_path / "quarantine").mkdir()
    refused = pa.table({"row": [1, 2, 3], "reason": ["bad-time", "collision", "bad-time"]})
    pq.write_table(refused, tmp_path / "quarantine" / "x.parquet")
    dataset = make_dataset(tmp_path, **sound_shop(), quarantine="quarantine/x.parquet")
    report = audit(dataset, NOW)
    finding = report.finding("quarantine")
    assert finding.verdict is Verdict.WARNING
    assert finding.figures == {"rows": 3, "share": 3 / 403, "collisions": 1}
    assert finding.table is not None
    assert [row[:2] for row in finding.table.rows] == [("bad-time", 2), ("collision", 1)]
    assert report.imports[0].quarantined == 3


@pytest.mark.parametrize(
    ("ids", "verdict", "name"),
    [
        (["A-1", "a-1"], Verdict.WARNING, "customers_written"),
        (["ＡＢ１", "ab1"], Verdict.WARNING, "customers_written"),
        (["x ", "x"], Verdict.WARNING, "customers_written"),
        (["007", "7"], Verdict.NOTE, "customers_zeros"),
        (["0", "00"], Verdict.NOTE, "customers_zeros"),
        (["7", "70"], Verdict.OK, "customers_zeros"),
    ],
)
def test_lookalike_ids(found: Callable[..., Finding], ids: list[str], verdict: Verdict, name: str) -> None:
    """Case, width, spaces and leading zeros are told; ids that differ otherwise are not."""
    finding = found(rows.lookalike_ids, events=[{"customer_id": id, "item_id": "item-0", "at": T0} for id in ids])
    assert (finding.verdict, finding.figures[name]) == (verdict, int(verdict is not Verdict.OK))


def test_events_that_need_an_item(found: Callable[..., Finding]) -> None:
    """A purchase of nothing is a warning; a search for something is not."""
    finding = found(
        rows.events_without_item, events=[{"customer_id": "a", "at": T0}, {"customer_id": "a", "type": "search"}]
    )
    assert (finding.verdict, finding.figures["events"]) == (Verdict.WARNING, 1)


# volume


def steady(months: dict[str, int], **fields: Any) -> Rows:
    """So many events in each month, spread over its days."""
    return [
        {"customer_id": f"c{n % 40}", "item_id": "i", "at": f"{month}-{1 + n % 28:02d}T{n % 24:02d}:00Z", **fields}
        for month, count in months.items()
        for n in range(count)
    ]


def test_months_without_events(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """A hole of a month shows as a gap, with its line of zeros in the table."""
    events = steady({"2017-01": 200, "2017-03": 200})
    finding = check(volume.event_mix, make_dataset(tmp_path, events=events))
    assert (finding.verdict, finding.figures["gaps"], finding.figures["months"]) == (Verdict.WARNING, 1, 3)
    assert finding.table is not None
    assert list(finding.table.rows) == [("2017-01", 200, 200), ("2017-02", 0, 0), ("2017-03", 200, 200)]


def test_sudden_drops(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """80 events after 200 are a drop; 120 after 200 are not; a month cut short at the end is compared by the day."""
    events = steady({"2017-01": 200, "2017-02": 80, "2017-03": 200, "2017-04": 120})
    events += [{"customer_id": "a", "item_id": "i", "at": f"2017-05-0{1 + n % 5}T00:0{n % 10}:00Z"} for n in range(20)]
    finding = check(volume.event_mix, make_dataset(tmp_path, events=events))
    assert finding.figures["drops"] == 1
    assert "drop in 2017-02" in finding.sentence


def test_a_shop_of_many_types(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Sixty declared types over a century are counted all, shown as eight columns and the others."""
    events = [{"type": f"kind-{n % 60:02d}", "at": f"{1900 + n % 100}-01-01"} for n in range(1_200)]
    finding = check(volume.event_mix, make_dataset(tmp_path, events=events))
    assert finding.figures["events"] == 1_200
    assert finding.table is not None
    assert len(finding.table.columns) == 2 + 8 + 1
    assert all(row[1] == sum(int(cell or 0) for cell in row[2:]) for row in finding.table.rows)


def test_silent_days(found: Callable[..., Finding]) -> None:
    """Ten days without an event are a note, forty a warning."""
    sound_end = T0 + 100 * DAY
    finding = found(volume.silence, events=[{"customer_id": "a", "item_id": "item-0", "at": sound_end + 41 * DAY}])
    assert finding.verdict is Verdict.WARNING
    assert 40 <= int(finding.figures["longest_silence"] or 0) <= 41


def test_tracking_that_starts_late(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Views that begin five months after the purchases are named with their date."""
    bought = steady({f"2017-0{month}": 120 for month in range(1, 8)})
    viewed = steady({"2017-06": 120, "2017-07": 120}, type="view")
    finding = check(volume.changed_tracking, make_dataset(tmp_path, events=bought + viewed))
    assert finding.verdict is Verdict.NOTE
    assert "view from 2017-06-01" in finding.sentence


def test_no_purchases_fail(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """There is nothing to predict."""
    dataset = make_dataset(tmp_path, events=steady({"2017-01": 30}, type="view"))
    assert check(volume.outcome_rates, dataset).verdict is Verdict.FAILED


# people


def test_events_without_a_customer(found: Callable[..., Finding]) -> None:
    """100 guest purchases beside 200 of customers: a third of all purchases, a warning."""
    guests = [{"item_id": "item-0", "at": T0 + n * HOUR} for n in range(90)] + [
        {"visitor_id": "v", "item_id": "item-1"}
    ] * 10
    finding = found(people.without_customer, events=guests)
    assert finding.verdict is Verdict.WARNING
    assert finding.figures["purchases_without_customer_share"] == pytest.approx(100 / 300)
    assert finding.figures["visitor_only_share"] == pytest.approx(10 / 500)
    assert finding.figures["nobody_share"] == pytest.approx(90 / 500)


def test_bands_of_customers(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Customers with 1, 2, 4, 5, 9, 10, 49 and 50 events fall into the bands 1, 2-4, 5-9, 10-49 and 50+."""
    sizes = [1, 2, 4, 5, 9, 10, 49, 50]
    events = [{"customer_id": f"c{size}", "item_id": "i", "at": T0 + n * HOUR} for size in sizes for n in range(size)]
    finding = check(people.customers_by_events, make_dataset(tmp_path, events=events))
    assert finding.table is not None
    assert list(finding.table.rows) == [
        ("1", 1, 1), ("2-4", 2, 2 + 4), ("5-9", 2, 5 + 9), ("10-49", 2, 10 + 49), ("50+", 1, 50),
    ]  # fmt: skip
    assert finding.figures["median_events"] == (5 + 9) / 2


def test_robots(found: Callable[..., Finding]) -> None:
    """A visitor with 1,200 views in a day is not a person; 1,200 mails sent to somebody are no act of theirs."""
    view = {"visitor_id": "bot", "type": "view", "item_id": "item-0"}
    views = [{**view, "at": T0 + n * 10 * SECOND} for n in range(1_200)]
    mails = [{"customer_id": "secret-1", "type": "sent", "at": T0 + n * MINUTE} for n in range(1_200)]
    finding = found(people.robots, events=views + mails)
    assert finding.verdict is Verdict.WARNING
    assert (finding.figures["robots"], finding.figures["most_in_a_day"], finding.figures["robot_events"]) == (
        1,
        1_200,
        1_200,
    )


def test_robots_in_a_minute(found: Callable[..., Finding]) -> None:
    """31 views in a minute are a robot's; 31 lines of one order, or 31 views of a day without a clock, are not."""
    view = {"type": "view", "item_id": "item-0"}
    events = [{**view, "visitor_id": "bot", "at": T0 + n * SECOND} for n in range(31)]
    events += [{**view, "visitor_id": "quick", "at": T0 + n * SECOND} for n in range(30)]
    events += [{**view, "visitor_id": "no clock", "at": T0} for _ in range(31)]
    events += [{"customer_id": "wholesale", "item_id": "item-0", "at": T0 + n} for n in range(31)]
    finding = found(people.robots, events=events)
    assert (finding.figures["robots"], finding.figures["most_in_a_minute"]) == (1, 31)
    assert finding.verdict is Verdict.WARNING  # 31 of 523 events: more than a hundredth


def test_one_id_for_many_people(found: Callable[..., Finding]) -> None:
    """Among 101 customers one with a third of the events is a till or a guest account."""
    crowd = [{"customer_id": f"c{n}", "item_id": "item-0", "at": T0 + n * HOUR} for n in range(100)]
    till = [{"customer_id": "till", "item_id": "item-0", "at": T0 + n * HOUR} for n in range(250)]
    finding = found(people.robots, events=crowd + till)
    assert finding.verdict is Verdict.WARNING
    assert finding.figures["heaviest_share"] == pytest.approx(250 / 750)


def test_shared_devices(found: Callable[..., Finding]) -> None:
    """A terminal that four customers signed in to is told."""
    links = [{"visitor_id": "terminal", "customer_id": f"secret-{n}", "linked_at": T0} for n in range(4)]
    finding = found(people.shared_devices, identities=links)
    assert (finding.verdict, finding.figures["shared_by_many"]) == (Verdict.WARNING, 1)


def test_customers_that_are_not_listed(found: Callable[..., Finding]) -> None:
    """One active customer of 21 does not stand in the customers table."""
    finding = found(people.customers_listed, events=[{"customer_id": "new", "item_id": "item-0", "at": T0}])
    assert finding.figures == {"listed": 20, "active": 21, "active_not_listed": 1}


# catalogue


def test_catalogue_coverage(found: Callable[..., Finding]) -> None:
    """40 of 440 events about an unknown item (9.1 %) are a warning; two listed items were never sold."""
    strange = [{"customer_id": "a", "item_id": "gone", "at": T0 + n * HOUR} for n in range(40)]
    finding = found(catalogue.coverage, events=strange, items=[{"item_id": "new"}, {"item_id": "newer"}])
    assert finding.verdict is Verdict.WARNING
    assert finding.figures["unknown_share"] == pytest.approx(40 / 440)
    assert (finding.figures["unknown_items"], finding.figures["never_sold"]) == (1, 2)


def test_a_static_catalogue_lists_its_columns(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Price and the keys of attributes are named as possible leaks; empty columns are not."""
    items = [{"item_id": f"i{n}", "price": 1.0, "attributes": '{"colour": "red", "rank": 3}'} for n in range(3)]
    finding = check(catalogue.static_columns, make_dataset(tmp_path, items=items, static_catalogue=True))
    assert finding.verdict is Verdict.NOTE
    assert finding.table is not None
    assert list(finding.table.rows) == [
        ("items", "price"), ("items", "attributes.colour"), ("items", "attributes.rank"),
    ]  # fmt: skip


def test_a_catalogue_that_begins_too_late(found: Callable[..., Finding]) -> None:
    """Events before the first version of their item are counted."""
    late = {"item_id": "late", "valid_from": "2017-12-01"}
    events = [{"customer_id": "a", "item_id": "late", "at": T0 + n * HOUR} for n in range(40)]
    finding = found(catalogue.known_in_time, events=events, items=[late])
    assert (finding.verdict, finding.figures["events"]) == (Verdict.WARNING, 40)


def test_items_without_prices(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """The latest version of an item counts; half without a price is still fine, more is not."""
    items = [{"item_id": f"i{n}", "title": "t", "category": ["c"], "price": 1.0 if n < 2 else None} for n in range(5)]
    items.append({"item_id": "i0", "valid_from": T0, "title": "t", "category": ["c"], "price": None})
    finding = check(catalogue.described, make_dataset(tmp_path, items=items))
    assert (finding.verdict, finding.figures["price"], finding.figures["title"]) == (Verdict.NOTE, 1 / 5, 1.0)


# money


def test_price_outliers_and_gifts(found: Callable[..., Finding]) -> None:
    """An item of 5 sold once for 500 is an outlier, a free one a gift, a negative one a failure."""
    line = {"customer_id": "a", "item_id": "item-0", "at": T0}
    finding = found(money.prices, events=[{**line, "unit_price": price} for price in (500.0, 0.0, None)])
    assert finding.figures["outliers"] == 1
    assert finding.figures["zero_share"] == finding.figures["without_price_share"] == 1 / 203
    assert finding.verdict is Verdict.WARNING


def test_negative_prices_fail(found: Callable[..., Finding]) -> None:
    """No import lets them through, so one that is there is a fault."""
    line = {"customer_id": "a", "item_id": "item-0", "at": T0, "unit_price": -1.0}
    assert found(money.prices, events=[line]).verdict is Verdict.FAILED


@pytest.mark.parametrize(("factor", "verdict"), [(150.0, Verdict.FAILED), (0.01, Verdict.FAILED), (1.5, Verdict.OK)])
def test_a_change_of_currency(tmp_path: Path, make_dataset: MakeDataset, factor: float, verdict: Verdict) -> None:
    """From dollars to yen, or from cents to dollars, in the middle of an export; a price rise is none."""
    events = [
        {"customer_id": "a", "item_id": f"i{n % 30}", "unit_price": (1 + n % 30) * (factor if month >= 3 else 1.0),
         "at": f"2017-0{month}-{1 + n // 30:02d}T0{n % 9}:00Z"}
        for month in range(1, 6)
        for n in range(90)
    ]  # fmt: skip
    finding = check(money.currency, make_dataset(tmp_path, events=events))
    assert finding.verdict is verdict
    if verdict is Verdict.FAILED:
        assert finding.table is not None
        assert list(finding.table.rows) == [("2017-03", pytest.approx(factor))]


def test_odd_quantities(found: Callable[..., Finding]) -> None:
    """Zero and a million pieces are told."""
    line = {"customer_id": "a", "item_id": "item-0", "at": T0}
    finding = found(money.quantities, events=[{**line, "quantity": quantity} for quantity in (0.0, 1e6)])
    assert (finding.figures["not_positive"], finding.figures["over_10000"]) == (1, 1)
    assert finding.verdict is Verdict.NOTE


# journeys


def test_an_absurd_basket(found: Callable[..., Finding]) -> None:
    """One order of 100 lines among orders of one is noted."""
    lines = [{"customer_id": "a", "item_id": "item-0", "order_id": "big", "line": str(n), "at": T0} for n in range(100)]
    finding = found(journeys.baskets, events=lines)
    assert (finding.verdict, finding.figures["max"], finding.figures["orders"]) == (Verdict.NOTE, 100, 201)


def test_returns_without_a_purchase(found: Callable[..., Finding]) -> None:
    """A return before the purchase or of something never bought has no cause; one after it has."""
    who = {"customer_id": "a", "item_id": "item-0"}
    finding = found(journeys.returns, events=[
        {**who, "at": T0 + DAY},
        {**who, "type": "return", "at": T0 + 2 * DAY},
        {**who, "type": "return", "at": T0},
        {**who, "type": "return", "item_id": "item-1", "at": T0 + 2 * DAY},
    ])  # fmt: skip
    assert (finding.verdict, finding.figures["events"], finding.figures["without"]) == (Verdict.WARNING, 3, 2)


def test_removed_wishes_without_a_wish(found: Callable[..., Finding]) -> None:
    """A visitor's wish is theirs alone: another visitor's removal has no cause."""
    wish = {"visitor_id": "v1", "item_id": "item-0", "type": "wishlist", "at": T0}
    gone = {**wish, "type": "wishlist_remove", "at": T0 + DAY}
    finding = found(journeys.wishes, events=[wish, gone, {**gone, "visitor_id": "v2"}])
    assert (finding.figures["events"], finding.figures["without"]) == (2, 1)


def test_orders_delivered_before_they_were_ordered(found: Callable[..., Finding]) -> None:
    """Delivery before the order, a promise before the order, one order of two customers."""
    orders = [
        {"order_id": "a", "ordered_at": T0, "valid_from": T0 - DAY, "shipment_state": "delivered"},
        {"order_id": "b", "ordered_at": T0, "valid_from": T0, "shipment_state": "confirmed", "promised_at": T0 - DAY},
        {"order_id": "c", "line": "1", "customer_id": "x", "ordered_at": T0, "valid_from": T0},
        {"order_id": "c", "line": "2", "customer_id": "y", "ordered_at": T0, "valid_from": T0},
    ]
    finding = found(journeys.orders, orders=orders)
    assert finding.verdict is Verdict.FAILED
    assert finding.figures == {
        "lines": 4, "delivered_before_ordered": 1, "promised_before_ordered": 1, "of_several_customers": 1,
    }  # fmt: skip


FAIR = '[["a", 0.25], ["b", 0.5], [null, 0.25]]'


def test_sound_decisions(found: Callable[..., Finding]) -> None:
    """Drawn with the listed probability, nothing shown included; reused ones need no place in the list."""
    finding = found(journeys.propensities, decisions=[
        {"eligible": FAIR, "action_id": "b", "action_propensity": 0.5},
        {"eligible": FAIR, "action_id": None, "action_propensity": 0.25},
        {"eligible": FAIR, "action_id": "old", "action_propensity": 0.1, "drawn": False, "reused_from": "d"},
        {},
    ])  # fmt: skip
    assert (finding.verdict, finding.figures["decisions"]) == (Verdict.OK, 4)


def test_what_nobody_drew_or_recorded_is_no_fault(found: Callable[..., Finding]) -> None:
    """Probabilities that are not told are counted; those beside them must still make sense."""
    unknown = {"action_id": "a", "action_propensity": float("nan"), "drawn": False}
    finding = found(journeys.propensities, decisions=[
        {**unknown, "eligible": '[[null, null], ["a", null]]'},
        {"eligible": '[["b", null], ["a", 0.7]]', "action_id": "a", "action_propensity": 0.7},
    ])  # fmt: skip
    assert (finding.verdict, finding.figures["untold"]) == (Verdict.OK, 1)
    finding = found(journeys.propensities, decisions=[
        {**unknown, "eligible": '[["a", null], ["b", 0.7], ["c", 0.7]]'}
    ])  # fmt: skip
    assert (finding.verdict, finding.figures["not_summing_to_one"]) == (Verdict.FAILED, 1)


@pytest.mark.parametrize(
    ("decision", "figure"),
    [
        ({"eligible": FAIR, "action_id": "a", "action_propensity": 0.0}, "outside"),
        ({"eligible": FAIR, "action_id": "a", "action_propensity": 1.5}, "outside"),
        ({"eligible": FAIR, "action_id": "a", "action_propensity": float("nan")}, "outside"),
        ({"eligible": '[["a", 0.5], ["b", 0.4]]', "action_id": "a", "action_propensity": 0.5}, "not_summing_to_one"),
        ({"eligible": '[["a", 1.5], ["b", -0.5]]', "action_id": "a", "action_propensity": 1}, "not_summing_to_one"),
        ({"eligible": "[[", "action_id": "a"}, "unreadable"),
        ({"eligible": "[]", "action_id": "a"}, "unreadable"),
        ({"eligible": FAIR, "action_id": "c", "action_propensity": 0.5}, "not_eligible"),
        ({"eligible": '[["a", 1.0]]', "action_id": None}, "not_eligible"),
        ({"eligible": FAIR, "action_id": "a", "action_propensity": 0.5}, "other_than_listed"),
    ],
)
def test_broken_decisions_fail(found: Callable[..., Finding], decision: dict[str, Any], figure: str) -> None:
    """Each way in which a probability can be wrong is found and counted under its name."""
    finding = found(journeys.propensities, decisions=[decision])
    assert (finding.verdict, finding.figures[figure]) == (Verdict.FAILED, 1)


# the report


def odd_report(tmp_path: Path, make_dataset: MakeDataset) -> AuditReport:
    """A report with findings of every kind, and texts that try to break out of their place."""
    shop = sound_shop()
    shop["events"] += [{"customer_id": "secret-9", "item_id": "item-0", "type": "a|b<script>alert(1)</script>"}] * 3
    shop["events"] += [{"customer_id": "secret-8", "item_id": "nope", "at": NOW + DAY, "unit_price": -2.0}]
    return audit(make_dataset(tmp_path, id="<b>import|1</b>", **shop), NOW)


def test_no_report_names_a_customer(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Reports are logged beside models, where no customer id has a place."""
    report = odd_report(tmp_path, make_dataset)
    for text in (as_markdown(report), as_html(report), report.to_json().decode()):
        assert "secret-" not in text
        assert "Prices" in text


def test_json_round_trip(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """What is written can be read again, and figures are plain numbers for other programs."""
    report = odd_report(tmp_path, make_dataset)
    assert AuditReport.from_json(report.to_json()).to_json() == report.to_json()
    findings = {finding["id"]: finding for finding in json.loads(report.to_json())["findings"]}
    assert findings["time-future"]["verdict"] == "failed"
    assert findings["time-future"]["figures"] == {"events": 1}
    assert report.metrics()["audit/time-future/events"] == 1.0


def test_markdown_tables_are_whole(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Every row of the overview has three cells, whatever stands in them, worst findings first."""
    lines = as_markdown(odd_report(tmp_path, make_dataset)).splitlines()
    start = lines.index("| verdict | check | what was found |")
    rows = [line.replace("\\|", "") for line in lines[start + 2 : start + 2 + len(CHECKS)]]
    assert all(line.count("|") == 4 for line in rows)
    order = [line.split("|")[1].strip() for line in rows]
    assert order == sorted(order, key=["failed", "warning", "note", "ok"].index)
    assert "<script>" not in "\n".join(lines)


class _Tags(html.parser.HTMLParser):
    """Open tags, and where the page would fetch from."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_self_contained(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Tags close in order, nothing is fetched, texts from the data stay text."""
    page = as_html(odd_report(tmp_path, make_dataset))
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.links == []
    assert "script" not in tags.names
    assert "url(" not in page
    assert "&lt;b&gt;import|1" in page
    assert all(f'id="{finding}"' in page for finding in ("time-future", "duplicates", "propensities"))


# the command


def run(*arguments: str) -> int:
    """Exit code of `kokyaku audit ...`."""
    from training.cli import main

    with pytest.raises(SystemExit) as caught:
        main(["audit", *arguments])
    return int(caught.value.code or 0)


def test_the_command_prints_and_writes(
    tmp_path: Path, make_dataset: MakeDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints verdicts and sentences, writes the report in three formats, and exits with 0."""
    make_dataset(tmp_path / "dataset", **sound_shop())
    for ending in ("html", "md", "json"):
        assert (
            run("--root", str(tmp_path), "--now", "2018-01-01T00:00Z", "--out", str(tmp_path / f"audit.{ending}")) == 0
        )
    assert "No event lies in the future." in capsys.readouterr().out
    assert (tmp_path / "audit.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "audit.md").read_text().startswith("# Audit of import-0")
    assert AuditReport.from_json((tmp_path / "audit.json").read_bytes()).at == "2018-01-01T00:00:00Z"


def test_strict_fails_when_a_check_failed(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """--strict exits with 1 for a failure, and with 0 for a sound shop; without it the exit code is 0."""
    make_dataset(tmp_path / "good" / "dataset", **sound_shop())
    make_dataset(tmp_path / "bad" / "dataset", events=[{"customer_id": "a", "item_id": "i", "at": NOW}])
    moment = ("--now", "2017-06-01")
    assert run("--root", str(tmp_path / "good"), "--strict") == 0
    assert run("--root", str(tmp_path / "bad"), *moment) == 0
    assert run("--root", str(tmp_path / "bad"), *moment, "--strict") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--out", "report.pdf"), ".html, .md, .json"),
        (("--out", "/no/such/folder/report.md"), "no such folder"),
        (("--now", "tuesday"), "--now: not a time"),
        ((), "kokyaku import"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    """A wrong option or a missing dataset is one line on stderr and exit code 2."""
    assert run("--root", str(tmp_path), *arguments) == 2
    told = capsys.readouterr().err.strip()
    assert len(told.splitlines()) == 1
    assert says in told
