"""`serving.together`: side by side, each in its own context, errors are nobody else's, and answers leave in between."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import orjson
import pytest

from serving import pages, ranker
from serving.http import HANDLERS
from serving.steps import Steps, alone, finished, moment
from serving.together import Together
from serving.watch import Watch, lap, unwatch, watch_with
from tests.test_serving.test_pages import tell

asked: ContextVar[int] = ContextVar("asked")


def test_each_runs_in_its_own_context_and_in_order():
    order: list[int] = []

    def work(number: int, *, more: int) -> Steps[int]:
        order.append(number)
        assert asked.get() == number
        yield
        assert asked.get() == number
        return number + more

    async def ask(together: Together, number: int) -> int:
        asked.set(number)
        return await together(work, number, more=100)

    async def several() -> list[int]:
        together = Together(at_once=3)
        return await asyncio.gather(*(ask(together, number) for number in range(10)))

    assert asyncio.run(several()) == list(range(100, 110))
    assert order == list(range(10))


def test_each_stage_of_those_side_by_side_is_one_moment_and_no_other():
    """What was seen of the world in a stage is true for the next request, and never for a later stage or outside."""
    seen: list[list[object | None]] = [[], []]

    def work() -> Steps[None]:
        seen[0].append(moment())
        yield
        seen[1].append(moment())

    async def several() -> None:
        together = Together(at_once=3)
        await asyncio.gather(*(together(work) for _ in range(6)))

    asyncio.run(several())
    for stage in seen:
        assert None not in stage
        assert [stage[at] is stage[0] for at in range(6)] == [True] * 3 + [False] * 3
        assert stage[3] is stage[4] is stage[5]
    assert seen[0][0] is not seen[1][0]
    assert moment() is None
    finished(work())
    assert seen[0][-1] is None


class Odd(BaseException):
    """No `Exception`, as some libraries raise it when they panic."""


@pytest.mark.parametrize("kind", [ValueError, Odd])
def test_an_error_is_of_who_asked(kind: type[BaseException]):
    """Of whatever kind: those beside it get their answers, and so does who asks later."""

    def work(number: int) -> Steps[int]:
        yield
        if number == 1:
            raise kind(number)
        yield
        return number

    async def several() -> list[int | BaseException]:
        together = Together(at_once=2)
        return await asyncio.gather(*(together(work, number) for number in range(4)), return_exceptions=True)

    first, second, third, fourth = asyncio.run(asyncio.wait_for(several(), 10))
    assert (first, third, fourth) == (0, 2, 3) and isinstance(second, kind)


def test_who_is_gone_costs_nothing():
    done: list[int] = []

    def work(number: int) -> Steps[None]:
        yield
        done.append(number)

    async def several() -> None:
        together = Together()
        asking = [asyncio.ensure_future(together(work, number)) for number in range(3)]
        await asyncio.sleep(0)  # all have asked
        asking[1].cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    asyncio.run(several())
    assert done == [0, 2]


def test_waiting_is_no_stage_of_the_work(monkeypatch: pytest.MonkeyPatch):
    """What others take is told as waiting, before the work and after it."""
    now = [0]
    monkeypatch.setattr("serving.watch.perf_counter_ns", lambda: now[0])

    def work() -> Steps[None]:
        for stage in ("gather", "score"):
            now[0] += 10_000_000
            lap(stage)
            yield

    async def ask(together: Together) -> dict[str, float]:
        watch = Watch()
        token = watch_with(watch)
        await together(work)
        now[0] += 1_000_000
        lap("encode")
        unwatch(token)
        return watch.milliseconds()

    async def several() -> list[dict[str, float]]:
        together = Together(at_once=3)
        return await asyncio.gather(*(ask(together) for _ in range(3)))

    assert asyncio.run(several()) == [
        {"wait": 40.0 + done, "gather": 10.0, "score": 10.0, "encode": 1.0}
        for done in range(3)  # two others' work, and answers
    ]


def test_what_is_done_before_a_pause_is_of_the_stage_that_goes_on(monkeypatch: pytest.MonkeyPatch):
    """Who has nobody to wait for waits for nobody, wherever a stage pauses and whatever is left at the end."""
    now = [0]
    monkeypatch.setattr("serving.watch.perf_counter_ns", lambda: now[0])

    def work() -> Steps[None]:
        now[0] += 5_000_000
        yield
        now[0] += 3_000_000
        lap("decide")
        yield
        now[0] += 2_000_000

    async def ask() -> dict[str, float]:
        watch = Watch()
        token = watch_with(watch)
        await Together()(work)
        now[0] += 1_000_000
        lap("encode")
        unwatch(token)
        return watch.milliseconds()

    assert asyncio.run(ask()) == {"wait": 0.0, "decide": 8.0, "encode": 3.0}


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_after_a_few_the_answers_leave(at_once: int):
    """What was answered is seen before more than a few others are begun."""
    events: list[str] = []

    def work(number: int) -> Steps[None]:
        events.append(f"work {number}")
        yield

    async def ask(together: Together, number: int) -> None:
        await together(work, number)
        events.append(f"answer {number}")

    async def several() -> None:
        together = Together(at_once)
        await asyncio.gather(*(ask(together, number) for number in range(6)))

    asyncio.run(several())
    begun = [sum(each.startswith("work") for each in events[: events.index(f"answer {n}")]) for n in range(6)]
    assert begun == [min(6, (n // at_once + 1) * at_once) for n in range(6)]


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_stages_are_done_side_by_side(at_once: int):
    """All that go together are through a stage before one of them begins the next, however many stages each has."""
    done: list[tuple[int, int]] = []

    def work(number: int) -> Steps[int]:
        for stage in range(number + 1):
            done.append((stage, number))
            yield
        return number

    async def several() -> list[int]:
        together = Together(at_once)
        return await asyncio.gather(*(together(work, number) for number in range(6)))

    assert asyncio.run(several()) == list(range(6))
    groups = [range(first, min(first + at_once, 6)) for first in range(0, 6, at_once)]
    assert done == [
        (stage, number) for group in groups for stage in range(max(group) + 1) for number in group if stage <= number
    ]


def test_steps_come_to_the_same_in_one_go():
    def work(number: int) -> Steps[int]:
        yield
        yield
        return number

    async def both() -> tuple[int, int]:
        return await alone(work, 3), await Together()(work, 3)

    assert finished(work(3)) == 3
    assert asyncio.run(both()) == (3, 3)


ASKED: list[tuple[str, dict[str, Any]]] = [
    (path, {**who, **body})
    for who in ({"userId": "ann"}, {"userId": "bob"}, {"userId": "dan"}, {"visitorId": "v-1"}, {})
    for path, body in (
        ("/v1/recommendations", {"numResults": 4}),
        ("/v1/recommendations", {"numResults": 3, "filter": {"exclude": ["purchased"]}}),
        ("/v1/related-items", {"itemIds": ["a1"], "numResults": 3}),
        ("/v1/rankings", {"inputList": ["a0", "b0", "a1"]}),
        ("/v1/pages", {"page": "home"}),
    )
]


async def _answered(engine: Any, path: str, body: dict[str, Any], now: int) -> Any:
    _, answer = await HANDLERS[path][1](engine, orjson.dumps(body), now)
    return _without_ids(answer)


def _without_ids(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {key: _without_ids(each) for key, each in answer.items() if key not in ("requestId", "decisionId")}
    return [_without_ids(each) for each in answer] if isinstance(answer, list) else answer


def test_side_by_side_each_gets_what_it_gets_alone(toy_engine):
    tell(
        toy_engine,
        ("ann", "purchase", "a1"),
        ("ann", "view", "b3"),
        ("bob", "purchase", "b0"),
        ("dan", "wishlist", "a2"),
    )
    now = toy_engine.clock.now()

    async def alone_first() -> tuple[list[Any], list[Any]]:
        one = [await _answered(toy_engine, path, body, now) for path, body in ASKED]
        return one, await asyncio.gather(*(_answered(toy_engine, path, body, now) for path, body in ASKED))

    one, several = asyncio.run(alone_first())
    assert one == several
    assert len({orjson.dumps(each) for each in one}) > len(ASKED) // 2, "nearly all got the same"


@pytest.mark.parametrize(
    ("path", "body", "module", "name"),
    [
        ("/v1/recommendations", {"userId": "ann"}, ranker, "choose"),
        ("/v1/pages", {"userId": "ann", "page": "home"}, pages, "shown"),
    ],
)
def test_a_request_alone_does_not_wait(toy_engine, monkeypatch, path, body, module, name):
    """Its own work is told as a stage, also where that pauses."""
    now, work = [0], getattr(module, name)
    monkeypatch.setattr("serving.watch.perf_counter_ns", lambda: now[0])

    def slow(*given: Any, **more: Any) -> Any:
        now[0] += 50_000_000
        return work(*given, **more)

    async def ask() -> dict[str, float]:
        watch = Watch()
        token = watch_with(watch)
        await _answered(toy_engine, path, body, toy_engine.clock.now())
        unwatch(token)
        return watch.milliseconds()

    monkeypatch.setattr(module, name, slow)
    told = asyncio.run(ask())
    assert told["wait"] == 0 and sum(told.values()) >= 50
    if name == "shown":
        assert told["decide"] == 50
