"""What a worker is at this moment, read when somebody scrapes it: ages, backlogs, sizes, what is degraded."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from features.errors import KokyakuError
from features.moments import SECOND
from serving.artifact import LIVE
from serving.engine import Engine
from serving.frames import SUFFIX
from serving.store import Store
from serving.store_latest import latest_recorded
from serving.store_upkeep import log_offset
from serving.telemetry import Gauge

UP = "1 while the store answers."
PARTS = ("bundle", "history", "settings", "store")


def gauges_of(engine: Engine, version: str) -> list[Gauge]:
    """All gauges of a worker. What the store would have to say is left out while it does not answer."""
    store = _of_store(engine)
    up = store is not None
    return [
        *_of_parts(engine),
        *_of_refusals(engine, up),
        *_of_files(engine),
        Gauge("store_up", UP, float(up)),
        *(store or ()),
        Gauge("build_info", "The program.", 1.0, {"version": version, "python": platform.python_version()}),
    ]


def _of_parts(engine: Engine) -> Iterator[Gauge]:
    """How old is what serves? `published` is by the machine's clock, the others by the shop's."""
    live, now = engine.live, engine.clock.now()
    about = "Seconds since the moment the bundle was made of, and since it was published."
    yield Gauge("bundle_age_seconds", about, (now - live.bundle.as_of) / SECOND, {"since": "as_of"})
    for name, folder in (("bundle", engine.shop.bundles), ("history", engine.shop.histories)):
        published = _written(folder / LIVE)
        if published is not None:
            said = about if name == "bundle" else "Seconds since the history was published."
            yield Gauge(f"{name}_age_seconds", said, time.time() - published, {"since": "published"})
    yield Gauge(
        "bundle_info", "The bundle that serves.", 1.0,
        {"bundle": live.bundle.id, "recipe": live.bundle.recipe.name, "shop_hash": live.shop_hash[:12]},
    )  # fmt: skip


def _of_refusals(engine: Engine, store_up: bool) -> Iterator[Gauge]:
    refused = {"settings" if what == "shop.toml" else what.split()[0] for what in engine.refusals}
    bad = refused | (set() if store_up else {"store"})
    for part in PARTS:
        about = "1 while something newer of this part is refused, or it does not answer."
        yield Gauge("degraded", about, float(part in bad), {"part": part})
    for part in PARTS[:3]:
        count = engine.refused[part]
        yield Gauge("refused_swaps", "Published parts that were refused.", count, {"part": part}, kind="counter")
    failed = "Appends to the decision log that were not written."
    yield Gauge("decision_log_failures", failed, engine.decisions.failures, kind="counter")


def _of_files(engine: Engine) -> Iterator[Gauge]:
    shop = engine.shop
    size = sum(_size(path) for path in shop.root.glob(f"{shop.store.name}*"))
    if size:
        yield Gauge("store_bytes", "Size of the store's files.", float(size))
    shared = _proportional_bytes()
    if shared is not None:
        about = "Memory of this process, shared pages counted by share (PSS)."
        yield Gauge("memory_proportional_bytes", about, shared)


def _of_store(engine: Engine) -> list[Gauge] | None:
    """None where it does not answer."""
    try:
        return list(_asked(engine, engine.store))
    except (KokyakuError, OSError):
        return None


def _asked(engine: Engine, store: Store) -> Iterable[Gauge]:
    live = engine.live
    lag = store.last_seq() - live.history_seq
    yield Gauge("history_lag_events", "Events in the store that the history does not hold yet.", float(lag))
    newest = latest_recorded(store)
    if newest is not None:
        about = "Seconds since the newest event was received."
        yield Gauge("newest_event_age_seconds", about, (engine.clock.now() - newest) / SECOND)
    waiting = sum(
        max(0, _size(path) - log_offset(store, path.name)) for path in engine.shop.decision_logs.glob(f"*{SUFFIX}")
    )
    about = "Bytes of decisions that are logged and not in the store yet."
    yield Gauge("decision_log_backlog_bytes", about, float(waiting))


def _written(path: Path) -> float | None:
    return _or_none(lambda: path.stat().st_mtime)


def _size(path: Path) -> int:
    return int(_or_none(lambda: path.stat().st_size) or 0)


def _or_none(look: Callable[[], float]) -> float | None:
    try:
        return look()
    except OSError:
        return None


def _proportional_bytes() -> float | None:
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return sum(float(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
