"""What was known at a moment beyond the histories: listed prices of the past, and where events came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from features import columns as c
from features.dataset import Dataset, events_as_of
from features.history import Histories
from features.ids import Array, Vocabulary
from features.moments import format_instant

Rows = npt.NDArray[np.int32]
Instants = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Prices:
    """Listed prices of items over time.

    Args:
        offsets: int64[n_items + 1]; item i has since[offsets[i]:offsets[i + 1]].
        since: int64[p], the instant from which a price holds, rising within an item.
        price: float32[p].
    """

    offsets: Instants
    since: Instants
    price: npt.NDArray[np.float32]

    @classmethod
    def of(cls, item: Rows, since: Instants, price: npt.NDArray[np.float32], n: int) -> Prices:
        """From rows in any order; those of unknown items (-1) are left out."""
        kept = np.flatnonzero(item >= 0)
        order = kept[np.lexsort((since[kept], item[kept]))]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(item[order], minlength=n))])
        return cls(offsets.astype(np.int64), since[order], price[order])


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing that is known of where an event came from.

    Args:
        names: of its values, sorted.
        code: int32[events of the histories], the value of each event; -1 unknown.
    """

    names: tuple[str, ...]
    code: Rows

    def or_else(self, other: Dimension) -> Dimension:
        """This where it is known, else the other's."""
        names = tuple(sorted({*self.names, *other.names}))
        mine, theirs = (
            np.append(np.searchsorted(names, each.names), -1).astype(np.int32)[each.code] for each in (self, other)
        )
        return Dimension(names, np.where(mine >= 0, mine, theirs))


class Known(Protocol):
    """What was known at a moment, for fits that read more than one matrix; `training.fitting.Cut` is one."""

    as_of: int
    """The moment, microseconds."""
    known: Histories
    """Of all subjects, as of it."""
    regions: Mapping[int, str]
    """Subject row -> region, where known."""

    @property
    def listed(self) -> npt.NDArray[np.bool_]:
        """bool[n_items]: the catalogue."""
        ...

    @property
    def items(self) -> Mapping[str, Array]:
        """Arrays of the items, as a bundle has them."""
        ...

    @property
    def prices(self) -> Prices:
        """Listed prices of the past; none without a dataset."""
        ...

    @property
    def contexts(self) -> Mapping[str, Dimension]:
        """`region`, `traffic_source`, `device` of purchases: those that at least one tells."""
        ...


def prices_of(dataset: Dataset | None, items: Vocabulary, as_of: int) -> Prices:
    """All versions of the items' listed prices that were in force by a moment."""
    n = len(items)
    if dataset is None:
        return Prices.of(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float32), n)
    moment = f"TIMESTAMPTZ '{format_instant(as_of)}'"
    with dataset.connect() as duck:
        rows = duck.sql(
            f"SELECT {c.ITEM_ID}, epoch_us({c.VALID_FROM}) AS since, {c.PRICE}::FLOAT AS price FROM items "
            f"WHERE {c.PRICE} IS NOT NULL AND {c.VALID_FROM} <= {moment} ORDER BY {c.ITEM_ID}, since, {c.SOURCE}"
        ).to_arrow_table()
    item = items.rows_of(rows[c.ITEM_ID].to_pylist())
    return Prices.of(item, rows["since"].to_numpy().astype(np.int64), rows["price"].to_numpy(), n)


def contexts_of(
    dataset: Dataset | None, known: Histories, regions: Mapping[int, str], as_of: int
) -> dict[str, Dimension]:
    """Where purchases came from: the region of the event, else its customer's; source; device.

    Args:
        dataset: where events carry their context; without it only the customers' regions are known.
        known: as of the moment.
        regions: subject row -> region.
        as_of: microseconds.

    Returns:
        Name -> dimension, without those that no purchase tells; other events may tell their customer's region alone.
    """
    told = told_of(dataset, known, as_of, (c.REGION, c.TRAFFIC_SOURCE, c.DEVICE), ("purchase",))
    home = coded([regions.get(row) for row in range(len(known))])
    lived = Dimension(home.names, home.code[known.subject_rows()])
    told[c.REGION] = told[c.REGION].or_else(lived) if c.REGION in told else lived
    return {name: dimension for name, dimension in told.items() if dimension.names}


def told_of(
    dataset: Dataset | None, known: Histories, as_of: int, columns: Sequence[str], types: Sequence[str]
) -> dict[str, Dimension]:
    """What events of some types tell of where they came from, in the order of the histories.

    They are found by the key that both are hashed to; events of other types tell nothing.

    Args:
        dataset: where events carry their context; without it nothing is told.
        known: as of the moment.
        as_of: microseconds.
        columns: of `region`, `traffic_source`, `device`.
        types: of events.
    """
    if dataset is None or not len(known.events):
        return {}
    some = " OR ".join(f"{name} IS NOT NULL" for name in columns)
    named = ", ".join(f"'{name}'" for name in types)
    with dataset.connect() as duck:
        rows = duck.sql(
            f"SELECT md5_number_lower({c.EVENT_ID}) AS key, {', '.join(columns)} "
            f"FROM ({events_as_of(as_of, amended=dataset.manifest().amended)}) "
            f"WHERE {c.TYPE} IN ({named}) AND ({some}) ORDER BY key"
        ).to_arrow_table()
    if not len(rows):
        return {}
    keys = rows["key"].to_numpy()
    at = np.minimum(np.searchsorted(keys, known.events.key), len(keys) - 1)
    found = keys[at] == known.events.key
    told = {name: coded(rows[name].to_pylist()) for name in columns}
    return {name: Dimension(each.names, np.where(found, each.code[at], -1)) for name, each in told.items()}


def coded(values: Sequence[str | None]) -> Dimension:
    """Values as codes in the order of their names; what is not told, or empty, is -1."""
    names = tuple(sorted({value for value in values if value}))
    places = {name: place for place, name in enumerate(names)}
    return Dimension(names, np.fromiter((places.get(value or "", -1) for value in values), np.int32, len(values)))
