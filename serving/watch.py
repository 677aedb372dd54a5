"""What one request took and did, noted from wherever it happens: time by stage, counts by reason.

A request is answered many calls deep, so its watch is found by the context of the running task and not handed through
every signature. Outside a request (training, commands, previews) nobody watches, and noting does nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, MutableMapping
from contextvars import ContextVar, Token
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from serving.decide import Decision

REQUEST_ID = "kokyaku.request_id"
"""Where the id of a request stands, in its scope."""
STAGES = ("read", "wait", "hydrate", "gather", "filter", "score", "fillable", "decide", "fill", "log", "encode")
"""Of a request, in the order of its flow; a page goes through some of them once for each of its modules."""


class Watch:
    """The notes of one request; they live as long as it does and name nobody.

    Args:
        scope: of the request, as the server gives it; whoever names the request does so there.
    """

    __slots__ = ("_mark", "_paused", "code", "counts", "fallbacks", "scope", "stages", "started", "why")

    def __init__(self, scope: MutableMapping[str, Any] | None = None) -> None:
        self.scope = scope
        self.started = self._mark = self._paused = perf_counter_ns()
        self.stages: dict[str, int] = {}
        """Nanoseconds by stage."""
        self.counts: dict[tuple[str, ...], int] = {}
        """How often something happened, by the name of its counter and its labels."""
        self.fallbacks: list[str] = []
        """Why something else was shown than what was wanted, in the words of the answer."""
        self.code: str | None = None
        """Of the error that was answered."""
        self.why: str | None = None
        """What the log is told of it beside the code."""

    def lap(self, stage: str) -> None:
        """The time since the last lap belongs to a stage."""
        now = perf_counter_ns()
        self.stages[stage] = self.stages.get(stage, 0) + now - self._mark
        self._mark = now

    def pause(self) -> None:
        """From here on others have their turn."""
        self._paused = perf_counter_ns()

    def resume(self) -> None:
        """The time since the pause is `wait`; what was done before it belongs to the stage of the next lap still."""
        gone = perf_counter_ns() - self._paused
        self.stages["wait"] = self.stages.get("wait", 0) + gone
        self._mark += gone

    def count(self, *what: str, by: int = 1) -> None:
        """Something happened: the name of its counter (`serving.telemetry`), then its labels."""
        self.counts[what] = self.counts.get(what, 0) + by

    def removed(self, removed: Iterable[tuple[str, Any]]) -> None:
        """Filters took candidates away: (reason, their rows)."""
        for reason, rows in removed:
            self.count("removed", reason, by=len(rows))

    def decided(self, decisions: Collection[Decision], *, unlogged: int = 0, trouble: str | None = None) -> None:
        """Decisions leave with the answer.

        Args:
            decisions: all of them.
            unlogged: how many of them could not be logged.
            trouble: why not all could be read that the answer is made of.
        """
        if unlogged:
            self.count("unlogged", by=unlogged)
        for each in decisions:
            self.count("decisions", each.policy, how_decided(each))
            if each.fallback is not None:
                self.fell_back(each.fallback)
        if trouble is not None and not any(each.fallback == trouble for each in decisions):
            self.fell_back(trouble)

    def fell_back(self, reason: str) -> None:
        """Something else is shown than what was wanted, for this reason."""
        self.fallbacks.append(reason)

    def failed(self, code: str, why: str | None = None) -> None:
        """The answer is an error of this code; the client is not told why where it is on our side."""
        self.code, self.why = code, why

    def request_id(self) -> str | None:
        """The id of the request, given to it here where nobody did before."""
        return None if self.scope is None else request_id_of(self.scope)

    def milliseconds(self) -> dict[str, float]:
        """Time by stage so far, in the order of the flow."""
        return {stage: round(self.stages[stage] / 1e6, 3) for stage in STAGES if stage in self.stages}


class _Idle(Watch):
    """Nobody watches: one for all, so it keeps nothing."""

    __slots__ = ()

    def fell_back(self, reason: str) -> None:
        """Nothing."""

    def failed(self, code: str, why: str | None = None) -> None:
        """Nothing."""

    def lap(self, stage: str) -> None:
        """Nothing."""

    def pause(self) -> None:
        """Nothing."""

    def resume(self) -> None:
        """Nothing."""

    def count(self, *what: str, by: int = 1) -> None:
        """Nothing."""

    def removed(self, removed: Iterable[tuple[str, Any]]) -> None:
        """Nothing."""

    def decided(self, decisions: Collection[Decision], *, unlogged: int = 0, trouble: str | None = None) -> None:
        """Nothing."""


_IDLE = _Idle()
_running: ContextVar[Watch] = ContextVar("watch", default=_IDLE)


def watching() -> Watch:
    """The watch of the request that is being answered; one that notes nothing where there is none."""
    return _running.get()


def lap(stage: str) -> None:
    """The time since the last lap belongs to a stage of the request that is being answered."""
    _running.get().lap(stage)


def watch_with(watch: Watch) -> Token[Watch]:
    """From here on, this task and the threads that it asks note on this watch."""
    return _running.set(watch)


def unwatch(token: Token[Watch]) -> None:
    """The request has been answered."""
    _running.reset(token)


def request_id_in(scope: Mapping[str, Any] | None) -> str | None:
    """The id under which a client knows its request; None while it has none."""
    return None if scope is None else scope.get(REQUEST_ID)


def request_id_of(scope: MutableMapping[str, Any]) -> str:
    """The id under which a client knows its request; from here on it has one."""
    found: str = scope.get(REQUEST_ID) or scope.setdefault(REQUEST_ID, uuid4().hex)
    return found


def how_decided(decision: Decision) -> str:
    """`drawn` by a policy with other outcomes possible, `reused` from an earlier draw, `holdout`, else `fixed`."""
    if decision.holdout:
        return "holdout"
    if decision.reused_from is not None:
        return "reused"
    return "drawn" if decision.drawn and decision.action_propensity < 1.0 else "fixed"
