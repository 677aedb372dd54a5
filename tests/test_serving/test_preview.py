"""A preview shows what would come and leaves no trace; drafts and other bundles are looked at, never published."""

from __future__ import annotations

from pathlib import Path

import msgspec
import orjson
import pytest

from features.errors import ConfigError, NotFoundError
from features.moments import DAY, HOUR, format_instant
from serving import pages, wire
from serving.actions import next_action
from serving.bundle import write_bundle
from serving.drafts import MAX_DRAFT, read_draft
from serving.engine import Engine
from serving.events import StoredEvent
from serving.intake_people import take_orders
from serving.keeping import at_once
from serving.policy_files import write_policy
from serving.preview import KEPT_OPEN, Openings, Preview, look_at_action, look_at_page
from serving.query import Context
from serving.stops import add_stop
from serving.wire_people import OrdersRequest
from tests.test_serving.conftest import AS_OF, RECIPE, build_toy_bundle
from tests.test_serving.grown import AGREED, policy, records

NOW = AS_OF + 9 * HOUR
TOML = (
    AGREED
    + """
[shop]
holdout = 0.0
[actions.june]
kind = "content"
texts = [{title = "A day in June"}]
from = 2024-10-04
until = 2024-10-06
[pages.home]
slots = [
  {name = "top", modules = ["june", "viewed"], may-be-empty = true},
  {name = "drawn", modules = ["buy-again", "popular"], policy = "hero"},
  {name = "last", modules = ["popular"]},
]
[channels.email]
actions = ["june", "letter"]
policy = "letters"
purpose = "personalization"
"""
)


@pytest.fixture
def engine(toy_shop):
    write_policy(toy_shop.policies, policy("hero", {"buy-again": 0.2, "popular": 0.3}, floor=0.3))
    write_policy(toy_shop.policies, policy("letters", {"june": 0.1, "letter": 0.2}, floor=0.3))
    toy_shop.config.write_text(TOML)
    opened = Engine(toy_shop, worker="test")
    yield opened
    opened.close()


def bought(engine: Engine, at: int, item: str = "b3", user: str = "ann", kind: str = "purchase") -> None:
    event = StoredEvent(
        event_id=f"{user}-{at}-{item}", occurred_at=at, recorded_at=at, type=kind, customer_id=user, item_id=item
    )
    engine.store.append_sync([event])


def bytes_of(root: Path) -> dict[str, bytes]:
    """All files but the shared memory of the database, which readers touch."""
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file() and path.suffix != ".db-shm"
            and not path.name.endswith("-shm")}  # fmt: skip


def ask(user: str = "ann", **more: object) -> wire.PageRequest:
    return wire.PageRequest(user_id=user, explain=True, **more)  # type: ignore[arg-type]


def test_a_look_leaves_no_trace(engine, toy_shop) -> None:
    bought(engine, AS_OF)
    before, live = bytes_of(toy_shop.root), engine.live
    for user in ("ann", "bob", "cleo"):
        for days in (-3, 0, 5):
            look = look_at_page(engine, ask(user), NOW + days * DAY)
            assert len(look.decisions) == len(look.answer["slots"])
            look_at_action(engine, wire.ActionRequest(channel="email", user_id=user), NOW + days * DAY)
    assert bytes_of(toy_shop.root) == before
    assert records(engine) == []
    assert engine.store.held_of("ann", None) == {}
    assert engine.live is live


def test_a_look_shows_what_then_comes(engine) -> None:
    """Draws, items and words: the same code decides."""
    bought(engine, AS_OF)
    people = ["ann", *(f"p{n}" for n in range(12))]
    looks = [look_at_page(engine, ask(user), NOW).answer for user in people]
    mails = [look_at_action(engine, wire.ActionRequest(channel="email", user_id=user), NOW).answer for user in people]
    for user, look, mail in zip(people, looks, mails, strict=True):
        page = pages.page(engine, ask(user), NOW)
        told = [(slot["slot"], slot["actionId"], [item["itemId"] for item in slot["items"]]) for slot in page["slots"]]
        seen = [(slot["slot"], slot["actionId"], [item["itemId"] for item in slot["items"]]) for slot in look["slots"]]
        assert told == seen
        request = wire.ActionRequest(channel="email", user_id=user)
        sent = at_once(next_action(engine, request, NOW, engine.store.keep_at_once))
        assert (sent["decision"], sent["actionId"]) == (mail["decision"], mail["actionId"])
    assert len({slot["actionId"] for look in looks for slot in look["slots"]}) > 2, "they are not all alike"


def test_another_moment(engine) -> None:
    """Later events are not seen in the past; dates, epochs and stages follow into the future."""
    bought(engine, AS_OF)
    bought(engine, AS_OF + 2 * DAY, "a1")
    past, later = look_at_page(engine, ask(), AS_OF + DAY), look_at_page(engine, ask(), AS_OF + 3 * DAY)
    assert past.now == AS_OF + DAY
    assert past.answer["slots"][0]["actionId"] == "june", "the action is on on the 4th and the 5th"
    shown = [item["itemId"] for slot in past.answer["slots"] for item in slot["items"]]
    assert "a1" not in shown or past.answer["slots"][1]["actionId"] != "buy-again"
    assert later.answer["slots"][0]["actionId"] != "june"
    stages = [
        look_at_page(engine, ask(), AS_OF + days * DAY).answer["explain"]["situation"]["stage"]
        for days in (-1, 3, 2_000)
    ]
    assert stages[0] == "awareness"
    assert len(set(stages)) == 3, stages
    drawn = {look_at_page(engine, ask("bob"), NOW + day * DAY).decisions[1]["action_id"] for day in range(12)}
    assert len(drawn) > 1, "each day is drawn anew"


def test_an_order_is_awaited_and_then_late(toy_shop) -> None:
    """What the page tells of an order follows the moment: nothing before it, on its way, late, and help then leads."""
    toy_shop.config.write_text(
        AGREED
        + """
[actions.order]
kind = "status"
texts = [{title = "Your order"}]
[actions.help]
kind = "tip"
texts = [{title = "We are sorry that it takes longer"}]
when = {late = true}
[pages.home]
slots = [{name = "first", modules = ["help", "order", "popular"]}, {name = "second", modules = ["order", "popular"]}]
"""
    )
    engine = Engine(toy_shop, worker="test")
    report = {"orderId": "o", "userId": "ann", "itemId": "a0", "orderedAt": format_instant(AS_OF),
              "promisedAt": format_instant(AS_OF + 5 * DAY), "shipmentState": "shipped",
              "at": format_instant(AS_OF + HOUR)}  # fmt: skip
    take_orders(engine, wire.decode(orjson.dumps({"orders": [report]}), OrdersRequest), AS_OF + DAY)

    def seen(at: int) -> tuple[list[str | None], str]:
        answer = look_at_page(engine, ask(), at).answer
        return [slot["actionId"] for slot in answer["slots"]], answer["explain"]["situation"]["stage"]

    assert seen(AS_OF - DAY)[0][0] == "popular"
    assert seen(AS_OF + 2 * DAY) == (["order", "popular"], "waiting")
    assert seen(AS_OF + 9 * DAY) == (["help", "order"], "waiting")
    [order] = look_at_page(engine, ask(), AS_OF + 9 * DAY).answer["slots"][1]["orders"]
    assert order["late"]
    assert pages.page(engine, ask(), AS_OF + 2 * DAY)["slots"][0]["actionId"] == "order", "as it was shown"
    engine.close()


def test_a_draft(engine, toy_shop) -> None:
    draft = TOML.replace('["june", "viewed"]', '["popular"]')
    opening = Openings(engine)
    live = opening.live(read_draft(draft))
    look, now = look_at_page(engine, ask(), NOW, live), look_at_page(engine, ask(), NOW)
    assert look.answer["slots"][0]["actionId"] == "popular"
    assert now.answer["slots"][0]["actionId"] == "june"
    assert look.decisions[0]["shop_hash"] == live.config.hash != engine.live.config.hash
    assert toy_shop.config.read_text() == TOML
    boosted = opening.live(read_draft(draft + '[[selection.boosts]]\nitem-id = "b2"\nfactor = 9.0\n'))
    assert boosted.ranker.business is not None
    assert engine.live.ranker.business is None
    with pytest.raises(ConfigError, match="no such policy"):
        opening.live(read_draft(TOML.replace('policy = "hero"', 'policy = "hreo"')))


def test_another_bundle_with_what_the_shop_changed_since(engine, toy_shop) -> None:
    recipe = msgspec.structs.replace(RECIPE, weights={"popularity": 1.0})
    for number in range(2, 7):
        write_bundle(toy_shop.bundles / f"toy-{number}", build_toy_bundle(f"toy-{number}", recipe))
    (toy_shop.bundles / ".draft-1").mkdir()
    opening = Openings(engine)
    assert opening.names() == ["toy-1", "toy-6", "toy-5", "toy-4", "toy-3", "toy-2"]
    for name in opening.names():
        assert look_at_page(engine, ask(), NOW, opening.live(bundle=name)).answer["bundleId"] == name
    assert len(opening._bundles) == KEPT_OPEN
    assert opening.live(bundle="toy-1").ranker is engine.live.ranker

    def shown(name: str) -> set[str]:
        answer = look_at_page(engine, ask("bob"), NOW, opening.live(bundle=name)).answer
        return {item["itemId"] for slot in answer["slots"] for item in slot["items"]}

    assert {"a0", "a1"} <= shown("toy-2")
    engine.store.put_items([("a0", {"withdraw": True})], NOW)
    add_stop(engine.store, "item", "a1", because="recall", who="ann", now=NOW)
    engine.refresh()
    assert not {"a0", "a1"} & shown("toy-2")
    with pytest.raises(NotFoundError):
        opening.live(bundle="../toy-2")


def test_a_preview_shares_and_closes_nothing(engine) -> None:
    preview = Preview(engine)
    assert preview.store is engine.store
    preview.close()
    assert not preview.refresh()
    assert pages.page(engine, ask(), NOW)["slots"]


def test_a_look_spends_no_cap(toy_shop) -> None:
    """However often it is looked at, what is left stays for whom it is meant; then looks show that it is used."""
    limited = TOML.replace("from = 2024-10-04\n", "from = 2024-10-04\ncaps = {ever = 1}\ncapacity = 2\n")
    toy_shop.config.write_text(limited.replace(', policy = "hero"', "").replace('policy = "letters"\n', ""))
    engine = Engine(toy_shop, worker="test")
    before = bytes_of(toy_shop.root)
    for user in ("ann", "bob", "cleo", "dan"):
        for session in ("one", "two"):
            look = look_at_page(engine, ask(user, session_id=session), NOW)
            assert look.answer["slots"][0]["actionId"] == "june"
    assert bytes_of(toy_shop.root) == before
    assert pages.page(engine, ask("ann", session_id="one"), NOW)["slots"][0]["actionId"] == "june"
    later = look_at_page(engine, ask("ann", session_id="two"), NOW + HOUR)
    assert later.answer["slots"][0]["actionId"] is None, "once ever"
    assert pages.page(engine, ask("bob", session_id="one"), NOW)["slots"][0]["actionId"] == "june"
    full = look_at_page(engine, ask("cleo", session_id="one"), NOW)
    assert full.answer["slots"][0]["actionId"] is None, "two people have it"
    engine.close()


def test_context_of_a_visitor(engine) -> None:
    context = Context(
        region="north", user_agent="Mozilla/5.0 (Linux; Android 14) Mobile", url="https://s.test/?gclid=1"
    )
    request = wire.PageRequest(visitor_id="v", context=context, explain=True)
    look = look_at_page(engine, request, NOW)
    assert look.answer["explain"]["situation"]["region"] == "north"
    assert look.decisions[1]["features"]["names"]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("[shop]\nname = \"x\nlocale = 'en'", 2, "TOML"),
        ('[shop]\nname = "x"\nlocal = "en"\n', 3, 'did you mean "locale"'),
        ('[shop]\nname = "x"\n\nholdout = 0.9\n', 4, "share"),
        ('[shop]\nlocale = "fr"\n', 2, "enum"),
        ('[pages.home]\nslots = [\n  {name = "a", modules = ["popular"]},\n  {name = "b", modules = ["poplar"]}]\n', 4,
         'mean "popular"'),
        ('[actions.a]\nkind = "tip"\ntexts = [{title = "x"}]\n[actions.b]\nkind = "tipp"\ntexts = [{title = "y"}]\n', 5,
         "enum"),
        ('[segments.s]\nmonths = [1]\n[segments.t]\nsegments = ["s"]\n', 3, "segment of segments"),
        ('[[selection.boosts]]\nbrand = "A"\nfactor = 2.0\n[[selection.boosts]]\nfactor = 3.0\n', 4, "one thing"),
        ('[pages.home]\nslots = [{nmae = "a", modules = ["popular"]}]\n', 2, 'mean "name"'),
        ("[consent]\nassumed = [\"personalization\"]\n", 1, "without a basis"),
    ],
)  # fmt: skip
def test_errors_of_a_draft_have_a_line(text, line, what) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        read_draft(text)
    assert caught.value.where.startswith(f"line {line}"), caught.value.line()
    assert "''" not in caught.value.line()


def test_drafts_that_are_none() -> None:
    with pytest.raises(ConfigError, match="too long"):
        read_draft("#" * (MAX_DRAFT + 1))
    assert read_draft("").shop.name
