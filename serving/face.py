"""Everything that a service shows: the API, the storefront and the studio as one application."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from serving.access import Access
from serving.engine import Engine
from serving.http import routes
from serving.shopfront import EngineFront
from serving.web import routes as web_routes
from serving.web.studio import routes as studio_routes


def face(engine_of: Callable[[], Engine], access: Access, more: Sequence[BaseRoute] = ()) -> Starlette:
    """The application; what else holds for every answer is put around it by `serving.guard`.

    Args:
        engine_of: gives the engine once the service has started.
        access: the rule of this process.
        more: routes beside these.
    """
    pages = web_routes(EngineFront(engine_of, demo=access.dev), secret=lambda: engine_of().shop.secret)
    return Starlette(
        routes=[*more, *routes(engine_of, access), *studio_routes(engine_of, access), *pages],
        exception_handlers={ClientDisconnect: _hung_up},
    )


def _hung_up(_: Request, __: Exception) -> Response:
    """Nobody is there to be answered, and nothing of ours went wrong."""
    return Response(status_code=499)
