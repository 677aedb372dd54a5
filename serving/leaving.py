"""Leaving in good order: told to stop, a worker first says that it is not ready, and stops a moment later.

In that moment a balancer sends its requests elsewhere; what comes all the same is still answered. Then the server
finishes what it took in, for a bounded time (`--timeout-graceful-shutdown`). Told twice, it stops at once.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from serving.admission import positive

DRAIN_SECONDS = 1.0


class Leaving:
    """How a process takes a SIGTERM."""

    why: str | None = None
    """Why no requests should come here any more; None: nobody told it to stop."""

    def begin(self, loop: asyncio.AbstractEventLoop, environ: Mapping[str, str]) -> None:
        """Take over from the server's own handler, once that stands.

        Args:
            loop: the server's.
            environ: `KOKYAKU_DRAIN_SECONDS` says how long the moment is.

        Raises:
            ConfigError: not a number above zero.
        """
        seconds = positive(environ, "KOKYAKU_DRAIN_SECONDS", DRAIN_SECONDS)
        servers: Any = signal.getsignal(signal.SIGTERM)
        if callable(servers):
            signal.signal(signal.SIGTERM, self._handler(loop, servers, seconds))

    def _handler(
        self, loop: asyncio.AbstractEventLoop, stop: Callable[[int, FrameType | None], Any], seconds: float
    ) -> Callable[[int, FrameType | None], None]:
        def told(number: int, frame: FrameType | None) -> None:
            if self.why is None:
                self.why = "stopping"
                loop.call_soon_threadsafe(loop.call_later, seconds, stop, number, None)
                return
            stop(number, frame)
            stop(signal.SIGINT, frame)  # the server takes this one for "now", once it is stopping

        return told
