"""The house shop as somebody meets it in a browser: the storefront over the real engine, and time that passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from features.errors import ConfigError
from features.moments import DAY, parse_instant
from serving.clock import let_pass, set_clock, shop_clock
from serving.shopfront import EngineFront
from serving.web import routes
from serving.web.actions import deed_value
from tests.test_scenes.conftest import NOW, House
from tests.test_serving.test_storefront import Page


@pytest.fixture
def web(house: House) -> Iterator[TestClient]:
    """The storefront in demo mode; the shop has a clock of its own, which stands at the first of December."""
    set_clock(house.shop, NOW)
    house.engine.clock = shop_clock(house.shop)
    app = Starlette(routes=routes(EngineFront(lambda: house.engine, demo=True), secret=house.shop.secret))
    with TestClient(app, base_url="http://127.0.0.1", headers={"Origin": "http://127.0.0.1"}) as client:
        yield client


def send(client: TestClient, path: str, page: str = "/", **fields: str) -> Any:
    """Send a form that stands on a page."""
    html = client.get(page).text
    answer = submit_here(client, html, path, **fields)
    assert answer.status_code == 200, answer.text
    return answer


def submit_here(client: TestClient, html: str, path: str, **fields: str) -> Any:
    form = {a["name"]: a["value"] for a in Page(html).all("input", type="hidden") if a["name"] in ("token", "back")}
    return client.post(path, data=form | fields, headers={"Accept": "application/json"})


def text(client: TestClient, path: str = "/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return Page(answer.text).text


def buy(client: TestClient, item: str, user: str = "ann") -> str:
    client.get(f"/?customer={user}")
    html = client.get(f"/web/item?id={item}").text
    form = {a["name"]: a["value"] for a in Page(html).all("input", type="hidden")}
    form["do"] = deed_value("purchase", item)
    answer = client.post("/web/events", data=form, headers={"Accept": "application/json"})
    assert answer.status_code == 200, answer.text
    return parse_qs(urlsplit(answer.json()["next"]).query)["id"][0]


def test_a_sofa_from_basket_to_photo(web: TestClient, house: House) -> None:
    """Bought, promised by its lead time, followed step by step; no sofa meanwhile; after delivery the invitation."""
    order = buy(web, "sofa0")
    (line,) = house.engine.person_of(house.engine.live, "ann", None, house.engine.clock.now()).orders
    assert line.order_id == order
    assert line.promised_at is not None
    assert abs(line.promised_at - NOW - 56 * DAY) < DAY
    assert "Order confirmed" in text(web, f"/web/thanks?id={order}")
    home = web.get("/").text
    assert 'data-kind="status"' in home
    shown = [a["data-item"] for a in Page(home).all("li") if "data-item" in a]
    assert shown
    assert not [item for item in shown if item.startswith("sofa")]
    for days, state in (("7", "in_production"), ("7", "shipped"), ("7", "delivered")):
        send(web, "/web/demo/later", days=days)
        send(web, "/web/demo/step", order=order, line="1", do=state)
    assert abs(house.engine.clock.now() - NOW - 21 * DAY) < DAY
    send(web, "/web/demo/later", days="7")
    home = web.get("/").text
    assert 'data-kind="status"' not in home
    assert "photo" in Page(home).text.lower()
    steps = house.engine.person_of(house.engine.live, "ann", None, house.engine.clock.now()).orders[0].steps
    assert [step.state for step in steps] == ["confirmed", "in_production", "shipped", "delivered"]
    assert all(step.at <= house.engine.clock.now() for step in steps)


def test_nothing_of_the_demos_time_is_in_the_future(web: TestClient, house: House) -> None:
    """Time passes for everybody and is kept; what happened stays in the past, and it never goes back."""
    buy(web, "lamp0")
    send(web, "/web/demo/later", days="7")
    assert shop_clock(house.shop).offset == house.engine.clock.offset
    history = house.engine.history_of(house.engine.live, "ann", None)
    assert int(history.time.max()) < house.engine.clock.now() - 6 * DAY
    with pytest.raises(ConfigError, match="does not go back"):
        let_pass(house.shop, -1)
    house.shop.clock.unlink()
    with pytest.raises(ConfigError, match="machine's clock"):
        let_pass(house.shop, DAY)
    assert submit_here(web, web.get("/").text, "/web/demo/later", days="1").status_code == 404


def test_an_answer_changes_page_picture_and_words(web: TestClient, house: House) -> None:
    """A visitor looks at dog food, is asked once, answers, and meets another picture; skipped is not asked again."""
    web.get("/?visitor=new")
    web.get("/web/item?id=dogfood0")
    asked = Page(web.get("/").text).all("section", data_kind="question")
    assert [a["data-question"] for a in asked] == ["pet"]
    told = send(web, "/web/answer", question="pet", answer="dog").json()
    assert "follow your answer" in told["message"]
    page = Page(web.get("/").text)
    assert not page.all("section", data_question="pet")
    assert [a for a in page.all("img", class_="hero-picture") if "dog" in a["src"]]
    assert web.get("/web/me").text.count('data-answer="pet"') == 1
    send(web, "/web/answer", "/web/me", question="pet", do="forget")
    assert 'data-answer="pet"' not in web.get("/web/me").text
    assert not Page(web.get("/").text).all("section", data_question="pet")


def test_a_refusal_makes_the_page_contextual(web: TestClient, house: House) -> None:
    """After a no nothing personal is read; after a yes it is again, at once; both are kept with their words."""
    web.get("/?visitor=new")
    web.get("/web/item?id=dogfood0")
    assert 'data-basis="consent"' not in web.get("/").text
    send(web, "/web/consent", do="none")
    assert 'data-basis="consent"' in web.get("/").text
    send(web, "/web/consent", "/web/me", do="yes personalization")
    assert 'data-basis="consent"' not in web.get("/").text
    assert "your choice of 1 December 2026" in text(web, "/web/me")


def test_the_catalogue_can_be_walked_and_searched(web: TestClient, house: House) -> None:
    """Departments, a category below another one, titles by their words, a product that is sold out."""
    assert "Furniture" in text(web, "/web/category")
    inside = Page(web.get("/web/category?path=Furniture").text)
    listed = {a["data-item"] for a in inside.all("li", class_="card")}
    assert {"sofa0", "rug3", "lamp1"} <= listed
    assert web.get("/web/category?path=Furnit").status_code == 404, "a path is whole steps"
    house.post("/v1/items", items=[{"itemId": "rug3", "inStock": False}, {"itemId": "lamp1", "title": "Sunrise"}])
    inside = Page(web.get("/web/category?path=Furniture").text)
    grid = [a["data-item"] for a in inside.all("li", class_="card")]
    assert "rug3" not in grid
    found = Page(web.get("/web/search?q=SUNRISE").text).all("li", class_="card")
    assert [a["data-item"] for a in found] == ["lamp1"]
    assert "lamp1" not in {a["data-item"] for a in Page(web.get("/web/search?q=blanket").text).all("li", class_="card")}
    found = Page(web.get("/web/search?q=the+sofa").text).all("li", class_="card")
    assert sorted(a["data-item"] for a in found) == ["sofa0", "sofa1", "sofa2"]


def test_the_words_are_in_the_language_of_the_visit(web: TestClient, house: House) -> None:
    """Japanese words of the shop and of the storefront; expected days too."""
    order = buy(web, "sofa0")
    page = web.get(f"/web/order?id={order}&lang=ja").text
    assert '<html lang="ja">' in page
    assert "ご注文を承りました" in page
    assert "2027年1月26日" in page
    home = web.get("/").text
    assert "おかえりなさいませ" in home
    assert "と一緒に" in home.partition("card-reason")[2], "reasons are in another language than the page"


def test_one_can_take_everything_and_be_forgotten(web: TestClient, house: House) -> None:
    """The export holds order and answers; erasing takes all of it within the request and leaves a receipt."""
    order = buy(web, "sofa0")
    send(web, "/web/answer", question="pet", answer="cat")
    everything = web.get("/web/me/export").json()
    assert {report["orderId"] for report in everything["orders"]} == {order}
    assert everything["answers"] == {"pet": "cat"}
    html = web.get("/web/me").text
    done = submit_here(web, html, "/web/me/erase", sure="yes")
    assert done.url.path == "/web/receipt"
    assert order not in done.text
    assert house.engine.store.is_erased("ann", None)
    assert b"ann" not in house.shop.store.read_bytes()
    web.get("/?customer=ann")
    assert web.get("/web/me/export").status_code == 404
    assert web.get(f"/web/order?id={order}").status_code == 404


def test_a_visitor_takes_everything_and_is_forgotten(web: TestClient, house: House) -> None:
    """Also who never signed in: own answers and looks are exported, then gone, and the id is buried."""
    web.get("/?visitor=new")
    web.get("/web/item?id=dogfood0")
    send(web, "/web/answer", question="name", answer="Wilhelmina")
    everything = web.get("/web/me/export").json()
    visitor = everything["visitorId"]
    assert everything["answers"] == {"name": "Wilhelmina"}
    assert [event["type"] for event in everything["events"]] == ["view"]
    assert everything["decisions"]
    assert "Wilhelmina" in text(web)
    done = submit_here(web, web.get("/web/me").text, "/web/me/erase", sure="yes")
    assert done.url.path == "/web/receipt"
    assert house.engine.store.read_visitor(visitor) is None
    assert b"Wilhelmina" not in house.shop.store.read_bytes()
    assert house.engine.store.is_erased(None, visitor)
    assert "Wilhelmina" not in text(web)
    assert web.get("/web/me/export").json()["visitorId"] != visitor


def test_choices_and_answers_that_are_none_are_refused(web: TestClient, house: House) -> None:
    """Unknown questions, answers and purposes are 400s in words, and an id of another customer's order a 404."""
    html = web.get("/").text
    for path, fields in (
        ("/web/answer", {"question": "shoes", "answer": "9"}),
        ("/web/answer", {"question": "pet", "answer": "snake"}),
        ("/web/consent", {"do": "yes everything"}),
    ):
        assert submit_here(web, html, path, **fields).status_code == 400, path
    order = buy(web, "sofa0")
    web.get("/?customer=bob")
    html = web.get("/").text
    assert submit_here(web, html, "/web/demo/step", order=order, line="1", do="delivered").status_code == 404
    assert parse_instant("2026-12-01T00:00Z") < house.engine.clock.now()
