"""What `kokyaku bench serve` loads, with what, and how it counts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import orjson
import pytest

from features.compiled import KERNELS, available
from features.shop import Shop
from serving.engine import Engine
from serving.http import HANDLERS
from serving.sources import indexing
from training.bench import engine as engine_bench
from training.bench.aside import aside
from training.bench.bodies import EVENTS, FLOOR, LISTS, routes_of
from training.bench.load import MARK, LoadPlan, LoadResult, run_load
from training.bench.made import Size, make
from training.bench.serve import measured_rows
from training.bench.started import Loaded, Route
from training.cli import main

PAGE = "\n[[pages.full.slots]]\n" + "[[pages.full.slots]]\n".join(
    f'name = "slot-{number}"\nmodules = ["popular"]\n' for number in range(8)
)


def test_the_fullest_page_is_loaded_beside_the_home_page(toy_shop) -> None:
    """Its number of slots is in its name, and both are asked for the same people."""
    toy_shop.config.write_text(toy_shop.config.read_text(encoding="utf-8") + PAGE, encoding="utf-8")
    routes = routes_of(toy_shop)
    assert FLOOR not in routes
    home, full = ([orjson.loads(body) for body in routes[name].bodies] for name in ("pages", "pages-8-slots"))
    assert {body["page"] for body in home} == {"home"}
    assert {body["page"] for body in full} == {"full"}
    who = [[body.get("userId") or body["visitorId"] for body in bodies] for bodies in (home, full)]
    assert who[0] == who[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Shop:
    """A shop made for load, as small as it may be."""
    shop = Shop("made", tmp_path_factory.mktemp("made") / "shop")
    make(shop, Size(items=600, customers=300, events=20, factors=8))
    return shop


def answers(shop: Shop, route: Route, count: int) -> list[dict]:
    """What a shop's own handler says to the first bodies of a route."""
    engine = Engine(shop, worker="bench")
    handler = HANDLERS[route.path][1]

    async def ask() -> list[dict]:
        filled = [body.replace(MARK, f"{n:0{len(MARK)}d}").encode() for n, body in enumerate(route.bodies[:count])]
        found = [await handler(engine, body, engine.clock.now()) for body in filled]
        assert {status for status, _ in found} == {200}
        return [answer for _, answer in found]

    try:
        return asyncio.run(ask())
    finally:
        engine.close()


def test_a_made_shop_answers_every_route_with_full_lists(made) -> None:
    """All kinds of sources and the trees have something to say, and pages fill their eight slots."""
    routes = routes_of(made)
    assert {"related-items", "rankings", "actions", "pages-8-slots"} <= set(routes)
    with aside(made) as shop:
        found = {name: answers(shop, route, 40) for name, route in routes.items()}
    assert all(len(each["itemList"]) == 20 for each in found[LISTS])
    assert len({entry["source"] for each in found[LISTS] for entry in each["itemList"]}) >= 4
    assert max(sum(bool(slot["items"]) for slot in each["slots"]) for each in found["pages-8-slots"]) == 8
    assert all(each["accepted"] == 20 for each in found[f"{EVENTS}-20"])


def test_a_bench_leaves_the_shop_as_it_was(made) -> None:
    """Events go to a copy, which is gone afterwards; the mapped files are shared with it."""

    def stamps() -> dict[Path, int]:
        files = (path for path in made.root.parent.rglob("*") if path.is_file())
        return {path: path.stat().st_mtime_ns for path in files if not path.name.endswith("-shm")}  # readers' marks

    before = stamps()
    with aside(made) as shop:
        answers(shop, routes_of(shop)[f"{EVENTS}-20"], 2)
        linked = next(shop.histories.glob("*/events.npy")), next(made.histories.glob("*/events.npy"))
        assert linked[0].samefile(linked[1])
        copied = Engine(shop, worker=None)
        assert copied.store.last_seq() == 40
        copied.close()
    after = stamps()
    assert {path: after.get(path) for path in before} == before
    engine = Engine(made, worker=None)
    assert engine.store.last_seq() == 0
    engine.close()


@pytest.mark.parametrize("verb", ["serve", "memory", "intake", "swap", "year"])
def test_a_shop_whose_store_is_on_a_server_is_refused(made, monkeypatch, capsys, verb) -> None:
    """Figures over an empty file in its place would be of another shop; and nobody is told the password."""
    monkeypatch.setenv("KOKYAKU_STORE", "postgresql://kokyaku:correct-horse@127.0.0.1:1/db")
    with pytest.raises(SystemExit) as ended:
        main(["bench", verb, "--shop", "made", "--root", str(made.root)])
    told = capsys.readouterr().err
    assert ended.value.code == 2 and "KOKYAKU_STORE: this bench writes into a copy" in told
    assert "correct-horse" not in told and told.count("\n") == 1
    assert [path.name for path in made.root.parent.iterdir()] == [made.root.name]


def test_the_service_with_defaults_opens_the_store_that_its_shop_has(made) -> None:
    """As every process of a shop does; what it is compared with would be over another one."""
    told = os.environ | replace(made, store_url="postgresql://127.0.0.1:1/db").environment
    command = "from training.bench.defaults_service import Defaults; Defaults.inner()"
    done = subprocess.run([sys.executable, "-c", command], env=told, capture_output=True, text=True, check=False)
    assert done.returncode and "the store cannot be reached" in done.stderr


class Echo(asyncio.Protocol):
    """A server of this test: answers with what `status_of(number of the request, body)` says, late where told so."""

    def __init__(self, status_of: Callable[[int, bytes], int], stall_at: int, seen: list[bytes]) -> None:
        self.status_of, self.stall_at, self.seen = status_of, stall_at, seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        body = data.partition(b"\r\n\r\n")[2]
        self.seen.append(body)
        status = self.status_of(len(self.seen), body)
        answer = b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}" % status
        late = 0.3 if len(self.seen) == self.stall_at else 0.0
        asyncio.get_running_loop().call_later(late, self.transport.write, answer)


def loaded(plan: LoadPlan, status_of=lambda number, body: 200, stall_at: int = 0) -> tuple[LoadResult, list[bytes]]:
    """A plan, sent to such a server."""

    async def run() -> tuple[LoadResult, list[bytes]]:
        seen: list[bytes] = []
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Echo(status_of, stall_at, seen), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with contextlib.closing(server):
            return await run_load(msgspec.structs.replace(plan, port=port)), seen

    return asyncio.run(run())


def test_latency_counts_from_the_scheduled_moment() -> None:
    """One stall of 0.3 s on the only connection delays the thirty requests behind it: all of them show it."""
    plan = LoadPlan(0, "/x", ["{}"], seconds=1.0, connections=1, rate=100)
    result, _ = loaded(plan, stall_at=20)
    assert result.requests == 100
    assert result.p99 > 250
    assert result.p50 < 200


def test_the_warm_up_is_counted_apart() -> None:
    """A stall within it stands in its own figures only."""
    plan = LoadPlan(0, "/x", ["{}"], seconds=0.6, connections=4, rate=100, warm=0.5)
    result, seen = loaded(plan, stall_at=2)
    assert result.warm_worst > 250
    assert result.p99 < 250
    assert (result.requests, len(seen)) == (60, 110)


def test_no_two_requests_send_the_same_number() -> None:
    plan = LoadPlan(0, "/x", [f'{{"id":"{MARK}"}}', "{}"], seconds=5, connections=3, most=200, first=7)
    _, seen = loaded(plan)
    numbers = [body for body in seen if body != b"{}"]
    assert len(seen) == 200
    assert len(set(numbers)) == len(numbers) == 100
    assert min(numbers) == b'{"id":"00000007"}'


def test_errors_are_counted_by_status_and_not_as_answers() -> None:
    plan = LoadPlan(0, "/x", ["{}"], seconds=5, connections=2, most=90)
    result, _ = loaded(plan, status_of=lambda number, body: 503 if number % 3 == 0 else 200)
    assert (result.requests, result.errors, result.statuses) == (60, 30, {"503": 30})


def test_ratios_stand_within_a_round() -> None:
    """A machine that was half as fast in the second round changes throughput, and no ratio."""

    def rounds(of: float, spent: float) -> list[Loaded]:
        return [Loaded(LoadResult(int(of / k), 0, 1.0, 1, 1), spent * int(of / k) * k / 1e6) for k in (1, 2)]

    measured = {FLOOR: rounds(4000, 100), LISTS: rounds(1000, 500), "pages": rounds(500, 1250)}
    rows = {(row.subject, row.metric): row for row in measured_rows(Shop("toy", None), measured)}
    assert rows[LISTS, "throughput-ratio"].value == pytest.approx(0.25)
    assert (rows[LISTS, "throughput-ratio"].low, rows[LISTS, "throughput-ratio"].high) == (0.25, 0.25)
    assert rows[LISTS, "throughput"].low == 500
    assert rows[LISTS, "processor-ratio"].value == pytest.approx(0.2)
    assert rows["pages", f"cost-of-{LISTS}"].value == pytest.approx(2.5)
    assert Counter(row.metric for row in rows.values())["throughput-ratio"] == 3


def test_the_engine_s_bench_tells_routes_stages_kernels_and_what_an_index_takes(made, monkeypatch) -> None:
    """What a list takes is more than its kernels do, and kernels are as they were when it is over."""
    monkeypatch.setattr(indexing, "LEAST_ITEMS", 100)
    with aside(made) as copy:
        rows = engine_bench.measure(copy, requests=4, rounds=2)
    found = {(row.subject, row.metric): row.value for row in rows}
    assert {name for name, metric in found if metric == "processor"} == {
        "recommendations", "related-items", "rankings", "pages", "pages-8-slots", "actions"
    }  # fmt: skip
    assert all(value > 0 for value in found.values())
    assert {metric for _, metric in found} >= {"stage-hydrate", "stage-gather", "stage-score", "stage-log"}
    assert [name for name, metric in found if metric == "index-to-scan"] == ["ials"]
    if available():
        assert found[LISTS, "kernels"] < found[LISTS, "processor"]
        assert {"kernel-scored", "kernel-unite"} <= {metric for _, metric in found}
        assert [each.__call__ for each in KERNELS] == [each.warm() for each in KERNELS]
