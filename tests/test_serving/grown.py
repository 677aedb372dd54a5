"""Random trees and small policies, for tests of what serves them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import orjson

from features.moments import DAY, HOUR
from serving.decide import new_id
from serving.decision_drain import drain
from serving.effects import Blocked, Column, PolicySheet, Size, SlotPolicy
from serving.held import Held, Wish, Wishes
from serving.policies import PolicySpec
from serving.trees import Forest

AGREED = '[consent]\nassumed = ["personalization"]\nbasis = "they agreed"\n'
"""The first lines of a `shop.toml` whose customers have all agreed to a personal page."""
START = 20_000 * DAY + 12 * HOUR


def forest(rng: np.random.Generator, *, trees: int, leaves: int, columns: int, values: int = 6) -> Forest:
    """Trees of so many leaves that split anywhere, at .5, 1.5 ...; columns may be asked twice on a path."""
    nodes: list[tuple[int, float, int, int, bool, float]] = []
    deepest = 0

    def grow(count: int, depth: int) -> int:
        nonlocal deepest
        deepest, place = max(deepest, depth), len(nodes)
        nodes.append((0, np.inf, place, place, True, float(rng.normal())))
        if count > 1:
            left = int(rng.integers(1, count))
            asked, edge, nan_left = int(rng.integers(columns)), float(rng.integers(values)) + 0.5, bool(rng.integers(2))
            children = grow(left, depth + 1), grow(count - left, depth + 1)
            nodes[place] = (asked, edge, *children, nan_left, 0.0)
        return place

    roots = [grow(leaves, 0) for _ in range(trees)]
    feature, threshold, left, right, nan_left, value = zip(*nodes, strict=True)
    return Forest(
        np.array(feature, np.int32), np.array(threshold), np.array(left, np.int32), np.array(right, np.int32),
        np.array(nan_left, bool), np.array(value), np.array(roots, np.int32), np.array([deepest], np.int32),
    )  # fmt: skip


def stump(column: int, edge: float, low: float, high: float) -> Forest:
    """One question: `low` at most at the edge, `high` above it and where nothing is known."""
    leaf = np.array([0, 1, 2], np.int32)
    return Forest(
        np.array([column, 0, 0], np.int32), np.array([edge, np.inf, np.inf]), np.array([1, *leaf[1:]], np.int32),
        np.array([2, *leaf[1:]], np.int32), np.array([False, True, True]), np.array([0.0, low, high]),
        np.zeros(1, np.int32), np.ones(1, np.int32),
    )  # fmt: skip


def policy(
    name: str = "hero", averages: Mapping[str, float | None] | None = None, *,
    trees: Mapping[str, Forest] | None = None, blocks: tuple[Blocked, ...] = (), fallback: str | None = None,
    **spec: object,
) -> SlotPolicy:  # fmt: skip
    """A policy of one reward: an action is worth its average, or what its trees say of (device, hour, orders_28d)."""
    averages = {"for-you": 0.1, "popular": 0.2} if averages is None else averages
    trees = trees or {}
    columns = (Column("device", ("desktop", "mobile")), Column("hour"), Column("orders_28d"))
    sizes = tuple(Size(averages[each], 0.0, float(each in trees)) for each in sorted(averages))
    made = PolicySpec(name, tuple(sorted(averages)), {"click": 1.0}, **spec)  # type: ignore[arg-type]
    sheet = PolicySheet(made, columns, {"click": sizes}, blocks, fallback)
    return SlotPolicy(sheet, {("click", action): each for action, each in trees.items()})


def wishes(user: str, action: str, name: str = "") -> Wishes:
    """One draw of a customer that shall hold for a day."""
    held = Held(name or new_id(), action, [(action, 1.0)], 1.0, "p")
    return Wishes(user, None, "r", START, (Wish(("f", 0, 1), START + DAY, held, b"{}"),))


def records(engine) -> list[dict]:
    """All decisions: draws that hold are in the store at once, the others are in the log until it is drained."""
    drain(engine.shop.decision_logs, engine.store)
    return [orjson.loads(row[0]) for row in engine.store.database.query("SELECT payload FROM decisions")]
