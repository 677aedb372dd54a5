"""The sofa: eight weeks between the purchase and the delivery, and what a couple sees on each of them."""

from __future__ import annotations

import itertools

from tests.test_scenes.conftest import House, actions, items, slot


def buy(house: House, user: str = "couple") -> None:
    """They buy a sofa, promised for eight weeks from now; the shop reports the order."""
    house.events({"type": "purchase", "itemId": "sofa1", "userId": user, "orderId": "o1", "unitPrice": 900.0})
    house.order("o1", "sofa1", user, shipmentState="confirmed", promisedAt=house.moment(56), text="We have your order")


def test_before_the_purchase_sofas_are_shown(house: House) -> None:
    """Else "no sofa" afterwards would mean nothing."""
    house.events({"type": "view", "itemId": "sofa0", "userId": "couple"})
    assert any(item.startswith("sofa") for item in items(house.page(userId="couple")))


def test_until_delivery_the_page_leads_with_the_order_and_shows_no_sofa(house: House) -> None:
    house.events({"type": "view", "itemId": "sofa0", "userId": "couple"})
    buy(house)
    for day, state in ((1, "confirmed"), (14, "in_production"), (30, "in_production"), (50, "shipped")):
        house.at(day)
        house.order("o1", "sofa1", "couple", shipmentState=state, text=f"Step of day {day}")
        for name in ("home", "order-status", "my-page", "after-purchase"):
            page = house.page(name, userId="couple")
            assert actions(page)[0] == "order-status"
            assert not any(item.startswith("sofa") for item in items(page)), name
        facts = slot(house.page("order-status", userId="couple"), "order-status")["orders"][0]
        assert (facts["itemId"], facts["state"], facts["steps"][-1]["text"]) == ("sofa1", state, f"Step of day {day}")
        home = actions(house.page(userId="couple"))
        assert home[1:3] == ["care-sofa", "colours-sofa"]
        room = slot(house.page(userId="couple"), "goes-with-order")
        assert {item["itemId"][:-1] for item in room["items"]} <= {"cushion", "rug", "lamp"}
    for path, body in (("/v1/recommendations", {}), ("/v1/related-items", {"itemIds": ["sofa0"]})):
        answer = house.post(path, userId="couple", numResults=30, **body)
        assert not any(each["itemId"].startswith("sofa") for each in answer["itemList"]), path


def test_mails_tell_facts_first_and_sell_at_most_one_thing(house: House) -> None:
    """Transactional words wait for no consent to marketing; what sells does."""
    buy(house)
    house.at(10)
    mail = house.page("order-status", userId="couple", surface="email")
    assert actions(mail)[:2] == ["order-status", "care-sofa"]
    selling = [each for each in mail["slots"] if each["items"]]
    assert [each["actionId"] for each in selling] == ["goes-with-order"]
    house.post("/v1/customers/consent", userId="couple", purpose="marketing", granted=False)
    mail = house.page("order-status", userId="couple", surface="email")
    assert actions(mail)[:2] == ["order-status", "care-sofa"]
    assert not any(each["items"] for each in mail["slots"])


def test_on_late_news_selling_stops_and_help_comes_first(house: House) -> None:
    buy(house)
    house.at(57)  # a day after what was promised
    page = house.page(userId="couple")
    assert actions(page)[0] == "help-late"
    assert "late" in page["slots"][0]["title"]
    explained = house.page(userId="couple", explain=True)["explain"]
    assert {"actionId": "club", "reason": "2 orders so far"} not in explained["unfit"]


def test_after_an_on_time_delivery_photos_then_weeks_later_the_next_room(house: House) -> None:
    buy(house)
    house.at(52)
    house.order("o1", "sofa1", "couple", shipmentState="delivered", text="It is at your home")
    house.at(53)
    assert not {"share-photo", "order-status", "care-sofa"} & set(actions(house.page(userId="couple")))
    house.at(56)
    page = house.page(userId="couple")
    assert actions(page)[0] == "share-photo"
    assert not any(item.startswith("sofa") for item in items(page))
    house.at(52 + 35)
    page = house.page(userId="couple")
    assert "share-photo" not in actions(page)
    assert actions(page)[1] == "next-room"
    assert not any(item.startswith("sofa") for item in items(page))


def test_a_late_delivery_is_not_followed_by_an_invitation(house: House) -> None:
    buy(house)
    house.at(60)
    house.order("o1", "sofa1", "couple", shipmentState="delivered")
    house.at(64)
    assert "share-photo" not in actions(house.page(userId="couple"))


def mails(house: House, days: range, channel: str = "order-mail", user: str = "couple") -> list[tuple[int, str]]:
    """What a mailer that asks every noon sends: it tells the shop of each mail that went out."""
    sent = []
    for day in days:
        house.at(day, 12)
        answer = house.post("/v1/actions", userId=user, channel=channel)
        if answer["decision"] == "now":
            sent.append((day, answer["actionId"]))
            house.events({"type": "sent", "userId": user, "decisionId": answer["decisionId"], "channel": channel})
    return sent


def test_mails_until_delivery_tell_each_step_once_and_never_fall_silent(house: House) -> None:
    """Three steps are reported in eight weeks; no two weeks pass in silence, no week brings more than two mails."""
    buy(house)
    house.at(20, 9)
    house.order("o1", "sofa1", "couple", shipmentState="in_production", text="The frame is built")
    house.at(0)
    steps = {20, 45}
    first = mails(house, range(1, 20))
    house.at(20, 9)
    then = mails(house, range(20, 45))
    house.at(45, 9)
    house.order("o1", "sofa1", "couple", shipmentState="shipped", text="On its way")
    last = mails(house, range(45, 55))
    sent = [*first, *then, *last]
    days = [day for day, _ in sent]
    assert max(later - day for day, later in itertools.pairwise(days)) <= 14
    assert all(sum(day <= other < day + 7 for other in days) <= 2 for day in days)
    status = [day for day, action in sent if action == "order-status"]
    assert steps <= set(status), "news are told on their day"
    assert "care-mail" in {action for _, action in sent}
    assert len(status) <= 5, "three steps, and a word only where it was silent for long"


def test_a_step_is_told_once_on_a_channel(house: House) -> None:
    buy(house)
    house.at(1, 12)
    first = house.post("/v1/actions", userId="couple", channel="order-mail")
    assert first["actionId"] == "order-status"
    assert [step.get("fresh") for step in first["orders"][0]["steps"]] == [True]
    again = house.post("/v1/actions", userId="couple", channel="order-mail")
    assert again["decisionId"] == first["decisionId"], "a mail that was not sent yet is the same mail"
    house.events({"type": "sent", "userId": "couple", "decisionId": first["decisionId"], "channel": "order-mail"})
    house.at(2, 12)
    quiet = house.post("/v1/actions", userId="couple", channel="order-mail")
    assert quiet["actionId"] != "order-status"
    assert any(each["actionId"] == "order-status" and "no news" in each["reason"] for each in quiet["vetoed"])
    house.order("o1", "sofa1", "couple", shipmentState="in_production")
    house.at(6, 12)
    news = house.post("/v1/actions", userId="couple", channel="order-mail")
    assert news["actionId"] == "order-status"
    assert [step.get("fresh") for step in news["orders"][0]["steps"]] == [None, True]


def test_a_language_that_nobody_wrote_words_in(house: House) -> None:
    """A request in another language gets the shop's words, and never an error."""
    buy(house)
    page = house.page("order-status", userId="couple", context={"locale": "fr"})
    assert actions(page)[0] == "order-status"
