"""`kokyaku bench policy`: what a learned policy costs a page, beside the rule that takes the first module.

The trees are as large as those of `kokyaku train uplift` (their number, leaves and columns are options) and learned
from noise: what is measured is time, and time does not depend on what they say.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np
import typer

from features.covariates import KNOWN, PAST, VISIT, past_values, visit_values
from features.history import History
from features.kinds import EventType
from features.moments import DAY, MINUTE
from features.shop import Shop
from serving.drawing import Draws
from serving.effects import Column, PolicySheet, Size, SlotPolicy
from serving.filling import first_fillable
from serving.policies import PolicySpec
from serving.query import Context, Query
from serving.settings.pages import Slot
from serving.trees import Forest
from training.bench.accuracy import bars
from training.bench.rows import Row, print_rows, write_rows
from training.commands.common import JsonOption, console
from training.meter import Tell
from training.trees import forest_of
from training.uplift.boosting import Shape, fit_trees
from training.uplift.log import Doubles, Floats

NOW: Final = 20_000 * DAY
_ROWS: Final = 4_000
_DEVICES, _SOURCES = ("desktop", "mobile", "tablet"), ("ads", "direct", "email", "referral", "search", "social")
_REGIONS: Final = tuple(f"region-{number:02}" for number in range(47))
_CHUNK: Final = 20
"""Pages between two looks at the other method, so that both see the same machine."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is measured.

    Args:
        slots, actions: of the page; every action may stand in every slot.
        trees: of an action's effect.
        leaves: of a tree.
        events: that the subject has in history.
        past: whether the policy reads it.
        pages: timed.
    """

    slots: int = 8
    actions: int = 50
    trees: int = 150
    leaves: int = 8
    events: int = 300
    past: bool = True
    pages: int = 300


def command(
    slots: Annotated[int, typer.Option(min=1, max=50, help="Of the page.")] = 8,
    actions: Annotated[int, typer.Option(min=1, max=200, help="That may stand in each slot.")] = 50,
    trees: Annotated[int, typer.Option(min=1, max=2000, help="Of each action's effect.")] = 150,
    leaves: Annotated[int, typer.Option(min=2, max=64, help="Of a tree.")] = 8,
    past: Annotated[bool, typer.Option(help="Whether the policy reads what the subject had done.")] = True,
    pages: Annotated[int, typer.Option(min=20, help="Pages that are timed.")] = 300,
    json: JsonOption = None,
) -> None:
    """Time the decisions of a whole page: one feature block, one look at all trees, a draw a slot.

    The ratio is to the rule that takes the first module of each slot; both are timed in turn. Intervals hold the middle
    half of the pages.

    Examples:

      kokyaku bench policy

      kokyaku bench policy --trees 300 --no-past --json policy.json
    """
    with bars() as tell:
        rows = measure(Load(slots, actions, trees, leaves, past=past, pages=pages), tell)
    print_rows(console, rows)
    if json:
        write_rows(json, rows)


def measure(load: Load, tell: Tell = lambda what, done, total: None) -> list[Row]:
    """Time pages of both methods, and the policy's parts.

    Returns:
        Rows of milliseconds a page (median, and the middle half), the ratio, and the megabytes of the policy's table.
    """
    policy, query = policy_of(load, tell), query_of(load)
    names = policy.sheet.spec.actions
    slots = [Slot(f"s{number}", names, policy=policy.sheet.spec.name) for number in range(load.slots)]
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop("bench", Path(folder) / "shop")
        told = told_of(query)
        timed = {
            "policy": lambda number: page_of(shop, policy, slots, _person(query, number)),
            "first-fillable": lambda number: trivial_page(slots),
            "part:features": lambda number: told_of(query),
            "part:effects": lambda number: policy.score(told),
        }
        taken = _times(timed, load.pages)
    rows = [_row(load, name, "time", 1e3 * each, "ms") for name, each in taken.items()]
    rows.append(_row(load, "policy", "time-ratio", taken["policy"] / taken["first-fillable"], ""))
    return [*rows, Row("policy", _world(load), "serve", "policy", "memory-table", policy.megabytes, unit="MB")]


def page_of(shop: Shop, policy: SlotPolicy, slots: list[Slot], query: Query) -> list[str | None]:
    """What a policy draws for the slots of a page, without replacement."""
    draws = Draws(shop, {policy.sheet.spec.name: policy}, "UTC", query, "page")
    taken: list[str | None] = []
    for slot in slots:
        vetoed = [(name, "already on the page") for name in taken if name is not None]
        taken.append(draws.choose(slot, 0, vetoed).action)
    return taken


def trivial_page(slots: list[Slot]) -> list[str | None]:
    """What the rule without a policy takes."""
    taken: list[str | None] = []
    for slot in slots:
        vetoed = [(name, "already on the page") for name in taken if name is not None]
        taken.append(first_fillable(slot, vetoed, holdout=False).action)
    return taken


def policy_of(load: Load, tell: Tell = lambda what, done, total: None) -> SlotPolicy:
    """A policy with trees of the wanted size, learned from noise."""
    rng = np.random.default_rng(3)
    words = dict(zip(("device", "traffic_source", "region"), (_DEVICES, _SOURCES, _REGIONS), strict=True))
    columns = tuple(Column(name, words.get(name, ())) for name in (KNOWN if load.past else VISIT))
    actions = tuple(f"action-{number:03}" for number in range(load.actions))
    shape = Shape(leaves=load.leaves, leaf_rows=20, trees=load.trees)
    forests: dict[tuple[str, str], Forest] = {}
    for done, action in enumerate(actions, start=1):
        forests["click", action] = forest_of(fit_trees(_noise(rng, columns), rng.normal(size=_ROWS), shape))
        tell("trees", done, len(actions))
    sizes = tuple(Size(float(rng.normal()) / 100, 0.0, 0.5, 0.01) for _ in actions)
    spec = PolicySpec("bench", actions, {"click": 1.0}, floor=0.01)
    return SlotPolicy(PolicySheet(spec, columns, {"click": sizes}), forests)


def query_of(load: Load) -> Query:
    """A customer with a past, on a phone."""
    rng = np.random.default_rng(4)
    count = load.events
    at = np.sort(NOW - (rng.random(count) * 400 * DAY).astype(np.int64) - MINUTE)
    kind = rng.choice([EventType.VIEW, EventType.CART, EventType.PURCHASE], count, p=[0.7, 0.1, 0.2]).astype(np.int8)
    ones = np.ones(count, np.float32)
    keys = np.arange(count, dtype=np.uint64)
    history = History(at, at.copy(), np.zeros(count, np.int32), kind, ones, 10 * ones, keys)
    context = Context(region=_REGIONS[12], device="mobile", traffic_source="search")
    return Query(NOW, history, user_id="ann", context=context)


def told_of(query: Query) -> dict[str, str | float | bool | None]:
    """The whole feature block of a query."""
    told = query.context
    visit = visit_values(
        query.now, "UTC", device=told.device, traffic_source=told.traffic_source, region=told.region, known=True
    )
    return visit | past_values(query.history, query.now)


def _noise(rng: np.random.Generator, columns: tuple[Column, ...]) -> Floats:
    ranges = {"hour": 24, "weekday": 7, "month": 12, "known": 2}
    made = [
        rng.gamma(1.0, 30.0, _ROWS) if column.name in PAST
        else rng.integers(0, len(column.words) or ranges[column.name], _ROWS)
        for column in columns
    ]  # fmt: skip
    return np.column_stack(made).astype(np.float32)


def _person(query: Query, number: int) -> Query:
    return msgspec.structs.replace(query, user_id=f"person-{number}")


def _times(timed: dict[str, Callable[[int], object]], pages: int) -> dict[str, Doubles]:
    """float64[pages] seconds of each, by turns."""
    taken: dict[str, list[float]] = {name: [] for name in timed}
    for start in range(0, pages, _CHUNK):
        for name, work in timed.items():
            for number in range(start, min(start + _CHUNK, pages)):
                began = time.perf_counter()
                work(number)
                taken[name].append(time.perf_counter() - began)
    return {name: np.array(each) for name, each in taken.items()}


def _world(load: Load) -> str:
    return f"{load.slots} slots, {load.actions} actions, {load.trees} trees"


def _row(load: Load, subject: str, metric: str, each: Doubles, unit: str) -> Row:
    low, middle, high = np.quantile(each, [0.25, 0.5, 0.75]).tolist()
    return Row("policy", _world(load), "serve", subject, metric, middle, low, high, unit)
