"""Caps, cool-downs, capacity and budgets: counted per person over all pages and channels, never exceeded."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.history import History
from features.moments import DAY, HOUR, MINUTE, day_start, local_time, parse_instant
from features.shop import Shop
from serving import actions, pages, wire
from serving.caps import (
    FAILED,
    LAPSED,
    NOTHING_LEFT,
    RESERVED,
    SENT,
    SESSION,
    SHOWN,
    SPENT,
    Limits,
    Showing,
    Shown,
    Tally,
    Used,
    reached,
)  # fmt: skip
from serving.drawing import Draws
from serving.erase import erase, sweep
from serving.events import StoredEvent
from serving.export import export_customer
from serving.held import Wishes
from serving.query import Query
from serving.settings.actions import Caps
from serving.settings.pages import Slot
from serving.store import Store
from serving.sync import sync
from tests.test_serving.grown import START, policy, records

REPOSITORY = Path(__file__).parents[2]
SECRET = b"s" * 32
PAGE = """
[shop]
holdout = 0.0
[quiet]
from = 00:00:00
until = 00:00:00
[actions.tea]
kind = "offer"
texts = [{title = "Tea at half the price"}]
%s
[actions.care]
kind = "guide"
texts = [{title = "How to care"}]
[[pages.home.slots]]
name = "hero"
modules = ["tea", "care"]
[channels.email]
actions = ["tea", "care"]
"""
MARKETING = '[consent]\nassumed = ["personalization", "marketing"]\nbasis = "they agreed"\n'


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "store.db", SECRET)
    yield opened
    opened.close()


@pytest.fixture
def shop_with(toy_shop, toy_engine):
    """The toy shop with one limited action, and a clock that can be set."""

    def build(limits: str = "", *, toml: str = PAGE):
        toy_shop.config.write_text(MARKETING + (toml % limits if "%s" in toml else toml))
        toy_engine.refresh()
        assert not toy_engine.refusals
        return toy_engine

    return build


def hero(engine, who: str | None = "ann", at: int | None = None, **more) -> dict:
    request = wire.PageRequest(user_id=who, **more)
    return pages.page(engine, request, engine.clock.now() if at is None else at)["slots"][0]


def mail(engine, who: str = "ann", at: int | None = None, channel: str = "email") -> dict:
    from serving.keeping import at_once

    request = wire.ActionRequest(user_id=who, channel=channel)
    now = engine.clock.now() if at is None else at
    return at_once(actions.next_action(engine, request, now, engine.store.keep_at_once))


def sent(engine, who: str, decision: str, at: int, kind: str = "sent") -> None:
    event = StoredEvent(event_id=f"{kind}-{decision}", occurred_at=at, recorded_at=at, type=kind, customer_id=who,
                        decision_id=decision)  # fmt: skip
    assert engine.store.append_sync([event]) == ["accepted"]


def row(at: int, *, state: str = SHOWN, until: int | None = None, action: str = "tea", surface: str = "page.home"):
    return Shown(action, surface, str(at), at, state, until, None, at)


# --- the rules --------------------------------------------------------------------------------------------------------


AGO = st.lists(st.one_of(st.integers(1, 50), st.integers(1, 200), st.integers(1, 800)), max_size=8)


@settings(max_examples=150)
@given(
    ago=AGO, now=st.integers(33 * 24, 40 * 24), cool=st.sampled_from([0.0, 0.0, 0.5, 3.0]),
    caps=st.dictionaries(st.sampled_from(["day", "week", "month"]), st.integers(0, 5), max_size=2),
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Tokyo"]),
)  # fmt: skip
@example(ago=[20], now=33 * 24 + 10, cool=0.0, caps={"day": 1}, zone="UTC")
@example(ago=[200, 30, 20], now=33 * 24 + 10, cool=0.0, caps={"week": 2}, zone="America/New_York")
def test_room_by_a_second_derivation(ago, now, caps, cool, zone) -> None:
    """A count of the showings of the last local days, at this moment and around the one that is promised."""
    base = parse_instant("2026-09-26T00:30Z")  # New York's clocks go back on 1 November
    moment = base + now * HOUR
    past = [moment - hours * HOUR for hours in ago]

    def room(at: int) -> bool:
        day = local_time(at, zone).day
        days = [local_time(each, zone).day for each in past]
        within = {"day": 1, "week": 7, "month": 30}
        capped = any(most is not None and sum(each > day - within[name] for each in days) >= most
                     for name, most in caps.items())  # fmt: skip
        return not capped and not any(at < each + int(cool * DAY) for each in past)

    found = reached(Limits(zone, Caps(**caps), cool), "tea", Tally([row(at) for at in past]), moment)
    assert (found is None) == room(moment)
    if found is not None and found.until is not None:
        assert not room(found.until - MINUTE) and room(found.until) and found.until > moment
    elif found is not None:
        assert 0 in caps.values()


def test_what_counts_and_what_does_not() -> None:
    """A reservation counts until its time has passed; what failed or lapsed does not; another action has its own."""
    once = Limits("UTC", Caps(ever=1))
    for state, until, counts in ((SHOWN, None, True), (SENT, None, True), (RESERVED, START + 1, True),
                                 (RESERVED, START, False), (LAPSED, None, False), (FAILED, None, False)):  # fmt: skip
        tally = Tally([row(START - DAY, state=state, until=until)])
        assert (reached(once, "tea", tally, START) is not None) == counts
        assert reached(once, "care", tally, START) is None
    told = reached(once, "tea", Tally([row(START - DAY)]), START)
    assert told is not None and (told.reason, told.until, told.words) == ("cap: 1 ever", None, "cap: 1 ever")


def test_a_channels_cap_counts_whatever_was_sent_on_it() -> None:
    contact = Limits("UTC", Caps(day=2), channel="email")
    rows = [row(START, action="a", surface="email"), row(START + 1, action="b", surface="email"),
            row(START + 2, action="tea", surface="page.home")]  # fmt: skip
    assert reached(contact, "tea", Tally(rows[1:]), START + HOUR) is None
    full = reached(contact, "tea", Tally(rows), START + HOUR)
    assert full is not None and full.reason == "cap: 2 a day on email"
    assert full.until == day_start(date.fromordinal(local_time(START, "UTC").day + 1), "UTC")


def test_capacity_is_of_people_and_a_budget_of_times() -> None:
    mine, used = [row(START)], {"tea": Used(people=5, cost=10.0)}
    full = Limits("UTC", capacity=5)
    assert reached(full, "tea", Tally((), used), START + 1) is not None
    assert reached(full, "tea", Tally(mine, used), START + 1) is None, "who has it may see it again"
    spent = Limits("UTC", budget=11.0, cost=1.5)
    found = reached(spent, "tea", Tally(mine, used), START + 1)
    assert found is not None and found.reason == SPENT
    assert reached(Limits("UTC", budget=11.5, cost=1.5), "tea", Tally(mine, used), START + 1) is None
    lapsing = {"tea": Used(people=5, cost=10.0, lapsing=1)}
    assert reached(full, "tea", Tally((), lapsing), START + 1) is None, "the transaction will know"


# --- the store --------------------------------------------------------------------------------------------------------

LIMITED = Limits("UTC", capacity=3, budget=100.0, cost=1.0)


def one(store: Store, who: str, name: str, now: int, *, hold: int | None = None, limits: Limits = LIMITED,
        action: str = "tea") -> bool:  # fmt: skip
    until = None if hold is None else now + hold
    showing = Showing(name, action, "email" if hold else "page.home", None, until, (limits,))
    return store._commit([Wishes(who, None, "r", now, (), (showing,))])[0].stored


def used(store: Store, action: str = "tea", now: int = START) -> tuple[int, float]:
    found = store.tally_of(None, [action], now).used[action]
    return found.people, found.cost


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["show", "reserve", "sent", "bounce", "link", "erase"]), st.sampled_from(["ann", "bob", "cat"]),
        st.booleans(), st.sampled_from([1, HOUR, 30 * HOUR]),
    ), max_size=18,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_what_was_given_out_by_a_second_derivation(steps, tmp_path_factory) -> None:
    """After showings, reservations, sends, bounces and sign-ins the counters say what the rows say, never too much."""
    folder = tmp_path_factory.mktemp("shown")
    store = Store.open(folder / "store.db", SECRET)
    now, made = START, []
    for number, (what, who, visitor, later) in enumerate(steps):
        now += later
        name, (customer, guest) = f"d{number}", ((None, who) if visitor else (who, None))
        if what in ("show", "reserve"):
            until = now + DAY if what == "reserve" else None
            showing = Showing(name, "tea", "email" if until else f"page.{number}", None, until, (LIMITED,))
            if store._commit([Wishes(customer, guest, "r", now, (), (showing,))])[0].stored:
                made.append((name, customer, guest))
        elif what in ("sent", "bounce") and made:
            decision, customer, guest = made[number % len(made)]
            store.append_sync([StoredEvent(event_id=name, occurred_at=now, recorded_at=now, type=what,
                                           customer_id=customer, visitor_id=guest, decision_id=decision)])  # fmt: skip
        elif what == "link":
            store.append_sync([StoredEvent(event_id=name, occurred_at=now, recorded_at=now, type="sign_in",
                                           customer_id=who, visitor_id=who)])  # fmt: skip
        rows = store.database.query("SELECT subject, state, cost FROM shown WHERE action_id = 'tea'")
        counted = [(subject, cost) for subject, state, cost in rows if state in (SHOWN, RESERVED, SENT)]
        people, cost = used(store, now=now)
        assert people == len({subject for subject, _ in counted})
        assert cost == pytest.approx(sum(cost for _, cost in counted))
    store.close()


def test_a_reservation_lapses_and_what_was_sent_does_not(store) -> None:
    assert [one(store, who, who, START, hold=DAY) for who in "abcd"] == [True, True, True, False]
    store.append_sync([StoredEvent(event_id="s", occurred_at=START + 1, recorded_at=START + 1, type="sent",
                                   customer_id="a", decision_id="a")])  # fmt: skip
    assert not one(store, "d", "d1", START + DAY - 1, hold=DAY)
    assert one(store, "d", "d2", START + DAY, hold=DAY), "b and c were never heard of"
    assert used(store) == (2, 2.0)
    store.append_sync([StoredEvent(event_id="x", occurred_at=START + 1, recorded_at=START + 1, type="bounce",
                                   customer_id="eve", decision_id="a")])  # fmt: skip
    assert used(store) == (2, 2.0), "another customer's word does not count"
    assert one(store, "e", "e", START + DAY, hold=DAY) and not one(store, "f", "f", START + DAY, hold=DAY)


RACER = """
import sys
from pathlib import Path
from features.shop import Shop
from serving.caps import Limits, Showing
from serving.held import Wishes
from serving.settings.actions import Caps
from serving.store import Store

me, name, root, url = sys.argv[1:]
store = Store.of(Shop(name, Path(root), url or None))
print("ready", flush=True)
sys.stdin.readline()
gained = capped = 0
for n in range(25):
    few = Limits("UTC", capacity=60, budget=50.0, cost=1.0)
    showing = Showing(f"{me}-{n}", "tea", f"page.{me}", None, None, (few,))
    gained += store._commit([Wishes(f"{me}-{n}", None, "r", 1_700_000_000_000_000, (), (showing,))])[0].stored
    often = Limits("UTC", Caps(day=7))
    showing = Showing(f"{me}-{n}-same", "care", f"page.{me}.{n}", None, None, (often,))
    capped += store._commit([Wishes("ann", None, "r", 1_700_000_000_000_000, (), (showing,))])[0].stored
print(gained, capped, flush=True)
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_eight_processes_never_exceed_a_limit(kind, tmp_path, request) -> None:
    """A budget of 50 and a capacity of 60 over 200 people; one person's cap of 7 a day asked for 200 times."""
    where = ["race", str(tmp_path), ""]
    if kind == "postgres":
        server = request.getfixturevalue("postgres")
        where = [server.shop_id(tmp_path), str(tmp_path), server.url]
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(n), *where], cwd=REPOSITORY, text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for n in range(8)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = [tuple(map(int, racer.communicate(timeout=60)[0].split())) for racer in racers]
    assert sum(gained for gained, _ in told) == 50
    assert sum(capped for _, capped in told) == 7


# --- pages ------------------------------------------------------------------------------------------------------------


def test_a_page_drawn_again_in_one_session_is_one_showing(shop_with) -> None:
    """One a day: kept in the session, gone after it, back the next morning; another page is another showing."""
    engine = shop_with("caps = {day = 1}\n")
    now = engine.clock.now()
    assert hero(engine, at=now, session_id="s")["actionId"] == "tea"
    assert hero(engine, at=now + 5 * MINUTE)["actionId"] == "tea", "soon: one showing, whatever the session is called"
    assert hero(engine, at=now + 3 * HOUR, session_id="s")["actionId"] == "tea"
    assert hero(engine, at=now + SESSION + MINUTE)["actionId"] == "care"
    assert hero(engine, at=now + DAY)["actionId"] == "tea"
    assert hero(engine, "bob", at=now + SESSION)["actionId"] == "tea"
    assert len(engine.store.tally_of("c:ann", [], now).rows) == 2
    vetoed = [each["vetoed"] for each in records(engine) if each["action_id"] == "care"]
    assert [reason for _, reason in vetoed[0]] == ["cap: 1 a day, until 2024-10-05T00:00:00Z"]


def test_explain_and_export_tell_of_limits(shop_with) -> None:
    engine = shop_with("caps = {ever = 1}\n")
    now = engine.clock.now()
    hero(engine, at=now)
    told = pages.page(engine, wire.PageRequest(user_id="ann", explain=True), now + 2 * HOUR)["explain"]["unfit"]
    assert {"actionId": "tea", "reason": "cap: 1 ever"} in told
    (shown,) = export_customer(engine, "ann")["shown"]
    assert (shown["actionId"], shown["surface"], shown["state"]) == ("tea", "page.home", SHOWN)


def test_nothing_is_read_where_nothing_is_limited(shop_with, monkeypatch) -> None:
    engine = shop_with()
    monkeypatch.setattr(type(engine.store), "tally_of", lambda *given: pytest.fail("limits were read"))
    assert hero(engine)["actionId"] == "tea"


def test_a_preview_spends_nothing(shop_with) -> None:
    engine = shop_with("capacity = 1\n")
    engine.preview = True
    assert [hero(engine, who)["actionId"] for who in ("ann", "bob")] == ["tea", "tea"]
    assert mail(engine)["actionId"] == "tea"
    engine.preview = False
    assert [hero(engine, who)["actionId"] for who in ("ann", "bob", "ann")] == ["tea", "care", "tea"]
    assert engine.store.tally_of(None, ["tea"], START).used["tea"].people == 1


def test_a_look_back_does_not_know_what_was_shown_later(shop_with) -> None:
    from serving.preview import look_at_page

    engine = shop_with("caps = {ever = 1}\n")
    now = engine.clock.now()
    hero(engine, at=now)
    request = wire.PageRequest(user_id="ann")
    seen = [look_at_page(engine, request, at).answer["slots"][0]["actionId"] for at in (now - HOUR, now + HOUR)]
    assert seen == ["tea", "care"]


def test_nobody_gets_what_is_capped_and_takes_from_what_is_finite(shop_with) -> None:
    assert hero(shop_with("cool-down-days = 1\n"), None)["actionId"] == "care"
    engine = shop_with("capacity = 2\n")
    assert [hero(engine, None)["actionId"] for _ in range(3)] == ["tea", "tea", "care"]


def test_a_limit_that_is_reached_meanwhile_is_decided_again(shop_with, monkeypatch) -> None:
    """Another process takes the last one between the look and the transaction."""
    engine = shop_with("capacity = 1\n")
    keep = engine.store.keep_at_once

    async def late(wishes):
        one(engine.store, "thief", "stolen", engine.clock.now(), limits=Limits("UTC", capacity=1))
        return await keep(wishes)

    monkeypatch.setattr(engine.store, "keep_at_once", late)
    assert hero(engine)["actionId"] == "care"
    (decision,) = [each for each in records(engine) if each["slot"] == "hero"]
    assert dict(map(tuple, decision["vetoed"]))["tea"] == NOTHING_LEFT


def test_a_draw_over_its_limit_is_drawn_anew_with_its_own_chances(toy_shop, shop_with, monkeypatch) -> None:
    """The logged probabilities are those of the second draw: what was taken meanwhile is not among them."""
    from serving.policy_files import write_policy

    write_policy(toy_shop.policies, policy("hero", {"tea": 5.0, "care": 0.0}, floor=0.1))
    engine = shop_with(toml=PAGE.replace('modules = ["tea", "care"]', 'modules = ["tea", "care"]\npolicy = "hero"')
                       % "capacity = 1\n")  # fmt: skip
    keep = engine.store.keep_at_once

    async def late(wishes):
        one(engine.store, "thief", "stolen", engine.clock.now(), limits=Limits("UTC", capacity=1))
        return await keep(wishes)

    monkeypatch.setattr(engine.store, "keep_at_once", late)
    who = next(f"u{n}" for n in range(50) if hero(engine, f"u{n}")["actionId"] == "care")
    drawn = [each for each in records(engine) if each["customer_id"] == who and each["slot"] == "hero"]
    assert len(drawn) == 1 and drawn[0]["drawn"]
    assert {action for action, _ in drawn[0]["eligible"]} == {None, "care"}


def test_what_takes_the_place_of_a_draw_has_a_point_of_its_own(tmp_path) -> None:
    """Whoever drew tea had a point in one part of [0, 1); at points of their own they draw as it is logged."""
    (tmp_path / "secret.key").write_bytes(SECRET)
    made, slot = policy("p", {"tea": 5.0, "care": 1.0}, floor=0.1), Slot("hero", ("tea", "care"), policy="p")
    taken, chances = [], set()
    for n in range(300):
        query = Query(START, History.empty(), user_id=f"u{n}")
        draws = Draws(Shop("s", tmp_path), {"p": made}, "UTC", query, "r")
        if draws.choose(slot, 0, []).action == "tea":
            draws.again(anew=True)
            again = draws.choose(slot, 0, [("tea", NOTHING_LEFT)])
            assert dict(again.eligible)[again.action] == again.propensity and draws.fresh[0].instead_of is None
            chances.add(dict(again.eligible)[None])
            taken.append(again.action is None)
    share, (chance,) = sum(taken) / len(taken), chances
    assert len(taken) > 200 and abs(share - chance) < 4 * (chance * (1 - chance) / len(taken)) ** 0.5


def test_a_store_that_refuses_shows_nothing_that_is_limited(shop_with, monkeypatch) -> None:
    from features.errors import Unavailable

    engine = shop_with("caps = {day = 5}\n")

    async def refuses(wishes):
        raise Unavailable("the store cannot do this now")

    monkeypatch.setattr(engine.store, "keep_at_once", refuses)
    assert hero(engine)["actionId"] == "care"
    answer = mail(engine)
    assert (answer["decision"], answer["actionId"]) == ("wait", None)


def test_a_visitors_showings_go_to_the_customer(shop_with) -> None:
    engine = shop_with("caps = {ever = 1}\ncapacity = 5\n")
    now = engine.clock.now()
    assert hero(engine, None, at=now, visitor_id="v")["actionId"] == "tea"
    assert hero(engine, at=now)["actionId"] == "tea"
    assert used(engine.store) == (2, 0.0)
    event = StoredEvent(event_id="in", occurred_at=now + 1, recorded_at=now + 1, type="sign_in", customer_id="ann",
                        visitor_id="v")  # fmt: skip
    engine.store.append_sync([event])
    assert used(engine.store) == (1, 0.0), "two who had it are one person"
    assert hero(engine, at=now + 2 * SESSION)["actionId"] == "care"
    assert hero(engine, None, at=now + 2 * SESSION, visitor_id="v")["actionId"] == "tea", "somebody else's device now"


def test_an_erasure_takes_the_rows_and_leaves_the_count(shop_with) -> None:
    engine = shop_with("capacity = 2\n")
    hero(engine)
    erase(engine.shop, engine.store, "ann", now=engine.clock.now())
    assert not engine.store.database.query("SELECT * FROM shown")
    assert b"c:ann" not in engine.shop.store.read_bytes()
    assert used(engine.store) == (1, 0.0)
    assert hero(engine)["actionId"] == "care", "an erased person cannot be counted, so nothing limited is shown"
    with engine.store.database.transaction() as connection:
        connection.execute("INSERT INTO shown VALUES ('d', 'c:ann', 'tea', 'email', 1, 'sent', NULL, NULL, 1, 0.0)")
    assert sweep(engine.shop, engine.store, now=engine.clock.now()) == 1
    assert not engine.store.database.query("SELECT * FROM shown")


# --- messages ---------------------------------------------------------------------------------------------------------


def test_a_mail_counts_when_it_is_decided_and_for_good_when_it_was_sent(shop_with) -> None:
    engine = shop_with("cool-down-days = 10\n")
    now = engine.clock.now()
    first = mail(engine, at=now)
    assert (first["decision"], first["actionId"], first["title"]) == ("now", "tea", "Tea at half the price")
    again = mail(engine, at=now + HOUR)
    assert (again["decisionId"], again["actionId"]) == (first["decisionId"], "tea"), "nothing is decided anew"
    assert hero(engine, at=now + HOUR)["actionId"] == "care", "a mail on its way lowers the same action on the web"
    assert hero(engine, at=now + DAY + HOUR)["actionId"] == "tea", "it was never sent"
    engine = shop_with("cool-down-days = 10\n")
    other = mail(engine, "bob", at=now)
    sent(engine, "bob", other["decisionId"], now + HOUR)
    assert hero(engine, "bob", at=now + 9 * DAY)["actionId"] == "care"
    assert mail(engine, "bob", at=now + 2 * HOUR)["actionId"] == "care"
    assert hero(engine, "bob", at=now + 10 * DAY + HOUR)["actionId"] == "tea"
    bounced = mail(engine, "cat", at=now)
    sent(engine, "cat", bounced["decisionId"], now + HOUR, "bounce")
    assert hero(engine, "cat", at=now + 2 * HOUR)["actionId"] == "tea"


def test_a_capped_customer_gets_wait_until(shop_with) -> None:
    """The earliest instant at which one action is free again, moved to when quiet hours end."""
    toml = PAGE.replace('actions = ["tea", "care"]', 'actions = ["tea"]\ncaps = {week = 1}')
    engine = shop_with(toml=toml % "")
    now = engine.clock.now()
    first = mail(engine, at=now)
    sent(engine, "ann", first["decisionId"], now + HOUR)
    later = mail(engine, at=now + 2 * DAY)
    assert (later["decision"], later["actionId"]) == ("wait", None)
    assert later["until"] == "2024-10-11T00:00:00Z"
    assert later["vetoed"] == [{"actionId": "tea", "reason": "cap: 1 a week on email, until 2024-10-11T00:00:00Z"}]
    quiet = (toml % "").replace("from = 00:00:00", "from = 21:00:00").replace("until = 00:00:00", "until = 08:00:00")
    engine = shop_with(toml=quiet)
    assert mail(engine, at=now + 2 * DAY + 12 * HOUR)["until"] == "2024-10-11T08:00:00Z"
    assert mail(engine, "bob", at=now + 12 * HOUR)["decision"] == "now"
    assert mail(engine, at=parse_instant("2024-10-11T08:00:00Z"))["decision"] == "now"


def test_what_was_decided_reaches_the_dataset(shop_with) -> None:
    engine = shop_with("capacity = 3\n")
    for n in range(5):
        mail(engine, f"u{n}")
    sync(engine.shop, now=engine.clock.now() + DAY)
    taken = Dataset(engine.shop.dataset).read("decisions", ["action_id", "surface"]).to_pylist()
    assert sorted(each["action_id"] for each in taken) == ["care", "care", "tea", "tea", "tea"]
    assert {each["surface"] for each in taken} == {"email"}


def test_threads_over_http_never_exceed_a_capacity(shop_with, client) -> None:
    engine = shop_with("capacity = 9\n")
    got: list[str | None] = []

    def shop(start: int) -> None:
        for n in range(start, 40, 8):
            body = orjson.dumps({"page": "home", "userId": f"u{n}"})
            got.append(client.post("/v1/pages", content=body).json()["slots"][0]["actionId"])

    threads = [threading.Thread(target=shop, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (got.count("tea"), got.count("care")) == (9, 31)
    assert used(engine.store)[0] == 9
