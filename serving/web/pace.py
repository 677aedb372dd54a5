"""How often one network may send forms: a storefront asks for no key, and each form writes to the disk.

A demo is exempt: it answers this machine alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from serving.limits import Buckets, network
from serving.web.render import Handler
from serving.web.shopfront import Shopfront


@dataclass(frozen=True, slots=True)
class Rate:
    """So many forms at once, and so many a second in the long run."""

    burst: int
    rate: float


FORMS: Final = Rate(60, 5.0)
"""A household or an office behind one address sends less; a browser key of the API may send twice as much."""
ERASURES: Final = Rate(5, 1 / 60)
"""Each leaves a tombstone for good and overwrites files. It cannot be had for less where nothing is known of a visitor:
what is under way of them, in a log or in another replica, would come to stand under no tombstone."""


class Pace:
    """Puts a limit before handlers.

    Args:
        shopfront: knows whether this is a demo.
        clock: seconds; only differences count.
    """

    def __init__(self, shopfront: Shopfront, clock: Callable[[], float] = time.monotonic) -> None:
        self._shopfront, self._clock = shopfront, clock

    def kept(self, handlers: list[tuple[str, Handler]], rate: Rate) -> list[tuple[str, Handler]]:
        """The handlers, each with its path, behind one limit: what is sent to one counts for all."""
        buckets = Buckets(self._clock)
        return [(path, self._behind(buckets, rate, handler)) for path, handler in handlers]

    def _behind(self, buckets: Buckets, rate: Rate, handler: Handler) -> Handler:
        """The handler; `TooManyError` where there is no token, before anything of the form is read."""

        async def paced(request: Request) -> Response:
            if not (await self._shopfront.shop())["demo"]:
                address = request.client.host if request.client else ""
                buckets.take(network(address), rate.rate, rate.burst, "address")
            return await handler(request)

        return paced
