"""How people choose: they come across items by style and appeal, and prefer what happens to please them.

Outside our feature space on purpose: styles are hidden, preferences of a person for an item are a fixed lottery,
cheapness matters more to the thrifty, what is out of stock is passed over, presents are chosen by another's taste.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from training.simulation.catalogue import Items
from training.simulation.people import People, World, pick_style
from training.simulation.rows import Array, pair_noise

CHARM: Final = 2.0
"""Weight of the fixed lottery between a person and an item."""
THRIFT: Final = 0.9
"""Loss of liking for each standard deviation of log price, for the thriftiest."""
OUT_OF_REACH: Final = 50.0


def liking(items: Items, people: People, person: Array, item: Array, at: Array) -> Array:
    """How much each person likes that item at that moment; without what cannot be bought then."""
    charm = pair_noise(people.number[person], item)
    price = THRIFT * (people.thrift[person] - 0.3) * items.luxury[item]
    return CHARM * charm - price - OUT_OF_REACH * ~items.sellable(item, at)


def come_across(
    world: World, rng: np.random.Generator, people: People, person: Array, taste_of: Array, category: Array, at: Array
) -> Array:
    """An item of the category for each row: of two that are met, the one that is liked better.

    Args:
        world: what all blocks share.
        rng: the block's generator.
        people: of the block.
        person: who looks.
        taste_of: by whose taste for styles (another person's, for presents).
        category: int[n].
        at: int64[n], instants.
    """
    items = world.catalogue.items
    style = pick_style(rng, people, taste_of)
    first = world.catalogue.draw(rng, category, style)
    second = world.catalogue.draw(rng, category, style)
    better = liking(items, people, person, second, at) > liking(items, people, person, first, at)
    chosen = np.where(better, second, first)
    unseen = items.launched[chosen] > at
    return np.where(unseen, world.catalogue.staple(category, style), chosen)


def best_per_group(group: Array, score: Array, groups: int) -> Array:
    """int64[groups]: the row with the highest score of each group, -1 for a group without rows.

    >>> best_per_group(np.array([0, 0, 2]), np.array([1.0, 3.0, 2.0]), 3).tolist()
    [1, -1, 2]
    """
    order = np.lexsort((score, group))
    best = np.full(groups, -1, np.int64)
    best[group[order]] = order  # the last one written, the highest, stays
    return best
