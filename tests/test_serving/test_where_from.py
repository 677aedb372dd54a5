"""Source, campaign and device of a request, read off what browsers send; nothing else of it is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.context import completed, device_of, source_of
from serving.decide import LOGGED_CONTEXT, told_by
from serving.query import Context

SHOP = "https://shop.test/landing"


@pytest.mark.parametrize(
    ("url", "referrer", "source"),
    [
        (SHOP, None, "direct"),
        (SHOP, "https://shop.test/other", "direct"),
        (SHOP, "https://www.google.co.jp/", "search"),
        (SHOP, "https://search.yahoo.co.jp/", "search"),
        (SHOP, "https://l.instagram.com/", "social"),
        (SHOP, "https://t.co/x", "social"),
        (SHOP, "https://not-google.example/", "referral"),
        (f"{SHOP}?gclid=1", "https://www.google.com/", "ads"),
        (f"{SHOP}?utm_medium=cpc", None, "ads"),
        (f"{SHOP}?utm_source=june&utm_medium=email", None, "email"),
        (f"{SHOP}?utm_source=partner", "https://www.google.com/", "partner"),
        ("http://[", "http://[", "direct"),
    ],
)
def test_sources(url: str, referrer: str | None, source: str) -> None:
    assert source_of(url, referrer) == source


def test_what_the_request_names_stays() -> None:
    context = Context(
        device="fridge", traffic_source="kiosk", url=f"{SHOP}?utm_campaign=sale&gclid=1", user_agent="iPad"
    )
    found = completed(context)
    assert (found.device, found.traffic_source, found.campaign) == ("fridge", "kiosk", "sale")


def test_a_context_that_says_nothing_stays_as_it_is() -> None:
    assert completed(Context(region="north")) == Context(region="north")
    assert completed(Context(user_agent="Mozilla (Windows NT)")).device == "desktop"


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
def test_whatever_a_client_sends(url: str, referrer: str, agent: str) -> None:
    found = completed(Context(url=url, referrer=referrer, user_agent=agent))
    assert found.device == device_of(agent) and found.traffic_source and len(found.traffic_source) <= 64


def test_addresses_and_agents_are_not_logged() -> None:
    context = Context(region="north", url=SHOP, referrer="https://x.test/?name=ann", user_agent="secret")
    assert told_by(context) == {"region": "north"}
    assert told_by(Context()) is None
    assert not {"url", "referrer", "user_agent"} & set(LOGGED_CONTEXT)
