"""A dataset becomes a log: rewards by hand, by a plain loop over random worlds, and as the simulated shop has them."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import DataError
from features.moments import DAY, HOUR, parse_instant
from tests.test_uplift.drawn import START, dataset, features
from training.simulation import simulate
from training.uplift.reading import ARMS_DIFFER, FALLBACK, HOLDOUT, NOT_DRAWN, OFF_LIST, UNLOGGED, read_log


def sent(who: str, action: str | None = "a", at: int = START, **more: Any) -> dict[str, Any]:
    """A decision for a customer."""
    return {"customer_id": who, "action_id": action, "decided_at": at, **more}


def did(who: str, kind: str, at: int, **more: Any) -> dict[str, Any]:
    """An event of a customer."""
    return {"customer_id": who, "type": kind, "occurred_at": at, **more}


def test_money_is_net_of_discount_tax_cost_and_returns(tmp_path: Path) -> None:
    """Inside the window; a late return counts for the order that it undoes; what an item cost is as of the order."""
    items = [
        {"item_id": "tea", "tax_included": True, "tax_rate": 0.25, "unit_cost": 3.0},
        {"item_id": "tea", "tax_included": True, "tax_rate": 0.25, "unit_cost": 4.0, "valid_from": START + 2 * DAY},
        {"item_id": "cup"},
    ]  # fmt: skip
    line = {"order_id": "o", "item_id": "tea", "unit_price": 10.0}
    events = [
        did("ann", "purchase", START + DAY, **line, quantity=2.0, discount=5.0),  # 15 / 1.25 = 12, cost 6
        did("ann", "purchase", START + 3 * DAY, order_id="p", item_id="tea", unit_price=10.0),  # 8, cost 4
        did("ann", "purchase", START + 3 * DAY, order_id="q", item_id="cup", unit_price=7.0),  # 7, cost unknown
        did("ann", "return", START + 40 * DAY, order_id="p", item_id="tea", unit_price=10.0),  # undoes p
        did("ann", "purchase", START + 14 * DAY, order_id="r", item_id="cup", unit_price=100.0),  # too late
        did("ann", "purchase", START - DAY, order_id="s", item_id="cup", unit_price=50.0),
        did("ann", "return", START + DAY, order_id="s", item_id="cup", unit_price=50.0),  # undoes what was before
        did("bob", "return", START + DAY, item_id="cup", unit_price=1.0),  # of an unknown order: in its own window
        did("bob", "purchase", START + DAY, item_id="cup"),  # without a price
        did("cat", "purchase", START + DAY, order_id="t", item_id="cup", unit_price=9.0),
        did("cat", "return", START + 20 * DAY, order_id="t", item_id="cup", unit_price=9.0),  # nothing is left of it
    ]  # fmt: skip
    made = dataset(tmp_path, decisions=[sent("ann"), sent("bob", None), sent("cat")], events=events, items=items)
    names = ("revenue", "margin", "purchase", "before:revenue")
    log = read_log(made, experiment="mail", rewards=names, as_of=START + 60 * DAY)
    assert log.reward("revenue").tolist() == [pytest.approx(12 + 7), -1.0, 0.0]
    assert log.reward("margin").tolist() == [pytest.approx(6 + 7), -1.0, 0.0]
    assert log.reward("purchase").tolist() == [1.0, 1.0, 0.0]
    assert log.reward("before:revenue").tolist() == [50.0, 0.0, 0.0], "sent back later, which an action may have caused"
    assert any("no price" in note for note in log.notes)
    assert any("no known cost" in note for note in log.notes)


def test_clicks_are_linked_and_the_rest_is_the_subjects(tmp_path: Path) -> None:
    """An unsubscription counts whatever caused it; an amended or doubled event counts once; the start is inside."""
    events = [
        did("ann", "click", START + HOUR, decision_id="d0"),
        did("bob", "click", START + HOUR, decision_id="elsewhere"),
        did("bob", "unsubscribe", START), did("cat", "unsubscribe", START - 1),
        did("cat", "complaint", START + DAY - 1),
        did("ann", "complaint", START + DAY),
    ]  # fmt: skip
    made = dataset(tmp_path, decisions=[sent("ann"), sent("bob", None), sent("cat")], events=events)
    names = ("click", "visit", "unsubscribe", "complaint", "before:unsubscribe")
    log = read_log(made, surface="email", rewards=names, window=DAY)
    assert {name: log.reward(name).tolist() for name in names} == {
        "click": [1, 0, 0], "visit": [1, 1, 0], "unsubscribe": [0, 1, 0], "complaint": [0, 0, 1],
        "before:unsubscribe": [0, 0, 1],
    }  # fmt: skip


def test_outcomes_of_the_import(tmp_path: Path) -> None:
    """Without a time they are told; with one they must fall into the window; none is 0 once the window has ended."""
    outcomes = [
        {"decision_id": "d0", "reward": "spend", "value": 5.0, "margin": 2.0, "at": START + DAY},
        {"decision_id": "d0", "reward": "spend", "value": 7.0, "at": START + 20 * DAY},
        {"decision_id": "d1", "reward": "spend", "value": float("nan")},
        {"decision_id": "d2", "reward": "spend", "value": 3.0},
        {"decision_id": "d2", "reward": "before:spend", "value": 9.0, "at": START - DAY},
    ]  # fmt: skip
    late = START + 10 * DAY
    people = [sent("ann"), sent("bob"), sent("cat", at=late), sent("dan", at=late), sent("eve", None)]
    made = dataset(tmp_path, decisions=people, outcomes=outcomes)
    log = read_log(made, slot="campaign", as_of=START + 15 * DAY, rewards=("spend", "spend:margin"))
    order = log.subject.tolist()
    by_name = dict(zip(sorted(row["customer_id"] for row in people), range(5), strict=True))
    found = {who: log.reward("spend")[order.index(code)] for who, code in by_name.items()}
    np.testing.assert_array_equal([found[w] for w in ("ann", "bob", "cat", "dan", "eve")], [5, np.nan, 3, np.nan, 0])
    assert set(log.rewards) == {"spend", "spend:margin", "before:spend"}


def test_what_cannot_count_is_kept_and_counted(tmp_path: Path) -> None:
    """A draw or its reuse; no holdout, no fallback, nothing unlogged, nothing deterministic."""
    certain = {"eligible": "[[null,1.0]]", "action_propensity": 1.0}
    rows = [
        sent("a"), sent("b", reused_from="d0", drawn=False), sent("c", reused_from="gone", drawn=False),
        sent("d", None, holdout=True, drawn=False, **certain),
        sent("e", None, fallback="error", drawn=False, **certain),
        sent("f", logged=False), sent("g", None, drawn=False, **certain), sent("h", None),
        sent("i", "old", reused_from="d0", drawn=False),
    ]  # fmt: skip
    log = read_log(dataset(tmp_path, decisions=rows), experiment="mail", rewards=())
    assert log.usable.tolist() == [True, True, False, False, False, False, False, True, False]
    assert log.left_out == {HOLDOUT: 1, FALLBACK: 1, UNLOGGED: 1, NOT_DRAWN: 2, OFF_LIST: 1}
    assert log.drawn is not None and log.drawn.sum() == 3
    assert (log.holdout.sum(), log.actions) == (1, (None, "a", "old"))
    assert log.propensity[4].tolist() == [1.0, 0.0, 0.0]


def test_links_join_a_person_and_torn_people_leave(tmp_path: Path) -> None:
    """A visitor who signed in later is the customer; two arms for one person are of no use; a sign-out parts them."""
    rows = [
        {"visitor_id": "v1", "decided_at": START, "action_id": "a", "arm": "A"},
        {"visitor_id": "v2", "decided_at": START, "action_id": "a", "arm": "A"},
        sent("bob", None, START + DAY, arm="none"),
        {"visitor_id": "v3", "decided_at": START, "action_id": "a", "arm": "A"},
        sent("cat", None, START + DAY, arm="none"),
    ]  # fmt: skip
    links = [
        {"visitor_id": visitor, "customer_id": who, "linked_at": START + 2 * HOUR}
        for visitor, who in (("v1", "ann"), ("v2", "bob"), ("v3", "cat"))
    ]
    events = [
        {"visitor_id": "v3", "type": "sign_out", "occurred_at": START + HOUR},
        did("ann", "purchase", START + DAY, item_id="x", unit_price=1.0),
    ]
    made = dataset(tmp_path, decisions=rows, identities=links, events=events)
    log = read_log(made, experiment="mail", rewards=("purchase",), window=DAY * 2, as_of=START + 9 * DAY)
    assert log.left_out == {ARMS_DIFFER: 2}
    assert log.reward("purchase").tolist() == [1.0, 0.0, 0.0], "what ann bought under her name follows the link"
    early = read_log(made, experiment="mail", rewards=("purchase",), window=HOUR, as_of=START + 2 * HOUR)
    assert len(early) == 3
    assert early.reward("purchase").sum() == 0, "nobody knew of the links yet"


def test_features_of_several_layouts(tmp_path: Path) -> None:
    """Numbers, words as codes in order, truth as 1 and 0; what a row does not have is NaN."""
    texts = [
        features(age=31, place="Nara", club=True), features(age=None, place="Kyoto", club=False),
        features(place='a "b", c', hour=7), None,
    ]  # fmt: skip
    rows = [sent(f"p{n}", at=START + n, features=text) for n, text in enumerate(texts)]
    log = read_log(dataset(tmp_path, decisions=rows), experiment="mail")
    assert log.names == ("age", "place", "club", "hour")
    assert log.categorical == (False, True, False, False)
    assert log.words[1] == ("Kyoto", "Nara", 'a "b", c')
    nan = np.nan
    np.testing.assert_array_equal(log.features, [[31, 1, 1, nan], [nan, 0, 0, nan], [nan, 2, nan, 7], [nan] * 4])


def test_history_is_as_of_each_decision(tmp_path: Path) -> None:
    """Nothing that happened at the decision or after it, nor what was recorded later; spans are half-open."""
    events = [
        did("ann", "purchase", START - 100 * DAY, order_id="o", unit_price=4.0, quantity=2.0, discount=1.0),
        did("ann", "purchase", START - 100 * DAY, order_id="o", unit_price=1.0),
        did("ann", "purchase", START - 2 * DAY, order_id="p", unit_price=3.0),
        did("ann", "purchase", START - DAY, order_id="q", unit_price=50.0, recorded_at=START + DAY),
        did("ann", "view", START - 5 * DAY), did("ann", "view", START),
    ]  # fmt: skip
    made = dataset(tmp_path, decisions=[sent("ann"), sent("bob", None), sent("ann", at=START + 3 * DAY)], events=events)
    log = read_log(made, experiment="mail")
    columns = {name: log.features[:, place].tolist() for place, name in enumerate(log.names)}
    first = {name: values[0] for name, values in columns.items()}
    assert first == {
        "days_since_order": 2, "days_known": 100, "orders_28d": 1, "orders_91d": 1, "orders_364d": 2, "lines_28d": 1,
        "lines_91d": 1, "lines_364d": 3, "paid_28d": 3, "paid_91d": 3, "paid_364d": 11, "looks_28d": 1,
        "looks_91d": 1, "looks_364d": 1,
    }  # fmt: skip
    assert np.isnan(columns["days_since_order"][1])
    assert columns["orders_28d"][1:] == [0, 2]
    assert columns["days_since_order"][2] == 4, "the order of the day before, known since"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"action_id": "b"}, "an action that was not among the eligible ones"),
        ({"action_propensity": 0.0, "eligible": '[[null,1.0],["a",0.0]]'}, "not among the eligible"),
        ({"action_propensity": 1.5, "eligible": '[[null,-0.5],["a",1.5]]'}, "a probability outside (0, 1]"),
        ({"eligible": '[[null,0.4],["a",0.5]]'}, "probabilities that do not sum to 1"),
        ({"action_propensity": 0.4}, "a propensity other than the listed probability"),
    ],
)
def test_probabilities_that_are_none(tmp_path: Path, changes: Any, words: str) -> None:
    """One sentence that names the decision."""
    made = dataset(tmp_path, decisions=[sent("ann"), sent("bob", **changes)])
    with pytest.raises(DataError) as caught:
        read_log(made, experiment="mail")
    assert words in caught.value.line()
    assert "decision d1" in caught.value.line()


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """With what there is."""
    outcome = [{"decision_id": "d0", "reward": "spend", "at": START - 1}]
    made = dataset(tmp_path, decisions=[sent("ann"), sent("bob", None)], outcomes=outcome)
    for asked, words in (
        ({}, "which decisions?"), ({"experiment": "male"}, "email / campaign (experiment:mail)"),
        ({"experiment": "mail"}, "1 outcomes before their decision"),
        ({"experiment": "mail", "window": 0}, "an empty attribution window"),
    ):  # fmt: skip
        with pytest.raises(DataError) as caught:
            read_log(made, **asked)
        assert words in caught.value.line()
    other = dataset(tmp_path / "other", decisions=[sent("ann"), sent("bob", None)])
    with pytest.raises(DataError, match="from events: click"):
        read_log(other, experiment="mail", rewards=("clck",))
    with pytest.raises(DataError, match="no decision's window has ended"):
        read_log(other, experiment="mail", rewards=("purchase",))


KINDS = ("purchase", "return", "view", "unsubscribe")
EVENTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(KINDS), st.integers(-9, 9), st.integers(1, 9), st.integers(0, 2)),
    max_size=25,
)
DECISIONS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-9, 9)), min_size=1, max_size=8)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS, DECISIONS, st.integers(1, 6))
def test_joins_equal_a_plain_loop(events: Any, decisions: Any, window: int) -> None:
    """Every decision against every event, as one would do it by hand."""
    rows = [sent(who, at=START + day * DAY) for who, day in decisions]
    lines = [
        did(who, kind, START + day * DAY, unit_price=float(price), **({"order_id": f"o{order}", "item_id": "i"}
            if kind in ("purchase", "return") else {}))
        for who, kind, day, price, order in events
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        made = dataset(Path(folder), decisions=rows, events=lines)
        names = ("revenue", "purchase", "visit", "unsubscribe", "before:revenue")
        log = read_log(made, experiment="mail", rewards=names, window=window * DAY, as_of=START + 99 * DAY)
    bought = {}
    for who, kind, day, _, order in events:
        if kind == "purchase":
            bought[who, order] = min(day, bought.get((who, order), day))
    order = sorted(range(len(rows)), key=lambda n: (decisions[n][1], f"d{n}"))
    for place, number in enumerate(order):
        who, start = decisions[number]
        expected, units = dict.fromkeys(names, 0.0), 0
        for other, kind, day, price, ordered in events:
            if other != who:
                continue
            moment = bought.get((who, ordered), day) if kind == "return" else day
            sign = {"purchase": 1, "return": -1}.get(kind, 0)
            if start <= moment < start + window:
                expected["revenue"] += sign * price
                units += sign if kind == "purchase" or moment < day else 0
            if start - window <= moment < start and day < start:
                expected["before:revenue"] += sign * price
            if start <= day < start + window:
                for name, kinds in (("visit", ("purchase", "view")), ("unsubscribe", KINDS[3:])):
                    expected[name] = max(expected[name], float(kind in kinds))
        expected["purchase"] = float(units > 0)
        assert {name: log.reward(name)[place] for name in names} == pytest.approx(expected)


def test_the_simulated_shop(tmp_path: Path) -> None:
    """Pages and mails: clicks counted from events are the simulation's own; what was off is left out and counted."""
    simulate(tmp_path / "dataset", size="tiny", seed=3)
    made = Dataset(tmp_path / "dataset")
    later = parse_instant("2030-01-01")
    pages = read_log(made, surface="page.home", rewards=("click", "purchase"), window=DAY, as_of=later)
    assert set(pages.names) == {"device", "traffic_source", "hour", "weekday", "month", "region", "known"}
    assert pages.slots == ("band", "hero")
    np.testing.assert_allclose(pages.propensity.sum(axis=1), 1)
    assert pages.usable.sum() == len(pages) - sum(pages.left_out.values())
    mails = read_log(made, surface="email", rewards=("click", "unsubscribe"), window=3 * DAY, as_of=later)
    assert "orders_91d" in mails.names, "mails carry no features, so history is counted"
    with made.connect() as duck:
        clicks = duck.execute("""
            SELECT count(*) FILTER (surface = 'email'), count(*) FILTER (surface = 'page.home')
            FROM outcomes JOIN decisions USING (decision_id) WHERE reward = 'click'""").fetchall()[0]
    assert (mails.reward("click").sum(), pages.reward("click").sum()) == clicks
    for log, asked in ((mails, {"surface": "email"}), (pages, {"surface": "page.home"})):
        counted = read_log(made, rewards=("click", "purchase"), window=3 * DAY, as_of=later, from_events=True, **asked)
        np.testing.assert_array_equal(counted.reward("click"), log.reward("click"))
    told = read_log(made, surface="email", rewards=("purchase",), window=3 * DAY, as_of=later)
    same = told.reward("purchase") == read_log(
        made, surface="email", rewards=("purchase",), window=3 * DAY, as_of=later, from_events=True
    ).reward("purchase")
    assert same.mean() > 0.97, "the simulation puts a purchase down to a mail only where it followed within its window"


def test_who_asked_to_be_forgotten_is_not_learned_from(tmp_path):
    """Gone at once: the log is the whole one without that subject."""
    folder = tmp_path / "shop" / "dataset"
    simulate(folder, size="tiny", seed=1)
    read = partial(read_log, Dataset(folder), surface="email", rewards=("visit",))
    heard: list[str] = []
    whole, asked = read(), read(erased=lambda subject: bool(heard.append(subject)))
    assert len(asked) == len(whole)
    some = read(erased=lambda subject: subject == heard[0])
    assert len(np.unique(some.subject)) == len(np.unique(whole.subject)) - 1
