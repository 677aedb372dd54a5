"""`kokyaku bench swap`: what it costs those who ask when bundles and histories are swapped under their hands."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import orjson
import typer

from features.errors import DataError
from features.files import write_atomically
from features.shop import Shop
from serving.artifact import MANIFEST, live_name, publish_live, read_manifest
from training.bench.aside import aside, link
from training.bench.bodies import LISTS, routes_of
from training.bench.load import LoadResult
from training.bench.rows import Row, print_rows, write_rows
from training.bench.started import Loaded, Started, running
from training.commands.common import DEFAULT_SHOP, JsonOption, RootOption, ShopOption, console, open_shop

_PATIENCE = 30.0
"""Seconds until a published bundle must serve."""
_OTHER = "swapped-to"


def command(
    shop: ShopOption = DEFAULT_SHOP,
    root: RootOption = None,
    rate: Annotated[float, typer.Option(min=1, max=5000, help="Requests a second of the open loop.")] = 300.0,
    seconds: Annotated[float, typer.Option(min=1, max=120, help="Length of each measurement.")] = 10.0,
    every: Annotated[float, typer.Option(min=0.5, max=60, help="Seconds from a swap to the next.")] = 2.0,
    json: JsonOption = None,
) -> None:
    """Swap bundle and history in turn, again and again, while lists of recommendations are asked for.

    Latency counts from the scheduled moment. It is compared with that before and after, when nothing is swapped.

    Examples:

      kokyaku bench swap

      kokyaku bench swap --shop made --rate 300 --seconds 20
    """
    with aside(open_shop(shop, root)) as copy:
        rows = measure(copy, rate=rate, seconds=seconds, every=every)
    print_rows(console, rows)
    if json:
        write_rows(json, rows)
    if failed := next((row.value for row in rows if row.metric == "failed"), 0):
        raise DataError("requests failed while parts were swapped", got=int(failed), hint="see kokyaku serve --dev")


def measure(shop: Shop, *, rate: float, seconds: float, every: float) -> list[Row]:
    """Load a service before, during and after swaps.

    Args:
        shop: a copy that may be written to, with a bundle that serves.
        rate: requests a second.
        seconds: of each of the three loads.
        every: seconds from a swap to the next.

    Returns:
        Rows: p50 and p99 without and with swaps and their ratio, swaps, milliseconds until a swap is seen, failures.

    Raises:
        DataError: a service does not start, or does not take up what was published.
    """
    route, parts = routes_of(shop)[LISTS], _Parts(shop)
    with running(shop) as service, ThreadPoolExecutor(1) as beside:
        service.load(route, max(seconds / 3, 1.0))
        before = service.load(route, seconds, rate=rate).result
        loading = beside.submit(service.load, route, seconds, rate=rate)
        seen = list(_swaps(service, parts, route.bodies[0], loading, every))
        during = loading.result().result
        after = service.load(route, seconds, rate=rate).result
    return _rows(shop, (before, after), during, np.array(seen) * 1000)


class _Parts:
    """Two bundles and two histories of the same content, one of each live."""

    def __init__(self, shop: Shop) -> None:
        self._turns = [_twins(shop.bundles, "bundle_id", shutil.copy2), _twins(shop.histories, "twin_of", link)]
        self._parents = [shop.bundles, shop.histories]

    def swap(self, turn: int) -> str | None:
        """Publish the other one of a pair; the name of the bundle where it was one."""
        which = turn % len(self._turns)
        if not (names := self._turns[which]):
            return None
        names.reverse()
        publish_live(self._parents[which], names[0])
        return None if which else names[0]


def _twins(parent: Path, key: str, copy: Callable[[str, str], object]) -> list[str]:
    """The live artefact and a copy of it under another name; nothing where there is none."""
    name = live_name(parent)
    if name is None:
        return []
    shutil.copytree(parent / name, parent / _OTHER, copy_function=copy)
    manifest = {**read_manifest(parent / name), key: _OTHER}
    write_atomically(parent / _OTHER / MANIFEST, orjson.dumps(manifest))
    return [name, _OTHER]


def _swaps(service: Started, parts: _Parts, body: str, loading: Future[Loaded], every: float) -> Iterator[float]:
    """Swap as long as the load runs; seconds until each new bundle answered."""
    turn = 0
    while not loading.done():
        begun = time.perf_counter()
        name = parts.swap(turn)
        turn += 1
        while name is not None and service.ask("/v1/recommendations", orjson.loads(body))["bundleId"] != name:
            if time.perf_counter() - begun > _PATIENCE:
                raise DataError("a published bundle is not taken up", got=name, hint="run kokyaku serve --dev")
            time.sleep(0.05)
        if name is not None:
            yield time.perf_counter() - begun
        time.sleep(every / 2)


def _rows(shop: Shop, quiet: tuple[LoadResult, ...], during: LoadResult, seen: np.ndarray) -> list[Row]:
    p99 = np.array([each.p99 for each in quiet])
    failed = during.errors + sum(each.errors for each in quiet)
    figures = [
        ("quiet", "p50", np.array([each.p50 for each in quiet]), "ms"), ("quiet", "p99", p99, "ms"),
        ("swapping", "p50", np.array([during.p50]), "ms"), ("swapping", "p99", np.array([during.p99]), "ms"),
        ("swapping", "p99-ratio", during.p99 / p99, ""), ("swapping", "bundles", np.array([float(len(seen))]), ""),
        ("swapping", "until-seen", seen, "ms"), ("swapping", "failed", np.array([float(failed)]), ""),
    ]  # fmt: skip
    return [
        Row("swap", shop.id, "serve", subject, metric, float(np.median(values)), float(values.min()),
            float(values.max()), unit)
        for subject, metric, values, unit in figures
    ]  # fmt: skip
