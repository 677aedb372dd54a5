"""Popularity by context, with hierarchical back-off: region -> x season -> x source -> x device -> x part of day.

A cell's shares are a Dirichlet posterior whose prior is the cell one dimension up:

    p(j | cell) = (sales of j in the cell + strength x p(j | the cell above)) / (sales in the cell + strength)

One strength a dimension, chosen on the latest purchases by the likelihood that the earlier ones give them. A dimension
that does not raise it (clearly: by more than twice its standard error) is dropped and costs a request nothing. The
dimensions, their order and how a cell is found are those of every contextual prior (`serving.prior`); what differs is
what a cell holds: here a ranked list over a whole catalogue, counted by fading sales.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from msgspec import Meta

from features.ids import Vocabulary
from features.kinds import EventType
from features.moments import DAY, HOUR, SEASONS, local_columns, local_time
from serving.prior import BANDS, DIMENSIONS, band_of, find, packed
from serving.sources.context import cell_key
from training.interactions import Fitted, Progress, silent
from training.known import Dimension, Known
from training.split import customers

Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]
Positive = Annotated[int, Meta(ge=1)]
STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)
"""Tried for each dimension: sales of the cell above that stand beside a cell's own."""
FLOOR = 0.01
"""Share of the shop's probability that all listed items have alike: what never sold can still be bought."""
LEAST_HELD_OUT = 100
"""Purchases to choose strengths on; with fewer no dimension can be told from chance."""
_PLACES = 5_000_000
"""Places of all lists together, at most."""


class ContextPopularityParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Popularity by context; `time_zone` and `southern` serve the request."""

    half_life_days: Annotated[float, Meta(gt=0)] = 14.0
    """A purchase this old counts half."""
    season_half_life_days: Annotated[float, Meta(gt=0)] = 365.0
    """The same in cells of a season, which last year's tells of too."""
    held_out_days: Annotated[float, Meta(gt=0)] = 28.0
    """Latest days that strengths are chosen on; at most a quarter of the past."""
    least_customers: Positive = 20
    """Cells of fewer customers have no list: what one household buys is nobody else's business."""
    length: Positive = 300
    """Items of each list."""
    time_zone: str = "UTC"
    """Where seasons and days begin and end."""
    southern: tuple[str, ...] = ()
    """Regions south of the equator: January is summer there."""


@dataclass(frozen=True, slots=True)
class Sales:
    """Purchases by known customers of listed items: one a customer, item and context but the hour, the latest.

    Args:
        customer, item: int64[r].
        age: float64[r], days before the moment that shares are made for.
        dimensions: name -> what is known of it, one code a row; widest first.
    """

    customer: Counts
    item: Counts
    age: Doubles
    dimensions: Mapping[str, Dimension]

    def take(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.intp], sooner: float = 0.0) -> Sales:
        """Some of the rows, with ages of so many days before."""
        told = {name: replace(each, code=each.code[which]) for name, each in self.dimensions.items()}
        return Sales(self.customer[which], self.item[which], self.age[which] - sooner, told)


@dataclass(frozen=True, slots=True)
class Level:
    """All cells of one set of dimensions.

    Args:
        names: the dimensions, widest first.
        sizes: how many values each has.
        codes: int64[cells], rising; the values of each cell as one number.
        counts: float64[cells, n_items], faded sales.
        people: int64[cells], distinct customers.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    codes: Counts
    counts: sp.csr_matrix
    people: Counts

    def find(self, packed: Counts) -> Counts:
        """int64[n]: the row of each packed cell, -1 where nothing was sold or something is unknown."""
        return find(self.codes, packed)

    def values(self, code: int) -> tuple[int, ...]:
        """The codes of a cell's values, dimension by dimension."""
        found = []
        for size in reversed(self.sizes):
            code, value = divmod(code, size)
            found.append(value)
        return tuple(reversed(found))


def fit_context_popularity(
    known: Known, params: ContextPopularityParams, *, threads: int = 0, progress: Progress = silent
) -> Fitted:
    """Lists of the most popular items of every context that is large enough.

    Args:
        known: as of the moment of the fit.
        params: half-lives, sizes, zone.
        threads: ignored.
        progress: hears of the dimensions and the lists.

    Returns:
        `items` int32[C + 1, N] best first, ties by row, -1 beyond the end; `scores` float32[C + 1, N], shares;
        `cells.*`, the vocabulary of the C cells (`serving.sources.context.cell_key`); `dimensions` bool[5], which ones
        any cell has. The last row is the whole shop.
        Figures: the strength of each dimension that stays, by name, and `cells`; where no dimension tells more of what
        is bought than the whole shop does there are none.
    """
    sales, n = sales_of(known, params), len(known.listed)
    strengths = choose_strengths(sales, known.listed, params)
    progress(1, 2)
    chosen = [names for size in range(1, len(strengths) + 1) for names in combinations(strengths, size)]
    levels = {names: level_of(sales, names, n, params) for names in chosen}
    shop = shop_shares(sales, known.listed, params)
    cells = _kept(levels, params)
    size = int(min(params.length, known.listed.sum()))
    items = np.full((len(cells) + 1, size), -1, np.int32)
    scores = np.zeros((len(cells) + 1, size), np.float32)
    for row, (level, code) in enumerate(cells):
        _list(items[row], scores[row], shares(level, code, levels, strengths, shop), known.listed)
    _list(items[-1], scores[-1], shop, known.listed)
    keys = [cell_key(_named(sales, level, code)) for level, code in cells]
    progress(2, 2)
    return Fitted(
        {
            "items": items,
            "scores": scores,
            "dimensions": np.array([any(name in level.names for level, _ in cells) for name in DIMENSIONS]),
            **Vocabulary.of(keys).arrays("cells"),
        },
        {**{f"strength of {name}": value for name, value in strengths.items()}, "cells": float(len(cells))},
    )


def sales_of(known: Known, params: ContextPopularityParams) -> Sales:
    """The purchases that count, with their contexts and seasons."""
    events, rows = known.known.events, known.known.subject_rows()
    mask = (events.type == EventType.PURCHASE) & (events.item >= 0) & customers(known.known.subjects)[rows]
    mask &= np.append(known.listed, False)[events.item]  # the row -1 reads the appended False
    at = np.flatnonzero(mask)[::-1]  # latest first within a customer
    told = {name: replace(each, code=each.code[at]) for name, each in known.contexts.items()}
    southern = np.zeros(len(at), bool)
    if "region" in told:
        names = np.array([name in params.southern for name in told["region"].names] + [False])
        southern = names[told["region"].code]
    told["season"] = seasons_of(events.time[at], southern, params.time_zone)
    told["hour"] = bands_of(events.time[at], params.time_zone)
    dimensions = {name: told[name] for name in DIMENSIONS if name in told}
    sales = Sales(
        rows[at].astype(np.int64), events.item[at].astype(np.int64), (known.as_of - events.time[at]) / DAY, dimensions
    )
    # A context that is not told is a value of its own here, so codes from -1 on. The hour is that of the latest.
    number = sales.customer * max(len(known.listed), 1) + sales.item
    for name, each in dimensions.items():
        if name != "hour":
            number = number * (len(each.names) + 1) + each.code + 1
    _, first = np.unique(number, return_index=True)
    return sales.take(first)


def seasons_of(time: Counts, southern: npt.NDArray[np.bool_], zone: str) -> Dimension:
    """The local season of each instant, to the hour."""
    hours, where = np.unique(time // HOUR, return_inverse=True)
    northern = [SEASONS.index(local_time(int(hour) * HOUR, zone).season) for hour in hours.tolist()]
    code = (np.array(northern, np.int32)[where] + 2 * southern) % 4 if len(time) else np.empty(0)
    return Dimension(SEASONS, code.astype(np.int32))


def bands_of(time: Counts, zone: str) -> Dimension:
    """The part of the local day of each instant."""
    code = np.array([[name for name, _, _ in BANDS].index(band_of(hour)) for hour in range(24)], np.int32)
    hours, _, _ = local_columns(time, zone)
    return Dimension(tuple(name for name, _, _ in BANDS), code[hours])


def choose_strengths(sales: Sales, listed: npt.NDArray[np.bool_], params: ContextPopularityParams) -> dict[str, float]:
    """The strength of each dimension that helps, widest first: tried one after the other on the latest purchases.

    With too few purchases none can be told from chance.
    """
    days = min(params.held_out_days, float(sales.age.max(initial=0)) / 4)
    later = sales.age <= days
    held, before = sales.take(later), sales.take(~later, sooner=days)
    if min(len(held.item), len(before.item)) < LEAST_HELD_OUT:
        return {}
    p = shop_shares(before, listed, params)[held.item]
    strengths: dict[str, float] = {}
    for name in sales.dimensions:
        names = (*strengths, name)
        own, total = _seen(level_of(before, names, len(listed), params), held)
        tried = {strength: (own + strength * p) / (total + strength) for strength in STRENGTHS}
        best = max(tried, key=lambda strength: float(np.log(tried[strength]).sum()))
        gain = np.log(tried[best] / p)
        if gain.mean() > 2 * gain.std() / np.sqrt(len(gain)):
            strengths[name], p = best, tried[best]
    return strengths


def level_of(sales: Sales, names: Sequence[str], n: int, params: ContextPopularityParams) -> Level:
    """Sales by cell of some dimensions; rows that do not tell all of them are left out."""
    packed = packed_codes(sales, names)
    told = packed >= 0
    codes, cell = np.unique(packed[told], return_inverse=True)
    half_life = params.season_half_life_days if "season" in names else params.half_life_days
    weight = np.exp2(-sales.age[told] / half_life)
    counts = sp.csr_matrix((weight, (cell, sales.item[told])), shape=(len(codes), n))
    pairs = np.unique(np.stack([cell, sales.customer[told]], axis=1), axis=0)
    sizes = tuple(max(len(sales.dimensions[name].names), 1) for name in names)
    return Level(tuple(names), sizes, codes, counts, np.bincount(pairs[:, 0], minlength=len(codes)))


def packed_codes(sales: Sales, names: Sequence[str]) -> Counts:
    """int64[r]: one number a combination of values, -1 where one is unknown."""
    some = [sales.dimensions[name] for name in names]
    codes = np.array([each.code for each in some], np.int64).reshape(len(some), len(sales.item)).T
    return packed(codes, [len(each.names) for each in some])


def shop_shares(sales: Sales, listed: npt.NDArray[np.bool_], params: ContextPopularityParams) -> Doubles:
    """float64[n_items]: the whole shop's shares; every listed item has some."""
    whole = np.bincount(sales.item, weights=np.exp2(-sales.age / params.half_life_days), minlength=len(listed))
    even = listed / max(int(listed.sum()), 1)
    return (1 - FLOOR) * whole / max(float(whole.sum()), 1e-300) + FLOOR * even


def shares(
    level: Level,
    code: int,
    levels: Mapping[tuple[str, ...], Level],
    strengths: Mapping[str, float],
    shop: Doubles,
) -> Doubles:
    """float64[n_items]: a cell's posterior, from the whole shop down through the cells above it."""
    p = shop
    for depth, name in enumerate(level.names, start=1):
        above = levels[level.names[:depth]]
        row = int(above.find(np.array([code // math.prod(level.sizes[depth:])]))[0])
        own = above.counts[row].toarray().ravel()
        p = (own + strengths[name] * p) / (own.sum() + strengths[name])
    return p


def _seen(level: Level, held: Sales) -> tuple[Doubles, Doubles]:
    """For each held-out purchase, what its cell sold of its item and of everything."""
    row = level.find(packed_codes(held, level.names))
    total = np.append(np.asarray(level.counts.sum(axis=1)).ravel(), 0.0)
    own = np.zeros(len(row))
    there = np.flatnonzero(row >= 0)
    if len(there):
        own[there] = np.asarray(level.counts[row[there], held.item[there]]).ravel()
    return own, total[row]


def _kept(levels: Mapping[tuple[str, ...], Level], params: ContextPopularityParams) -> list[tuple[Level, int]]:
    """The cells of enough customers; where they are too many, those of most customers."""
    large = [
        (int(level.people[row]), level, int(level.codes[row]))
        for level in levels.values()
        for row in np.flatnonzero(level.people >= params.least_customers)
    ]
    large.sort(key=lambda cell: -cell[0])
    return [(level, code) for _, level, code in large[: _PLACES // params.length]]


def _named(sales: Sales, level: Level, code: int) -> dict[str, str]:
    """The cell's values in words."""
    values = zip(level.names, level.values(code), strict=True)
    return {name: sales.dimensions[name].names[value] for name, value in values}


def _list(items: Rows, scores: npt.NDArray[np.float32], p: Doubles, listed: npt.NDArray[np.bool_]) -> None:
    """Fill a list with the most likely listed items, best first, ties by row."""
    rows = np.flatnonzero(listed)
    order = rows[np.lexsort((rows, -p[rows]))][: len(items)]
    items[: len(order)], scores[: len(order)] = order, p[order]
