"""What is around every page of the studio: the session, the frame, and how refusals look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from features.errors import KokyakuError, RequestError
from serving.access import Access, AccessError, ScopeError
from serving.engine import Engine
from serving.limits import TooManyError
from serving.web.identity import same_origin
from serving.web.render import PRIVATE, html
from serving.web.studio.sessions import PATH, Session, Sessions
from serving.web.studio.strings import words_of

MAX_FORM = 4 << 20
"""Bytes of a form: a draft of Japanese words takes nine for each character."""
Handler = Callable[[Request, Session], Awaitable[Response]]


class Desk:
    """Reads the session of a request and writes pages and refusals in the studio's frame.

    Args:
        engine_of: gives the engine.
        access: the rule of this process.
        sessions: of this process.
    """

    def __init__(self, engine_of: Callable[[], Engine], access: Access, sessions: Sessions) -> None:
        self.engine_of, self.access, self.sessions = engine_of, access, sessions

    def page(
        self, request: Request, session: Session | None, template: str, context: Mapping[str, Any], status: int = 200
    ) -> Response:
        """A rendered page; `session` None is somebody who has not logged in."""
        live = self.engine_of().live
        locale = (session.locale if session else "") or request.query_params.get("lang", "") or live.config.shop.locale
        here = request.url.path + (f"?{request.url.query}" if request.url.query and request.method == "GET" else "")
        frame = {
            "t": words_of(locale), "shop": live.config.shop.name, "session": session, "dev": self.access.dev,
            "token": self.sessions.token(session) if session else "", "here": here, "path": request.url.path,
            "stopped": len(live.stops.each),
        }  # fmt: skip
        response = html(template, status, **frame, **context)
        if session is not None:
            self.sessions.write(request, response, session)
        return response

    def guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The handler for who has a session; a GET without one leads to the login, a POST is refused.

        A form must carry the session's token and come from one of our pages.
        """

        async def studio(request: Request) -> Response:
            session: Session | None = None
            try:
                session = self.sessions.read(request)
                if session is None:
                    return self._to_login(request)
                return await handler(request, session)
            except KokyakuError as error:
                return self.refusal(request, session, error)

        return studio

    def opened(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The handler for everybody: the login."""

        async def studio(request: Request) -> Response:
            try:
                return await handler(request)
            except KokyakuError as error:
                return self.refusal(request, None, error)

        return studio

    async def form(self, request: Request, session: Session) -> dict[str, str]:
        """The fields of a posted form of this session.

        Raises:
            ScopeError: it does not come from one of our pages.
            RequestError: not a form, or too large.
        """
        fields = await read_form(request)
        if not self.sessions.ours(request, fields.get("token", ""), session):
            raise ScopeError("the form is out of date or not from this site", where="token", hint="load the page again")
        return fields

    def refusal(self, request: Request, session: Session | None, error: KokyakuError) -> Response:
        """An error in words, with its status."""
        response = self.page(request, session, "studio/error.html", {"error": error.line()}, error.status)
        if isinstance(error, TooManyError):
            response.headers["Retry-After"] = str(error.retry_after)
        return response

    def _to_login(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise AccessError("log in first", where="session", hint=f"{PATH}/login")
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{PATH}/login?{urlencode({'next': here})}", 303, headers=PRIVATE)


def inside(path: str) -> str:
    """An address of the studio as it came in a form, or the studio itself: nobody is sent elsewhere."""
    fine = path == PATH or path.startswith((f"{PATH}/", f"{PATH}?"))
    return path if fine and "\\" not in path and path.isprintable() else PATH


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form.

    Raises:
        ScopeError: another site posts it.
        RequestError: not a form, too large, or not UTF-8.
    """
    if not same_origin(request):
        raise ScopeError("the form is not from this site", where="Origin", got=request.headers.get("origin"))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RequestError("not a form", where="Content-Type", got=kind)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise RequestError("the form is too large", where="body", hint=f"send at most {MAX_FORM} bytes")
    try:
        return dict(parse_qsl(bytes(body).decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100))
    except ValueError:
        raise RequestError("not a form in UTF-8", where="body") from None
