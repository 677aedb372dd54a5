"""Shared features: statistics of items over all customers, relational, written once in Ibis.

Offline only: it runs on DuckDB by default and on other engines that Ibis speaks to. Every window has an explicit
tie-break, so two engines give the same table.
"""

from __future__ import annotations

from typing import Any, cast

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt

from features import columns as c
from features.assemble import CODED, SharedTables
from features.dataset import Dataset, events_as_of, versions_as_of
from features.ids import Vocabulary
from features.moments import format_instant
from features.schemas import EVENTS, ITEMS

SHRINK = 5.0
"""An item's repurchase gap counts like this many gaps of its category before its own count."""


def shared_statistics(events: ir.Table, items: ir.Table, as_of: int) -> ir.Table:
    """Table -> table: one row an item with the columns of `SharedTables` (category as its path's text).

    Args:
        events: events known at `as_of`, columns of `schemas.EVENTS`.
        items: the catalogue's versions of that moment.
        as_of: microseconds; statistics look back from it.
    """
    moment = ibis.timestamp(format_instant(as_of))
    bought = events.filter(
        (events[c.TYPE] == "purchase") & events[c.ITEM_ID].notnull() & events[c.CUSTOMER_ID].notnull()
    )
    # Nothing else is read of them: what an engine puts aside of tens of millions of rows should be narrow.
    bought = bought.select(
        c.ITEM_ID, c.CUSTOMER_ID, c.UNIT_PRICE, day=bought[c.OCCURRED_AT].date(),
        age=_age_days(bought[c.OCCURRED_AT], moment),
    )  # fmt: skip
    gaps = _gaps(bought)
    stats = bought.group_by(c.ITEM_ID).aggregate(
        sales_28d=(bought.age < 28).sum(), price=bought[c.UNIT_PRICE].median(where=bought.age < 365)
    )
    buyers = _buyers(bought)
    seen = events.filter(events[c.ITEM_ID].notnull())
    first = seen.group_by(c.ITEM_ID).aggregate(age_days=_age_days(seen[c.OCCURRED_AT].min(), moment))
    catalogue = items.select(
        c.ITEM_ID, category=items[c.CATEGORY].join(" > "), department=items[c.CATEGORY][0], brand=items[c.BRAND]
    )
    joined = first.left_join(stats, c.ITEM_ID).drop(f"{c.ITEM_ID}_right")
    joined = joined.left_join(buyers, c.ITEM_ID).drop(f"{c.ITEM_ID}_right")
    joined = joined.outer_join(catalogue, c.ITEM_ID)
    joined = joined.mutate(**{c.ITEM_ID: joined[c.ITEM_ID].coalesce(joined[f"{c.ITEM_ID}_right"])})
    return _with_gaps(joined.drop(f"{c.ITEM_ID}_right"), gaps)


def _age_days(at: Any, moment: Any) -> Any:
    return (moment.epoch_seconds() - at.epoch_seconds()) / (24 * 3600)


def _buyers(bought: ir.Table) -> ir.Table:
    """Who bought each item, how lately, and how many on another day again.

    By pairs of item and customer first: an engine can put those aside on the disk, and sets of customers it cannot.
    """
    pairs = bought.group_by([c.ITEM_ID, c.CUSTOMER_ID]).aggregate(
        newest=bought.age.min(), oldest=bought.age.max(), first_day=bought.day.min(), last_day=bought.day.max()
    )
    return pairs.group_by(c.ITEM_ID).aggregate(
        buyers=pairs.count(),
        buyers_7d=(pairs.newest < 7).sum(),
        buyers_28d=(pairs.newest < 28).sum(),
        buyers_91d=(pairs.newest < 91).sum(),
        new_buyers_28d=(pairs.oldest < 28).sum(),
        repeat_share=(pairs.first_day < pairs.last_day).mean(),
    )


def _gaps(bought: ir.Table) -> ir.Table:
    """Days between consecutive purchase days of the same item by the same customer."""
    days = bought.select(c.CUSTOMER_ID, c.ITEM_ID, "day").distinct()
    window = ibis.window(group_by=[c.CUSTOMER_ID, c.ITEM_ID], order_by="day")
    days = days.mutate(gap=days.day.epoch_seconds() - days.day.lag().over(window).epoch_seconds())
    return days.filter(days.gap.notnull()).mutate(gap=days.gap / (24 * 3600))


def _with_gaps(table: ir.Table, gaps: ir.Table) -> ir.Table:
    """Add `gap_days`: the item's median gap, shrunk to its category's by the number of gaps seen."""
    own = gaps.group_by(c.ITEM_ID).aggregate(own_gap=gaps.gap.median(), seen=gaps.count())
    table = table.left_join(own, c.ITEM_ID).drop(f"{c.ITEM_ID}_right")
    with_category = gaps.join(table.select(c.ITEM_ID, "category"), c.ITEM_ID)
    typical = with_category.group_by("category").aggregate(category_gap=with_category.gap.median())
    table = table.left_join(typical, "category").drop("category_right")
    seen = table.seen.fill_null(0)
    own_gap = table.own_gap.fill_null(0)
    shrunk = (seen * own_gap + SHRINK * table.category_gap) / (seen + SHRINK)
    return table.mutate(gap_days=shrunk.coalesce(table.own_gap)).drop("own_gap", "seen", "category_gap")


def statistics_sql(as_of: int, dialect: str) -> str:
    """The statistics as SQL over the views `known_events` and `known_items`, in the words of an engine."""
    events = ibis.table(ibis.Schema.from_pyarrow(EVENTS), name="known_events")
    items = ibis.table(ibis.Schema.from_pyarrow(ITEMS), name="known_items")
    table = shared_statistics(events, items, as_of).order_by(c.ITEM_ID)
    return str(ibis.to_sql(table, dialect=dialect))


def shared_tables(dataset: Dataset, items: Vocabulary, as_of: int) -> tuple[SharedTables, list[str]]:
    """The statistics as arrays in the order of an item vocabulary; NaN where nothing is known.

    Returns:
        The tables, and the category paths (`Food > Bread`) that their codes stand for.
    """
    with dataset.connect() as duck:
        duck.execute(f"CREATE TEMP TABLE known_events AS {_told_of_items(dataset, as_of)}")
        duck.execute(f"CREATE TEMP TABLE known_items AS {versions_as_of('items', as_of)}")
        rows = duck.sql(statistics_sql(as_of, "duckdb")).to_arrow_table()
    place = items.rows_of(rows[c.ITEM_ID].to_pylist())
    here = place >= 0
    tables: dict[str, Any] = {
        name: _aligned(rows[name].to_numpy(), place, here, len(items), fill) for name, fill in _FILLS.items()
    }
    words: dict[str, list[str]] = {}
    for name in CODED:
        encoded = rows[name].combine_chunks().dictionary_encode()
        tables[name] = np.full(len(items), -1, np.int32)
        tables[name][place[here]] = encoded.indices.fill_null(-1).to_numpy()[here]
        words[name] = encoded.dictionary.to_pylist()
    return SharedTables(**tables), words["category"]


def _told_of_items(dataset: Dataset, as_of: int) -> str:
    """SQL for the purchases, and for each item the first of all other events: nothing else is read.

    As a table DuckDB knows how many rows there are. Over files it took tens of millions for one, and put 30 GB aside.
    """
    known, item = events_as_of(as_of, amended=dataset.manifest().amended), f"{c.ITEM_ID} IS NOT NULL"
    return f"""
        WITH known AS NOT MATERIALIZED ({known})
        SELECT {c.OCCURRED_AT}, {c.TYPE}, {c.ITEM_ID}, {c.CUSTOMER_ID}, {c.UNIT_PRICE} FROM known
        WHERE {c.TYPE} = 'purchase' AND {item}
        UNION ALL BY NAME
        SELECT min({c.OCCURRED_AT}) AS {c.OCCURRED_AT}, 'other' AS {c.TYPE}, {c.ITEM_ID} FROM known
        WHERE {c.TYPE} <> 'purchase' AND {item} GROUP BY {c.ITEM_ID}"""


_FILLS = {
    "buyers": 0.0, "buyers_7d": 0.0, "buyers_28d": 0.0, "buyers_91d": 0.0, "new_buyers_28d": 0.0, "sales_28d": 0.0,
    "repeat_share": np.nan, "gap_days": np.nan, "price": np.nan, "age_days": np.nan,
}  # fmt: skip


def _aligned(
    values: npt.NDArray[Any], place: npt.NDArray[np.int32], here: npt.NDArray[np.bool_], n: int, fill: float
) -> npt.NDArray[np.float32]:
    out = np.full(n, fill, np.float32)
    numbers = cast("npt.NDArray[np.float32]", values.astype(np.float32))
    out[place[here]] = np.where(np.isnan(numbers), fill, numbers)[here]
    return out
