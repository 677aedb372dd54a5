"""The HTTP face: every route answers, an event changes the next answer, and bad input is a clear 4xx."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.assemble import FEATURE_NAMES
from serving.bodies import MAX_BODY
from serving.frames import frames
from serving.http import HANDLERS, VERSION
from serving.logged_rows import rows_in
from serving.openapi import document


def post(client, path, body):
    return client.post(path, content=orjson.dumps(body))


def ids(answer) -> list[str]:
    return [entry["itemId"] for entry in answer.json()["itemList"]]


def event(kind="purchase", item="b3", user="ann", **more):
    return {"type": kind, "itemId": item, "userId": user, **more}


def test_a_stranger_gets_popular_items_and_is_told_so(client):
    """An unknown customer gets a sensible answer with a reason, never an error."""
    answer = post(client, "/v1/recommendations", {"userId": "nobody", "numResults": 3})
    assert answer.status_code == 200
    assert ids(answer) == ["a0", "a1", "a2"]
    assert "nothing is known" in answer.json()["reason"]


def test_an_event_changes_the_next_answer(client):
    """A purchase acknowledged now is bought again first in the very next answer."""
    assert post(client, "/v1/events", {"events": [event()]}).json()["accepted"] == 1
    answer = post(client, "/v1/recommendations", {"userId": "ann", "numResults": 3})
    assert ids(answer)[0] == "b3"
    assert answer.json()["itemList"][0]["reason"] == "You bought this today"
    assert set(ids(answer)[1:]) <= {"b0", "b1", "b2"}


def test_one_customers_event_changes_nobody_elses_answer(client):
    before = ids(post(client, "/v1/recommendations", {"userId": "bob"}))
    post(client, "/v1/events", {"events": [event(user="ann")]})
    assert ids(post(client, "/v1/recommendations", {"userId": "bob"})) == before


def test_excluding_purchases_uses_the_weights_for_new_items(client):
    post(client, "/v1/events", {"events": [event()]})
    answer = post(
        client, "/v1/recommendations", {"userId": "ann", "numResults": 3, "filter": {"exclude": ["purchased"]}}
    )
    assert "b3" not in ids(answer)
    assert {entry["source"] for entry in answer.json()["itemList"]} == {"item-item"}
    assert answer.json()["itemList"][0]["reason"] == "Because you chose Title b3"


def test_related_items_and_missing_ids(client):
    answer = post(client, "/v1/related-items", {"itemIds": ["a0", "gone"], "numResults": 2})
    assert ids(answer) == ["a1", "a2"]
    assert answer.json()["missingIds"] == ["gone"]


def test_rankings_order_the_shops_list(client):
    post(client, "/v1/events", {"events": [event()]})
    body = {"userId": "ann", "inputList": ["a0", "b2", "gone", "b3"]}
    answer = post(client, "/v1/rankings", body).json()
    assert [entry["itemId"] for entry in answer["personalizedRanking"]][:2] == ["b3", "b2"]
    assert answer["missingIds"] == ["gone"]


def test_withdrawn_items_disappear_with_the_next_request(client):
    post(client, "/v1/items", {"items": [{"itemId": "a0", "withdraw": True}]})
    assert ids(post(client, "/v1/recommendations", {"visitorId": "v", "numResults": 2})) == ["a1", "a2"]


def test_a_new_price_shows_with_the_next_page(client):
    post(client, "/v1/items", {"items": [{"itemId": "a0", "price": 99.5}]})
    items = [item for slot in post(client, "/v1/pages", {"visitorId": "v"}).json()["slots"] for item in slot["items"]]
    assert next(item["price"] for item in items if item["itemId"] == "a0") == 99.5


def test_page_has_no_item_twice_and_a_decision_a_slot(client):
    post(client, "/v1/events", {"events": [event(), event("wishlist", "a2"), event("view", "a1")]})
    page = post(client, "/v1/pages", {"userId": "ann"}).json()
    shown = [item["itemId"] for slot in page["slots"] for item in slot["items"]]
    assert len(shown) == len(set(shown))
    assert len({slot["decisionId"] for slot in page["slots"]}) == len(page["slots"])
    assert page["slots"][0]["title"] == "Goes with Title a1"
    wished = [item for slot in page["slots"] for item in slot["items"] if item["wished"]]
    assert [item["itemId"] for item in wished] == ["a2"]


def test_a_removed_wish_leaves_the_page(client):
    post(client, "/v1/events", {"events": [event("wishlist", "a2")]})
    assert "wishlist" in [slot["actionId"] for slot in post(client, "/v1/pages", {"userId": "ann"}).json()["slots"]]
    post(client, "/v1/events", {"events": [event("wishlist_remove", "a2")]})
    assert "wishlist" not in [slot["actionId"] for slot in post(client, "/v1/pages", {"userId": "ann"}).json()["slots"]]


def test_every_answer_leaves_its_decisions_in_the_log(client, toy_engine):
    """What was shown, with which probability, by which bundle and rules, and the feature rows of the items."""
    answer = post(client, "/v1/recommendations", {"userId": "ann", "numResults": 3}).json()
    (path,) = [path for path in toy_engine.shop.decision_logs.iterdir() if path.stat().st_size]
    records = [orjson.loads(payload) for _, _, payload in frames(path.read_bytes())]
    record = next(each for each in records if each["decision_id"] == answer["decisionId"])
    assert record["items"] == ids_of(answer)
    assert record["action_propensity"] == 1.0
    assert record["bundle_id"] == "toy-1"
    assert record["shop_hash"] == toy_engine.live.shop_hash
    assert record["holdout"] is False
    assert rows_in(record["features"]["rows"]).shape == (3, len(FEATURE_NAMES))


def ids_of(answer) -> list[str]:
    return [entry["itemId"] for entry in answer["itemList"]]


def test_explain_accounts_for_everything(client):
    post(client, "/v1/events", {"events": [event()]})
    body = {"userId": "ann", "numResults": 8, "explain": True, "filter": {"exclude": ["purchased"]}}
    told = post(client, "/v1/recommendations", body).json()["explain"]
    assert told["removed"] == [{"reason": "purchased", "count": 1, "itemIds": ["b3"]}] or told["filled"] > 0
    assert told["personalData"] == ["own events"]


def test_events_are_idempotent_by_their_id(client):
    one = {"events": [event(eventId="e1", occurredAt="2024-10-01T00:00:00Z")]}
    assert post(client, "/v1/events", one).json()["accepted"] == 1
    assert post(client, "/v1/events", one).json()["duplicates"] == 1
    other = {"events": [event(eventId="e1", item="a0", occurredAt="2024-10-01T00:00:00Z")]}
    assert post(client, "/v1/events", other).json()["rejected"][0]["code"] == "collision"


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"type": "purchas", "userId": "u", "itemId": "a0"}, "type"),
        ({"type": "purchase", "userId": "u"}, "itemId"),
        ({"type": "purchase", "itemId": "a0"}, "userId"),
        ({"type": "view", "userId": "u", "itemId": "a0", "occurredAt": "yesterday"}, "occurredAt"),
        ({"type": "view", "userId": "u", "itemId": "a0", "occurredAt": "2017-01-01T10:00:00"}, "occurredAt"),
        ({"type": "view", "userId": "u", "itemId": "a0", "occurredAt": "2999-01-01T10:00:00Z"}, "occurredAt"),
        ({"type": "purchase", "userId": "u", "itemId": "a0", "quantity": -1}, "quantity"),
        ({"type": "purchase", "userId": "u", "itemId": "a0", "quantity": "two"}, "quantity"),
        ({"type": "view", "userId": "", "itemId": "a0"}, "userId"),
        ({"type": "view", "userId": "u" * 600, "itemId": "a0"}, "userId"),
        ({"type": "view", "user": "u", "itemId": "a0"}, "user"),
    ],
)
def test_a_bad_event_is_rejected_with_its_field_and_the_others_go_on(client, bad, field):
    answer = post(client, "/v1/events", {"events": [bad, event()]})
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 1
    (rejected,) = answer.json()["rejected"]
    assert rejected["index"] == 0
    assert rejected["field"] == field


@pytest.mark.parametrize("path", sorted(HANDLERS))
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"nonsense": 1}', b"[" * 5000])
def test_bodies_that_are_no_requests_are_400(client, path, body):
    """One JSON object with code, message and field; never a traceback."""
    answer = client.post(path, content=body)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"code", "message", "field"}


def test_a_typo_is_told_the_nearest_name(client):
    error = post(client, "/v1/recommendations", {"userID": "ann"}).json()["error"]
    assert error["field"] == "userID"
    assert 'did you mean "userId"?' in error["message"]


def test_unknown_page_and_unknown_exclusion_are_named(client):
    assert post(client, "/v1/pages", {"page": "hom"}).json()["error"]["message"].endswith('did you mean "home"?')
    answer = post(client, "/v1/recommendations", {"filter": {"exclude": ["bought"]}})
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "filter.exclude"


def test_large_bodies_and_unknown_paths(client):
    assert client.post("/v1/events", content=b" " * (MAX_BODY + 1)).status_code == 413
    assert client.post("/v1/nothing", content=b"{}").json()["error"]["code"] == "not_found"


def test_the_log_never_names_who_was_erased(client, toy_engine):
    """Whoever was forgotten may still ask; what is answered is written without a name."""
    post(client, "/v1/customers/erase", {"userId": "ann"})
    for path, body in (("/v1/recommendations", {}), ("/v1/pages", {"page": "home"})):
        for user in ("ann", "bob"):
            assert post(client, path, {"userId": user, **body}).status_code == 200
    written = b"".join(path.read_bytes() for path in toy_engine.shop.decision_logs.iterdir())
    assert b'"bob"' in written
    assert b'"ann"' not in written


def test_erased_customers_are_gone_at_once(client):
    """After the receipt neither an answer nor the profile knows the customer, and new events are refused."""
    post(client, "/v1/events", {"events": [event()]})
    receipt = post(client, "/v1/customers/erase", {"userId": "ann"})
    assert receipt.status_code == 202
    assert post(client, "/v1/customers/read", {"userId": "ann"}).json()["known"] is False
    assert ids(post(client, "/v1/recommendations", {"userId": "ann", "numResults": 3})) == ["a0", "a1", "a2"]
    assert post(client, "/v1/events", {"events": [event()]}).json()["rejected"][0]["code"] == "erased"
    assert post(client, "/v1/receipts/read", {"receiptId": receipt.json()["receiptId"]}).status_code == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["userId", "visitorId", "numResults", "filter", "context", "explain", "itemIds", "events", "page", "x"]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(sorted(HANDLERS)), body=st.dictionaries(FIELDS, json_values, max_size=4))
def test_no_json_is_ever_a_server_error(client, path, body):
    """Whatever a client sends, the fault is told as the client's."""
    try:
        raw = orjson.dumps(body)
    except (TypeError, orjson.JSONEncodeError):
        return  # a lone surrogate cannot be sent as JSON
    answer = client.post(path, content=raw)
    assert answer.status_code < 500
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) == {"code", "message", "field"}


def test_the_document_is_served(client):
    """What it says stands in `test_openapi`."""
    scopes = {path: scope for path, (scope, _) in HANDLERS.items()}
    assert client.get("/openapi.json").content == orjson.dumps(document(VERSION, scopes))
