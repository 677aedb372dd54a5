"""Leaving in good order: told to stop, a worker first says that it is not ready, and stops a moment later.

In that moment a balancer sends its requests elsewhere; what comes all the same is still answered. Then the server
finishes what it took in, for a bounded time (`--timeout-graceful-shutdown`). Told twice, it stops at once. At last the
store is closed, which takes no longer than `LAST_SECONDS` where it does not answer.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import FrameType
from typing import Any, ParamSpec

from serving.admission import positive

P = ParamSpec("P")

DRAIN_SECONDS = 1.0
LAST_SECONDS = 8.0
"""For what is done last. With all that comes before it this fits into the half minute that orchestrators give."""
END_SECONDS = 2.0
"""For the server's own last words, where threads are left that hang."""


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


async def done_within(seconds: float, work: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> bool:
    """Whether work is done in time; where not it goes on, in a thread that nobody waits for.

    Raises:
        Exception: whatever it raises in time.
    """
    told: Future[Any] = Future()

    def run() -> None:
        try:
            told.set_result(work(*args, **kwargs))
        except BaseException as error:  # it is of who waits
            told.set_exception(error)

    threading.Thread(target=run, name="kokyaku-last", daemon=True).start()
    ended = asyncio.wrap_future(told)
    done, _ = await asyncio.wait([ended], timeout=seconds)
    if done:
        ended.result()
    return bool(done)


def end_soon(seconds: float = END_SECONDS) -> None:
    """End this process in so long, if it has not ended by then: at its end it would wait for threads that hang."""
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()
