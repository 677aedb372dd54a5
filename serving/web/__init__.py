"""The storefront: the server-rendered pages that a person sees.

`routes(shopfront)` gives Starlette routes over any `Shopfront`; the service adapts its engine to that protocol.
Works without JavaScript; with it, what an event changed is swapped in place.
"""

from __future__ import annotations

from serving.web.shopfront import Shopfront
from serving.web.storefront import routes

__all__ = ["Shopfront", "routes"]
