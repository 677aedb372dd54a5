"""What an orchestrator asks: may requests come here (`/readyz`), and should this process be restarted (`/livez`)?

A worker whose store is down is ready: it answers from what is mapped, and so do its replicas. It is not ready while it
stops, or while its engine cannot make a list. It is alive as long as its loop turns and its watch goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from features.history import History
from serving.engine import Engine
from serving.query import Query

Why = Callable[[], str | None]


class Probes:
    """Answers the probes before the framework does.

    Args:
        app: everything else.
        unready: why no requests should come here; None: they may.
        dead: why the process should be restarted; None: it should not.
    """

    def __init__(self, app: Any, unready: Why, dead: Why) -> None:
        self._app = app
        self._asked = {"/readyz": unready, "/livez": dead, "/healthz": dead}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """An ASGI call."""
        asked = self._asked.get(scope.get("path", ""))
        if asked is None or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        if scope["method"] in {"GET", "HEAD"}:
            why = asked()
            status, body = (200, b"\n") if why is None else (503, f"{why}\n".encode())
        else:
            status, body = 405, b"ask by GET or HEAD\n"
            headers.append((b"allow", b"GET, HEAD"))
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def cannot_serve(engine: Engine) -> str | None:
    """Why an engine cannot make a list for a stranger; None where it can."""
    try:
        found = engine.live.ranker.rank(Query(engine.clock.now(), History.empty(), num_results=1))
    except Exception as error:  # whatever it is, requests would meet it too
        return f"the engine cannot rank: {type(error).__name__}"
    return None if len(found.items) else "there is no item to recommend"
