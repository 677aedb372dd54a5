"""Odd people and odd requests: no error, no lie, nobody's name where it does not belong."""

from __future__ import annotations

from datetime import date

import orjson
import pytest

from features.errors import Unavailable
from features.moments import DAY, HOUR, day_start, parse_instant, to_datetime, zone
from serving import waiting
from serving.delivery import Expected
from serving.situation import Situation
from tests.test_scenes.conftest import NOW, House, actions, items, slot

PETS = {"category": "Pets", "timeZone": "UTC"}


def expecting(house: House, monkeypatch) -> None:
    """A bundle that has learned when things arrive."""
    found = Expected(house.now + 10**12, house.now + 10**12, house.now + 2 * 10**12, None, False, "all")
    monkeypatch.setattr(Situation, "expected", lambda now, line: found)


@pytest.mark.parametrize(
    ("locale", "title"),
    [
        ("fr", None), ("en-US", None), ("", None), ("-", None),
        ("ja-JP", "The rug1 をお届けする準備をしています"), ("JA", "The rug1 をお届けする準備をしています"),
    ],
)  # fmt: skip
def test_a_page_with_an_order_speaks_a_language_of_the_shop(house, monkeypatch, locale, title) -> None:
    expecting(house, monkeypatch)
    house.order("o1", "rug1", "ann", shipmentState="shipped")
    house.at(1)
    page = house.page("order-status", userId="ann", context={"locale": locale})
    assert page["slots"][0]["title"] == (title or "Your The rug1 is on its way")
    assert page["slots"][0]["orders"][0]["expected"]["text"]


def test_a_language_without_words_for_days_says_them_in_the_shops(house: House, monkeypatch) -> None:
    expecting(house, monkeypatch)
    text = house.shop.config.read_text(encoding="utf-8")
    words = '{ title = "What is on its way", locale = "fr" }'
    text += f'\n[actions.colis]\nkind = "status"\ntexts = [{words.replace("What", "Ce qui")}]\n'
    text = text.replace('modules = ["help-late", "order-status", "share-photo"', 'modules = ["colis", "share-photo"')
    house.shop.config.write_text(text, encoding="utf-8")
    assert house.engine.refresh() and not house.engine.refusals
    house.order("o1", "rug1", "ann", shipmentState="shipped")
    house.at(1)
    page = house.page("order-status", userId="ann", context={"locale": "fr"})
    assert page["slots"][0]["orders"][0]["expected"]["text"].startswith("between")
    assert waiting.LANGUAGES == ("en", "ja")


def test_reasons_speak_the_language_of_the_page(house: House) -> None:
    for path, body in (("/v1/pages", {"page": "home"}), ("/v1/recommendations", {})):
        told = house.post(path, visitorId="v", context={"locale": "ja"}, **body)
        listed = told.get("itemList") or [item for each in told["slots"] for item in each["items"]]
        assert {each["reason"] for each in listed} == {"いま人気です"}, path


def test_an_imported_time_zone_that_is_none_breaks_no_page(house: House) -> None:
    house.engine.store.put_customer("ann", {"timeZone": "Mars/Phobos"}, house.now)
    assert house.page(userId="ann")["slots"]
    refused = house.post("/v1/pages", 400, page="home", userId="ann", context={"timeZone": "Mars/Phobos"})
    assert refused["error"]["field"] == "context.timeZone"


def test_one_question_a_session_though_the_first_look_came_after_it(house: House) -> None:
    first = house.page(visitorId="v", context=PETS)
    asked = next(each["question"]["question"] for each in first["slots"] if each.get("question"))
    house.at(0.01)
    house.events({"type": "view", "itemId": "dogfood1", "visitorId": "v"})
    house.at(0.011)
    page = house.page(visitorId="v", context=PETS)
    assert [each["question"]["question"] for each in page["slots"] if each.get("question")] == [asked]
    house.post("/v1/customers/answer", visitorId="v", question=asked, answer=None)
    assert not any(each.get("question") for each in house.page(visitorId="v", context=PETS)["slots"])


def test_a_page_outlives_a_store_that_cannot_note_its_question(house: House, monkeypatch) -> None:
    def refuse(*given: object) -> bool:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(house.engine.store, "put_visitor", refuse)
    assert any(each.get("question") for each in house.page(visitorId="v", context=PETS)["slots"])


def test_who_refused_everything_is_named_in_no_decision(house: House) -> None:
    for purpose in ("personalization", "marketing"):
        house.post("/v1/customers/consent", userId="ann", purpose=purpose, granted=False)
    answer = house.post("/v1/actions", userId="ann", channel="email")
    assert answer["decision"] == "never"
    house.engine.decisions.close()
    logs = b"".join(path.read_bytes() for path in house.shop.decision_logs.rglob("*") if path.is_file())
    assert orjson.dumps(answer["decisionId"]) in logs
    assert b'"ann"' not in logs


def test_a_mailer_does_not_overrule_a_refusal(house: House) -> None:
    house.order("o1", "rug1", "ann", shipmentState="delivered")
    house.at(5, 12)
    asked = {"userId": "ann", "channel": "email", "consent": True}
    assert house.post("/v1/actions", **asked)["actionId"] == "share-photo"
    house.post("/v1/customers/consent", userId="ann", purpose="marketing", granted=False)
    assert house.post("/v1/actions", **asked)["decision"] == "never"


def test_orders_that_no_purchase_tells_of_count(house: House) -> None:
    """Some shops report orders only: then a first order is one, and its category rests."""
    assert "welcome-offer" in actions(house.page(userId="ann"))
    house.at(1)
    house.order("o1", "sofa1", "ann", line="1", shipmentState="delivered")
    house.order("o1", "rug1", "ann", line="2", shipmentState="delivered")
    house.at(2)
    page = house.page(userId="ann")
    assert "welcome-offer" not in actions(page) and "club" in actions(page)
    near = house.post("/v1/related-items", userId="ann", itemIds=["cushion0"], numResults=30)
    assert not any(each["itemId"].startswith("sofa") for each in near["itemList"])
    assert items(page)


def test_a_lost_parcel_silences_selling_for_two_weeks(house: House) -> None:
    text = house.shop.config.read_text(encoding="utf-8").replace("orders = [0, 0]", "orders = [0, 9]")
    house.shop.config.write_text(text.replace("promise-days = 7.0\n", ""), encoding="utf-8")
    assert house.engine.refresh() and not house.engine.refusals
    house.order("o1", "rug1", "ann", shipmentState="shipped")
    house.at(1)
    house.order("o1", "rug1", "ann", shipmentState="lost")
    house.at(2)
    unfit = house.page(userId="ann", explain=True)["explain"]["unfit"]
    assert {"actionId": "welcome-offer", "reason": "something got lost on its way: no selling"} in unfit
    house.at(16)
    assert "welcome-offer" in actions(house.page(userId="ann"))
    assert slot(house.page(userId="ann"), "welcome-offer")["kind"] == "offer"


def test_a_page_without_slots_is_refused_before_it_breaks(house: House) -> None:
    text = house.shop.config.read_text(encoding="utf-8")
    house.shop.config.write_text(text + "\n[pages.bare]\nslots = []\n", encoding="utf-8")
    house.engine.refresh()
    assert "slots" in house.engine.refusals["shop.toml"]


@pytest.mark.parametrize("time_zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_a_promise_of_a_day_holds_until_the_day_is_over(house: House, time_zone: str) -> None:
    text = house.shop.config.read_text(encoding="utf-8").replace("[shop]", f'[shop]\ntime-zone = "{time_zone}"')
    house.shop.config.write_text(text, encoding="utf-8")
    assert house.engine.refresh() and not house.engine.refusals
    house.order("o1", "rug1", "ann", shipmentState="shipped", promisedAt="2026-12-05", confirmedFor="2026-12-05")
    begin = day_start(date(2026, 12, 5), time_zone)
    for hours, late in ((1, False), (23.5, False), (24.5, True)):
        house.at((begin + int(hours * HOUR) - NOW) / DAY)
        facts = slot(house.page("order-status", userId="ann"), "order-status")["orders"][0]
        assert facts["late"] is late, hours
    step = facts["steps"][-1]
    assert to_datetime(parse_instant(step["confirmedFor"])).astimezone(zone(time_zone)).date() == date(2026, 12, 5)


def test_the_holdout_gets_no_slot_that_an_answer_chose(house: House) -> None:
    """Its answers may be known from before it signed in; the page is the same for all and says so."""
    text = house.shop.config.read_text(encoding="utf-8").replace("holdout = 0.0", "holdout = 0.5")
    house.shop.config.write_text(text, encoding="utf-8")
    assert house.engine.refresh()
    kinds = {}
    for n in range(12):
        house.post("/v1/customers/answer", userId=f"u{n}", question="pet", answer="dog")
        house.events(*({"type": "view", "itemId": "rug1", "userId": f"u{n}"} for _ in range(3)))
        page = house.page(userId=f"u{n}")
        kinds[page["basis"]["kind"], page["personalized"]] = actions(page)
        assert ("for-your-dog" in actions(page)) is page["personalized"]
    assert set(kinds) == {("everybody", False), ("history", True)}


def test_two_actions_do_not_put_one_question_twice(house: House) -> None:
    text = house.shop.config.read_text(encoding="utf-8")
    text = text.replace('"ask-name", "goes-with-order"', '"ask-pet-too", "ask-name", "goes-with-order"')
    text += '\n[actions.ask-pet-too]\nkind = "question"\nquestion = "pet"\ntexts = [{ title = "Dog or cat?" }]\n'
    house.shop.config.write_text(text, encoding="utf-8")
    assert house.engine.refresh() and not house.engine.refusals
    asked = [
        each["question"]["question"] for each in house.page(visitorId="v", context=PETS)["slots"] if "question" in each
    ]
    assert asked == ["pet"]


def test_all_lines_of_a_big_order_are_told(house: House) -> None:
    for n in range(12):
        house.order("o1", f"rug{n % 4}", "ann", line=str(n), shipmentState="shipped")
    house.at(1)
    told = slot(house.page("order-status", userId="ann"), "order-status")["orders"]
    assert {each["line"] for each in told} == {str(n) for n in range(12)}
