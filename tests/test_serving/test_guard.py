"""Who may do what: every route times every kind of key, and what stands on every answer."""

from __future__ import annotations

import contextlib
import warnings

import orjson
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from features.errors import ConfigError
from serving.access import BROWSER_BURST, WRONG_KEYS, Access, AccessError, KeyEntry
from serving.bodies import MAX_BODY
from serving.guard import DEFAULTS, Guard, options
from serving.http import HANDLERS, routes
from serving.shopfront import EngineFront
from serving.web import routes as web_routes
from serving.web.studio import routes as studio_routes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette would rather have another HTTP client than the one we pin
    from starlette.testclient import TestClient

KINDS = {
    "read": KeyEntry("k-read", ("read",)),
    "events": KeyEntry("k-events", ("events",)),
    "both": KeyEntry("k-both", ("read", "events")),
    "admin": KeyEntry("k-admin", ("admin",)),
    "metrics": KeyEntry("k-metrics", ("metrics",)),
    "browser": KeyEntry("k-browser", ("browser",)),
    "expired": KeyEntry("k-expired", ("admin",), expires="2020-01-01T00:00Z"),
}
STRANGERS = {"none": "", "wrong": "k-wrong", "hash": KINDS["admin"].digest.hex(), "expired": "k-expired"}
"""What opens nothing: no key, a wrong one, what stands in the file, one whose time is over."""
READ, EVENTS, ADMIN = {"read", "both", "admin"}, {"events", "both", "admin"}, {"admin"}
CONTRACT: dict[str, tuple[set[str], object]] = {
    "/v1/recommendations": (READ, {"userId": "ann"}),
    "/v1/related-items": (READ, {"itemIds": ["a0"]}),
    "/v1/rankings": (READ, {"userId": "ann", "inputList": ["a0"]}),
    "/v1/pages": (READ, {"userId": "ann"}),
    "/v1/actions": (READ, {"channel": "email", "userId": "ann"}),
    "/v1/events": (EVENTS, {"events": [{"type": "view", "itemId": "a0", "visitorId": "v"}]}),
    "/v1/orders": (EVENTS, {"orders": [{"orderId": "o", "userId": "ann", "itemId": "a0", "shipmentState": "shipped"}]}),
    "/v1/customers/answer": (EVENTS, {"userId": "ann", "question": "pet", "answer": "dog"}),
    "/v1/customers/consent": (EVENTS, {"userId": "ann", "purpose": "personalization", "granted": True}),
    "/v1/visitors/token": (EVENTS, {"visitorId": "v"}),
    "/v1/browser/visitor": ({"browser", "admin"}, {}),
    "/v1/browser/events": ({"browser", "admin"}, {"visitorToken": "x", "events": [{"type": "view", "itemId": "a0"}]}),
    "/v1/items": (ADMIN, {"items": [{"itemId": "a0", "price": 1.5}]}),
    "/v1/customers/read": (ADMIN, {"userId": "ann"}),
    "/v1/customers/update": (ADMIN, {"userId": "ann", "name": "Ann"}),
    "/v1/customers/export": (ADMIN, {"userId": "ann"}),
    "/v1/customers/erase": (ADMIN, {"userId": "zoe"}),
    "/v1/customers/token": (ADMIN, {"userId": "ann"}),
    "/v1/receipts/read": (ADMIN, {"receiptId": "r"}),
    "/v1/stops": (ADMIN, {}),
}
"""route -> (kinds of key that may, a body). What is not written here may nobody."""
STATUS = {
    "/v1/actions": 400,  # the little shop has no channel
    "/v1/browser/events": 401,  # the key is right; the token in the body is not
    "/v1/customers/erase": 202,
    "/v1/customers/export": 404,
    "/v1/receipts/read": 404,
}
"""What the right key gets, where it is not 200."""
BESIDE: dict[str, set[str]] = {
    "/metrics": {"metrics", "admin"},
    "/v1/floor": READ,
    "/v1/nothing": READ,
    "/docs.json": ADMIN,
    "/framework/of/tomorrow": ADMIN,
    "//v1/items": ADMIN,
    "/V1/items": ADMIN,
    "/webx": ADMIN,
    "/studiox": ADMIN,
}
"""What is not the API's own: the framework's paths, those of today and those of tomorrow."""
FRAMEWORK = ("/livez", "/readyz", "/healthz", "/metrics", "/v1/floor", "/docs.json", "/framework/of/tomorrow")
OPEN = ("/livez", "/readyz", "/healthz", "/openapi.json", "/", "/web/customers")


async def framework(request) -> PlainTextResponse:
    """Stands for what the framework answers beside us."""
    return PlainTextResponse("framework")


def application(engine, access: Access, **more) -> Guard:
    """All that a service mounts, behind the guard."""
    front = EngineFront(lambda: engine, demo=access.dev)
    pages = web_routes(front, secret=lambda: engine.shop.secret)
    theirs = [Route(path, framework, methods=["GET", "POST"]) for path in FRAMEWORK]
    api, studio = routes(lambda: engine, access), studio_routes(lambda: engine, access)
    return Guard(Starlette(routes=[*theirs, *api, *studio, *pages]), access, **more)


def opened(engine, access: Access | None = None, address: str = "192.0.2.9", **more) -> TestClient:
    access = access or Access(dev=False, keys=tuple(KINDS.values()))
    app = application(engine, access, **more)
    return TestClient(app, base_url="http://shop.example", client=(address, 50_000), follow_redirects=False)


@pytest.fixture
def service(toy_engine):
    with opened(toy_engine) as client:
        yield client


def post(client, path, body, key="", **headers):
    given = {"x-api-key": key} if key else {}
    return client.post(path, content=orjson.dumps(body), headers={**given, **headers})


def test_the_contract_names_every_route():
    assert set(CONTRACT) == set(HANDLERS)


@pytest.mark.parametrize("path", sorted(CONTRACT))
def test_a_route_answers_the_kinds_of_key_that_it_is_for_and_no_other(service, path):
    """The whole table: 401 for strangers, 403 for the wrong scope, anything else for the right one."""
    allowed, body = CONTRACT[path]
    for kind, key in STRANGERS.items():
        answer = post(service, path, body, key)
        assert answer.status_code == 401, kind
        assert answer.headers["www-authenticate"] == "Bearer"
    for kind, entry in KINDS.items():
        if kind == "expired":
            continue
        for headers in ({"x-api-key": entry.key}, {"authorization": f"Bearer {entry.key}"}):
            answer = post(service, path, body, **headers)
            if kind not in allowed:
                assert answer.status_code == 403, kind
            else:
                assert answer.status_code == STATUS.get(path, 200), (kind, answer.text)
                assert path != "/v1/browser/events" or answer.json()["error"]["field"] == "visitorToken"


@pytest.mark.parametrize("path", sorted(BESIDE))
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "PUT"])
def test_what_is_not_named_is_closed(service, path, method):
    for kind, key in STRANGERS.items():
        assert service.request(method, path, headers={"x-api-key": key} if key else {}).status_code == 401, kind
    for kind in KINDS.keys() - {"expired"}:
        status = service.request(method, path, headers={"x-api-key": KINDS[kind].key}).status_code
        assert (status not in {401, 403}) == (kind in BESIDE[path]), (kind, status)


@pytest.mark.parametrize("path", OPEN)
def test_probes_documents_and_pages_need_no_key(service, path):
    assert service.get(path).status_code in {200, 404}


def test_the_studio_sends_strangers_to_its_login_and_takes_no_form_of_theirs(service):
    for path in ("/studio", "/studio/stops", "/studio/draft"):
        answer = service.get(path)
        assert answer.status_code in {303, 404, 405}, path
        assert answer.headers.get("location", "/studio/login").startswith("/studio/login")
    assert service.post("/studio/stops", data={"kind": "item", "name": "a0"}).status_code in {401, 403, 404, 405}


@pytest.mark.parametrize(
    "path", ["/web/../v1/items", "/web/%2e%2e/v1/items", "/web/..%2fv1/items", "/v1/items/", "/;/v1/items"]
)
def test_no_spelling_of_a_path_leads_around_the_key(service, path):
    request = service.build_request(
        "POST", "http://shop.example/", content=b'{"items":[{"itemId":"a0","withdraw":true}]}'
    )
    request.url = request.url.copy_with(raw_path=path.encode())
    assert service.send(request).status_code in {401, 404, 405, 307}
    assert "a0" in [
        each["itemId"] for each in post(service, "/v1/recommendations", {"visitorId": "v"}, "k-read").json()["itemList"]
    ]


# ---- what stands on every answer


ANSWERS = {
    "page": ("GET", "/", ""),
    "json": ("POST", "/v1/recommendations", "k-read"),
    "refused": ("POST", "/v1/recommendations", ""),
    "closed": ("GET", "/docs.json", ""),
    "framework": ("GET", "/docs.json", "k-admin"),
    "absent": ("GET", "/v1/nothing", "k-admin"),
    "static": ("GET", "/web/static/storefront.css", ""),
    "login": ("GET", "/studio/login", ""),
    "probe": ("GET", "/livez", ""),
}


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_every_answer_has_an_id_and_headers_that_close_it(service, name):
    method, path, key = ANSWERS[name]
    answer = service.request(method, path, headers={"x-api-key": key} if key else {}, content=b"{}" if key else None)
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert len(answer.headers["x-request-id"]) >= 16
    for header, _ in DEFAULTS:
        assert len(answer.headers.get_list(header.decode())) == 1, header
    told = answer.headers["content-security-policy"]
    assert "default-src 'none'" in told
    assert "unsafe" not in told
    assert "strict-transport-security" not in answer.headers
    assert "server" not in answer.headers
    assert not [each for each in answer.headers if each.startswith("access-control")]


def test_over_tls_browsers_are_told_to_stay_there(toy_engine):
    app = application(toy_engine, Access(dev=False, keys=tuple(KINDS.values())))
    with TestClient(app, base_url="https://shop.example", client=("192.0.2.9", 50_000)) as client:
        assert client.get("/livez").headers["strict-transport-security"].startswith("max-age=")


def test_the_id_of_a_request_is_kept_when_it_is_one(service):
    answer = service.get("/v1/nothing", headers={"x-request-id": "order-17_b.c", "x-api-key": "k-read"})
    assert answer.headers["x-request-id"] == answer.json()["requestId"] == "order-17_b.c"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "<b>", "a\tb", 'a"b', "日本", "a;b", "a\x7fb"])
def test_an_id_that_could_be_more_than_an_id_is_replaced(service, given):
    answer = service.get("/v1/nothing", headers=[(b"x-request-id", given.encode()), (b"x-api-key", b"k-read")])
    assert answer.headers["x-request-id"] == answer.json()["requestId"] != given


# ---- pages of other origins


SHOP = "https://www.shop.example"


@pytest.fixture
def listed(toy_engine):
    with opened(toy_engine, origins=lambda: (SHOP,)) as client:
        yield client


def preflight(client, path, origin):
    asked = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    return client.options(path, headers=asked)


def test_a_listed_origin_may_call_what_is_for_browsers(listed):
    asked = preflight(listed, "/v1/browser/events", SHOP)
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == SHOP
    assert "X-Api-Key" in asked.headers["access-control-allow-headers"]
    answer = post(listed, "/v1/browser/visitor", {}, "k-browser", origin=SHOP)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert "Origin" in answer.headers["vary"]
    for each in (asked, answer):
        assert "access-control-allow-credentials" not in each.headers


@pytest.mark.parametrize("path", sorted(set(HANDLERS) - {"/v1/browser/visitor", "/v1/browser/events"}))
def test_no_page_of_another_origin_may_call_the_rest(listed, path):
    assert "access-control-allow-origin" not in preflight(listed, path, SHOP).headers
    answer = post(listed, path, CONTRACT[path][1], "k-admin", origin=SHOP)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "https://www.shop.example.evil.example", "http://www.shop.example", "null", "*",
     "https://www.shop.example:444", "https://WWW.shop.example", "https://www.shop.example/", ""],
)  # fmt: skip
def test_other_origins_get_nothing(listed, origin):
    """Compared exactly: no case, no port, no scheme, no suffix is passed over."""
    asked = preflight(listed, "/v1/browser/events", origin)
    assert "access-control-allow-origin" not in asked.headers
    answer = post(listed, "/v1/browser/visitor", {}, "k-browser", origin=origin)
    assert "access-control-allow-origin" not in answer.headers
    assert answer.status_code == (403 if origin else 200), "without an origin it is no page of another site"


def test_nothing_is_listed_by_default(service):
    assert preflight(service, "/v1/browser/events", SHOP).status_code == 403
    own = post(service, "/v1/browser/visitor", {}, "k-browser", origin="http://shop.example")
    assert own.status_code == 200, "our own pages may"


@pytest.mark.parametrize(
    "origin", ["*", "https://*.shop.example", "https://shop.example/", "shop.example", "https://", "ftp://shop.example",
               "https://shop.example:443", "https://user@shop.example", "null", "HTTPS://shop.example", "https://a b"],
)  # fmt: skip
def test_what_is_no_origin_is_refused_at_the_start(origin):
    with pytest.raises(ConfigError, match="not an origin"):
        options({"KOKYAKU_ORIGINS": origin}, Access(dev=True), tuple)


def test_origins_of_the_environment_and_of_the_shop_hold_together():
    given = options({"KOKYAKU_ORIGINS": "https://a.example, http://localhost:8080"}, Access(dev=True), lambda: (SHOP,))
    assert set(given["origins"]()) == {"https://a.example", "http://localhost:8080", SHOP}


# ---- limits


def test_a_key_with_a_rate_has_to_wait_and_others_do_not(toy_engine):
    keys = (KeyEntry("slow", ("read",), rate=0.5, burst=2), KeyEntry("free", ("read",)))
    with opened(toy_engine, Access(dev=False, keys=keys)) as client:
        asked = [post(client, "/v1/recommendations", {"userId": "ann"}, "slow") for _ in range(4)]
        assert [each.status_code for each in asked] == [200, 200, 429, 429]
        assert asked[-1].headers["retry-after"] in {"1", "2"}
        assert asked[-1].json()["error"]["code"] == "too_many"
        assert post(client, "/v1/recommendations", {"userId": "ann"}, "free").status_code == 200


def test_a_browser_key_is_limited_for_each_address(toy_engine):
    access = Access(dev=False, keys=tuple(KINDS.values()))
    app = application(toy_engine, access)
    seen = {}
    for address in ("192.0.2.1", "192.0.2.2"):
        with TestClient(app, base_url="http://shop.example", client=(address, 1)) as client:
            seen[address] = [
                post(client, "/v1/browser/visitor", {}, "k-browser").status_code for _ in range(BROWSER_BURST + 40)
            ]
    for statuses in seen.values():
        assert statuses[:BROWSER_BURST] == [200] * BROWSER_BURST
        assert 429 in statuses


def test_who_guesses_keys_has_to_wait_and_shuts_nobody_else_out(toy_engine):
    """Wrong keys of an address are counted; a key that was right from there before goes on."""
    with opened(toy_engine) as client:
        assert post(client, "/v1/recommendations", {"userId": "ann"}, "k-read").status_code == 200
        guessed = [post(client, "/v1/recommendations", {"userId": "ann"}, f"guess-{n}") for n in range(WRONG_KEYS + 2)]
        assert [each.status_code for each in guessed] == [401] * WRONG_KEYS + [429] * 2
        assert 1 <= int(guessed[-1].headers["retry-after"]) <= 60
        assert post(client, "/v1/recommendations", {"userId": "ann"}, "k-read").status_code == 200
        assert post(client, "/v1/items", {"items": [{"itemId": "a0"}]}, "k-admin").status_code == 429, (
            "even a lucky guess"
        )


def test_a_revoked_key_that_goes_on_asking_locks_no_made_key_out(toy_engine):
    """A worker that has just started knows nobody: a proxy that brings many wrong keys brings a good one too."""
    access = Access(dev=False, keys=(*KINDS.values(), KeyEntry("k-made", ("read",), created="2026-01-01T00:00:00Z")))
    with opened(toy_engine, access) as client:
        for _ in range(WRONG_KEYS + 1):
            last = post(client, "/v1/recommendations", {"userId": "ann"}, "k-revoked")
        assert last.status_code == 429
        assert post(client, "/v1/recommendations", {"userId": "ann"}, "k-made").status_code == 200
        assert post(client, "/v1/recommendations", {"userId": "ann"}, "k-read").status_code == 429


def test_no_key_at_all_is_no_guess(service):
    for _ in range(WRONG_KEYS + 5):
        assert post(service, "/v1/recommendations", {"userId": "ann"}).status_code == 401


@pytest.mark.parametrize("announced", [True, False])
def test_bodies_are_limited_by_the_service_and_by_the_key(toy_engine, announced):
    keys = (KeyEntry("small", ("read",), body=100), KeyEntry("usual", ("read",)))
    with opened(toy_engine, Access(dev=False, keys=keys)) as client:

        def ask(key: str, size: int) -> int:
            body = orjson.dumps({"userId": "ann"}).ljust(size)
            content = body if announced else iter([body[:50], body[50:]])
            return client.post("/v1/recommendations", content=content, headers={"x-api-key": key}).status_code

        assert ask("small", 100) == 200
        assert ask("small", 101) == 413
        assert ask("usual", 101) == 200
        assert ask("usual", MAX_BODY) == 200
        assert ask("usual", MAX_BODY + 1) == 413


def test_the_frameworks_paths_take_no_endless_body(service):
    headers = {"x-api-key": "k-read"}
    assert service.post("/v1/floor", content=b"{}", headers=headers).status_code == 200
    assert service.post("/v1/floor", content=b" " * (MAX_BODY + 1), headers=headers).status_code == 413
    assert service.post("/v1/floor", content=iter([b"{", b"}"]), headers=headers).status_code == 413


# ---- names, metrics, a developer's machine


def test_a_service_with_names_answers_to_no_other(toy_engine):
    with opened(toy_engine, hosts=("shop.example", "API.shop.example")) as client:
        for host, status in (("shop.example", 200), ("SHOP.example:3000", 200), ("api.shop.example", 200),
                             ("192.0.2.1", 403), ("evil.example", 403)):  # fmt: skip
            assert client.get("/", headers={"host": host}).status_code == status, host
            assert client.get("/readyz", headers={"host": host}).status_code == 200, "probes ask by address"


@pytest.mark.parametrize(
    ("metrics", "address", "forwarded", "status"),
    [
        ("key", "127.0.0.1", "", 401),
        ("loopback", "127.0.0.1", "", 200),
        ("loopback", "192.0.2.9", "", 401),
        ("loopback", "127.0.0.1", "192.0.2.9", 401),
        ("open", "192.0.2.9", "", 200),
    ],
)
def test_who_may_read_the_metrics_is_a_setting(toy_engine, metrics, address, forwarded, status):
    with opened(toy_engine, address=address, metrics=metrics) as client:
        headers = {"x-forwarded-for": forwarded} if forwarded else {}
        assert client.get("/metrics", headers=headers).status_code == status
        assert client.get("/docs.json", headers=headers).status_code == 401
    with pytest.raises(ConfigError, match="KOKYAKU_METRICS"):
        options({"KOKYAKU_METRICS": "anybody"}, Access(dev=True), tuple)


@pytest.mark.parametrize("path", ["/", "/studio", "/metrics", "/openapi.json", "/v1/nothing", "/docs.json", "/readyz"])
def test_development_answers_this_machine_only(toy_engine, path):
    """By the names in the request and by where it comes from; nothing at all is answered to others."""
    with opened(toy_engine, Access(dev=True), address="127.0.0.1") as client:
        here = {"host": "localhost:3000"}
        assert client.get(path, headers=here).status_code in {200, 404}
        for headers in (
            {"host": "evil.example"},
            {**here, "origin": "https://evil.example"},
            {**here, "origin": "null"},
        ):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 403
            assert "only loopback" in answer.json()["error"]["message"]
    with opened(toy_engine, Access(dev=True), address="192.0.2.9") as client:
        assert client.get(path, headers=here).status_code == 403


def test_all_keys_are_compared_each_time_and_in_constant_time(monkeypatch):
    """Neither the place of a key nor how much of it is right shows in what is compared."""
    compared = []
    from serving import access as module

    real = module.hmac.compare_digest
    monkeypatch.setattr(module.hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or real(a, b))
    rule = Access(dev=False, keys=tuple(KINDS.values()))
    for key in ("k-read", "k-browser", "k", "x" * 5000):
        compared.clear()
        with contextlib.suppress(AccessError):
            rule.check("read", {"x-api-key": key})
        assert compared == [(32, 32)] * len(KINDS), key
