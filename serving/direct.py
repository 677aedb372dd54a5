"""The short way to the API's own paths: past the framework, whose layers would do nothing for them but take time.

What is left out between the server and an endpoint, and why nothing is missed:

- the framework's timer of each request: what our endpoints wait for has limits of its own, which answer better
  (`serving.admission` for clients and for work beside the loop, `serving.group_commit` for the store);
- its tracing, which is switched off, and its context of a request, which only its own methods read;
- two routers, of the framework and of the mounted application: they try one route after the other, and find the
  endpoint that is looked up here;
- what turns exceptions into answers: an endpoint answers its own, and the server what slips out of our layers.

Which requests are in flight is known to the server, above all of this, so stopping waits for these as for all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, cast

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from serving.endpoint import Endpoint


class Direct:
    """An ASGI layer: what is plainly a POST to an endpoint's path goes there; everything else takes the long way.

    Args:
        app: the long way.
        endpoints: by path.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, ASGIApp]) -> None:
        self._app, self._endpoints = app, endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        app = self._app
        if scope["type"] == "http" and scope["method"] == "POST" and not scope.get("root_path"):
            app = self._endpoints.get(scope["path"], app)
        await app(scope, receive, send)


class Shortcut:
    """The same for the server: such requests it gives to our layers at once, past the framework's around them.

    Args:
        app: our layers; None while there are none.
        paths: of the endpoints.
    """

    def __init__(self, app: ASGIApp | None = None, paths: Iterable[str] = ()) -> None:
        self._app, self._urls = app, frozenset(path.encode() for path in paths)

    def leads(self, method: bytes, url: bytes) -> bool:
        """Whether a request takes it: its address has to be spelled just so."""
        return url in self._urls and method == b"POST"

    def behind(self, served: ASGIApp) -> ASGIApp:
        """Our layers behind what the server has put around the application: it hears of clients from its proxies."""
        if self._app is None or not isinstance(served, ProxyHeadersMiddleware):
            return self._app or served
        hearing: Any = copy(served)  # the server has types of its own for what is the same
        hearing.app = self._app
        return cast("ASGIApp", hearing)


class Whole:
    """In the place of the transport of one answer: head and body leave together.

    The server writes the one and then the other, each with a system call that wakes the client up.

    Args:
        cycle: the server's, of the request that is answered.
    """

    def __init__(self, cycle: Any) -> None:
        self._cycle: Any = cycle
        """Until the head is there."""
        self._transport = cycle.transport
        self._head = b""
        """Until the body comes."""

    def write(self, data: bytes) -> None:
        """Keep the head for the body; pass on all else, such as that the client may go on with his."""
        if self._cycle is not None and self._cycle.response_started:
            self._head = data
            self._cycle = None  # which holds this: else both would wait for the collector
        else:
            self._transport.write(self._head + data if self._head else data)
            self._head = b""

    def close(self) -> None:
        """The answer ends here, perhaps before its body."""
        if self._head:
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        """As the transport says."""
        closing: bool = self._transport.is_closing()
        return closing


def endpoints_of(routes: Iterable[BaseRoute]) -> dict[str, Endpoint]:
    """The endpoints among the routes of an application, by path."""
    found = (getattr(route, "endpoint", None) for route in routes)
    return {endpoint.path: endpoint for endpoint in found if isinstance(endpoint, Endpoint)}
