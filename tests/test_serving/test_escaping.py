"""Markup and control characters through every field that a page shows, over the real engine: text stays text.

Each field gets a mark of its own, so the test knows which of them were seen on a page, and that none came out as a tag,
an attribute, an address, a header or a line of the log.
"""

from __future__ import annotations

import io
import logging
import re
from urllib.parse import urlencode

import orjson
import pytest

from features.errors import RequestError
from serving.access import Access
from serving.logs import JsonLines, Words
from tests.test_serving.test_guard import opened
from tests.test_serving.test_studio import Page

CONTROLS = "".join(map(chr, [*range(1, 32), 0x7F, 0x80, 0x9B, 0x2028, 0x202E, 0x2066]))
PAGES = (
    "/", "/web/home/live", "/web/item?id={item}", "/web/item/live?id={item}", "/web/search?q={mark}", "/web/wishlist",
    "/web/category?path={category}", "/web/category", "/web/me", "/web/me/live", "/web/basket", "/web/basket/live",
    "/web/order?id={order}&line={line}", "/web/thanks?id={order}", "/web/landing", "/web/customers",
    "/web/customers?q={mark}", "/web/item?id={mark}", "/web/receipt?id={mark}", "/web/go?to={mark}", "/nothing/{mark}",
    "/studio", "/studio?customer={user}", "/studio?customer={user}&page={mark}", "/studio/stops", "/studio/figures",
    "/studio/compare?customer={user}", "/studio?find={mark}", "/studio?region={mark}&source={mark}",
)  # fmt: skip


def hostile(mark: str) -> str:
    """A text that tries everything, and begins with its mark."""
    tags = "<script>alert(1)</script><img src=x onerror=alert(2)></title></textarea>"
    return f"{mark}\"'>{tags}{{{{ 77777*77777 }}}}{CONTROLS}"


FIELDS = {name: hostile(f"mark-{name}-") for name in (
    "title", "brand", "category", "user", "name", "region", "tier", "attribute", "project", "order", "line", "step",
    "place", "hours", "because", "by", "answer", "wording", "source", "session", "campaign", "query",
)}  # fmt: skip


def told(client, path: str, body: object) -> dict:
    answer = client.post(path, content=orjson.dumps(body))
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def pages(toy_engine):
    """Every page of the storefront and of the studio, after hostile text went into every field."""
    with opened(toy_engine, Access(dev=True), address="127.0.0.1") as client:
        client.base_url = "http://127.0.0.1"
        fill(client)
        user = FIELDS["user"]
        client.get("/?" + urlencode({"customer": user, "region": FIELDS["region"]}))
        found = {}
        words = {"item": "a0", "mark": FIELDS["query"], "category": FIELDS["category"], "user": user,
                 "order": FIELDS["order"], "line": FIELDS["line"]}  # fmt: skip
        quoted = {name: urlencode({"": text})[1:] for name, text in words.items()}
        for path in PAGES:
            for more in ("", "lang=ja"):
                address = path.format(**quoted)
                address += ("&" if "?" in address else "?") + more if more else ""
                found[path + more] = client.get(address, headers={"referer": f"http://{FIELDS['campaign']!r}/"})
        yield found


def fill(client) -> None:
    """Put hostile text wherever the API takes text that a page may show."""
    f = FIELDS
    for item in ("a0", "a1", "b3"):
        told(client, "/v1/items", {"items": [{"itemId": item, "title": f["title"], "brand": f["brand"],
             "category": [f["category"]], "imageUrl": "javascript:alert(1)"}]})  # fmt: skip
    told(client, "/v1/customers/update", {"userId": f["user"], "name": f["name"][:200], "region": f["region"][:200],
         "tier": f["tier"][:200], "attributes": {"hobby": f["attribute"]},
         "projects": [{"kind": "room", "note": f["project"]}]})  # fmt: skip
    told(client, "/v1/customers/answer", {"userId": f["user"], "question": "pet", "answer": f["answer"][:200]})
    told(client, "/v1/customers/consent", {"userId": f["user"], "purpose": "personalization", "granted": True,
         "wording": f["wording"], "source": f["source"][:200]})  # fmt: skip
    told(client, "/v1/orders", {"orders": [{"orderId": f["order"], "line": f["line"], "userId": f["user"],
         "itemId": "a0", "shipmentState": "shipped", "text": f["step"], "pickupPlace": f["place"][:200],
         "pickupHours": f["hours"][:200], "trackingUrl": 'https://x.example/"onmouseover=alert(1)<b>'}]})  # fmt: skip
    told(client, "/v1/events", {"events": [
        {"type": kind, "itemId": item, "userId": f["user"], "sessionId": f["session"],
         "context": {"campaign": f["campaign"][:64]}}
        for kind, item in (("view", "a0"), ("wishlist", "a1"), ("cart", "b3"), ("purchase", "b3"))
    ]})  # fmt: skip
    told(client, "/v1/stops", {"add": {"kind": "item", "name": "b2", "because": f["because"]}, "by": f["by"][:200]})


ADDRESS = re.compile(r"/(?!/)|#|https://[a-z]|\?")


def test_nothing_that_somebody_wrote_becomes_markup(pages):
    seen: set[str] = set()
    for name, answer in pages.items():
        assert answer.status_code < 500, (name, answer.text[-500:])
        page = Page(answer.text)
        if answer.headers.get("content-type", "").startswith("text/html"):
            for tag, attributes in page.tags:
                assert tag != "script" or attributes["src"].startswith("/web/static/"), name
                assert tag != "img" or attributes["src"].startswith(("/", "https://")), name
                assert not [a for a in attributes if a.startswith("on") or a in {"style", "srcdoc"}], (name, tag)
                for where in ("href", "src", "action", "formaction"):
                    assert ADDRESS.match(attributes.get(where, "/")), (name, tag, attributes[where])
            assert "<script>alert" not in answer.text, name
            assert "onmouseover=alert(1)<b>" not in answer.text, name
            assert str(77_777 * 77_777) not in answer.text, f"{name}: a template in a text was run"
            shown = page.text + "".join(value for _, attributes in page.tags for value in attributes.values())
            seen |= {field for field in FIELDS if f"mark-{field}-" in shown}
        for header, value in answer.headers.items():
            assert value.isprintable(), (name, header)
            assert "<script" not in value, (name, header)
    # What a page shows was really seen; the rest (session, wording ...) is kept and shown nowhere.
    assert seen >= {
        "answer", "because", "by", "category", "hours", "line", "name", "order", "place", "query", "region", "step",
        "title", "user",
    }, sorted(seen)  # fmt: skip


def test_the_content_policy_allows_no_script_but_our_own_files(pages):
    for name, answer in pages.items():
        if answer.headers.get("content-type", "").startswith("text/html"):
            policy = dict(
                part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";")
            )
            assert policy["default-src"] == "'none'", name
            assert policy["script-src"] == policy["style-src"] == "'self'", name
            assert policy["base-uri"] == "'none'" and policy["form-action"] == "'self'", name
            assert policy["frame-ancestors"] in {"'none'", "'self'"}, name
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_answer_of_the_api_is_taken_for_a_page(toy_engine):
    """What comes back in JSON is named so, and no browser guesses otherwise."""
    with opened(toy_engine, Access(dev=True), address="127.0.0.1") as client:
        client.base_url = "http://127.0.0.1"
        for body in ({FIELDS["user"]: 1}, {"userId": FIELDS["user"]}, [FIELDS["user"]], FIELDS["user"]):
            answer = client.post("/v1/recommendations", content=orjson.dumps(body))
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert not set(answer.text) & set(map(chr, range(32)))


@pytest.mark.parametrize("formatter", [JsonLines(), Words(), JsonLines(frank=True), Words(frank=True)])
def test_no_text_begins_a_line_of_the_log_or_steers_a_terminal(formatter):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("kokyaku.test")
    logger.addHandler(handler)
    for text in FIELDS.values():
        error = RequestError(text, where=text, got=text, hint=text)
        assert not set(error.line()) & set(CONTROLS)
        logger.warning("refused: %s", text)
        logger.warning("refused: %s", error.line())
        logger.warning(text)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3 * len(FIELDS)
    assert not set("".join(lines)) & set(CONTROLS)
