"""Identity of events: the same row is the same event in every export; more rows add exactly those."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.importing.mapping import parse_mapping
from features.importing.report import ImportReport
from features.moments import parse_instant

ROW = "o1,2024-01-05 10:00,ann,tea,1,100"
COLUMNS = {
    "order_id": "order", "occurred_at": "time", "customer_id": "who", "item_id": "what", "quantity": "qty",
    "unit_price": "price",
}  # fmt: skip
BY_ID = {"columns": {**{k: v for k, v in COLUMNS.items() if k != "order_id"}, "event_id": "order"}}
BY_KEY = {"natural_key": ["order_id", "item_id"]}


def line(order: str = "o1", what: str = "tea", qty: str = "1", price: str = "100", day: int = 5) -> str:
    """One order line."""
    return f"{order},2024-01-{day:02d} 10:00,ann,{what},{qty},{price}"


def outcome(report: ImportReport) -> tuple[int, int, int, int]:
    """(added, already there, collapsed, quarantined) of the events."""
    counts = report.tables["events"]
    return counts.added, counts.already_there, counts.collapsed, counts.quarantined


# again, reordered, grown


def test_importing_again_adds_and_commits_nothing(till: Any) -> None:
    """The manifest, the parts and even the folder stay as they are."""
    path = till.file(f"order,time,who,what,qty,price\n{ROW}\n{line('o2')}\n")
    first = till.run(path)
    before = till.files(), till.dataset.manifest()
    again = till.run(path)
    assert outcome(first) == (2, 0, 0, 0)
    assert outcome(again) == (0, 2, 0, 0)
    assert again.import_id is None
    assert (till.files(), till.dataset.manifest()) == before


def test_a_grown_export_adds_its_new_rows(till: Any) -> None:
    """Old rows in between, new ones before and after, a repeat of an old one: two are new."""
    till.lines(line("o1"), line("o2"))
    report = till.lines(line("o3"), line("o2"), line("o1"), line("o1"))
    assert outcome(report) == (2, 2, 0, 0)
    assert len(till.ids()) == len(set(till.ids())) == 4


ROWS = st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.sampled_from("12"))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_ids_depend_on_the_set_of_rows_not_on_their_order(make_till: Any, data: st.DataObject) -> None:
    """A file imported in any two orders, or first a part and then the whole, gives the same events.

    With the natural key too, where rows with one key and different contents are told apart by number.
    """
    rows = data.draw(st.lists(ROWS, min_size=1, max_size=8))
    shuffled = data.draw(st.permutations(rows))
    part = data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True, max_size=len(rows)))
    mapping = data.draw(st.sampled_from([{}, BY_KEY]))
    with tempfile.TemporaryDirectory() as folder:
        once, twice, grown = (make_till(Path(folder) / name) for name in ("once", "twice", "grown"))
        report = once.lines(*(line(*row) for row in rows), **mapping)
        twice.lines(*(line(*row) for row in shuffled), **mapping)
        assert once.ids() == twice.ids()
        assert report.added == len(rows)
        assert outcome(once.lines(*(line(*row) for row in shuffled), **mapping)) == (0, len(rows), 0, 0)
        first = grown.lines(*(line(*rows[place]) for place in part), **mapping)
        second = grown.lines(*(line(*row) for row in shuffled), **mapping)
        assert first.added + second.added == len(rows)
        columns = ("order_id", "item_id", "quantity")
        assert grown.events(columns=columns) == once.events(columns=columns)
        assert len(set(grown.ids())) == len(rows)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(ROWS, min_size=1, max_size=10))
def test_collapsing_counts_what_it_takes_away(make_till: Any, rows: list[tuple[str, str, str]]) -> None:
    """Distinct rows are added, the rest is collapsed; importing again finds the distinct ones there."""
    with tempfile.TemporaryDirectory() as folder:
        till = make_till(Path(folder))
        distinct = len(Counter(rows))
        report = till.lines(*(line(*row) for row in rows), duplicates="collapse")
        assert outcome(report) == (distinct, 0, len(rows) - distinct, 0)
        again = till.lines(*(line(*row) for row in reversed(rows)), duplicates="collapse")
        assert outcome(again) == (0, distinct, len(rows) - distinct, 0)


def test_repeats_are_kept_where_nothing_is_said(till: Any) -> None:
    """Two equal lines of one order are two events: repeat purchases are data."""
    assert outcome(till.lines(ROW, ROW)) == (2, 0, 0, 0)
    first, second = till.ids()
    assert second == f"{first}-1"


def test_an_id_is_the_same_on_every_machine_and_in_every_version(till: Any) -> None:
    """A change of this value means that every shop's next import doubles its events."""
    till.lines(ROW)
    moment = parse_instant("2024-01-05T10:00:00Z")
    content = {
        "occurred_at": moment, "customer_id": "ann", "type": "purchase", "item_id": "tea", "quantity": "1.0",
        "unit_price": "100.0", "order_id": "o1",
    }  # fmt: skip
    places = {
        "occurred_at": 1,
        "customer_id": 3,
        "type": 6,
        "item_id": 7,
        "quantity": 8,
        "unit_price": 9,
        "order_id": 12,
    }
    text = "\x1f".join(["till", *(f"{places[name]}={value}" for name, value in content.items())])
    assert till.ids() == [hashlib.md5(text.encode()).hexdigest()]


def test_ids_do_not_depend_on_how_values_are_written(till: Any) -> None:
    """Another encoding, number style or time format is the same event."""
    till.lines("o1,2024-01-05 10:00,茶,tea,1,1980")
    text = 'order,time,who,what,qty,price\no1,2024/01/05 19:00,茶,tea,１,"￥1,980"\n'
    report = till.run(till.file(text.encode("cp932")), time_formats=["%Y/%m/%d %H:%M"], time_zone="Asia/Tokyo")
    assert outcome(report) == (0, 1, 0, 0)


def test_another_source_is_another_event(till: Any) -> None:
    """Two tills that print the same line sold twice."""
    till.lines(ROW)
    assert outcome(till.lines(ROW, source="till-2")) == (1, 0, 0, 0)


def test_the_sources_ids_are_kept(till: Any) -> None:
    """As they are, or behind a prefix where two systems number alike."""
    till.lines(ROW, **BY_ID)
    till.lines(ROW, **BY_ID, id_prefix="web-", source="web")
    assert till.ids() == ["o1", "web-o1"]


def test_an_id_that_repeats_with_the_same_content_is_one_event(till: Any) -> None:
    """Whatever `duplicates` says: an id is an id."""
    assert outcome(till.lines(ROW, ROW, **BY_ID)) == (1, 0, 1, 0)


# other content


@pytest.mark.parametrize("mapping", [BY_ID, BY_KEY])
def test_the_same_id_with_other_content_is_a_collision(till: Any, mapping: dict[str, Any]) -> None:
    """The known event stays; quarantine names it and shows the row."""
    till.lines(ROW, **mapping)
    report = till.lines(line("o2"), line(qty="2"), **mapping)
    assert outcome(report) == (1, 0, 0, 1)
    assert report.reasons == {"collision": 1}
    (row,) = till.quarantine(report)
    assert (row["row_number"], row["raw"]["quantity"]) == (2, 2.0)
    assert till.events() == [("ann", "tea", 1.0), ("ann", "tea", 1.0)]


def test_two_contents_of_one_id_in_one_file(till: Any) -> None:
    """One is taken, the other collides, and which is which does not depend on their order."""
    first, second = till.lines(line(qty="1"), line(qty="2"), **BY_ID), None
    taken = till.events()
    second = till.lines(line(qty="2"), line(qty="1"), **BY_ID)
    assert (outcome(first), outcome(second)) == ((1, 0, 0, 1), (0, 1, 0, 1))
    assert till.events() == taken


def test_a_natural_key_with_two_rows_grows_by_a_third(till: Any) -> None:
    """Rows that are there keep their numbers, whatever sorts before them."""
    till.lines(line(qty="5"), line(qty="7"), **BY_KEY)
    before = till.ids()
    assert outcome(till.lines(line(qty="1"), line(qty="7"), line(qty="5"), **BY_KEY)) == (1, 2, 0, 0)
    assert set(before) < set(till.ids())


def test_a_file_of_collisions_alone_is_recorded_once(till: Any) -> None:
    """Quarantine is kept although nothing was added; the second time it is known."""
    till.lines(ROW, **BY_ID)
    path = till.file(f"order,time,who,what,qty,price\n{line(qty='9')}\n")
    assert till.run(path, **BY_ID).import_id is not None
    assert till.run(path, **BY_ID).import_id is None
    assert len(till.dataset.manifest().imports) == 2


# amendments

AMENDED = {**BY_ID, "on_change": "amend"}


def test_an_amendment_counts_from_when_it_was_known(till: Any) -> None:
    """Before that moment the old truth stands."""
    till.lines(line(qty="1"), **AMENDED, now="2024-02-01T00:00:00Z")
    report = till.lines(line(qty="3"), **AMENDED, now="2024-03-01T00:00:00Z")
    assert (report.added, report.tables["events"].revised) == (1, 1)
    assert till.dataset.manifest().amended
    assert till.events("2024-02-15") == [("ann", "tea", 1.0)]
    assert till.events("2024-03-01") == [("ann", "tea", 3.0)]


def test_a_cancelled_line_is_withdrawn(till: Any) -> None:
    """Quantity 0 where a source amends, or a column that says so."""
    till.lines(line("o1"), line("o2"), **AMENDED, now="2024-02-01T00:00:00Z")
    till.lines(line("o1", qty="0"), **AMENDED, now="2024-03-01T00:00:00Z")
    assert len(till.events("2024-02-15")) == 2
    assert len(till.events("2024-03-15")) == 1
    columns = {**BY_ID["columns"], "withdrawn": "gone"}
    till.lines(line("o2") + ",yes", header="order,time,who,what,qty,price,gone", columns=columns, on_change="amend",
               now="2024-04-01T00:00:00Z")  # fmt: skip
    assert till.events("2024-05-01") == []


def test_amendments_are_imported_once(till: Any) -> None:
    """Both files again, in any order: nothing; a third truth, and a return to the first: revisions."""
    one, two = (till.file(f"order,time,who,what,qty,price\n{line(qty=qty)}\n") for qty in "12")
    for path in (one, two):
        assert till.run(path, **AMENDED).added == 1
    for path in (two, one, two):
        assert till.run(path, **AMENDED).added == 0
    assert till.lines(line(qty="3"), **AMENDED).added == 1
    assert till.lines(line(qty="1"), line("o9"), **AMENDED).tables["events"].revised == 1
    assert (("ann", "tea", 1.0)) in till.events()


def test_the_source_says_when_it_knew(till: Any) -> None:
    """A mapped recorded_at orders the truths, within a file and across files; older news is counted and left out."""
    columns = {**BY_ID["columns"], "recorded_at": "price", "unit_price": "order"}
    columns.pop("unit_price")
    given = {"columns": columns, "on_change": "amend"}
    till.lines(line(qty="2", price="2024-02-02"), line(qty="1", price="2024-01-06"), **given)
    assert till.events("2024-01-07") == [("ann", "tea", 1.0)]
    assert till.events("2024-02-03") == [("ann", "tea", 2.0)]
    assert till.events("2024-01-05T12:00Z") == []
    report = till.lines(line(qty="9", price="2024-01-20"), **given)
    assert report.tables["events"].skipped == {"older-revision": 1}


def test_amendments_by_natural_key(till: Any) -> None:
    """An order line that changes its quantity is the same line."""
    given = {**BY_KEY, "on_change": "amend"}
    till.lines(line(what="tea"), line(what="cup"), **given, now="2024-02-01T00:00:00Z")
    report = till.lines(line(what="tea", qty="4"), line(what="cup"), **given, now="2024-03-01T00:00:00Z")
    assert outcome(report) == (1, 1, 0, 0)
    assert till.events() == [("ann", "cup", 1.0), ("ann", "tea", 4.0)]


def test_totals_follow_amendments(till: Any) -> None:
    """The report of the amending import shows what it added, without withdrawn lines."""
    till.lines(line(qty="1"), **AMENDED)
    assert till.lines(line(qty="3"), **AMENDED).totals.revenue == 300.0
    assert till.lines(line(qty="0"), **AMENDED).totals.revenue == 0.0


# totals


def test_totals_by_month_of_the_mappings_zone(till: Any) -> None:
    """Orders, lines, units and revenue as the shop's books have them: a month begins at midnight in Tokyo."""
    report = till.lines(
        "o1,2024-01-31 23:59,ann,tea,2,100", "o1,2024-01-31 23:59,ann,cup,1,500", "o2,2024-02-01 00:00,bob,tea,1,100",
        time_zone="Asia/Tokyo",
    )  # fmt: skip
    months = [(m.month, m.orders, m.lines, m.units, m.revenue) for m in report.totals.months]
    assert months == [("2024-01", 1, 2, 3.0, 2 * 100 + 500), ("2024-02", 1, 1, 1.0, 100.0)]
    assert (report.totals.customers, report.totals.items) == (2, 2)
    assert report.totals.first == "2024-01-31T14:59:00Z"


def test_a_line_total_becomes_a_unit_price(till: Any) -> None:
    """amount / quantity; without a quantity the line is one unit."""
    columns = {"occurred_at": "time", "customer_id": "who", "item_id": "what", "quantity": "qty", "amount": "price"}
    till.lines(line(qty="4", price="100"), line(qty="", price="7"), columns=columns)
    assert till.events(columns=("unit_price",)) == [(7.0,), (25.0,)]


def test_mapping_of_the_fixture_is_valid() -> None:
    """The tests above vary a mapping that is right."""
    parse_mapping({"source": "till", "columns": COLUMNS, "constants": {"type": "purchase"}, **BY_KEY})
