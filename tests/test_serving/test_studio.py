"""The studio over the toy shop: who may in, what it shows and why, drafts, stops, figures; and no trace."""

from __future__ import annotations

import re
import warnings
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from starlette.applications import Starlette

from features.errors import RequestError, Unavailable
from features.moments import DAY, HOUR
from serving import pages, wire
from serving.access import Access, KeyEntry
from serving.bundle import write_bundle
from serving.decision_drain import drain
from serving.engine import Engine
from serving.events import StoredEvent
from serving.guard import Guard
from serving.http import routes as api_routes
from serving.limits import MOST, Throttle, TooManyError
from serving.policy_files import write_policy
from serving.shares import Share
from serving.web.studio import routes
from serving.web.studio.asked import Asked
from serving.web.studio.desk import inside
from serving.web.studio.figures import count
from serving.web.studio.strings import TEXTS
from tests.test_serving.conftest import AS_OF, RECIPE, build_toy_bundle
from tests.test_serving.grown import AGREED, policy, records

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette would rather have another HTTP client than the one we pin
    from starlette.testclient import TestClient

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }}"
TOML = (
    AGREED
    + """
[shop]
holdout = 0.0
time-zone = "Asia/Tokyo"
[actions.autumn]
kind = "content"
texts = [{title = "A day in autumn", text = "Leaves & tea"}]
from = 2024-10-04
until = 2024-10-06
[actions.never]
kind = "content"
texts = [{title = "Never"}]
when = {stages = ["lapsed"]}
[pages.home]
slots = [
  {name = "top", modules = ["never", "autumn", "viewed"], may-be-empty = true},
  {name = "drawn", modules = ["buy-again", "popular"], policy = "hero"},
  {name = "last", modules = ["popular", "for-you"]},
]
[channels.email]
actions = ["autumn", "letter"]
policy = "letters"
purpose = "personalization"
"""
)
KEYS = (KeyEntry("admin-key", ("admin",)), KeyEntry("read-key", ("read", "events")))


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
        return [attrs for name, attrs in self.tags if name == tag and wanted.items() <= attrs.items()]

    @property
    def token(self) -> str:
        return self.all("input", name="token")[0]["value"]


@pytest.fixture
def engine(toy_shop):
    from serving.clock import set_clock

    set_clock(toy_shop, AS_OF)
    write_policy(toy_shop.policies, policy("hero", {"buy-again": 0.2, "popular": 0.3}, floor=0.1, nothing=False))
    write_policy(toy_shop.policies, policy("letters", {"autumn": 0.1, "letter": 0.2}, floor=0.3))
    toy_shop.config.write_text(TOML)
    opened = Engine(toy_shop, worker="test")
    yield opened
    opened.close()


def opened(engine: Engine, access: Access, clock=None) -> TestClient:
    given = {} if clock is None else {"clock": clock}
    app = Starlette(routes=[*api_routes(lambda: engine, access), *routes(lambda: engine, access, **given)])
    client = ("127.0.0.1", 50_000)
    return TestClient(Guard(app, access), base_url="http://127.0.0.1", follow_redirects=False, client=client)


@pytest.fixture
def studio(engine):
    """In development, where everybody on loopback is an admin."""
    with opened(engine, Access(dev=True)) as client:
        yield client


@pytest.fixture
def locked(engine):
    """With keys."""
    with opened(engine, Access(dev=False, keys=KEYS)) as client:
        yield client


def see(client: TestClient, path: str = "/studio", status: int = 200, **query: Any) -> Page:
    answer = client.get(path, params=query)
    assert answer.status_code == status, answer.text[-600:]
    policy_told = answer.headers["content-security-policy"]
    assert "unsafe" not in policy_told
    assert answer.headers["cache-control"] == "private, no-store"
    page = Page(answer.text)
    assert not page.all("script")
    assert not any("style" in attrs or any(name.startswith("on") for name in attrs) for _, attrs in page.tags)
    return page


def send(client: TestClient, path: str, headers: dict[str, str] | None = None, **fields: str):
    kind = {"content-type": "application/x-www-form-urlencoded"}
    return client.post(path, content=urlencode(fields), headers={**kind, **(headers or {})})


def event(user: str, at: int, kind: str = "purchase", item: str = "b3", decision: str | None = None) -> StoredEvent:
    return StoredEvent(
        event_id=f"{user}-{at}-{kind}-{item}-{decision}", occurred_at=at, recorded_at=at, type=kind, customer_id=user,
        item_id=item, decision_id=decision,
    )  # fmt: skip


# ---- who may in


PATHS = ["/studio", "/studio/compare", "/studio/stops", "/studio/figures"]


@pytest.mark.parametrize("path", PATHS)
def test_without_a_session_one_is_led_to_the_login(locked, path) -> None:
    answer = locked.get(f"{path}?customer=ann")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/studio/login?next=%2Fstudio")
    assert "ann" not in answer.text
    for sent in (locked.get(path, headers={"x-api-key": "admin-key"}), locked.get(path, headers={"cookie": "a=b"})):
        assert sent.status_code == 303, "a key in a header is no session"


@pytest.mark.parametrize("path", ["/studio/compare", "/studio/stops", "/studio/logout", "/studio/language"])
def test_without_a_session_nothing_is_taken(locked, path) -> None:
    assert send(locked, path, kind="item", name="a0", because="x").status_code == 401
    assert locked.post("/v1/stops", content=b"{}").status_code == 401
    assert locked.post("/v1/stops", content=b"{}", headers={"x-api-key": "read-key"}).status_code == 403


def log_in(client: TestClient, key: str = "admin-key", **more: str):
    return send(client, "/studio/login", key=key, who="Ann", **more)


def test_an_admin_key_opens_and_its_cookie_is_kept_close(locked) -> None:
    answer = log_in(locked, next="/studio/figures?hours=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/studio/figures?hours=1")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/studio" in cookie
    assert "admin-key" not in cookie
    page = see(locked)
    assert "Ann" in page.text
    assert "admin-key" not in locked.get("/studio").text


def test_wrong_keys_are_401_a_read_key_is_403_and_both_are_counted(locked) -> None:
    page = log_in(locked, "wrong")
    assert page.status_code == 401
    assert 'role="alert"' in page.text
    assert "wrong" not in Page(page.text).all("input", name="key")[0].get("value", "")
    assert log_in(locked, "read-key").status_code == 403
    assert not locked.cookies
    for _ in range(3):
        assert log_in(locked, "").status_code == 401
    last = log_in(locked, "admin-key")
    assert last.status_code == 429, "the right key does not help any more"
    assert last.headers["retry-after"] == "60"


def test_a_throttle_forgets_with_time_and_counts_by_address() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0], most=2, seconds=10)
    throttle.failed("a")
    now[0] = 6
    throttle.failed("a")
    throttle.check("b")
    with pytest.raises(TooManyError):
        throttle.check("a")
    now[0] = 10.5
    throttle.check("a")
    for number in range(MOST + 10):
        throttle.failed(str(number))
    assert len(throttle._wrong) == MOST


def test_a_session_ends_by_logout_time_or_with_its_key(engine) -> None:
    now = [1_000_000.0]
    with opened(engine, Access(dev=False, keys=KEYS), lambda: now[0]) as client:
        log_in(client)
        stolen = dict(client.cookies)
        assert client.get("/studio").status_code == 200
        token = see(client).token
        assert send(client, "/studio/logout", token=token).headers["location"] == "/studio/login"
        assert client.get("/studio").status_code == 303
        client.cookies.update(stolen)
        assert client.get("/studio").status_code == 303, "a copy of the cookie is of no use either"
        client.cookies.clear()
        log_in(client)
        kept = dict(client.cookies)
        now[0] += 8 * 3600
        assert (
            client.get("/studio", headers={"cookie": "; ".join(f"{k}={v}" for k, v in kept.items())}).status_code == 303
        )
        now[0] -= 8 * 3600
    with opened(engine, Access(dev=False, keys=(KeyEntry("new", ("admin",)),)), lambda: now[0]) as client:
        client.cookies.update(kept)
        assert client.get("/studio").status_code == 303, "the key was taken away"


def test_who_logged_out_is_out_of_every_process_and_stays_out(engine, toy_shop) -> None:
    """A copied cookie opens neither a replica, nor a worker that was begun again."""
    access = Access(dev=False, keys=KEYS)
    with opened(engine, access) as client, opened(engine, access) as replica:
        log_in(client)
        replica.cookies.update(stolen := dict(client.cookies))
        assert replica.get("/studio").status_code == 200
        send(client, "/studio/logout", token=see(client).token)
        assert replica.get("/studio").status_code == 303
    again = Engine(toy_shop, worker="again")
    try:
        with opened(again, access) as client:
            client.cookies.update(stolen)
            assert client.get("/studio").status_code == 303
            client.cookies.clear()
            log_in(client)
            assert client.get("/studio").status_code == 200
    finally:
        again.close()


def test_while_the_store_is_down_no_session_counts_and_none_is_said_to_have_ended(locked, engine, monkeypatch) -> None:
    """Whether a session was ended is not known then; who logs out is told that it did not happen."""
    log_in(locked)
    token = see(locked).token

    def down(*_: Any) -> Any:
        raise Unavailable("the store is full")

    with monkeypatch.context() as patched:
        patched.setattr(engine.store.database, "transaction", down)
        assert send(locked, "/studio/logout", token=token).status_code == 503
    assert locked.get("/studio").status_code == 200
    monkeypatch.setattr("serving.web.studio.sessions.has_ended", down)
    assert locked.get("/studio").status_code == 503


def test_forms_need_their_token_and_come_from_here(locked, engine) -> None:
    log_in(locked)
    token = see(locked, "/studio/stops").token
    stop = {"kind": "item", "name": "a0", "because": "x"}
    assert send(locked, "/studio/stops", **stop).status_code == 403
    assert send(locked, "/studio/stops", token="x" * 22, **stop).status_code == 403
    away = {"origin": "https://evil.test"}
    assert send(locked, "/studio/stops", away, token=token, **stop).status_code == 403
    assert send(locked, "/studio/stops", {"sec-fetch-site": "cross-site"}, token=token, **stop).status_code == 403
    assert send(locked, "/studio/login", away, key="admin-key").status_code == 403
    assert engine.live.stops.each == ()
    assert send(locked, "/studio/stops", {"origin": "http://127.0.0.1"}, token=token, **stop).status_code == 303
    assert [each.who for each in engine.live.stops.each] == ["Ann"]


def test_development_is_for_loopback_only(studio) -> None:
    see(studio)
    assert studio.get("/studio", headers={"host": "shop.example"}).status_code == 403
    assert studio.get("/studio", headers={"origin": "https://evil.test"}).status_code == 403


@pytest.mark.parametrize(
    "there", ["https://evil.test", "//evil.test/studio", "/", "/studiox", "/studio\\evil", "/studio/\r\nX: y", ""]
)
def test_nobody_is_sent_elsewhere(there) -> None:
    assert inside(there) == "/studio"
    assert inside("/studio?customer=a b&moment=2024-10-04T09:00") == "/studio?customer=a b&moment=2024-10-04T09:00"


# ---- looking


def test_a_page_and_why(studio, engine) -> None:
    engine.store.append_sync([event("ann", AS_OF - DAY), event("ann", AS_OF - 2 * DAY, item="b1")])
    page = see(studio, customer="ann")
    assert [each["data-slot"] for each in page.all("section") if "data-slot" in each] == ["top", "drawn", "last"]
    for told in (
        "A day in autumn", "Leaves & tea", "customer ann", "stage is ", "own events", "personalization: assumed by the",
        "marketing: no", "Drawn by policy hero", "The first of the list that can be shown", "What the policy read",
    ):  # fmt: skip
        assert told in page.text, told
    assert re.search(r"0\.3", page.text), "what popular is worth"
    assert "letter" in page.text, "the channel"


def test_values_stand_beside_their_intervals(studio, engine) -> None:
    """Value and spread are those of the policy, at what it read."""
    from serving.preview import look_at_page
    from serving.web.studio.why import chances_of

    look = look_at_page(engine, Asked(visitor="v").request(), AS_OF)
    row = look.decisions[1]
    listed = {chance.action: chance for chance in chances_of(engine.live, row)}
    assert listed["popular"].value == pytest.approx(0.3)
    assert listed["popular"].low is None, "this policy does not know how sure it is"
    assert listed["buy-again"].vetoed, "a stranger bought nothing"
    assert listed["buy-again"].value == pytest.approx(0.2)
    chances = [chance.probability for chance in listed.values() if chance.probability is not None]
    assert sum(chances) == pytest.approx(1)
    assert [chance.action for chance in listed.values() if chance.chosen] == [row["action_id"]]


def test_looking_leaves_no_trace(studio, engine, toy_shop) -> None:
    engine.store.append_sync([event("ann", AS_OF - DAY)])

    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in toy_shop.root.rglob("*")
                if path.is_file() and not path.name.endswith("-shm")}  # fmt: skip

    before = files()
    for query in ({"customer": "ann"}, {"visitor": "v", "region": "north"}, {}, {"customer": "ann", "shift": "28"}):
        see(studio, **query)
    see(studio, "/studio/figures")
    token = see(studio, "/studio/compare").token
    answer = send(studio, "/studio/compare", token=token, customer="ann", draft=TOML.replace("0.0", "0.1"))
    assert answer.status_code == 200
    assert files() == before
    assert records(engine) == []
    assert engine.store.held_of("ann", None) == {}


def test_another_moment_on_the_shops_wall_clock(studio) -> None:
    assert "A day in autumn" in see(studio, moment="2024-10-05T23:59").text, "the last minute of the last day in Tokyo"
    later = see(studio, moment="2024-10-06T00:00")
    assert "A day in autumn" not in later.text
    assert "A moment to come" in later.text
    moved = see(studio, moment="2024-10-05T09:30", shift="-28")
    assert moved.all("input", name="moment")[0]["value"] == "2024-09-07T09:30"
    assert "A moment past" in moved.text
    for bad in ("yesterday", "9999-12-31T23:00", "0001-01-01T00:00"):
        page = see(studio, status=400, moment=bad)
        assert "not a moment" in page.text
        assert page.all("p", role="alert")
    for nonsense in ("5", "--7", "-", "²"):
        see(studio, status=400, shift=nonsense)


def test_a_visitors_context(studio) -> None:
    page = see(studio, visitor="v", region="north", url="https://s.test/?utm_medium=email", agent="iPhone", page="home")
    assert "north" in page.text
    assert page.all("input", name="region")[0]["value"] == "north"
    assert "email" in page.text and "phone" in page.text, "source and device are read off"
    assert see(studio, status=400, page="hmoe").all("p", role="alert")
    see(studio, status=400, customer="x" * 600)


def test_as_if_consent_were_refused(studio, engine) -> None:
    """What a customer gets who does not agree to a personal page; more consent than was told cannot be claimed."""
    engine.store.append_sync([event("ann", AS_OF - DAY, item=item) for item in ("b1", "b2", "b3")])
    assert "own events" in see(studio, customer="ann").text
    page = see(studio, customer="ann", consent="refused")
    assert "own events" not in page.text and "personalization: no" in page.text
    assert "you have not agreed to a personal page" in page.text
    assert Asked(customer="ann", consent="granted").request().consents is None


def test_customers_are_found_by_their_id(studio, engine) -> None:
    """Nobody is in the toy shop's history: the search says so, and keeps what was asked."""
    page = see(studio, find=HOSTILE)
    assert HOSTILE in page.text
    assert page.all("input", name="find")[0]["value"] == HOSTILE


def test_everything_is_escaped(studio, engine) -> None:
    items = [(name, {"title": HOSTILE, "imageUrl": "javascript:alert(1)"}) for name in ("a0", "b3")]
    engine.store.put_items(items, AS_OF)
    engine.refresh()
    engine.store.append_sync([event(HOSTILE, AS_OF - DAY)])
    page = see(studio, customer=HOSTILE, region=HOSTILE, source=HOSTILE, moment="")
    assert page.text.count(HOSTILE) >= 3
    assert not any("javascript:" in value for _, attrs in page.tags for value in attrs.values())
    token = see(studio, "/studio/stops").token
    stop = {"kind": "item", "name": "b3", "because": HOSTILE, "by": HOSTILE}
    assert send(studio, "/studio/stops", token=token, **stop).status_code == 303
    assert see(studio, "/studio/stops").text.count(HOSTILE) >= 2
    answer = send(
        studio, "/studio/compare", token=token, customer=HOSTILE, draft=f"[shop]\nname = '''{HOSTILE}'''\nx = 1"
    )
    page = Page(answer.text)
    assert answer.status_code == 400 and not page.all("script")
    see(studio, status=400, page=HOSTILE)


# ---- comparing


def test_a_draft_beside_the_file(studio, engine, toy_shop) -> None:
    page = see(studio, "/studio/compare", customer="ann")
    assert page.all("textarea", name="draft")
    assert "[pages.home]" in page.text, "the file as it stands"
    draft = TOML.replace('["buy-again", "popular"]', '["buy-again"]').replace("A day in autumn", "Another day")
    answer = send(studio, "/studio/compare", token=page.token, visitor="v", draft=draft.replace("\n", "\r\n"))
    assert answer.status_code == 200
    text = Page(answer.text).text
    assert "3 of 3 slots differ" in re.sub(r"\s+", " ", text)
    assert "Another day" in text and "A day in autumn" in text
    assert "other words" in text and "other content" in text
    assert toy_shop.config.read_text() == TOML
    same = send(studio, "/studio/compare", token=page.token, visitor="v", draft=TOML)
    assert "Nothing differs" in same.text


def test_a_draft_over_the_last_requests(studio, engine, toy_shop) -> None:
    now = engine.clock.now()
    token = see(studio, "/studio/compare").token
    draft = TOML.replace('["never", "autumn", "viewed"]', '["viewed"]')
    none = send(studio, "/studio/compare", token=token, draft=draft, last="50")
    assert "let the service answer some first" in none.text
    for user in ("ann", "bob", "cleo"):
        pages.page(engine, wire.PageRequest(user_id=user), now)
    drain(engine.shop.decision_logs, engine.store)
    before = records(engine)
    answer = send(studio, "/studio/compare", token=token, draft=draft, last="50")
    text = re.sub(r"\s+", " ", Page(answer.text).text)
    assert answer.status_code == 200
    assert "3 of 3 requests move; they are of 3 people." in text
    assert re.search(r"home/top ?3 ?3 · \(100\.0 %", text)
    assert "autumn → (nothing) 3" in text
    assert records(engine) == before
    for fields in ({"draft": TOML, "last": "50"}, {"draft": draft, "last": "1000000"}):
        assert send(studio, "/studio/compare", token=token, **fields).status_code == 400


def test_two_bundles_side_by_side(studio, engine, toy_shop) -> None:
    import msgspec

    other = build_toy_bundle("toy-2", msgspec.structs.replace(RECIPE, weights={"popularity": 1.0}))
    turned = other.arrays["source.popularity.items"].copy()
    turned[1] = turned[1][::-1]
    turned = {**other.arrays, "source.popularity.items": turned}
    write_bundle(toy_shop.bundles / "toy-2", type(other)(other.manifest, turned))
    token = see(studio, "/studio/compare").token
    answer = send(studio, "/studio/compare", token=token, visitor="v", left="toy-1", right="toy-2")
    text = re.sub(r"\s+", " ", Page(answer.text).text)
    assert "Items that moved" in text
    assert re.search(r"Title a3 a3 ?drawn, place 4 ?drawn, place 8", text), text[-1500:]
    assert engine.live.bundle.id == "toy-1"
    assert send(studio, "/studio/compare", token=token, right="../../etc").status_code == 404


@pytest.mark.parametrize(("draft", "told"), [
    ("[shop\n", "line 1"), ('[shop]\nname = "x"\nlocal = "en"', "line 3"),
    (TOML.replace('"hero"', '"hreo"'), "no such policy"),
])  # fmt: skip
def test_errors_of_a_draft_are_shown_beside_it(studio, draft, told) -> None:
    token = see(studio, "/studio/compare").token
    answer = send(studio, "/studio/compare", token=token, draft=draft)
    page = Page(answer.text)
    assert answer.status_code == 400
    assert page.all("p", role="alert")
    assert told in page.text
    assert draft.splitlines()[0] in page.text, "what was typed is not lost"


def test_forms_that_are_none(studio) -> None:
    token = see(studio).token
    big = send(studio, "/studio/compare", token=token, draft="x" * (5 << 20))
    assert big.status_code == 400
    answer = studio.post("/studio/compare", content=b"{}", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert studio.post("/studio/compare", content=b"draft=%ff", headers=kind).status_code == 400


# ---- stopping


def test_stop_and_lift_by_form(studio, engine) -> None:
    page = see(studio, customer="ann")
    links = [each["href"] for each in page.all("a") if "kind=item" in each.get("href", "")]
    assert "/studio/stops?kind=item&name=a0" in links
    form = see(studio, "/studio/stops", kind="item", name="a0")
    assert form.all("input", name="name")[0]["value"] == "a0"
    answer = send(studio, "/studio/stops", token=form.token, kind="item", name="a0", because="recall", by="Bea")
    assert answer.headers["location"] == "/studio/stops?done=stopped"
    page = see(studio, "/studio/stops", done="stopped")
    assert "Stopped." in page.text and "recall" in page.text and "Bea" in page.text
    assert "a0" not in [each.get("data-item") for each in see(studio, customer="ann").all("li")]
    number = page.all("button", name="lift")[0]["value"]
    assert (
        send(studio, "/studio/stops", token=form.token, lift=number).headers["location"] == "/studio/stops?done=lifted"
    )
    page = see(studio, "/studio/stops")
    assert "Nothing is stopped." in page.text and "Lifted" in page.text
    for fields in ({"kind": "item", "name": "a9", "because": "x"}, {"kind": "x", "name": "a0", "because": "x"},
                   {"kind": "item", "name": "a0", "because": ""}, {"lift": "x"}):  # fmt: skip
        refused = send(studio, "/studio/stops", token=form.token, **fields)
        assert refused.status_code == 400, fields
        assert 'role="alert"' in refused.text
    assert send(studio, "/studio/stops", token=form.token, lift="99").status_code == 404


def test_a_stopped_action_says_so_where_it_is_asked_why(studio) -> None:
    token = see(studio).token
    send(studio, "/studio/stops", token=token, kind="action", name="autumn", because="wrong price")
    assert "stopped: wrong price" in see(studio, customer="ann").text


# ---- figures


def test_figures_count_what_came_of_what_was_shown(studio, engine) -> None:
    """Two visitors and a customer look; one clicks twice and buys, another buys under a decision of yesterday's."""
    now = engine.clock.now()
    answers = [pages.page(engine, wire.PageRequest(user_id=user), now) for user in ("ann", "bob", "cleo")]
    drain(engine.shop.decision_logs, engine.store)
    last = [answer["slots"][2] for answer in answers]
    engine.store.append_sync([
        event("ann", now + 1, "click", "a0", last[0]["decisionId"]),
        event("ann", now + 2, "click", "a1", last[0]["decisionId"]),
        event("ann", now + 3, "purchase", "a0", last[0]["decisionId"]),
        event("bob", now + 3, "purchase", "a0", "elsewhere"),
        event("bob", now + 4, "click", "a0"), event("cleo", now + 4, "view", "a0", last[2]["decisionId"]),
    ])  # fmt: skip
    found = count(engine.store, now - HOUR, now + HOUR)
    assert found.shown == 9
    rows = {(row.surface, row.slot, row.action): row for row in found.rows}
    by_slot: dict[str, int] = {}
    for (_, slot, _), row in rows.items():
        by_slot[slot] = by_slot.get(slot, 0) + row.shown
    assert by_slot == {"top": 3, "drawn": 3, "last": 3}
    row = rows["page.home", "last", last[0]["actionId"]]
    assert (row.clicked, row.bought) == (1, 1), "each decision once"
    assert sum(each.bought for each in found.rows) == 1
    assert found.fallbacks.hits == sum(row.fallbacks for row in found.rows) > 0
    assert count(engine.store, now + HOUR // 2, now + HOUR).rows == ()
    assert count(engine.store, now - HOUR, now + HOUR, most=4).cut
    assert count(engine.store, now - HOUR, now + HOUR, most=4).shown == 4
    page = see(studio, "/studio/figures", hours=24)
    assert "page.home" in page.text and page.all("svg", role="img")
    assert see(studio, "/studio/figures", hours="soon").all("a", **{"aria-current": "page", "href": "/studio/figures"})


def test_figures_of_an_erased_customer_still_count(engine) -> None:
    from serving.erase import erase

    now = engine.clock.now()
    slot = pages.page(engine, wire.PageRequest(user_id="ann"), now)["slots"][2]
    drain(engine.shop.decision_logs, engine.store)
    engine.store.append_sync([event("ann", now + 1, "click", "a0", slot["decisionId"])])
    before = count(engine.store, now - HOUR, now + HOUR)
    erase(engine.shop, engine.store, "ann", now=now + 2)
    after = count(engine.store, now - HOUR, now + HOUR)
    assert after.rows == before.rows
    assert sum(row.clicked for row in after.rows) == 1


@given(st.integers(0, 400), st.integers(0, 400))
def test_intervals_are_wilsons(hits: int, more: int) -> None:
    share = Share(hits, hits + more)
    if not share.of:
        assert share.value is None and share.interval is None
        return
    wanted = binomtest(hits, share.of).proportion_ci(method="wilson")
    assert share.interval == pytest.approx((wanted.low, wanted.high), abs=1e-9)


# ---- words


def test_words_are_in_both_languages() -> None:
    fields = re.compile(r"\{(\w+)\}")
    assert TEXTS["en"].keys() == TEXTS["ja"].keys()
    for key, text in TEXTS["en"].items():
        assert sorted(fields.findall(text)) == sorted(fields.findall(TEXTS["ja"][key])), key


def test_in_japanese(studio) -> None:
    token = see(studio).token
    answer = send(studio, "/studio/language", token=token, locale="ja", back="/studio?customer=ann")
    assert answer.headers["location"] == "/studio?customer=ann"
    page = see(studio, customer="ann")
    assert page.all("html", lang="ja")
    assert "お客様annのhomeページ" in page.text
    for path in PATHS:
        see(studio, path)


# ---- what assistive technology needs


@pytest.mark.parametrize("path", [*PATHS, "/studio/login"])
def test_pages_are_usable_without_eyes_or_mouse(studio, path) -> None:
    page = see(studio, path)
    assert page.all("a", href="#content") and page.all("main", id="content")
    assert len(page.all("h1")) == 1
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    labels = {each["for"] for each in page.all("label")}
    for tag in ("input", "select", "textarea"):
        for each in page.all(tag):
            assert each.get("type") == "hidden" or each["id"] in labels, each
    for _, attrs in page.tags:
        for name in ("aria-labelledby", "aria-describedby", "list"):
            assert set(attrs.get(name, "").split()) <= set(ids), attrs
    assert all("tabindex" not in attrs or attrs["tabindex"] in ("0", "-1") for _, attrs in page.tags)


# ---- what is asked


@given(st.dictionaries(st.sampled_from([*Asked().__dict__, "token", "x"]), st.text(max_size=30)))
def test_a_question_is_its_address(fields: dict[str, str]) -> None:
    from urllib.parse import parse_qsl

    asked = Asked.of(fields)
    back = Asked.of(dict(parse_qsl(asked.href().partition("?")[2], keep_blank_values=True)))
    assert back == Asked.of({name: value.encode("utf-8", "replace").decode() for name, value in asked.fields.items()})
    try:
        request = asked.request()
    except RequestError:
        return
    assert request.explain and (request.user_id or "") == asked.customer
