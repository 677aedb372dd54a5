"""What the shop sells: items with hidden style and quality, prices that change, stock that runs out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.moments import DAY
from training.simulation.locale import Locale
from training.simulation.rows import Array, Rows, generator, pair_noise
from training.simulation.world import CATEGORIES, STYLES, Calendar

NEVER: Final = np.int64(2**62)
VARIANT_SHARE: Final = 0.25
NEW_SHARE: Final = 0.18
"""Items that come into the shop during the period."""
DISCONTINUED_SHARE: Final = 0.04
PRICE_CHANGE_SHARE: Final = 0.25
STOCK_OUTS_PER_YEAR: Final = 0.5
COST_SHARE: Final = 0.58
SALE_SHARE: Final = 0.3


@dataclass
class Items(Rows):
    """One row an item. Times are instants."""

    category: Array
    style: Array
    appeal: Array
    """Weight with which people come across it within its category and style."""
    product: Array
    price: Array
    later_price: Array
    price_changes: Array
    cost: Array
    """NaN where the shop does not know it."""
    launched: Array
    until: Array
    out_from: Array
    """int64[items, 2]: stock runs out ..."""
    out_to: Array
    """... and is back."""
    brand: Array
    colour: Array
    material: Array
    word: Array
    """Row of the word in its title: style * 3 + variant."""
    luxury: Array
    """log price in standard deviations of its category."""

    def price_at(self, item: Array, at: Array) -> Array:
        """The list price of items at instants."""
        return np.where(at >= self.price_changes[item], self.later_price[item], self.price[item])

    def on_sale(self, item: Array, sale: Array) -> Array:
        """The discount, a share of the price, in a sale week (-1: none is on)."""
        lot = pair_noise(item, sale + 1)
        return np.where((sale >= 0) & (lot < SALE_SHARE), np.round(0.10 + 0.20 * lot / SALE_SHARE, 2), 0.0)

    def sellable(self, item: Array, at: Array) -> Array:
        """Whether items are in the shop and in stock at instants."""
        inside = (at >= self.launched[item]) & (at < self.until[item])
        out = (at[:, None] >= self.out_from[item]) & (at[:, None] < self.out_to[item])
        return inside & ~out.any(axis=1)


class Catalogue:
    """Items and what is needed to draw them: cells of category x style with cumulative weights."""

    def __init__(self, items: Items) -> None:
        self.items = items
        cell = items.category.astype(np.int64) * STYLES + items.style
        self.order = np.lexsort((-items.appeal, cell))
        self.cumulative = np.cumsum(items.appeal[self.order])
        counts = np.bincount(cell, minlength=len(CATEGORIES) * STYLES)
        last = np.cumsum(counts)
        self.first, self.last = last - counts, last
        self.substitute = _nearest_filled(counts)

    def draw(self, rng: np.random.Generator, category: Array, style: Array) -> Array:
        """An item for each category and style, in proportion to appeal; an empty cell gives a neighbour's."""
        cell = self.substitute[category.astype(np.int64) * STYLES + style]
        low = np.where(self.first[cell] > 0, self.cumulative[self.first[cell] - 1], 0.0)
        high = self.cumulative[self.last[cell] - 1]
        place = np.searchsorted(self.cumulative, low + rng.random(len(cell)) * (high - low), side="right")
        item: Array = self.order[np.clip(place, self.first[cell], self.last[cell] - 1)]
        return item

    def staple(self, category: Array, style: Array) -> Array:
        """The strongest item of each cell, which is always in the shop and in stock."""
        item: Array = self.order[self.first[self.substitute[category.astype(np.int64) * STYLES + style]]]
        return item


def _nearest_filled(counts: Array) -> Array:
    """For each cell itself, or the fullest cell of its category where it is empty."""
    by_category = counts.reshape(-1, STYLES)
    fullest = np.repeat(by_category.argmax(axis=1) + np.arange(len(by_category)) * STYLES, STYLES)
    return np.where(counts > 0, np.arange(len(counts)), fullest)


def make_catalogue(seed: int, count: int, calendar: Calendar, locale: Locale) -> Catalogue:
    """All items of the shop; categories get items in proportion to the root of how much people look at them."""
    rng = generator(seed, 0, 0)
    product = np.cumsum(rng.random(count) >= VARIANT_SHARE, dtype=np.int64)
    product = product - product[0]
    products = int(product[-1]) + 1
    assert products >= len(CATEGORIES), "a shop too small for its categories"
    weights = np.sqrt([category.weight * (2.0 if category.kind == 2 else 1.0) for category in CATEGORIES])
    category = np.concatenate(
        [
            np.arange(len(CATEGORIES)),
            rng.choice(len(CATEGORIES), max(products - len(CATEGORIES), 0), p=weights / weights.sum()),
        ]
    )[:products]
    style = rng.integers(0, STYLES, products)
    luxury = rng.standard_normal(products)
    of = _Products(category[product], style[product], luxury[product], product)
    return Catalogue(_items(rng, of, calendar, locale))


@dataclass(frozen=True)
class _Products:
    """The product of each item: its variants share all this."""

    category: Array
    style: Array
    luxury: Array
    product: Array


def _items(rng: np.random.Generator, of: _Products, calendar: Calendar, locale: Locale) -> Items:
    n = len(of.category)
    median = np.array([category.price for category in CATEGORIES])[of.category]
    sigma = np.array([category.spread for category in CATEGORIES])[of.category]
    dollars = median * np.exp(sigma * of.luxury)
    price = locale.money(dollars)
    moved = rng.random(n) < PRICE_CHANGE_SHARE
    later = np.where(moved, locale.money(dollars * rng.choice([0.85, 0.9, 1.05, 1.1], n)), price)
    cost = locale.amount(price * COST_SHARE * rng.uniform(0.8, 1.15, n))
    cost[rng.random(n) < 0.03] = np.nan
    appeal = np.exp(1.1 * rng.standard_normal(n))
    shows = rng.random(n) < 0.6  # only then do words, brand and material tell the style
    look = np.where(shows, of.style, rng.integers(0, STYLES, n))
    items = Items(
        category=of.category.astype(np.int16),
        style=of.style.astype(np.int8),
        appeal=appeal,
        product=of.product,
        price=price,
        later_price=later,
        price_changes=np.where(moved & (later != price), _days(rng, n, calendar), NEVER),
        cost=cost,
        launched=np.where(rng.random(n) < NEW_SHARE, _days(rng, n, calendar), calendar.start),
        until=np.full(n, NEVER),
        out_from=np.full((n, 2), NEVER),
        out_to=np.full((n, 2), NEVER),
        brand=(look * 2 + rng.integers(0, 2, n)).astype(np.int8),
        colour=rng.integers(0, len(locale.colours), n).astype(np.int8),
        material=look.astype(np.int8),
        word=(look * 3 + rng.integers(0, 3, n)).astype(np.int8),
        luxury=of.luxury,
    )
    _limit_supply(rng, items, calendar)
    return items


def _days(rng: np.random.Generator, n: int, calendar: Calendar) -> Array:
    """Instants at 06:00 of random days, well inside the period."""
    return calendar.start + rng.integers(5, max(calendar.days - 10, 6), n) * DAY + DAY // 4


def _limit_supply(rng: np.random.Generator, items: Items, calendar: Calendar) -> None:
    """Discontinue some items and let others run out, but never the strongest of a category and style."""
    n = len(items)
    gone = rng.random(n) < DISCONTINUED_SHARE
    items.until[:] = np.where(gone, np.maximum(_days(rng, n, calendar), items.launched + 30 * DAY), NEVER)
    for window in range(2):
        hit = rng.random(n) < 1 - np.exp(-STOCK_OUTS_PER_YEAR / 2 * calendar.days / 365)
        begin = _days(rng, n, calendar) + window * DAY
        items.out_from[:, window] = np.where(hit, begin, NEVER)
        items.out_to[:, window] = np.where(hit, begin + rng.integers(3, 25, n) * DAY, NEVER)
    catalogue = Catalogue(items)
    filled = np.unique(catalogue.substitute)
    staples = catalogue.order[catalogue.first[filled]]
    items.launched[staples] = calendar.start
    items.until[staples] = NEVER
    items.out_from[staples] = NEVER
    items.out_to[staples] = NEVER
