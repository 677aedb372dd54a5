"""One answer everywhere: the first draw of an epoch holds on every channel, whoever asks, whatever crashes."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import Unavailable
from features.history import History
from features.moments import DAY, HOUR
from features.shop import Shop
from serving import pages, store_sql, wire
from serving import store_erasure as erasure
from serving import store_upkeep as upkeep
from serving.database import SqliteDatabase
from serving.decide import Decision, new_id
from serving.drawing import UNKEPT, Choice, Draws
from serving.effects import SlotPolicy
from serving.erase import erase, sweep
from serving.events import StoredEvent
from serving.held import Held, Kept, Wishes
from serving.keeping import at_once, settled
from serving.offered import Offered
from serving.policy_files import write_policy
from serving.query import Query
from serving.settings.pages import Slot
from serving.store import Store
from serving.sync import sync
from tests.test_serving.grown import START, policy, stump, wishes
from tests.test_serving.test_policy_pages import TOML, records
from training.uplift.reading import read_log

REPOSITORY = Path(__file__).parents[2]
SECRET = b"s" * 32
PAGE = Slot("hero", ("a", "b"), policy="p", family="f")
MAIL = Slot("mail", ("b", "c"), policy="p", family="f")
POLICY = policy("p", {"a": 0.0, "b": 0.0, "c": 0.0}, floor=0.25)


@pytest.fixture
def bench_shop(tmp_path) -> Shop:
    (tmp_path / "secret.key").write_bytes(SECRET)
    return Shop("held", tmp_path)


@pytest.fixture
def store(bench_shop):
    opened = Store.open(bench_shop.store, SECRET)
    yield opened
    opened.close()


def ask(
    store: Store, shop: Shop, slot: Slot, who: dict[str, str], now: int, barred: list[str], made: SlotPolicy = POLICY
) -> Decision:
    """One slot decided on some channel, as a page decides it."""
    query = Query(now, History.empty(), **who)
    draws = Draws(shop, {"p": made}, "UTC", query, "r", store.held_of(query.user_id, query.visitor_id))

    def decide() -> tuple[None, list[Decision]]:
        choice = draws.choose(slot, 0, [(name, "barred") for name in barred])
        return None, [decision_of(choice, slot, query)]

    _, (decision,), unwritten = at_once(settled(draws, decide, store.keep_at_once))
    assert bool(unwritten) == (not decision.drawn)
    return decision


def decision_of(choice: Choice, slot: Slot, query: Query) -> Decision:
    return Decision(
        new_id(), "r", query.now, "test", slot.name, 0, 0, choice.eligible, [], choice.action, [], choice.propensity,
        choice.policy, "b", "h", False, query.user_id, query.visitor_id, choice.features, choice.drawn,
        choice.reused_from, fallback=choice.fallback,
    )  # fmt: skip


def signed(kind: str, visitor: str, customer: str | None, at: int) -> StoredEvent:
    return StoredEvent(
        event_id=new_id(), occurred_at=at, recorded_at=at, type=kind, visitor_id=visitor, customer_id=customer
    )


STEPS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from([{"user_id": "ann"}, {"user_id": "bob"}, {"visitor_id": "v"}]),
              st.sampled_from([PAGE, MAIL]), st.lists(st.sampled_from("abc"), max_size=2, unique=True)),
    st.tuples(st.sampled_from(["sign_in", "sign_out"]), st.sampled_from(["ann", "bob"])),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(STEPS, st.sampled_from([1, HOUR, 13 * HOUR])), max_size=14))
def test_the_first_draw_holds_by_a_second_derivation(steps) -> None:
    """A dictionary by person and day says what each request must answer: sign-ins, epochs, what cannot be shown."""
    first: dict[tuple[str, int], Decision] = {}
    now, out = START, 0
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop("held", Path(folder))
        store = Store.open(shop.store, SECRET)
        for step, later in steps:
            now += later
            if step[0] == "ask":
                _, who, slot, barred = step
                key = (next(iter(who.values())), now // DAY)
                made, before = ask(store, shop, slot, who, now, barred), first.get(key)
                shown = {None, *slot.modules} - set(barred)
                if before is not None and before.action_id in shown:
                    assert (made.reused_from, made.drawn, made.action_id) == (
                        before.decision_id, False, before.action_id
                    )  # fmt: skip
                    assert (made.eligible, made.action_propensity) == (before.eligible, before.action_propensity)
                    assert made.features == before.features
                else:
                    assert made.drawn and made.reused_from is None
                    assert {action for action, _ in made.eligible} == shown
                    first[key] = made
            else:
                store.append_sync([signed(step[0], "v", step[1] if step[0] == "sign_in" else None, now)])
                # What stands under the visitor was decided after the last sign-in; a sign-out since then leaves it his.
                mine = [key for key, each in first.items() if key[0] == "v" and each.decided_at > out]
                for key in mine if step[0] == "sign_in" else []:
                    first.setdefault((step[1], key[1]), first[key])
                    del first[key]
                out = now if step[0] == "sign_out" else out
        store.close()


RACER = """
import asyncio, sys
from pathlib import Path
from serving.store import Store
from tests.test_serving.grown import wishes

store = Store.open(Path(sys.argv[1]), b"s" * 32)
print("ready", flush=True)
sys.stdin.readline()

async def one(n):
    kept = await store.keep(wishes(f"u{n}", sys.argv[2]))
    return sys.argv[2] if kept.stored else kept.found["f", 0, 1].action_id

async def main():
    print(" ".join(await asyncio.gather(*(one(n) for n in range(200)))), flush=True)

asyncio.run(main())
store.close()
"""
WRITER = """
import asyncio, sys
from pathlib import Path
from serving.store import Store
from tests.test_serving.grown import wishes

store = Store.open(Path(sys.argv[1]), b"s" * 32)

async def caller(name):
    for n in range(100_000):
        assert (await store.keep(wishes(f"{name}{n}", "a", f"d-{name}{n}"))).stored
        sys.stdout.write(f"{name}{n}\\n")
        sys.stdout.flush()

async def main():
    await asyncio.gather(*(caller(name) for name in "abcd"))

asyncio.run(main())
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=REPOSITORY, text=True, **pipes)


def test_two_processes_at_once_give_one_answer(tmp_path) -> None:
    """Both draw for the same two hundred people, each its own action; what each then shows is the same."""
    racers = [start(RACER, tmp_path / "store.db", name) for name in ("a", "b")]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 2
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = [racer.communicate(timeout=60) for racer in racers]
    answers = [out.split() for out, _ in told]
    assert len(answers[0]) == 200, told
    assert answers[0] == answers[1]


def test_what_was_kept_survives_kill_9(tmp_path) -> None:
    """The draw and its decision, both or none, also of those whose answer nobody saw."""
    process = start(WRITER, tmp_path / "store.db")
    told = [process.stdout.readline().strip() for _ in range(150)]
    os.kill(process.pid, signal.SIGKILL)
    rest, errors = process.communicate()
    told += rest.split("\n")[:-1]
    assert all(told), errors
    store = Store.open(tmp_path / "store.db", SECRET)
    assert all(store.held_of(user, None)["f", 0, 1].decision_id == f"d-{user}" for user in told)
    held = store.database.query("SELECT 'd-' || substr(subject, 3) FROM held ORDER BY 1")
    assert held == store.database.query("SELECT decision_id FROM decisions ORDER BY 1")
    store.close()


def test_draws_of_an_answer_are_kept_together_or_not_at_all(tmp_path) -> None:
    store = Store.open(tmp_path / "store.db", SECRET)
    assert asyncio.run(store.keep(wishes("ann", "a", "d1"))).stored
    second = wishes("ann", "b", "d2")
    other = msgspec.structs.replace(second.each[0], key=("g", 0, 1))
    both = msgspec.structs.replace(second, each=(other, *second.each))
    kept = asyncio.run(store.keep(both))
    assert (kept.stored, list(kept.found)) == (False, [("f", 0, 1)])
    assert kept.found["f", 0, 1].decision_id == "d1"
    assert list(store.held_of("ann", None)) == [("f", 0, 1)]
    instead = msgspec.structs.replace(second.each[0], instead_of="d1")
    assert asyncio.run(store.keep(msgspec.structs.replace(both, each=(other, instead)))).stored
    assert {each.decision_id for each in store.held_of("ann", None).values()} == {"d2"}
    store.close()


def test_a_store_of_the_program_before_gets_the_table(tmp_path) -> None:
    path = tmp_path / "store.db"
    SqliteDatabase(path, store_sql.STEPS[:1]).close()
    store = Store.open(path, SECRET)
    assert at_once(store.keep_at_once(wishes("ann", "a"))).stored
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(store_sql.STEPS),)
    connection.close()


def test_erasure_and_the_epochs_end_remove_it(tmp_path) -> None:
    shop = Shop("held", tmp_path)
    store = Store.open(shop.store, shop.secret)
    for user in ("ann", "bob"):
        at_once(store.keep_at_once(wishes(user, "a")))
    visitors = msgspec.structs.replace(wishes("", "a"), customer_id=None, visitor_id="v")
    at_once(store.keep_at_once(visitors))
    store.append_sync([signed("sign_in", "w", "ann", START)])
    erase(shop, store, "ann", now=START)
    assert not store.held_of("ann", None) and store.held_of("bob", None) and store.held_of(None, "v")
    assert at_once(store.keep_at_once(wishes("ann", "a"))) == Kept(False)
    assert b"c:ann" not in shop.store.read_bytes()
    erasure.bury(store, [upkeep_token(shop, "v:v"), upkeep_token(shop, "c:bob")], START)
    assert sweep(shop, store, now=START) == 2, "an interrupted erasure is finished from the tombstones alone"
    assert not store.held_of("bob", None) and not store.held_of(None, "v")
    at_once(store.keep_at_once(wishes("cat", "a")))
    for now, left in ((START + DAY - 1, 1), (START + DAY, 0)):
        upkeep.drop_ended(store, now)
        assert len(store.held_of("cat", None)) == left
    store.close()


def upkeep_token(shop: Shop, subject: str) -> bytes:
    from serving.tombstones import token_of

    return token_of(shop.secret, subject)


@pytest.fixture
def engine(toy_shop, toy_engine):
    """Two slots by a policy that wants `popular` on desks and `for-you` on phones."""
    trees = {"popular": stump(0, 0.5, 0.5, -0.5)}
    averages = {"buy-again": 0.9, "for-you": 0.1, "popular": 0.0}
    write_policy(toy_shop.policies, policy(averages=averages, trees=trees, floor=0.1))
    toy_shop.config.write_text(TOML)
    assert toy_engine.refresh() and not toy_engine.refusals
    return toy_engine


def actions(client, **body) -> list[str | None]:
    answer = client.post("/v1/pages", content=orjson.dumps(body)).json()
    return [slot["actionId"] for slot in answer["slots"][:2]]


def test_a_page_again_is_the_same_page_and_no_second_draw(engine, client) -> None:
    """On another device, as the visitor who signs in, and in what training reads of it."""
    people = [f"v{n}" for n in range(30)]
    seen = {who: actions(client, visitorId=who, context={"device": "desktop"}) for who in people}
    for who in people:
        event = {"type": "sign_in", "visitorId": who, "userId": f"u{who}"}
        assert client.post("/v1/events", content=orjson.dumps({"events": [event]})).json()["accepted"] == 1
        assert actions(client, userId=f"u{who}", context={"device": "mobile"}) == seen[who]
    assert len({tuple(each) for each in seen.values()}) > 1
    rows = [each for each in records(engine) if each["slot"] != "last"]
    roots = {each["decision_id"]: each for each in rows if each["drawn"]}
    reuses = [each for each in rows if not each["drawn"]]
    assert len(roots) == len(reuses) == 60
    for each in reuses:
        root = roots[each["reused_from"]]
        for name in ("slot", "action_id", "action_propensity", "eligible", "policy"):
            assert each[name] == root[name]
        assert {name: each["features"][name] for name in ("names", "rows")} == {
            name: root["features"][name] for name in ("names", "rows")
        }
    sync(engine.shop, now=engine.clock.now() + 2 * DAY)
    log = read_log(Dataset(engine.shop.dataset), slot="first")
    assert log.usable.all() and log.drawn.sum() == 30 and len(log) == 60
    assert len(np.unique(log.subject)) == 30
    for subject in np.unique(log.subject):
        (one, other) = np.flatnonzero(log.subject == subject)
        assert log.propensity[one].tolist() == log.propensity[other].tolist()
    assert engine.store.database.query("SELECT count(*) FROM held") == [(0,)], "the epoch is over"


def taken(engine, user: str) -> list[str | None]:
    answer = pages.page(engine, wire.PageRequest(user_id=user), engine.clock.now())
    return [slot["actionId"] for slot in answer["slots"][:2]]


def test_what_cannot_be_shown_any_more_ends(engine, monkeypatch) -> None:
    """A module that cannot be filled now is drawn anew, and the new draw holds, also when it can be filled again."""
    usual = Offered.vetoes

    def without_popular(offered, slot, *rest):
        return {name: "gone" for name in slot.modules if name == "popular"} | dict(usual(offered, slot, *rest))

    moved = 0
    for user in (f"u{n}" for n in range(12)):
        seen = taken(engine, user)
        assert taken(engine, user) == seen
        with monkeypatch.context() as patched:
            patched.setattr(Offered, "vetoes", lambda *given, **more: list(without_popular(*given).items()))
            without = taken(engine, user)
        assert "popular" not in without
        assert without == seen or "popular" in seen
        assert taken(engine, user) == without
        moved += without != seen
    assert moved


def test_where_the_store_refuses_nothing_is_drawn_and_what_holds_is_shown(engine, monkeypatch) -> None:
    seen = taken(engine, "ann")

    async def refuses(wanted: Wishes) -> Kept:
        raise Unavailable("the store cannot do this now")

    monkeypatch.setattr(engine.store, "keep_at_once", refuses)
    assert taken(engine, "ann") == seen
    fresh = pages.page(engine, wire.PageRequest(user_id="bob"), engine.clock.now())
    rows = {each["decision_id"]: each for each in records(engine)}
    for slot in fresh["slots"][:2]:
        row = rows[slot["decisionId"]]
        assert (row["drawn"], row["reused_from"], row["fallback"]) == (False, None, UNKEPT)


def test_a_preview_keeps_nothing(engine) -> None:
    from serving.engine import Engine

    preview = Engine(engine.shop, worker=None)
    pages.page(preview, wire.PageRequest(user_id="ann"), engine.clock.now())
    preview.close()
    assert not engine.store.held_of("ann", None) and not records(engine)


def test_nothing_holds_only_where_the_slot_may_be_empty(store, bench_shop) -> None:
    """Null was drawn since nothing could be shown; once something can, a slot that is never empty shows it."""
    never = policy("p", {"a": 0.0, "b": 0.0}, floor=0.25, nothing=False)
    may = policy("p", {"a": 0.0, "b": 0.0}, floor=0.25)
    for made, user in ((never, "ann"), (may, "bob")):
        bare = ask(store, bench_shop, PAGE, {"user_id": user}, START, ["a", "b"], made)
        assert (bare.action_id, bare.drawn, bare.eligible) == (None, True, [(None, 1.0)])
        again = ask(store, bench_shop, PAGE, {"user_id": user}, START, ["a", "b"], made)
        assert again.reused_from == bare.decision_id
        later = ask(store, bench_shop, PAGE, {"user_id": user}, START + HOUR, ["a"], made)
        if made is never:
            assert (later.action_id, later.drawn, later.eligible) == ("b", True, [("b", 1.0)])
        else:
            assert later.reused_from == bare.decision_id


def test_what_takes_the_place_of_a_draw_has_the_probability_that_is_logged(bench_shop) -> None:
    """Whose draw cannot be shown any more was known by the first point; the second says nothing of it."""
    made = policy("p", {"a": 0.0, "b": 0.1}, floor=0.3)
    found = []
    for n in range(2000):
        draws = Draws(bench_shop, {"p": made}, "UTC", Query(START, History.empty(), user_id=f"u{n}"), "r")
        first = draws.choose(PAGE, 0, [])
        if first.action == "a":
            held = Held(f"d{n}", "a", first.eligible, first.propensity, "p")
            draws.again({draws.fresh[0].key: held})
            found.append(draws.choose(PAGE, 0, [("a", "barred")]))
    assert len(found) > 500 and all(each.drawn and each.reused_from is None for each in found)
    assert {tuple(each.eligible) for each in found} == {((None, 0.3), ("b", 0.7))}
    assert np.mean([each.action is None for each in found]) == pytest.approx(0.3, abs=0.05)
