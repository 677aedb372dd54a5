"""Several orders at once: each word is about the order that it means."""

from __future__ import annotations

from tests.test_scenes.conftest import House, actions, slot


def test_care_for_the_sofa_speaks_of_the_sofa_though_a_lamp_was_ordered_later(house: House) -> None:
    house.order("o1", "sofa1", "ann", shipmentState="in_production", promisedAt=house.moment(56))
    house.at(2)
    house.order("o2", "lamp0", "ann", shipmentState="confirmed", promisedAt=house.moment(9))
    house.at(3)
    page = house.page(userId="ann")
    assert slot(page, "care-sofa")["title"] == "Make room for your The sofa1"
    assert slot(page, "colours-sofa")["text"] == "Three rooms around your The sofa1."
    house.order("o3", "not in the catalogue", "ann", shipmentState="confirmed")
    house.at(4)
    assert "care-sofa" in actions(house.page(userId="ann"))


def test_help_speaks_of_what_is_late(house: House) -> None:
    text = house.shop.config.read_text(encoding="utf-8")
    words = "Your order is late, and we are sorry"
    house.shop.config.write_text(text.replace(words, "Your {order.item} is late, and we are sorry"), encoding="utf-8")
    assert house.engine.refresh()
    house.order("o1", "rug1", "ann", shipmentState="shipped", promisedAt=house.moment(5))
    house.at(6)
    house.order("o2", "lamp0", "ann", shipmentState="confirmed", promisedAt=house.moment(9))
    house.at(7)
    assert house.page(userId="ann")["slots"][0]["title"] == "Your The rug1 is late, and we are sorry"


def test_an_invitation_speaks_of_what_was_received(house: House) -> None:
    text = house.shop.config.read_text(encoding="utf-8")
    words = "How does it look at your home?"
    house.shop.config.write_text(text.replace(words, "How does your {order.item} look?"), encoding="utf-8")
    assert house.engine.refresh()
    house.order("o1", "rug1", "ann", shipmentState="delivered", promisedAt=house.moment(5))
    house.at(4)
    house.order("o2", "blanket0", "ann", shipmentState="confirmed")
    house.at(5, 12)
    mail = house.post("/v1/actions", userId="ann", channel="email")
    assert (mail["actionId"], mail["title"]) == ("share-photo", "How does your The rug1 look?")
