"""Personal features against a slow loop over the same events, and the rules of the wishlist."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.assemble import FEATURE_NAMES, SharedTables, assemble
from features.confidence import ConfidenceParams, confidence, preferences
from features.history import History
from features.kinds import EventType as E
from features.moments import DAY
from features.personal import DECAY_DAYS, PERSONAL_NAMES, open_wishes, personal_features

NOW = 20_000 * DAY
CATEGORY = np.array([0, 0, 1, 1, -1, 2], np.int32)
N_ITEMS = len(CATEGORY)

events = st.lists(
    st.tuples(
        st.integers(1, 400 * 24).map(lambda hours: NOW - hours * (DAY // 24)),
        st.integers(-1, N_ITEMS - 1),
        st.sampled_from([E.VIEW, E.PURCHASE, E.WISHLIST, E.WISHLIST_REMOVE, E.RETURN, E.CLICK]),
        st.sampled_from([1.0, 2.0, 3.0]),
    ),
    max_size=25,
)


def history(rows) -> History:
    ordered = sorted(rows, key=lambda row: row[0])
    time = np.array([row[0] for row in ordered], np.int64)
    quantity = np.array([row[3] for row in ordered], np.float32)
    return History(
        time=time,
        recorded=time.copy(),
        item=np.array([row[1] for row in ordered], np.int32),
        type=np.array([row[2] for row in ordered], np.int8),
        quantity=quantity,
        value=quantity * 2,
        key=np.arange(len(ordered), dtype=np.uint64),
    )


def slow_row(past: History, item: int) -> dict[str, float]:
    """The same features, one event at a time, as their definitions read."""
    listed = list(zip(past.time.tolist(), past.item.tolist(), past.type.tolist(), strict=True))
    bought = [(at, which) for at, which, kind in listed if kind == E.PURCHASE]
    mine = [at for at, which in bought if which == item]
    seen = [at for at, which, kind in listed if kind in (E.VIEW, E.CLICK, E.CART) and which == item]
    touching = [
        (at, kind)
        for at, which, kind in listed
        if which == item and kind in (E.WISHLIST, E.WISHLIST_REMOVE, E.PURCHASE)
    ]
    wished = bool(touching) and touching[-1][1] == E.WISHLIST
    code = int(CATEGORY[item])
    known = [(at, int(CATEGORY[which])) for at, which in bought if which >= 0]
    same = [at for at, category in known if category == code and code >= 0]
    return {
        "purchases": len(mine),
        "purchases_decayed": sum(2 ** (-(NOW - at) / (DAY * DECAY_DAYS)) for at in mine),
        "days_since_purchase": (NOW - mine[-1]) / DAY if mine else math.nan,
        "mean_gap_days": (mine[-1] - mine[0]) / DAY / (len(mine) - 1) if len(mine) > 1 else math.nan,
        "views": len(seen),
        "days_since_view": (NOW - seen[-1]) / DAY if seen else math.nan,
        "wished": float(wished),
        "days_since_wish": (NOW - touching[-1][0]) / DAY if wished else math.nan,
        "category_share": math.nan if not known else len(same) / len(known),
        "category_days_since": (NOW - same[-1]) / DAY if same else math.nan,
        "customer_purchases": len(bought),
        "customer_days_since": (NOW - listed[-1][0]) / DAY if listed else math.nan,
    }


@given(rows=events, items=st.permutations(range(N_ITEMS)))
def test_features_equal_their_definitions(rows, items):
    """Vectorised columns equal the loop, for items in any order and events with ties."""
    past = history(rows)
    asked = np.array(items, np.int32)
    out = np.full((N_ITEMS, len(PERSONAL_NAMES)), -7, np.float32)
    personal_features(past, asked, CATEGORY, NOW, out=out)
    expected = [list(slow_row(past, int(item)).values()) for item in asked]
    np.testing.assert_allclose(out, np.array(expected, np.float32), rtol=1e-5, atol=1e-6)


@given(rows=events)
def test_a_row_does_not_depend_on_its_neighbours(rows):
    """The features of an item are the same alone and among others: training and serving ask differently."""
    past = history(rows)
    together = np.empty((N_ITEMS, len(PERSONAL_NAMES)), np.float32)
    personal_features(past, np.arange(N_ITEMS, dtype=np.int32), CATEGORY, NOW, out=together)
    for item in range(N_ITEMS):
        alone = np.empty((1, len(PERSONAL_NAMES)), np.float32)
        personal_features(past, np.array([item], np.int32), CATEGORY, NOW, out=alone)
        np.testing.assert_array_equal(alone[0], together[item])


def test_wishes_open_and_close():
    """Added: open. Removed, or bought: closed. Added again later: open since then."""
    day = [NOW - n * DAY for n in range(10)]
    past = history(
        [
            (day[9], 0, E.WISHLIST, 1.0),
            (day[8], 1, E.WISHLIST, 1.0),
            (day[7], 1, E.WISHLIST_REMOVE, 1.0),
            (day[6], 2, E.WISHLIST, 1.0),
            (day[5], 2, E.PURCHASE, 1.0),
            (day[4], 1, E.WISHLIST, 1.0),
        ]
    )
    open_, since = open_wishes(past, np.arange(4, dtype=np.int32))
    assert open_.tolist() == [True, True, False, False]
    assert since[:2].tolist() == [day[9], day[4]]


def test_confidence_is_weight_times_quantity_times_decay():
    """A purchase of 4 pieces one half-life ago: 1 x (1 + log2 4) x 1/2 = 1.5; an unknown item: 0."""
    params = ConfidenceParams(weights={"purchase": 1.0, "view": 0.2}, half_life_days=10, quantity=1.0)
    past = history(
        [(NOW - 10 * DAY, 0, E.PURCHASE, 4.0), (NOW - 5 * DAY, -1, E.PURCHASE, 1.0), (NOW - 1, 1, E.RETURN, 1.0)]
    )
    assert confidence(past, NOW, params) == pytest.approx([1.5, 0.0, 0.0])


def test_a_return_takes_the_preference_back():
    params = ConfidenceParams(weights={"purchase": 1.0, "return": -1.0}, half_life_days=1e9)
    past = history(
        [(NOW - 2 * DAY, 0, E.PURCHASE, 1.0), (NOW - DAY, 0, E.RETURN, 1.0), (NOW - DAY, 3, E.PURCHASE, 1.0)]
    )
    items, weights = preferences(past, NOW, params)
    assert items.tolist() == [3]
    assert weights == pytest.approx([1.0])


def test_assembled_row_reads_shared_statistics_as_of_the_bundle():
    """due_ratio = days since purchase / the item's gap; price_ratio = price / what the customer usually pays."""
    ones = np.ones(N_ITEMS, np.float32)
    shared = SharedTables(
        buyers=ones, buyers_7d=ones, buyers_28d=ones, buyers_91d=ones, new_buyers_28d=ones,
        sales_28d=ones, repeat_share=ones, gap_days=14 * ones, price=3 * ones,
        age_days=100 * ones, category=CATEGORY, department=CATEGORY, brand=CATEGORY,
    )  # fmt: skip
    past = history([(NOW - 7 * DAY, 0, E.PURCHASE, 2.0)])
    row = dict(
        zip(FEATURE_NAMES, assemble(past, np.array([0], np.int32), shared, NOW - 3 * DAY, NOW)[0].tolist(), strict=True)
    )
    assert row["due_ratio"] == pytest.approx(7 / 14)
    assert row["price_ratio"] == pytest.approx(3 / 2)
    assert row["shared_age_days"] == pytest.approx(3)
    assert row["item_buyers"] == 1
