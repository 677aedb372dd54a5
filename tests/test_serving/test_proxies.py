"""Behind a proxy: who is believed about clients is a setting, and what hangs on it: limits, TLS, what doctor says."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from serving import keeper, machine
from serving.access import Access, KeyEntry
from serving.direct import Shortcut
from serving.face import face
from serving.guard import Guard
from serving.keeper import BELIEVED, LISTEN, unknown_proxies
from tests.test_serving.running import Kept
from tests.test_serving.test_guard_live import ask

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette would rather have another HTTP client than the one we pin
    from starlette.testclient import TestClient

PROXY, OTHER = "10.1.2.3", "10.2.0.1"
FORWARDED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}


@pytest.fixture
def behind(toy_engine, monkeypatch) -> Callable[..., TestClient]:
    """Everything that a service shows, as the server wraps it for the environment, asked from an address."""

    def asked_from(address: str, believed: str | None = "10.1.0.0/16, 192.0.2.7") -> TestClient:
        monkeypatch.delenv(BELIEVED, raising=False)
        if believed is not None:
            monkeypatch.setenv(BELIEVED, believed)
        access = Access(dev=False, keys=(KeyEntry("k-admin", ("admin",)),))
        # The framework leaves these of the server's settings as they are.
        config = uvicorn.Config(Guard(face(lambda: toy_engine, access), access), log_config=None, workers=1)
        config.load()
        app: Any = config.loaded_app
        return TestClient(app, base_url="http://shop.example", client=(address, 50_000), follow_redirects=False)

    return asked_from


def test_the_server_of_the_service_listens_to_the_setting():
    """The framework names neither proxies nor headers, so what the environment says holds."""
    import inspect

    from _bentoml_impl.worker import service as framework

    assert "forwarded_allow_ips" not in inspect.getsource(framework)
    assert "proxy_headers" not in inspect.getsource(framework)


@pytest.mark.parametrize(
    ("address", "believed", "secure"),
    [
        (PROXY, "10.1.0.0/16, 192.0.2.7", True), ("192.0.2.7", "10.1.0.0/16, 192.0.2.7", True),
        (OTHER, "10.1.0.0/16, 192.0.2.7", False), ("127.0.0.1", "10.1.0.0/16, 192.0.2.7", False),
        (PROXY, "", False), (PROXY, None, False), ("127.0.0.1", None, True),
    ],
)  # fmt: skip
def test_tls_before_a_proxy_counts_where_the_proxy_is_named(behind, address, believed, secure):
    """Cookies are Secure and browsers are told to keep to TLS; another's word for it counts nothing."""
    with behind(address, believed) as client:
        answer = client.get("/", headers=FORWARDED)
    cookies = answer.headers.get_list("set-cookie")
    assert cookies and all(("secure" in cookie.lower()) == secure for cookie in cookies)
    assert ("strict-transport-security" in answer.headers) == secure


@pytest.mark.parametrize(("address", "shared"), [(PROXY, False), (OTHER, True)])
def test_one_persons_wrong_keys_keep_nobody_else_out_behind_a_named_proxy(behind, address, shared):
    """And one who is not named cannot choose a new address for each try."""
    with behind(address) as client:

        def enter(key: str, whose: str) -> int:
            headers = {"X-Forwarded-For": whose}
            form = {"key": key, "who": "me", "next": "/studio"}
            return client.post("/studio/login", data=form, headers=headers).status_code

        tries = [enter("wrong", "203.0.113.9") for _ in range(6)]
        assert tries[-1] == 429 and 429 not in tries[:5]
        assert enter("k-admin", "203.0.113.10") == (429 if shared else 303)


def test_the_short_way_hears_of_clients_as_the_long_one_does(monkeypatch):
    """Requests of the API pass the framework by, but not what the server believes."""
    monkeypatch.setenv(BELIEVED, "10.1.0.0/16")
    config = uvicorn.Config(Guard(lambda *_: None, Access(dev=True)), log_config=None)  # type: ignore[arg-type]
    config.load()
    hearing = Shortcut(lambda *_: None).behind(config.loaded_app)  # type: ignore[arg-type]
    assert isinstance(hearing, ProxyHeadersMiddleware)
    assert PROXY in hearing.trusted_hosts and OTHER not in hearing.trusted_hosts


def test_a_started_service_believes_whom_its_environment_names(started):
    """In development only loopback is answered: who was believed to come from elsewhere would be refused."""
    service = started(Kept, FORWARDED_ALLOW_IPS="192.0.2.1")
    assert ask(service.port, "GET", "/", x_forwarded_for="192.0.2.9")[0] == 200
    assert "strict-transport-security" not in ask(service.port, "GET", "/", x_forwarded_proto="https")[1]


# ---- what is said of it


@pytest.mark.parametrize(
    ("listen", "believed", "verdict", "said"),
    [
        ("", "", "ok", "this machine alone"),
        ("127.0.0.1", "", "ok", "this machine alone"),
        ("0.0.0.0", "", "warn", "is not set"),
        ("::", " , ", "warn", "is not set"),
        ("0.0.0.0", "10.1.0.0/16,192.0.2.7", "ok", "10.1.0.0/16, 192.0.2.7"),
        ("0.0.0.0", "127.0.0.1", "ok", "127.0.0.1"),
        ("0.0.0.0", "*", "warn", "everybody"),
        ("0.0.0.0", "10.1.0.0/16, 0.0.0.0/0", "warn", "everybody"),
        ("0.0.0.0", "10.1.2.3/16", "warn", "10.1.2.3/16 of"),
        ("0.0.0.0", "10.1.0.0/16, ingress", "warn", "ingress of"),
    ],
)
def test_doctor_says_whose_word_is_taken(toy_shop, monkeypatch, listen, believed, verdict, said):
    monkeypatch.delenv("KOKYAKU_DEV", raising=False)
    monkeypatch.setenv(LISTEN, listen)
    monkeypatch.setenv(BELIEVED, believed)
    (found,) = machine.proxies(toy_shop)
    assert (found.name, found.verdict) == ("proxies", verdict)
    assert said in found.detail
    assert (BELIEVED in found.remedy) == (verdict != "ok")


@pytest.mark.parametrize(
    ("host", "environ", "unknown"),
    [
        ("127.0.0.1", {}, False), ("127.0.0.2", {}, False), ("localhost", {}, False), ("::1", {}, False),
        ("0.0.0.0", {}, True), ("192.0.2.1", {BELIEVED: " "}, True), ("0.0.0.0", {BELIEVED: "192.0.2.7"}, False),
        ("0.0.0.0", {"KOKYAKU_DEV": "1"}, False),
    ],
)  # fmt: skip
def test_it_matters_beyond_this_machine_alone(host, environ, unknown):
    assert unknown_proxies(host, environ) == unknown


def test_the_keeper_warns_at_its_start_of_what_the_command_line_says(monkeypatch, capsys):
    """`kokyaku serve --host 0.0.0.0` is told too, of which `doctor` does not know."""
    create = keeper.socket.create_server
    monkeypatch.delenv("KOKYAKU_DEV", raising=False)
    monkeypatch.delenv(BELIEVED, raising=False)
    monkeypatch.setenv(LISTEN, "0.0.0.0")
    monkeypatch.setattr(keeper.socket, "create_server", lambda _, **more: create(("127.0.0.1", 0), **more))
    monkeypatch.setattr(keeper.Keeper, "run", lambda _: 0)
    assert keeper.main(["--port", "0"]) == 0
    assert BELIEVED in capsys.readouterr().err
    assert keeper.main(["--port", "0", "--host", "127.0.0.1"]) == 0
    assert BELIEVED not in capsys.readouterr().err
