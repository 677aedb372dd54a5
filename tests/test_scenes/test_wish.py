"""The wish: added, the page and a price drop use it; removed, it disappears everywhere; bought, it closes."""

from __future__ import annotations

from tests.test_scenes.conftest import House, actions, items, slot


def test_the_wish(house: House) -> None:
    house.events({"type": "wishlist", "itemId": "lamp2", "userId": "ann"})
    page = house.page("wishlist", userId="ann")
    assert slot(page, "wishlist")["items"][0]["itemId"] == "lamp2" and slot(page, "wishlist")["items"][0]["wished"]
    assert "wishlist" in actions(house.page(userId="ann"))
    house.post("/v1/items", items=[{"itemId": "lamp2", "price": 7.0}])
    assert slot(house.page("wishlist", userId="ann"), "wishlist")["items"][0]["price"] == 7.0
    house.events({"type": "wishlist_remove", "itemId": "lamp2", "userId": "ann"})
    for name in ("home", "wishlist", "my-page"):
        assert "wishlist" not in actions(house.page(name, userId="ann"))
    answer = house.post("/v1/recommendations", userId="ann", numResults=30)
    assert not any(each["source"] == "wishlist" for each in answer["itemList"])


def test_what_was_bought_is_no_wish_any_more(house: House) -> None:
    house.events({"type": "wishlist", "itemId": "lamp2", "userId": "ann"})
    house.at(0.1)
    house.events({"type": "purchase", "itemId": "lamp2", "userId": "ann", "unitPrice": 30.0})
    assert "wishlist" not in actions(house.page(userId="ann"))
    house.events({"type": "wishlist", "itemId": "rug1", "userId": "ann"})
    assert slot(house.page("wishlist", userId="ann"), "wishlist")["items"][0]["itemId"] == "rug1"


def test_a_wish_of_a_category_that_rests_is_not_shown(house: House) -> None:
    """A sofa on the wishlist, another sofa bought: no sofa until its window is over."""
    house.events({"type": "wishlist", "itemId": "sofa0", "userId": "ann"})
    assert "sofa0" in items(house.page("wishlist", userId="ann"))
    house.at(1)
    house.events({"type": "purchase", "itemId": "sofa1", "userId": "ann", "unitPrice": 900.0})
    house.at(30)
    assert not {"sofa0", "sofa1", "sofa2"} & items(house.page("wishlist", userId="ann"))
