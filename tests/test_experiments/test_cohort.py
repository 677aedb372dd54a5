"""Who stood in which arm and what came of it: by hand, and by a plain loop over random worlds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import ConfigError, DataError, NotFoundError
from features.moments import DAY, HOUR, MINUTE
from serving.experiments import Arm, Experiment, SlotChange
from tests.test_uplift.drawn import START, dataset, features
from training.experiments.cohort import EARLY, LINKED, SEVERAL, TRAITED, Asked, Entrants, enter, names
from training.experiments.collected import Collected, collect
from training.experiments.sound import sample_ratio
from training.experiments.traits import Traits, traits_of
from training.uplift.reading import opened

HERO = {"hero": Experiment({"control": Arm(0.5), "learned": Arm(0.5, {"first": SlotChange("hero-1")})})}


def shown(who: str, held: bool = False, at: int = START, **more: Any) -> dict[str, Any]:
    """A decision of a page for a customer (or, as `v:...`, for a visitor)."""
    whose = {"visitor_id": who[2:]} if who.startswith("v:") else {"customer_id": who}
    return {**whose, "policy": "p", "holdout": held, "decided_at": at, "surface": "page.home", **more}


def did(who: str, kind: str, at: int, **more: Any) -> dict[str, Any]:
    """An event of a customer or visitor."""
    whose = {"visitor_id": who[2:]} if who.startswith("v:") else {"customer_id": who}
    return {**whose, "type": kind, "occurred_at": at, **more}


def read(
    made: Dataset, asked: Asked | None = None, declared: dict[str, Experiment] | None = None, holdout: float = 0.5,
    erased: Any = None,
) -> tuple[Entrants, Collected, Traits, list[str]]:  # fmt: skip
    """All that is read of an experiment, and the subjects in order."""
    asked = asked or Asked()
    with opened(made, asked.as_of, TRAITED) as (duck, now):
        entrants = enter(duck, now, asked, declared or {}, holdout, erased)
        collected = collect(duck, entrants, asked.outcomes, tuple(asked.guards), asked.before)
        traits = traits_of(duck, entrants, collected.before)
        people = [who for (who,) in duck.execute("SELECT subject FROM entrants ORDER BY place").fetchall()]
    return entrants, collected, traits, people


def test_outcomes_count_from_entering_net_of_returns(tmp_path: Path) -> None:
    """An order that was sent back whole is none; what undoes an older order is no outcome, and no past either."""
    line = {"unit_price": 10.0, "item_id": "tea"}
    events = [
        did("ann", "purchase", START - 5 * DAY, order_id="old", **line),
        did("ann", "view", START - 40 * DAY),
        did("ann", "purchase", START + DAY, order_id="o", quantity=2.0, **line),
        did("ann", "return", START + 9 * DAY, order_id="o", quantity=1.0, **line),
        did("ann", "purchase", START + 2 * DAY, order_id="p", **line),
        did("ann", "return", START + 9 * DAY, order_id="p", **line),
        did("ann", "return", START + 9 * DAY, order_id="old", **line),
        did("ann", "purchase", START - 4 * DAY, order_id="undone", **line),
        did("ann", "return", START - 3 * DAY, order_id="undone", **line),
        did("ann", "purchase", START + 3 * DAY, **line),
        did("bob", "view", START + HOUR, session_id="s"),
        did("bob", "view", START + 3 * HOUR, session_id="s"),
        did("bob", "view", START + 10 * HOUR),
        did("bob", "view", START + 10 * HOUR + 20 * MINUTE),
        did("bob", "view", START + 10 * HOUR + 51 * MINUTE),
        did("bob", "unsubscribe", START + DAY),
        did("bob", "unsubscribe", START + 2 * DAY),
    ]
    decisions = [shown("ann"), shown("bob", True), shown("bob", True, START + DAY), shown("cat", at=START + 4 * DAY)]
    made = dataset(tmp_path, decisions=decisions, events=events)
    entrants, collected, _, people = read(made, Asked(outcomes=("margin", "orders", "visits")))
    assert people == ["c:ann", "c:bob", "c:cat"]
    assert entrants.arms == ("holdout", "served") and entrants.arm.tolist() == [1, 0, 1]
    assert entrants.entered.tolist() == [START, START, START + 4 * DAY]
    found = {name: values.tolist() for name, values in collected.outcomes.items()}
    assert found == {"revenue": [20, 0, 0], "orders": [2, 0, 0], "visits": [3, 3, 0], "unsubscribe": [0, 1, 0]}
    assert {name: values.tolist() for name, values in collected.before.items()} == {
        "visits": [2, 0, 0],
        "orders": [1, 0, 0],
        "revenue": [10, 0, 0],
    }, "what is sent back after entering may be what an arm did, so it takes nothing from what was known before"
    assert any("revenue" in note and "0.0%" in note for note in collected.notes)


def test_a_margin_that_was_imported_is_no_revenue(tmp_path: Path) -> None:
    """Also where nothing is known of costs; a guard of margin that cannot be told is refused, not forgotten."""
    decisions = [
        shown("ann", policy="experiment:mail", arm="a", decision_id="one", action_id="a"),
        shown("bob", policy="experiment:mail", arm="b", decision_id="two"),
    ]
    outcomes = [{"decision_id": "one", "reward": "margin", "value": 7.0}]
    made = dataset(tmp_path, decisions=decisions, outcomes=outcomes)
    _, collected, _, _ = read(made, Asked("mail"))
    assert {name: values.tolist() for name, values in collected.outcomes.items()} == {"margin": [7, 0]}
    with pytest.raises(DataError, match="guard of margin"):
        read(dataset(tmp_path / "live", decisions=[shown("ann"), shown("bob", True)]), Asked(guards={"margin": 1.0}))


def test_the_holdout_has_one_control(tmp_path: Path) -> None:
    made = dataset(tmp_path, decisions=[shown("ann"), shown("bob", True)])
    assert read(made, Asked(control="holdout"))[0].arms == ("holdout", "served")
    with pytest.raises(ConfigError, match="--control"):
        read(made, Asked(control="servd"))


def test_margin_where_costs_are_known(tmp_path: Path) -> None:
    """The one line in fifty without a cost earns as much of its price as the others."""
    items = [{"item_id": "tea", "unit_cost": 4.0}, {"item_id": "cup"}]
    events = [did("ann", "purchase", START + n, order_id=f"o{n}", item_id="tea", unit_price=10.0) for n in range(49)]
    events.append(did("ann", "purchase", START + 50, order_id="z", item_id="cup", unit_price=10.0))
    made = dataset(tmp_path, decisions=[shown("ann")], events=events, items=items)
    _, collected, _, _ = read(made)
    assert list(collected.outcomes) == ["margin", "orders", "visits"]
    assert collected.outcomes["margin"].tolist() == [pytest.approx(50 * 6.0)]
    assert any("60.0% of their price" in note for note in collected.notes)


def test_a_subject_has_one_arm_or_is_counted(tmp_path: Path) -> None:
    """A customer enters as one, whatever the visitor got; who changed arms leaves; an erased one was never there."""
    decisions = [
        shown("v:x", True), shown("ann", False, START + 2 * DAY), shown("bob"), shown("bob", True, START + DAY),
        shown("v:y"), shown("cat", at=START + 2 * DAY), shown("dan", True, START + 5 * DAY), shown("eve"),
        shown("v:z", customer_id=None, visitor_id=None), shown("v:f"), shown("v:g", True), shown("v:h"),
    ]  # fmt: skip
    known = (("x", "ann"), ("y", "cat"), ("f", "fay"), ("g", "fay"))
    links = [{"visitor_id": v, "customer_id": who, "linked_at": START + DAY} for v, who in known]
    made = dataset(tmp_path, decisions=decisions, identities=links)
    entrants, _, _, people = read(made, erased=lambda who: who == "c:eve")
    assert people == ["c:ann", "c:cat", "c:dan", "v:h"]
    assert entrants.arm.tolist() == [1, 1, 0, 1]
    assert entrants.entered.tolist() == [START + 2 * DAY, START + 2 * DAY, START + 5 * DAY, START]
    assert entrants.left_out == {LINKED: 1, SEVERAL: 1} and entrants.switched == 1
    entrants, _, _, people = read(made, Asked(days=4, as_of=START + 7 * DAY), erased=lambda who: who == "c:eve")
    assert people == ["c:ann", "c:cat", "v:h"] and entrants.left_out[EARLY] == 1


def test_a_small_holdout_of_people_who_sign_in_keeps_its_share(tmp_path: Path) -> None:
    """Visitors and customers are drawn apart: half of the people sign in, and a tenth of them are held out as well."""
    random = np.random.default_rng(0)
    decisions, links = [], []
    for n in range(600):
        decisions.append(shown(f"v:x{n}", bool(random.random() < 0.1)))
        if n % 2:
            links.append({"visitor_id": f"x{n}", "customer_id": f"u{n}", "linked_at": START + DAY})
            decisions.append(shown(f"u{n}", bool(random.random() < 0.1), START + 2 * DAY))
    entrants, _, _, people = read(dataset(tmp_path, decisions=decisions, identities=links), holdout=0.1)
    assert len(people) == 600
    held = np.array([entrants.arm[place] == 0 for place, who in enumerate(people) if who.startswith("c:")])
    assert 0.05 < held.mean() < 0.16, "to leave out who changed arms would leave .01"
    assert sample_ratio(entrants, 1).verdict == "passed"


def test_days_close_the_window(tmp_path: Path) -> None:
    """Half-open, and the time before has its own length."""
    events = [did("ann", "view", START + each, session_id=str(each)) for each in (-DAY, -1, 0, DAY - 1, DAY, 5 * DAY)]
    made = dataset(tmp_path, decisions=[shown("ann")], events=events)
    _, collected, _, _ = read(made, Asked(outcomes=("visits",), days=1, before=0.5))
    assert collected.outcomes["visits"].tolist() == [2]
    assert collected.before["visits"].tolist() == [1]


def test_live_experiments_are_read_by_their_label(tmp_path: Path) -> None:
    """The declared control is the control and the declared shares are expected, whatever arm was logged."""
    decisions = [
        shown("ann", arm="hero/learned"), shown("bob", arm="hero/control"), shown("cat", arm="hero-2/learned"),
        shown("dan", arm=None),
    ]  # fmt: skip
    made = dataset(tmp_path, decisions=decisions)
    entrants, _, _, people = read(made, Asked("hero"), HERO)
    assert people == ["c:ann", "c:bob"] and entrants.arms == ("control", "learned")
    assert entrants.shares is not None and entrants.shares.tolist() == [0.5, 0.5]
    entrants, _, _, _ = read(made, Asked("hero"))
    assert entrants.shares is None, "shop.toml no longer tells"
    entrants, _, _, _ = read(made, Asked("hero", shares={"control": 0.1, "learned": 0.3}))
    assert entrants.shares is not None and entrants.shares.tolist() == pytest.approx([0.25, 0.75])
    entrants, _, _, _ = read(made, Asked(shares={"holdout": 0.1}))
    assert entrants.shares is not None and entrants.shares.tolist() == pytest.approx([0.1, 0.9])
    with opened(made, None, TRAITED) as (duck, _):
        assert names(duck) == [("hero", False), ("hero-2", False)]
    for asked, error, words in (
        (Asked("heros"), NotFoundError, 'did you mean "hero"'), (Asked("hero-2"), ConfigError, "compare with"),
        (Asked("hero", control="x"), ConfigError, "control, learned"),
        (Asked("hero", shares={"x": 0.5}), ConfigError, "no such arm"),
        (Asked("hero", outcomes=("order",)), NotFoundError, 'did you mean "orders"'),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            read(made, asked, HERO)


def mailed(who: str, action: str | None, chance: float = 0.5, **more: Any) -> dict[str, Any]:
    """A decision of an imported experiment."""
    return {"customer_id": who, "action_id": action, "arm": action or "none", "decided_at": START,
            "eligible": f'[[null,{1 - chance}],["a",{chance}]]', **more}  # fmt: skip


def test_imported_experiments(tmp_path: Path) -> None:
    """Who got nothing is the control; outcomes are those of the file; features of the first decision foretell."""
    told = [features(age=30 + n, area="north" if n % 2 else "south") for n in range(4)]
    decisions = [mailed(f"u{n}", "a" if n < 2 else None, 0.25, features=told[n]) for n in range(4)]
    outcomes = [
        {"decision_id": "d0", "reward": "spend", "value": 5.0}, {"decision_id": "d3", "reward": "spend", "value": 2.0},
        {"decision_id": "d1", "reward": "before:spend", "value": 1.0},
    ]  # fmt: skip
    made = dataset(tmp_path, decisions=decisions, outcomes=outcomes)
    entrants, collected, traits, _ = read(made, Asked("mail"))
    assert entrants.arms == ("none", "a") and entrants.imported
    assert entrants.shares is not None and entrants.shares.tolist() == [0.75, 0.25]
    assert {name: each.tolist() for name, each in collected.outcomes.items()} == {"spend": [5, 0, 0, 2]}
    assert collected.placebos["before:spend"].tolist() == [0, 1, 0, 0]
    assert traits.names == ("age", "area=south")
    assert traits.columns.tolist() == [[30, 1], [31, 0], [32, 1], [33, 0]]
    codes, words = traits.slices["area"]
    assert [words[code] for code in codes] == ["south", "north", "south", "north"]
    assert "segment" not in traits.slices, "all are new"


@pytest.mark.parametrize(
    ("decisions", "words"),
    [
        ([mailed("ann", "a", policy="observational:mail")], "nobody drew"),
        ([mailed("ann", "a", 0.5), mailed("bob", "a", 0.7), mailed("cat", None)], "same probability"),
    ],
)
def test_what_means_cannot_compare_is_refused(tmp_path: Path, decisions: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(dataset(tmp_path, decisions=decisions), Asked("mail"))


def test_groups_are_of_before_entering(tmp_path: Path) -> None:
    """The tier, the region and the device as they were; a later rise is a consequence."""
    customers = [
        {"customer_id": "ann", "tier": "silver", "region": "north"},
        {"customer_id": "ann", "tier": "gold", "valid_from": START + DAY},
        {"customer_id": "bob", "tier": "gold", "region": "south"},
    ]
    events = [
        did("ann", "purchase", START - DAY, device="phone"), did("bob", "view", START - DAY, device="desk"),
        did("cat", "view", START - MINUTE, device="phone"), did("cat", "view", START + DAY, device="desk"),
    ]  # fmt: skip
    decisions = [shown(who) for who in ("ann", "bob", "cat")]
    _, _, traits, _ = read(dataset(tmp_path, decisions=decisions, events=events, customers=customers))
    found = {
        name: [words[code] if code >= 0 else None for code in codes] for name, (codes, words) in traits.slices.items()
    }
    assert found == {
        "segment": ["bought before", "came before", "new"], "tier": ["silver", "gold", None],
        "region": ["north", "south", None], "device": ["phone", "desk", "phone"],
    }  # fmt: skip


PEOPLE = ("ann", "bob", "cat")
ROWS = st.lists(
    st.tuples(
        st.sampled_from(PEOPLE), st.sampled_from(["purchase", "return", "view"]), st.integers(-30, 30),
        st.sampled_from(["o", "p", None]), st.integers(1, 3), st.sampled_from(["s", None]),
    ),
    max_size=25,
)  # fmt: skip


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, st.integers(0, 20))
def test_random_worlds_by_a_plain_loop(rows: list[tuple[Any, ...]], entered: int) -> None:
    """Orders, visits and revenue of each subject, computed one event at a time; a step is twelve hours."""
    at = [START + step * DAY // 2 + n * MINUTE for n, (_, _, step, *_) in enumerate(rows)]
    events = [
        did(who, kind, when, order_id=order and f"{who}-{order}", quantity=float(many), unit_price=10.0, item_id="i",
            session_id=session and f"{who}-{session}")
        for when, (who, kind, _, order, many, session) in zip(at, rows, strict=True)
    ]  # fmt: skip
    begin = START + entered * DAY // 2
    with tempfile.TemporaryDirectory() as folder:
        made = dataset(Path(folder), decisions=[shown(who, at=begin) for who in PEOPLE], events=events)
        _, collected, _, people = read(made, Asked(outcomes=("revenue", "orders", "visits"), as_of=START + 99 * DAY))
    for place, subject in enumerate(people):
        mine = [(when, row) for when, row in zip(at, rows, strict=True) if f"c:{row[0]}" == subject]
        expected = by_loop(sorted(mine, key=lambda each: each[0]), begin)
        assert {name: values[place] for name, values in collected.outcomes.items()} == pytest.approx(expected)


def by_loop(mine: list[tuple[int, tuple[Any, ...]]], begin: int) -> dict[str, float]:
    revenue, left, started = 0.0, {}, {}
    bought: dict[str, int] = {}
    sessions: dict[str, int] = {}
    visits, last = [], None
    for when, (_, kind, _, order, _many, session) in mine:
        if kind == "purchase":
            bought.setdefault(order or f"at {when}", when)
        if kind != "return":
            if session:
                sessions.setdefault(session, when)
            else:
                if last is None or when - last > 30 * MINUTE:
                    visits.append(when)
                last = when
    for when, (_, kind, _, order, many, _session) in mine:
        key = order or f"at {when}"
        if kind == "purchase":
            left[key], started[key] = left.get(key, 0) + many, bought[key]
            revenue += 10 * many * (when >= begin)
        if kind == "return":
            counts_at = bought.get(order, when) if order else when
            revenue -= 10 * many * (counts_at >= begin)
            if order:
                left[key] = left.get(key, 0) - many
    orders = sum(left[key] > 0 and when >= begin for key, when in started.items())
    came = sum(when >= begin for when in [*visits, *sessions.values()])
    return {"revenue": revenue, "orders": float(orders), "visits": float(came)}


def test_a_shop_without_decisions_has_no_subjects(tmp_path: Path) -> None:
    made = dataset(tmp_path, events=[did("ann", "view", START)])
    entrants, collected, traits, people = read(made)
    assert not people and len(entrants) == 0
    assert all(len(values) == 0 for values in collected.outcomes.values())
    assert traits.columns.shape[0] == 0 and not traits.slices
    assert np.isfinite(entrants.shares).all()
