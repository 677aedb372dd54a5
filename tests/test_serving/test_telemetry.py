"""`/metrics`: what is counted is what happened, labels are few whatever is asked, and counting costs little."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from features.errors import Unavailable
from features.moments import HOUR
from serving import hydrate, pipeline
from serving.frames import frames
from serving.http import HANDLERS
from serving.logs import AccessLog
from serving.observe import METRICS, Observed, Paths, fallback_class
from serving.steps import Steps
from serving.sync import sync
from serving.telemetry import OTHER, Gauge, Spread, Tally, Telemetry
from serving.watch import STAGES, Watch, lap, unwatch, watch_with, watching
from tests.test_serving.conftest import AS_OF
from tests.test_serving.watched import watched


@pytest.fixture
def service(toy_engine):
    made = watched(toy_engine)
    with made.client:
        yield made


def scraped(service) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of their names) -> value."""
    answer = service.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return parsed(answer.text)


def parsed(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# --- what is counted --------------------------------------------------------------------------------------------------


def test_requests_are_counted_by_route_and_status_and_timed(service):
    service.post("/v1/recommendations", {"userId": "ann"})
    service.post("/v1/recommendations", {"userId": "bob"})
    service.post("/v1/recommendations", {"userID": "bob"})
    found = scraped(service)
    assert found["kokyaku_requests_total", "/v1/recommendations", "200"] == 2
    assert found["kokyaku_requests_total", "/v1/recommendations", "400"] == 1
    assert found["kokyaku_errors_total", "invalid_request", "/v1/recommendations"] == 1
    assert found["kokyaku_request_seconds_count", "/v1/recommendations"] == 3
    assert 0 < found["kokyaku_request_seconds_sum", "/v1/recommendations"] < 30


def test_the_stages_add_up_to_hardly_more_than_the_request(service):
    """Each stage of a list is there once a request, a page's come from the same flow, and none is counted twice."""
    service.post("/v1/recommendations", {"userId": "ann"})
    service.post("/v1/pages", {"userId": "ann"})
    found = scraped(service)
    assert {key[2] for key in found if key[0] == "kokyaku_stage_seconds_count"} <= set(STAGES)
    stages = {key[2]: found[key] for key in found if key[:2] == ("kokyaku_stage_seconds_count", "/v1/recommendations")}
    assert stages == dict.fromkeys(
        ("read", "wait", "hydrate", "gather", "filter", "score", "decide", "fill", "log", "encode"), 1
    )  # fmt: skip
    for route in ("/v1/recommendations", "/v1/pages"):
        spent = sum(found[key] for key in found if key[:2] == ("kokyaku_stage_seconds_sum", route))
        whole = found["kokyaku_request_seconds_sum", route]
        assert 0.1 * whole < spent <= whole


def test_explain_says_how_long_each_stage_took(service):
    """In the order of the flow, up to where the answer was made."""
    told = service.post("/v1/recommendations", {"userId": "ann", "explain": True}).json()["explain"]["milliseconds"]
    assert list(told) == ["read", "wait", "hydrate", "gather", "filter", "score", "decide", "fill", "log"]
    assert all(0 <= spent < 30_000 for spent in told.values())


def test_removals_are_counted_by_reason(service):
    service.post("/v1/items", {"items": [{"itemId": "a0", "withdraw": True}]})
    service.post("/v1/events", {"events": [{"type": "purchase", "itemId": "b3", "userId": "ann"}]})
    service.post("/v1/recommendations", {"userId": "ann", "filter": {"exclude": ["purchased"]}})
    found = scraped(service)
    assert found["kokyaku_removed_candidates_total", "withdrawn"] == 1
    assert found["kokyaku_removed_candidates_total", "purchased"] == 1


def test_decisions_and_fallbacks_are_counted_once_a_slot(service):
    """A list and a page for a stranger: all is decided as it is fixed, and the list says that it is popular items."""
    service.post("/v1/recommendations", {"userId": "nobody"})
    slots = service.post("/v1/pages", {"userId": "nobody"}).json()["slots"]
    found = scraped(service)
    assert found["kokyaku_fallbacks_total", "stranger", "/v1/recommendations"] == 1
    assert sum(found[key] for key in found if key[:1] == ("kokyaku_decisions_total",) and "/v1/pages" in key) == len(
        slots
    )
    assert {key[1] for key in found if key[0] == "kokyaku_decisions_total"} == {"fixed"}


def test_a_store_that_cannot_be_read_is_a_fallback_once_an_answer(service, toy_engine, monkeypatch):
    """A list's decision says so itself, a page's does not: both count once."""
    monkeypatch.setattr(toy_engine, "history_of", _down)
    for path in ("/v1/recommendations", "/v1/pages"):
        assert service.post(path, {"userId": "ann"}).json()["degraded"] is True
        assert scraped(service)["kokyaku_fallbacks_total", "store-outdated", path] == 1


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize(("item", "kind"), [("nothing", "unknown-items"), ("a0", "no-neighbours")])
def test_what_goes_with_nothing_is_a_fallback_once_an_answer(service, toy_engine, monkeypatch, item, kind, away):
    """The decision in the log, the answer and the counter say the same; the store's trouble comes first."""
    toy_engine.live.ranker.shelf.stop(set(toy_engine.live.bundle.items) - ({item} if item == "a0" else set()))
    if away:
        monkeypatch.setattr(toy_engine, "history_of", _down)
    answer = service.post("/v1/related-items", {"itemIds": [item], "userId": "ann"}).json()
    found = scraped(service)
    told = {key[1]: found[key] for key in found if key[0] == "kokyaku_fallbacks_total"}
    assert told == {"store-outdated" if away else kind: 1}
    assert fallback_class(answer["reason"]) in told
    assert answer.get("degraded", False) is away
    (path,) = [path for path in toy_engine.shop.decision_logs.iterdir() if path.stat().st_size]
    assert [orjson.loads(payload)["fallback"] for _, _, payload in frames(path.read_bytes())] == [answer["reason"]]


def test_an_order_made_without_the_store_is_a_fallback_once(service, toy_engine, monkeypatch):
    """It has no decision that could tell."""
    body = {"userId": "ann", "inputList": ["a0", "b0"]}
    assert "degraded" not in service.post("/v1/rankings", body).json()
    monkeypatch.setattr(toy_engine, "history_of", _down)
    assert service.post("/v1/rankings", body).json()["degraded"] is True
    found = scraped(service)
    assert [(key, found[key]) for key in found if key[0] == "kokyaku_fallbacks_total"] == [
        (("kokyaku_fallbacks_total", "store-outdated", "/v1/rankings"), 1)
    ]


def test_events_and_erasures_are_counted_by_what_became_of_them(service):
    event = {"eventId": "e1", "type": "view", "itemId": "a0", "userId": "ann"}
    service.post("/v1/events", {"events": [event, event, {**event, "eventId": "e2", "type": "vieuw"}]})
    service.post("/v1/customers/erase", {"userId": "ann"})
    service.post("/v1/events", {"events": [{**event, "eventId": "e3"}]})
    found = scraped(service)
    assert found["kokyaku_events_total", "accepted", ""] == 1
    assert found["kokyaku_events_total", "duplicate", ""] == 1
    assert found["kokyaku_events_total", "rejected", "invalid_request"] == 1
    assert found["kokyaku_events_total", "rejected", "erased"] == 1
    assert found["kokyaku_erasures_total",] == 1


def test_unlogged_decisions_are_counted(service, toy_engine, monkeypatch):
    """A decision that no log took left all the same: the answer, the counter and the gauge say so."""
    assert scraped(service)["kokyaku_unlogged_decisions_total",] == 0
    toy_engine.decisions.close()
    monkeypatch.setattr(type(toy_engine.decisions), "_write", _disk_full)
    assert service.post("/v1/recommendations", {"userId": "ann"}).json()["logged"] is False
    page = service.post("/v1/pages", {"userId": "ann"}).json()
    found = scraped(service)
    assert found["kokyaku_unlogged_decisions_total",] == 1 + len(page["slots"])
    assert found["kokyaku_decision_log_failures_total",] >= 2


def _disk_full(*_) -> None:
    raise OSError("no space left on device")


def test_an_error_of_ours_is_counted_and_no_previews_are(service, toy_engine, monkeypatch):
    def failing(*_) -> Steps[None]:
        yield
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline, "recommending", failing)
    assert service.post("/v1/recommendations", {"userId": "ann"}).status_code == 500
    found = scraped(service)
    assert found["kokyaku_requests_total", "/v1/recommendations", "500"] == 1
    assert found["kokyaku_errors_total", "internal", "/v1/recommendations"] == 1
    assert not any(key[0] == "kokyaku_decisions_total" for key in found)


def test_outside_a_request_nobody_watches():
    """Commands and previews go through the same code; nothing of theirs reaches a counter."""
    idle = watching()
    idle.lap("score")
    idle.removed([("withdrawn", [1, 2])])
    idle.fell_back("x")
    idle.failed("internal")
    assert (idle.stages, idle.counts, idle.fallbacks, idle.code) == ({}, {}, [], None)


# --- labels -----------------------------------------------------------------------------------------------------------


def test_nobody_can_make_a_series_by_asking(service):
    """Paths, ids, reasons and codes from outside never become labels."""
    before = set(scraped(service))  # also of what a scrape itself makes
    before |= set(scraped(service))
    for number in range(50):
        service.client.get(f"/v1/none-{number}")
        service.client.get(f"/{number}/x?y={number}")
        service.post("/v1/recommendations", {"userId": f"user-{number}", "sessionId": f"s{number}"})
        service.post(f"/v1/customers/{number}", {"userId": f"user-{number}"})
    new = set(scraped(service)) - before
    assert {value for key in new for value in key[1:] if value.startswith("/")} == {"/v1/recommendations"}
    assert not any("user-" in value or "none-" in value for key in new for value in key)
    assert len(new) < 250


def test_paths_become_names_of_routes(service):
    names = Paths(service.client.app.routes)
    assert [names(path) for path in HANDLERS] == list(HANDLERS)
    assert (names("/"), Paths([], ["/livez"])("/livez")) == ("/", "/livez")
    assert names("/v1/recommendations/") == names("/v1/nothing") == names("/etc/passwd") == names("") == OTHER


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (pipeline.STRANGER, "stranger"),
        (f"3 of 20 {pipeline.FILLED}", "filled"),
        (pipeline.ALONE, "no-neighbours"),
        (hydrate.UNREAD, "store-unread"),
        (hydrate.UNMAPPED, "history-refused"),
        (hydrate.STORED, "history-unread"),
        ("whatever ann bought", OTHER),
    ],
)
def test_reasons_become_classes(reason, kind):
    assert fallback_class(reason) == kind


def test_a_tally_keeps_only_so_many_series_apart():
    tally = Tally("things", "Things.", ("kind",), most=3)
    for number in range(10):
        tally.add((str(number),))
    assert tally.values == {("0",): 1, ("1",): 1, ("2",): 1, (OTHER,): 7}


def test_buckets_hold_what_is_below_their_end():
    spread = Spread("x_seconds", "X.", ("route",), (0.001, 0.01))
    for seconds in (0.0005, 0.001, 0.002, 3.0):
        spread.add(("r",), seconds)
    buckets = {sample.labels["le"]: sample.value for sample in spread.family().samples if "le" in sample.labels}
    assert buckets == {"0.001": 2, "0.01": 3, "+Inf": 4}
    (total,) = [sample.value for sample in spread.family().samples if sample.name.endswith("_sum")]
    assert total == pytest.approx(3.0035)


# --- gauges -----------------------------------------------------------------------------------------------------------


def test_staleness_of_bundle_and_events(service, toy_engine):
    toy_engine.clock = SimpleNamespace(now=lambda: AS_OF + 5 * HOUR)
    service.post("/v1/events", {"events": [{"type": "view", "itemId": "a0", "userId": "ann"}]})
    toy_engine.clock = SimpleNamespace(now=lambda: AS_OF + 7 * HOUR)
    found = scraped(service)
    assert found["kokyaku_bundle_age_seconds", "as_of"] == 7 * 3_600
    assert 0 <= found["kokyaku_bundle_age_seconds", "published"] < 600
    assert found["kokyaku_newest_event_age_seconds",] == 2 * 3_600
    assert found["kokyaku_history_lag_events",] == 1
    assert found["kokyaku_store_up",] == 1
    assert found["kokyaku_store_bytes",] > 0
    assert found["kokyaku_memory_proportional_bytes",] > 1 << 20
    assert ("kokyaku_bundle_info", "toy-1", "blend", toy_engine.live.shop_hash[:12]) in found


def test_events_that_fall_silent_show_also_when_the_last_one_was_dropped(service, toy_engine):
    toy_engine.clock = SimpleNamespace(now=lambda: AS_OF + 5 * HOUR)
    service.post("/v1/events", {"events": [{"type": "view", "itemId": "a0", "userId": "ann"}]})
    sync(toy_engine.shop, now=AS_OF + 6 * HOUR)
    toy_engine.clock = SimpleNamespace(now=lambda: AS_OF + 55 * HOUR)
    service.post("/v1/recommendations", {"userId": "ann"})  # lists go on, so that syncs have what to do
    assert sync(toy_engine.shop, now=AS_OF + 55 * HOUR).events_dropped == 1
    toy_engine.refresh()
    assert scraped(service)["kokyaku_newest_event_age_seconds",] == 50 * 3_600


def test_what_is_refused_or_down_shows(service, toy_engine, monkeypatch):
    assert scraped(service)["kokyaku_degraded", "settings"] == 0
    toy_engine.shop.config.write_text("[shop]\nholdouts = 3\n")
    toy_engine.refresh()
    monkeypatch.setattr(type(toy_engine.store), "last_seq", _down)
    found = scraped(service)
    assert (found["kokyaku_degraded", "settings"], found["kokyaku_degraded", "store"]) == (1, 1)
    assert (found["kokyaku_refused_swaps_total", "settings"], found["kokyaku_refused_swaps_total", "bundle"]) == (1, 0)
    assert found["kokyaku_store_up",] == 0
    assert ("kokyaku_newest_event_age_seconds",) not in found


def _down(*_) -> int:
    raise Unavailable("the store does not answer")


def test_a_store_that_hangs_keeps_no_scraper_waiting(service, toy_engine, monkeypatch):
    monkeypatch.setattr("serving.observe.GAUGE_SECONDS", 0.05)
    free, looks = threading.Event(), []
    monkeypatch.setattr(type(toy_engine.store), "last_seq", lambda _: looks.append(free.wait(20)) or 0)
    assert scraped(service)["kokyaku_store_up",] == 0
    found = scraped(service)
    free.set()
    assert found["kokyaku_store_up",] == 0
    assert ("kokyaku_unlogged_decisions_total",) in found
    monkeypatch.setattr("serving.observe.GAUGE_SECONDS", 20.0)  # a busy machine needs more than the moment above
    assert scraped(service)["kokyaku_store_up",] == 1
    assert looks[0] is True  # nobody waited for it to give up


def test_who_scrapes_during_a_look_gets_what_it_sees(service, toy_engine, monkeypatch):
    """Two scrapers, or one that is impatient: the store is up for both, and it is looked at once."""
    monkeypatch.setattr("serving.observe.GAUGE_SECONDS", 30.0)
    free, looks = threading.Event(), []

    def last_seq(_) -> int:
        looks.append(free.wait(20))
        return 0

    monkeypatch.setattr(type(toy_engine.store), "last_seq", last_seq)
    metrics = next(route.endpoint for route in service.client.app.routes if getattr(route, "path", "") == METRICS)

    async def scrapes() -> list[str]:
        both = [asyncio.ensure_future(metrics(None)) for _ in range(2)]
        await asyncio.sleep(0.05)
        free.set()
        return [(await each).body.decode() for each in both]

    assert [parsed(text)["kokyaku_store_up",] for text in asyncio.run(scrapes())] == [1, 1]
    assert looks == [True]


# --- the layer --------------------------------------------------------------------------------------------------------


def run(app, path: str = "/x") -> Telemetry:
    """One request through the layer, without a server."""
    telemetry = Telemetry()
    layer = Observed(app, telemetry=telemetry, access_log=AccessLog(0), paths=lambda path: path)

    async def send(message) -> None:
        return None

    coroutine = layer({"type": "http", "path": path}, None, send)
    with pytest.raises((StopIteration, RuntimeError)):
        coroutine.send(None)
    return telemetry


def test_what_raises_or_never_answers_is_counted():
    async def raises(scope, receive, send) -> None:
        raise RuntimeError

    async def silent(scope, receive, send) -> None:
        return None

    assert run(raises).requests.values == {("/x", "500"): 1}
    assert run(silent).requests.values == {("/x", "cancelled"): 1}


def test_one_requests_watch_is_not_anothers():
    async def app(scope, receive, send) -> None:
        watching().fell_back(pipeline.STRANGER)

    assert run(app).fallbacks.values == {("/x", "stranger"): 1}
    assert watching().scope is None


def test_gauges_of_one_name_make_one_family():
    text = Telemetry().rendered([Gauge("up", "Up.", 1, {"part": "a"}), Gauge("up", "Up.", 0, {"part": "b"})]).decode()
    assert text.count("# TYPE kokyaku_up gauge") == 1
    assert parsed(text)["kokyaku_up", "b"] == 0


def test_watching_and_counting_a_list_costs_microseconds():
    """Aim: below 15 us a request; the bound leaves room for slow and busy machines, processor time is measured."""
    telemetry, log, names = Telemetry(), AccessLog(100), Paths([])
    best = min(_cost(telemetry, log, names) for _ in range(5))
    assert best < 60e-6


def _cost(telemetry: Telemetry, log: AccessLog, names: Paths, requests: int = 500) -> float:
    began = time.process_time()
    for _ in range(requests):
        watch = Watch({"path": "/v1/recommendations"})
        token = watch_with(watch)
        for stage in ("read", "hydrate", "gather", "filter", "score", "decide", "fill", "log", "encode"):
            lap(stage)
        watching().removed([("withdrawn", (1, 2)), ("stopped", (3,))])
        watching().count("decisions", "blend", "fixed")
        watching().fell_back(pipeline.STRANGER)
        unwatch(token)
        route = names("/v1/recommendations")
        telemetry.take(route, "200", 0.001, watch, [fallback_class(reason) for reason in watch.fallbacks])
        log.answered(watch, route, "200", 1.0, [])
    return (time.process_time() - began) / requests
