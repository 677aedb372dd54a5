"""Resting categories: windows of worlds with known rhythms, against a plain loop, and what serving makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.compiled import switched
from features.history import FIELDS, Histories, History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY, HOUR
from features.orders import OrderLine, Step
from serving.repurchase import LEARNED, Windows
from serving.settings.shop import RepurchaseSettings
from training.repurchase import FREELY, GRID, LEAST, LONGEST, hazards, repurchase_days, spells

PATHS = ("Home > Sofas", "Home > Food", "Garden > Spades")
CATEGORY = np.array([0, 1, 2], np.int32)
END = 20_000 * DAY


def histories_of(bought: list[tuple[int, int, float]]) -> Histories:
    """Purchases as (subject, item, days before the end)."""
    ordered = sorted((who, END - int(days * DAY), item) for who, item, days in bought)
    subjects = Vocabulary.of([f"c:{who:05}" for who in range(max(who for who, _, _ in ordered) + 1)])
    time = np.array([at for _, at, _ in ordered], np.int64)
    count = len(ordered)
    events = History(
        time, time.copy(), np.array([item for _, _, item in ordered], np.int32),
        np.full(count, EventType.PURCHASE, np.int8), np.ones(count, np.float32), np.ones(count, np.float32),
        np.arange(count, dtype=np.uint64),
    )  # fmt: skip
    counts = np.bincount([who for who, _, _ in ordered], minlength=len(subjects))
    return Histories(subjects, Vocabulary.of(["a", "b", "c"]), np.append(0, np.cumsum(counts)), events)


def test_a_sofa_rests_and_food_does_not() -> None:
    """Sofas are bought once in two years by everybody, food every month: one rests for long, the other not at all."""
    sofas = [(who, 0, 600 - who % 50) for who in range(400)]
    food = [(who, 1, 300 - 30 * n) for who in range(400) for n in range(10)]
    days = repurchase_days(histories_of(sofas + food), CATEGORY, PATHS, END)
    assert days[0] > 365 and days[1] == 0 and np.isnan(days[2])


def test_it_rests_until_one_in_ten_has_come_back() -> None:
    """All come back after 200 days: of ten thousand the estimate is that of the group itself."""
    bought = [(who, 0, 400) for who in range(5_000)] + [(who, 0, 200) for who in range(5_000)]
    (days,) = repurchase_days(histories_of(bought), CATEGORY, PATHS[:1], END)
    assert days == 200


def test_too_little_is_said_to_be_too_little() -> None:
    days = repurchase_days(histories_of([(who, 0, 10) for who in range(LEAST - 1)]), CATEGORY, PATHS, END)
    assert np.isnan(days).all()


spans = st.lists(st.tuples(st.integers(1, 900), st.booleans()), min_size=1, max_size=60)


@given(spans)
@settings(max_examples=60)
def test_hazards_are_those_of_the_textbook(rows: list[tuple[int, bool]]) -> None:
    """Kaplan and Meier by a plain loop over days; ties of coming back and leaving count as leaving last."""
    days = np.array([span for span, _ in rows], float)
    again = np.array([came for _, came in rows])
    left = np.minimum(days, LONGEST)
    hazard, alive = hazards(days, again)
    for place, day in enumerate(GRID):
        risk = sum(1 for each in left if each >= day)
        came = sum(1 for each, yes in zip(left, again, strict=True) if yes and each == day)
        assert alive[place] == risk
        assert hazard[place] == pytest.approx(came / risk if risk else 0)
    mixed, _ = hazards(days, again, (hazard, alive))
    risky = alive > 0
    assert mixed[risky] == pytest.approx(hazard[risky])  # a group mixed with itself is itself


def test_spells_end_at_the_next_purchase_of_another_day() -> None:
    code, days, again = spells(
        histories_of([(0, 0, 10.5), (0, 0, 10.4), (0, 1, 9), (0, 0, 3.5), (1, 0, 7.5)]), CATEGORY, END
    )
    assert sorted(zip(code.tolist(), days.tolist(), again.tolist(), strict=True)) == [
        (0, 4.0, False), (0, 7.0, True), (0, 8.0, False), (1, 9.0, False),
    ]  # fmt: skip


def test_windows_of_the_file_come_before_those_that_were_learned(toy) -> None:
    """The longest path counts; 0 frees a category; without a window only what is on its way bars."""
    bundle = toy({LEARNED: np.array([300.0, np.nan], np.float32)})
    bought = lambda item, ago: History(  # noqa: E731
        np.array([END - int(ago * DAY)]), np.array([END - int(ago * DAY)]), np.array([item], np.int32),
        np.array([EventType.PURCHASE], np.int8), np.ones(1, np.float32), np.ones(1, np.float32), np.ones(1, np.uint64),
    )  # fmt: skip
    learned = Windows(bundle, RepurchaseSettings())
    assert learned.barred(bought(0, 299), (), END) == (0,)
    assert learned.barred(bought(0, 301), (), END) == ()
    assert learned.barred(bought(5, 1), (), END) == ()
    free = Windows(bundle, RepurchaseSettings(days={"Group": 5.0, "Group > A": 0.0}))
    assert free.barred(bought(0, 1), (), END) == ()
    assert free.barred(bought(5, 4), (), END) == (1,)
    line = OrderLine("o", "1", "b1", END - DAY, (Step(END - DAY, "confirmed"),))
    assert learned.barred(History.empty(), (line,), END) == (1,)
    assert free.barred(History.empty(), (OrderLine("o", "1", "a1", END - DAY, line.steps),), END) == ()
    gift = OrderLine("o", "1", "b1", END - DAY, line.steps, gift=True)
    assert learned.barred(History.empty(), (gift,), END) == ()
    assert FREELY < 300


def test_a_gift_takes_off_one_purchase_and_leaves_ones_own(toy) -> None:
    """Who has bought the same thing for himself has one, whatever he gave away."""
    bundle = toy({LEARNED: np.array([300.0, np.nan], np.float32)})
    windows = Windows(bundle, RepurchaseSettings())

    def bought(*ago: float) -> History:
        at = np.array(sorted(END - int(days * DAY) for days in ago))
        ones = np.ones(len(at), np.float32)
        keys = np.arange(len(at), dtype=np.uint64)
        return History(at, at, np.zeros(len(at), np.int32), np.full(len(at), EventType.PURCHASE, np.int8), ones, ones,
                       keys)  # fmt: skip

    def gift(days: float) -> OrderLine:
        at = END - int(days * DAY)
        return OrderLine("o", "1", bundle.items[0], at, (Step(at, "delivered"),), gift=True)

    assert windows.barred(bought(5), (gift(5),), END) == ()
    assert windows.barred(bought(5, 40), (gift(5),), END) == (0,)
    assert windows.barred(bought(5, 5), (gift(5),), END) == (0,), "one for each of the two"
    assert windows.barred(bought(5, 5), (gift(5), gift(5)), END) == ()
    assert windows.barred(bought(5), (gift(4.7),), END) == (), "reported some hours later"
    assert windows.barred(bought(40), (gift(5),), END) == (0,), "a gift without a purchase of its own takes none"
    back = History(*(getattr(bought(5.2, 5, 4.9), name) for name in FIELDS))
    back.type[-1] = EventType.RETURN  # the later one, which was the gift, came back: one's own stays
    assert windows.barred(back, (gift(5),), END) == (0,)


HAPPENED = st.lists(
    st.tuples(
        st.integers(0, 12), st.integers(-1, 2),
        st.sampled_from([EventType.PURCHASE, EventType.RETURN, EventType.VIEW]), st.sampled_from([0.5, 1.0, 2.0]),
    ), max_size=7,
)  # fmt: skip
TOLD = st.lists(
    st.tuples(
        st.integers(0, 12), st.integers(-1, 2), st.booleans(),
        st.sampled_from(["confirmed", "shipped", "delivered", "returned", "cancelled", "lost"]),
    ), max_size=4,
)  # fmt: skip


@given(
    happened=HAPPENED, told=TOLD, hours=st.sampled_from([2, 6]), late=st.sampled_from([-1, 0, 1]),
    days=st.sampled_from([[300.0, 0.0], [0.5, 1.0], [1.0, 2.0], [0.25, np.nan]]),
)  # fmt: skip
@settings(max_examples=500)
def test_what_rests_is_the_same_with_and_without_kernels(toy, happened, told, hours, late, days):
    """Of events and order lines so close that gifts, returns and failures contend for the same purchases.

    Some lie at the very end of a window, and a microsecond before it or behind it.
    """
    bundle = toy({LEARNED: np.array(days, np.float32)})
    happened = sorted(happened, key=lambda each: -each[0])
    at = np.array([END - ago * hours * HOUR + late for ago, *_ in happened], np.int64)
    item, kind, quantity = (
        np.array([each[place] for each in happened], dtype)
        for place, dtype in ((1, np.int32), (2, np.int8), (3, np.float32))
    )
    history = History(at, at, item, kind, quantity, quantity, np.arange(len(at), dtype=np.uint64))
    orders = tuple(
        OrderLine("o", str(place), bundle.items[row] if row >= 0 else "unknown", moment, (Step(moment, state),),
                  gift=gift)
        for place, (ago, row, gift, state) in enumerate(told) for moment in [END - ago * hours * HOUR]
    )  # fmt: skip
    windows = Windows(bundle, RepurchaseSettings())
    found = windows.barred(history, orders, END)
    with switched(False):
        assert windows.barred(history, orders, END) == found


@pytest.fixture(scope="module")
def toy():
    from serving.bundle import Bundle
    from tests.test_serving.conftest import build_toy_bundle

    def make(more):
        bundle = build_toy_bundle()
        return Bundle(bundle.manifest, {**bundle.arrays, **more})

    return make
