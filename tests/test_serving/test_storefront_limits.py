"""The storefront that anybody can reach, outside the demo: what it does not take from strangers, and how often."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette

from features.errors import Unavailable
from serving import own_data
from serving.limits import TooManyError
from serving.sealed_texts import ENTRY, Signer
from serving.shopfront import EngineFront
from serving.web import routes
from serving.web.actions import deed_value
from serving.web.pace import ERASURES, FORMS, Pace, Rate
from tests.test_serving.test_storefront import SECRET, FakeShopfront, Page, press, submit

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette would rather have another HTTP client than the one we pin
    from starlette.testclient import TestClient

SALES = (deed_value("purchase", "t1"), "type=order")


@pytest.fixture
def shop() -> Any:
    return FakeShopfront(demo=False)


@pytest.fixture
def client(shop: Any) -> Iterator[TestClient]:
    with client_of(shop) as client:
        yield client


def client_of(shop: Any, address: str = "192.0.2.1") -> TestClient:
    app = Starlette(routes=routes(shop, secret=SECRET))
    return TestClient(app, client=(address, 50_000), follow_redirects=False)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that do not fill up while a test runs."""
    monkeypatch.setattr("serving.web.storefront.FORMS", Rate(4, 1e-6))
    monkeypatch.setattr("serving.web.storefront.ERASURES", Rate(2, 1e-6))


# ---- what is bought


def test_outside_the_demo_nobody_says_that_they_bought_something(client: TestClient, shop: Any) -> None:
    """Neither a product nor a basket: a page that says so, a 403 for a script, and nothing is recorded."""
    press(client, client.get("/").text, deed_value("cart", "t1"))
    html = client.get("/web/basket").text
    shop.events.clear()
    for deed in SALES:
        page = press(client, html, deed)
        assert page.status_code == 403
        assert "Nothing is sold on these pages" in page.text
        refused = press(client, html, deed, json=True)
        assert refused.status_code == 403
        assert refused.json()["error"]["field"] == "do.type"
        assert "in the shop itself" in refused.json()["error"]["said"]
    assert shop.events == []
    assert 'data-item="t1"' in client.get("/web/basket").text, "what was in the basket is lost"


def test_a_customer_whom_the_shop_let_in_orders_nothing_either(client: TestClient, shop: Any) -> None:
    """An order of record would be anybody's word for it too, with whatever a person puts into a basket."""
    token = Signer(lambda: SECRET).lend(ENTRY, "1609", int(time.time()) + 60)
    assert client.get("/web/enter", params={"token": token}).status_code == 303
    press(client, client.get("/").text, deed_value("cart", "t1"))
    html = client.get("/web/basket").text
    assert shop.events[-1]["userId"] == "1609"
    shop.events.clear()
    assert [press(client, html, deed).status_code for deed in SALES] == [403, 403]
    assert (shop.events, shop.order_lines) == ([], {})


def test_buttons_of_a_sale_stand_on_pages_of_the_demo_alone() -> None:
    """Who is shown a button may press it; what else there was to press is still there."""
    for demo in (True, False):
        with client_of(FakeShopfront(demo=demo)) as client:
            item = Page(client.get("/web/item?id=t1").text)
            press(client, client.get("/").text, deed_value("cart", "t1"))
            basket = Page(client.get("/web/basket").text)
        assert bool(item.all("button", data_key="buy")) == demo
        assert bool(basket.all("button", data_key="order")) == demo
        assert item.all("button", data_key="cart") and basket.all("button", class_="plain")


# ---- how often


def test_a_network_sends_so_many_forms_and_then_waits(slow: None, client: TestClient, shop: Any) -> None:
    """All forms count together, also those of fresh visitors; a neighbour is not kept waiting."""
    for _ in range(3):
        client.cookies.clear()
        assert press(client, client.get("/").text, deed_value("wishlist", "t1")).status_code == 303
    html = client.get("/").text
    assert submit(client, html, "/web/leave").status_code == 303
    html = client.get("/").text
    refused = press(client, html, deed_value("wishlist", "t2"), json=True)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert "wait a moment" in refused.json()["error"]["said"]
    page = submit(client, html, "/web/consent", do="both")
    assert page.status_code == 429
    assert "That was a lot at once" in page.text
    assert [event["type"] for event in shop.events] == ["wishlist"] * 3
    assert client.get("/").status_code == 200, "looking is no form"


def test_erasures_have_a_stricter_limit(slow: None, client: TestClient, shop: Any) -> None:
    """Each leaves something for good, however little was known of who asked."""
    for _ in range(2):
        html = client.get("/web/me").text
        assert submit(client, html, "/web/me/erase", sure="yes").status_code == 303
    html = client.get("/web/me").text
    assert submit(client, html, "/web/me/erase", sure="yes").status_code == 429
    assert len(shop.receipts) == 2
    assert press(client, client.get("/").text, deed_value("wishlist", "t1")).status_code == 303, "other forms go on"


def test_a_demo_has_no_limit(slow: None) -> None:
    """It answers this machine alone, and everybody there has the same address."""
    shop = FakeShopfront()
    with client_of(shop) as client:
        html = client.get("/").text
        for n in range(12):
            assert press(client, html, deed_value("wishlist", f"t{n}")).status_code == 303


def test_limits_are_of_networks_and_fill_up_again() -> None:
    """A home's addresses of version 6 are one; after a while there is room again."""
    now, answered = [0.0], []

    async def handler(request: Any) -> Any:
        answered.append(request.client.host)

    ((_, paced),) = Pace(FakeShopfront(demo=False), lambda: now[0]).kept([("/x", handler)], Rate(2, 0.5))

    def ask(host: str) -> None:
        asyncio.run(paced(type("Asked", (), {"client": type("Client", (), {"host": host})})))

    ask("2001:db8::1")
    ask("2001:db8::2")
    with pytest.raises(TooManyError):
        ask("2001:db8::3")
    ask("2001:db8:0:1::1")
    now[0] = 2.0
    ask("2001:db8::3")
    assert len(answered) == 4
    assert ERASURES.burst < FORMS.burst and ERASURES.rate < FORMS.rate


def test_what_visitors_write_waits_in_bounded_numbers(toy_engine, monkeypatch) -> None:
    """A disk that stalls fills no queue of threads: who comes when too many wait is told so, and asks again."""
    go, front = threading.Event(), EngineFront(lambda: toy_engine, demo=False)
    monkeypatch.setattr(own_data, "answer", lambda *_: go.wait(60))

    async def crowd() -> list[Any]:
        sent = [asyncio.create_task(front.answer(None, f"v{n}", "pet", "dog")) for n in range(80)]
        while not any(each.done() for each in sent) and not go.is_set():
            await asyncio.sleep(0.01)
        go.set()
        return await asyncio.gather(*sent, return_exceptions=True)

    threading.Timer(3, go.set).start()  # before the rest would be told that it takes too long
    found = asyncio.run(crowd())
    assert sum(isinstance(each, Unavailable) for each in found) >= 40
    assert found[0] is None
