"""Histories as of a moment: the relational build equals a plain reading of the contract, event by event."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.build import EVERYTHING, histories_as_of
from features.dataset import Dataset
from features.history import Histories
from features.kinds import event_code
from features.moments import DAY, parse_instant
from features.text import event_key

MakeDataset = Callable[..., Dataset]
Seen = tuple[int, str | None, int, float, float, int]  # time, item, type, quantity, value (-1: unknown), key


def seen(histories: Histories) -> dict[str, list[Seen]]:
    """Subject -> its events with item ids instead of rows; subjects without events are left out."""
    found: dict[str, list[Seen]] = {}
    for row, subject in enumerate(histories.subjects):
        one = histories.at(row)
        items = [histories.items[item] if item >= 0 else None for item in one.item.tolist()]
        value = np.where(np.isnan(one.value), -1, one.value)
        columns = (one.time.tolist(), items, one.type.tolist(), one.quantity.tolist(), value.tolist(), one.key.tolist())
        found[subject] = list(zip(*columns, strict=True))
    return {subject: events for subject, events in found.items() if events}


# small cases, one promise each


def items_of(histories: Histories) -> dict[str, list[str | None]]:
    """Subject -> item ids in order."""
    return {subject: [event[1] for event in events] for subject, events in seen(histories).items()}


def test_one_purchase(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Every column of an event arrives: value is price times quantity minus the line's discount."""
    event = {
        "event_id": "e1", "customer_id": "ann", "item_id": "tea", "at": "2017-03-01", "type": "cart",
        "quantity": 3.0, "unit_price": 5.0, "discount": 2.0,
    }  # fmt: skip
    histories = histories_as_of(make_dataset(tmp_path, events=[event]))
    expected = (parse_instant("2017-03-01"), "tea", int(event_code("cart")), 3.0, 3 * 5.0 - 2.0, event_key("e1"))
    assert seen(histories) == {"c:ann": [expected]}


def test_what_is_not_given(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """No quantity counts as one, no price is an unknown value (not zero), no item is no item."""
    event = {"customer_id": "ann", "type": "test_drive", "quantity": None}
    one = histories_as_of(make_dataset(tmp_path, events=[event])).of("c:ann")
    assert (one.item.tolist(), one.type.tolist(), one.quantity.tolist()) == ([-1], [0], [1.0])
    assert math.isnan(one.value[0])


def test_an_empty_dataset_has_empty_histories(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """No events: no subjects, and catalogue items are known all the same."""
    histories = histories_as_of(make_dataset(tmp_path, items=[{"item_id": "b"}, {"item_id": "a"}]))
    assert (len(histories), len(histories.events)) == (0, 0)
    assert histories.offsets.tolist() == [0]
    assert list(histories.items) == ["a", "b"]


def test_late_events_are_not_known_before_they_were_recorded(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """An event of March that arrived in May does not exist in April."""
    late = {"customer_id": "ann", "item_id": "tea", "occurred_at": "2017-03-01", "recorded_at": "2017-05-01"}
    dataset = make_dataset(tmp_path, events=[late])
    assert items_of(histories_as_of(dataset, parse_instant("2017-04-01"))) == {}
    assert items_of(histories_as_of(dataset, parse_instant("2017-05-01"))) == {"c:ann": ["tea"]}


def test_nobodys_events_are_nobodys(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """An event without customer and visitor belongs to no history, but its item is known."""
    histories = histories_as_of(
        make_dataset(tmp_path, events=[{"item_id": "tea"}, {"visitor_id": "v", "item_id": "tea"}])
    )
    assert items_of(histories) == {"v:v": ["tea"]}


VISIT = {"visitor_id": "tablet", "type": "view"}


def test_visits_before_signing_in_count_for_the_customer(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """What the visitor saw before the link is the customer's; what came after it without a customer is not."""
    dataset = make_dataset(
        tmp_path,
        events=[
            {**VISIT, "item_id": "before", "at": "2017-03-01"},
            {**VISIT, "item_id": "at", "at": "2017-03-05"},
            {**VISIT, "item_id": "after", "at": "2017-03-06"},
            {"customer_id": "ann", "item_id": "own", "at": "2017-03-02"},
        ],
        identities=[{"visitor_id": "tablet", "customer_id": "ann", "linked_at": "2017-03-05"}],
    )
    assert items_of(histories_as_of(dataset)) == {"c:ann": ["before", "own", "at"], "v:tablet": ["after"]}
    not_yet = histories_as_of(dataset, parse_instant("2017-03-04"))
    assert items_of(not_yet) == {"c:ann": ["own"], "v:tablet": ["before"]}


def test_a_sign_out_parts_the_people_of_a_shared_tablet(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Visits before a sign-out do not go to whoever signs in next."""
    dataset = make_dataset(
        tmp_path,
        events=[
            {**VISIT, "item_id": "ann's", "at": "2017-03-01"},
            {**VISIT, "item_id": "somebody's", "at": "2017-03-03"},
            {**VISIT, "type": "sign_out", "customer_id": "ann", "at": "2017-03-04"},
            {**VISIT, "item_id": "bob's", "at": "2017-03-05"},
        ],
        identities=[
            {"visitor_id": "tablet", "customer_id": "ann", "linked_at": "2017-03-02"},
            {"visitor_id": "tablet", "customer_id": "bob", "linked_at": "2017-03-06"},
        ],
    )
    found = items_of(histories_as_of(dataset))
    assert found == {"c:ann": ["ann's", None], "v:tablet": ["somebody's"], "c:bob": ["bob's"]}


def test_two_links_at_one_instant_have_one_answer(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """When a visitor is linked to two customers at the same instant, the smaller id gets the visits, always."""
    links = [{"visitor_id": "tablet", "customer_id": name, "linked_at": "2017-03-02"} for name in "cabd"]
    for turn in range(4):
        order = links[turn:] + links[:turn]
        visits = [{**VISIT, "item_id": "tea", "at": "2017-03-01"}]
        dataset = make_dataset(tmp_path / str(turn), events=visits, identities=order)
        assert items_of(histories_as_of(dataset)) == {"c:a": ["tea"]}


def test_ties_are_ordered_by_the_events_key(tmp_path: Path, make_dataset: MakeDataset) -> None:
    """Events of one instant have one order, whatever the order of the files: two builds are equal to the byte."""
    events = [{"customer_id": "ann", "item_id": f"i{n}", "event_id": f"e{n}"} for n in range(50)]
    one = histories_as_of(make_dataset(tmp_path / "a", events=events))
    two = histories_as_of(make_dataset(tmp_path / "b", events=events[::-1]))
    assert one.events.key.tolist() == sorted(event_key(f"e{n}") for n in range(50))
    first, second = one.arrays(), two.arrays()
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


# the whole contract, on random shops

T0 = parse_instant("2017-01-01")
PEOPLE, VISITORS, TYPES = ["ann", "bob"], ["v1", "v2"], ["view", "purchase", "sign_out"]


def subject_of(event: dict[str, Any], known: list[dict[str, Any]], links: list[dict[str, Any]]) -> str | None:
    """The contract in words: a customer's own, else the visitor's, else of who signed in next without a sign-out."""
    if event["customer_id"] is not None:
        return f"c:{event['customer_id']}"
    visitor, at = event["visitor_id"], event["occurred_at"]
    if visitor is None:
        return None
    later = [(k["linked_at"], k["customer_id"]) for k in links if k["visitor_id"] == visitor and k["linked_at"] >= at]
    if not later:
        return f"v:{visitor}"
    linked_at, customer = min(later)
    outs = (o for o in known if o["type"] == "sign_out" and o["visitor_id"] == visitor)
    parted = any(at <= out["occurred_at"] < linked_at for out in outs)
    return f"v:{visitor}" if parted else f"c:{customer}"


def oracle(events: list[dict[str, Any]], links: list[dict[str, Any]], now: int) -> dict[str, list[Seen]]:
    """Histories as of a moment, one event at a time."""
    latest: dict[str, dict[str, Any]] = {}
    for event in sorted((e for e in events if e["recorded_at"] <= now), key=lambda e: e["revision"]):
        latest[event["event_id"]] = event
    known = [event for event in latest.values() if event["occurred_at"] < now and not event["withdrawn"]]
    links = [link for link in links if link["linked_at"] <= now]
    found: dict[str, list[Seen]] = {}
    for event in known:
        subject = subject_of(event, known, links)
        if subject is not None:
            price, quantity = event["unit_price"], 1.0 if event["quantity"] is None else event["quantity"]
            value = -1.0 if price is None else price * quantity
            kind, key = int(event_code(event["type"])), event_key(event["event_id"])
            found.setdefault(subject, []).append((event["occurred_at"], event["item_id"], kind, quantity, value, key))
    return {subject: sorted(rows, key=lambda row: (row[0], row[-1])) for subject, rows in found.items()}


DAYS = st.integers(0, 8).map(lambda day: T0 + day * DAY)


@st.composite
def shops(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Events (some late, some amended or withdrawn later) and links, dense enough that everything meets."""
    events: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 12))):
        revisions, recorded = draw(st.integers(1, 3)), draw(DAYS)
        person, visitor = draw(st.sampled_from([*PEOPLE, None, None])), draw(st.sampled_from([*VISITORS, None]))
        for revision in range(revisions):
            events.append({
                "event_id": f"e{number}", "revision": revision, "recorded_at": recorded + revision * DAY,
                "occurred_at": draw(DAYS), "customer_id": person, "visitor_id": visitor,
                "type": draw(st.sampled_from(TYPES)), "item_id": draw(st.sampled_from(["tea", "mug", None])),
                "quantity": draw(st.sampled_from([None, 1.0, 2.0])),
                "unit_price": draw(st.sampled_from([None, 0.0, 5.0])),
                "withdrawn": revision > 0 and draw(st.booleans()),
            })  # fmt: skip
    link = st.fixed_dictionaries(
        {"visitor_id": st.sampled_from(VISITORS), "customer_id": st.sampled_from(PEOPLE), "linked_at": DAYS}
    )
    return events, draw(st.lists(link, max_size=4))


@given(shops(), st.integers(0, 10).map(lambda day: T0 + day * DAY) | st.just(EVERYTHING))
@settings(max_examples=60)
def test_the_build_is_the_contract(
    make_dataset: MakeDataset, shop: tuple[list[dict[str, Any]], list[dict[str, Any]]], now: int
) -> None:
    """On random shops with late, amended, withdrawn, anonymous and linked events, at any moment: equal to the loop."""
    events, links = shop
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(Path(folder), events=events, identities=links, amends=True)
        assert seen(histories_as_of(dataset, now)) == oracle(events, links, now)


@pytest.mark.parametrize("now", ["2017-01-03", "2017-01-05", "2017-02-01"])
def test_cutting_the_whole_equals_building_the_part(tmp_path: Path, make_dataset: MakeDataset, now: str) -> None:
    """Without amendments and links, all histories cut at T are the histories built at T."""
    events = [
        {"customer_id": f"c{n % 3}", "item_id": f"i{n % 4}", "occurred_at": T0 + n * DAY // 2,
         "recorded_at": T0 + n * DAY // 2 + (n % 5) * DAY}
        for n in range(20)
    ]  # fmt: skip
    dataset, moment = make_dataset(tmp_path, events=events), parse_instant(now)
    assert seen(histories_as_of(dataset).as_of(moment)) == seen(histories_as_of(dataset, moment))
