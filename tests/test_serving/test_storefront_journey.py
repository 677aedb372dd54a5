"""A journey through the storefront over the small shop: asked, agreed, bought, waited for, changed, forgotten."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.etree import ElementTree

import pytest

from serving.web import forms
from serving.web.actions import deed_value
from serving.web.identity import Signer
from serving.web.pictures import PICTURES
from serving.web.strings import TEXTS
from tests.test_serving.test_storefront import (
    HOSTILE,
    SECRET,
    FakeShopfront,
    Page,
    TestClient,
    client_of,
    heard,
    press,
    submit,
)


@pytest.fixture
def shop() -> Any:
    return FakeShopfront(pet=True)


@pytest.fixture
def client(shop: Any) -> Any:
    with client_of(shop) as client:
        yield client


def slots(html: str) -> list[str]:
    """Kinds of what stands in the slots of a page."""
    return [a.get("data-kind", "") for a in Page(html).all("section") if "data-slot" in a]


def bought(client: TestClient, item: str = "f1", customer: str = "1609") -> str:
    """Buy something as a customer; the order's id."""
    client.get(f"/?customer={customer}")
    html = client.get(f"/web/item?id={item}").text
    answer = press(client, html, deed_value("purchase", item), json=True)
    return parse_qs(urlsplit(answer.json()["next"]).query)["id"][0]


# ---- questions


def test_an_answer_changes_the_page_and_says_what_for(client: TestClient, shop: Any) -> None:
    """The question has its options, its reason and a way round it; the answer is kept, used, and not asked again."""
    html = client.get("/").text
    page = Page(html)
    assert slots(html)[0] == "question"
    assert [a["value"] for a in page.all("input", type="radio")] == ["dog", "cat"]
    assert page.all("button", data_key="skip pet")
    assert "Food and advice on this page follow your answer." in page.text
    back = submit(client, html, "/web/answer", question="pet", answer="dog", do="answer")
    assert "Thank you. Food and advice on this page follow your answer." in Page(back.text).text
    assert "pet" not in [a["value"] for a in Page(back.text).all("input", name="question")]
    picture = Page(back.text).all("img", class_="hero-picture")[0]
    assert (picture["src"], picture["alt"]) == ("/img/dog.svg", "a dog")
    (told,) = [told for told in shop.told.values() if told["asked"]]
    assert (told["answers"], told["asked"]) == ({"pet": "dog"}, {"pet"})


def test_a_skipped_question_is_never_asked_again(client: TestClient, shop: Any) -> None:
    """Skipping is recorded as asked, without an answer."""
    html = client.get("/").text
    answer = submit(client, html, "/web/answer", json=True, question="pet", do="skip")
    assert answer.json()["message"] == "Skipped. We will not ask again."
    assert "pet" not in [a["value"] for a in Page(client.get("/").text).all("input", name="question")]
    assert all(told["answers"] == {} for told in shop.told.values())


def test_a_name_is_greeted_and_a_hostile_one_is_text(client: TestClient) -> None:
    """A free text is greeted with; markup in it is text everywhere, and white space is collapsed."""
    html = client.get("/").text
    submit(client, html, "/web/answer", question="name", answer=f"  Ann\n {HOSTILE}", do="answer")
    for path in ("/", "/web/me"):
        page = Page(client.get(path).text)
        assert "Ann \"'><script>alert(1)</script>" in page.text
        assert len(page.all("script")) == 1
        assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"question": "shoes", "answer": "9"}, "question"),
        ({"question": "pet", "answer": "snake"}, "answer"),
        ({"question": "pet", "answer": " "}, "answer"),
        ({"question": "name", "answer": "x" * 201}, "answer"),
        ({"question": HOSTILE, "do": "skip"}, "question"),
        ({"question": "pet", "answer": "dog", "back": "https://evil.example/"}, "back"),
        ({"question": "pet", "answer": "dog", "back": "//evil.example/"}, "back"),
        ({"question": "pet", "answer": "dog", "back": "/\\evil.example"}, "back"),
        ({"question": "pet", "answer": "dog", "back": "/v1/pages"}, "back"),
        ({"question": "pet", "answer": "dog", "back": "http://["}, "back"),
        ({"question": "pet", "answer": "dog", "token": "nonsense"}, "token"),
    ],
)
def test_a_wrong_answer_is_refused_by_field(
    client: TestClient, shop: Any, fields: dict[str, str], where: str
) -> None:  # fmt: skip
    """What cannot be an answer is named, nothing is kept, and nobody is sent to another site."""
    html = client.get("/").text
    answer = submit(client, html, "/web/answer", json=True, **fields)
    assert answer.status_code in (400, 403)
    assert answer.json()["error"]["field"] == where
    assert all(told["asked"] == set() for told in shop.told.values())


# ---- consent


def test_no_is_as_easy_as_yes() -> None:
    """The banner has three buttons of one look, and nothing is ticked before."""
    with client_of(FakeShopfront(assumed=())) as client:
        page = Page(client.get("/").text)
    buttons = [a for a in page.all("button") if a.get("value") in forms.BANNERS]
    assert [a["value"] for a in buttons] == ["both", "page", "none"]
    assert len({a["class"] for a in buttons}) == 1
    assert not page.all("input", type="checkbox")


@pytest.mark.parametrize(
    ("button", "basis", "granted"),
    [
        ("both", "context", {"personalization": True, "marketing": True}),
        ("page", "context", {"personalization": True, "marketing": False}),
        ("none", "consent", {"personalization": False, "marketing": False}),
    ],
)
def test_a_choice_counts_at_once(button: str, basis: str, granted: dict[str, bool]) -> None:
    """It is kept with its words; the banner is gone, and the page says what it is made from."""
    shop = FakeShopfront(assumed=())
    with client_of(shop) as client:
        html = client.get("/").text
        assert 'data-basis="consent"' in html
        back = submit(client, html, "/web/consent", do=button).text
    assert f'data-basis="{basis}"' in back
    assert "data-consent" not in back
    (told,) = [told["consents"] for told in shop.told.values() if told["consents"]]
    assert {purpose: how["granted"] for purpose, how in told.items()} == granted
    assert told["marketing"]["wording"] == f"Messages: {TEXTS['en']['consent.marketing']}"


def test_a_shop_with_another_basis_asks_nobody(client: TestClient) -> None:
    """Where personalization is assumed there is no banner; one's own page says so, and one can refuse."""
    assert "data-consent" not in client.get("/").text
    html = client.get("/web/me").text
    switches = {a["value"]: a["aria-checked"] for a in Page(html).all("button", role="switch")}
    assert switches == {"no personalization": "true", "yes marketing": "false", "yes training": "false"}
    assert "on another ground that the shop has" in Page(html).text
    back = submit(client, html, "/web/consent", do="no personalization").text
    assert 'data-basis="consent"' in back
    assert Page(back).all("button", role="switch")[0]["aria-checked"] == "false"


@pytest.mark.parametrize("do", ["", "yes", "maybe marketing", "yes world domination", "all"])
def test_an_unknown_choice_is_refused(client: TestClient, shop: Any, do: str) -> None:
    """A button that is none of ours, or a purpose that nothing is done for, keeps nothing."""
    html = client.get("/").text
    assert submit(client, html, "/web/consent", json=True, do=do).status_code == 400
    assert all(told["consents"] == {} for told in shop.told.values())


# ---- an order and its time


def test_buying_makes_an_order_that_can_be_followed(client: TestClient, shop: Any) -> None:
    """Buying leads to its page; the order is confirmed, promised by its lead time, and on home and my page."""
    order = bought(client)
    (line,) = shop.order_lines.values()
    assert (line["userId"], line["itemId"], line["quantity"]) == ("1609", "f1", 1)
    assert line["promisedAt"].startswith("2017-12-17T09:30")
    for path in (f"/web/thanks?id={order}", "/", "/web/me", f"/web/order?id={order}"):
        html = client.get(path).text
        heard(html)
        text = Page(html).text
        for words in ("Reading chair in oak", "Order confirmed", "Expected between 10 and 16 December"):
            assert words in text, path
        assert Page(html).all("li", aria_current="step")
    assert "status" in slots(client.get("/").text)
    assert "status" not in slots(client.get("/web/me").text), "the progress stands there once"


def test_an_item_without_lead_time_is_promised_nothing(client: TestClient, shop: Any) -> None:
    """No day is invented."""
    bought(client, "t1")
    (line,) = shop.order_lines.values()
    assert "promisedAt" not in line
    assert "We tell you the day as soon as we know it." in client.get("/").text


def test_a_visitor_buys_without_an_order_of_record(client: TestClient, shop: Any) -> None:
    """Orders belong to customers; a visitor's purchase is an event, and is thanked for."""
    html = client.get("/web/item?id=f1").text
    done = press(client, html, deed_value("purchase", "f1"))
    assert done.url.path == "/web/thanks"
    assert "We have noted what you bought." in done.text
    assert shop.order_lines == {}
    assert [e["type"] for e in shop.events] == ["view", "purchase"]


def step(client: TestClient, order: str, state: str, **fields: str) -> Any:
    html = client.get("/").text
    return submit(client, html, "/web/demo/step", json=True, order=order, line="1", do=state, **fields)


def test_an_order_moves_on_until_the_invitation(client: TestClient, shop: Any) -> None:
    """Production, shipping and delivery appear as steps; after an on-time delivery a photo is asked for."""
    order = bought(client)
    for state in ("in_production", "shipped"):
        assert step(client, order, state).status_code == 200
    html = client.get(f"/web/order?id={order}").text
    steps = [words for words in ("Order confirmed", "In production", "Shipped") if f"<strong>{words}</strong>" in html]
    assert len(steps) == 3
    step(client, order, "delivered")
    home = client.get("/").text
    assert slots(home)[0] == "note"
    assert "Show us a photo of your Reading chair in oak." in Page(home).text
    assert "status" not in slots(home)


def test_late_news_is_said_and_invites_nobody(client: TestClient, shop: Any) -> None:
    """A new promise is told beside the old one; after a late delivery no photo is asked for."""
    order = bought(client)
    step(client, order, "late")
    html = client.get("/").text
    assert "This will be later than we promised first. We are sorry." in Page(html).text
    assert "Newly promised by 31 December 2017" in Page(html).text
    for _ in range(3):
        submit(client, html, "/web/demo/later", days="7")
    html = client.get("/").text
    assert "24 December 2017" in html.partition("data-clock")[2][:80]
    assert "This is later than we promised." in Page(html).text
    step(client, order, "delivered")
    assert "Show us a photo" not in client.get("/").text


def test_what_a_step_may_hold_is_shown_safely(client: TestClient, shop: Any) -> None:
    """Pictures, tracking, place and hours of steps; hostile text and addresses are text, or nothing."""
    order = bought(client)
    line = shop.order_lines[order, "1"]
    line["steps"].append(
        {"at": "2017-12-04T00:00:00Z", "state": "shipped", "text": HOSTILE, "imageUrl": "javascript:alert(1)",
         "trackingUrl": "https://carrier.test/1", "place": HOSTILE, "hours": HOSTILE,
         "confirmedFor": "2017-12-06T00:00:00Z"}
    )  # fmt: skip
    line["steps"].append({"at": "2017-12-05T00:00:00Z", "state": HOSTILE, "trackingUrl": "javascript:alert(1)",
                          "imageUrl": "https://img.test/a.jpg"})  # fmt: skip
    shop.items["f1"]["title"] = HOSTILE
    page = Page(client.get(f"/web/order?id={order}").text)
    assert len(page.all("script")) == 1
    assert [a["src"] for a in page.all("img")] == ["https://img.test/a.jpg"]
    links = [a for a in page.all("a") if not a["href"].startswith(("/", "#"))]
    assert [(a["href"], a["rel"]) for a in links] == [("https://carrier.test/1", "noopener noreferrer")]
    assert "The carrier has confirmed it for 6 December 2017" in page.text
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on") or a == "style"]


def test_nobody_sees_or_moves_another_order(client: TestClient, shop: Any) -> None:
    """An order of somebody else is not there: not to be seen, not to be moved."""
    order = bought(client)
    client.get("/?customer=718")
    assert client.get(f"/web/order?id={order}").status_code == 404
    assert "There is no such order" in client.get("/web/order?id=").text
    assert step(client, order, "delivered").status_code == 404
    client.get("/?visitor=new")
    assert step(client, order, "delivered").status_code == 404
    assert len(shop.order_lines[order, "1"]["steps"]) == 1


def test_time_and_steps_are_the_demos_alone() -> None:
    """Outside the demo nothing travels, and a wrong number of days or state is refused."""
    shop = FakeShopfront(demo=False)
    with client_of(shop) as client:
        html = client.get("/").text
        assert "/web/demo" not in html
        assert submit(client, html, "/web/demo/later", days="1").status_code == 404
        assert submit(client, html, "/web/demo/step", order="o", line="1", do="shipped").status_code == 404
    with client_of(FakeShopfront()) as client:
        order = bought(client)
        html = client.get("/").text
        assert submit(client, html, "/web/demo/later", days="-1").status_code == 400
        assert submit(client, html, "/web/demo/later", days="7", token="").status_code == 403
        assert step(client, order, "stolen").status_code == 400


def test_words_on_what_came_are_an_event(client: TestClient, shop: Any) -> None:
    """Only what was delivered to oneself can be written about; words and photo are checked, and sent once."""
    order = bought(client)
    assert "As soon as something has been delivered" in client.get("/web/photo").text
    said = {"item": "f1", "text": "It creaks <b>a little</b>", "photo": "https://img.test/chair.jpg"}
    html = client.get("/web/photo").text
    assert submit(client, html, "/web/review", **said).status_code == 404
    step(client, order, "delivered")
    html = client.get("/web/photo").text
    heard(html)
    shop.events.clear()
    for wrong in ({"text": " "}, {"text": "x" * 1001}, {"photo": "http://img.test/a.jpg"}, {"photo": "/a.jpg"}):
        assert submit(client, html, "/web/review", **{**said, **wrong}).status_code == 400
    assert submit(client, html, "/web/review", **{**said, "item": "t1"}).status_code == 404
    assert shop.events == []
    for _ in range(2):
        assert "Thank you for your words" in submit(client, html, "/web/review", **said).text
    (event,) = shop.events
    assert (event["type"], event["itemId"], event["userId"]) == ("review", "f1", "1609")
    assert event["properties"] == {"text": said["text"], "photoUrl": said["photo"]}


def test_what_is_coming_can_be_shown_without_the_order(client: TestClient, shop: Any) -> None:
    """The address to share is the product's; the order's number is nowhere on the page."""
    assert "Nothing is on its way" in client.get("/web/share").text
    order = bought(client)
    html = client.get("/web/share").text
    heard(html)
    (shared,) = [a["value"] for a in Page(html).all("input", type="text")]
    assert shared == "http://testserver/web/item?id=f1"
    assert order not in html
    step(client, order, "delivered")
    assert "Nothing is on its way" in client.get("/web/share").text


# ---- walking through the shop


def test_departments_lead_to_products(client: TestClient, shop: Any) -> None:
    """All departments with their sizes, what stands below one, and its products; the page knows its category."""
    top = client.get("/web/category").text
    links = [a["href"] for a in Page(top).all("a") if a["href"].startswith("/web/category?path=")]
    assert links[0] == "/web/category?path=Drinks"
    inside = Page(client.get(links[0]).text)
    assert "/web/category?path=Drinks+%3E+Tea" in [a["href"] for a in inside.all("a")]
    assert "Sencha green tea" in inside.text
    assert shop.requests[-1]["context"]["category"] == "Drinks"
    assert client.get("/web/category?path=Nothing").status_code == 404
    assert client.get("/web/category?" + urlencode({"path": HOSTILE})).status_code == 404


def test_a_product_leads_up_to_its_departments(client: TestClient, shop: Any) -> None:
    """The trail of a product names its categories; the engine is told which product is looked at."""
    page = Page(client.get("/web/item?id=t1").text)
    assert "/web/category?path=Drinks+%3E+Tea" in [a["href"] for a in page.all("a")]
    assert (shop.requests[-1]["page"], shop.requests[-1]["context"]["itemId"]) == ("product", "t1")


def test_a_search_finds_words_of_titles(client: TestClient, shop: Any) -> None:
    """All words must occur; the search is an event once; what is not there is said, and hostile words are text."""
    found = client.get("/web/search?q=green++tea").text
    assert [a["data-item"] for a in Page(found).all("li", class_="card")] == ["t1"]
    client.get("/web/search?q=green+tea")
    assert [(e["type"], e["properties"]) for e in shop.events] == [("search", {"query": "green tea"})]
    assert "itemId" not in shop.events[0]
    nothing = Page(client.get("/web/search?" + urlencode({"q": HOSTILE})).text)
    assert "Nothing in this shop is called" in nothing.text
    assert len(nothing.all("script")) == 1
    assert "a word of its name is enough" in client.get("/web/search").text


def test_the_wishlist_holds_what_is_wished_for(client: TestClient) -> None:
    """Hearts of the wishlist are pressed; letting go of one takes it away."""
    assert "You have not wished for anything yet" in Page(client.get("/web/wishlist").text).text
    press(client, client.get("/").text, deed_value("wishlist", "w1"))
    html = client.get("/web/wishlist").text
    heart = Page(html.partition('class="grid"')[2]).all("button", class_="heart")[0]
    assert (heart["aria-pressed"], "type=wishlist_remove" in heart["value"]) == ("true", True)
    back = press(client, html, heart["value"])
    assert back.url.path == "/web/wishlist"
    assert 'class="grid"' not in back.text


def test_a_campaign_is_remembered_through_the_visit(client: TestClient, shop: Any) -> None:
    """The landing page is its own page; source and campaign of its address go with all that follows."""
    client.get("/")
    client.get("/web/landing?utm_medium=email&utm_campaign=june&lang=ja")
    client.get("/web/wishlist")
    landing, after = shop.requests[-2:]
    assert landing["page"] == "landing"
    for request in (landing, after):
        known = {key: request["context"][key] for key in ("trafficSource", "campaign", "locale")}
        assert known == {"trafficSource": "email", "campaign": "june", "locale": "ja"}
    assert len({request["session_id"] for request in shop.requests}) == 1


def test_an_actions_link_is_a_click_and_leads_nowhere_else(client: TestClient, shop: Any) -> None:
    """It leads where the shop said, counts once a visit under its decision, and cannot be made up."""
    html = client.get("/").text
    submit(client, html, "/web/answer", question="pet", answer="cat", do="answer")
    link = next(a["href"] for a in Page(client.get("/").text).all("a") if a["href"].startswith("/web/go"))
    for _ in range(2):
        assert client.get(link, follow_redirects=False).headers["location"] == "/web/category?path=Pets"
    (click,) = shop.events
    assert (click["type"], click["properties"]) == ("click", {"slot": "top-1"})
    assert click["decisionId"].endswith("-top-1")
    client.get(link + "&", headers={"Sec-Fetch-Site": "cross-site"}, follow_redirects=False)
    assert len(shop.events) == 1
    signer = Signer(lambda: SECRET)
    own = signer.seal("go", b'["/care/<b>sofas","d","s"]')
    answer = client.get(f"/web/go?to={own}", follow_redirects=False)
    assert (answer.status_code, "/care/<b>sofas" in Page(answer.text).text) == (200, True)
    far = signer.seal("go", b'["https://shop.example/club","d","s"]')
    assert client.get(f"/web/go?to={far}", follow_redirects=False).headers["location"] == "https://shop.example/club"
    forged = Signer(lambda: SECRET[::-1]).seal("go", b'["https://evil.example","d","s"]')
    for to in ("", "https://evil.example", forged):
        assert client.get(f"/web/go?to={to}", follow_redirects=False).status_code == 404


# ---- languages


def test_the_language_is_the_browsers_until_one_is_chosen(shop: Any) -> None:
    """`Accept-Language` begins a visit, `?lang=` changes it, and it stays through the visit."""
    with client_of(shop, headers={"Accept-Language": "fr, ja;q=0.8, en;q=0.5"}) as client:
        assert '<html lang="ja">' in client.get("/").text
        html = client.get("/web/wishlist?lang=en").text
        assert "Your wishlist" in html
        assert '<html lang="en">' in client.get("/web/basket").text
        other = next(a for a in Page(html).all("a") if "data-language" in a)
        assert (other["href"], other["hreflang"]) == ("/web/wishlist?lang=ja", "ja")
        assert '<html lang="en">' in client.get("/?lang=fr").text
        assert shop.requests[-1]["context"]["locale"] == "en"


def test_every_page_speaks_japanese() -> None:
    """No English word of ours is left on a page in Japanese, and the other way round."""
    only = {"en": "Departments", "ja": "売り場"}
    for locale, other in (("en", "ja"), ("ja", "en")):
        with client_of(FakeShopfront("en", assumed=(), pet=True)) as client:
            order = bought(client)
            for path in ("/", "/web/me", f"/web/order?id={order}", "/web/thanks", "/web/category", "/web/search"):
                text = Page(client.get(f"{path}{'&' if '?' in path else '?'}lang={locale}").text).text
                assert only[locale] in text, path
                assert only[other] not in text, path


# ---- one's own data


def test_what_was_told_can_be_changed_and_forgotten(client: TestClient, shop: Any) -> None:
    """One's own page lists each answer with its question and reason; forgetting keeps that it was asked."""
    html = client.get("/").text
    submit(client, html, "/web/answer", question="pet", answer="dog", do="answer")
    html = client.get("/web/me").text
    assert [a["data-answer"] for a in Page(html).all("div") if "data-answer" in a] == ["pet"]
    checked = [a["value"] for a in Page(html).all("input", type="radio") if "checked" in a]
    assert checked == ["dog"]
    html = submit(client, html, "/web/answer", question="pet", answer="cat", do="answer").text
    assert [a["value"] for a in Page(html).all("input", type="radio") if "checked" in a] == ["cat"]
    html = submit(client, html, "/web/answer", question="pet", do="forget").text
    assert "Forgotten" in Page(html).text
    assert "You have told us nothing yet." in Page(html).text
    assert [told["asked"] for told in shop.told.values() if told["asked"]] == [{"pet"}]


def test_everything_can_be_taken_home(client: TestClient, shop: Any) -> None:
    """The export is a file of JSON with one's own things and nobody else's."""
    press(client, client.get("/").text, deed_value("wishlist", "w1"))
    answer = client.get("/web/me/export")
    assert answer.headers["content-disposition"] == 'attachment; filename="my-data.json"'
    assert answer.headers["cache-control"] == "private, no-store"
    assert [event["itemId"] for event in answer.json()["events"]] == ["w1"]
    with client_of(shop) as stranger:
        assert stranger.get("/web/me/export").json()["events"] == []


def test_erasing_needs_a_yes_and_leaves_a_receipt(client: TestClient, shop: Any) -> None:
    """Without the box nothing happens; with it everything goes, who asked is somebody new, and a receipt stays."""
    order = bought(client)
    html = client.get("/web/me").text
    assert submit(client, html, "/web/me/erase").status_code == 400
    assert submit(client, html, "/web/me/erase", sure="yes", token="x").status_code == 403
    assert shop.order_lines
    done = submit(client, html, "/web/me/erase", sure="yes")
    assert done.url.path == "/web/receipt"
    assert "receipt-1" in done.text
    assert re.search(r"\d+ events", Page(done.text).text)
    assert (shop.events, shop.order_lines) == ([], {})
    client.get("/")
    assert shop.requests[-1]["user_id"] is None
    assert client.get(f"/web/order?id={order}").status_code == 404
    assert client.get("/web/receipt?id=nonsense").status_code == 404


def test_a_visitor_can_be_forgotten_too(client: TestClient, shop: Any) -> None:
    """The visitor's cookie is another one afterwards, and the language stays."""
    html = client.get("/?lang=ja").text
    before = shop.requests[-1]["visitor_id"]
    submit(client, html, "/web/answer", question="pet", answer="dog", do="answer")
    done = submit(client, client.get("/web/me").text, "/web/me/erase", sure="yes")
    assert '<html lang="ja">' in done.text
    client.get("/")
    assert shop.requests[-1]["visitor_id"] not in (None, before)
    assert (None, before) not in shop.told


# ---- pictures of the house


def test_pictures_are_drawings_without_scripts(client: TestClient) -> None:
    """Each is well-formed SVG of shapes alone, kept by browsers for a day; what is not drawn is not there."""
    for name, raw in PICTURES.items():
        answer = client.get(f"/web/picture/{name}.svg")
        assert answer.content == raw
        assert answer.headers["content-type"] == "image/svg+xml"
        drawing = ElementTree.fromstring(raw)
        assert {each.tag.rpartition("}")[2] for each in drawing.iter()} <= {
            "svg",
            "g",
            "rect",
            "path",
            "circle",
            "ellipse",
        }
    assert client.get("/web/picture/dragon.svg").status_code == 404


def test_the_sample_shops_pictures_are_there() -> None:
    """Every picture that the sample file points at is drawn, in every season and for every answer."""
    sample = (Path(forms.__file__).parents[1] / "samples" / "home.toml").read_text(encoding="utf-8")
    names = set(re.findall(r"/web/picture/([^.]+)\.svg", sample))
    fields = {"{season}": ("winter", "spring", "summer", "autumn"), "{answers.pet}": ("dog", "cat")}
    assert names
    assert {each for name in names for each in fields.get(name, (name,))} <= PICTURES.keys()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://shop.example/a.jpg", ""), ("https://shop.example", ""), ("https://a.example:8443/x?y", ""),
        ("https://a.test/x.example", "https://a.test/x.example"), ("/web/picture/cat.svg", "/web/picture/cat.svg"),
        ("javascript:alert(1)", ""), ("//evil.test/x", ""), (None, ""),
    ],
)  # fmt: skip
def test_pictures_that_lead_nowhere_are_drawn(url: str | None, shown: str) -> None:
    """Names under .example never resolve (RFC 2606); a simulated shop's pictures have them."""
    from serving.web.order_views import picture

    assert picture(url) == shown
