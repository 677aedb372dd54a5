"""Templates, response headers and the two static files: how a page becomes bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

_HERE: Final = Path(__file__).parent

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' https:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # our own forms must say where they come from, other sites learn nothing
    "X-Content-Type-Options": "nosniff",
}
PRIVATE: Final = {**HEADERS, "Cache-Control": "private, no-store", "Vary": "Cookie"}

_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class StaticFile:
    """A file of ours, read once; its address carries its hash, so browsers may keep it for good."""

    def __init__(self, path: Path) -> None:
        self.body = path.read_bytes()
        self.path = f"/web/static/{path.name}"
        self.url = f"{self.path}?v={hashlib.sha256(self.body).hexdigest()[:10]}"
        self._type = _TYPES[path.suffix]

    async def __call__(self, request: Request) -> Response:
        """Answer with the file."""
        headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
        return Response(self.body, media_type=self._type, headers=headers)

    def route(self) -> Route:
        """Its route."""

        async def static_file(request: Request) -> Response:
            return await self(request)

        return Route(self.path, static_file)


STATIC: Final = {path.name: StaticFile(path) for path in sorted((_HERE / "static").iterdir()) if path.suffix in _TYPES}


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["static"] = {name: file.url for name, file in STATIC.items()}
    return environment


ENVIRONMENT: Final = _environment()


def compile_templates() -> None:
    """Compile what is not compiled yet, so that no visitor waits for it; takes a quarter of a second."""
    for name in ENVIRONMENT.list_templates():
        ENVIRONMENT.get_template(name)


def html(template: str, status: int = 200, /, **context: Any) -> Response:
    """A rendered page that no cache may share; lone surrogates of broken catalogues become question marks."""
    body = ENVIRONMENT.get_template(template).render(context)
    return HTMLResponse(body.encode("utf-8", "replace"), status, headers=PRIVATE)


Handler = Callable[[Request], Coroutine[Any, Any, Response]]
