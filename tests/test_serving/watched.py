"""The whole application of a worker over an engine, watched as the service watches it; for tests of what it tells."""

from __future__ import annotations

from types import SimpleNamespace

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from serving.access import Access
from serving.admission import TURNED_AWAY
from serving.engine import Engine
from serving.http import VERSION, routes
from serving.logs import AccessLog
from serving.observe import Observed, Paths, metrics_route
from serving.shopfront import EngineFront
from serving.telemetry import Telemetry
from serving.web import routes as web_routes


def watched(engine: Engine, *, sample: int = 1, access: Access | None = None) -> SimpleNamespace:
    """`client`, `telemetry`, and `post(path, body)`."""
    telemetry, access = Telemetry([TURNED_AWAY]), access or Access(dev=True)
    pages = web_routes(EngineFront(lambda: engine, demo=True), secret=lambda: engine.shop.secret)
    metrics = metrics_route(telemetry, lambda: engine, VERSION)
    served = [metrics, *routes(lambda: engine, access), *pages]
    observed = Middleware(Observed, telemetry=telemetry, access_log=AccessLog(sample), paths=Paths(served))
    client = TestClient(
        Starlette(routes=served, middleware=[observed]), base_url="http://127.0.0.1", raise_server_exceptions=False
    )

    def post(path, body, **headers):
        return client.post(path, content=orjson.dumps(body), headers=headers)

    return SimpleNamespace(client=client, telemetry=telemetry, post=post)
