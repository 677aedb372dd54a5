"""Requests that came in the same moment, worked on side by side: each stage for all of them, one right after the other.

Between two requests the loop reads and writes sockets, and between two stages of one request lies all the code of the
others: that drives code and tables out of the processor's caches. So what waits already goes through its stages
together, and takes less time; nobody waits for others to come, and after a few the answers leave before the
next are begun.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, NamedTuple, ParamSpec, TypeVar

from serving.steps import Steps, one_moment
from serving.watch import Watch, watching

P = ParamSpec("P")
Result = TypeVar("Result")

AT_ONCE = 8
"""So many are worked on before their answers leave."""


class _Asked(NamedTuple):
    answer: asyncio.Future[Any]
    context: Context
    steps: Steps[Any]
    watch: Watch

    def goes_on(self) -> bool:
        """Do one more step: whether others are left."""
        self.watch.resume()
        try:
            self.context.run(next, self.steps)
        except StopIteration as end:
            self.answer.set_result(end.value)
        except (KeyboardInterrupt, SystemExit):
            raise  # the process ends
        except BaseException as error:
            self.answer.set_exception(error)  # whatever it is, it is this one's alone
        else:
            return True
        finally:
            self.watch.pause()
        return False


class Together:
    """Does work in steps for one event loop, begun in the order in which it was asked for.

    Args:
        at_once: so many go side by side.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._waiting: deque[_Asked] = deque()

    async def __call__(self, work: Callable[P, Steps[Result]], *args: P.args, **kwargs: P.kwargs) -> Result:
        """What `work` returns or raises; its steps run in the context of who asks, in this thread."""
        loop, steps = asyncio.get_running_loop(), work(*args, **kwargs)
        answer: asyncio.Future[Result] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._run, loop)
        watch = watching()
        self._waiting.append(_Asked(answer, copy_context(), steps, watch))
        watch.pause()
        try:
            return await answer
        finally:
            watch.resume()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        going = [self._waiting.popleft() for _ in range(min(self._at_once, len(self._waiting)))]
        going = [each for each in going if not each.answer.cancelled()]  # whoever asked is gone
        while going:  # nobody else has a turn before all are done: who asks cannot go meanwhile
            with one_moment():
                going = [each for each in going if each.goes_on()]
        if self._waiting:
            loop.call_soon(self._run, loop)
