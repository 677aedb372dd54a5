"""A marketer's walk through the studio in a real browser: phone and desktop, English and Japanese, keys only.

Over the toy shop of the serving tests, in development. Screenshots are kept in `tests/screenshots/`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette

from features.moments import DAY, MINUTE
from features.shop import Shop
from serving import pages, wire
from serving.access import Access, KeyEntry
from serving.artifact import publish_live
from serving.bundle import Bundle, text_arrays, write_bundle
from serving.clock import set_clock
from serving.decision_drain import drain
from serving.effects import SlotPolicy
from serving.engine import Engine
from serving.events import StoredEvent
from serving.policy_files import write_policy
from serving.web import routes as web_routes
from serving.web.studio import routes
from tests.fake_shopfront import FakeShopfront
from tests.test_serving.conftest import AS_OF, build_toy_bundle
from tests.test_serving.grown import AGREED, policy

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
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--no-first-run"]
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
TITLES = {
    "en": ["Dog food, lamb and rice 12 kg", "Sencha green tea 100 g", "Roasted hojicha, 40 bags", "Sourdough loaf",
           "Linen tote with inner pocket", "Beeswax candle, hand dipped", "Hand soap, cedar", "Olive oil 750 ml"],
    "ja": ["ドッグフード ラム＆ライス 12kg", "煎茶 100g", "ほうじ茶 40袋", "天然酵母パン", "リネンのトートバッグ",
           "蜜蝋キャンドル", "ハンドソープ ひのき", "オリーブオイル 750ml"],
}  # fmt: skip
TOML = (
    AGREED
    + """
[shop]
name = "{name}"
locale = "{locale}"
holdout = 0.0
time-zone = "Asia/Tokyo"
[actions.autumn]
kind = "content"
texts = [{{title = "{title}", text = "{text}"}}]
[pages.home]
slots = [
  {{name = "top", modules = ["autumn", "viewed"]}},
  {{name = "drawn", modules = ["buy-again", "for-you", "popular"], policy = "hero"}},
  {{name = "last", modules = ["popular"]}},
]
[channels.email]
actions = ["autumn", "letter"]
policy = "letters"
purpose = "personalization"
"""
)
WORDS = {
    "en": {"name": "Kokyaku demo shop", "title": "Tea for cold mornings", "text": "Three teas that warm you up."},
    "ja": {"name": "個客デモショップ", "title": "寒い朝のお茶", "text": "体が温まる三つのお茶をご紹介します。"},
}


def stocked(folder: Path, locale: str) -> Shop:
    """A shop with two bundles and two policies."""
    shop = Shop("toy", folder / "shop")
    shop.root.mkdir(parents=True)
    shop.config.write_text(TOML.format(locale=locale, **WORDS[locale]), encoding="utf-8")
    for name in ("20241001T000000Z-blend-1f3a", "20240901T000000Z-blend-77aa"):
        bundle = build_toy_bundle(name)
        popular = bundle.arrays["source.popularity.items"].copy()
        if name.startswith("202409"):
            popular[1] = popular[1][::-1]
        texts = {**text_arrays("title", TITLES[locale]), "source.popularity.items": popular}
        write_bundle(shop.bundles / name, Bundle(bundle.manifest, {**bundle.arrays, **texts}))
    publish_live(shop.bundles, "20241001T000000Z-blend-1f3a")
    hero = policy("hero", {"buy-again": 0.4, "for-you": 0.2, "popular": 0.3}, floor=0.1, nothing=False)
    sizes = tuple(msgspec.structs.replace(size, error=0.06, left=0.05) for size in hero.sheet.sizes["click"])
    write_policy(shop.policies, SlotPolicy(msgspec.structs.replace(hero.sheet, sizes={"click": sizes}), {}))
    write_policy(shop.policies, policy("letters", {"autumn": 0.1, "letter": 0.2}, floor=0.3))
    set_clock(shop, AS_OF)
    return shop


def visited(engine: Engine) -> None:
    """Sixty people have looked, some clicked, a few bought; Ann bought before."""
    rng, now = np.random.default_rng(7), engine.clock.now()
    did: list[StoredEvent] = []

    def does(user: str, kind: str, item: str, at: int, decision: str | None = None) -> None:
        did.append(StoredEvent(event_id=f"e{len(did)}", occurred_at=at, recorded_at=at, type=kind, customer_id=user,
                               item_id=item, decision_id=decision))  # fmt: skip

    for days, item in ((40, "b1"), (12, "b1"), (3, "b2"), (2, "b3")):
        does("ann", "purchase", item, now - days * DAY)
    engine.store.append_sync(did)
    for number in range(60):
        answer = pages.page(engine, wire.PageRequest(user_id=f"p{number}"), now - 30 * MINUTE)
        for slot in answer["slots"]:
            if slot["items"] and rng.random() < 0.25:
                does(f"p{number}", "click", slot["items"][0]["itemId"], now - 20 * MINUTE, slot["decisionId"])
                if rng.random() < 0.3:
                    does(f"p{number}", "purchase", slot["items"][0]["itemId"], now - MINUTE, slot["decisionId"])
    engine.store.append_sync(did)
    drain(engine.shop.decision_logs, engine.store)


def serve(folder: Path, locale: str, access: Access) -> Iterator[str]:
    """The studio on a free port of loopback, for as long as it is needed."""
    engine = Engine(stocked(folder, locale), worker="test")
    visited(engine)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        # The storefront's routes bring the style sheets.
        app = Starlette(routes=[*routes(lambda: engine, access), *web_routes(FakeShopfront(locale))])
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", loop="asyncio", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
    engine.close()


@pytest.fixture(scope="module")
def english(tmp_path_factory) -> Iterator[str]:
    yield from serve(tmp_path_factory.mktemp("english"), "en", Access(dev=True))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield opened
        opened.close()


class Marketer:
    """A person at a browser without scripts; `complaints` are errors of the console, refused styles included."""

    def __init__(self, browser: Any, url: str, name: str, **more: Any) -> None:
        self.context = browser.new_context(**{"viewport": DESKTOP, "java_script_enabled": True, **more})
        self.page, self.url, self.name = self.context.new_page(), url, name
        self.page.set_default_timeout(20_000)
        self.complaints: list[str] = []
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        SHOTS.mkdir(exist_ok=True)

    def open(self, path: str) -> None:
        answer = self.page.goto(self.url + path)
        assert answer is not None
        assert answer.status == 200, (path, answer.status)

    def shoot(self, step: str) -> None:
        assert self.page.evaluate(OVERFLOW) <= 0, f"{step} is wider than the window"
        self.page.screenshot(path=SHOTS / f"studio-{self.name}-{step}.png", full_page=True)

    def close(self) -> None:
        assert self.complaints == []
        self.context.close()


def walk(person: Marketer) -> None:
    """Look, ask why, compare, stop, read the figures, lift."""
    person.open("/studio?customer=ann")
    for summary in person.page.locator(".because summary").all():
        summary.click()
    person.shoot("1-look")
    person.open("/studio/compare?customer=ann")
    draft = person.page.locator("#draft")
    draft.fill(draft.input_value().replace('"autumn", "viewed"', '"viewed", "autumn"'))
    person.page.locator("#right").select_option("20240901T000000Z-blend-77aa")
    person.page.locator(".compare-draft .primary").click()
    assert person.page.locator(".pair.differs").count() >= 1
    person.shoot("2-compare")
    draft = person.page.locator("#draft")
    draft.fill(draft.input_value().replace('"viewed", "autumn"', '"viewed"'))
    person.page.locator("button[name=last]").first.click()
    assert person.page.locator("#dry").is_visible()
    person.shoot("2-dry-run")
    person.open("/studio?customer=ann")
    person.page.locator(".thing .stop").first.click()
    # Where one goes on; the browser sees to it when it draws the page, which is later than the click.
    person.page.wait_for_function("document.activeElement.id === 'because'")
    person.page.locator("#because").fill("Recall / 回収")
    person.page.locator("#because").press("Enter")
    person.page.wait_for_url("**/studio/stops?done=stopped")
    person.shoot("3-stops")
    person.open("/studio/figures")
    person.shoot("4-figures")
    person.open("/studio/stops")
    person.page.locator("button[name=lift]").first.click()
    person.page.wait_for_url("**/studio/stops?done=lifted")
    answer = person.page.goto(f"{person.url}/studio?moment=x")
    assert answer.status == 400
    person.complaints.clear()  # the browser notes a 400 as an error
    person.shoot("5-refused")


@pytest.mark.parametrize(("name", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_in_english(browser, english, name, viewport) -> None:
    person = Marketer(browser, english, f"{name}-en", viewport=viewport)
    walk(person)
    person.close()


@pytest.mark.parametrize(("name", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_in_japanese(browser, tmp_path, name, viewport) -> None:
    for url in serve(tmp_path, "ja", Access(dev=True)):
        person = Marketer(browser, url, f"{name}-ja", viewport=viewport, locale="ja-JP")
        walk(person)
        assert person.page.locator("html").get_attribute("lang") == "ja"
        person.close()


def test_dark_and_without_scripts(browser, english) -> None:
    person = Marketer(browser, english, "dark", color_scheme="dark", java_script_enabled=False)
    person.open("/studio?visitor=v&region=north&device=phone")
    person.page.locator(".because summary").first.click()
    person.page.screenshot(path=SHOTS / "studio-dark-1-look.png", full_page=True)
    person.open("/studio/figures?hours=1")
    person.page.screenshot(path=SHOTS / "studio-dark-2-figures.png", full_page=True)
    person.close()


def test_with_the_keyboard_alone(browser, english) -> None:
    """The first stop leads to the content; the form is filled and sent without a mouse; the answer is announced."""
    person = Marketer(browser, english, "keys")
    person.open("/studio")
    person.page.keyboard.press("Tab")
    assert person.page.evaluate("document.activeElement.getAttribute('href')") == "#content"
    person.page.keyboard.press("Enter")
    person.page.keyboard.press("Tab")
    assert person.page.evaluate("document.activeElement.id") == "find"
    while person.page.evaluate("document.activeElement.id") != "customer":
        person.page.keyboard.press("Tab")
    person.page.keyboard.type("ann")
    person.page.keyboard.press("Enter")
    person.page.wait_for_url("**customer=ann**")
    assert "customer ann" in person.page.locator("[role=status] .saw").inner_text()
    assert person.page.locator("#moment").input_value() == "", "Enter does not move the moment"
    person.close()


def test_logging_in_and_out(browser, tmp_path) -> None:
    for url in serve(tmp_path, "en", Access(dev=False, keys=(KeyEntry("the-key", ("admin",)),))):
        person = Marketer(browser, url, "login")
        person.open("/studio?customer=ann")
        assert "/studio/login" in person.page.url
        person.page.locator("#who").fill("Ann")
        person.page.locator("#key").fill("the-key")
        person.shoot("1-login")
        person.page.locator("#key").press("Enter")
        person.page.wait_for_url("**/studio?customer=ann")
        assert person.page.evaluate("document.cookie") == "", "no script reads the session"
        person.page.get_by_role("button", name="Log out").click()
        person.page.wait_for_url("**/studio/login")
        person.close()
