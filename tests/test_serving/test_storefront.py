"""The storefront over a small shop that behaves: what a person sees, sends and can trust."""

from __future__ import annotations

import importlib.util
import re
import string
import subprocess
import sys
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from features.errors import ConfigError, RequestError, Unavailable
from serving.access import Access
from serving.context import device_of
from serving.guard import Guard
from serving.sealed_texts import Signer
from serving.web import art, routes
from serving.web.actions import Origin, deed_value, read_deed
from serving.web.basket import MAX_BYTES, Basket, Line, decode_basket
from serving.web.strings import TEXTS, Words, format_price
from serving.web.views import Viewer, item_href

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette would rather have another HTTP client than the one we pin
    from starlette.testclient import TestClient

ROOT = Path(__file__).parents[2]
SECRET = b"a secret of the tests, long enough"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FakeShopfront = _load(ROOT / "tests" / "fake_shopfront.py").FakeShopfront

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp; </title> {{ 7*7 }} \\ \u202e\n"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        """Attributes of the tags of that name and with those attributes (`_` for `-`)."""
        named = {key.rstrip("_").replace("_", "-"): value for key, value in wanted.items()}
        return [a for name, a in self.tags if name == tag and all(a.get(k) == v for k, v in named.items())]


@pytest.fixture
def shop() -> Any:
    return FakeShopfront()


@pytest.fixture
def client(shop: Any) -> Iterator[TestClient]:
    with client_of(shop) as client:
        yield client


def client_of(shop: Any, **options: Any) -> TestClient:
    return TestClient(Starlette(routes=routes(shop, secret=SECRET)), raise_server_exceptions=True, **options)


def press(client: TestClient, html: str, value: str, *, json: bool = False, **fields: str) -> Any:
    """Press a button of a page as a browser does."""
    return submit(client, html, "/web/events", json=json, do=value, **fields)


def submit(client: TestClient, html: str, path: str, *, json: bool = False, **fields: str) -> Any:
    """Send a form of a page to an address, with what is hidden in it."""
    form = {a["name"]: a["value"] for a in Page(html).all("input", type="hidden") if a["name"] in FORM}
    headers = {"Accept": "application/json" if json else "text/html", "Origin": "http://testserver"}
    return client.post(path, data=form | fields, headers=headers)


FORM = ("token", "once", "from", "back")
EVERYWHERE = ("/", "/web/landing", "/web/category", "/web/category?path=Drinks", "/web/search?q=tea", "/web/item?id=t1",
              "/web/basket", "/web/wishlist", "/web/me", "/web/thanks")  # fmt: skip


def hearts(html: str) -> list[dict[str, str]]:
    return Page(html).all("button", class_="heart")


# ---- what a page shows


def test_home_shows_slots_in_the_order_given(client: TestClient) -> None:
    """Slots come in the order of the page, each with its heading; products with title, price, reason and a heart."""
    html = client.get("/?customer=1609").text
    page = Page(html)
    assert [a["data-slot"] for a in page.all("section") if "data-slot" in a] == ["c", "d", "e"]
    assert "Good morning" in page.text
    for text in ("Buy again", "New for you", "Popular near you", "Vine tomatoes 500 g", "$3.30", "every 12 days"):
        assert text in page.text
    assert len(hearts(html)) == len([a for a in page.all("li") if "data-item" in a])
    assert {a["aria-pressed"] for a in hearts(html)} == {"false"}


def test_an_empty_slot_is_not_rendered(client: TestClient) -> None:
    """A module without products leaves no heading behind; only the operator's panel tells of it."""
    html = client.get("/?customer=1609").text
    shown, _, panel = html.partition('<aside class="why"')
    assert "Because of your wishlist" not in shown
    assert "Because of your wishlist" in panel
    assert "left empty, not shown" in panel
    assert "fewer items than the module&#39;s minimum" in panel


def test_a_page_without_any_slot_says_so_kindly(client: TestClient, shop: Any) -> None:
    """With nothing to show there is a sentence instead of a blank."""
    shop.slots_override = []
    assert "Nothing is chosen for this page yet" in client.get("/").text


def test_a_slot_of_words_is_shown_without_products(client: TestClient, shop: Any) -> None:
    """A tip has no products and is shown; a product module without products is not."""
    empty = {"decisionId": "d", "actionId": "a", "title": "T", "items": []}
    shop.slots_override = [
        {**empty, "slot": "one", "kind": "tip", "text": "Keep tea in the dark"},
        {**empty, "slot": "two", "kind": "products", "text": "Half a shelf"},
        {**empty, "slot": "three", "kind": "related-to-last-view", "text": "Goes with nothing"},
        {**empty, "slot": "four", "kind": "tip", "text": "No action", "actionId": None},
    ]
    page = Page(client.get("/web/home/live").text)
    assert [a["data-slot"] for a in page.all("section") if "data-slot" in a] == ["one"]
    assert "Tip" in page.text
    assert "Keep tea in the dark" in page.text


def test_what_an_item_lacks_is_left_out(client: TestClient, shop: Any) -> None:
    """A bare item id is enough for a card: the id is its title and no price is invented."""
    item = {"itemId": "bare", "price": float("nan"), "category": None}
    shop.slots_override = [{"slot": "s", "decisionId": "d", "items": [item]}]
    html = client.get("/").text
    assert '<span class="card-title">bare</span>' in html
    assert "card-price" not in html
    assert "nan" not in html.lower().replace("banana", "")


def test_why_panel_names_action_source_decision_and_bundle(client: TestClient) -> None:
    """The operator sees for every slot what it is, where it came from and under which decision."""
    panel = client.get("/?customer=1609").text.partition('<aside class="why"')[2]
    for text in ("for-you", "dec-1-d", "20171201T000000Z-blend-1f3a", "req-1", "2017-12-01 00:00 UTC", "1609"):
        assert text in panel


def test_operators_things_exist_in_demo_mode_only() -> None:
    """Without demo mode there is no panel, no picker, and no way to look as somebody else."""
    with client_of(FakeShopfront(demo=False)) as client:
        html = client.get("/?customer=1609").text
        assert "data-why" not in html
        assert "1609" not in html
        assert "/web/customers" not in html
        assert client.get("/web/customers").status_code == 404


def test_a_customer_chosen_in_a_demo_is_nobody_elsewhere() -> None:
    """A cookie from demo mode means nothing to the same shop out of it."""
    demo, live = FakeShopfront(), FakeShopfront(demo=False)
    with client_of(demo) as client, client_of(live) as other:
        client.get("/?customer=1609")
        other.cookies = client.cookies
        other.get("/")
    assert demo.requests[-1]["user_id"] == "1609"
    assert live.requests[-1]["user_id"] is None
    assert live.requests[-1]["visitor_id"]


# ---- nothing hostile gets through


def hostile_shop() -> Any:
    shop = FakeShopfront()
    shop.items[HOSTILE] = {
        "itemId": HOSTILE, "title": HOSTILE, "category": HOSTILE, "price": 1.0, "brand": HOSTILE,
        "imageUrl": "javascript:alert(1)", "inStock": True, "reason": HOSTILE, "source": HOSTILE,
    }  # fmt: skip
    shop.items[HOSTILE + "2"] = {**shop.items[HOSTILE], "itemId": HOSTILE + "2"}
    items = [shop.items[HOSTILE], {**shop.items[HOSTILE], "imageUrl": 'https://x/"onerror=alert(1)', "wished": True}]
    slot = {"slot": HOSTILE, "decisionId": HOSTILE, "actionId": HOSTILE, "title": HOSTILE, "text": HOSTILE,
            "reason": HOSTILE}  # fmt: skip
    shop.slots_override = [{**slot, "kind": kind, "items": items} for kind in (HOSTILE, "buy-again", "for-you")]
    asked = {"question": HOSTILE, "text": HOSTILE, "why": HOSTILE, "options": [{"value": HOSTILE, "label": HOSTILE}]}
    order = {"orderId": HOSTILE, "line": HOSTILE, "itemId": HOSTILE, "title": HOSTILE, "quantity": 1.5, "late": True,
             "imageUrl": "javascript:alert(1)", "orderedAt": "2017-12-01T00:00:00Z", "state": HOSTILE,
             "expected": {"text": HOSTILE}, "steps": []}  # fmt: skip
    for kind, more in (
        ("content", {"imageUrl": "javascript:alert(1)", "url": "javascript:alert(1)", "alt": HOSTILE}),
        ("tip", {"url": "//evil.example/"}), ("question", {"question": asked}), ("status", {"orders": [order]}),
    ):  # fmt: skip
        shop.slots_override.append({**slot, "kind": kind, "items": [], **more})
    return shop


def pages_of(client: TestClient) -> dict[str, str]:
    """Every kind of page, with hostile text wherever text can come from."""
    query = urlencode({"id": HOSTILE, "d": HOSTILE, "s": HOSTILE, "p": HOSTILE})
    html = client.get("/?" + urlencode({"customer": HOSTILE, "region": HOSTILE})).text
    pages = {"home": html, "slots": client.get("/web/home/live").text}
    press(client, html, deed_value("cart", HOSTILE, Origin(HOSTILE)))
    for path in (f"/web/item?{query}", f"/web/item/live?{query}", "/web/basket", "/web/basket/live"):
        pages[path] = client.get(path).text
    word = urlencode({"q": HOSTILE, "path": HOSTILE, "utm_campaign": HOSTILE, "id": HOSTILE})
    for name in ("landing", "category", "search", "wishlist", "me", "thanks"):
        pages[name] = client.get(f"/web/{name}?{word}").text
    pages["departments"] = client.get("/web/category").text
    pages["picker"] = client.get("/web/customers?" + urlencode({"q": HOSTILE})).text
    pages["gone"] = client.get("/web/item?" + urlencode({"id": HOSTILE + "?"})).text
    pages["refused"] = press(client, html, f"type={HOSTILE}").text
    return pages


def test_hostile_text_is_text_everywhere() -> None:
    """Titles, ids, reasons and queries made of markup add no tag, handler, style or address to any page."""
    with client_of(hostile_shop()) as client:
        pages = pages_of(client)
    allowed = re.compile(r"/(?!/)|#")
    for name, html in pages.items():
        page = Page(html)
        scripts = page.all("script")
        assert all(a["src"].startswith("/web/static/") for a in scripts), name
        assert len(scripts) == (0 if "live" in name or name == "slots" else 1), name
        assert not page.all("img"), name
        for tag, attributes in page.tags:
            assert not [a for a in attributes if a.startswith("on") or a == "style"], (name, tag)
            assert all(allowed.match(attributes.get(a, "/")) for a in ("href", "src", "action")), (name, tag)
        assert "49" not in re.sub(r"[\w-]*=\"[^\"]*\"|\d\S*\d", "", page.text), f"{name}: a template in a text was run"


def test_hostile_ids_come_back_whole() -> None:
    """An id of any characters survives the page: in data, in the link and in the button."""
    with client_of(hostile_shop()) as client:
        page = Page(client.get("/").text)
    card = next(a for a in page.all("li") if "data-item" in a)
    parsed = HOSTILE.replace("\r", "")
    assert card["data-item"] == parsed
    link = next(a for a in page.all("a", class_="card-link"))
    assert parse_qs(link["href"].partition("?")[2])["id"] == [HOSTILE]
    assert parse_qs(page.all("button", class_="heart")[0]["value"])["itemId"] == [HOSTILE]


def test_a_surrogate_in_a_title_breaks_no_page(client: TestClient, shop: Any) -> None:
    """Text that is not valid Unicode is shown with question marks, not as an error."""
    shop.slots_override = [
        {"slot": "s", "decisionId": "d", "items": [{"itemId": "i\ud800", "title": "bad \udcff title"}]}
    ]
    answer = client.get("/")
    assert answer.status_code == 200
    assert "bad ? title" in answer.text


def test_pictures_come_from_the_shop_or_over_tls(shop: Any) -> None:
    """An image address of the catalogue is used when it is https or our own; else a picture is drawn."""
    with client_of(shop) as client:
        for url, shown in (("https://img.test/a.jpg", True), ("/img/a.jpg", True), ("//evil/a.jpg", False),
                           ("http://img.test/a.jpg", False), ("data:text/html,x", False)):  # fmt: skip
            shop.slots_override = [{"slot": "s", "decisionId": "d", "items": [{"itemId": "i", "imageUrl": url}]}]
            assert bool(Page(client.get("/").text).all("img")) == shown, url


def test_every_page_forbids_what_is_not_ours(client: TestClient) -> None:
    """Pages carry a policy without inline scripts or styles, and no shared cache may keep them."""
    for path in (*EVERYWHERE, "/web/home/live", "/web/customers", "/web/me/export", "/web/item?id=none"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["cache-control"] == "private, no-store"
        assert headers["x-content-type-options"] == "nosniff"


# ---- what a person does


def test_a_heart_works_without_javascript(client: TestClient, shop: Any) -> None:
    """A plain form: the event is recorded, the browser is sent back, and the page says it once and has changed."""
    html = client.get("/?customer=1609").text
    value = next(a["value"] for a in hearts(html) if "itemId=w1" in a["value"])
    back = press(client, html, value)
    assert [r.status_code for r in back.history] == [303]
    assert "Added to wishlist" in Page(back.text).text
    assert "Because of your wishlist" in back.text.partition('<aside class="why"')[0]
    pressed = [a for a in hearts(back.text) if a["aria-pressed"] == "true"]
    assert pressed
    assert all("itemId=w1" in a["value"] and "type=wishlist_remove" in a["value"] for a in pressed)
    assert "Added to wishlist" not in client.get("/").text
    press(client, back.text, pressed[0]["value"])
    assert [e["type"] for e in shop.events] == ["wishlist", "wishlist_remove"]
    assert "Because of your wishlist" not in client.get("/").text.partition('<aside class="why"')[0]


def test_an_event_says_who_where_and_under_which_decision(client: TestClient, shop: Any) -> None:
    """A heart of a chosen customer is that customer's and no visitor's, with the decision that showed the product."""
    html = client.get("/?customer=1609").text
    value = next(a["value"] for a in hearts(html) if "itemId=w1" in a["value"])
    press(client, html, value, json=True)
    event = shop.events[0]
    assert re.fullmatch(r"web-[0-9a-f]{24}", event.pop("eventId"))
    assert event == {
        "type": "wishlist", "itemId": "w1", "userId": "1609", "sessionId": shop.requests[0]["session_id"],
        "channel": "web", "decisionId": "dec-1-d", "context": {"device": "desktop", "trafficSource": "direct"},
        "properties": {"slot": "d", "position": 3, "page": "home"},
    }  # fmt: skip


def test_a_script_gets_words_for_both_outcomes(client: TestClient, shop: Any) -> None:
    """The answer to a script holds what to say when the page changed and when not, and the basket's count."""
    html = client.get("/").text
    answer = press(client, html, deed_value("cart", "t1"), json=True, quantity="2")
    assert answer.json() == {
        "message": "Added to basket", "changed": "Added to basket: your page has changed", "basket": 2,
        "basketLabel": "Basket, 2 items",
    }  # fmt: skip
    assert {k: shop.events[0][k] for k in ("quantity", "unitPrice")} == {"quantity": 2, "unitPrice": 12.3}


def test_a_price_comes_from_the_catalogue(client: TestClient, shop: Any) -> None:
    """What a form claims about a price is not believed; an unknown price stays unknown."""
    html = client.get("/").text
    press(client, html, deed_value("purchase", "t1") + "&unitPrice=0.01", unitPrice="0.01")
    press(client, html, deed_value("purchase", "n2"))
    assert shop.events[0]["unitPrice"] == 12.3
    assert "unitPrice" not in shop.events[1]
    assert shop.events[0]["orderId"] != shop.events[1]["orderId"]


def test_a_button_pressed_twice_is_one_event(client: TestClient, shop: Any) -> None:
    """An impatient second click on the same rendered page buys once; on the page rendered anew it buys again."""
    html = client.get("/web/item?id=t1").text
    shop.events.clear()
    press(client, html, deed_value("purchase", "t1"), json=True)
    press(client, html, deed_value("purchase", "t1"), json=True)
    assert len(shop.events) == 1
    press(client, client.get("/web/item/live?id=t1").text, deed_value("purchase", "t1"), json=True)
    assert len(shop.events) == 2


def test_basket_becomes_one_order(client: TestClient, shop: Any) -> None:
    """Lines keep their pieces and decisions; buying makes one order with a line a product and empties the basket."""
    html = client.get("/web/item?id=t1&d=dec-9&s=a&p=2").text
    values = [a["value"] for a in Page(html).all("button", data_key="cart")]
    press(client, html, values[0], quantity="2")
    press(client, client.get("/web/item?id=b1").text, deed_value("cart", "b1"))
    page = client.get("/web/basket").text
    assert "$29.40" in page  # 2 x 12.30 + 4.80
    shop.events.clear()
    done = press(client, page, "type=order")
    first, second = shop.events
    assert first["orderId"] == second["orderId"]
    assert (first["line"], first["itemId"], first["quantity"], first["decisionId"]) == ("1", "t1", 2, "dec-9")
    assert (second["line"], second["itemId"], second["quantity"], second["unitPrice"]) == ("2", "b1", 1, 4.8)
    assert "decisionId" not in second
    assert "Order placed" in done.text
    assert done.url.path == "/web/thanks"
    assert "Your basket is empty" in client.get("/web/basket").text
    assert press(client, page, "type=order", json=True).status_code == 400


def test_a_basket_line_can_be_removed(client: TestClient, shop: Any) -> None:
    """Removing is an event too, and an unpriced line is named beside the total."""
    html = client.get("/").text
    press(client, html, deed_value("cart", "t1"))
    press(client, html, deed_value("cart", "n2"))
    page = client.get("/web/basket").text
    assert "whose price is not known" in page
    remove = next(a["value"] for a in Page(page).all("button", class_="plain") if "itemId=n2" in a["value"])
    page = press(client, page, remove).text
    assert shop.events[-1]["type"] == "cart_remove"
    assert "whose price is not known" not in page
    assert [a["data-item"] for a in Page(page).all("li", class_="line")] == ["t1"]


def test_a_full_basket_is_refused_in_words() -> None:
    """A basket never outgrows its cookie: sealed it stays below the 4096 bytes that browsers keep."""
    basket = Basket()
    with pytest.raises(RequestError, match="basket is full"):
        for number in range(200):
            basket = basket.added(Line(f"{number}-" + "x" * 60, 1, "d" * 32))
    assert len(basket.lines) > 20
    sealed = Signer(lambda: SECRET).seal("basket", basket.encode())
    assert len(sealed) + 60 < 4096
    assert len(basket.encode()) <= MAX_BYTES


def test_clicking_through_is_a_click_and_a_view(client: TestClient, shop: Any) -> None:
    """The link of a card records the click under its decision once a visit, and each look as a view."""
    page = Page(client.get("/?customer=718").text)
    href = page.all("a", class_="card-link")[0]["href"]
    item = Page(client.get(href).text)
    client.get(href)
    assert [e["type"] for e in shop.events] == ["click", "view", "view"]
    assert {e["decisionId"] for e in shop.events} == {"dec-1-c"}
    assert shop.events[0]["properties"] == {"slot": "c", "position": 0}
    buy = item.all("button", data_key="buy")[0]["value"]
    assert parse_qs(buy)["decisionId"] == ["dec-1-c"]


@pytest.mark.parametrize(
    ("headers", "types"),
    [
        ({}, ["click", "view"]),
        ({"Sec-Fetch-Site": "same-origin"}, ["click", "view"]),
        ({"Sec-Fetch-Site": "cross-site"}, ["view"]),
        ({"Sec-Purpose": "prefetch"}, []),
        ({"Purpose": "prefetch"}, []),
    ],
)
def test_only_a_look_counts_as_a_look(client: TestClient, shop: Any, headers: dict[str, str], types: list[str]) -> None:
    """Prefetches are no views, and another site's link cannot claim a click of one of our slots."""
    client.get("/web/item?id=t1&d=dec-1-a&s=a&p=0", headers=headers)
    assert [e["type"] for e in shop.events] == types


def test_a_monitor_decides_no_page(client: TestClient, shop: Any) -> None:
    """HEAD answers 200 and neither logs a decision nor a view; the fragment of a product is no view."""
    assert client.head("/").status_code == 200
    assert client.head("/web/item?id=t1").status_code == 200
    assert shop.requests == []
    client.get("/web/item/live?id=t1")
    assert shop.events == []


def test_coming_back_from_a_form_is_no_new_view(client: TestClient, shop: Any) -> None:
    """A basket button without JavaScript returns to the product page; that is not a second look."""
    html = client.get("/web/item?id=t1").text
    back = press(client, html, deed_value("cart", "t1"))
    assert "Added to basket" in back.text
    assert [e["type"] for e in shop.events] == ["view", "cart"]


def test_a_store_that_is_down_still_shows_the_product(client: TestClient, shop: Any) -> None:
    """A view that cannot be kept hides no product; a purchase that cannot be kept is said to have failed."""

    async def down(events: list[dict[str, Any]]) -> dict[str, Any]:
        raise Unavailable("the store is full", where="/srv/a/store.db", got="db-1.internal")

    html = client.get("/").text
    shop.send_events = down
    assert client.get("/web/item?id=t1").status_code == 200
    answer = press(client, html, deed_value("purchase", "t1"))
    assert answer.status_code == 503
    assert "Nothing was lost" in answer.text
    error = press(client, html, deed_value("purchase", "t1"), json=True).json()["error"]
    assert (error["code"], error["message"], error["field"]) == ("unavailable", "the store is full", None)
    assert "Nothing was lost" in error["said"]


# ---- who is looking


def test_visitor_cookie_is_random_and_not_for_scripts(shop: Any) -> None:
    """Two browsers are two visitors; the cookie is HttpOnly and Lax, and Secure where the page was."""
    ids = set()
    for base, secure in (("http://testserver", False), ("https://testserver", True)):
        with client_of(shop, base_url=base) as client:
            cookies = client.get("/").headers.get_list("set-cookie")
        assert len(cookies) == 2
        for cookie in cookies:
            assert "httponly" in cookie.lower()
            assert "samesite=lax" in cookie.lower()
            assert ("secure" in cookie.lower()) == secure
        ids.add(shop.requests[-1]["visitor_id"])
    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", i) for i in ids)


def test_a_visitor_stays_the_same(client: TestClient, shop: Any) -> None:
    """The next page is the same visitor's in the same visit."""
    client.get("/")
    client.get("/web/home/live")
    first, second = shop.requests
    assert (first["visitor_id"], first["session_id"]) == (second["visitor_id"], second["session_id"])


@pytest.mark.parametrize("forge", ["", "x", "x.y", "!!!.***", "é.é", "{}"])
def test_a_forged_cookie_is_nobody(client: TestClient, shop: Any, forge: str) -> None:
    """A visitor id that we did not sign is not believed, nor is one signed by another shop."""
    client.get("/")
    known, signer = shop.requests[-1]["visitor_id"], Signer(lambda: SECRET)
    other = Signer(lambda: b"another shop's secret, also long")
    for name in ("visitor", "session", "customer", "basket", "said"):
        value = other.seal(name, known.encode()) if forge == "{}" else forge
        client.cookies.clear()
        client.cookies.set(signer.cookie(name), value.encode("ascii", "replace").decode())
        assert client.get("/").status_code == 200
        assert shop.requests[-1]["visitor_id"] != known
        assert shop.requests[-1]["user_id"] is None


def test_a_seal_is_for_one_purpose() -> None:
    """What was sealed as a session cannot be put on as a visitor."""
    signer = Signer(lambda: SECRET)
    assert signer.open("visitor", signer.seal("session", b"me")) is None
    assert signer.open("visitor", signer.seal("visitor", b"me")) == b"me"
    with pytest.raises(ConfigError, match="too short"):
        Signer(lambda: b"short").token("me")


def test_two_shops_on_one_host_do_not_share_cookies() -> None:
    """Ports do not separate cookies, so their names do."""
    assert Signer(lambda: SECRET).cookie("visitor") != Signer(lambda: SECRET[::-1]).cookie("visitor")


def test_choosing_a_customer_begins_another_visit(client: TestClient, shop: Any) -> None:
    """Another subject has another session and an empty basket, and the operator's visitor id is not linked to it."""
    html = client.get("/").text
    press(client, html, deed_value("cart", "t1"))
    client.get("/?customer=1609")
    client.get("/?visitor=new&region=North")
    _, _, customer, visitor = shop.requests
    assert customer["user_id"] == "1609"
    assert customer["visitor_id"] is None
    assert len({r["session_id"] for r in (shop.requests[0], customer, visitor)}) == 3
    assert visitor["user_id"] is None
    assert visitor["visitor_id"] not in (None, shop.requests[0]["visitor_id"])
    assert visitor["context"]["region"] == "North"
    assert "Your basket is empty" in client.get("/web/basket").text


def test_context_is_what_the_visit_began_with(client: TestClient, shop: Any) -> None:
    """Source, referrer's host and device go along, also with the fragments fetched later."""
    phone = {"User-Agent": "Mozilla/5.0 (iPhone) Mobile", "Referer": "https://news.example/secret?q=1"}
    client.get("/?utm_source=letter", headers=phone)
    client.get("/web/home/live", headers={"User-Agent": phone["User-Agent"], "Referer": "http://testserver/"})
    expected = {"device": "phone", "trafficSource": "letter", "referrer": "news.example", "locale": "en",
                "userAgent": phone["User-Agent"]}  # fmt: skip
    addresses = [r["context"].pop("url") for r in shop.requests]
    assert [r["context"] for r in shop.requests] == [expected, expected]
    assert addresses[0] == "http://testserver/?utm_source=letter"


@pytest.mark.parametrize("referrer", ["http://[", "https://", "nonsense", "http://testserver/web/basket"])
def test_a_strange_referrer_is_direct(client: TestClient, shop: Any, referrer: str) -> None:
    """A referrer that names no other host is no referral, and never an error."""
    assert client.get("/", headers={"Referer": referrer}).status_code == 200
    context = shop.requests[-1]["context"]
    assert (context["device"], context["trafficSource"]) == ("desktop", "direct")
    assert "referrer" not in context


def test_devices_are_told_apart() -> None:
    """An Android without `Mobile` is a tablet."""
    assert device_of("Mozilla/5.0 (Linux; Android 14; Tab) Safari") == "tablet"
    assert device_of("Mozilla/5.0 (Windows NT 10.0)") == "desktop"


# ---- forms that are not ours, and forms that are wrong


def test_a_form_needs_its_token(client: TestClient, shop: Any) -> None:
    """Without the token, with another visitor's, or with no cookie at all nothing is recorded."""
    html, value = client.get("/").text, deed_value("wishlist", "t1")
    with client_of(shop) as stranger:
        foreign = stranger.get("/").text
        assert press(client, foreign, value).status_code == 403
        stranger.cookies.clear()
        assert press(stranger, foreign, value).status_code == 403
    assert press(client, html, value, token="").status_code == 403
    refused = press(client, html, value, json=True, token="é")
    assert refused.status_code == 403
    assert refused.json()["error"]["field"] == "token"
    assert "reload" in refused.json()["error"]["said"]
    assert shop.events == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://testserver:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_of_another_site_is_refused(client: TestClient, shop: Any, headers: dict[str, str]) -> None:
    """Even with the right token a request that a browser marks as another site's is not ours."""
    html = client.get("/").text
    form = {a["name"]: a["value"] for a in Page(html).all("input", type="hidden")}
    answer = client.post("/web/events", data={**form, "do": deed_value("wishlist", "t1")}, headers=headers)
    assert answer.status_code == 403
    assert shop.events == []


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"do": ""}, "do.type"),
        ({"do": "type=sell&itemId=t1"}, "do.type"),
        ({"do": "type=view&itemId=t1"}, "do.type"),
        ({"do": "type=wishlist"}, "do.itemId"),
        ({"do": "type=wishlist&itemId=" + "x" * 513}, "do.itemId"),
        ({"do": "type=wishlist&itemId=%ff"}, "do"),
        ({"do": "&".join(f"a{n}=1" for n in range(40))}, "do"),
        ({"do": "type=cart&itemId=t1", "quantity": "0"}, "quantity"),
        ({"do": "type=cart&itemId=t1", "quantity": "-1"}, "quantity"),
        ({"do": "type=cart&itemId=t1", "quantity": "٣"}, "quantity"),
        ({"do": "type=cart&itemId=t1", "quantity": "1e9"}, "quantity"),
        ({"do": "type=cart&itemId=t1&position=x"}, "do.position"),
        ({"do": "type=cart&itemId=t1", "from": "https://evil.example"}, "from"),
        ({"do": "type=order"}, "do"),
    ],
)
def test_a_wrong_form_is_refused_by_field(client: TestClient, shop: Any, fields: dict[str, str], where: str) -> None:
    """Whatever a form holds, the answer is a 400 that names the field, and nothing is recorded."""
    html = client.get("/").text
    do = fields["do"]
    answer = press(client, html, do, json=True, **{k: v for k, v in fields.items() if k != "do"})
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == where
    assert shop.events == []
    page = press(client, html, do, **{k: v for k, v in fields.items() if k != "do"})
    assert page.status_code == 400
    assert "That did not work" in page.text


@pytest.mark.parametrize(
    ("body", "kind", "where"),
    [
        (b"{}", "application/json", "Content-Type"),
        (b"a=1", "", "Content-Type"),
        (b"a=" + b"x" * 20_000, "application/x-www-form-urlencoded", "body"),
        (b"a=\xff\xfe", "application/x-www-form-urlencoded", "body"),
    ],
)
def test_a_body_that_is_no_form_is_refused(client: TestClient, body: bytes, kind: str, where: str) -> None:
    """Another content type, a body beyond 16 KB or bytes that are not UTF-8 get a 400."""
    headers = {"Content-Type": kind, "Accept": "application/json"}
    answer = client.post("/web/events", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == where


def test_what_the_shop_refuses_is_told(client: TestClient, shop: Any) -> None:
    """An event that the engine rejects is not called a success, and the basket stays as it was."""
    html = client.get("/").text
    shop.reject = "the customer was erased"
    answer = press(client, html, deed_value("cart", "t1"))
    assert answer.status_code == 400
    assert "the customer was erased" in answer.text
    assert "Your basket is empty" in client.get("/web/basket").text


def test_an_engine_that_cannot_answer_is_a_calm_page(client: TestClient, shop: Any) -> None:
    """A shop without a bundle is a 503 in words, not a traceback."""
    shop.error = Unavailable("no bundle is live")
    answer = client.get("/")
    assert answer.status_code == 503
    assert "The shop cannot answer just now" in answer.text
    assert "no bundle" not in answer.text


@pytest.mark.parametrize("query", ["", "id=", "id=nothing", "id=" + "x" * 600, "id=%ff", "p=1"])
def test_a_product_that_is_not_there_is_a_404(client: TestClient, shop: Any, query: str) -> None:
    """Unknown, empty and overlong ids are a page that says so, and no event."""
    answer = client.get(f"/web/item?{query}")
    assert answer.status_code == 404
    assert "There is no such product" in answer.text
    assert shop.events == []


def test_a_host_that_is_not_allowed_sees_nothing(shop: Any) -> None:
    """The rule of a developer's machine holds for every page and form, whatever the method."""
    app, here = Guard(Starlette(routes=routes(shop, secret=lambda: SECRET)), Access(dev=True)), ("127.0.0.1", 50_000)
    with TestClient(app, base_url="http://evil.example", client=here) as client:
        for method, path in (("GET", "/"), ("HEAD", "/"), ("GET", "/web/customers"), ("POST", "/web/events")):
            assert client.request(method, path).status_code == 403, path
        assert "1609" not in client.get("/web/customers").text
    with TestClient(app, base_url="http://localhost", client=("192.0.2.1", 50_000)) as client:
        assert client.get("/").status_code == 403, "the right name, but from elsewhere"
    with TestClient(app, base_url="http://localhost", client=here) as client:
        assert client.get("/").status_code == 200
    assert len(shop.requests) == 1


# ---- the picker


def test_picker_finds_customers(client: TestClient, shop: Any) -> None:
    """Customers are listed with events and last seen; an id that is not there can still be looked at."""
    page = client.get("/web/customers").text
    assert "2,811" in page
    assert "2017-11-30 18:22 UTC" in page
    assert "never" in page
    links = [a["href"] for a in Page(client.get("/web/customers?q=160").text).all("a") if "data-customer" in a]
    assert links == ["/?customer=1609"]
    nobody = Page(client.get("/web/customers?q=no+one+%26+co").text)
    assert shop.queries[-1][1] == "no one & co"
    client.get(next(a["href"] for a in nobody.all("a") if a["href"].startswith("/?customer")))
    assert shop.requests[-1]["user_id"] == "no one & co"


def test_an_overlong_customer_id_is_refused(client: TestClient) -> None:
    """A customer id that cannot be one is a 400, not a cookie that no browser keeps."""
    assert client.get("/?customer=" + "x" * 513).status_code == 400
    assert client.get("/?customer=" + "客" * 512).status_code == 200


# ---- words, money, pictures


def test_both_languages_say_the_same_things() -> None:
    """Every text stands in both languages, with the same placeholders."""
    english, japanese = TEXTS["en"], TEXTS["ja"]
    assert english.keys() == japanese.keys()
    for key in english:
        names = [{f[1] for f in string.Formatter().parse(t[key]) if f[1]} for t in (english, japanese)]
        assert names[0] == names[1], key
    assert Words("ja-JP").locale == "ja"
    assert Words("fr").locale == "en"


def test_a_japanese_shop_speaks_japanese() -> None:
    """Language, yen and words follow the shop's locale on every page."""
    with client_of(FakeShopfront("ja")) as client:
        home = client.get("/?customer=718").text
        assert '<html lang="ja">' in home
        for text in ("おはようございます", "またお求めですか", "煎茶 一番摘み 100g", "¥1,980", "このページの理由"):
            assert text in home
        done = press(client, home, deed_value("wishlist", "t2"), json=True)
        assert done.json()["changed"] == "お気に入りに追加しました。ページの内容が変わりました"
        assert "カートに入れる" in client.get("/web/item?id=t1").text
        assert "カートは空です" in client.get("/web/basket").text
        assert "商品が見つかりません" in client.get("/web/item?id=none").text


def test_prices_are_written_as_shops_do() -> None:
    """Yen without decimals, dollars with two; unknown is empty."""
    assert format_price(1980, "JPY") == "¥1,980"
    assert format_price(12.3, "USD") == "$12.30"
    assert format_price(-1234.5, "GBP") == "-£1,234.50"
    assert format_price(float("inf"), "EUR") == ""


@given(st.lists(st.text(), max_size=3).map(tuple), st.text())
def test_a_picture_holds_nothing_of_the_text(path: tuple[str, ...], title: str) -> None:
    """Drawn from names of ours and numbers only, and the same for the same product."""
    picture = art.still_life(path, title)
    assert picture == art.still_life(path, title)
    assert re.fullmatch(r'[\w\s<>="/#():.\-]+', picture)
    assert set(re.findall(r"#v-(\w+)", picture)) <= set(art.SHAPES)
    assert 0 <= art.tone(title) < art.TONES


def test_every_shape_is_drawn() -> None:
    """Each outline and tone that a picture may name stands in the sprite and the style sheet."""
    web = ROOT / "serving" / "web"
    sprite = (web / "templates" / "_sprite.html").read_text()
    assert re.findall(r'<g id="v-(\w+)"', sprite) == list(art.SHAPES)
    css = (web / "static" / "storefront.css").read_text()
    assert all(f".tone-{tone} " in css for tone in range(art.TONES))
    assert "url(" not in css


def test_words_choose_the_shape() -> None:
    """A word decides where one helps, the narrowest first and from its beginning: tea is not in steak."""
    assert art.shape(("Drinks", "Wine"), "Riesling") == "bottle"
    assert art.shape(("MEAT", "BEEF", "PRIMAL"), "RIBEYE STEAK") == "tray"
    assert art.shape(("GROCERY", "BAKED BREAD/BUNS/ROLLS", "HOT DOG BUNS"), "HOT DOG BUNS, 11 OZ") == "loaf"
    assert art.shape(("パン",), "食パン") == "loaf"


def test_a_card_does_not_say_the_same_twice(client: TestClient, shop: Any) -> None:
    """Where a title begins with its narrowest category the next wider one is shown."""
    item = {"itemId": "i", "title": "PRIMAL, 2 LB", "category": "MEAT > BEEF > PRIMAL"}
    shop.slots_override = [{"slot": "s", "decisionId": "d", "items": [item]}]
    assert '<p class="card-category">BEEF</p>' in client.get("/").text


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=512), st.none() | st.integers(0, 9999))
def test_any_id_travels_through_a_button(item_id: str, position: int | None) -> None:
    """What a button carries is read back as it was, whatever characters an id has."""
    origin = Origin("d;1&x=2", "a b", position)
    deed = read_deed({"do": deed_value("wishlist", item_id, origin)})
    assert (deed.item_id, deed.origin) == (item_id, origin)
    assert parse_qs(item_href(item_id).partition("?")[2], keep_blank_values=True)["id"] == [item_id]


@given(st.binary(max_size=200))
def test_any_cookie_is_a_basket(payload: bytes) -> None:
    """A basket of another version or none at all is an empty one, never an error."""
    assert isinstance(decode_basket(payload), Basket)


def test_cards_keep_the_look_of_known_kinds(shop: Any) -> None:
    """Kinds choose a look from ours; any other looks plain, so a kind cannot name a class of its own."""
    viewer = Viewer({"name": "", "currency": "USD", "locale": "en", "bundle_id": "", "as_of": None, "demo": False})
    items = [{"itemId": "i"}]
    for kind, look in (("buy-again", "buy-again"), ("related-to-last-view", "related"), ("x y", "plain")):
        view = viewer.slot({"slot": "s", "decisionId": "d", "kind": kind, "items": items})
        assert view is not None
        assert view.kind == look


def test_static_files_are_ours_and_may_be_kept(client: TestClient) -> None:
    """Style sheet, script and icon have addresses that change with them and may be cached for good."""
    page = Page(client.get("/").text)
    urls = [a["href"] for a in page.all("link")] + [a["src"] for a in page.all("script")]
    assert len(urls) == 3
    for url in urls:
        answer = client.get(url)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]


def test_fragments_are_parts_of_their_pages(client: TestClient) -> None:
    """What a script fetches is the changing part only, with a fresh form in it."""
    for path in EVERYWHERE:
        path, _, query = path.partition("?")
        path = f"{'/web/home' if path == '/' else path}/live?{query}"
        html = client.get(path).text
        assert "<html" not in html
        assert 'id="deeds"' in html


def test_buttons_and_pictures_can_be_heard(client: TestClient) -> None:
    """Every button has a name, every picture is hidden or named, and headings and landmarks are there."""
    for path in ("/?customer=1609", *EVERYWHERE[1:]):
        heard(client.get(path).text)


def heard(html: str) -> None:
    """What a screen reader needs of every page."""
    page = Page(html)
    for tag in ("header", "main", "footer", "nav", "aside"):
        assert page.all(tag), tag
    assert len(page.all("h1")) == 1
    assert all(a.get("aria-hidden") == "true" for a in page.all("svg"))
    spoken = re.findall(r"<button([^>]*)>(.*?)</button>", html, re.DOTALL)
    assert all("aria-label" in a or re.sub(r"<[^>]*>", "", words).strip() for a, words in spoken)
    assert page.all("div", role="status", aria_live="polite")
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a} <= set(ids)


def test_the_storefront_is_light() -> None:
    """It brings neither BentoML nor pandas nor pydantic into a process."""
    code = "import sys, serving.web; print({'bentoml', 'pandas', 'pydantic', 'duckdb', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
