"""Requests that came in the same moment, worked on one right after the other.

Between two requests the loop reads and writes sockets, and that drives the engine's code and tables out of the
processor's caches. So what waits already is worked on in one go; nobody waits for others to come, and after a few the
answers leave before the next are begun.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, ParamSpec, TypeVar

from serving.watch import lap

P = ParamSpec("P")
Result = TypeVar("Result")

AT_ONCE = 8
"""So many are worked on before their answers leave."""


class Together:
    """Calls functions of one event loop in the order in which they were asked for."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._waiting: deque[tuple[asyncio.Future[Any], Context, Callable[[], Any]]] = deque()

    async def __call__(self, work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """What `work` returns or raises; it runs in the context of who asks, in this thread."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._run, loop)
        self._waiting.append((answer, copy_context(), lambda: _begun(work, *args, **kwargs)))
        try:
            return await answer
        finally:
            lap("wait")  # for those that were worked on in the same go

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(min(self._at_once, len(self._waiting))):
            answer, context, work = self._waiting.popleft()
            if answer.cancelled():  # whoever asked is gone
                continue
            try:
                answer.set_result(context.run(work))
            except Exception as error:
                answer.set_exception(error)
        if self._waiting:
            loop.call_soon(self._run, loop)


def _begun(work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    lap("wait")
    return work(*args, **kwargs)
