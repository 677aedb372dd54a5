"""Questions that pages and channels put: kept beside the event loop, put once a session, also while the disk hangs."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing

import orjson
import pytest

from features.errors import Unavailable
from features.history import History
from features.moments import SECOND
from serving import pages, preview, wire
from serving.asking import note_questions
from serving.caps import Counts, Tally
from serving.erase import erase, erase_visitor
from serving.held import Wishes
from serving.http import HANDLERS
from serving.keeping import at_once, unless_refused
from serving.query import Query
from tests.test_serving.conftest import AS_OF, SHOP_TOML

TURNS = 20
ASKING = (
    SHOP_TOML
    + """
[quiet]
from = 00:00:00
until = 00:00:00
[questions.pet]
text = {en = "A pet?"}
why = {en = "For this page."}
gain = 2.0
[questions.garden]
text = {en = "A garden?"}
why = {en = "For this page."}
gain = 1.0
[actions.pet]
kind = "question"
question = "pet"
texts = [{title = "Hello"}]
[actions.garden]
kind = "question"
question = "garden"
texts = [{title = "Hello"}]
[pages.home]
slots = [{name = "top", modules = ["pet", "garden"]}]
[channels.app]
actions = ["pet", "garden"]
purpose = "personalization"
"""
)
ASKED = [
    ("/v1/pages", {"userId": "ann"}, ("ann", None)),
    ("/v1/pages", {"visitorId": "v"}, (None, "v")),
    ("/v1/actions", {"userId": "ann", "channel": "app"}, ("ann", None)),
]


@pytest.fixture
def engine(toy_shop, toy_engine):
    """The toy shop with two questions, of which `pet` is worth more."""
    toy_shop.config.write_text(ASKING)
    toy_engine.refresh()
    assert not toy_engine.refusals
    return toy_engine


def shown(engine, who) -> dict[str, int]:
    return engine.person_of(engine.live, *who, AS_OF + 1).shown


def questions(answer) -> list[str]:
    slots = answer.get("slots", [answer])
    return [slot["question"]["question"] for slot in slots if slot.get("question")]


async def asked(engine, path: str, body: dict, at: int = AS_OF) -> dict:
    status, answer = await HANDLERS[path][1](engine, orjson.dumps(body), at)
    assert status == 200
    return answer


@pytest.mark.parametrize(("path", "body", "who"), ASKED)
def test_everybody_else_is_answered_while_a_question_is_kept(engine, monkeypatch, path, body, who):
    """The disk is let go by the very loop that would stand still if it waited for the disk itself."""
    monkeypatch.setattr("serving.store._PAGE_SECONDS", 30.0)

    async def main(other: sqlite3.Connection) -> dict:
        answer = asyncio.ensure_future(asked(engine, path, body))
        for _ in range(TURNS):
            await asyncio.sleep(0.005)
        assert not answer.done()  # the next page is to find it on the screen
        other.execute("COMMIT")
        return await answer

    with closing(sqlite3.connect(engine.shop.store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert questions(asyncio.run(main(other))) == ["pet"]
    put = shown(engine, who)
    assert list(put) == ["pet"]
    assert questions(asyncio.run(asked(engine, path, body, AS_OF + SECOND))) == ["pet"]  # it is on the screen
    assert shown(engine, who) == put


def test_a_disk_that_hangs_holds_up_a_page_for_a_moment_and_its_question_is_put_again(engine, monkeypatch, caplog):
    """Never two questions in one session: nothing that the choice is made of has changed."""
    monkeypatch.setattr("serving.store._PAGE_SECONDS", 0.05)
    path, body, who = ASKED[0]

    async def main() -> list[str]:
        return [name for n in range(3) for name in questions(await asked(engine, path, body, AS_OF + n * SECOND))]

    with closing(sqlite3.connect(engine.shop.store, isolation_level=None)) as other, caplog.at_level(logging.WARNING):
        other.execute("BEGIN IMMEDIATE")
        assert asyncio.run(main()) == ["pet"] * 3
        other.execute("COMMIT")
    assert caplog.text.count("a question that was put is not remembered") == 3
    assert questions(asyncio.run(asked(engine, path, body, AS_OF + 3 * SECOND))) == ["pet"]
    assert set(shown(engine, who)) == {"pet"}


def test_a_question_is_put_also_while_the_store_refuses(engine, monkeypatch):
    """That it was put is not remembered then; the page is worth more."""

    async def full(wishes):
        raise Unavailable("the disk is full")

    monkeypatch.setattr(engine.store, "keep_at_once", full)
    for who in ({"visitor_id": "v"}, {"user_id": "ann"}):
        assert questions(pages.page(engine, wire.PageRequest(**who), AS_OF)) == ["pet"]
    assert shown(engine, ("ann", None)) == {}


def test_what_is_on_the_screen_and_what_nobody_sees_is_not_kept(engine, monkeypatch):
    kept, real = [], engine.store.keep_at_once

    async def counted(wishes):
        kept.append(wishes.questions)
        return await real(wishes)

    monkeypatch.setattr(engine.store, "keep_at_once", counted)
    request = wire.PageRequest(user_id="ann")
    assert questions(preview.look_at_page(engine, request, AS_OF).answer) == ["pet"]
    assert (kept, shown(engine, ("ann", None))) == ([], {})
    for n in range(2):
        pages.page(engine, request, AS_OF + n * SECOND)
    assert kept == [("pet",)]


@pytest.mark.parametrize("who", [("ann", None), (None, "v"), ("ann", "v")])
def test_what_is_put_is_kept_for_the_customer_or_the_visitor_unless_they_were_erased(engine, who):
    store, wishes = engine.store, Wishes(*who, "r", AS_OF, (), questions=("pet", "garden"))
    assert at_once(store.keep_at_once(wishes)).stored
    assert shown(engine, who) == {"pet": AS_OF, "garden": AS_OF}
    assert (store.read_visitor("v") is None) == (who[0] is not None)
    if who[0] is None:
        erase_visitor(engine.shop, store, "v", now=AS_OF)
    else:
        erase(engine.shop, store, "ann", now=AS_OF)
    assert not at_once(store.keep_at_once(wishes)).stored
    assert (store.read_customer("ann"), store.read_visitor("v")) == (None, None)


def test_a_store_that_has_just_refused_is_not_waited_for_again():
    """An answer waits for one flush or for none; who cannot be asked is not written."""

    async def never(wishes):
        raise AssertionError(wishes)

    counts = Counts({}, Tally([], {}), "app", None, AS_OF, known=True)
    assert unless_refused(never, None, counts) is never
    counts.again(None, closed=True)
    kept = unless_refused(never, None, counts)
    slots = [{"question": {"question": "pet"}}, {"question": None}, {}]
    at_once(note_questions(Query(AS_OF, History.empty(), "ann"), slots, "r", kept))
