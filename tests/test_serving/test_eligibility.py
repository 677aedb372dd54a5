"""Conditions, one by one: each has a situation in which it holds and one in which it does not, with its reason."""

from __future__ import annotations

from datetime import date, time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.history import History
from features.moments import DAY, HOUR
from features.orders import OrderLine, Step
from serving.eligibility import in_hours, segments_of, why_no_action, why_not
from serving.person import Consents, Person, Project
from serving.projects import going_on
from serving.query import Context, Query
from serving.settings.actions import Action, Text
from serving.settings.asking import ProjectRule
from serving.settings.when import Hours, Received, When
from serving.situation import Situation
from tests.test_serving.conftest import AS_OF, build_history


@pytest.fixture
def at(toy_engine):
    """A situation of the toy shop: `at(person=..., history=..., context=..., now=..., user=...)`."""

    def make(config=None, **given) -> Situation:
        live = toy_engine.live
        if config:
            from dataclasses import replace

            import msgspec

            live = replace(live, config=msgspec.structs.replace(live.config, **config))
        query = Query(
            given.get("now", AS_OF), given.get("history", History.empty()), user_id=given.get("user", "ann"),
            context=given.get("context", Context()), person=given.get("person", Person()),
            consents=given.get("consents", Consents()),
        )  # fmt: skip
        return Situation(live, query)

    return make


def line(state: str, ago: float, item: str = "a0", promised: float | None = None, **more) -> OrderLine:
    """An order line of so many days ago in a state since then."""
    at = AS_OF - int(ago * DAY)
    due = None if promised is None else AS_OF + int(promised * DAY)
    return OrderLine("o", "1", item, at, (Step(at, state, promised_at=due),), **more)


VIEWS = (("view", "a0", 0.001), ("view", "a1", 0.002))
CASES = [
    (When(stages=("waiting",)), {"person": Person(orders=(line("shipped", 1),))}, {}, "stage is"),
    (When(regions=("north",)), {"context": Context(region="north")}, {"context": Context(region="south")}, "south"),
    (When(regions=("north",)), {"person": Person(region="north")}, {}, "region is unknown"),
    (When(sources=("ads",)), {"context": Context(traffic_source="ads")}, {}, "source is unknown"),
    (When(campaigns=("june",)), {"context": Context(campaign="june")}, {}, "campaign"),
    (When(devices=("phone",)), {"context": Context(device="phone")}, {"context": Context(device="tv")}, "device is tv"),
    (When(known=True), {}, {"user": None}, "customers only"),
    (When(known=False), {"user": None}, {}, "visitors only"),
    (When(tiers=("gold",)), {"person": Person(tier="gold")}, {"person": Person(tier="tin")}, "tier is tin"),
    (When(answers={"pet": ("dog",)}), {"person": Person(answers={"pet": "dog"})}, {}, "answer to pet is unknown"),
    (When(unanswered=("pet",)), {}, {"person": Person(answers={"pet": "dog"})}, "pet is answered"),
    (When(looking_at=("Group > A",)), {"history": build_history(*VIEWS)}, {}, "looks at nothing"),
    (When(looking_at=("Group > A",)), {"context": Context(category="Group > A")}, {}, "looks at nothing"),
    (When(looking_at=("Group > B",)), {"context": Context(item_id="b1")}, {"context": Context(item_id="?")}, "looks"),
    (When(bought=("Group > A",)), {"history": build_history(("purchase", "a1", 5))}, {}, "has bought nothing"),
    (When(not_bought=("Group > A",)), {}, {"history": build_history(("purchase", "a1", 5))}, "has bought something"),
    (When(wished=("Group > B",)), {"history": build_history(("wishlist", "b1", 5))}, {}, "wishes nothing"),
    (When(awaiting=("Group > A",)), {"person": Person(orders=(line("shipped", 1),))}, {}, "awaits nothing"),
    (When(late=True), {"person": Person(orders=(line("shipped", 9, promised=-1),))}, {}, "nothing is late"),
    (When(late=False), {}, {"person": Person(orders=(line("shipped", 9, promised=-1),))}, "a delivery is late"),
    (When(orders=(1, 1)), {"history": build_history(("purchase", "a1", 5))}, {}, "0 orders"),
    (When(received=Received(("Group > A",), 2, 4)), {"person": Person(orders=(line("delivered", 3),))},
     {"person": Person(orders=(line("delivered", 5),))}, "so many days ago"),
    (When(received=Received(on_time=True)), {"person": Person(orders=(line("delivered", 3, promised=0),))},
     {"person": Person(orders=(line("delivered", 3, promised=-5),))}, "so many days ago"),
    (When(from_=date(2024, 10, 4)), {"now": 20_000 * DAY}, {"now": 20_000 * DAY - 1}, "not at this time"),
    (When(until=date(2024, 10, 4)), {"now": 20_000 * DAY - 1}, {"now": 20_000 * DAY}, "not at this time"),
]  # fmt: skip


@pytest.mark.parametrize(("when", "holds", "fails", "why"), CASES)
def test_each_condition(at, when: When, holds: dict, fails: dict, why: str) -> None:
    assert why_not(when, at(**holds)) is None
    assert why in str(why_not(when, at(**fails)))


def test_local_time_is_the_subjects(at) -> None:
    """Nine in the evening in UTC is six in the morning in Tokyo, and another month's first day."""
    evening = 20_027 * DAY + 21 * HOUR  # 31 October 2024
    when = When(months=(11,), hours=Hours(time(5), time(7)), seasons=("autumn",), weekdays=(4,))
    assert why_not(when, at(now=evening, person=Person(time_zone="Asia/Tokyo"))) is None
    assert why_not(when, at(now=evening, context=Context(time_zone="Asia/Tokyo"))) is None
    assert why_not(when, at(now=evening)) == "it is month 10"
    assert why_not(When(hours=Hours(time(22), time(6))), at(now=evening)) == "it is 21:00 there"
    half = at(now=evening, context=Context(time_zone="Asia/Kolkata"))
    assert half.minute == 2 * 60 + 30


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 23), st.integers(0, 59), st.integers(0, 1439))
def test_spans_that_pass_midnight(h1: int, m1: int, h2: int, m2: int, minute: int) -> None:
    """Walked minute by minute from the first to the second."""
    start, end = h1 * 60 + m1, h2 * 60 + m2
    walked = {(start + step) % 1440 for step in range((end - start) % 1440)}
    assert in_hours(Hours(time(h1, m1), time(h2, m2)), minute) == (minute in walked)


def test_segments_are_named_conditions(at) -> None:
    segments = {"north": When(regions=("north",)), "dogs": When(answers={"pet": ("dog",)})}
    now = at({"segments": segments}, context=Context(region="north"))
    assert segments_of(now) == {"north"}
    assert why_not(When(segments=("dogs", "north")), now) is None
    assert why_not(When(segments=("dogs",)), now) == "not in dogs"
    assert why_not(When(not_segments=("north",)), now) == "in north"


def test_selling_is_silent_while_something_is_late_or_came_back(at) -> None:
    offer = Action("offer", (Text("x"),))
    guide = Action("guide", (Text("x"),))
    late = at(person=Person(orders=(line("shipped", 9, promised=-1),)))
    back = at(history=build_history(("return", "a1", 3)))
    for now, why in ((late, "late"), (back, "sent back")):
        assert why in str(why_no_action(offer, now))
        assert why_no_action(guide, now) is None
    assert why_no_action(offer, at(history=build_history(("return", "a1", 15)))) is None


def test_a_purpose_of_its_own(at) -> None:
    club = Action("invite", (Text("x"),), purpose="marketing")
    assert why_no_action(club, at()) == "no consent to marketing"
    agreed = Consents({"marketing": {"granted": True}})
    assert why_no_action(club, at(consents=agreed)) is None
    assert why_no_action(club, at(consents=Consents(assumed=frozenset({"marketing"})))) is None
    refused = Consents({"marketing": {"granted": False}}, frozenset({"marketing"}))
    assert why_no_action(club, at(consents=refused)) == "no consent to marketing"


def test_what_was_looked_at_of_a_person_is_told(at) -> None:
    """`used` names the kinds of personal data that a rule has read, and none that it has not."""
    now = at(person=Person(tier="gold", answers={"pet": "dog"}), history=build_history(("purchase", "a1", 5)))
    assert now.used == set()
    assert why_not(When(tiers=("gold",)), now) is None
    assert now.used == {"loyalty tier"}
    assert why_not(When(bought=("Group > A",), answers={"pet": ("dog",)}), now) is None
    assert now.used == {"loyalty tier", "answers", "own events"}


RULE = ProjectRule({"en": "a room"}, ("Group > A",), begins_with=3, within_days=10, ends_after_days=30)


@pytest.mark.parametrize(
    ("looks", "going"),
    [
        ([("a0", 5), ("a1", 4), ("a2", 3)], True),
        ([("a0", 5), ("a1", 4)], False),
        ([("a0", 5), ("a0", 4), ("a0", 3)], False),  # one thing thrice is no project
        ([("a0", 50), ("a1", 45), ("a2", 41)], False),  # over
        ([("a0", 25), ("a1", 12), ("a2", 3)], False),  # too far apart
        ([("a0", 30), ("a1", 29), ("a2", 28), ("a0", 1)], True),  # begun long ago, going on
        ([("b0", 5), ("b1", 4), ("b2", 3)], False),
    ],
)
def test_projects_are_inferred(at, looks: list, going: bool) -> None:
    now = at({"projects": {"room": RULE}}, history=build_history(*(("view", item, ago) for item, ago in looks)))
    assert bool(now.projects) == going
    assert why_not(When(projects=("room",)), now) == (None if going else "no such project is going on")
    if going:
        assert now.projects[0].source == "inferred" and now.projects[0].since < AS_OF


@given(
    signs=st.lists(st.tuples(st.sampled_from(["a0", "a1", "a2", "a3"]), st.integers(0, 40)), max_size=25),
    least=st.integers(2, 4), within=st.sampled_from([1.0, 3.0, 10.0]),
)  # fmt: skip
def test_a_project_begins_with_the_latest_dense_stretch(signs: list, least: int, within: float) -> None:
    """A second derivation: for each sign, the different items of the stretch that ends with it."""
    rule = ProjectRule({"en": "a room"}, ("Group > A",), begins_with=least, within_days=within, ends_after_days=100)
    history = build_history(*(("view", item, ago) for item, ago in signs))
    category = np.repeat([0, 1], 4).astype(np.int32)
    found = going_on({"room": rule}, Query(AS_OF, history), lambda paths: frozenset({0}), category)
    begins = []
    for _, end in signs:
        stretch = [(item, ago) for item, ago in signs if end <= ago < end + within]
        if len({item for item, _ in stretch}) >= least:
            begins.append((end, max(ago for _, ago in stretch)))
    assert [project.since for project in found] == [AS_OF - ago * DAY for _, ago in sorted(begins)[:1]]


def test_projects_that_staff_noted_last_as_they_say(at) -> None:
    config = {"projects": {"room": RULE}}
    noted = lambda **more: Person(projects=(Project("room", AS_OF - 20 * DAY, "a basement", **more),))  # noqa: E731
    assert at(config, person=noted()).projects[0].note == "a basement"
    assert not at(config, person=noted(until=AS_OF - DAY)).projects
    assert not at(config, person=noted(), now=AS_OF + 11 * DAY).projects
    signs = build_history(("view", "a1", 1))
    assert at(config, person=noted(), now=AS_OF + 11 * DAY, history=signs).projects  # a look keeps it going
    assert not at(config, person=Person(projects=(Project("boat", AS_OF - DAY),))).projects


def test_the_running_session(at) -> None:
    """Looks with less than half an hour between them, until now."""
    minutes = [(("view", "a0", m / 1440)) for m in (90, 50, 35, 10)]
    session = at(history=build_history(*minutes)).session
    assert [int(row) for row in session.item] == [0, 0, 0]
    assert not len(at(history=build_history(("view", "a0", 0.1))).session)
    assert isinstance(session.time, np.ndarray)
