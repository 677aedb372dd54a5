"""An offer once shown is a promise: every channel keeps it until it expires."""

from __future__ import annotations

from features.moments import DAY, parse_instant
from tests.test_scenes.conftest import NOW, House, actions, slot


def test_a_promise_is_kept_when_the_offer_is_over(house: House) -> None:
    house.events(
        {"type": "view", "itemId": "rug1", "userId": "ann"}, {"type": "view", "itemId": "rug1", "userId": "bob"}
    )
    page = house.page(userId="ann")
    expires = slot(page, "welcome-offer")["expiresAt"]
    assert abs(parse_instant(expires) - NOW - 7 * DAY) < DAY / 24
    text = house.shop.config.read_text(encoding="utf-8")
    over = text.replace("promise-days = 7.0", "promise-days = 7.0\nuntil = 2026-12-02")
    house.shop.config.write_text(over, encoding="utf-8")
    assert house.engine.refresh() and not house.engine.refusals
    house.at(3, 12)
    assert "welcome-offer" not in actions(house.page(userId="bob"))
    kept = slot(house.page(userId="ann"), "welcome-offer")
    assert kept["expiresAt"] == expires
    mail = house.post("/v1/actions", userId="ann", channel="email")
    assert (mail["actionId"], mail["expiresAt"]) == ("welcome-offer", expires)
    house.at(8, 12)
    assert "welcome-offer" not in actions(house.page(userId="ann"))


def test_a_promise_ends_with_the_purchase(house: House) -> None:
    assert "welcome-offer" in actions(house.page(userId="ann"))
    house.at(1)
    house.events({"type": "purchase", "itemId": "rug1", "userId": "ann", "unitPrice": 90.0})
    assert "welcome-offer" not in actions(house.page(userId="ann"))


def test_a_promise_needs_consent_all_the_same(house: House) -> None:
    assert "welcome-offer" in actions(house.page(userId="ann"))
    house.post("/v1/customers/consent", userId="ann", purpose="marketing", granted=False)
    assert "welcome-offer" not in actions(house.page(userId="ann"))


def test_a_cap_does_not_take_a_promise_back(house: House) -> None:
    """One person sees it once at most; who has seen it keeps it, on the page and in the mail."""
    text = house.shop.config.read_text(encoding="utf-8")
    capped = text.replace("promise-days = 7.0", "promise-days = 7.0\ncaps = { ever = 1 }\ncool-down-days = 30.0")
    house.shop.config.write_text(capped, encoding="utf-8")
    assert house.engine.refresh() and not house.engine.refusals
    expires = slot(house.page(userId="ann"), "welcome-offer")["expiresAt"]
    house.at(2, 12)
    kept = slot(house.page(userId="ann"), "welcome-offer")
    assert kept["expiresAt"] == expires
    assert house.post("/v1/actions", userId="ann", channel="email")["actionId"] == "welcome-offer"
    house.at(8, 12)
    assert "welcome-offer" not in actions(house.page(userId="ann"))


def test_a_promise_gives_out_no_more_than_there_is(house: House) -> None:
    text = house.shop.config.read_text(encoding="utf-8").replace("budget = 5000.0", "budget = 5.0")
    house.shop.config.write_text(text, encoding="utf-8")
    assert house.engine.refresh() and not house.engine.refusals
    assert "welcome-offer" in actions(house.page(userId="ann"))
    house.at(2, 12)
    assert "welcome-offer" not in actions(house.page(userId="ann"))


def test_no_message_sells_without_consent_to_marketing_whatever_its_channel_is_for(house: House) -> None:
    """A channel for service mails whose list holds an offer: it goes only to who agreed to marketing."""
    text = house.shop.config.read_text(encoding="utf-8")
    both = text.replace('["help-late", "care-mail", "order-status"]', '["help-late", "order-status", "welcome-offer"]')
    assert both != text
    house.shop.config.write_text(both, encoding="utf-8")
    assert house.engine.refresh() and not house.engine.refusals
    house.at(0, 12)
    assert house.post("/v1/actions", userId="ann", channel="order-mail")["actionId"] == "welcome-offer"
    house.post("/v1/customers/consent", userId="bob", purpose="marketing", granted=False)
    answer = house.post("/v1/actions", userId="bob", channel="order-mail")
    assert answer["actionId"] is None
    assert any("no consent to marketing" in each["reason"] for each in answer["vetoed"])
