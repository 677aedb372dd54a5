"""Orders, fields, answers, consents and exports over HTTP: durable, idempotent, each refusal with its field."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import orjson
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from features.moments import DAY, HOUR, MINUTE, format_instant
from serving.access import Access
from serving.http import HANDLERS, routes
from serving.store import Store
from serving.sync import sync
from tests.test_serving.conftest import AS_OF


@pytest.fixture(autouse=True)
def still(toy_engine):
    """Every request is of the same moment."""
    toy_engine.clock = SimpleNamespace(now=lambda: AS_OF)


def post(client, path, body):
    return client.post(path, content=orjson.dumps(body))


def order(**more):
    return {"orderId": "o1", "userId": "ann", "itemId": "a0", **more}


def orders(client, *reports):
    return post(client, "/v1/orders", {"orders": list(reports)}).json()


def read(client, user="ann"):
    return post(client, "/v1/customers/read", {"userId": user}).json()


# --- orders -----------------------------------------------------------------------------------------------------------

FULL = order(
    line="2", quantity=2, orderedAt=format_instant(AS_OF - DAY), promisedAt=format_instant(AS_OF + 9 * DAY),
    paymentState="paid", shipmentState="shipped", text="on its way", imageUrl="https://shop.example/i.jpg",
    trackingUrl="http://carrier.example/t?1", confirmedFor=format_instant(AS_OF + 8 * DAY), pickupPlace="Shop",
    pickupHours="9-17", gift=True, subscription="s-1", at=format_instant(AS_OF - HOUR),
)  # fmt: skip


def test_a_report_is_durable_and_read_back_as_it_was(client, toy_engine):
    """Another process that opens the store at once finds it; the person has it."""
    assert orders(client, FULL) == {"accepted": 1, "duplicates": 0, "rejected": []}
    other = Store.open(toy_engine.shop.store, toy_engine.shop.secret)
    (line,) = other.orders_of("ann")
    other.close()
    assert (line,) == toy_engine.person_of(toy_engine.live, "ann", None, AS_OF + 1).orders
    assert (line.order_id, line.line, line.item_id, line.quantity) == ("o1", "2", "a0", 2.0)
    assert (line.gift, line.subscription, line.ordered_at) == (True, "s-1", AS_OF - DAY)
    (step,) = line.steps
    assert (step.at, step.state, step.text, step.place, step.hours) == (
        AS_OF - HOUR, "shipped", "on its way", "Shop", "9-17",
    )  # fmt: skip
    assert (step.image_url, step.tracking_url) == ("https://shop.example/i.jpg", "http://carrier.example/t?1")
    assert (step.confirmed_for, step.promised_at) == (AS_OF + 8 * DAY, AS_OF + 9 * DAY)


def test_the_same_report_again_is_no_new_step(client):
    """Also when the shop names no time, and within one batch."""
    assert orders(client, FULL, FULL, order(shipmentState="confirmed")) == {
        "accepted": 2, "duplicates": 1, "rejected": [],
    }  # fmt: skip
    assert orders(client, order(shipmentState="confirmed"), FULL)["duplicates"] == 2
    later = orders(client, order(shipmentState="confirmed", text="thank you"))
    assert (later["accepted"], later["duplicates"]) == (1, 0)
    states = [[step["state"] for step in line["steps"]] for line in read(client)["orders"]]
    assert states == [["shipped"], ["confirmed", "confirmed"]]


@pytest.mark.parametrize(
    ("bad", "field", "message"),
    [
        ({"shipmentState": "shiped"}, "shipmentState", 'did you mean "shipped"?'),
        ({"imageUrl": "javascript:alert(1)"}, "imageUrl", ""),
        ({"trackingUrl": "ftp://carrier.example"}, "trackingUrl", ""),
        ({"trackingUrl": "https://a b"}, "trackingUrl", ""),
        ({"at": "2020-01-01T00:00"}, "at", "without a zone"),
        ({"at": format_instant(AS_OF + 6 * MINUTE)}, "at", "in the future"),
        ({"orderedAt": format_instant(AS_OF + DAY)}, "orderedAt", "in the future"),
        ({"promisedAt": "soon"}, "promisedAt", "not a time"),
        ({"confirmedFor": "99999-01-01"}, "confirmedFor", ""),
        ({"promisedAt": "9999-12-31T23:59:59Z"}, "promisedAt", "outside the calendar"),
        ({"promisedAt": "9999-12-31T23:59:59-14:00"}, "promisedAt", "outside the calendar"),
        ({"at": "0001-01-01T00:00:00Z"}, "at", "outside the calendar"),
        ({"quantity": 0}, "quantity", ""),
        ({"userId": None}, "userId", ""),
        ({"itemId": ""}, "itemId", ""),
        ({"shipmentstate": "shipped"}, "shipmentstate", 'did you mean "shipmentState"?'),
    ],
)  # fmt: skip
def test_a_bad_report_is_rejected_with_its_field_and_the_others_go_on(client, bad, field, message):
    answer = orders(client, order(**bad), order(shipmentState="confirmed"))
    assert answer["accepted"] == 1
    (refusal,) = answer["rejected"]
    assert (refusal["index"], refusal["field"]) == (0, field) and message in refusal["message"]


def test_a_clock_that_runs_a_little_ahead_is_taken_as_now(client, toy_engine):
    orders(client, order(at=format_instant(AS_OF + MINUTE), shipmentState="confirmed"))
    assert toy_engine.store.orders_of("ann")[0].steps[0].at == AS_OF


def test_a_line_stays_its_customer_s(client):
    """An order that suddenly names somebody else is a mistake of whoever sends it."""
    orders(client, order(shipmentState="confirmed"))
    answer = orders(client, order(userId="bob", shipmentState="shipped"))
    assert [(each["code"], each["field"]) for each in answer["rejected"]] == [("collision", "userId")]
    assert read(client, "bob")["orders"] == []


@pytest.mark.parametrize("body", [{"orders": []}, {"orders": [order()] * 1001}, {"orders": "x"}, {}])
def test_batches_have_one_to_a_thousand_reports(client, body):
    assert post(client, "/v1/orders", body).status_code == 400


def test_an_unavailable_store_acknowledges_nothing(client, toy_engine, monkeypatch):
    from features.errors import Unavailable

    def refuse(*given):
        raise Unavailable("the disk is full")

    monkeypatch.setattr(toy_engine.store, "put_orders", refuse)
    answer = post(client, "/v1/orders", {"orders": [order()]})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


# --- fields, answers, consents ----------------------------------------------------------------------------------------


def test_fields_change_one_by_one_and_null_forgets(client, toy_engine):
    body = {
        "userId": "ann", "name": "Ann", "region": "north", "postalPrefix": "060", "timeZone": "Asia/Tokyo",
        "tier": "gold", "points": 12, "attributes": {"rooms": 3, "pets": ["dog"]}, "channels": ["email"],
        "projects": [{"kind": "basement", "note": "for a teenager", "until": format_instant(AS_OF + DAY)}],
    }  # fmt: skip
    answer = post(client, "/v1/customers/update", body).json()
    assert answer["accepted"] == sorted(set(body) - {"userId"})
    post(client, "/v1/customers/update", {"userId": "ann", "tier": None, "attributes": {"rooms": 4, "pets": None}})
    found = toy_engine.person_of(toy_engine.live, "ann", None, AS_OF + 1)
    assert (found.name, found.region, found.postal_prefix, found.time_zone) == ("Ann", "north", "060", "Asia/Tokyo")
    assert (found.tier, found.points, found.attributes, found.channels) == (None, 12.0, {"rooms": 4}, ("email",))
    (project,) = found.projects
    assert (project.kind, project.note, project.since, project.until, project.source) == (
        "basement", "for a teenager", AS_OF, AS_OF + DAY, "staff",
    )  # fmt: skip
    known = read(client)
    assert known["known"] and known["fields"]["name"] == "Ann" and "tier" not in known["fields"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("update", {"userId": "ann", "timeZone": "Tokio"}, "timeZone"),
        ("update", {"userId": "ann", "points": -1}, "points"),
        ("update", {"userId": "ann", "name": "x" * 201}, "name"),
        ("update", {"userId": "ann", "nam": "x"}, "nam"),
        ("update", {"userId": "ann", "projects": [{"kind": "k", "since": "then"}]}, "projects.since"),
        ("update", {"userId": "ann"}, "body"),
        ("answer", {"userId": "ann", "question": "q", "answer": "x" * 201}, "answer"),
        ("answer", {"userId": "ann", "question": "q"}, "answer"),
        ("answer", {"question": "q", "answer": "x"}, "userId"),
        ("consent", {"purpose": "marketing", "granted": True}, "userId"),
        ("consent", {"userId": "ann", "purpose": "personalisation", "granted": True}, "purpose"),
        ("consent", {"userId": "ann", "purpose": "marketing", "granted": "yes"}, "granted"),
    ],
)
def test_what_makes_no_sense_is_400_and_names_the_field(client, path, body, field):
    answer = post(client, f"/v1/customers/{path}", body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)
    assert not read(client)["known"]


def test_an_answer_counts_at_once_and_a_skipped_question_was_asked(client, toy_engine):
    """For a visitor, then for the customer whom he signs in as."""
    post(client, "/v1/customers/answer", {"visitorId": "v", "question": "pet", "answer": "猫"})
    post(client, "/v1/customers/answer", {"visitorId": "v", "question": "urgent", "answer": None})
    found = toy_engine.person_of(toy_engine.live, None, "v", AS_OF + 1)
    assert (found.answers, found.asked) == ({"pet": "猫"}, {"pet": AS_OF, "urgent": AS_OF})
    event = {"type": "sign_in", "userId": "ann", "visitorId": "v"}
    assert post(client, "/v1/events", {"events": [event]}).json()["accepted"] == 1
    assert toy_engine.person_of(toy_engine.live, "ann", "v", AS_OF + 1) == found
    assert read(client)["answers"] == {"pet": "猫"}


def test_consents_are_kept_with_their_words_and_moment(client, toy_engine):
    body = {"userId": "ann", "purpose": "personalization", "granted": True, "wording": "v2", "source": "my page"}
    assert post(client, "/v1/customers/consent", body).status_code == 200
    told = toy_engine.consents_of(toy_engine.live, "ann", None).told
    assert told == {
        "personalization": {"granted": True, "wording": "v2", "source": "my page", "at": format_instant(AS_OF)}
    }
    assert read(client)["consents"] == told


# --- export and erase -------------------------------------------------------------------------------------------------


@pytest.fixture
def told(client, toy_engine):
    """Ann, whose life lies half in the history and half in the store; and Bob beside her."""
    post(client, "/v1/events", {"events": [
        {"type": "view", "itemId": "a1", "visitorId": "v", "eventId": "e1"},
        {"type": "sign_in", "userId": "ann", "visitorId": "v", "eventId": "e2"},
        {"type": "purchase", "itemId": "a0", "userId": "ann", "unitPrice": 3.0, "quantity": 2, "eventId": "e3"},
        {"type": "view", "itemId": "a2", "userId": "bob", "eventId": "e9"},
    ]})  # fmt: skip
    post(client, "/v1/customers/update", {"userId": "ann", "name": "Annabel", "attributes": {"rooms": 3}})
    post(client, "/v1/customers/update", {"userId": "bob", "name": "Bob"})
    consent(client, True)
    orders(client, FULL, order(orderId="bobs", userId="bob"))
    sync(toy_engine.shop, now=AS_OF + 2 * DAY)
    toy_engine.refresh()
    post(client, "/v1/events", {"events": [{"type": "view", "itemId": "b0", "userId": "ann", "eventId": "e4"}]})
    post(client, "/v1/customers/answer", {"userId": "ann", "question": "pet", "answer": "dog"})
    consent(client, False)
    orders(client, order(line="2", shipmentState="delivered"))
    post(client, "/v1/recommendations", {"userId": "ann"})
    return client


def consent(client, granted):
    body = {"userId": "ann", "purpose": "marketing", "granted": granted, "wording": "v1", "source": "web"}
    assert post(client, "/v1/customers/consent", body).status_code == 200


def export(client, user="ann"):
    return post(client, "/v1/customers/export", {"userId": user})


@pytest.mark.parametrize("dropped", [False, True])
def test_an_export_holds_everything_of_store_and_history_and_nobody_else(told, toy_engine, dropped):
    """Whether the store still has the rows that the history holds or not."""
    if dropped:
        with toy_engine.store.database.transaction() as connection:
            connection.execute("DELETE FROM events WHERE event_id IN ('e1', 'e2', 'e3')")
            connection.execute("DELETE FROM orders WHERE change <= 2")
            connection.execute("DELETE FROM customers WHERE change <= 2")
    answer = export(told)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["fields"], found["attributes"], found["answers"]) == (
        {"name": "Annabel"},
        {"rooms": 3},
        {"pet": "dog"},
    )
    assert found["asked"] == {"pet": AS_OF}
    assert [(each["purpose"], each["granted"]) for each in found["consentHistory"]] == [
        ("marketing", True), ("marketing", False),
    ]  # fmt: skip
    assert found["consents"]["marketing"]["granted"] is False
    events = [(each["type"], each.get("itemId")) for each in found["events"]]
    assert sorted(events, key=repr) == [("purchase", "a0"), ("sign_in", None), ("view", "a1"), ("view", "b0")]
    (bought,) = (each for each in found["events"] if each["type"] == "purchase")
    assert bought["quantity"] == 2 and bought["occurredAt"] == format_instant(AS_OF)
    assert {(each["orderId"], each.get("state")) for each in found["orders"]} == {
        ("o1", "shipped"),
        ("o1", "delivered"),
    }
    assert any(each.get("paymentState") == "paid" for each in found["orders"])
    assert found["links"] == ["v"]
    assert [each["surface"] for each in found["decisions"]] == ["api.recommendations"]
    assert "bob" not in answer.text.lower()


def test_of_whom_nothing_is_known_there_is_no_export(told):
    answer = export(told, "nobody")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_after_an_erasure_there_is_nothing_to_export_and_nothing_new_is_taken(told):
    """One call; the receipt counts what went and says what is refused from now on."""
    receipt = post(told, "/v1/customers/erase", {"userId": "ann"}).json()
    assert receipt["state"] == "erased" and "consents" in receipt["says"]["now"]
    assert receipt["removed"]["orders"] == 2 and receipt["removed"]["historyProfiles"] == 1
    assert export(told).status_code == 404
    assert not read(told)["known"]
    refused = [
        post(told, "/v1/customers/update", {"userId": "ann", "name": "Ann"}),
        post(told, "/v1/customers/answer", {"userId": "ann", "question": "pet", "answer": "dog"}),
        post(told, "/v1/customers/answer", {"visitorId": "v", "question": "pet", "answer": "dog"}),
        post(told, "/v1/customers/consent", {"userId": "ann", "purpose": "marketing", "granted": True}),
    ]
    assert [(each.status_code, each.json()["error"]["code"]) for each in refused] == [(409, "erased")] * 4
    assert [each["code"] for each in orders(told, order(orderId="new"))["rejected"]] == ["erased"]
    assert export(told).status_code == 404
    assert export(told, "bob").status_code == 200


# --- who may, and what is written down --------------------------------------------------------------------------------


def test_what_changes_people_needs_the_scope_of_it():
    """A key for events may report orders, answers and consents; the rest is the admin's."""
    scopes = {path: scope for path, (scope, _) in HANDLERS.items() if "customers" in path or path == "/v1/orders"}
    assert scopes == {
        "/v1/orders": "events", "/v1/customers/answer": "events", "/v1/customers/consent": "events",
        "/v1/customers/read": "admin", "/v1/customers/update": "admin", "/v1/customers/export": "admin",
        "/v1/customers/erase": "admin", "/v1/customers/token": "admin",
    }  # fmt: skip


def test_nothing_about_a_person_is_ever_logged(toy_engine, caplog, monkeypatch):
    """Neither what is accepted, nor what is refused, nor what fails."""
    app = Starlette(routes=routes(lambda: toy_engine, Access(dev=True)))
    with (
        TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client,
        caplog.at_level(logging.DEBUG, logger="kokyaku"),
    ):
        post(client, "/v1/customers/update", {"userId": "secret-id", "name": "secret-name", "tier": 5})
        post(client, "/v1/customers/answer", {"userId": "secret-id", "question": "q", "answer": "secret-answer" * 99})
        post(client, "/v1/customers/update", {"userId": "secret-id", "name": "secret-name"})
        orders(client, order(userId="secret-id", text="secret-text", shipmentState="secret-state"))
        export(client, "secret-id")
        monkeypatch.setattr(toy_engine.store, "put_customer", lambda *given: 1 / 0)
        assert post(client, "/v1/customers/update", {"userId": "secret-id", "name": "n"}).status_code == 500
    assert "division by zero" in caplog.text and "secret" not in caplog.text


def test_the_document_knows_what_a_report_looks_like(client):
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["OrdersRequest"]["properties"]["orders"]["items"] == {"$ref": "#/components/schemas/OrderIn"}
    assert set(schemas["OrderIn"]["required"]) == {"orderId", "userId", "itemId"}
