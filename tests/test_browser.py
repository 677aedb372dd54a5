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
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

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

PAGES = ("/", "/web/landing", "/web/category", "/web/category?path=Drinks", "/web/search?q=t", "/web/wishlist",
         "/web/basket", "/web/me", "/web/thanks", "/web/share", "/web/photo", "/web/customers")  # fmt: skip
EMPTY = """() => [...document.querySelectorAll("[data-slot]:has(.shelf)")].filter((slot) =>
    !slot.querySelector("[data-item]")).length"""
CONTENTS = """() => [...document.querySelectorAll("[data-slot]")].map((slot) =>
    [slot.dataset.slot, [...slot.querySelectorAll("[data-item]")].map((card) => card.dataset.item)])"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 500"><rect width="900" height="500" fill="#d8c3a5"/>'
    '<rect y="350" width="900" height="150" fill="#b89b74"/><circle cx="450" cy="250" r="130" fill="#8b5e3c"/></svg>'
)


async def _picture(request: Request) -> Response:
    return Response(PICTURE, media_type="image/svg+xml")


def _fake_routes(locale: str, **options: Any) -> list[Any]:
    path = Path(__file__).with_name("fake_shopfront.py")
    spec = importlib.util.spec_from_file_location("fake_shopfront", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [*routes(module.FakeShopfront(locale, **options)), Route("/img/{name}", _picture)]


def _serve(locale: str, **options: Any) -> Iterator[str]:
    """A storefront over the small shop on a free port of loopback, for as long as it is needed."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = Starlette(routes=_fake_routes(locale, **options))
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


@pytest.fixture
def curious_url() -> Iterator[str]:
    """A shop that asks: for consent first of all, then for a pet."""
    yield from _serve("en", assumed=(), pet=True)


ours = pytest.mark.skipif("KOKYAKU_BASE_URL" in os.environ, reason="a running service asks what its own file says")


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
        self.agree()
        return customer

    def agree(self) -> None:
        """Say yes where the shop relies on what people say."""
        if self.page.locator("[data-consent]").count():
            self.press("consent both")
            self.quiet()

    def press(self, key: str) -> str:
        """Press what has this key, wait for the page, and hear what is said."""
        self.quiet()
        self.page.locator(f'[data-key="{key}"]').first.click()
        told = self.told()
        self.settle()
        return told

    def free_heart(self) -> Any:
        """A heart that is not pressed yet, in the last slot."""
        key = self.page.locator('.heart[aria-pressed="false"]').last.get_attribute("data-key")
        return self.page.locator(f'.heart[data-key="{key}"]')

    def told(self) -> str:
        """What the toast says."""
        self.page.locator(".toast.show").wait_for()
        return str(self.page.locator(".toast").inner_text())

    def quiet(self) -> None:
        """Let the last message go, so that the next one is heard."""
        self.page.evaluate("document.querySelector('.toast').classList.remove('show')")

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
    assert person.page.evaluate(EMPTY) == 0, "a shelf without products is shown"
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
    person.page.wait_for_url("**/web/thanks**")
    person.told()
    assert person.page.locator("[data-basket]").inner_text() == "0"
    person.shoot("6-thanks")
    person.page.locator(".onward a").click()
    person.page.wait_for_url(f"{base_url}/")
    assert person.contents() != after, "a purchase changed nothing"
    person.shoot("7-home-after")
    assert person.complaints == []
    close(person)


def test_buying_at_once(browser: Any, base_url: str) -> None:
    """`Buy now` on the product page is a purchase of that product; it leads to thanks and to the order."""
    person = shopper(browser, base_url, "buy", reduced_motion="reduce")
    person.choose_a_customer()
    person.page.locator(".card-link").last.click()
    person.page.wait_for_url("**/web/item?**")
    person.page.locator("select[name=quantity]").select_option("2")
    person.page.locator('[data-key="buy"]').click()
    person.page.wait_for_url("**/web/thanks**")
    assert person.told()
    assert person.page.locator("[data-order] .steps li").count() == 1
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
    if person.page.locator("[data-consent]").count():
        person.shoot("0-banner")
    person.agree()
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
        person = shopper(browser, url, "japanese", reduced_motion="reduce", locale="ja-JP")
        person.choose_a_customer()
        assert person.page.locator("html").get_attribute("lang") == "ja"
        person.shoot("1-home")
        person.free_heart().click()
        assert "お気に入りに追加しました" in person.told()
        assert person.complaints == []
        close(person)


@ours
def test_a_question_is_answered_once(browser: Any, curious_url: str) -> None:
    """The answer swaps picture, words and question without a reload, is said, and never asked again."""
    person = shopper(browser, curious_url, "asked", reduced_motion="reduce")
    person.open("/?visitor=new")
    person.press("consent page")
    person.page.evaluate("window.stayed = true")
    person.page.locator("[data-question=pet] input[value=dog]").check()
    person.shoot("1-question")
    told = person.press("answer pet")
    assert "Food and advice on this page follow your answer." in told
    assert "changed" in told
    assert person.page.locator("[data-question=pet]").count() == 0
    assert person.page.locator(".hero-picture").get_attribute("src") == "/img/dog.svg"
    assert person.page.evaluate("window.stayed"), "the page was loaded anew"
    person.shoot("2-answered")
    assert person.press("skip name") == "Skipped. We will not ask again. Your page has changed."
    person.open("/")
    assert person.page.locator("[data-question]").count() == 0
    person.open("/web/me")
    person.page.locator("[data-answer=pet] summary").click()
    person.page.locator("[data-answer=pet] input[value=cat]").check()
    person.press("answer pet")
    assert person.page.locator("[data-answer=pet] .told-answer").inner_text() == "a cat"
    assert person.page.evaluate("document.activeElement.dataset.key") == "change pet"
    person.press("forget pet")
    assert person.page.locator("[data-answer]").count() == 0
    assert person.complaints == []
    close(person)


@ours
def test_a_refusal_makes_the_page_contextual(browser: Any, curious_url: str) -> None:
    """One press refuses both; the page says that it is for everybody; a switch takes it back, by keyboard."""
    person = shopper(browser, curious_url, "refused", viewport=PHONE, is_mobile=True, reduced_motion="reduce")
    person.open("/?visitor=new")
    person.shoot("1-banner")
    boxes = [button.bounding_box() for button in person.page.locator(".consent-choices button").all()]
    assert len({(round(box["width"]), round(box["height"])) for box in boxes}) == 1, "one answer is larger than another"
    person.press("consent none")
    assert person.page.locator("[data-consent]").count() == 0
    assert person.page.locator("[data-basis]").get_attribute("data-basis") == "consent"
    person.open("/web/me")
    person.shoot("2-my-page")
    switch = person.page.locator("[data-purpose=personalization] .switch")
    assert switch.get_attribute("aria-checked") == "false"
    person.quiet()
    switch.focus()
    person.page.keyboard.press("Space")
    person.told()
    person.settle()
    assert person.page.locator("[data-purpose=personalization] .switch").get_attribute("aria-checked") == "true"
    assert person.page.evaluate("document.activeElement.dataset.key") == "choice personalization"
    assert person.page.locator("[data-basis]").get_attribute("data-basis") != "consent"
    assert person.complaints == []
    close(person)


@ours
def test_an_order_lives_its_weeks(browser: Any, curious_url: str) -> None:
    """Bought, in production, a week later shipped, delivered on time: then the invitation takes the card's place."""
    person = shopper(browser, curious_url, "order", reduced_motion="reduce")
    person.choose_a_customer()
    person.open("/web/item?id=f1")
    person.page.locator('[data-key="buy"]').click()
    person.page.wait_for_url("**/web/thanks**")
    person.shoot("1-thanks")
    person.open("/")
    card = person.page.locator("[data-kind=status] [data-order]")
    order = card.get_attribute("data-order")
    person.press(f"step in_production {order} 1")
    assert person.page.locator("[data-kind=status] .steps li").count() == 2
    clock = person.page.locator("[data-clock]").inner_text()
    person.page.locator(".travel button").last.click()
    person.page.wait_for_load_state()
    assert person.page.locator("[data-clock]").inner_text() != clock
    person.press(f"step shipped {order} 1")
    person.shoot("2-waiting")
    person.page.locator(".order-see a").first.click()
    person.page.wait_for_url("**/web/order**")
    person.page.emulate_media(media="print")
    assert not person.page.locator(".order-demo").first.is_visible()
    person.page.emulate_media(media="screen")
    person.shoot("3-order")
    person.open("/")
    person.press(f"step delivered {order} 1")
    assert person.page.locator("[data-kind=status]").count() == 0
    assert "photo" in person.page.locator("[data-slot=top-0]").inner_text()
    person.shoot("4-delivered")
    assert person.complaints == []
    close(person)


@ours
def test_a_person_is_forgotten_from_their_own_page(browser: Any, curious_url: str) -> None:
    """A box and a button; the browser asks for the box, then everything is gone and a receipt is shown."""
    person = shopper(browser, curious_url, "erased", reduced_motion="reduce")
    person.choose_a_customer()
    person.page.locator(".card-link").first.click()
    person.page.wait_for_url("**/web/item?**")
    person.open("/web/me")
    person.page.locator(".danger").click()
    assert person.page.url.endswith("/web/me"), "erased without having been asked"
    person.page.locator("input[name=sure]").check()
    person.shoot("1-my-page")
    person.page.locator(".danger").click()
    person.page.wait_for_url("**/web/receipt**")
    person.shoot("2-receipt")
    assert person.page.locator("[data-receipt] .code").inner_text()
    person.open("/")
    assert person.page.locator("[data-subject]").count() == 0
    assert person.complaints == []
    close(person)


@ours
def test_questions_and_consent_without_javascript(browser: Any, curious_url: str) -> None:
    """Plain forms: agree, answer, switch off; each comes back to the page it was sent from and says what happened."""
    person = shopper(browser, curious_url, "forms", java_script_enabled=False)
    person.open("/web/wishlist")
    person.page.locator('[data-key="consent both"]').click()
    assert person.page.url.endswith("/web/wishlist")
    assert "personal from now on" in person.page.locator(".toast").inner_text()
    person.page.locator("[data-question=pet] input[value=cat]").check()
    person.page.locator('[data-key="answer pet"]').click()
    assert person.page.locator(".hero-picture").get_attribute("src") == "/img/cat.svg"
    person.open("/web/me")
    person.page.locator('[data-key="choice marketing"]').click()
    assert person.page.locator("[data-purpose=marketing] .switch").get_attribute("aria-checked") == "false"
    close(person)


@ours
def test_every_page_fits_both_widths(browser: Any, curious_url: str) -> None:
    """No page is wider than its window, in either language, and none complains."""
    for name, size, locale in (("wide", DESKTOP, "ja-JP"), ("narrow", PHONE, "en-US"), ("narrow", PHONE, "ja-JP")):
        person = shopper(browser, curious_url, f"{name}-{locale[:2]}", viewport=size, locale=locale)
        person.choose_a_customer()
        for step, path in enumerate(PAGES):
            person.open(path)
            assert person.page.evaluate(OVERFLOW) <= 0, (name, locale, path)
            if (name, locale) != ("narrow", "en-US"):
                person.shoot(f"{step + 1:02}-{path.strip('/').partition('?')[0].rpartition('/')[2] or 'home'}")
        assert person.complaints == []
        close(person)
