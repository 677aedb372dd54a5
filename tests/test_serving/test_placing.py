"""Pins, quotas, burials and audiences: from `shop.toml` to lists, pages, explanations and the log."""

from __future__ import annotations

import hashlib
from datetime import date

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError
from features.history import History
from features.moments import DAY
from serving import ops
from serving.business import Business
from serving.checks.finding import Look
from serving.checks.paths import names
from serving.checks.rules import boosts as rules
from serving.checks.usage import never_shown, unused
from serving.config import ShopConfig, read_config
from serving.hydrate import addressed
from serving.query import Filter, Query
from serving.ranker import Ranker
from serving.settings.selection import Boost, Pin, Quota, SelectionSettings
from serving.settings.when import When
from tests.test_serving.conftest import AS_OF, ITEMS, build_history, build_toy_bundle
from tests.test_serving.grown import AGREED, records

HEAD = AGREED + "[shop]\nholdout = 0.0\n"
HOME = """[pages.home]
slots = [{name = "top", modules = ["hello"], may-be-empty = true}, {name = "one", modules = ["popular"]},
  {name = "two", modules = ["more"]}]
[modules.more]
kind = "popular"
title = {en = "More"}
minimum = 1
size = 3
[modules.popular]
kind = "popular"
title = {en = "Popular"}
minimum = 1
size = 3
[actions.hello]
kind = "content"
texts = [{title = "Hello"}]
[actions.sale]
kind = "content"
texts = [{title = "Sale"}]
"""
PIN = "[[selection.pins]]\n"
QUOTA = "[[selection.quotas]]\n"


def ranked(settings: SelectionSettings, *events, shelf=(), **more) -> tuple[list[str], Ranker, object]:
    bundle = build_toy_bundle()
    ranker = Ranker(bundle, business=Business(bundle, settings, "UTC"))
    ranker.shelf.apply(shelf)
    asked = Query(now=AS_OF, history=build_history(*events) if events else History.empty(), **more)
    slate = ranker.rank(asked)
    return [ITEMS[row] for row in slate.items.tolist()], ranker, slate


class TestLists:
    """`/v1/recommendations`, without a service around it. A stranger's list is a0 a1 ... b3."""

    def test_a_pin_stands_where_it_should(self) -> None:
        """From further down, from nowhere, and behind the end."""
        for position, listed in ((1, "b3 a0 a1 a2"), (3, "a0 a1 b3 a2"), (9, "a0 a1 a2 b3")):
            items, _, slate = ranked(SelectionSettings(pins=(Pin(item_id="b3", position=position),)), num_results=4)
            assert " ".join(items) == listed
            assert slate.sources[items.index("b3")] == "pin"
            assert slate.filled == 3, "what is pinned does not fill"
        items, _, slate = ranked(
            SelectionSettings(pins=(Pin(item_id="b3", position=2),)), ("purchase", "a0", 2.0), num_results=4
        )
        assert items[:2] == ["a0", "b3"]
        assert slate.scores[1] == 0, "no source of this list knows it"

    @pytest.mark.parametrize(
        ("change", "more", "why"),
        [
            ({"withdraw": True}, {}, "withdrawn"),
            ({"inStock": False}, {}, "out-of-stock"),
            ({}, {"filter": Filter(exclude_items=("b3",))}, "excluded"),
            ({}, {"filter": Filter(where="price < 4")}, "does-not-match"),
            ({}, {"barred": (1,)}, "bought-lately"),
        ],
    )
    def test_what_may_not_be_shown_is_not_pinned_either(self, change, more, why) -> None:
        settings = SelectionSettings(pins=(Pin(item_id="b3"),))
        items, _, slate = ranked(settings, shelf=[("b3", change)] if change else (), num_results=3, **more)
        assert items == ["a0", "a1", "a2"]
        assert slate.placed.pins == ({"itemId": "b3", "position": 1, "shown": False, "reason": why},)

    def test_pins_that_cannot_all_stand_say_so(self) -> None:
        pins = (Pin(item_id="b3"), Pin(item_id="b3", position=2), Pin(item_id="b2"), Pin(item_id="nothing"))
        items, _, slate = ranked(SelectionSettings(pins=pins), num_results=3)
        assert items == ["b3", "a0", "a1"]
        reasons = [told["reason"] for told in slate.placed.pins]
        assert reasons == [
            None, "pinned to another place already", "another pin has this place", "the bundle does not know it",
        ]  # fmt: skip

    def test_quotas_choose_from_what_was_gathered(self) -> None:
        """Two of group B among the first four, no more than one of group A among the first two."""
        quotas = (Quota(4, at_least=2, category="Group > B"), Quota(2, at_most=1, category="Group > A"))
        items, _, slate = ranked(SelectionSettings(quotas=quotas), num_results=5)
        assert items == ["a0", "b0", "a1", "b1", "a2"]
        assert [told["met"] for told in slate.placed.quotas] == [True, True]

    def test_a_quota_that_cannot_be_met_says_so(self) -> None:
        quota = Quota(4, at_least=4, item_ids=("b0", "b1", "b2"))
        items, _, slate = ranked(SelectionSettings(quotas=(quota,)), shelf=[("b1", {"inStock": False})], num_results=4)
        assert items == ["a0", "a1", "b0", "b2"]
        (told,) = slate.placed.quotas
        assert (told["quota"], told["met"], told["missing"]) == (
            "first 4: at least 4 of item-ids b0, b1, b2", False, 2,
        )  # fmt: skip

    def test_related_items_and_named_voices_are_kept(self) -> None:
        """`Goes with ...` is a promise."""
        settings = SelectionSettings(pins=(Pin(item_id="b3"),), quotas=(Quota(1, at_most=0, item_ids=("a1",)),))
        bundle = build_toy_bundle()
        asked = Query(now=AS_OF, history=History.empty(), num_results=3, anchors=(0,))
        for voice in ({"item-item": 1.0}, {"popularity": 1.0}):
            plain = Ranker(bundle).rank(asked, voice)
            wishing = Ranker(bundle, business=Business(bundle, settings, "UTC")).rank(asked, voice)
            assert plain.items.tolist() == wishing.items.tolist()

    def test_a_burial_is_shown_nowhere(self) -> None:
        settings = SelectionSettings(boosts=(Boost(0.0, category="Group > A"), Boost(50.0, item_id="a0")))
        items, ranker, _ = ranked(settings, ("purchase", "a0", 2.0), num_results=8)
        assert items == ["b0", "b1", "b2", "b3"]
        asked = Query(now=AS_OF, history=build_history(("purchase", "a0", 2.0)), num_results=8)
        assert not len(ranker.rank(asked, {"personal-frequency": 1.0}, filled=False).items)
        assert ranker.why_gone(asked, 0) == "buried"
        last = ranker.rank_given(asked, np.array([0, 4], np.int32))
        assert last.items.tolist() == [4], "in a list of the shop's own it comes last"

    def test_days_and_audiences(self) -> None:
        """Each wish holds on its days, for those whose query says that they belong to it."""
        day = date(2024, 10, 4)  # AS_OF
        gold = When(tiers=("gold",))
        settings = SelectionSettings(
            boosts=(Boost(9.0, item_id="b0", when=gold), Boost(0.0, item_id="a1")),
            pins=(Pin(item_id="b3", from_=day, when=gold), Pin(item_id="b2", position=2, until=day)),
            quotas=(Quota(2, at_least=1, item_ids=("b1",), from_=day),),
        )
        business = Business(build_toy_bundle(), settings, "UTC")
        assert business.audiences == (gold, gold)

        def listed(now: int, *fits: int) -> str:
            asked = Query(now=now, history=History.empty(), num_results=4, fits=frozenset(fits))
            slate = Ranker(build_toy_bundle(), business=business).rank(asked)
            return " ".join(ITEMS[row] for row in slate.items.tolist())

        assert listed(AS_OF - 1) == "a0 b2 a2 a3"
        assert listed(AS_OF) == "a0 b1 a2 a3"
        assert listed(AS_OF, 0) == "b0 b1 a0 a2"
        assert listed(AS_OF, 1) == "b3 b1 a0 a2"

    @given(
        st.lists(st.tuples(st.sampled_from(ITEMS), st.integers(1, 12)), max_size=3),
        st.lists(
            st.tuples(st.sets(st.sampled_from(ITEMS), min_size=1), st.integers(1, 9), st.integers(0, 9)), max_size=2
        ),
        st.integers(1, 9),
        st.lists(st.sampled_from(ITEMS), max_size=4),
        st.booleans(),
    )  # fmt: skip
    def test_nothing_is_doubled_lost_or_brought_back(self, pins, quotas, num, gone, known) -> None:
        """Whatever is pinned and counted: distinct, allowed, at most `num`, and full where no `at most` forbids it."""
        wanted = SelectionSettings(
            pins=tuple(Pin(item_id=item, position=at) for item, at in pins),
            quotas=tuple(
                Quota(first, at_most=most, at_least=min(1, most, first), item_ids=tuple(some))
                for some, first, most in quotas
            ),
        )
        events = (("purchase", "a1", 3.0), ("view", "b1", 1.0)) if known else ()
        items, _, slate = ranked(wanted, *events, shelf=[(each, {"inStock": False}) for each in gone], num_results=num)
        assert len(set(items)) == len(items) <= num
        assert not set(items) & set(gone)
        assert len(slate.sources) == len(slate.scores) == len(items)
        for some, first, most in quotas:
            assert len(some & set(items[:first])) <= most
        if not quotas:
            assert len(items) == min(num, len(set(ITEMS) - set(gone)))
        told = slate.placed.pins if slate.placed else ()
        fixed = [item for item, source in zip(items, slate.sources, strict=True) if source == "pin"]
        assert sorted(fixed) == sorted(each["itemId"] for each in told if each["shown"])
        assert all(bool(each["reason"]) != each["shown"] for each in told)


class TestAudiences:
    """Who belongs to which."""

    def live(self, engine, shop, text: str):
        shop.config.write_text(HEAD + text)
        assert engine.refresh(), engine.refusals
        return engine.live

    def test_the_subject_s_situation_decides_and_what_was_read_is_told(self, toy_engine, toy_shop) -> None:
        live = self.live(toy_engine, toy_shop, f'{PIN}item-id = "b3"\nwhen = {{if = "orders > 0"}}\n')
        bought = Query(now=AS_OF, history=build_history(("purchase", "a0", 1.0)), user_id="ann")
        found = addressed(live, bought, holdout=False)
        assert (found.fits, found.asked) == (frozenset({0}), frozenset({"own events"}))
        assert addressed(live, bought, holdout=True) is bought
        stranger = Query(now=AS_OF, history=History.empty())
        assert addressed(live, stranger, holdout=False).fits == frozenset()

    def test_without_audiences_nobody_is_looked_at(self, toy_engine, toy_shop) -> None:
        live = self.live(toy_engine, toy_shop, f'{PIN}item-id = "b3"\n')
        asked = Query(now=AS_OF, history=History.empty())
        assert addressed(live, asked, holdout=False) is asked

    def test_the_holdout_gets_what_is_the_same_for_all(self, toy_shop, toy_engine, client) -> None:
        """A pin for all stands in its list too; one with an audience does not, though the audience is everybody."""
        toy_shop.config.write_text(
            AGREED + f'[shop]\nholdout = 0.5\n{PIN}item-id = "b3"\n{PIN}item-id = "b2"\nposition = 2\n'
            'when = {if = "orders >= 0"}\n'
        )
        assert toy_engine.refresh(), toy_engine.refusals
        lists = set()
        for n in range(12):
            answer = client.post("/v1/recommendations", json={"userId": f"u{n}", "numResults": 3}).json()
            lists.add(" ".join(item["itemId"] for item in answer["itemList"]))
        assert lists == {"b3 b2 a0", "b3 a0 a1"}
        held = {each["holdout"]: each["items"] for each in records(toy_engine)}
        assert held == {True: ["b3", "a0", "a1"], False: ["b3", "b2", "a0"]}


class TestPages:
    """Slots and modules, over HTTP. Without wishes: hello; a0 a1 a2; a3 b0 b1."""

    def page(self, client, engine, shop, text: str, **more):
        shop.config.write_text(HEAD + HOME + text)
        assert engine.refresh() or not engine.refusals, engine.refusals
        body = {"visitorId": "v", "page": "home", "explain": True, **more}
        answer = client.post("/v1/pages", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def shown(self, page) -> list[str]:
        return [" ".join(item["itemId"] for item in slot["items"]) or slot["actionId"] for slot in page["slots"]]

    def test_without_wishes(self, toy_engine, toy_shop, client) -> None:
        page = self.page(client, toy_engine, toy_shop, "")
        assert self.shown(page) == ["hello", "a0 a1 a2", "a3 b0 b1"]
        assert page["explain"]["pins"] == page["explain"]["quotas"] == []

    def test_an_item_is_pinned_inside_a_slot_and_stands_nowhere_else(self, toy_engine, toy_shop, client) -> None:
        """a1 is kept for the second row; the card and the log say that a pin put it there."""
        text = f'{PIN}item-id = "a1"\npage = "home"\nslot = "two"\nposition = 2\n'
        page = self.page(client, toy_engine, toy_shop, text)
        assert self.shown(page) == ["hello", "a0 a2 a3", "b0 a1 b1"]
        card = page["slots"][2]["items"][1]
        assert (card["source"], card["reason"]) == ("pin", "Chosen by the shop")
        (told,) = page["explain"]["pins"]
        assert told == {
            "itemId": "a1", "position": 2, "page": "home", "slot": "two", "shown": True, "reason": None,
        }  # fmt: skip
        logged = {each["slot"]: each for each in records(toy_engine)}
        assert logged["two"]["features"]["pinned"] == ["a1"]
        assert logged["two"]["policy"] == "first-fillable", "the module was chosen as always"
        assert "pinned" not in logged["one"]["features"]

    def test_an_action_takes_a_slot(self, toy_engine, toy_shop, client) -> None:
        text = f'{PIN}action = "sale"\npage = "home"\nslot = "one"\n'
        page = self.page(client, toy_engine, toy_shop, text)
        assert self.shown(page) == ["hello", "sale", "a0 a1 a2"]
        logged = {each["slot"]: each for each in records(toy_engine)}
        assert (logged["one"]["policy"], logged["one"]["drawn"], logged["one"]["eligible"]) == (
            "pin", False, [["sale", 1.0]],
        )  # fmt: skip

    def test_an_action_that_is_not_for_the_subject_is_not_pinned(self, toy_engine, toy_shop, client) -> None:
        sale = '[actions.gold]\nkind = "content"\ntexts = [{title = "Gold"}]\nwhen = {tiers = ["gold"]}\n'
        text = f'{sale}{PIN}action = "gold"\npage = "home"\nslot = "one"\n'
        page = self.page(client, toy_engine, toy_shop, text)
        assert self.shown(page)[1] == "a0 a1 a2"
        assert page["explain"]["pins"][0]["reason"] == "tier is unknown"

    def test_what_is_pinned_below_does_not_stand_above(self, toy_engine, toy_shop, client) -> None:
        text = f'{PIN}action = "popular"\npage = "home"\nslot = "two"\n'
        page = self.page(client, toy_engine, toy_shop, text)
        assert [slot["actionId"] for slot in page["slots"]] == ["hello", None, "popular"]

    def test_an_item_in_a_slot_without_items_says_so(self, toy_engine, toy_shop, client) -> None:
        text = f'{PIN}item-id = "a0"\npage = "home"\nslot = "top"\n'
        page = self.page(client, toy_engine, toy_shop, text)
        assert self.shown(page) == ["hello", "a0 a1 a2", "a3 b0 b1"]
        assert page["explain"]["pins"][0]["reason"] == "its slot does not hold items"

    def test_a_stopped_item_is_not_pinned(self, toy_engine, toy_shop, client) -> None:
        stop = {"add": {"kind": "item", "name": "a1", "because": "recalled"}}
        assert client.post("/v1/stops", json=stop).status_code == 200
        page = self.page(client, toy_engine, toy_shop, f'{PIN}item-id = "a1"\npage = "home"\nslot = "two"\n')
        assert page["explain"]["pins"][0]["reason"] == "stopped"
        assert "a1" not in " ".join(self.shown(page))

    def test_a_quota_of_a_module(self, toy_engine, toy_shop, client) -> None:
        text = f'{QUOTA}module = "popular"\nfirst = 2\nat-least = 1\ncategory = "Group > B"\n'
        page = self.page(client, toy_engine, toy_shop, text)
        assert self.shown(page) == ["hello", "a0 b0 a1", "a2 a3 b1"]
        (told,) = page["explain"]["quotas"]
        assert (told["slot"], told["module"], told["met"]) == ("one", "popular", True)

    def test_the_page_s_own_limit_holds_for_pins_too(self, toy_engine, toy_shop, client) -> None:
        """Two of a category on the whole page: a0 and a1 use group A up, so a2 cannot be pinned below them."""
        limited = HOME.replace("[pages.home]\n", "[pages.home]\nper-category = 2\n")
        pin = f'{PIN}item-id = "a2"\npage = "home"\nslot = "two"\n'
        toy_shop.config.write_text(HEAD + limited + pin)
        assert toy_engine.refresh(), toy_engine.refusals
        page = client.post("/v1/pages", json={"visitorId": "v", "explain": True}).json()
        assert self.shown(page) == ["hello", "a0 a1 b0", "b1"]
        assert page["explain"]["pins"][0]["reason"] == "another rule leaves it no place"

    def test_an_audience_of_a_page(self, toy_engine, toy_shop, client) -> None:
        text = f'{PIN}item-id = "b3"\npage = "home"\nslot = "one"\nwhen = {{devices = ["phone"]}}\n'
        assert self.shown(self.page(client, toy_engine, toy_shop, text))[1] == "a0 a1 a2"
        phone = self.page(client, toy_engine, toy_shop, text, context={"device": "phone"})
        assert self.shown(phone)[1] == "b3 a0 a1"


class TestService:
    """Lists over HTTP."""

    def test_a_pinned_list_is_logged_as_such(self, toy_engine, toy_shop, client) -> None:
        """No draw of the ranker: `pin` decided it, and it names what it put there."""
        toy_shop.config.write_text(
            f'{HEAD}{PIN}item-id = "b3"\nposition = 2\n{QUOTA}first = 1\nat-most = 0\nitem-ids = ["a0"]\n'
        )
        assert toy_engine.refresh(), toy_engine.refusals
        answer = client.post("/v1/recommendations", json={"visitorId": "v", "numResults": 3, "explain": True}).json()
        assert [(item["itemId"], item["source"]) for item in answer["itemList"]] == [
            ("a1", "popularity"), ("b3", "pin"), ("a0", "popularity"),
        ]  # fmt: skip
        assert answer["explain"]["pins"][0]["shown"]
        assert answer["explain"]["quotas"][0]["quota"] == "first 1: at most 0 of item-ids a0"
        (logged,) = records(toy_engine)
        assert (logged["policy"], logged["drawn"], logged["features"]["pinned"]) == ("pin", False, ["b3"])

    def test_a_pin_that_cannot_stand_leaves_the_list_the_ranker_s(self, toy_engine, toy_shop, client) -> None:
        toy_shop.config.write_text(f'{HEAD}{PIN}item-id = "nothing"\n')
        assert toy_engine.refresh(), toy_engine.refusals
        client.post("/v1/recommendations", json={"visitorId": "v", "numResults": 3})
        (logged,) = records(toy_engine)
        assert (logged["policy"], logged["drawn"]) == ("blend", True)
        assert "pinned" not in logged["features"]
        found = {check.name: check for check in ops.doctor(toy_shop)}["selection"]
        assert (found.verdict, 'item-id "nothing"' in found.detail) == ("warn", True)

    def test_the_selector_s_trace_follows_its_items(self, toy_engine, toy_shop, client) -> None:
        boost = '[[selection.boosts]]\nitem-id = "b2"\nfactor = 50.0\n'
        toy_shop.config.write_text(f'{HEAD}{boost}{PIN}item-id = "a3"\n')
        assert toy_engine.refresh(), toy_engine.refusals
        answer = client.post("/v1/recommendations", json={"visitorId": "v", "numResults": 3, "explain": True}).json()
        told = [(one["itemId"], one["placeBefore"], one["boost"]) for one in answer["explain"]["selection"]]
        assert told == [("a3", None, 1.0), ("b2", 7, 50.0), ("a0", 1, 1.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PIN, "exactly one of item-id and action"),
        (f'{PIN}item-id = "a"\naction = "sale"\npage = "home"\nslot = "one"', "exactly one of"),
        (f'{PIN}item-id = "a"\npage = "home"', "a page without its slot"),
        (f'{PIN}item-id = "a"\npage = "hmoe"\nslot = "one"', 'did you mean "home"?'),
        (f'{PIN}item-id = "a"\npage = "home"\nslot = "oen"', 'did you mean "one"?'),
        (f'{PIN}item-id = "a"\nposition = 0', ">= 1"),
        (f'{PIN}action = "sale"', "pinned to a slot"),
        (f'{PIN}action = "slae"\npage = "home"\nslot = "one"', 'did you mean "sale"?'),
        (f'{PIN}action = "sale"\npage = "home"\nslot = "one"\nposition = 2', "a whole slot"),
        (f'{PIN}item-id = "a"\nfrom = 2026-12-01\nuntil = 2026-12-01', "a pin that ends before it begins"),
        (f'{PIN}item-id = "a"\nwhen = {{segments = ["vip"]}}', "no such segment"),
        (f'{PIN}item-id = "a"\nwhen = {{if = "prise < 3"}}', "no such name: prise"),
        (f'{PIN}item-id = "a"\nposision = 2', 'did you mean "position"?'),
        (f'{QUOTA}first = 3\nat-least = 1', "exactly one of category, brand and item-ids"),
        (f'{QUOTA}first = 3\nbrand = "A"', "asks for nothing"),
        (f'{QUOTA}first = 3\nbrand = "A"\nat-least = 4', "more than"),
        (f'{QUOTA}first = 3\nbrand = "A"\nat-least = 2\nat-most = 1', "more than"),
        (f'{QUOTA}first = 3\nbrand = "A"\nat-least = 1\nmodule = "mroe"', 'did you mean "more"?'),
        (f'{QUOTA}brand = "A"\nat-least = 1', "first"),
        ('[[selection.boosts]]\nbrand = "A"\nfactor = 2.0\nwhen = {tiers = ["x"], questions = []}', "unknown field"),
    ],
)  # fmt: skip
def test_mistakes_are_named(text, said) -> None:
    with pytest.raises(ConfigError, match=r"shop\.toml") as caught:
        read_config(HOME + text + "\n", "shop.toml")
    assert said in caught.value.line(), caught.value.line()


def test_a_file_without_these_tables_keeps_its_hash() -> None:
    """Told as it was before there were pins, quotas and audiences: nothing of them stands in what is hashed."""
    plain = SelectionSettings(boosts=(Boost(2.0, brand="x"),))
    boost = {"factor": 2.0, "category": None, "brand": "x", "item-id": None, "from": None, "until": None}
    for config, boosts in ((ShopConfig(), []), (ShopConfig(selection=plain), [boost])):
        told = msgspec.to_builtins(config, order="deterministic")
        told["selection"] = {"objective": "relevance", "strength": 1.0, "boosts": boosts}
        del told["sequences"], told["access"]  # younger than this too
        assert config.hash == hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:12]
    assert ShopConfig(selection=plain).hash != ShopConfig().hash
    assert ShopConfig(selection=SelectionSettings(pins=(Pin(item_id="a"),))).hash != ShopConfig().hash
    when = SelectionSettings(boosts=(Boost(2.0, brand="x", when=When(known=True)),))
    assert ShopConfig(selection=when).hash != ShopConfig(selection=plain).hash


def test_a_wish_of_yesterday_is_not_in_force() -> None:
    business = Business(
        build_toy_bundle(), SelectionSettings(pins=(Pin(item_id="a0", until=date(2024, 10, 4)),)), "UTC"
    )
    yesterday, today = (Query(now=now, history=History.empty()) for now in (AS_OF - DAY, AS_OF))
    assert business.of_lists(yesterday) is not None
    assert business.of_lists(today) is None


def test_the_check_knows_pins_quotas_and_conditions_in_words() -> None:
    """What is pinned stands somewhere; what a condition names is used; what names nothing or is over is told."""
    text = HOME + (
        f'{PIN}action = "sale"\npage = "home"\nslot = "one"\nwhen = {{if = \'"vip" in segments\'}}\n'
        f'{PIN}item-id = "nothing"\nuntil = 2020-01-01\n{QUOTA}first = 3\nat-least = 1\nbrand = "nobody"\n'
        '[segments.vip]\ntiers = ["gold"]\n[segments.idle]\ntiers = ["gold"]\n'
    )
    look = Look(read_config(text, "shop.toml"), bundle=build_toy_bundle(), now=AS_OF)
    found = {(each.where, each.what) for check in (rules, names, never_shown, unused) for each in check(look)}
    assert found == {
        ("[[selection.pins]] number 2", "it ended on 2020-01-01"),
        ("[[selection.pins]] number 2", 'no item is of item-id "nothing"'),
        ("[[selection.quotas]] number 1", 'no item is of brand "nobody"'),
        ("[segments.idle]", "no condition names it"),
    }


class TestLimits:
    """An action with a cap that is pinned, and in no slot's list."""

    def test_a_pinned_action_spends_its_cap(self, toy_engine, toy_shop, client) -> None:
        """Once a day: another surface does without it, and says why."""
        text = HOME.replace(
            '[actions.sale]\nkind = "content"\n', '[actions.sale]\nkind = "content"\ncaps = {day = 1}\n'
        )
        toy_shop.config.write_text(HEAD + text + f'{PIN}action = "sale"\npage = "home"\nslot = "one"\n')
        assert toy_engine.refresh(), toy_engine.refusals
        asked = {"userId": "ann", "explain": True}
        pages = [client.post("/v1/pages", json={**asked, "surface": each}).json() for each in ("page", "app")]
        assert [page["slots"][1]["actionId"] for page in pages] == ["sale", "popular"]
        assert pages[0]["explain"]["pins"][0]["shown"]
        assert not pages[1]["explain"]["pins"][0]["shown"]
