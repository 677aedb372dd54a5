"""One profile from every channel: what `/v1/customers/read` says of a customer."""

from __future__ import annotations

from features.moments import DAY, parse_instant
from tests.test_scenes.conftest import NOW, House


def test_the_profile(house: House) -> None:
    house.post(
        "/v1/customers/update", userId="ann", name="Ann", tier="gold", projects=[{"kind": "teen-room", "note": "b"}]
    )
    house.post("/v1/customers/answer", userId="ann", question="pet", answer="dog")
    for day in (0, 32, 64):
        house.at(day)
        house.events({"type": "purchase", "itemId": "dogfood1", "userId": "ann", "unitPrice": 20.0})
    house.at(66)
    house.events({"type": "wishlist", "itemId": "lamp2", "userId": "ann"})
    house.order("o1", "sofa1", "ann", shipmentState="confirmed", promisedAt=house.moment(120))
    house.at(70, 12)
    sent = house.post("/v1/actions", userId="ann", channel="order-mail")
    read = house.post("/v1/customers/read", userId="ann")
    assert read["stage"]["name"] == "waiting" and read["stage"]["why"]
    assert (read["fields"]["name"], read["answers"]) == ("Ann", {"pet": "dog"})
    assert read["value"] == {"orders": 4, "paid": 60.0, "unpriced": 0}, "of the sofa only an order tells"
    assert (read["rhythm"]["occasions"], read["rhythm"]["medianGapDays"]) == (4, 32.0)
    (due,) = read["rhythm"]["due"]
    assert due["itemId"] == "dogfood1" and abs(parse_instant(due["at"]) - NOW - 96 * DAY) < 2 * DAY
    assert [wish["itemId"] for wish in read["wishes"]] == read["wishlist"] == ["lamp2"]
    assert read["wishes"][0]["since"].startswith("2027-02-05")
    assert [(each["actionId"], each["state"]) for each in read["contacts"]] == [(sent["actionId"], "reserved")]
    assert [(each["kind"], each["source"]) for each in read["projects"]] == [("teen-room", "staff")]
    assert read["orders"][0]["itemId"] == "sofa1"


def test_nobody_is_known(house: House) -> None:
    read = house.post("/v1/customers/read", userId="nobody")
    assert (read["known"], read["stage"]["name"], read["contacts"], read["rhythm"]["due"]) == (
        False,
        "awareness",
        [],
        [],
    )
