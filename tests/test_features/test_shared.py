"""Shared statistics against a slow loop over the rows."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from features.ids import Vocabulary
from features.moments import DAY, format_instant, parse_instant
from features.shared import SHRINK, shared_tables

AS_OF = parse_instant("2017-06-01T00:00Z")


@pytest.fixture
def dataset(tmp_path, make_dataset):
    def at(days: float) -> str:
        return format_instant(AS_OF - int(days * DAY))

    def buy(who, item, days, price=2.0):
        return {"customer_id": who, "item_id": item, "at": at(days), "unit_price": price}

    events = [
        buy("ann", "tea", 50), buy("ann", "tea", 40), buy("ann", "tea", 20, 4.0), buy("bob", "tea", 10),
        buy("bob", "milk", 9), buy("bob", "milk", 2), buy("cyd", "milk", 2),
        buy("cyd", "bread", 100),
        {"visitor_id": "v", "item_id": "soap", "type": "view", "at": at(5)},
        buy("ann", "late", -1),
    ]  # fmt: skip
    items = [
        {"item_id": "tea", "category": ["drinks", "hot"], "valid_from": 0},
        {"item_id": "milk", "category": ["drinks", "hot"], "valid_from": 0},
        {"item_id": "bread", "category": ["food"], "valid_from": 0},
        {"item_id": "never", "category": ["food"], "valid_from": 0},
    ]
    return make_dataset(tmp_path / "d", events=events, items=items)


ITEMS = ["bread", "late", "milk", "never", "soap", "tea"]


def test_statistics_equal_their_definitions(dataset):
    tables, paths = shared_tables(dataset, Vocabulary.of(ITEMS), AS_OF)
    column = lambda name: dict(zip(ITEMS, getattr(tables, name).tolist(), strict=True))  # noqa: E731
    assert column("buyers") == {"bread": 1, "late": 0, "milk": 2, "never": 0, "soap": 0, "tea": 2}
    assert column("buyers_28d") == {"bread": 0, "late": 0, "milk": 2, "never": 0, "soap": 0, "tea": 2}
    assert column("buyers_7d") == {"bread": 0, "late": 0, "milk": 2, "never": 0, "soap": 0, "tea": 0}
    assert column("buyers_91d") == {"bread": 0, "late": 0, "milk": 2, "never": 0, "soap": 0, "tea": 2}
    # ann bought tea before; bob's tea and everybody's milk are first purchases of the last four weeks.
    assert column("new_buyers_28d") == {"bread": 0, "late": 0, "milk": 2, "never": 0, "soap": 0, "tea": 1}
    assert column("department")["tea"] == column("department")["milk"] != column("department")["bread"]
    assert column("department")["bread"] == column("department")["never"] >= 0
    assert column("department")["late"] == column("brand")["tea"] == -1
    assert column("sales_28d") == {"bread": 0, "late": 0, "milk": 3, "never": 0, "soap": 0, "tea": 2}
    assert column("repeat_share")["tea"] == pytest.approx(1 / 2)
    assert column("repeat_share")["bread"] == 0
    assert np.isnan(column("repeat_share")["soap"])
    assert column("price")["tea"] == statistics.median([2, 2, 4, 2])
    assert column("age_days")["soap"] == pytest.approx(5)
    assert np.isnan(column("age_days")["late"]), "what happens later is not known yet"
    # ann's gaps of tea: 10 and 20 days; bob's gap of milk: 7. The category's median of (10, 20, 7) is 10.
    assert column("gap_days")["tea"] == pytest.approx((2 * 15 + SHRINK * 10) / (2 + SHRINK))
    assert column("gap_days")["milk"] == pytest.approx((1 * 7 + SHRINK * 10) / (1 + SHRINK))
    assert np.isnan(column("gap_days")["bread"])
    assert [paths[code] if code >= 0 else None for code in tables.category] == [
        "food", None, "drinks > hot", "food", None, "drinks > hot",
    ]  # fmt: skip


def test_a_later_moment_knows_more(dataset):
    tables, _ = shared_tables(dataset, Vocabulary.of(ITEMS), AS_OF + 2 * DAY)
    assert tables.buyers[ITEMS.index("late")] == 1
