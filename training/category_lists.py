"""Where the bought item stood in its category's list: ordered for the customer, and in the shop's own order.

For purchases of the judged window the listed items of the item's category are ordered for the customer by the very
`Ranker.rank_given` that serves, as of the window's start. The category is the narrowest step of the item's path that
holds at least `LEAST_ITEMS` listed items: narrower ones need no order.

No shop's own order is recorded in the data, so what shops show by default stands for it: by sales of the last 28 days,
and newest first (by the item's first event). Where items carry a numeric attribute `position`, that is the catalogue's
own order and stands beside them. Items that an order cannot tell apart share the mean of their places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.dataset import Dataset, versions_as_of
from features.history import Histories, History
from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY
from serving.bundle import Bundle
from serving.ranker import Ranker
from serving.recipe import Recipe, as_json
from training import intervals
from training.contest import Arena, question, remembering
from training.intervals import Interval
from training.parallel import in_parts
from training.split import customers

LEAST_ITEMS = 10
"""Listed items that a category must hold to be a list."""
PURCHASES = 2_000
"""Purchases that are looked at, at most; always the same ones."""
SALES_DAYS = 28
OURS, BEST_SELLING, NEWEST, CATALOGUE = "personalised", "sales of 28 days", "newest first", "catalogue"
SLICES = ("all purchases", "never bought before")
METRICS = ("place", "reciprocal-rank", "percentile", "first-10")
"""Rank from 1 (lower is better); 1 / rank; 1 at the top and 0 at the end; share within the first ten."""
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Places:
    """Purchases and where the bought item stood.

    Args:
        ranks: order -> float64[n], from 1; NaN where the order does not hold the item.
        sizes: int64[n], items of the list.
        customer: int32[n].
        repeat: bool[n], whether the customer had bought the item before.
        depth: int64[n], steps of the category path that name the list.
        unlisted: purchases of the window whose item is in no list, beside those that could be looked at.
    """

    ranks: Mapping[str, Floats]
    sizes: npt.NDArray[np.int64]
    customer: Rows
    repeat: npt.NDArray[np.bool_]
    depth: npt.NDArray[np.int64]
    unlisted: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One order on one slice of the purchases.

    Args:
        slice: of `SLICES`.
        order: its name.
        metric: of `METRICS`.
        value: mean over purchases, with its interval over customers.
        gain: the personalised order minus this one, paired by purchase; for a place less is better.
    """

    slice: str
    order: str
    metric: str
    value: Interval
    gain: Interval


def category_lists(bundle: Bundle, least: int = LEAST_ITEMS) -> tuple[npt.NDArray[np.int64], list[tuple[int, Rows]]]:
    """The lists of a catalogue.

    Returns:
        int64[n_items], the list of each item, -1 without one; and of each list the steps of the path that name it and
        the listed items in it, ascending.
    """
    paths = [tuple(path.split(" > ")) if path else () for path in bundle.categories]
    inside: dict[tuple[str, ...], list[int]] = {}
    code = bundle.shared.category
    listed = np.flatnonzero(bundle.catalogue & (code >= 0))
    for item in listed.tolist():
        path = paths[code[item]]
        for depth in range(1, len(path) + 1):
            inside.setdefault(path[:depth], []).append(item)
    where = np.full(len(code), -1, np.int64)
    numbers: dict[tuple[str, ...], int] = {}
    for item in listed.tolist():
        path = paths[code[item]]
        for depth in range(len(path), 0, -1):
            if len(inside[path[:depth]]) >= least:
                where[item] = numbers.setdefault(path[:depth], len(numbers))
                break
    return where, [(len(path), np.array(inside[path], np.int32)) for path in numbers]


def shop_orders(known: Histories, as_of: int, position: Floats | None = None) -> dict[str, Floats]:
    """What stands for the shop's own order: order -> float64[n_items], higher is nearer the top.

    Args:
        known: events as of the moment.
        as_of: the moment.
        position: the catalogue's own order where there is one, lower first; NaN where an item has no place in it.
    """
    n, events = len(known.items), known.events
    there = events.item >= 0
    bought = there & (events.type == EventType.PURCHASE) & customers(known.subjects)[known.subject_rows()]
    lately = bought & (events.time >= as_of - SALES_DAYS * DAY)
    first = np.full(n, np.iinfo(np.int64).min)
    if there.any():
        earliest = np.full(n, np.iinfo(np.int64).max)
        np.minimum.at(earliest, events.item[there], events.time[there])
        first = np.where(earliest < np.iinfo(np.int64).max, earliest, first)
    orders = {
        BEST_SELLING: np.bincount(events.item[lately], minlength=n).astype(np.float64),
        NEWEST: first.astype(np.float64),
    }
    if position is not None and np.isfinite(position).any():
        orders[CATALOGUE] = np.where(np.isfinite(position), -position, -np.inf)
    return orders


def positions(dataset: Dataset, items: Vocabulary, as_of: int) -> Floats:
    """float64[n_items]: the attribute `position` of each item as of a moment; NaN where it has none."""
    found = np.full(len(items), np.nan)
    path = "'$.position'"
    with dataset.connect() as duck:
        rows = duck.sql(
            f"SELECT {c.ITEM_ID}, TRY_CAST(json_extract_string({c.ATTRIBUTES}, {path}) AS DOUBLE) AS place"
            f" FROM ({versions_as_of('items', as_of)}) WHERE json_valid({c.ATTRIBUTES})"
        ).to_arrow_table()
    at = items.rows_of(rows[c.ITEM_ID].to_pylist())
    places = rows["place"].to_numpy().astype(np.float64)
    found[at[at >= 0]] = places[at >= 0]
    return found


def place_in(scores: Floats, place: int) -> float:
    """The rank of one of the items by descending score, from 1; equal scores share the mean of their places.

    >>> place_in(np.array([3.0, 1.0, 1.0, 0.0]), 1)
    2.5
    """
    above, level = int((scores > scores[place]).sum()), int((scores == scores[place]).sum())
    return above + (level + 1) / 2


def measured(
    arena: Arena, recipe: Recipe, position: Floats | None = None, *, at_most: int = PURCHASES, seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Places:  # fmt: skip
    """Where the items bought in the window stood.

    Args:
        arena: fitted up to the window's start.
        recipe: whose order is the personalised one.
        position: the catalogue's own order, as for `shop_orders`.
        at_most: purchases that are looked at.
        seed: of their choice.
        progress: told how many purchases were done.
    """
    bundle = Bundle({**arena.bundle.manifest, "recipe": as_json(recipe)}, arena.bundle.arrays)
    where, lists = category_lists(bundle)
    truth, known = arena.truth, arena.histories.as_of(arena.window.start)
    usable = np.flatnonzero(where[truth.items] >= 0)
    asked = usable[np.sort(np.random.default_rng(seed).permutation(len(usable))[:at_most])]
    items, owner = truth.items[asked], np.repeat(truth.subjects, truth.counts)[asked]
    chosen = [lists[number] for number in where[items]]
    orders = shop_orders(known, arena.window.start, position)
    ranks = {
        name: np.array([
            place_in(score[rows], int(np.searchsorted(rows, item)))
            for item, (_, rows) in zip(items.tolist(), chosen, strict=True)
        ])
        for name, score in orders.items()
    }  # fmt: skip
    ranks = {OURS: _personal(arena, bundle, items, owner, [rows for _, rows in chosen], progress), **ranks}
    return Places(
        ranks, np.array([len(rows) for _, rows in chosen], np.int64), owner, truth.repeat[asked],
        np.array([depth for depth, _ in chosen], np.int64), len(truth.items) - len(usable),
    )  # fmt: skip


def _personal(
    arena: Arena, bundle: Bundle, items: Rows, owner: Rows, lists: list[Rows], progress: Callable[[int], None]
) -> Floats:
    """float64[n]: the rank of each item in its list as the service orders it for its buyer."""
    known, ranker = arena.histories.as_of(arena.window.start), remembering(Ranker(bundle))

    def ranked(places: range) -> Floats:
        ranks, history, last = np.full(len(places), np.nan), History.empty(), -1
        for at, place in enumerate(places):
            row, rows = int(owner[place]), lists[place]
            if row != last:  # a customer's purchases are side by side: the sources hear of one history once
                history, last = known.at(row), row
            found = np.flatnonzero(
                ranker.rank_given(question(arena, row, history, "all", len(rows)), rows).items == items[place]
            )
            ranks[at] = found[0] + 1 if len(found) else np.nan
        return ranks

    return np.concatenate([np.empty(0), *in_parts(ranked, len(items), progress)])


def scores_of(ranks: Floats, sizes: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """`METRICS` of each purchase; NaN where the rank is, and the percentile of the only item of a list is 1."""
    length = np.maximum(sizes - 1, 1)
    return {
        "place": ranks,
        "reciprocal-rank": 1 / ranks,
        "percentile": 1 - (ranks - 1) / length,
        "first-10": np.where(np.isnan(ranks), np.nan, (ranks <= 10).astype(np.float64)),
    }


def standings(places: Places, *, resamples: int = 500, confidence: float = 0.95) -> list[Standing]:
    """Every order on every slice by every metric, with the personalised order's gain over it."""
    found = []
    for name, mask in zip(SLICES, (np.ones(len(places.repeat), bool), ~places.repeat), strict=True):
        who, sizes = places.customer[mask], places.sizes[mask]
        scores = {order: scores_of(ranks[mask], sizes) for order, ranks in places.ranks.items()}
        for order, metrics in scores.items():
            for metric, values in metrics.items():
                value = intervals.mean_interval(values, clusters=who, resamples=resamples, confidence=confidence)
                gain = intervals.compare(
                    scores[OURS][metric], values, clusters=who, resamples=resamples, confidence=confidence
                )
                found.append(Standing(name, order, metric, value, gain))
    return found


def told(places: Places, found: list[Standing]) -> list[str]:
    """What a merchant should know, as sentences."""
    seen = len(places.sizes)
    if not seen:
        return [
            f"Lists of a category are not measured: nothing was bought of a category of {LEAST_ITEMS} listed items"
            f" or more ({places.unlisted:,} purchases are of items without one)."
        ]
    said = []
    for name in SLICES:
        by = {(each.order, each.metric): each for each in found if each.slice == name}
        mine = by[OURS, "place"].value
        if not mine.n:
            said.append(f"In lists of a category nothing of {name} could be looked at.")
            continue
        size = float(places.sizes.mean() if name == SLICES[0] else places.sizes[~places.repeat].mean())
        said.append(
            f"In lists of a category ordered for the customer the bought item stood at place {mine.value:.0f} of"
            f" {size:.0f} on average and {by[OURS, 'first-10'].value.value:.0%} of them within the first 10 ({name});"
            f" instead: {'; '.join(_other(by, order) for order in places.ranks if order != OURS)}."
        )
    return [*said, _told_of_orders(places)]


def _other(by: Mapping[tuple[str, str], Standing], order: str) -> str:
    place = by[order, "place"]
    return (
        f"place {place.value.value:.0f} and {by[order, 'first-10'].value.value:.0%} by {order}"
        f" (places gained {-place.gain.value:.1f}{_between(place.gain)})"
    )


def _told_of_orders(places: Places) -> str:
    own = "" if CATALOGUE in places.ranks else "; the data hold no order of the catalogue (attribute position)"
    return (
        f"The category is the narrowest that holds {LEAST_ITEMS} listed items; {len(places.sizes):,} purchases were"
        f" looked at, {places.unlisted:,} are in no such category. The shop's own order is not recorded, so its usual"
        f" orders stand for it{own}."
    )


def _between(gain: Interval) -> str:
    """The interval of places gained: a lower place is a gain."""
    return "" if np.isnan(gain.low) else f" [{-gain.high:.1f}, {-gain.low:.1f}]"
