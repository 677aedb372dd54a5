"""Orders that end otherwise than by a delivery on time."""

from __future__ import annotations

import pytest

from tests.test_scenes.conftest import House, actions, items


def buy(house: House, item: str = "sofa1") -> None:
    house.events({"type": "purchase", "itemId": item, "userId": "ann", "orderId": "o1", "unitPrice": 900.0})
    house.order("o1", item, "ann", shipmentState="confirmed", promisedAt=house.moment(20))


@pytest.mark.parametrize("state", ["cancelled", "returned", "lost"])
def test_who_has_no_sofa_after_all_is_offered_sofas_again(house: House, state: str) -> None:
    buy(house)
    house.at(5)
    related = {"userId": "ann", "itemIds": ["cushion0"], "numResults": 30}
    assert not any(each["itemId"].startswith("sofa") for each in house.post("/v1/related-items", **related)["itemList"])
    house.order("o1", "sofa1", "ann", shipmentState=state)
    house.at(6)
    assert any(each["itemId"].startswith("sofa") for each in house.post("/v1/related-items", **related)["itemList"])


def test_a_return_that_only_an_event_tells_of_counts_too(house: House) -> None:
    house.events({"type": "purchase", "itemId": "sofa1", "userId": "ann", "unitPrice": 900.0})
    house.at(5)
    house.events({"type": "return", "itemId": "sofa1", "userId": "ann"})
    house.at(6)
    near = house.post("/v1/related-items", userId="ann", itemIds=["cushion0"], numResults=30)
    assert any(each["itemId"].startswith("sofa") for each in near["itemList"])


def test_what_was_never_told_to_be_delivered_is_not_late_for_ever(house: House) -> None:
    buy(house, "rug1")
    house.at(21)
    assert actions(house.page(userId="ann"))[0] == "help-late"
    house.at(370)
    page = house.page(userId="ann")
    assert not {"help-late", "order-status"} & set(actions(page))


def test_what_waits_at_the_counter_is_not_late(house: House) -> None:
    buy(house, "rug1")
    house.at(18)
    place = {"pickupPlace": "Main Street 1", "pickupHours": "9 to 18"}
    assert house.page("order-status", userId="ann")["slots"][0]["title"] == "Your order is on its way"
    house.order("o1", "rug1", "ann", shipmentState="ready_for_pickup", **place)
    house.at(22)
    page = house.page(userId="ann")
    assert actions(page)[0] == "order-status"
    told = page["slots"][0]
    assert (told["title"], told["text"]) == ("Your The rug1 is ready", "Pick it up at Main Street 1, 9 to 18.")
    assert (told["orders"][0]["late"], told["orders"][0]["expected"]) == (False, None)


def test_news_of_a_delay_silence_selling_before_the_day_has_passed(house: House) -> None:
    buy(house, "rug1")
    house.at(5)
    house.order("o1", "rug1", "ann", shipmentState="in_production", promisedAt=house.moment(40))
    house.at(6)
    assert actions(house.page(userId="ann"))[0] == "help-late"
    assert items(house.page(userId="ann")), "products are shown all the same"
