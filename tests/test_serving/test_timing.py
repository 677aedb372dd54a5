"""When to write to somebody: now, wait until, or never; quiet hours, lead times, reminders as they are due, by HTTP."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.moments import DAY, HOUR, MINUTE, local_time, parse_instant
from features.order_reports import Report
from serving.clock import Clock
from serving.eligibility import in_hours
from serving.events import StoredEvent
from serving.policy_files import write_policy
from serving.settings.when import Hours
from serving.timing import leaves
from tests.test_serving.conftest import AS_OF
from tests.test_serving.grown import policy, records, stump

AGREED = '[consent]\nassumed = ["personalization", "marketing"]\nbasis = "they agreed"\n'
AWAKE = "[quiet]\nfrom = 00:00:00\nuntil = 00:00:00\n"
NOON = AS_OF + 12 * HOUR
BASE = f"""{AGREED}[shop]
holdout = 0.0
[actions.tea]
kind = "offer"
category = "Group > A"
texts = [{{title = "Tea[ for {{name}}]", url = "/tea"}}]
[actions.care]
kind = "guide"
texts = [{{title = "How to care"}}]
[channels.email]
actions = ["tea", "care"]
"""


@pytest.fixture
def shop(toy_shop, toy_engine, client, monkeypatch):
    return Talk(toy_shop, toy_engine, client, monkeypatch)


class Talk:
    """A toy shop over HTTP whose clock is set by hand."""

    def __init__(self, shop, engine, client, monkeypatch) -> None:
        self.shop, self.engine, self.client, self.patch = shop, engine, client, monkeypatch
        self.at(NOON)

    def at(self, now: int) -> None:
        self.now = now
        self.engine.clock = Clock(0)
        self.patch.setattr(Clock, "now", lambda clock: self.now)

    def says(self, toml: str) -> None:
        self.shop.config.write_text(toml)
        self.engine.refresh()
        assert not self.engine.refusals

    def ask(self, who: str = "ann", channel: str = "email", **more) -> dict:
        answer = self.client.post("/v1/actions", content=orjson.dumps({"channel": channel, "userId": who, **more}))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def page(self, who: str = "ann", **more) -> dict:
        answer = self.client.post("/v1/pages", content=orjson.dumps({"userId": who, **more}))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def tell(self, kind: str, at: int, who: str = "ann", **more) -> None:
        number = self.engine.store.last_seq()
        event = StoredEvent(event_id=f"e{number}", occurred_at=at, recorded_at=at, type=kind, customer_id=who, **more)
        assert self.engine.store.append_sync([event]) == ["accepted"]

    def sent(self, answer: dict, who: str = "ann") -> None:
        self.tell("sent", self.now, who, decision_id=answer["decisionId"])

    def order(self, *steps: tuple[str, int], item: str = "a0", who: str = "ann", **more) -> None:
        reports = [(who, Report(order_id="o", line="1", item_id=item, state=state, at=at, **more))
                   for state, at in steps]  # fmt: skip
        assert set(self.engine.store.put_orders(reports, self.now)) <= {"accepted"}


# --- quiet hours ------------------------------------------------------------------------------------------------------

CHANGES = {
    "America/New_York": ("2026-03-07T12:00Z", "2026-10-31T12:00Z"),
    "Europe/Berlin": ("2026-03-28T12:00Z", "2026-10-24T12:00Z"),
    "Australia/Lord_Howe": ("2026-04-04T12:00Z", "2026-10-03T12:00Z"),
    "Asia/Tokyo": ("2026-01-01T12:00Z",),
}


@settings(max_examples=60)
@given(data=st.data(), zone=st.sampled_from(sorted(CHANGES)), begin=st.times(), end=st.times())
def test_quiet_hours_end_as_the_wall_clock_says(data, zone, begin, end) -> None:
    """A walk minute by minute over nights on which the clocks change finds the same end."""
    base = parse_instant(data.draw(st.sampled_from(CHANGES[zone])))
    at = base + data.draw(st.integers(0, 36 * 60)) * MINUTE
    hours = Hours(from_=begin.replace(second=0, microsecond=0), until=end.replace(second=0, microsecond=0))

    def quiet(moment: int) -> bool:
        local = local_time(moment, zone)
        return in_hours(hours, local.hour * 60 + local.minute)

    walked = at
    while quiet(walked):
        walked += MINUTE
    assert leaves(hours, zone, at) == walked


def test_quiet_hours_are_the_customers(shop) -> None:
    """22:30 in Berlin is 16:30 in New York; what takes two hours to arrive must not arrive in the night."""
    shop.says(BASE)
    shop.at(parse_instant("2026-03-28T21:30Z"))
    for who, zone in (("ann", "Europe/Berlin"), ("bob", "America/New_York")):
        shop.engine.store.put_customer(who, {"timeZone": zone}, shop.now)
    asleep = shop.ask("ann")
    assert (asleep["decision"], asleep["reasons"]) == ("wait", ["quiet hours"])
    assert asleep["until"] == "2026-03-29T06:00:00Z", "8:00 of the morning after the clocks went forward"
    awake = shop.ask("bob")
    assert (awake["decision"], awake["sendBefore"]) == ("now", "2026-03-29T01:00:00Z")
    shop.says(BASE.replace("[channels.email]", "[channels.email]\nlead-hours = 4"))
    assert shop.ask("cat", context={"timeZone": "America/New_York"})["until"] == "2026-03-29T08:00:00Z"
    shop.says(BASE.replace("[channels.email]", "[channels.email]\nquiet = false"))
    assert shop.ask("ann")["decision"] == "now"


# --- never, wait, now -------------------------------------------------------------------------------------------------


def test_the_answer_says_the_words_and_the_reasons_in_order(shop) -> None:
    shop.says(BASE + AWAKE)
    shop.engine.store.put_customer("ann", {"name": "Ann"}, shop.now)
    answer = shop.ask()
    assert (answer["decision"], answer["actionId"], answer["kind"]) == ("now", "tea", "offer")
    assert (answer["title"], answer["url"], answer["until"]) == ("Tea for Ann", "/tea", None)
    shop.engine.store.put_customer("ann", {"channels": ["sms"]}, shop.now)
    shop.says(BASE)
    shop.at(AS_OF)
    told = shop.ask()
    assert told["decision"] == "never", "the night ends, the wish does not"
    assert told["reasons"] == ["does not want email", "quiet hours"]
    row = next(each for each in records(shop.engine) if each["decision_id"] == told["decisionId"])
    assert {reason for _, reason in row["vetoed"]} >= {"does not want email; quiet hours"}


def test_an_unsubscribe_is_a_no_until_there_is_a_later_yes(shop) -> None:
    shop.says(BASE + AWAKE)
    shop.tell("unsubscribe", NOON - HOUR)
    assert shop.ask()["reasons"] == ["unsubscribed"]
    shop.engine.store.put_customer("ann", {"consents": {"marketing": {"granted": True, "at": NOON - MINUTE}}}, NOON)
    assert shop.ask()["decision"] == "now"


def test_selling_is_silent_while_something_is_late_or_came_back(shop) -> None:
    """Facts and care go on. An action that only the shop knows is taken as selling on a marketing channel."""
    shop.says(BASE + AWAKE + '[channels.sms]\nactions = ["own"]\n')
    shop.order(("confirmed", NOON - 9 * DAY), item="b0", promised_at=NOON - DAY)
    assert (shop.ask()["actionId"], shop.ask(channel="sms")["decision"]) == ("care", "never")
    shop.tell("return", NOON - DAY, "bob", item_id="b0")
    told = shop.ask("bob")
    assert told["vetoed"] == [{"actionId": "tea", "reason": "something was sent back: no selling"}]
    assert shop.ask("cat", "sms")["actionId"] == "own"


def test_nothing_of_the_category_is_sold_while_an_order_of_it_is_on_its_way(shop) -> None:
    shop.says(BASE + AWAKE)
    shop.order(("confirmed", NOON - DAY), item="a0")
    assert shop.ask()["actionId"] == "care"
    assert shop.ask("bob")["actionId"] == "tea"


def test_what_ends_before_it_arrives_is_not_sent_and_what_begins_later_waits(shop) -> None:
    """The toy world's day is 2024-10-04; a letter takes two days."""
    letter = BASE + AWAKE + '[channels.direct-mail]\nactions = ["tea"]\nlead-hours = 48\n'
    shop.says(letter.replace('kind = "offer"', 'kind = "offer"\nuntil = 2024-10-06'))
    assert shop.ask(channel="direct-mail")["reasons"] == ["over before it arrives"]
    assert shop.ask("bob")["actionId"] == "tea", "a mail is there at once"
    shop.says(letter.replace('kind = "offer"', 'kind = "offer"\nuntil = 2024-10-08'))
    assert shop.ask("cat", "direct-mail")["sendBefore"] == "2024-10-06T00:00:00Z"
    shop.says(letter.replace('kind = "offer"', 'kind = "offer"\nfrom = 2024-10-10'))
    told = shop.ask("dan", "direct-mail")
    assert (told["decision"], told["until"]) == ("wait", "2024-10-08T00:00:00Z")


def test_leave_me_alone(shop) -> None:
    """A planted effect: contact does harm to who uses a phone. He gets none, asked once or twice; others do."""
    from serving.effects import Blocked

    harm = stump(0, 0.5, 1.0, -1.0)  # desktop (code 0) gains, mobile loses
    averages, trees = {"care": 0.0, "tea": 0.0}, {"care": harm, "tea": harm}
    blocks = tuple(Blocked(name, "net-value", high=0.0) for name in averages)
    write_policy(shop.shop.policies, policy("mails", averages, trees=trees, blocks=blocks, floor=0.05))
    shop.says(BASE.replace("[channels.email]", '[channels.email]\npolicy = "mails"') + AWAKE)
    mobile = [shop.ask(f"m{n}", context={"device": "mobile"}) for n in range(8) for _ in range(2)]
    assert {(each["decision"], each["actionId"]) for each in mobile} == {("never", None)}
    desktop = [shop.ask(f"d{n}", context={"device": "desktop"})["decision"] for n in range(20)]
    assert desktop.count("now") > 12


def test_the_holdout_never_gets_a_personalised_slot_or_action(shop) -> None:
    """Whoever is held out gets no action on any channel, and pages of what is popular only, limited or not."""
    page = '[[pages.home.slots]]\nname = "hero"\nmodules = ["tea", "care", "for-you", "popular"]\n'
    config = BASE.replace("holdout = 0.0", "holdout = 0.5").replace('kind = "offer"', 'kind = "offer"\ncapacity = 5')
    shop.says(config + AWAKE + page)
    held = [f"u{n}" for n in range(40) if shop.ask(f"u{n}")["reasons"] == ["holdout"]]
    assert 8 < len(held) < 32
    for who in held:
        shop.tell("purchase", NOON - DAY, who, item_id="a0")
        assert {slot["actionId"] for slot in shop.page(who)["slots"]} <= {"popular", None}
    assert all(row["holdout"] for row in records(shop.engine) if row["customer_id"] in held)
    assert not [row for who in held for row in shop.engine.store.tally_of(f"c:{who}", [], NOON).rows]


def test_same_person_four_channels_one_hour(shop) -> None:
    """One family: page, app, mail and LINE give one answer and draw once; a mail sent lowers the action on the web."""
    write_policy(shop.shop.policies, policy("one", {"care": 0.0, "tea": 0.0}, floor=0.3, nothing=False))
    write_policy(shop.shop.policies, policy("mails", {"care": 0.0, "tea": 0.0}, floor=0.3))
    words = "".join(
        f'[channels.{name}]\nactions = ["tea", "care"]\npolicy = "mails"\nfamily = "hero"\n'
        for name in ("email", "app", "line")
    )
    page = '[[pages.home.slots]]\nname = "top"\nfamily = "hero"\npolicy = "mails"\nmodules = ["tea", "care"]\n'
    config = BASE.split("[channels.email]")[0] + AWAKE + words + page
    shop.says(config)
    taken = []
    for n in range(12):
        who = f"u{n}"
        answers = [shop.page(who)["slots"][0]["actionId"]]
        for minutes, channel in ((20, "app"), (40, "email"), (59, "line")):
            shop.at(NOON + minutes * MINUTE)
            answers.append(shop.ask(who, channel)["actionId"])
        shop.at(NOON)
        assert len(set(answers)) == 1
        taken.append(answers[0])
        drawn = [each for each in records(shop.engine) if each["customer_id"] == who and each["drawn"]]
        assert len(drawn) == 1
    assert set(taken) == {None, "tea", "care"}
    shop.says(config.replace('kind = "offer"', 'kind = "offer"\ncaps = {week = 1}'))
    who = next(f"v{n}" for n in range(50) if shop.ask(f"v{n}")["actionId"] == "tea")
    shop.sent(next(each for each in [shop.ask(who)]), who)
    shop.at(NOON + HOUR)
    assert shop.page(who)["slots"][0]["actionId"] != "tea"
    assert shop.ask(who, "app")["actionId"] != "tea"


def test_one_message_an_epoch_once_it_was_sent(shop) -> None:
    shop.says(BASE.replace("[channels.email]", "[channels.email]\nepoch-days = 7").replace('"tea", ', "") + AWAKE)
    first = shop.ask()
    assert shop.ask()["decisionId"] == first["decisionId"]
    shop.sent(first)
    told = shop.ask()
    assert (told["decision"], told["reasons"]) == ("wait", ["this contact was sent already"])
    day = local_time(NOON, "UTC").day
    assert parse_instant(told["until"]) == AS_OF + (7 - day % 7) * DAY
    shop.at(parse_instant(told["until"]))
    assert shop.ask()["decision"] == "now"


def test_a_letter_on_its_way_is_the_same_letter_in_the_next_epoch(shop) -> None:
    """Three days of post, an epoch of one: what is drawn the next day is logged, the letter is the one that waits."""
    write_policy(shop.shop.policies, policy("mails", {"care": 5.0}, floor=0.0))
    channel = '[channels.direct-mail]\nactions = ["care"]\npolicy = "mails"\nlead-hours = 72\n'
    shop.says(BASE + AWAKE + channel)
    first = shop.ask(channel="direct-mail")
    shop.at(NOON + DAY)
    again = shop.ask(channel="direct-mail")
    assert (again["decision"], again["decisionId"]) == ("now", first["decisionId"])
    assert len(shop.engine.store.tally_of("c:ann", [], NOON).rows) == 1
    assert [each["drawn"] for each in records(shop.engine) if each["surface"] == "direct-mail"] == [True, True]


# --- dog food every 32 days -------------------------------------------------------------------------------------------

FEED = f"""{AGREED}[shop]
holdout = 0.0
{AWAKE}[actions.refill]
kind = "content"
texts = [{{title = "Your {{due.item}} will run out in {{due.days}} days"}}]
[channels.email]
actions = ["refill"]
lead-hours = 48
"""
CYCLE = float(np.exp((3 * np.log(32) + np.log(28)) / 4))
"""Days of his cycle: three intervals of his own of 32 days and the item's 28, each as much as one of his own."""


def due_after(purchase: int, cycle: float = CYCLE) -> int:
    """The instant of the reminder, to the hour, for a purchase at noon: due, minus two days for the post."""
    return purchase - 12 * HOUR + int((cycle - 2) * DAY)


def test_dog_food_every_32_days(shop) -> None:
    """It comes as due, not after the purchase, moves when he buys early, and stops after two ignored ones."""
    shop.says(FEED)
    for n in (96, 64, 32, 0):
        shop.tell("purchase", NOON - n * DAY, item_id="a0")
    shop.at(NOON + MINUTE)
    told = shop.ask()
    assert (told["decision"], told["reasons"]) == ("wait", ["not due yet"]), "not directly after the purchase"
    first = due_after(NOON)
    assert abs(parse_instant(told["until"]) - first) < HOUR
    shop.at(first - HOUR)
    assert shop.ask()["decision"] == "wait"
    shop.at(first + HOUR)
    reminder = shop.ask()
    assert (reminder["decision"], reminder["title"]) == ("now", "Your Title a0 will run out in 2 days")
    shop.sent(reminder)
    shop.at(first + 2 * DAY)
    assert shop.ask()["decision"] == "never", "once for each time it runs out"


def test_the_reminder_moves_when_he_buys_early(shop) -> None:
    shop.says(FEED)
    for n in (96, 64, 32, 0):
        shop.tell("purchase", NOON - n * DAY, item_id="a0")
    early = NOON + 10 * DAY
    shop.tell("purchase", early, item_id="a0")
    cycle = float(np.exp((3 * np.log(32) + np.log(10) + np.log(28)) / 5))
    shop.at(due_after(NOON) + HOUR)
    moved = shop.ask()
    expected = due_after(early, cycle)
    assert expected > shop.now + DAY
    assert moved["decision"] == "wait" and abs(parse_instant(moved["until"]) - expected) < HOUR
    shop.at(expected + HOUR)
    assert shop.ask()["decision"] == "now"


def test_two_ignored_reminders_are_enough(shop) -> None:
    """Reminders of two things that nobody opened; the third one comes only once he reacts."""
    shop.says(FEED)
    for item, later in (("a0", 0), ("a1", 4), ("b0", 8)):
        for n in (96, 64, 32, 0):
            shop.tell("purchase", NOON - (n - later) * DAY, item_id=item)
    for item, later in (("a0", 0), ("a1", 4)):
        shop.at(due_after(NOON + later * DAY) + 2 * HOUR)
        reminder = shop.ask()
        assert (reminder["decision"], reminder["title"].split()[2]) == ("now", item)
        shop.sent(reminder)
    shop.at(due_after(NOON + 8 * DAY) + 2 * HOUR)
    assert (shop.ask()["decision"], shop.ask()["reasons"]) == ("never", ["nothing is due"])
    shop.tell("open", shop.now - MINUTE)
    again = shop.ask()
    assert (again["decision"], again["title"].split()[2]) == ("now", "b0")


def test_what_is_sold_out_is_no_reminder(shop) -> None:
    shop.says(FEED)
    for n in (96, 64, 32, 0):
        shop.tell("purchase", NOON - n * DAY, item_id="a0")
    shop.at(due_after(NOON) + HOUR)
    shop.engine.store.put_items([("a0", {"inStock": False})], shop.now)
    shop.engine.refresh_shelf()
    told = shop.ask()
    assert told["decision"] == "never" and "what is due is not in stock" in told["vetoed"][0]["reason"]
