"""Expected deliveries: ends in order, a clock that only moves things later, back-off, words that name no single day."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError
from features.moments import DAY, HOUR, to_instant
from features.orders import OrderLine, Step
from serving.bundle import Bundle, open_bundle, write_bundle
from serving.delivery import PROMISE, STATE_BEGAN, STATES, Deliveries, Expected, Told, class_of
from serving.delivery_words import in_words
from tests.test_serving.conftest import build_toy_bundle

ORDERED = 20_000 * DAY
CLOCKS = np.array([[0.0, 1.0, 4.0], [-10.0, 0.0, 5.0]])
ALL, CLASS, CATEGORY, ITEM = range(4)


def arrays(anchor: int = STATE_BEGAN) -> dict[str, np.ndarray]:
    """Four groups, each a day later than the wider one; `attempted` was never seen."""
    table = np.empty((2, 5, 4, 3, 4), np.float32)
    for group in range(4):
        table[STATE_BEGAN, :, group] = np.array([[2, 3, 6, 7], [3, 4, 6, 8], [5, 7, 9, 12]]) + group
        table[PROMISE, :, group] = np.array([[-3, -2, 1, 2], [1, 2, 4, 5], [6, 8, 11, 11]]) + group
    table[:, STATES.index("attempted")] = np.nan
    return {
        "delivery.table": table,
        "delivery.clock": CLOCKS,
        "delivery.anchor": np.full(5, anchor, np.int8),
        "delivery.level": np.arange(4, dtype=np.int8),
        "delivery.item_group": np.array([ITEM, -1, -1, -1], np.int32),
        "delivery.item_class": np.array([0, 0, 2, -1], np.int8),
        "delivery.category_group": np.array([CATEGORY, -1], np.int32),
        "delivery.class_group": np.array([-1, -1, CLASS, -1, -1, -1], np.int32),
    }


def deliveries(anchor: int = STATE_BEGAN) -> Deliveries:
    found = Deliveries.from_arrays(arrays(anchor))
    assert found is not None
    return found


def line(*steps: tuple[float, str], promised: float | None = None, confirmed: float | None = None) -> OrderLine:
    """Steps (days after ordering, state); the first tells the promise, the last what the carrier confirmed."""
    made = [Step(ORDERED + int(day * DAY), state) for day, state in steps]
    if promised is not None:
        made[0] = Step(made[0].at, made[0].state, promised_at=ORDERED + int(promised * DAY))
    if confirmed is not None:
        made[-1] = Step(made[-1].at, made[-1].state, promised_at=made[-1].promised_at,
                        confirmed_for=ORDERED + int(confirmed * DAY))  # fmt: skip
    return OrderLine("o", "1", "a0", ORDERED, tuple(made))


def days(expected: Expected | None) -> tuple[float, ...]:
    assert expected is not None
    return tuple((at - ORDERED) / DAY for at in (expected.earliest, expected.likely, expected.latest))


def at(day: float) -> int:
    return ORDERED + int(day * DAY)


def test_the_ends_are_those_of_the_table() -> None:
    """At a clock of the table, between two, and after the last one, where what remains is held."""
    told, plain = deliveries(), line((0, "confirmed"))
    assert days(told.predict(plain, -1, -1, at(0))) == pytest.approx((2, 3, 6))
    assert days(told.predict(plain, -1, -1, at(0.5))) == pytest.approx((2.5, 3.5, 6))
    assert days(told.predict(plain, -1, -1, at(2))) == pytest.approx((3 + 2 / 3, 5, 7))
    assert days(told.predict(plain, -1, -1, at(14))) == pytest.approx((15, 17, 19))


def test_the_state_began_with_its_first_step() -> None:
    """Words between steps, and a second step of the same state, do not begin it again; another state does."""
    steps = line((0, "confirmed"), (1, "shipped"), (2, ""), (3, "shipped"))
    assert (Told.of(steps).state, Told.of(steps).began) == ("shipped", at(1))
    again = line((0, "shipped"), (1, "attempted"), (2, "shipped"))
    assert Told.of(again).began == at(2)
    assert Told.of(line((0, ""), (1, ""))).began == at(0)
    assert days(deliveries().predict(steps, -1, -1, at(2)))[1] == pytest.approx(1 + 4)  # at a clock of 1, since day 1


@given(st.lists(st.sampled_from([*STATES, ""]), min_size=1, max_size=6))
def test_told_agrees_with_the_line(states: list[str]) -> None:
    """Read in one pass, it is what the properties of a line say."""
    made = tuple(
        Step(place, state, promised_at=place if place % 2 else None, confirmed_for=4 if place == 3 else None)
        for place, state in enumerate(states)
    )
    it = OrderLine("o", "1", "a", 0, made)
    told = Told.of(it)
    assert (told.state, told.promised, told.first_promised, told.confirmed_for) == (
        it.state, it.promised_at, it.first_promised_at, it.confirmed_for,
    )  # fmt: skip


def test_back_off_goes_from_the_item_to_all() -> None:
    """Item, else category, else the lead class of the catalogue or of the promise, else all."""
    told, plain = deliveries(), line((0, "confirmed"))
    found = [told.predict(plain, *key, at(0)) for key in ((0, 0), (1, 0), (2, -1), (2, 1), (1, 1), (-1, 0), (-1, -1))]
    assert [each and each.source for each in found] == [
        "item", "category", "lead time", "lead time", "all", "category", "all",
    ]  # fmt: skip
    assert [days(each)[0] for each in found] == pytest.approx([5, 4, 3, 3, 2, 4, 2])
    promised = line((0, "confirmed"), promised=5)  # a lead time of 4 to 7 days by the promise
    assert class_of(promised) == 2
    assert [told.predict(promised, row, -1, at(0)).source for row in (3, -1, 99)] == ["lead time"] * 3  # type: ignore[union-attr]


def test_nothing_is_said_where_nothing_is_known() -> None:
    """What has ended, a state that was never seen, and a bundle without the arrays."""
    told = deliveries()
    for state in ("delivered", "cancelled", "lost", "returned", "attempted"):
        assert told.predict(line((0, "confirmed"), (1, state)), 0, 0, at(2)) is None
    assert Deliveries.of(build_toy_bundle()) is None
    assert Deliveries.from_arrays({}) is None


def test_the_promise_is_an_anchor_where_there_is_one() -> None:
    """The last promise counts for the time, the first one for being late."""
    told = deliveries(PROMISE)
    assert days(told.predict(line((0, "confirmed"), promised=10), -1, -1, at(0))) == pytest.approx((7, 8, 11))
    assert days(told.predict(line((0, "confirmed")), -1, -1, at(0))) == pytest.approx((2, 3, 6))
    moved = OrderLine("o", "1", "a", ORDERED, (
        Step(at(0), "confirmed", promised_at=at(2)), Step(at(1), "", promised_at=at(10)),
    ))  # fmt: skip
    found = told.predict(moved, -1, -1, at(1))
    assert days(found)[2] > 10
    assert found is not None
    assert found.late


def test_a_late_line_has_an_interval_that_begins_now() -> None:
    """It is late from the promise on, and before that where the likely delivery lies beyond it."""
    told, now = deliveries(PROMISE), at(11)
    found = told.predict(line((0, "confirmed"), promised=10), -1, -1, now)
    assert found is not None
    assert found.late
    assert found.earliest == now
    assert found.latest > found.likely > now
    soon = deliveries().predict(line((0, "confirmed"), promised=2.5), -1, -1, at(1))
    assert soon is not None
    assert soon.late
    assert soon.earliest > at(1)
    fine = deliveries().predict(line((0, "confirmed"), promised=9), -1, -1, at(1))
    assert fine is not None
    assert not fine.late


@given(
    anchor=st.sampled_from([STATE_BEGAN, PROMISE]),
    state=st.sampled_from([state for state in STATES if state != "attempted"]),
    promised=st.none() | st.floats(-3, 30),
    key=st.sampled_from([(0, 0), (1, 0), (2, -1), (-1, -1)]),
    moments=st.lists(st.floats(0, 60), min_size=2, max_size=6),
)
def test_ends_stay_in_order_and_time_only_delays(anchor, state, promised, key, moments) -> None:
    """Earliest <= likely <= latest, none before now; likely and latest never move to an earlier instant."""
    told, it = deliveries(anchor), line((0, state), promised=promised)
    found = [told.predict(it, *key, at(moment)) for moment in sorted(moments)]
    for moment, each in zip(sorted(moments), found, strict=True):
        assert each is not None
        assert at(moment) <= each.earliest <= each.likely <= each.latest
        assert each.late or each.earliest >= at(moment)
    likely, latest = ([getattr(each, name) for each in found] for name in ("likely", "latest"))
    slack = 10  # microseconds: days are float32 in the table
    assert all(b >= a - slack for a, b in itertools.pairwise(likely))
    assert all(b >= a - slack for a, b in itertools.pairwise(latest))


def test_a_day_is_named_only_when_the_carrier_has() -> None:
    """And not any more once it has passed."""
    told = deliveries()
    assert told.predict(line((0, "shipped")), -1, -1, at(1)).day is None  # type: ignore[union-attr]
    named = line((0, "shipped"), confirmed=3)
    assert told.predict(named, -1, -1, at(1)).day == at(3)  # type: ignore[union-attr]
    assert told.predict(named, -1, -1, at(4.5)).day is None  # type: ignore[union-attr]


def test_a_bundle_carries_them(tmp_path) -> None:
    """Written and mapped, it says the same as in memory."""
    toy = build_toy_bundle()
    write_bundle(tmp_path / "b", Bundle(toy.manifest, {**toy.arrays, **arrays()}))
    mapped = Deliveries.of(open_bundle(tmp_path / "b"))
    assert mapped is not None
    for moment in (0.0, 0.7, 3.3, 40.0):
        asked = (line((0, "confirmed"), promised=4), 0, 0, at(moment))
        assert mapped.predict(*asked) == deliveries().predict(*asked)


def instant(*parts: int) -> int:
    return to_instant(datetime(*parts, tzinfo=UTC))  # type: ignore[misc, arg-type]


def expected(earliest: int, latest: int, day: int | None = None) -> Expected:
    return Expected(earliest, (earliest + latest) // 2, latest, day, False, "all")


def test_words_follow_the_calendar_of_the_customer() -> None:
    """At 16:00 UTC it is the next day in Tokyo."""
    it, now = expected(instant(2026, 12, 2, 16), instant(2026, 12, 8, 16)), instant(2026, 12, 1)
    assert in_words(it, now, "UTC") == "between 2 and 8 December"
    assert in_words(it, now, "Asia/Tokyo") == "between 3 and 9 December"
    assert in_words(it, now, "Asia/Tokyo", "ja") == "12月3日〜9日ごろ"
    over = expected(instant(2026, 12, 30), instant(2027, 1, 2))
    assert in_words(over, now, "UTC") == "between 30 December 2026 and 2 January 2027"
    assert in_words(over, now, "UTC", "ja") == "2026年12月30日〜2027年1月2日ごろ"
    months = expected(instant(2026, 11, 28), instant(2026, 12, 3))
    assert in_words(months, now, "UTC") == "between 28 November and 3 December"
    assert in_words(months, now, "UTC", "ja") == "11月28日〜12月3日ごろ"


def test_words_name_a_confirmed_day() -> None:
    """Until it is over; then the interval is said again."""
    day = instant(2026, 12, 5, 3)
    it = expected(instant(2026, 12, 3), instant(2026, 12, 9), day)
    assert in_words(it, instant(2026, 12, 1), "UTC") == "on 5 December, as the carrier confirmed"
    assert in_words(it, instant(2026, 12, 5, 23), "UTC", "ja") == "12月5日（配送会社の確認済み）"
    assert in_words(it, instant(2026, 12, 6), "UTC") == "between 3 and 9 December"


@given(
    start=st.integers(0, 400 * 24), hours=st.integers(0, 24 * 20), language=st.sampled_from(["en", "ja"]),
    zone=st.sampled_from(["UTC", "Asia/Tokyo", "America/Los_Angeles"]),
)  # fmt: skip
def test_no_single_day_without_the_carrier(start, hours, language, zone) -> None:
    """However narrow the interval, two days are named."""
    now = instant(2026, 1, 1)
    said = in_words(expected(now + start * HOUR, now + (start + hours) * HOUR), now, zone, language)
    if language == "en":
        assert said.startswith("between ")
        first, second = said.removeprefix("between ").split(" and ")
        assert first != second
        assert not second.startswith(f"{first} ")
    else:
        assert said.endswith("日ごろ")
        assert said.count("日") >= 2


def test_only_known_languages() -> None:
    """A typo is told, not answered in English."""
    with pytest.raises(ConfigError, match="language"):
        in_words(expected(0, DAY), 0, "UTC", "de")
