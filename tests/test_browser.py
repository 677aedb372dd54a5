"""A person's walk through the storefront in a real browser.

By default over the small shop of `fake_shopfront.py`. The same walk goes over a running service:

    KOKYAKU_BASE_URL=http://127.0.0.1:3000 pytest tests/test_browser.py

(it must be in demo mode; the walk then chooses its most active customer and buys). Screenshots are kept in
`tests/screenshots/`. Chromium is found on the PATH or named by KOKYAKU_CHROMIUM.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from serving.web import routes

CHROMIUM = os.environ.get("KOKYAKU_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
HAS_PLAYWRIGHT = importlib.util.find_spec("playwright") is not None
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on the PATH and KOKYAKU_CHROMIUM is not set"),
    pytest.mark.skipif(not HAS_PLAYWRIGHT, reason="the Python package playwright is not installed"),
]

SHOTS = Path(__file__).parent / "screenshots"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--disable-default-apps", "--disable-extensions", "--disable-sync",
    "--metrics-recording-only", "--mute-audio", "--no-first-run", "--no-default-browser-check",
]  # fmt: skip

CONTENTS = """() => [...document.querySelectorAll("[data-slot]")].map((slot) =>
    [slot.dataset.slot, [...slot.querySelectorAll("[data-item]")].map((card) => card.dataset.item)])"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def _fake_routes(locale: str) -> list[Any]:
    path = Path(__file__).with_name("fake_shopfront.py")
    spec = importlib.util.spec_from_file_location("fake_shopfront", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return routes(module.FakeShopfront(locale))


def _serve(locale: str) -> Iterator[str]:
    """A storefront over the small shop on a free port of loopback, for as long as it is needed."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = Starlette(routes=_fake_routes(locale))
        config = uvicorn.Config(app, log_level="warning", loop="asyncio", ws="none", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """Where the storefront answers; KOKYAKU_BASE_URL points it at a running service."""
    given = os.environ.get("KOKYAKU_BASE_URL", "").rstrip("/")
    if given:
        yield given
    else:
        yield from _serve("en")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@dataclass
class Shopper:
    """A person at a browser; `complaints` are errors that the console showed (refused scripts or styles included)."""

    page: Any
    base_url: str
    name: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(15_000)
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: str) -> None:
        answer = self.page.goto(self.base_url + path)
        assert answer is not None
        assert answer.status == 200, (path, answer.status)

    def shoot(self, step: str) -> None:
        assert self.page.evaluate(OVERFLOW) <= 0, f"{step} is wider than the window"
        self.page.screenshot(path=SHOTS / f"{self.name}-{step}.png", full_page=True)

    def contents(self) -> list[Any]:
        """Which products stand in which slot."""
        found: list[Any] = self.page.evaluate(CONTENTS)
        return found

    def choose_a_customer(self) -> str:
        """Take the first of the picker: the most active one."""
        self.open("/web/customers")
        link = self.page.locator("a[data-customer]").first
        customer = str(link.get_attribute("data-customer"))
        link.click()
        assert self.page.locator("[data-subject]").inner_text() == customer
        return customer

    def free_heart(self) -> Any:
        """A heart that is not pressed yet, in the last slot."""
        key = self.page.locator('.heart[aria-pressed="false"]').last.get_attribute("data-key")
        return self.page.locator(f'.heart[data-key="{key}"]')

    def told(self) -> str:
        """What the toast says."""
        self.page.locator(".toast.show").wait_for()
        return str(self.page.locator(".toast").inner_text())

    def settle(self) -> None:
        """Wait until what was asked for in the background has come."""
        self.page.wait_for_load_state("networkidle")


def shopper(browser: Any, base_url: str, name: str, **options: Any) -> Shopper:
    """Somebody with a browser of their own: no cookies yet."""
    SHOTS.mkdir(exist_ok=True)
    context = browser.new_context(**{"viewport": DESKTOP, **options})
    return Shopper(context.new_page(), base_url, name)


def close(person: Shopper) -> None:
    person.page.context.close()


def test_a_walk(browser: Any, base_url: str) -> None:
    """Heart, product, basket, purchase and back: the page changes without a reload and says so, and nothing breaks."""
    person = shopper(browser, base_url, "desktop", reduced_motion="reduce")
    person.choose_a_customer()
    before = person.contents()
    assert before
    assert all(items for _, items in before), "a slot without products is shown"
    person.shoot("1-home")

    heart = person.free_heart()
    item = str(heart.get_attribute("value")).partition("itemId=")[2].partition("&")[0]
    heart.click()
    told = person.told()
    person.settle()
    after = person.contents()
    assert after != before, "a wish changed nothing"
    assert re.search(r"changed|変わりました", told)
    pressed = person.page.locator('.heart[aria-pressed="true"]')
    assert any(f"itemId={item}&" in str(h.get_attribute("value")) for h in pressed.all()) or item not in str(after)
    person.shoot("2-wished")

    person.page.locator("[data-why] summary").click()
    panel = person.page.locator(".why").inner_text()
    assert re.search(r"\S{6,}", panel)
    person.shoot("3-why")
    person.page.locator("[data-why] summary").click()

    person.page.locator(".card-link").last.click()
    person.page.wait_for_url("**/web/item?**")
    person.shoot("4-product")
    person.page.locator('[data-key="cart"]').click()
    person.told()
    person.settle()
    assert person.page.locator("[data-basket]").inner_text() == "1"
    person.page.locator("[data-basket-link]").click()
    person.page.wait_for_url("**/web/basket")
    person.shoot("5-basket")
    person.page.locator('[data-key="order"]').click()
    person.told()
    person.settle()
    assert person.page.locator("[data-basket]").inner_text() == "0"
    person.page.locator(".back a").click()
    person.page.locator(".greeting").wait_for()
    assert person.contents() != after, "a purchase changed nothing"
    person.shoot("6-home-after")
    assert person.complaints == []
    close(person)


def test_buying_at_once(browser: Any, base_url: str) -> None:
    """`Buy now` on the product page is a purchase of that product; the person stays there and is thanked."""
    person = shopper(browser, base_url, "buy", reduced_motion="reduce")
    person.choose_a_customer()
    person.page.locator(".card-link").last.click()
    person.page.wait_for_url("**/web/item?**")
    url = person.page.url
    person.page.locator("select[name=quantity]").select_option("2")
    person.page.locator('[data-key="buy"]').click()
    assert person.told()
    person.settle()
    assert person.page.url == url
    assert person.page.locator("[data-basket]").inner_text() == "0"
    assert person.complaints == []
    close(person)


def test_a_phone(browser: Any, base_url: str) -> None:
    """At phone width nothing sticks out, and a tap on a heart works as well."""
    person = shopper(
        browser, base_url, "phone", viewport=PHONE, is_mobile=True, has_touch=True, reduced_motion="reduce"
    )
    person.choose_a_customer()
    person.shoot("1-home")
    person.free_heart().tap()
    person.told()
    person.settle()
    person.shoot("2-wished")
    person.page.locator(".card-link").first.tap()
    person.page.wait_for_url("**/web/item?**")
    person.shoot("3-product")
    person.open("/web/basket")
    person.shoot("4-basket")
    person.open("/web/customers")
    person.shoot("5-picker")
    assert person.complaints == []
    close(person)


def test_a_new_visitor_in_the_dark(browser: Any, base_url: str) -> None:
    """Somebody nobody knows, with dark colours: a page with something on it, that changes with what they look at."""
    person = shopper(browser, base_url, "dark", color_scheme="dark", reduced_motion="reduce")
    person.open("/?visitor=new")
    before = person.contents()
    assert before
    person.shoot("1-visitor")
    for place in range(5):  # not every product has company
        person.page.locator(".card-link").nth(place).click()
        person.page.wait_for_url("**/web/item?**")
        person.shoot("2-product")
        person.open("/")
        if person.contents() != before:
            break
    assert person.contents() != before, "looking changed nothing"
    assert person.complaints == []
    close(person)


def test_without_javascript(browser: Any, base_url: str) -> None:
    """With scripts off a heart is a form: the page comes back changed and says what happened."""
    person = shopper(browser, base_url, "plain", java_script_enabled=False)
    person.choose_a_customer()
    hearts = person.page.locator('.heart[aria-pressed="true"]').count()
    person.free_heart().click()
    person.page.wait_for_load_state()
    assert person.page.url == f"{base_url}/"
    assert person.page.locator(".toast").inner_text().strip()
    assert person.page.locator('.heart[aria-pressed="true"]').count() != hearts
    person.page.screenshot(path=SHOTS / "plain-1-home.png")
    close(person)


def test_with_the_keyboard_alone(browser: Any, base_url: str) -> None:
    """The first tab stop skips to the content; a heart pressed by key keeps the focus and its place."""
    person = shopper(browser, base_url, "keys", reduced_motion="reduce")
    person.choose_a_customer()
    person.page.keyboard.press("Tab")
    assert person.page.evaluate("document.activeElement.className") == "skip"
    person.page.keyboard.press("Enter")
    assert person.page.evaluate("document.activeElement.id") == "content"
    heart = person.page.locator('.heart[aria-pressed="false"]').first
    key = heart.get_attribute("data-key")
    heart.focus()
    person.page.keyboard.press("Space")
    person.told()
    person.settle()
    focused = person.page.evaluate("[document.activeElement.dataset.key || '', document.activeElement.tagName]")
    assert focused[0] == key or focused[1] == "H1"
    person.page.screenshot(path=SHOTS / "keys-1-focus.png")
    close(person)


def test_a_shop_that_cannot_be_reached(browser: Any, base_url: str) -> None:
    """When the answer does not come the heart goes back and the person is told."""
    person = shopper(browser, base_url, "offline", reduced_motion="reduce")
    person.choose_a_customer()
    heart = person.free_heart()
    person.page.route("**/web/events", lambda route: route.abort())
    heart.click()
    assert person.told()
    assert heart.get_attribute("aria-pressed") == "false"
    close(person)


@pytest.mark.skipif("KOKYAKU_BASE_URL" in os.environ, reason="the language of a running service is its own")
def test_in_japanese(browser: Any) -> None:
    """The same shop in Japanese and yen."""
    for url in _serve("ja"):
        person = shopper(browser, url, "japanese", reduced_motion="reduce")
        person.choose_a_customer()
        assert person.page.locator("html").get_attribute("lang") == "ja"
        person.shoot("1-home")
        person.free_heart().click()
        assert "お気に入りに追加しました" in person.told()
        assert person.complaints == []
        close(person)
