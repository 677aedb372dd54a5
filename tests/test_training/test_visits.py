"""Visits and their moments: what is shown is what was known then, and the truth lies after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from features.build import histories_as_of
from features.dataset import Dataset
from features.history import customer_subject, visitor_subject
from features.kinds import EventType
from features.moments import DAY, MICROSECOND, MINUTE, format_instant
from training.split import Window, catalogue
from training.visits import Moment, Visits, known_at, visits_of

FIRST = 1_483_228_800_000_000  # 2017-01-01
WINDOW = Window(FIRST + 10 * DAY, FIRST + 20 * DAY)


def at(day: float, minutes: float = 0.0) -> str:
    return format_instant(FIRST + int(day * DAY) + int(minutes * MINUTE))


def view(item: str, when: str, **who: str) -> dict[str, str]:
    return {"type": "view", "item_id": item, "at": when, "device": "phone", **who}


def buy(item: str, when: str, **who: str) -> dict[str, str]:
    return {"type": "purchase", "item_id": item, "at": when, **who}


@pytest.fixture(scope="module")
def world(make_dataset: Callable[..., Dataset], tmp_path_factory: pytest.TempPathFactory) -> Visits:
    """Ann signs in in the middle of her visit; Bo is known; two visitors never sign in, one shares Ann's tablet."""
    events = [
        buy("tea", at(1), customer_id="ann"), buy("tea", at(1), customer_id="bo"), buy("cup", at(2), customer_id="ann"),
        # The tablet: somebody else's look, a sign-out, then Ann looks on day 12 and signs in after her second view.
        view("pot", at(3), visitor_id="tablet"),
        {"type": "sign_out", "at": at(4), "visitor_id": "tablet", "customer_id": "ann"},
        view("cup", at(12), visitor_id="tablet", region="North", traffic_source="ads"),
        view("tea", at(12, 2), visitor_id="tablet"),
        view("pot", at(12, 5), customer_id="ann", visitor_id="tablet"),
        buy("tea", at(12, 9), customer_id="ann"), buy("pot", at(12, 9), customer_id="ann"),
        # Bo views twice, and only the second view is known while he is there; 31 minutes on he is a new visit.
        {**view("cup", at(13), customer_id="bo"), "recorded_at": at(14)},
        view("pot", at(13, 3), customer_id="bo"), buy("cup", at(13, 4), customer_id="bo"),
        buy("pot", at(13, 36), customer_id="bo"),
        view("cup", at(15), visitor_id="v9"), buy("cup", at(15, 1), visitor_id="v9"),
        view("cup", at(16), visitor_id="v8"),  # buys nothing
        view("cup", at(17), visitor_id="v7"), buy("rare", at(17, 1), visitor_id="v7"),  # not in the catalogue
        buy("cup", at(18), visitor_id="v6"), view("cup", at(18, 1), visitor_id="v6"),  # looked at too late
        view("cup", at(30), visitor_id="v5"), buy("cup", at(30, 1), visitor_id="v5"),  # after the window
    ]  # fmt: skip
    events += [buy(item, at(5), customer_id=f"z{n}") for n in range(3) for item in ("tea", "cup", "pot")]
    dataset = make_dataset(
        tmp_path_factory.mktemp("visits") / "dataset", events=events,
        identities=[{"visitor_id": "tablet", "customer_id": "ann", "linked_at": FIRST + 12 * DAY + 4 * MINUTE}],
    )  # fmt: skip
    histories = histories_as_of(dataset)
    listed = catalogue(histories, before=WINDOW.start, min_customers=3)
    return visits_of(dataset, histories, WINDOW, listed=listed)


def named(world: Visits, rows: np.ndarray) -> list[str]:
    return [world.histories.items[int(row)] for row in rows]


def seen(world: Visits, moment: Moment) -> list[tuple[str, str]]:
    history = world.shown(moment)
    kinds = [EventType(int(kind)).name.lower() for kind in history.type]
    items = [world.histories.items[int(row)] if row >= 0 else "" for row in history.item]
    return list(zip(kinds, items, strict=True))


def test_only_visits_that_can_be_judged_are_taken(world: Visits) -> None:
    """Ann's, Bo's first and v9's: the others bought nothing listed, or looked too late, or came too late."""
    assert (world.began, world.bought, world.usable, len(world.events)) == (7, 5, 3, 3)


def test_a_visitor_is_a_visitor_until_the_sign_in(world: Visits) -> None:
    """Ann's first moments show the tablet's own views alone; after the sign-in her past is there, of the tablet too."""
    ann = world.histories.subjects.row("c:ann")
    moments = [next(each for each in world.moments(views) if each.person == ann) for views in range(4)]
    assert [moment.visitor >= 0 for moment in moments] == [True, True, True, False]
    # The look before the sign-out is nobody's but the tablet's.
    assert [seen(world, moment) for moment in moments[:3]] == [
        [("view", "pot")],
        [("view", "pot"), ("view", "cup")],
        [("view", "pot"), ("view", "cup"), ("view", "tea")],
    ]
    assert seen(world, moments[3]) == [
        ("purchase", "tea"), ("purchase", "cup"), ("sign_out", ""), ("view", "cup"), ("view", "tea"), ("view", "pot"),
    ]  # fmt: skip
    assert moments[1].context.region == "North"
    assert (moments[1].context.traffic_source, moments[1].context.device) == ("ads", "phone")
    assert moments[2].context.region is None
    assert all(named(world, moment.bought) == ["pot", "tea"] for moment in moments)


def test_a_late_record_is_no_view_yet(world: Visits) -> None:
    """Bo's second look is the first that a service could have known of; and his later purchase is another visit."""
    bo = world.histories.subjects.row("c:bo")
    arrival, first = (next(each for each in world.moments(views) if each.person == bo) for views in (0, 1))
    assert seen(world, arrival) == [("purchase", "tea")]
    assert seen(world, first) == [("purchase", "tea"), ("view", "pot")]
    assert first.now == FIRST + 13 * DAY + 3 * MINUTE + MICROSECOND
    assert named(world, first.bought) == ["cup"]
    assert not [each for each in world.moments(2) if each.person == bo]  # known a day later, when all is bought


def test_truth_without_what_was_viewed(world: Visits) -> None:
    moments = world.moments(2)
    histories = [world.shown(moment) for moment in moments]
    everything, unseen = (world.truth(moments, histories, viewed=viewed) for viewed in (True, False))
    assert [named(world, everything.of(place)) for place in range(len(moments))] == [["pot", "tea"]]
    assert [named(world, unseen.of(place)) for place in range(len(moments))] == [[]]
    assert everything.repeat.tolist() == [False, False]  # of what the tablet's visitor is known for


def test_moments_of_a_shop_show_what_was_known_then(tiny_dataset: Path) -> None:
    """A second derivation: histories built from the tables as of the very moment, with sign-ins and late records."""
    dataset = Dataset(tiny_dataset)
    histories = histories_as_of(dataset)
    end = int(histories.events.time.max()) // DAY * DAY
    window = Window(end - 40 * DAY, end)
    visits = visits_of(dataset, histories, window, listed=catalogue(histories, before=window.start, min_customers=2))
    assert visits.usable == len(visits.events)
    assert visits.usable <= visits.bought <= visits.began
    everyone = [moment for views in range(3) for moment in visits.moments(views)]
    unknown = [moment for moment in everyone if moment.visitor >= 0]
    known = [moment for moment in everyone if moment.visitor < 0]
    assert unknown
    assert known
    for moment in [*unknown[:: max(1, len(unknown) // 5)], *known[:: max(1, len(known) // 5)]]:
        name = visits.histories.subjects[moment.person]
        if moment.visitor >= 0:
            name = visitor_subject(visits.told.visitors[moment.visitor])
        assert moment.visitor >= 0 or name.startswith(customer_subject(""))
        expected = histories_as_of(dataset, moment.now).of(name)
        assert visits.shown(moment).key.tolist() == expected.key.tolist()


def test_the_truth_lies_after_the_moment_and_in_the_visit(tiny_dataset: Path) -> None:
    """Of every moment: something of the catalogue, bought by that person not before now and within the visit."""
    dataset = Dataset(tiny_dataset)
    histories = histories_as_of(dataset)
    end = int(histories.events.time.max()) // DAY * DAY
    window = Window(end - 40 * DAY, end)
    listed = catalogue(histories, before=window.start, min_customers=2)
    visits = visits_of(dataset, histories, window, listed=listed)
    events = visits.histories.events
    for views in range(4):
        for moment in visits.moments(views):
            rows = visits.events[moment.visit]
            assert window.start <= events.time[rows[0]] < window.end
            assert (np.diff(events.time[rows]) <= 30 * MINUTE).all()
            left = rows[(events.type[rows] == EventType.PURCHASE) & (events.time[rows] >= moment.now)]
            assert set(moment.bought.tolist()) == {item for item in events.item[left].tolist() if listed[item]}
            assert len(moment.bought)
            history = visits.shown(moment)
            assert (known_at(history) <= moment.now).all()
            inside = history.of_types(EventType.VIEW)
            assert (inside.time >= events.time[rows[0]]).sum() >= views
    some = visits_of(dataset, histories, window, listed=listed, at_most=9)
    again = visits_of(dataset, histories, window, listed=listed, at_most=9)
    assert [each.tolist() for each in some.events] == [each.tolist() for each in again.events]
    assert (len(some.events), some.usable) == (9, visits.usable)
    assert {tuple(each) for each in some.events} <= {tuple(each) for each in visits.events}


def test_a_window_without_visits(tiny_dataset: Path) -> None:
    dataset = Dataset(tiny_dataset)
    histories = histories_as_of(dataset)
    late = Window(int(histories.events.time.max()) + DAY, int(histories.events.time.max()) + 2 * DAY)
    visits = visits_of(dataset, histories, late, listed=np.ones(len(histories.items), bool))
    assert (visits.began, visits.bought, visits.usable, visits.moments(1)) == (0, 0, 0, [])
