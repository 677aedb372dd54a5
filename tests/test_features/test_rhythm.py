"""The rhythm of purchases and the tastes of a customer, against slow loops over the same events."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.history import History
from features.kinds import EventType as E
from features.moments import DAY
from features.rhythm import BASKET_DECAY, GAP_PRIOR, HALF_LIVES, RECENT, RHYTHM_NAMES, rhythm_features
from features.tastes import FADE_DAYS, TASTE_NAMES, taste_features

NOW = 20_000 * DAY
GROUP = np.array([0, 0, 1, 1, -1, 2], np.int32)
N_ITEMS = len(GROUP)
GAPS = np.array([7, np.nan, 30, 14, 60, np.nan], np.float32)

events = st.lists(
    st.tuples(
        st.integers(1, 100 * 24).map(lambda hours: NOW - hours * (DAY // 24)),
        st.integers(-1, N_ITEMS - 1),
        st.sampled_from([E.PURCHASE, E.PURCHASE, E.PURCHASE, E.RETURN, E.VIEW]),
        st.sampled_from([1.0, 2.0, 3.0]),
    ),
    max_size=30,
)


def history(rows) -> History:
    ordered = sorted(rows, key=lambda row: row[0])
    time = np.array([row[0] for row in ordered], np.int64)
    quantity = np.array([row[3] for row in ordered], np.float32)
    item, kind = (np.array([row[at] for row in ordered], dtype) for at, dtype in ((1, np.int32), (2, np.int8)))
    return History(time, time.copy(), item, kind, quantity, quantity * 2, np.arange(len(ordered), dtype=np.uint64))


def slow_rhythm(past: History, item: int) -> dict[str, float]:
    """The columns as their definitions read, one event at a time."""
    listed = list(zip(past.time.tolist(), past.item.tolist(), past.type.tolist(), past.quantity.tolist(), strict=True))
    lines = [(at, which, pieces) for at, which, kind, pieces in listed if kind == E.PURCHASE]
    baskets = sorted({at // DAY for at, which, _ in lines if which >= 0})
    days = sorted({at // DAY for at, which, _ in lines if which == item})
    today = NOW / DAY
    gaps = [later - earlier for earlier, later in itertools.pairwise(days)]
    mine = [pieces for _, which, pieces in lines if which == item]
    back = sum(pieces for _, which, kind, pieces in listed if kind == E.RETURN and which == item)
    usual = None if math.isnan(GAPS[item]) else float(GAPS[item])
    prior = 0.0 if usual is None else GAP_PRIOR
    expected = (sum(gaps) + prior * (usual or 0)) / (len(gaps) + prior) if len(gaps) + prior else 0.0
    number = {day: place for place, day in enumerate(baskets)}
    sizes = [len({which for at, which, _ in lines if at // DAY == day and which >= 0}) for day in baskets]
    firsts: dict[int, int] = {}
    for at, which, _ in lines:
        if which >= 0:
            firsts.setdefault(which, at // DAY)
    pairs = {(which, at // DAY) for at, which, _ in lines if which >= 0}
    late = [pair for pair in pairs if number[pair[1]] >= len(baskets) - RECENT]
    nan = math.nan
    return {
        "days_bought": len(days),
        **{f"days_decayed_{h:g}": sum(2 ** (-(today - day) / h) for day in days) for h in HALF_LIVES},
        "days_since_first": today - days[0] if days else nan,
        "gap_spread": float(np.std(gaps)) if gaps else nan,
        "last_gap_days": gaps[-1] if gaps else nan,
        "due_shrunk": (today - days[-1]) / max(expected, 0.5) if days and expected > 0 else nan,
        "basket_share": len(days) / (len(baskets) - number[days[0]]) if days else 0,
        "basket_decayed": sum(BASKET_DECAY ** (len(baskets) - 1 - number[day]) for day in days),
        "recent_baskets": sum(number[day] >= len(baskets) - RECENT for day in days),
        "in_last_basket": float(bool(days) and days[-1] == baskets[-1]),
        "pieces_mean": sum(mine) / len(mine) if mine else nan,
        "returned_share": min(back / sum(mine), 1) if mine else nan,
        "spent": 2 * sum(mine) if mine else nan,
        "baskets": len(baskets),
        "basket_gap_days": (baskets[-1] - baskets[0]) / (len(baskets) - 1) if len(baskets) > 1 else nan,
        "basket_overdue": (today - baskets[-1]) / max((baskets[-1] - baskets[0]) / (len(baskets) - 1), 1)
        if len(baskets) > 1
        else nan,
        "basket_items": sum(sizes) / len(sizes) if sizes else nan,
        "last_basket_items": sizes[-1] if sizes else nan,
        "distinct_items": len(firsts),
        "repeat_share_own": 1 - len(firsts) / len(pairs) if pairs else nan,
        "recent_new_share": sum(firsts[which] == day for which, day in late) / len(late) if late else nan,
        "tenure_days": today - baskets[0] if baskets else nan,
    }


@given(rows=events, items=st.permutations(range(N_ITEMS)))
def test_rhythm_equals_its_definitions(rows, items):
    """For any history and any order of items."""
    past, asked = history(rows), np.array(items[:4], np.int32)
    out = np.full((len(asked), len(RHYTHM_NAMES)), -7, np.float32)
    rhythm_features(past, asked, GAPS[asked], NOW, out=out)
    for row, item in zip(out, asked.tolist(), strict=True):
        wanted = slow_rhythm(past, item)
        assert list(wanted) == list(RHYTHM_NAMES)
        assert row.tolist() == pytest.approx(list(wanted.values()), rel=1e-4, abs=1e-4, nan_ok=True)


@given(rows=events)
def test_tastes_equal_their_definitions(rows):
    """Shares and counts of an item's group, for each kind of group alike."""
    past, asked = history(rows), np.arange(N_ITEMS, dtype=np.int32)
    out = np.empty((N_ITEMS, len(TASTE_NAMES)), np.float32)
    taste_features(past, asked, GROUP, (GROUP, GROUP), NOW, out=out)
    listed = zip(past.time.tolist(), past.item.tolist(), past.type.tolist(), strict=True)
    bought = [(at, int(GROUP[which])) for at, which, kind in listed if kind == E.PURCHASE and which >= 0]
    for item in range(N_ITEMS):
        code = int(GROUP[item])
        mine = [at for at, group in bought if group == code and code >= 0]
        fresh = [2 ** (-(NOW - at) / (FADE_DAYS * DAY)) for at, _ in bought]
        own = [2 ** (-(NOW - at) / (FADE_DAYS * DAY)) for at in mine]
        row = dict(zip(TASTE_NAMES, out[item].tolist(), strict=True))
        assert row["category_count"] == row["brand_count"] == len(mine)
        share = len(mine) / len(bought) if bought else math.nan
        assert row["department_share"] == pytest.approx(share, nan_ok=True)
        faded = sum(own) / sum(fresh) if bought else math.nan
        assert row["category_share_decayed"] == pytest.approx(faded, rel=1e-4, nan_ok=True)
        since = (NOW - mine[-1]) / DAY if mine else math.nan
        assert row["brand_days_since"] == pytest.approx(since, rel=1e-4, nan_ok=True)
