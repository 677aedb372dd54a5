"""A browser key: it writes events of its own visitor, reads nothing, and speaks for nobody else."""

from __future__ import annotations

import time
from types import SimpleNamespace

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.moments import SECOND
from serving import clock, tokens
from serving.sealed_texts import Signer
from serving.tokens import TYPES, VISITOR_AGE
from serving.web.identity import ENTERED_AGE
from tests.test_serving.test_guard import opened, post
from tests.test_serving.test_studio import Page


@pytest.fixture
def service(toy_engine):
    with opened(toy_engine) as client:
        yield client


def visitor(service, **body):
    answer = post(service, "/v1/browser/visitor", body, "k-browser")
    assert answer.status_code == 200, answer.text
    return answer.json()


def send(service, token, *events):
    return post(service, "/v1/browser/events", {"visitorToken": token, "events": list(events)}, "k-browser")


def view(**more):
    return {"type": "view", "itemId": "a0", **more}


def test_a_page_gets_a_visitor_and_writes_its_events(service, toy_engine):
    mine = visitor(service)
    assert len(mine["visitorId"]) == 32
    assert send(service, mine["visitorToken"], view(), view(itemId="b1")).json()["accepted"] == 2
    kept = toy_engine.store.events_of(None, mine["visitorId"])
    assert [(each.visitor_id, each.customer_id, each.item_id) for each in kept] == [
        (mine["visitorId"], None, "a0"), (mine["visitorId"], None, "b1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "field", ["userId", "visitorId", "orderId", "line", "unitPrice", "discount", "coupon", "channel"]
)
def test_an_event_of_a_page_cannot_say_whose_it_is_or_what_was_paid(service, toy_engine, field):
    mine = visitor(service)
    answer = send(service, mine["visitorToken"], view(**{field: "x"})).json()
    assert (answer["accepted"], answer["rejected"][0]["field"]) == (0, field)
    assert toy_engine.store.events_of(None, "x") == toy_engine.store.events_of("x", None) == []


@pytest.mark.parametrize(
    "kind", ["purchase", "return", "unsubscribe", "consent", "sent", "rating", "complaint", "", "nonsense"]
)
def test_what_a_shops_backend_tells_a_page_may_not(service, kind):
    mine = visitor(service)
    answer = send(service, mine["visitorToken"], {"type": kind, "itemId": "a0"}).json()
    assert answer["accepted"] == 0
    assert answer["rejected"][0]["field"] == "type"
    assert kind not in TYPES


def test_a_visitor_of_somebody_else_cannot_be_named(service, toy_engine):
    """A token is sealed: each changed character, and each other purpose of the same secret, is refused."""
    mine = visitor(service)
    token = mine["visitorToken"]
    signer = Signer(lambda: toy_engine.shop.secret)
    forged = [
        token[:-2], token + "A", token.swapcase(), "", ".", "a.b", mine["visitorId"], "x" * 2048, "日本",
        token.split(".")[0],
        signer.lend(tokens.ENTRY, "ann", int(time.time()) + 60),
        signer.seal("visitor", b"victim"),  # the cookie of the storefront
        signer.seal("go", b"victim"),
        Signer(lambda: b"another shop's secret").lend("browser-visitor", "victim", int(time.time()) + 60),
    ]  # fmt: skip
    for each in forged:
        answer = send(service, each, view())
        assert (answer.status_code, answer.json()["error"]["field"]) == (401, "visitorToken"), each
    assert toy_engine.store.events_of(None, "victim") == []
    assert send(service, token, view()).status_code == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 200), bit=st.integers(0, 6))
def test_no_changed_token_opens(toy_engine, place, bit):
    """Of the payload and of the signature: no character may be another one."""
    signer = Signer(lambda: toy_engine.shop.secret)
    token = signer.lend("browser-visitor", "v-1", 2_000_000_000)
    place %= len(token)
    changed = token[:place] + chr(ord(token[place]) ^ (1 << bit)) + token[place + 1 :]
    found = signer.lent("browser-visitor", changed, 1_900_000_000)
    # The last character of base64 holds bits that nothing reads: another spelling of the same bytes is the same token.
    assert found in (None, ("v-1", 2_000_000_000))
    assert found is None or place in (len(token) - 1, token.index(".") - 1)


def clock_says(monkeypatch, seconds: float) -> None:
    monkeypatch.setattr(clock, "_MACHINE", SimpleNamespace(now=lambda: int(seconds * SECOND)))


def test_a_token_ends_and_can_be_had_anew_for_the_same_visitor(service, toy_engine, monkeypatch):
    mine = visitor(service)
    start = time.time()
    clock_says(monkeypatch, start + VISITOR_AGE - 10)
    again = visitor(service, visitorToken=mine["visitorToken"])
    assert again["visitorId"] == mine["visitorId"]
    assert again["expiresAt"] > mine["expiresAt"]
    clock_says(monkeypatch, start + VISITOR_AGE + 10)
    assert send(service, mine["visitorToken"], view()).status_code == 401
    assert send(service, again["visitorToken"], view()).status_code == 200
    over = post(service, "/v1/browser/visitor", {"visitorToken": mine["visitorToken"]}, "k-browser")
    assert over.status_code == 401


def test_a_token_that_is_over_stays_so_when_the_machines_clock_is_set_back(service, monkeypatch):
    monkeypatch.setattr(clock, "_MACHINE", clock.Clock())
    mine, now = visitor(service), time.time_ns()
    for second, status in ((-30, 200), (1, 401), (-1_800, 401)):
        wall = now + (VISITOR_AGE + second) * 1_000_000_000
        monkeypatch.setattr(clock.time, "time_ns", lambda wall=wall: wall)
        assert send(service, mine["visitorToken"], view()).status_code == status, second


def test_nobody_can_take_the_id_of_another_visitors_event(service, toy_engine):
    """Ids are the visitor's own, so a page cannot fill the place of an event that is still to come."""
    one, two = visitor(service), visitor(service)
    assert send(service, one["visitorToken"], view(eventId="e-1")).json()["accepted"] == 1
    assert send(service, two["visitorToken"], view(eventId="e-1", itemId="b0")).json()["accepted"] == 1
    assert send(service, one["visitorToken"], view(eventId="e-1")).json()["accepted"] == 0
    backend = {"events": [{"type": "view", "itemId": "b1", "visitorId": "v", "eventId": "e-1"}]}
    assert post(service, "/v1/events", backend, "k-events").json()["accepted"] == 1


def test_a_backend_may_name_the_visitor_it_knows(service, toy_engine):
    token = post(service, "/v1/visitors/token", {"visitorId": "v-7"}, "k-events").json()["visitorToken"]
    assert send(service, token, view()).json()["accepted"] == 1
    assert len(toy_engine.store.events_of(None, "v-7")) == 1


def test_what_a_page_writes_changes_what_the_backend_reads_of_that_visitor_only(service):
    mine, other = visitor(service), visitor(service)
    send(service, mine["visitorToken"], *(view(itemId="b0") for _ in range(3)))

    def asked(who):
        answer = post(service, "/v1/recommendations", {"visitorId": who["visitorId"], "numResults": 3}, "k-read")
        return orjson.dumps([each["itemId"] for each in answer.json()["itemList"]])

    assert asked(other) == orjson.dumps(["a0", "a1", "a2"])
    assert asked(mine) != asked(other)


# ---- a customer who signed in at the shop


def entered(service, user: str = "ann") -> str:
    """Send the browser in as a customer, as the shop's backend does; the address that it was sent to."""
    told = post(service, "/v1/customers/token", {"userId": user}, "k-admin").json()
    answer = service.get(told["path"])
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return told["path"]


def test_a_customer_enters_with_a_token_and_leaves(service):
    post(service, "/v1/customers/update", {"userId": "ann", "name": "Ann Example"}, "k-admin")
    assert "Sign out" not in service.get("/web/me").text
    entered(service)
    page = service.get("/web/me")
    assert "Sign out" in page.text
    assert '"user_id": "ann"' not in page.text
    export = service.get("/web/me/export").json()
    assert "Ann Example" in str(export)
    form = {each["name"]: each["value"] for each in Page(page.text).all("input", type="hidden")}
    cookies = dict(service.cookies)
    left = service.post("/web/leave", data=form, headers={"origin": "http://shop.example"})
    assert left.status_code == 303
    assert "Sign out" not in service.get("/web/me").text
    assert dict(service.cookies) != cookies
    assert "Ann Example" not in service.get("/web/me/export").text


def test_cookies_of_who_entered_are_not_for_scripts_and_end(service, monkeypatch):
    told = post(service, "/v1/customers/token", {"userId": "ann"}, "k-admin").json()
    answer = service.get(told["path"])
    entered = next(each for each in answer.headers.get_list("set-cookie") if "_entered=" in each)
    assert "HttpOnly" in entered and "SameSite=lax" in entered and f"Max-Age={ENTERED_AGE}" in entered
    start = time.time()
    clock_says(monkeypatch, start + ENTERED_AGE + 5)
    assert "Sign out" not in service.get("/web/me").text, "the cookie's own time counts, whatever the browser keeps"


def test_nobody_enters_with_anything_else(service, toy_engine, monkeypatch):
    signer = Signer(lambda: toy_engine.shop.secret)
    ends = int(time.time()) + 60
    good = post(service, "/v1/customers/token", {"userId": "ann"}, "k-admin").json()["token"]
    bad = [
        "", "x", good[:-3], good.swapcase(), visitor(service)["visitorToken"], signer.seal(tokens.ENTRY, b"ann"),
        signer.lend("entered", "ann", ends), signer.lend("customer", "ann", ends),
    ]  # fmt: skip
    for token in bad:
        answer = service.get("/web/enter", params={"token": token})
        assert answer.status_code == 401, token
        assert not [each for each in answer.headers.get_list("set-cookie") if "_entered=" in each]
    start = time.time()
    clock_says(monkeypatch, start + tokens.ENTRY_AGE + 1)
    assert service.get("/web/enter", params={"token": good}).status_code == 401


def test_a_customer_whom_a_demo_chose_is_nobody_in_production(service, toy_engine):
    """The picker's cookie has the same signer; it counts on a developer's machine only."""
    signer = Signer(lambda: toy_engine.shop.secret)
    service.cookies.set(signer.cookie("customer"), signer.seal("customer", b"ann"))
    assert "Sign out" not in service.get("/web/me").text
    assert service.get("/?customer=ann").status_code == 200
    assert "ann" not in service.get("/web/me/export").text
