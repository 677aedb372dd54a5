"""What holds for every answer, whoever makes it: an id, headers that browsers obey, and a closed door by default.

The API's own routes look at their keys themselves (`serving.endpoint`), pages at their cookies and sessions. Whatever
else the process answers, the framework's paths above all, needs the admin key unless it is named here. Pure ASGI: it
costs each request a few microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.errors import ConfigError, KokyakuError
from serving.access import Access, ScopeError, check_loopback
from serving.bodies import MAX_BODY, BodyTooLargeError
from serving.decide import new_id
from serving.endpoint import error_response
from serving.headers import headers_of
from serving.http import HANDLERS
from serving.settings.access import check_origins
from serving.tokens import BROWSER
from serving.watch import REQUEST_ID

Pair = tuple[bytes, bytes]

PROBES: Final = frozenset({"/livez", "/readyz", "/healthz"})
_OPEN: Final = PROBES | {"/openapi.json"}
_OWN: Final = frozenset(HANDLERS)
METRICS_FOR: Final = ("key", "loopback", "open")
"""Who may read /metrics: a key of the scope metrics or admin; also this machine; everybody."""

DEFAULTS: Final[tuple[Pair, ...]] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
"""Where an answer does not say otherwise; pages do."""
_NAMES: Final = frozenset(name for name, _ in DEFAULTS)
# Of this host only: what else lives below the domain is not ours to decide.
_HSTS: Final[Pair] = (b"strict-transport-security", b"max-age=31536000")
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Content-Type, X-Api-Key, Authorization, X-Request-Id",
    "Access-Control-Max-Age": "600",
}
_SANE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch
_LEFT: Final = "".join(map(chr, range(0x21, 0x7F)))
"""What an address may hold as it is."""
_LOOPBACK: Final = ("127.0.0.1", "::1")


class Guard:
    """ASGI middleware around everything that the process answers.

    Args:
        app: what answers.
        access: the rule of this process.
        origins: of the pages that may call `/v1/browser/...`; asked for when such a page calls.
        metrics: who may read /metrics, one of `METRICS_FOR`.
        hosts: names by which the service may be called, without ports; empty: any. Probes may use any.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        origins: Callable[[], Collection[str]] = tuple,
        metrics: str = "key",
        hosts: Collection[str] = (),
    ) -> None:
        self.app, self.access, self.origins, self.metrics = app, access, origins, metrics
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass on what is none."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if not scope["query_string"].isascii():  # as a browser would have sent it; nobody below reads it otherwise
            scope["query_string"] = quote(scope["query_string"], safe=_LEFT).encode()
        headers = headers_of(scope)
        request_id = headers.get("x-request-id")
        if request_id is None or not _SANE(request_id):
            request_id = new_id()
        scope[REQUEST_ID] = request_id
        more = [(b"x-request-id", request_id.encode())]
        if scope["scheme"] == "https":
            more.append(_HSTS)

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _completed(message.get("headers", ()), more)
            await send(message)

        app: ASGIApp = self.app
        try:
            if self.access.dev or self.hosts or scope["path"] not in _OWN or headers.get("origin"):
                app = self._passed(scope, headers, more) or app
        except KokyakuError as error:
            app = error_response(error, scope[REQUEST_ID])
        await app(scope, receive, answered)

    def _passed(self, scope: Scope, headers: Mapping[str, str], more: list[Pair]) -> ASGIApp | None:
        """Let a request pass that is not simply one of the API's; an answer where there is no more to do.

        Raises:
            AccessError, ScopeError: it may not.
        """
        path = scope["path"]
        address = scope["client"][0] if scope.get("client") else ""
        if self.access.dev:
            self._check_developer(path, headers, address)
        elif self.hosts and path not in PROBES and _host(headers.get("host", "")) not in self.hosts:
            raise ScopeError("this service is not called so", where="Host", got=headers.get("host", ""))
        if path.startswith(BROWSER) and headers.get("origin"):
            return self._from_page(scope["method"], headers, more)
        if not self.access.dev and not _keeps_itself(path) and not self._open(path, headers, address):
            self.access.admit(_scope_of(path), headers, address)
        if not _keeps_itself(path):
            _check_length(headers)
        return None

    def _check_developer(self, path: str, headers: Mapping[str, str], address: str) -> None:
        """Nobody but this machine: by the names in the request, and by where it comes from."""
        if address not in _LOOPBACK:
            raise ScopeError("in development only loopback is answered", where="address", got=address)
        if path not in _OWN:  # those look themselves
            check_loopback(headers)

    def _open(self, path: str, headers: Mapping[str, str], address: str) -> bool:
        if path != "/metrics":
            return path in _OPEN
        if self.metrics == "loopback":  # and not what a proxy on this machine brings from elsewhere
            return address in _LOOPBACK and "x-forwarded-for" not in headers and "forwarded" not in headers
        return self.metrics == "open"

    def _from_page(self, method: str, headers: Mapping[str, str], more: list[Pair]) -> ASGIApp | None:
        """A request of a page: from a listed origin, or from our own.

        Cookies are never allowed with it (no `Access-Control-Allow-Credentials`), and no origin is a pattern.

        Raises:
            ScopeError: the origin is not listed.
        """
        origin = headers["origin"]
        if origin not in self.origins():
            if origin.partition("://")[2] == headers.get("host"):
                return None
            hint = "list it in shop.toml, [access] origins, or in KOKYAKU_ORIGINS"
            raise ScopeError("pages of this origin may not call", where="Origin", got=origin, hint=hint)
        more += [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", b"Retry-After, X-Request-Id"),
            (b"cross-origin-resource-policy", b"cross-origin"),
            (b"vary", b"Origin"),
        ]
        asked = method == "OPTIONS" and "access-control-request-method" in headers
        return Response(status_code=204, headers=_PREFLIGHT) if asked else None


def options(environ: Mapping[str, str], access: Access, listed: Callable[[], Collection[str]]) -> dict[str, Any]:
    """What `Guard` is given in a service.

    Args:
        environ: `KOKYAKU_ORIGINS` and `KOKYAKU_HOSTS` (with commas between), `KOKYAKU_METRICS`.
        access: the rule of this process.
        listed: the origins that shop.toml lists.

    Raises:
        ConfigError: an origin that is none, or another word for KOKYAKU_METRICS.
    """
    fixed = check_origins(_words(environ.get("KOKYAKU_ORIGINS", "")), "KOKYAKU_ORIGINS")
    metrics = environ.get("KOKYAKU_METRICS", "key")
    if metrics not in METRICS_FOR:
        hint = f"one of {', '.join(METRICS_FOR)}"
        raise ConfigError("nobody is called so", where="KOKYAKU_METRICS", got=metrics, hint=hint)
    return {
        "access": access, "origins": lambda: (*fixed, *listed()), "metrics": metrics,
        "hosts": _words(environ.get("KOKYAKU_HOSTS", "")),
    }  # fmt: skip


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _completed(given: Any, more: list[Pair]) -> list[Pair]:
    """The headers of an answer with those that it lacks."""
    has = {name for name, _ in given} | {name for name, _ in more}
    if _NAMES.isdisjoint(has):
        return [*given, *more, *DEFAULTS]
    return [*given, *more, *(pair for pair in DEFAULTS if pair[0] not in has)]


def _keeps_itself(path: str) -> bool:
    """Whether what answers there looks at keys, cookies or sessions of its own."""
    return path in _OWN or path == "/" or path.startswith(("/web/", "/studio/")) or path == "/studio"


def _check_length(headers: Mapping[str, str]) -> None:
    """The framework reads bodies of any length; its paths need hardly any.

    Raises:
        BodyTooLargeError: it is too long, or does not say how long.
    """
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal() or int(length[:20]) > MAX_BODY:
        hint = f"send at most {MAX_BODY} bytes, and say how many"
        raise BodyTooLargeError("the body is too large", where="body", hint=hint)


def _scope_of(path: str) -> str:
    if path == "/metrics":
        return "metrics"
    return "read" if path.startswith("/v1/") else "admin"


def _host(host: str) -> str:
    return (host if host.endswith("]") else host.rsplit(":", 1)[0]).lower()
