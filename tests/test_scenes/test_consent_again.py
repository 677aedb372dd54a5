"""Who unsubscribed and agreed again later is written to again."""

from __future__ import annotations

from tests.test_scenes.conftest import House


def test_a_consent_after_an_unsubscribe_counts(house: House) -> None:
    house.at(1, 12)
    house.events({"type": "unsubscribe", "userId": "ann"})
    house.at(2, 12)
    asked = {"userId": "ann", "channel": "email"}
    assert "unsubscribed" in house.post("/v1/actions", **asked)["reasons"]
    house.post("/v1/customers/consent", userId="ann", purpose="marketing", granted=True)
    house.at(2, 13)
    assert house.post("/v1/actions", **asked)["decision"] == "now"
    house.events({"type": "unsubscribe", "userId": "ann"})
    house.at(2, 14)
    assert "unsubscribed" in house.post("/v1/actions", **asked)["reasons"]
