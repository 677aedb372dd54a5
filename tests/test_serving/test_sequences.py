"""Step sequences: never before their delay, never after an exit, each step at most once a trigger."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError
from features.history import History
from features.kinds import EventType
from features.moments import DAY, HOUR
from features.orders import OrderLine, Step
from serving.config import read_config
from serving.due import Due
from serving.person import Project
from serving.sequences import TOGETHER, Known, Send, steps_due, steps_left
from serving.settings.sequences import Exits, Sequence, SequenceStep
from tests.test_serving.test_timing import AWAKE, BASE, NOON, shop  # noqa: F401

START = 20_000 * DAY
BELONGS = Known(belongs=lambda paths, item: not paths or (item >= 0 and "ab"[item // 4] in paths),
                row_of=lambda item_id: int(item_id))  # fmt: skip
CARE = (SequenceStep("care", "email", 3.0), SequenceStep("review", "email", 10.0), SequenceStep("care", "email", 20.0))


def history(*events: tuple[EventType, int, float]) -> History:
    """Events as (type, item, days after START)."""
    rows = sorted((START + int(days * DAY), item, kind) for kind, item, days in events)
    time = np.array([at for at, _, _ in rows], np.int64)
    return History(
        time, time, np.array([item for _, item, _ in rows], np.int32), np.array([kind for _, _, kind in rows], np.int8),
        np.ones(len(rows), np.float32), np.ones(len(rows), np.float32), np.arange(len(rows), dtype=np.uint64),
    )  # fmt: skip


def line(*steps: tuple[str, float], item: str = "0") -> OrderLine:
    told = tuple(Step(START + int(days * DAY), state) for state, days in steps)
    return OrderLine("o", "1", item, told[0].at, told)


def due(sequence: Sequence, events: History, days: float, sends=(), orders=(), known: Known = BELONGS) -> list[str]:
    return [each.step.action for each in steps_due(sequence, events, orders, sends, START + int(days * DAY), known)]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([EventType.PURCHASE, EventType.RETURN, EventType.COMPLAINT, EventType.UNSUBSCRIBE,
                         EventType.OPEN, EventType.VIEW]),
        st.sampled_from([0, 5]), st.integers(0, 60).map(float),
    ), max_size=7,
)  # fmt: skip
EXITS = st.builds(
    Exits, purchase=st.booleans(), categories=st.sampled_from([(), ("a",), ("b",)]), returns=st.booleans(),
    complaint=st.booleans(), opt_out=st.booleans(), ignored=st.integers(0, 3),
)  # fmt: skip
STEPS = st.lists(
    st.builds(SequenceStep, st.sampled_from(["one", "two"]), st.just("email"), st.integers(0, 12).map(float),
              st.sampled_from([1.0, 40.0])), min_size=1, max_size=4,
)  # fmt: skip


@settings(max_examples=150)
@given(events=EVENTS, exits=EXITS, steps=STEPS, trigger=st.sampled_from(["purchase", "sign-up", "event"]))
def test_a_walk_through_the_days_keeps_the_three_promises(events, exits, steps, trigger) -> None:
    """Day by day what is due is sent; each message lies after its delay, after no exit, and once for each step."""
    sequence = Sequence(trigger, tuple(steps), ("a",) if trigger != "sign-up" else (),
                        event="view" if trigger == "event" else None, exits=exits)  # fmt: skip
    told, sends, by_trigger = history(*events), [], {}
    for number in range(75):
        now = START + number * DAY + HOUR
        for planned in steps_due(sequence, told, (), sends, now, BELONGS)[:1]:
            past = [(kind, item, START + int(days * DAY)) for kind, item, days in events if START + days * DAY < now]
            began = _began(trigger, past)
            assert began is not None and now >= began + planned.step.delay_days * DAY
            assert now < began + (planned.step.delay_days + planned.step.within_days) * DAY
            assert not _exit(exits, [each for each in past if each[2] > began])
            by_trigger.setdefault(began, []).append(planned.step.action)
            reactions = [at for kind, _, at in past if kind in (EventType.OPEN, EventType.PURCHASE)]
            unheard = sum(send.at > max(reactions, default=0) for send in sends)
            assert not exits.ignored or unheard < exits.ignored
            sends.append(Send(planned.step.action, "email", now))
    for taken in by_trigger.values():
        for name in ("one", "two"):
            assert taken.count(name) <= sum(step.action == name for step in steps)


def _began(trigger, past) -> int | None:
    if trigger == "sign-up":
        return min((at for _, _, at in past), default=None)
    wanted = EventType.PURCHASE if trigger == "purchase" else EventType.VIEW
    return max((at for kind, item, at in past if kind == wanted and item == 0), default=None)


def _exit(exits: Exits, later) -> bool:
    for kind, item, _ in later:
        if (
            kind == EventType.PURCHASE
            and exits.purchase
            and (not exits.categories or "ab"[item // 4] in exits.categories)
        ):
            return True
        if (kind, True) in {(EventType.RETURN, exits.returns), (EventType.COMPLAINT, exits.complaint),
                            (EventType.UNSUBSCRIBE, exits.opt_out)}:  # fmt: skip
            return True
    return False


def test_a_delivery_is_counted_from_when_it_came() -> None:
    """What never came begins nothing, and what came back ends it."""
    sequence = Sequence("delivered", CARE, ("a",))
    bought = history((EventType.PURCHASE, 0, 0.0))
    waiting, came = line(("confirmed", 0)), line(("confirmed", 0), ("delivered", 56))
    assert due(sequence, bought, 90, orders=[waiting]) == []
    assert due(sequence, bought, 58.9, orders=[came]) == []
    assert due(sequence, bought, 59.1, orders=[came]) == ["care"]
    assert due(sequence, bought, 67, [Send("care", "email", START + 60 * DAY)], [came]) == ["review"]
    assert due(sequence, bought, 67, orders=[line(("confirmed", 0), ("delivered", 56), ("returned", 58))]) == []
    assert due(sequence, bought, 67, orders=[line(("confirmed", 0), ("delivered", 56), item="5")]) == []


def test_what_was_never_heard_of_is_not_sent_twice_and_not_held_against_anybody() -> None:
    sequence = Sequence("purchase", CARE, exits=Exits(ignored=1))
    bought = history((EventType.PURCHASE, 0, 0.0))
    unheard = [Send("care", "email", START + 3 * DAY, heard=False)]
    assert due(sequence, bought, 11, unheard) == ["review"]
    assert due(sequence, bought, 11, [Send("care", "email", START + 3 * DAY)]) == []


def test_wishes_and_projects_begin_sequences() -> None:
    wish = Sequence("wishlist", (SequenceStep("drop", "email", 2.0),))
    hearts = (EventType.WISHLIST, 0, 0.0)
    assert due(wish, history(hearts), 3) == ["drop"]
    assert due(wish, history(hearts, (EventType.WISHLIST_REMOVE, 0, 1.0)), 3) == []
    assert due(wish, history(hearts, (EventType.PURCHASE, 0, 1.0)), 3) == []
    room = Sequence("project", (SequenceStep("plan", "email", 1.0),), project="room")
    begun = Known(projects=(Project("room", START), Project("other", START + 9 * DAY)))
    assert (due(room, History.empty(), 2, known=begun), due(room, History.empty(), 0.5, known=begun)) == (["plan"], [])


def test_what_is_due_together_is_one_reminder() -> None:
    """Two things due within three days need one message; the third has its own, and says which it is."""
    refill = Sequence("due", (SequenceStep("refill", "email", within_days=60),))
    items = tuple(Due(item, START, START + at, 30.0, 2) for item, at in ((0, 30 * DAY), (1, 32 * DAY), (2, 40 * DAY)))
    known, sent = Known(due=items, lead=2 * DAY), [Send("refill", "email", START + 30 * DAY)]
    nothing = History.empty()
    assert due(refill, nothing, 27.9, known=known) == []
    assert due(refill, nothing, 28.1, known=known) == ["refill"]
    left = steps_left(refill, nothing, (), sent, START + 33 * DAY, known)
    assert [(each.due.item, each.at) for each in left if each.due] == [(2, START + 38 * DAY)]
    assert TOGETHER == 3 * DAY


# --- in the file, and over HTTP ---------------------------------------------------------------------------------------

STEP = '[[sequences.after.steps]]\naction = "care"\nchannel = "email"\ndelay-days = 3\n'


@pytest.mark.parametrize(("table", "what"), [
    ('trigger = "event"', "a trigger without its name"),
    ('trigger = "purchase"\nevent = "view"', "a name without a trigger"),
    ('trigger = "event"\nevent = "veiw"', 'did you mean "view"'),
    ('trigger = "project"\nproject = "room"', "declare it in"),
    ('trigger = "delivery"', "Invalid enum value"),
])  # fmt: skip
def test_a_sequence_that_leads_nowhere_is_refused(table, what) -> None:
    with pytest.raises(ConfigError, match=what):
        read_config(f"{BASE}[sequences.after]\n{table}\n{STEP}", "shop.toml")


@pytest.mark.parametrize(("old", "new", "hint"), [
    ('"care"\nchannel', '"cars"\nchannel', 'did you mean "care"'),
    ('channel = "email"', 'channel = "emial"', 'did you mean "email"'),
    ('"care"\nchannel', '"order-status"\nchannel', "add it to the actions"),
])  # fmt: skip
def test_a_step_names_what_its_channel_sends(old, new, hint) -> None:
    with pytest.raises(ConfigError, match=hint):
        read_config(f'{BASE}[sequences.after]\ntrigger = "purchase"\n{STEP.replace(old, new)}', "shop.toml")


def test_care_comes_after_the_delivery_and_never_again(shop) -> None:  # noqa: F811
    """Delivery after eight weeks, care three days later: wait until then, now, and when it was sent never."""
    shop.says(f'{BASE}{AWAKE}[sequences.after]\ntrigger = "delivered"\n{STEP}'.replace('"tea", ', ""))
    shop.order(("confirmed", NOON - 56 * DAY))
    assert shop.ask()["decision"] == "never"
    shop.order(("delivered", NOON - DAY))
    told = shop.ask()
    assert (told["decision"], told["until"]) == ("wait", "2024-10-06T12:00:00Z")
    shop.at(NOON + 2 * DAY + HOUR)
    care = shop.ask()
    assert (care["decision"], care["title"]) == ("now", "How to care")
    shop.sent(care)
    shop.at(NOON + 3 * DAY)
    assert shop.ask()["decision"] == "never"
