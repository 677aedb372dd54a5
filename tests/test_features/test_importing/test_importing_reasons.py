"""Every reason for quarantine, each with a row that has it and nothing else wrong."""

from __future__ import annotations

from typing import Any

import pytest

from features.importing.reasons import REASONS

GOOD = {"order": "o1", "time": "2024-01-05 10:00", "who": "ann", "what": "tea", "qty": "1", "price": "100"}


def row(**changes: str) -> str:
    """A good row with changes, as CSV."""
    return ",".join({**GOOD, **changes}.values())


BAD = {
    "bad-row": [row() + ",more", "o1,2024-01-05"],
    "bad-time": [row(time="2024-02-30"), row(time="soon")],
    "bad-number": [row(qty="two"), row(price="1.2.3")],
    "missing-id": [row(who=""), row(who="   ")],
    "missing-item": [row(what="")],
    "missing-time": [row(time="")],
    "negative-price": [row(price="-1")],
    "negative-quantity": [row(qty="-1")],
    "zero-quantity": [row(qty="0")],
    "future-time": [row(time="2024-06-01 00:00:01")],
    "too-long": [row(who="x" * 513), row(order="y" * 513)],
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_row_is_named_and_its_neighbours_are_taken(till: Any, reason: str) -> None:
    """Row number among the file's rows, the reason's code, and the row itself as JSON."""
    bad = BAD[reason]
    report = till.lines(row(who="before"), *bad, row(who="after"))
    assert report.reasons == {reason: len(bad)}
    found = till.quarantine(report)
    assert [(line["row_number"], line["reason"]) for line in found] == [(n, reason) for n in range(2, 2 + len(bad))]
    assert [event[0] for event in till.events()] == ["after", "before"]
    if reason != "bad-row":
        names = {name: value for name, value in found[0]["raw"].items() if GOOD.get(name) == value}
        assert len(names) == 5  # all but the bad one


def test_a_time_at_the_moment_of_the_import_is_fine(till: Any) -> None:
    """Later than now is the future; now is not."""
    assert till.lines(row(time="2024-06-01 00:00:00")).added == 1


def test_unknown_types(till: Any) -> None:
    """Known names in any case and the mapping's words are taken, another word is not guessed at."""
    columns = {"occurred_at": "time", "customer_id": "who", "item_id": "what", "type": "order"}
    words = ["Purchase", "VIEW", "買", "swap", ""]
    report = till.lines(*(row(order=word) for word in words), columns=columns, constants={}, types={"買": "purchase"})
    assert [line["raw"].get("order") for line in till.quarantine(report)] == ["swap", None]
    assert set(report.reasons) == {"unknown-type"}
    assert report.totals.events == {"purchase": 2, "view": 1}


def test_types_that_need_no_item(till: Any) -> None:
    """A search has none."""
    columns = {"occurred_at": "time", "customer_id": "who", "item_id": "what", "type": "order"}
    assert till.lines(row(order="search", what=""), columns=columns, constants={}).added == 1


def test_bad_values(till: Any) -> None:
    """Neither yes nor no, an unknown shipment state, attributes that are no JSON object."""
    header, table = "id,stock,more", "items"
    columns = {"item_id": "id", "in_stock": "stock", "attributes": "more"}
    lines = ["a,yes,{}", "b,perhaps,", "c,no,[1]", "d,,{"]
    report = till.lines(*lines, header=header, table=table, columns=columns)
    assert report.reasons == {"bad-value": 3}
    assert till.dataset.read("items", ["item_id", "in_stock"]).to_pylist() == [{"item_id": "a", "in_stock": True}]
    orders = {"order_id": "id", "line": "stock", "shipment_state": "more"}
    report = till.lines("1,1,shipped", "1,2,gone", "1,3,出荷済", header=header, table="orders", columns=orders,
                        values={"shipment_state": {"出荷済": "shipped"}})  # fmt: skip
    assert (report.added, report.reasons) == (2, {"bad-value": 1})


def test_a_negative_discount(till: Any) -> None:
    """A surcharge is not a discount."""
    columns = {"occurred_at": "time", "customer_id": "who", "item_id": "what", "discount": "price"}
    assert till.lines(row(price="-1"), columns=columns).reasons == {"negative-discount": 1}


def test_negative_quantities_as_returns_where_the_mapping_says_so(till: Any) -> None:
    """A return has a positive quantity and its own type; its amount is positive too."""
    columns = {"occurred_at": "time", "customer_id": "who", "item_id": "what", "quantity": "qty", "amount": "price"}
    till.lines(row(qty="-2", price="-300"), row(), columns=columns, negative_quantity="return")
    columns_out = ("type", "quantity", "unit_price")
    assert till.events(columns=columns_out) == [("purchase", 1.0, 100.0), ("return", 2.0, 150.0)]


def test_the_first_reason_stands(till: Any) -> None:
    """A row with three faults is one row of quarantine."""
    report = till.lines(row(time="soon", qty="x", who=""))
    assert sum(report.reasons.values()) == 1


def test_every_reason_is_explained_and_tested() -> None:
    """A code without words would be noise; some are tested where they arise."""
    elsewhere = {"bad-encoding", "collision", "unknown-type", "bad-value", "negative-discount"}
    elsewhere |= {"unknown-arm", "bad-propensity", "early-outcome"}  # of decisions
    assert set(REASONS) == {*BAD, *elsewhere}


def test_declared_types_and_their_fields(till: Any) -> None:
    """Context fields are typed, and only their own events have them."""
    columns = {"occurred_at": "time", "customer_id": "who", "item_id": "what", "type": "order"}
    fields = {"minutes": {"column": "qty", "kind": "number"}, "dealer": "price"}
    lines = [row(order="test_drive", qty="15", price="north"), row(order="view", qty="x", price="y"),
             row(order="test_drive", qty="x")]  # fmt: skip
    report = till.lines(*lines, columns=columns, constants={}, event_types={"test_drive": {"fields": fields}})
    assert report.reasons == {"bad-number": 1}
    assert till.events(columns=("type", "attributes")) == [
        ("test_drive", '{"dealer":"north","minutes":15}'),
        ("view", None),
    ]
