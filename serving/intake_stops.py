"""Stops over HTTP, from the studio and from the command line: one way in, so that all refuse the same typos."""

from __future__ import annotations

from typing import Any

from features.errors import RequestError
from features.shop import Shop
from serving.bundle import open_live_bundle
from serving.clock import shop_clock
from serving.config import load_config
from serving.engine import Engine
from serving.stops import Stop, add_stop, all_stops, check_target, lift_stop, read_stops
from serving.store import Store
from serving.wire import StopsRequest


def take_stops(engine: Engine, request: StopsRequest, now: int) -> dict[str, Any]:
    """`POST /v1/stops`, from request to answer; in force in this worker when it is answered.

    Raises:
        RequestError: both a stop and a lift, or something that is not there.
        NotFoundError: no stop of that number is in force.
    """
    if request.add is not None and request.lift is not None:
        raise RequestError("stop something or lift a stop, one at a time", where="lift")
    done: Stop | None = None
    if request.add is not None:
        live, add = engine.live, request.add
        check_target(live.config, add.kind, add.name, known_item=live.ranker.shelf.knows(add.name))
        done = add_stop(engine.store, add.kind, add.name, because=add.because, who=request.by, now=now)
    elif request.lift is not None:
        done = lift_stop(engine.store, request.lift, who=request.by, now=now)
    if done is not None:
        engine.refresh_stops()
    listed = [stop.told for stop in engine.live.stops.each]
    return {"stops": listed} if done is None else {"stop": done.told, "stops": listed}


def stop_in(shop: Shop, kind: str, name: str, *, because: str, who: str) -> Stop:
    """Stop something beside a running service, or without one.

    Raises:
        RequestError: it is not there.
    """
    bundle = open_live_bundle(shop.bundles, verify=False)
    store = Store.of(shop)
    try:
        known = bundle is not None and name in bundle.items
        if kind == "item" and not known:
            known = any(item_id == name for item_id, _ in store.item_changes()[0])
        check_target(load_config(shop.config), kind, name, known_item=known)
        return add_stop(store, kind, name, because=because, who=who, now=shop_clock(shop).now())
    finally:
        store.close()


def stops_of(shop: Shop, *, lifted: bool = False) -> list[Stop]:
    """The stops in force, the oldest first; or the latest of all, the newest first."""
    store = Store.of(shop)
    try:
        return all_stops(store) if lifted else list(read_stops(store).each)
    finally:
        store.close()


def lift_in(shop: Shop, number: int, *, who: str) -> Stop:
    """Lift a stop beside a running service, or without one.

    Raises:
        NotFoundError: no stop of that number is in force.
    """
    store = Store.of(shop)
    try:
        return lift_stop(store, number, who=who, now=shop_clock(shop).now())
    finally:
        store.close()
