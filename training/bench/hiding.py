"""Worlds in which some events never happened: newcomers, made of customers and items that are known well."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features import columns as c
from features.dataset import QUERY_MEMORY, Dataset
from features.history import Histories
from training.fitting import Cut

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int32]


class HidingDataset(Dataset):
    """A dataset read as if some events had not happened, so that no statistic of items knows of them.

    Args:
        root: the dataset's folder; nothing in it is changed.
        hidden: uint64[n], keys of the events (`History.key`).
    """

    def __init__(self, root: Path, hidden: npt.NDArray[np.uint64]) -> None:
        super().__init__(root)
        self._hidden = pa.table({"key": pa.array(hidden, pa.uint64())})

    def connect(self, *, memory: str = QUERY_MEMORY, threads: int | None = None) -> duckdb.DuckDBPyConnection:
        """As of any dataset; the view of events leaves the hidden ones out."""
        connection = super().connect(memory=memory, threads=threads)
        connection.register("hidden_events", self._hidden)
        connection.execute("ALTER VIEW events RENAME TO all_events")
        connection.execute(
            f"CREATE VIEW events AS SELECT e.* FROM all_events e"
            f" ANTI JOIN hidden_events h ON md5_number_lower(e.{c.EVENT_ID}) = h.key"
        )
        return connection


class ListingCut(Cut):
    """What was known at a moment, with items in the catalogue that the rule of enough customers would leave out.

    Args:
        histories, as_of, given: as for `Cut`.
        also: bool[n_items], listed however few customers bought them, as a shop lists a new item.
    """

    def __init__(self, histories: Histories, as_of: int, *, also: Mask, **given: Any) -> None:
        super().__init__(histories, as_of, **given)
        self._also = also

    @cached_property
    def listed(self) -> Mask:
        """bool[n_items]: the catalogue."""
        return (self.buyers >= self._min_customers) | self._also


def all_but_last(histories: Histories, groups: npt.NDArray[np.int64], before: int, keep: int) -> Mask:
    """Which events to hide so that each group is known by its last few before a moment.

    Args:
        histories: all events.
        groups: int64[events], the group of each event; -1 for events that stay in any case.
        before: events at this instant or later stay.
        keep: so many of each group stay, the latest; ties in time go by the event's key.

    Returns:
        bool[events], True where hidden.
    """
    events = histories.events
    past = np.flatnonzero((groups >= 0) & (events.time < before))
    order = past[np.lexsort((events.key[past], -events.time[past], groups[past]))]
    own = groups[order]
    first = np.flatnonzero(np.concatenate([np.ones(min(len(own), 1), bool), own[1:] != own[:-1]]))
    number = np.arange(len(own)) - np.repeat(first, np.diff(np.append(first, len(own))))
    hidden = np.zeros(len(events), bool)
    hidden[order[number >= keep]] = True
    return hidden


def customers_but_last(histories: Histories, subjects: Rows, before: int, keep: int) -> Histories:
    """The histories in which some subjects are known by their last few events before a moment."""
    rows = histories.subject_rows()
    chosen = np.zeros(len(histories), bool)
    chosen[subjects] = True
    return histories.where(~all_but_last(histories, np.where(chosen[rows], rows, -1).astype(np.int64), before, keep))


def items_but_last(histories: Histories, items: Rows, before: int, keep: int) -> Mask:
    """Which events to hide so that some items are known by their last few events before a moment."""
    chosen = np.zeros(len(histories.items) + 1, bool)  # the last stands for events without an item
    chosen[items] = True
    item = histories.events.item
    return all_but_last(histories, np.where(chosen[item], item, -1).astype(np.int64), before, keep)
