"""Pages: what may not take a slot is vetoed with its reason before the decision; the holdout gets what all get."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import orjson
import pytest

from features.history import History
from features.moments import MINUTE
from serving import modules, pages, wire
from serving.candidates import Candidates, Opinion
from serving.events import StoredEvent
from serving.frames import frames
from serving.hydrate import hydrate
from serving.modules import Filled, build
from serving.occupied import shown
from serving.query import Context, Filter, Query
from serving.ranker import Ranker
from serving.settings.pages import Module
from serving.situation import Situation
from serving.slate import Slate
from serving.steps import finished
from tests.test_serving.grown import AGREED


@pytest.fixture
def page_of(toy_engine):
    def page(user: str | None = "ann", **more):
        request = wire.PageRequest(user_id=user, **more)
        return pages.page(toy_engine, request, toy_engine.clock.now())

    return page


def tell(engine, *events):
    now = engine.clock.now()
    rows = [
        StoredEvent(
            event_id=f"{user}-{n}", occurred_at=now - 10 + n, recorded_at=now, type=kind, customer_id=user, item_id=item
        )
        for n, (user, kind, item) in enumerate(events)
    ]
    assert set(engine.store.append_sync(rows)) == {"accepted"}


def records(engine):
    return [
        orjson.loads(payload)
        for path in engine.shop.decision_logs.iterdir()
        for _, _, payload in frames(path.read_bytes())
    ]


def test_a_stranger_gets_a_page_without_holes(page_of):
    """Modules that need a past are vetoed with their reason; what is popular is shown once."""
    page = page_of("stranger")
    assert [slot["actionId"] for slot in page["slots"] if slot["items"]] == ["popular"]
    assert page["greeting"]["text"] == "Welcome"


def test_vetoes_are_logged_with_reasons(page_of, toy_engine):
    tell(toy_engine, ("ann", "purchase", "b3"))
    page_of()
    first = next(each for each in records(toy_engine) if each["position"] == 0)
    assert ["wishlist", "too few items (0 of 1)"] in first["vetoed"]
    assert ["related", "too few items (0 of 3)"] in first["vetoed"]
    assert first["action_id"] == "for-you"
    assert first["eligible"] == [["for-you", 1.0]]
    taken = [each["action_id"] for each in records(toy_engine) if each["action_id"]]
    assert len(taken) == len(set(taken))


def test_a_shop_can_show_what_goes_with_the_running_session(toy_engine):
    """A module of kind `session`: the item in view and what follows it; nothing when the session is over."""
    module = Module("session", {"en": "Now"}, minimum=1)
    tell(toy_engine, ("ann", "view", "a0"))
    live, now = toy_engine.live, toy_engine.clock.now()
    query, _ = hydrate(toy_engine, live, wire.PageRequest(user_id="ann"), now)
    shown = finished(build(Situation(live, query), module, 1)).slate
    assert [live.bundle.items[row] for row in shown.items.tolist()][:2] == ["a0", "a1"]
    assert set(shown.sources) == {"session"}
    later = msgspec.structs.replace(query, now=now + 31 * MINUTE)
    assert not len(finished(build(Situation(live, later), module, 1)).slate.items)


def test_bought_items_are_not_new_for_you(page_of, toy_engine):
    tell(toy_engine, ("ann", "purchase", "b3"))
    slot = next(slot for slot in page_of()["slots"] if slot["actionId"] == "for-you")
    shown = [item["itemId"] for item in slot["items"]]
    assert set(shown[:3]) == {"b0", "b1", "b2"}
    assert "b3" not in shown


def test_a_purchase_closes_the_wish(page_of, toy_engine):
    tell(toy_engine, ("ann", "wishlist", "a2"), ("ann", "purchase", "a2"))
    assert "wishlist" not in [slot["actionId"] for slot in page_of()["slots"]]


def test_the_holdout_gets_what_all_get(toy_shop, toy_engine, page_of):
    """With everyone in the holdout a page reads nothing personal and says so in the log."""
    tell(toy_engine, ("ann", "purchase", "b3"))
    toy_shop.config.write_text(AGREED + "[shop]\nholdout = 0.5\n")
    toy_engine.refresh()
    who = next(name for name in (f"u{n}" for n in range(50)) if records_holdout(toy_engine, page_of, name))
    tell(toy_engine, *((who, "purchase", "b3") for _ in range(3)))
    page = page_of(who)
    assert [slot["actionId"] for slot in page["slots"] if slot["items"]] == ["popular"]
    assert page["slots"][-1]["items"] or page["slots"][0]["items"]


def records_holdout(engine, page_of, name) -> bool:
    page_of(name)
    return records(engine)[-1]["holdout"]


def test_a_broken_shop_file_is_refused_and_the_old_one_stays(toy_shop, toy_engine):
    before = toy_engine.live.config
    toy_shop.config.write_text(AGREED + "[shop]\nhold-out = 0.1\n")
    toy_engine.refresh()
    assert toy_engine.live.config is before
    assert "unknown field" in toy_engine.refusals["shop.toml"]
    toy_shop.config.write_text(AGREED + "[shop]\nholdout = 0.1\n")
    toy_engine.refresh()
    assert toy_engine.live.config.shop.holdout == 0.1
    assert "shop.toml" not in toy_engine.refusals


def test_japanese_words(toy_shop, toy_engine, page_of):
    toy_shop.config.write_text(AGREED + '[shop]\nlocale = "ja"\ncurrency = "JPY"\nholdout = 0.0\n')
    toy_engine.refresh()
    tell(toy_engine, ("ann", "purchase", "b3"))
    page = page_of()
    assert page["greeting"]["text"] == "おかえりなさいませ"
    assert any("Title b3" in item["reason"] for slot in page["slots"] for item in slot["items"])


def slate_of(name: str, *rows: int) -> Slate:
    """Items of one source, with rows of features."""
    read = np.zeros((len(rows), 3), np.float32)
    asked = Candidates.of_best({name: Opinion(np.array(sorted(rows), np.int32), np.ones(len(rows), np.float32))}, 9)
    return Slate(
        np.array(rows, np.int32), np.ones(len(rows), np.float32), (name,) * len(rows), asked, features=read
    )  # fmt: skip


def test_what_stands_further_down_in_a_module_is_ranked_when_it_is_asked_for():
    """An item keeps its first place and source; feature rows are of a slate's items, or there are none."""
    made: list[str] = []

    def parts() -> Iterator[Slate]:
        for name, rows in (("a", (4, 2)), ("b", (2, 7, 1)), ("c", ())):
            made.append(name)
            yield slate_of(name, *rows)

    module = Filled(Module("popular", {}), Query(0, History.empty()), parts())
    assert module.further() and made == ["a"]
    assert module.free({4}, None) == [2]
    assert module.further() and made == ["a", "b"]
    assert module.free({4}, None) == [2, 7, 1]
    assert module.free({4}, 2) == [2, 7]
    assert module.listed == {4: "a", 2: "a", 7: "b", 1: "b"}
    for _ in range(2):
        slate = module.slate
        assert made == ["a", "b", "c"] and not module.further()
        assert slate.items.tolist() == [4, 2, 7, 1] and slate.sources == ("a", "a", "b", "b")
        assert slate.scores.tolist() == [1, 1, 0, 0] and slate.considered.sources == ("a",)
        assert slate.features is None
    alone = Filled(Module("popular", {}), Query(0, History.empty()), iter([slate_of("a", 3)]))
    assert alone.slate.features is not None


def test_what_is_made_for_all_slots_at_once_is_what_each_would_get(page_of, toy_engine, monkeypatch):
    """Cards, reasons, hearts and rows of each slot's own items, whatever the others hold."""
    done = (("purchase", "b3"), ("wishlist", "a2"), ("wishlist", "b0"), ("view", "a0"))
    tell(toy_engine, *(("ann", kind, item) for kind, item in done))
    seen = []

    def spied(occasion, page):
        made = shown(occasion, page)
        seen.append((occasion, page, *made))
        return made

    monkeypatch.setattr(pages, "shown", spied)
    page_of()
    ((occasion, page, slots, decisions),) = seen
    related = {each.content.query.anchors for each in page if isinstance(each.content, Filled)}
    assert len(related) > 1, "no two modules relate to different items"
    for position, (each, slot, decision) in enumerate(zip(page, slots, decisions, strict=True)):
        (own,), (alone,) = shown(occasion, [each])
        assert slot | {"decisionId": ""} == own | {"decisionId": ""}
        assert decision.position == position and decision.items == alone.items
        assert decision.items == [item["itemId"] for item in slot["items"]]
        assert (decision.features is None) == (alone.features is None) == (not each.rows)
        if each.rows:
            assert np.array_equal(decision.features["rows"], alone.features["rows"], equal_nan=True)
    hearts = {item["itemId"]: item["wished"] for slot in slots for item in slot["items"]}
    assert {name for name, wished in hearts.items() if wished} == {"a2", "b0"} & hearts.keys() != set()


def test_what_is_popular_is_ranked_once_for_all_until_the_shelf_changes(toy_engine, monkeypatch):
    """Nobody sees what another one may not, nor what was there before."""
    live, now, asked, rank = toy_engine.live, toy_engine.clock.now(), [], Ranker.ranking
    shelf, category = live.ranker.shelf, live.bundle.shared.category

    def spied(self, query, voice=None, **more):
        asked.append(voice)
        return rank(self, query, voice, **more)

    def popular(user: str, **more) -> list[int]:
        query, _ = hydrate(toy_engine, live, wire.PageRequest(user_id=user), now)
        query = msgspec.structs.replace(query, **{"filter": Filter(), **more})
        return finished(build(Situation(live, query), Module("popular", {}), 1)).slate.items.tolist()

    monkeypatch.setattr(Ranker, "ranking", spied)
    query = msgspec.structs.replace(hydrate(toy_engine, live, wire.PageRequest(), now)[0], filter=Filter())
    finished(build(Situation(live, query), Module("popular", {}), 1))
    assert len(asked) == 1, "what stands further down was ranked before a slot asked for it"
    shelf.stop([])
    asked.clear()
    first = popular("ann")
    once = len(asked)
    assert once and popular("bob") == first and len(asked) == once
    barred = popular("cat", barred=(int(category[first[0]]),))
    assert barred == [row for row in first if category[row] != category[first[0]]]
    assert popular("cat", filter=Filter(exclude_items=(live.bundle.items[first[1]],))) == [first[0], *first[2:]]
    assert popular("dan") == first and len(asked) == 3 * once
    shelf.apply([])
    assert popular("ann") == first and len(asked) == 3 * once, "the shelf did not change"
    shelf.apply([(live.bundle.items[first[0]], {"withdraw": True})])
    assert popular("ann") == first[1:]
    shelf.stop([live.bundle.items[first[1]]])
    assert popular("ann") == first[2:]
    shelf.stop([])
    shelf.apply([(live.bundle.items[first[0]], {"withdraw": False})])
    assert popular("ann") == first


def test_what_is_remembered_makes_room_for_others(toy_engine, monkeypatch):
    """What is popular in one season must not keep out that of the next."""
    monkeypatch.setattr(modules, "_KEPT", 2)
    live, now = toy_engine.live, toy_engine.clock.now()
    query, _ = hydrate(toy_engine, live, wire.PageRequest(), now)
    for size in (1, 2, 3):
        asked = msgspec.structs.replace(query, filter=Filter(), num_results=size)
        found = finished(modules._common(live, asked, {"popularity": 1.0}))
        assert finished(modules._common(live, asked, {"popularity": 1.0})) is found
        assert len(live.ranker.shelf.kept) <= 2


def test_where_nothing_tells_what_is_popular_nobody_is_asked(toy_engine, monkeypatch):
    monkeypatch.setattr(modules, "_by_kind", lambda live, kind: {})
    monkeypatch.setattr(Ranker, "ranking", lambda *_, **__: pytest.fail("somebody was asked"))
    live, now = toy_engine.live, toy_engine.clock.now()
    asked = wire.PageRequest(context=Context(region="north"))
    query = msgspec.structs.replace(hydrate(toy_engine, live, asked, now)[0], filter=Filter())
    assert not len(finished(build(Situation(live, query), Module("popular", {}), 1)).slate.items)


@pytest.mark.parametrize("explain", [True, False])
def test_what_is_explained_is_ranked_before_anything_is_drawn(page_of, monkeypatch, explain):
    """A condition that takes too long is an error; nothing may be kept by then."""
    seen, deciding = [], pages.Plan.deciding

    def spied(plan):
        ranked = [each for each in plan.offered.contents.values() if isinstance(each, Filled)]
        seen.append([each.module.kind for each in ranked if each.further()])
        return deciding(plan)

    monkeypatch.setattr(pages.Plan, "deciding", spied)
    page_of(explain=explain)
    assert (seen[-1] == []) == explain


def test_a_page_ranks_by_no_voice_that_is_none(page_of, toy_engine, monkeypatch):
    """Without a look, a wish or an order nothing goes with it; what is explained shows the same items."""
    tell(toy_engine, ("ann", "purchase", "b3"))
    asked, rank = [], Ranker.ranking

    def spied(self, query, voice=None, **more):
        asked.append(voice)
        return rank(self, query, voice, **more)

    monkeypatch.setattr(Ranker, "ranking", spied)
    short = page_of()
    assert asked and all(asked)
    full = page_of(explain=True)
    assert [slot["items"] for slot in short["slots"]] == [slot["items"] for slot in full["slots"]]
