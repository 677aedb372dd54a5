"""Stages of a journey: each rule at its boundary, the order of the rules, and a second derivation hour by hour."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.history import History
from features.journey import PRIORITY, REASONS, RULES, STAGES, Stage, StageRules, stage_of
from features.kinds import SHIPMENT_STATES, EventType
from features.moments import DAY, HOUR, MINUTE
from features.orders import OrderLine, Step
from features.timeline import stages_over

NOW = 1_000 * DAY
KINDS = np.array([0, 0, 0, 1, 1, -1, -1], np.int32)
"""Seven items of two kinds; the kind of the last two is unknown."""


def history(*events: tuple[str, int] | tuple[str, int, int] | tuple[str, int, int, float], late: int = 0) -> History:
    """Events as (type, microseconds, item, quantity), recorded `late` after they happened."""
    rows = sorted((event[1], place, event[0], *event[2:]) for place, event in enumerate(events))
    time = np.array([row[0] for row in rows], np.int64)
    return History(
        time, time + late, np.array([row[3] if len(row) > 3 else -1 for row in rows], np.int32),
        np.array([EventType[row[2].upper()] for row in rows], np.int8),
        np.array([row[4] if len(row) > 4 else 1 for row in rows], np.float32),
        np.full(len(rows), np.nan, np.float32), np.arange(len(rows), dtype=np.uint64),
    )  # fmt: skip


def line(*steps: tuple[int, str], ordered: int | None = None, name: str = "o", number: str = "1") -> OrderLine:
    """An order line with steps as (microseconds, state)."""
    made = tuple(Step(at, state) for at, state in steps)
    return OrderLine(name, number, "tea", made[0].at if ordered is None else ordered, made)


def name(past: History, now: int = NOW, orders: Sequence[OrderLine] = (), **rules: float) -> str:
    return stage_of(past, orders, now, StageRules(**rules) if rules else RULES, KINDS).name  # type: ignore[arg-type]


def test_nobody():
    """Of whom nothing is known begins now."""
    found = stage_of(History.empty(), (), NOW)
    assert (found.name, found.since, found.why) == ("awareness", NOW, "nothing is known")


def test_seen_once():
    """One look, a mail, a sign-in: known, and no more."""
    found = stage_of(history(("view", NOW - DAY, 0), ("sent", NOW - 2 * DAY)), (), NOW, category=KINDS)
    assert (found.name, found.since) == ("awareness", NOW - 2 * DAY + 1)
    assert found.why == "events known: 2, none that says more"


@pytest.mark.parametrize(
    ("items", "stage"),
    [((0, 1), "consideration"), ((3, 4), "consideration"), ((0, 3), "awareness"), ((0, 0), "awareness"),
     ((5, 6), "awareness"), ((-1, -1), "awareness")],
)  # fmt: skip
def test_two_items_of_one_kind(items: tuple[int, int], stage: str):
    """Only different items of the same known kind."""
    assert name(history(("view", NOW - DAY, items[0]), ("click", NOW - HOUR, items[1]))) == stage


def test_one_kind_of_items():
    """Without kinds, any two items that the shop knows."""
    past = history(("view", NOW - DAY, 0), ("view", NOW - HOUR, 3))
    assert stage_of(past, (), NOW).reason == "one_kind"
    assert stage_of(history(("view", NOW - DAY, -1), ("view", NOW - HOUR, 3)), (), NOW).name == "awareness"


def test_kinds_in_figures():
    """Since the second item of the kind; as many as there are by now."""
    past = history(*(("view", NOW - 5 * DAY + place * DAY, item) for place, item in enumerate((0, 3, 1, 2))))
    found = stage_of(past, (), NOW, category=KINDS)
    assert (found.since, found.values["items"]) == (NOW - 3 * DAY + 1, 3)
    assert found.why == "looked at 3 items of one kind within 14 days and has not bought since"


@pytest.mark.parametrize("sign", [("search", -1), ("wishlist", 0)])
@pytest.mark.parametrize(("age", "stage"), [(14 * DAY, "consideration"), (14 * DAY + 1, "awareness")])
def test_signs_age(sign: tuple[str, int], age: int, stage: str):
    """14 days, the last microsecond included."""
    assert name(history((sign[0], NOW - age, sign[1]))) == stage


@pytest.mark.parametrize("end", ["wishlist_remove", "purchase"])
def test_closed_wishes(end: str):
    """What was taken off or bought is no wish; that of another item stays."""
    past = history(("wishlist", NOW - 2 * DAY, 0), (end, NOW - 2 * DAY, 0))
    assert name(past) == ("use" if end == "purchase" else "awareness")
    assert name(history(("wishlist", NOW - DAY, 0), ("wishlist_remove", NOW - HOUR, 1))) == "consideration"
    again = history(("wishlist", NOW - 3 * DAY, 0), ("wishlist_remove", NOW - 2 * DAY, 0), ("wishlist", NOW - DAY, 0))
    assert stage_of(again, (), NOW).since == NOW - DAY + 1


def test_bought_since():
    """A purchase ends a consideration, and one who comes back begins another."""
    past = history(("search", NOW - 3 * DAY), ("purchase", NOW - 2 * DAY, 0))
    assert name(past) == "use"
    back = history(("purchase", NOW - 400 * DAY, 0), ("search", NOW - DAY))
    assert name(back) == "consideration"


@pytest.mark.parametrize(("age", "stage"), [(7 * DAY, "purchase"), (7 * DAY + 1, "awareness")])
def test_basket_ages(age: int, stage: str):
    assert name(history(("cart", NOW - age, 0))) == stage


@pytest.mark.parametrize("end", ["cart_remove", "purchase"])
def test_emptied_basket(end: str):
    """What was taken out or bought lies there no more, also where both carry one instant; another item stays."""
    for later in (0, HOUR):
        past = history(("cart", NOW - 2 * DAY, 0), (end, NOW - 2 * DAY + later, 0))
        assert name(past) == ("use" if end == "purchase" else "awareness")
        turned = history((end, NOW - 2 * DAY + later, 0), ("cart", NOW - 2 * DAY, 0))
        assert name(turned) == name(past)
    both = stage_of(history(("cart", NOW - DAY, 0), ("cart", NOW - 2 * DAY, 1), (end, NOW - HOUR, 0)), (), NOW)
    assert (both.reason, both.values["items"], both.since) == ("basket", 1, NOW - 2 * DAY + 1)


@pytest.mark.parametrize(("age", "stage"), [(DAY, "purchase"), (DAY + 1, "use")])
def test_fresh_order(age: int, stage: str):
    """A day is given to the shop to report an order."""
    assert name(history(("purchase", NOW - age, 0))) == stage


def test_reported():
    """An order line of that order, also one that was told of an hour later, ends it."""
    past = history(("purchase", NOW - 5 * HOUR, 0))
    told = line((NOW - 4 * HOUR, "confirmed"), (NOW - HOUR, "delivered"))
    assert stage_of(past, (), NOW).reason == "unreported"
    assert stage_of(past, (told,), NOW - HOUR).name == "waiting"
    assert stage_of(past, (told,), NOW).reason == "received"
    older = line((NOW - 20 * DAY, "confirmed"), (NOW - 19 * DAY, "delivered"))
    assert stage_of(past, (older,), NOW).reason == "unreported"


def test_waiting_for_one_line():
    """One open line is enough, from when the oldest was known; steps count from the moment after them."""
    one = line((NOW - 9 * DAY, "confirmed"), (NOW - 5 * DAY, ""))
    other = line((NOW - 8 * DAY, "confirmed"), (NOW - 2 * DAY, "delivered"), number="2")
    found = stage_of(History.empty(), (one, other), NOW)
    assert (found.name, found.since) == ("waiting", NOW - 9 * DAY + 1)
    assert found.why == "order lines under way: 1, the oldest known for 9.0 days"
    assert stage_of(History.empty(), (one,), NOW - 9 * DAY).name == "awareness"
    assert stage_of(History.empty(), (one,), NOW - 9 * DAY + 1).name == "waiting"


@pytest.mark.parametrize("end", ["delivered", "returned", "cancelled", "lost"])
def test_ended_lines(end: str):
    """What was delivered is in use; what failed is no purchase."""
    told = line((NOW - 9 * DAY, "confirmed"), (NOW - DAY, end))
    found = stage_of(history(("purchase", NOW - 9 * DAY, 0)), (told,), NOW)
    assert found.name == ("use" if end == "delivered" else "awareness")
    if end == "delivered":
        assert (found.reason, found.since) == ("received", NOW - DAY + 1)


def test_half_of_an_order_failed():
    """An order is none only when all of it failed."""
    past = history(("purchase", NOW - 9 * DAY, 0), ("purchase", NOW - 9 * DAY, 1))
    gone = line((NOW - 9 * DAY, "confirmed"), (NOW - DAY, "cancelled"))
    here = line((NOW - 9 * DAY, "confirmed"), (NOW - DAY, "delivered"), number="2")
    lost = line((NOW - 9 * DAY, "confirmed"), (NOW - DAY, "lost"), number="2")
    assert [name(past, orders=orders) for orders in ((gone,), (gone, here), (gone, lost))] == [
        "use", "use", "awareness",
    ]  # fmt: skip


def test_return_that_no_line_tells_of():
    """What the events say came back is no purchase, though a line of that order still says "delivered"."""
    past = history(("purchase", NOW - 9 * DAY, 0), ("return", NOW - DAY, 0))
    for later in (0, HOUR):
        told = line((NOW - 9 * DAY + later, "confirmed"), (NOW - 5 * DAY, "delivered"))
        assert name(past, orders=(told,)) == "awareness"
        assert name(past, NOW - 2 * DAY, orders=(told,)) == "use"


def test_cancelled_line_told_later():
    """A line belongs to the nearest purchase within an occasion; farther away it is an order of its own."""
    past = history(("purchase", NOW - 9 * DAY, 0))
    for later, stage in ((HOUR, "awareness"), (12 * HOUR, "use"), (-HOUR, "awareness")):
        told = line((NOW - 9 * DAY + later, "confirmed"), (NOW - 5 * DAY, "cancelled"))
        assert name(past, orders=(told,)) == stage


def test_forgotten_line():
    """A shop that never says "delivered" does not let people wait for ever."""
    told = line((NOW - 365 * DAY, "shipped"))
    assert name(History.empty(), orders=(told,)) == "waiting"
    assert name(History.empty(), NOW + 1, orders=(told,)) == "lapsed"


@pytest.mark.parametrize(
    ("pieces", "stage"), [((1.0,), "use"), ((2.0,), "awareness"), ((1.0, 1.0), "awareness"), ((5.0,), "awareness")]
)
def test_returns(pieces: tuple[float, ...], stage: str):
    """Who gave all pieces back has bought nothing."""
    back = [("return", NOW - DAY + place, 0, each) for place, each in enumerate(pieces)]
    assert name(history(("purchase", NOW - 9 * DAY, 0, 2.0), *back)) == stage  # type: ignore[arg-type]


def test_return_of_the_latest():
    """A return takes the latest purchase of the item before it, and no later one."""
    past = (("purchase", NOW - 300 * DAY, 0), ("purchase", NOW - 9 * DAY, 0))
    assert stage_of(history(*past, ("return", NOW - 8 * DAY, 0)), (), NOW).name == "lapsed"
    assert stage_of(history(*past, ("return", NOW - 200 * DAY, 0)), (), NOW).name == "use"
    assert stage_of(history(*past, ("return", NOW - 8 * DAY, 1)), (), NOW).name == "use"


@pytest.mark.parametrize(
    ("days", "stage"),
    [(69, "use"), (70, "repeat"), (200, "repeat"), (200 + 1e-6, "use"), (300, "use"), (301, "lapsed")],
)
def test_rhythm(days: float, stage: str):
    """Bought every 100 days: due from day 70 to 200, lapsed after 300."""
    start = 0 * DAY
    past = history(("purchase", start, 0), ("purchase", start + 100 * DAY, 1), ("purchase", start + 200 * DAY, 0))
    assert name(past, start + 200 * DAY + round(days * DAY)) == stage


def test_median_of_gaps():
    """The middle gap, between the two middle ones where there are four gaps."""
    days = (0, 10, 30, 60, 160)
    past = history(*(("purchase", day * DAY, 0) for day in days))
    found = stage_of(past, (), 180 * DAY)
    assert found.why == "last order 20.0 days ago, usually every 25.0 days"
    assert found.since == 160 * DAY + round(17.5 * DAY)


def test_occasions():
    """Forgotten and ordered again within 12 hours is no rhythm."""
    twice = history(("purchase", 0, 0), ("purchase", 12 * HOUR - 1, 1))
    assert name(twice, 15 * DAY) == "use"
    assert stage_of(history(("purchase", 0, 0), ("purchase", 12 * HOUR, 1)), (), 20 * HOUR).reason == "unreported"
    assert name(history(("purchase", 0, 0), ("purchase", 12 * HOUR, 1)), 25 * HOUR, fresh=HOUR) == "repeat"


@pytest.mark.parametrize(("age", "stage"), [(180 * DAY, "use"), (180 * DAY + 1, "lapsed")])
def test_lapsed_after_one_purchase(age: int, stage: str):
    past = history(("purchase", NOW - age, 0))
    assert name(past) == stage
    if stage == "lapsed":
        assert stage_of(past, (), NOW).since == NOW


@pytest.mark.parametrize(("age", "stage"), [(30 * DAY, "use"), (30 * DAY + 1, "lapsed")])
def test_who_looks_has_not_lapsed(age: int, stage: str):
    """A look of the last 30 days, from which on somebody is back."""
    past = history(("purchase", NOW - 300 * DAY, 0), ("view", NOW - age, 0))
    found = stage_of(past, (), NOW)
    assert (found.name, found.since) == (stage, NOW - age + 1 if stage == "use" else NOW)


def test_order_of_the_rules():
    """One history in which everything holds: take away the first, and the next is the stage."""
    bought = (("purchase", NOW - 100 * DAY, 0), ("purchase", NOW - 50 * DAY, 1))
    past = [("cart", NOW - DAY, 0), ("search", NOW - DAY), *bought]
    waiting = line((NOW - 55 * DAY, "shipped"))
    assert name(history(*past), orders=(waiting,)) == "waiting"  # type: ignore[arg-type]
    assert name(history(*past)) == "purchase"  # type: ignore[arg-type]
    assert name(history(*past[1:])) == "consideration"  # type: ignore[arg-type]
    assert name(history(*past[2:])) == "repeat"  # type: ignore[arg-type]
    assert set(PRIORITY) == set(STAGES)


def test_late_knowledge():
    """An event counts from when it was recorded, and never at its own instant."""
    past = history(("cart", NOW - DAY, 0), late=DAY)
    assert [name(past, now) for now in (NOW - 1, NOW)] == ["awareness", "purchase"]
    assert [name(history(("cart", NOW, 0)), now) for now in (NOW, NOW + 1)] == ["awareness", "purchase"]


def test_words():
    """Every reason can be said with the values that come with it."""
    assert {stage.reason for stage in _all_reasons()} == set(REASONS)
    for stage in _all_reasons():
        assert stage.why and "{" not in stage.why


def _all_reasons() -> list[Stage]:
    delivered = line((NOW - 3 * DAY, "confirmed"), (NOW - DAY, "delivered"))
    worlds: list[tuple[tuple[tuple[str, int, int], ...], tuple[OrderLine, ...]]] = [
        ((), ()), ((), (line((NOW - DAY, "shipped")),)), ((), (delivered,)),
        ((("cart", NOW - DAY, 0),), ()), ((("purchase", NOW - HOUR, 0),), ()), ((("search", NOW - DAY, -1),), ()),
        ((("wishlist", NOW - DAY, 0),), ()), ((("view", NOW - DAY, 0), ("view", NOW - HOUR, 1)), ()),
        ((("purchase", NOW - 20 * DAY, 0), ("purchase", NOW - 10 * DAY, 0)), ()),
        ((("purchase", NOW - 200 * DAY, 0),), ()), ((("purchase", NOW - 20 * DAY, 0),), ()),
        ((("view", NOW - DAY, 0),), ()),
    ]  # fmt: skip
    return [stage_of(history(*events), orders, NOW) for events, orders in worlds]


# A small world in hours, with rules so short that every threshold is crossed within two weeks.
SHORT = StageRules(
    basket=6 * HOUR, fresh=3 * HOUR, considering=9 * HOUR, lapsed=40 * HOUR, look=8 * HOUR, occasion=2 * HOUR,
    longest_wait=50 * HOUR,
)  # fmt: skip
TYPES = [
    *("view", "view", "click", "search", "cart", "cart_remove", "wishlist", "wishlist_remove"),
    *("purchase", "purchase", "purchase", "return", "open"),
]
HOURS = st.integers(0, 160)
EVENTS = st.lists(
    st.tuples(st.sampled_from(TYPES), HOURS, st.integers(-1, 6), st.integers(1, 2), st.sampled_from([0, 0, 0, 5, 30])),
    max_size=14,
)
STEPS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["", *SHIPMENT_STATES])), min_size=1, max_size=3)
LINES = st.lists(st.tuples(HOURS, STEPS), max_size=3)
Events = list[tuple[str, int, int, int, int]]
Lines = list[tuple[int, list[tuple[int, str]]]]


def _world(events: Events, lines: Lines):
    past = history(*((kind, hour * HOUR, item, float(pieces)) for kind, hour, item, pieces, _ in events))
    delays = {(kind, hour, item): late for kind, hour, item, _, late in events}
    late = [delays[EventType(code).name.lower(), at // HOUR, item] for code, at, item in
            zip(past.type.tolist(), past.time.tolist(), past.item.tolist(), strict=True)]  # fmt: skip
    past = History(past.time, past.time + np.array(late, np.int64) * HOUR, *(getattr(past, each) for each in
                   ("item", "type", "quantity", "value", "key")))  # fmt: skip
    orders = []
    for number, (hour, steps) in enumerate(lines):
        at, made = hour * HOUR, []
        for wait, state in steps:
            at += wait * HOUR
            made.append((at, state))
        orders.append(line(*made, ordered=hour * HOUR, name=str(number)))
    return past, orders


@settings(max_examples=80)
@given(EVENTS, LINES, st.booleans(), st.integers(0, 40))
def test_changes_are_what_every_hour_says(events: Events, lines: Lines, kinds: bool, start: int):
    """At each hour, and a microsecond before and after it, the exact changes and the stage of the moment agree."""
    past, orders = _world(events, lines)
    category = KINDS if kinds else None
    begin, end = start * HOUR, 330 * HOUR
    changes = stages_over(past, orders, begin, end, SHORT, category)
    instants = np.array([at for at, _ in changes])
    assert instants[0] == begin
    assert all(one[1] != two[1] for one, two in itertools.pairwise(changes))
    moments = [at for hour in range(start, 330, 1) for at in (hour * HOUR, hour * HOUR + 1)]
    moments += [at + away for at in instants.tolist() for away in (-1, 0) if begin <= at + away < end]
    for now in moments:
        told = changes[int(np.searchsorted(instants, now, "right")) - 1][1]
        assert told == stage_of(past, orders, now, SHORT, category).name, (now / HOUR, changes)


@settings(max_examples=80)
@given(EVENTS, LINES, st.integers(0, 300))
def test_since(events: Events, lines: Lines, hour: int):
    """From `since` to now, nobody was in a stage that comes later, where all is told at once and nothing undone.

    The first step of a line is told when it was ordered: what a line makes of the stage when it is told later, a
    second purchase and so a repeat, began at a moment at which nobody could know of it.
    """
    told = [(kind, at, item, pieces, 0) for kind, at, item, pieces, _ in events if kind != "return"]
    waits = [(at, [0, *(wait for wait, _ in steps[1:])]) for at, steps in lines]
    states = ("confirmed", "shipped", "delivered")
    past, orders = _world(told, [(at, list(zip(steps, states, strict=False))) for at, steps in waits])
    found = stage_of(past, orders, hour * HOUR, SHORT, KINDS)
    assert found.since <= hour * HOUR
    here = PRIORITY.index(found.name)
    for now in (found.since, *range(-(-found.since // HOUR) * HOUR, hour * HOUR, HOUR)):
        assert PRIORITY.index(stage_of(past, orders, now, SHORT, KINDS).name) <= here


@settings(max_examples=60)
@given(EVENTS, LINES, st.integers(0, 300))
def test_no_look_ahead(events: Events, lines: Lines, hour: int):
    """What is not known yet changes nothing."""
    past, orders = _world(events, lines)
    now = hour * HOUR + MINUTE
    known = [each for line in orders if (each := line.as_of(now)) is not None]
    assert stage_of(past, orders, now, SHORT, KINDS) == stage_of(past.as_of(now), known, now, SHORT, KINDS)
