"""What the service says: one JSON object a line, with the request's id, and never whom it is about."""

from __future__ import annotations

import io
import logging
import sys
import warnings

import msgspec
import orjson
import pytest

from features.errors import ConfigError, Unavailable
from features.moments import DAY, format_instant
from serving import logs, pipeline
from serving.logs import AccessLog, JsonLines, Settings, Words, safe, take_over
from serving.steps import Steps
from serving.watch import REQUEST_ID, Watch, unwatch, watch_with
from serving.wire_people import UpdateRequest
from tests.test_serving.conftest import AS_OF
from tests.test_serving.watched import watched


@pytest.fixture
def said(monkeypatch):
    """Takes over the logs of this process as a service does, and reads what was written; all is put back after."""
    root, named = logging.getLogger(), [logging.getLogger(name) for name in ("kokyaku", *logs.FOREIGN)]
    before = [(each, each.handlers[:], each.level, each.propagate) for each in (root, *named)]
    stream = io.StringIO()

    def take(**environ: str):
        take_over(Settings(environ), stream)
        return lambda: [orjson.loads(line) for line in stream.getvalue().splitlines()]

    take.stream = stream
    yield take
    for each, handlers, level, propagate in before:
        each.handlers[:], each.propagate = handlers, propagate
        each.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def service(toy_engine):
    made = watched(toy_engine)
    with made.client:
        yield made


# --- lines ------------------------------------------------------------------------------------------------------------


def test_an_answer_is_a_line_with_id_route_status_and_time(service, said):
    lines = said()
    service.post("/v1/recommendations", {"userId": "ann"})
    refused = service.post("/v1/recommendations", {"userID": "ann"}).json()
    first, second = lines()
    assert first.keys() == {
        "time", "level", "logger", "message", "requestId", "route", "status", "milliseconds", "decisions", "fallbacks",
    }  # fmt: skip
    assert (first["route"], first["status"], first["level"]) == ("/v1/recommendations", 200, "info")
    assert (first["decisions"], first["fallbacks"]) == (1, ["stranger"])
    assert first["milliseconds"] > 0 and len(first["requestId"]) == 32
    assert (second["status"], second["code"]) == (400, "invalid_request")
    assert second["requestId"] == refused["requestId"] != first["requestId"]


def test_where_a_store_that_refuses_lies_is_for_the_log_and_not_for_the_client(service, toy_engine, said, monkeypatch):
    """A browser key is in everybody's hands; what the database says names its host."""
    lines = said()
    error = Unavailable("the store cannot do this now", where="/srv/a/store.db", got="db-1.internal", hint="try again")

    async def refuses(*_):
        raise error

    monkeypatch.setattr(type(toy_engine.store), "append", refuses)
    answer = service.post("/v1/events", {"events": [{"type": "view", "itemId": "a0", "userId": "ann"}]})
    assert answer.status_code == 503
    told = {"code": "unavailable", "message": "the store cannot do this now; try again", "field": None}
    assert answer.json()["error"] == told
    (line,) = lines()
    assert (line["code"], line["why"], line["requestId"]) == ("unavailable", error.line(), answer.json()["requestId"])


def test_an_error_of_ours_is_found_by_the_id_that_the_client_got(service, said, monkeypatch):
    """The traceback names places and the kind of error; what it says may be about somebody."""
    lines = said()
    monkeypatch.setattr(pipeline, "recommending", _failing)
    answer = service.post("/v1/recommendations", {"userId": "ann"})
    told, line = lines()
    assert answer.status_code == 500 and "ann" not in answer.json()["error"]["message"]
    assert told["requestId"] == line["requestId"] == answer.json()["requestId"]
    assert (told["level"], line["level"], line["code"]) == ("error", "error", "internal")
    assert told["traceback"][-1] == "KeyError" and "in _fails" in told["traceback"][-2]
    assert "ann@shop.example" not in said.stream.getvalue()


def _fails() -> None:
    raise KeyError("ann@shop.example")


def _failing(*_) -> Steps[None]:
    yield
    _fails()


def test_on_a_developers_machine_the_error_speaks(said):
    lines = said(KOKYAKU_DEV="1")
    try:
        _fails()
    except KeyError:
        logging.getLogger("kokyaku").exception("it failed")
    assert lines()[0]["traceback"][-1] == "KeyError: 'ann@shop.example'"


def test_causes_are_told_and_endless_ones_end():
    try:
        try:
            raise ValueError("inner")
        except ValueError as error:
            raise OSError("outer") from error
    except OSError:
        record = logging.LogRecord("kokyaku", logging.ERROR, "f", 1, "x", (), sys.exc_info())
    trace = JsonLines(frank=True).fields(record)["traceback"]
    assert [line for line in trace if ": " in line and ".py" not in line] == ["OSError: outer", "ValueError: inner"]


@pytest.mark.parametrize(
    "evil", ["a\nb", "a\r\x1b[31mb", "a\u2028b", "a\u202eb", '"}\n{"level": "x"}', "\x00", "\x9b1m"]
)
def test_nothing_in_a_line_begins_another_or_steers_a_terminal(evil):
    record = logging.LogRecord("kokyaku", logging.INFO, "f", 1, "path %s", (evil,), None)
    for formatter in (JsonLines(), Words()):
        line = formatter.format(record)
        assert len(line.splitlines()) == 1
        assert line.isprintable()
    assert orjson.loads(JsonLines().format(record))["message"].startswith("path ")


def test_long_values_are_shortened():
    assert len(safe("x" * 100_000)) < 5_000
    assert safe(["a\nb"]) == ["a\\u000ab"]


def test_a_surrogate_in_a_message_is_still_a_line():
    """A path on the wire may decode to half a character; the line must not be lost for it."""
    record = logging.LogRecord("kokyaku", logging.INFO, "f", 1, "got %s", ("\ud800",), None)
    assert "got" in orjson.loads(JsonLines().format(record))["message"]


def test_all_loggers_go_through_one_handler_and_warnings_too(said):
    lines = said()
    logging.getLogger("uvicorn.error").warning("from the server")
    logging.getLogger("bentoml.cli").warning("from the framework")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("from a library", stacklevel=1)
    assert [line["logger"] for line in lines()] == ["uvicorn.error", "bentoml.cli", "py.warnings"]


def test_words_for_a_person(said):
    said(KOKYAKU_LOG_FORMAT="text")
    logging.getLogger("kokyaku").warning("it is late", extra={"told": {"hours": 3}})
    assert said.stream.getvalue().rstrip()[12:] == " warning kokyaku: it is late  hours=3"


def test_a_line_within_a_request_carries_its_id():
    token = watch_with(Watch({REQUEST_ID: "r-1"}))
    try:
        record = logging.LogRecord("kokyaku", logging.INFO, "f", 1, "x", (), None)
        assert JsonLines().fields(record)["requestId"] == "r-1"
    finally:
        unwatch(token)
    assert "requestId" not in JsonLines().fields(record)


# --- how often --------------------------------------------------------------------------------------------------------


def told(log: AccessLog, statuses: list[str], caplog) -> list[dict]:
    caplog.set_level(logging.INFO, "kokyaku.access")
    caplog.clear()
    for status in statuses:
        log.answered(Watch({}), "/v1/x", status, 1.0, [])
    return [record.told for record in caplog.records]


def test_answers_are_sampled_and_errors_are_not(caplog):
    assert len(told(AccessLog(10), ["200"] * 100, caplog)) == 10
    assert len(told(AccessLog(0), ["200"] * 100, caplog)) == 0
    assert len(told(AccessLog(0), ["400"] * 20, caplog)) == 20
    assert [record.levelname for record in caplog.records][:1] == ["INFO"]


def test_a_flood_of_refusals_is_no_flood_of_lines(caplog, monkeypatch):
    """Our own errors are always told; how many lines were withheld is told with the next."""
    now = [100.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    log = AccessLog(0)
    assert len(told(log, ["429"] * 1000, caplog)) == logs.TOLD_A_SECOND
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    (own,) = told(log, ["500"], caplog)
    assert own["withheld"] == 1000 - logs.TOLD_A_SECOND
    now[0] += 1
    (after,) = told(log, ["429"], caplog)
    assert after["withheld"] is None


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("KOKYAKU_LOG_LEVEL", "loud"), ("KOKYAKU_LOG_SAMPLE", "-1"), ("KOKYAKU_LOG_FORMAT", "xml")],
)
def test_nonsense_is_refused_by_name(name, value):
    with pytest.raises(ConfigError) as refused:
        Settings({name: value})
    assert refused.value.where == name and refused.value.hint


def test_settings_are_read():
    read = Settings({"KOKYAKU_LOG_LEVEL": "DEBUG", "KOKYAKU_LOG_SAMPLE": "1", "KOKYAKU_LOG_FORMAT": "json"})
    assert (read.level, read.sample, read.format, read.frank) == ("debug", 1, "json", False)
    assert Settings({}).sample == logs.SAMPLE


# --- nobody is named --------------------------------------------------------------------------------------------------

SECRETS = {
    "user": "zq-user-77", "visitor": "zq-visitor-77", "session": "zq-session-77", "given": "Zqannelore",
    "mail": "zq77@shop.example", "search": "zqshoes", "order": "zq-order-77", "text": "zq on its way",
    "tracking": "http://carrier.example/zq77", "place": "Zqtown", "question": "zq answer", "event": "zq-event-77",
}  # fmt: skip
"""One made-up value for everything that is personal in what a walk sends."""
PROFILE = {
    "userId": SECRETS["user"], "name": SECRETS["given"], "region": SECRETS["place"], "postalPrefix": "zq-77",
    "timeZone": "Asia/Tokyo", "tier": "zqgold", "points": 77.25, "channels": ["zq-channel"],
    "attributes": {"zq-email": SECRETS["mail"]}, "projects": [{"kind": "zq-room", "note": "zq-note"}],
}  # fmt: skip


def test_the_walk_sends_every_field_of_a_person():
    """A new one must join the walk."""
    assert set(PROFILE) == {field.encode_name for field in msgspec.structs.fields(UpdateRequest)}


def walk(service) -> list[int]:
    """Every kind of request with everything personal in it, right and wrong, known and unknown; their statuses."""
    s = SECRETS
    who = {"userId": s["user"], "visitorId": s["visitor"]}
    event = {"eventId": s["event"], "type": "view", "itemId": "a0", "sessionId": s["session"], **who}
    order = {
        "orderId": s["order"], "userId": s["user"], "itemId": "a0", "text": s["text"], "trackingUrl": s["tracking"],
        "orderedAt": format_instant(AS_OF - DAY), "shipmentState": "shipped", "pickupPlace": s["place"],
    }  # fmt: skip
    asked = [
        ("/v1/events", {"events": [event, {**event, "eventId": s["mail"], "type": s["search"]}, event]}),
        ("/v1/orders", {"orders": [order, {**order, "itemId": s["search"], "shipmentState": s["text"]}]}),
        ("/v1/customers/update", PROFILE),
        ("/v1/customers/update", {"userId": s["user"], "email": s["mail"]}),
        ("/v1/customers/answer", {**who, "question": "size", "answer": s["question"]}),
        ("/v1/customers/consent", {**who, "purpose": "personalization", "granted": True}),
        ("/v1/customers/consent", {**who, "purpose": s["mail"], "granted": True}),
        ("/v1/recommendations", {**who, "sessionId": s["session"], "explain": True}),
        ("/v1/recommendations", {**who, "context": {"timeZone": s["place"]}}),
        ("/v1/recommendations", {**who, s["mail"]: s["given"]}),
        ("/v1/related-items", {**who, "itemIds": [s["search"]]}),
        ("/v1/rankings", {**who, "inputList": ["a0", s["search"]]}),
        ("/v1/pages", {**who, "page": "home", "explain": True}),
        ("/v1/pages", {**who, "page": s["search"]}),
        ("/v1/actions", {**who, "channel": s["search"]}),
        ("/v1/stops", {"stop": s["search"], **who}),
        ("/v1/customers/read", {"userId": s["user"]}),
        ("/v1/customers/export", {"userId": s["user"]}),
        ("/v1/receipts/read", {"receiptId": s["user"]}),
        ("/v1/customers/erase", {"userId": s["user"]}),
        ("/v1/recommendations", who),
        ("/v1/customers/read", {"userId": s["user"]}),
    ]  # fmt: skip
    statuses = [service.post(path, body, **{"X-Api-Key": s["question"]}).status_code for path, body in asked]
    paths = [f"/v1/{s['user']}", f"/?visitor={s['visitor']}&q={s['search']}", f"/customers/{s['mail']}"]
    statuses += [service.client.get(path, headers={"Referer": s["tracking"]}).status_code for path in paths]
    return statuses


def test_nothing_personal_reaches_a_line_or_a_label(service, said, toy_engine, monkeypatch):
    """Every line of a walk is told, also of what fails inside; each made-up value is looked for in all of it."""
    lines = said(KOKYAKU_LOG_LEVEL="debug")
    statuses = walk(service)

    def failing(engine, request, now) -> Steps[None]:
        yield
        raise KeyError(request.user_id)

    monkeypatch.setattr(pipeline, "recommending", failing)
    statuses.append(service.post("/v1/recommendations", {"userId": SECRETS["user"]}).status_code)
    scraped = service.client.get("/metrics").text
    assert {200, 202, 400, 404, 500} <= set(statuses), statuses
    assert statuses[:4] == [200, 200, 200, 400] and len(lines()) >= len(statuses)
    for text in (said.stream.getvalue(), scraped):
        assert [value for value in (*SECRETS.values(), "zq", "77.25") if value.lower() in text.lower()] == []


def test_the_walk_would_find_a_leak(service, said):
    """The values do reach the service: a line that named them would hold them."""
    said()
    logging.getLogger("kokyaku").warning("hello %s", SECRETS["user"])
    assert SECRETS["user"] in said.stream.getvalue()
    exported = []
    service.post("/v1/events", {"events": [{"type": "view", "itemId": "a0", "userId": SECRETS["user"]}]})
    exported.append(service.post("/v1/customers/read", {"userId": SECRETS["user"]}).text)
    assert SECRETS["user"] in exported[0]
