"""Totals a shop can hold against its books: month by month, so that memory does not grow with the events."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import msgspec
import numpy as np

from features import columns as c
from features.importing.times import wall_to_utc
from features.moments import format_instant


class MonthTotals(msgspec.Struct, frozen=True):
    """One month."""

    month: str
    """As `2017-01`, by the wall clock of the totals' zone."""
    lines: int
    """Events of any type."""
    orders: int
    """Distinct order ids."""
    units: float
    """Purchased less returned."""
    revenue: float
    """Purchased less returned, after discounts."""


class Totals(msgspec.Struct, frozen=True):
    """What events say."""

    months: list[MonthTotals] = []
    events: dict[str, int] = {}
    """Type -> number."""
    customers: int = 0
    items: int = 0
    first: str | None = None
    last: str | None = None
    time_zone: str = "UTC"
    """In which months begin."""

    @property
    def revenue(self) -> float:
        """Purchased less returned, after discounts."""
        return sum(month.revenue for month in self.months)

    @property
    def units(self) -> float:
        """Purchased less returned."""
        return sum(month.units for month in self.months)


def totals_of(
    duck: duckdb.DuckDBPyConnection, pieces: Mapping[str, str], names: tuple[str, ...], time_zone: str = "UTC"
) -> Totals:
    """Totals of events.

    Args:
        duck: a connection.
        pieces: month in UTC -> SQL for its events, something that can stand after FROM; an order that lies in two of
            them counts twice.
        names: the columns that these have; what is not there counts as null.
        time_zone: in which months begin.
    """
    if not pieces:
        return Totals()
    months: dict[str, MonthTotals] = {}
    for utc_month, rows in pieces.items():
        for found in _by_month(duck, utc_month, rows, names, time_zone):
            months[found.month] = _sum(months.get(found.month), found)
    everything = " UNION ALL ".join(
        f"SELECT {_or_null(names, c.CUSTOMER_ID)} AS customer, {_or_null(names, c.ITEM_ID)} AS item, "
        f"{c.OCCURRED_AT} AS moment, {c.TYPE} AS kind FROM {rows}"
        for rows in pieces.values()
    )
    customers, items, first, last = duck.execute(
        f"SELECT count(DISTINCT customer), count(DISTINCT item), epoch_us(min(moment)), epoch_us(max(moment)) "
        f"FROM ({everything})"
    ).fetchall()[0]
    kinds = duck.execute(f"SELECT kind, count(*) AS n FROM ({everything}) GROUP BY 1 ORDER BY n DESC, 1").fetchall()
    listed = [months[month] for month in sorted(months)]
    return Totals(listed, dict(kinds), customers, items, _written(first), _written(last), time_zone)


def _by_month(
    duck: duckdb.DuckDBPyConnection, utc_month: str, rows: str, names: tuple[str, ...], time_zone: str
) -> list[MonthTotals]:
    """A month's events by the months of a zone: mostly the one of that name, some hours' worth of a neighbour's."""
    sign = f"CASE {c.TYPE} WHEN 'purchase' THEN 1 WHEN 'return' THEN -1 ELSE 0 END"
    units = f"coalesce({_or_null(names, c.QUANTITY)}, 1)"
    price, discount = (f"coalesce({_or_null(names, name)}, 0)" for name in (c.UNIT_PRICE, c.DISCOUNT))
    months, starts = _months_around(utc_month, time_zone)
    place = " ".join(f"WHEN {c.OCCURRED_AT} < TIMESTAMPTZ '{end}' THEN {n}" for n, end in enumerate(starts[1:3]))
    found = duck.execute(f"""
        SELECT CASE {place} ELSE 2 END AS place, count(*), count(DISTINCT {_or_null(names, c.ORDER_ID)}),
               coalesce(sum({sign} * {units}), 0)::DOUBLE,
               coalesce(sum({sign} * ({price} * {units} - {discount})), 0)::DOUBLE
        FROM {rows} GROUP BY place""").fetchall()
    return [MonthTotals(months[row[0]], *row[1:]) for row in found]


def _months_around(utc_month: str, time_zone: str) -> tuple[list[str], list[str]]:
    """The month before, this and the next one, and the instants at which they and the one after begin in a zone."""
    month = np.datetime64(utc_month, "M")
    months = np.arange(month - 1, month + 3)
    starts = wall_to_utc(months.astype("datetime64[us]").astype(np.int64), time_zone).tolist()
    return [str(each) for each in months[:3]], [format_instant(start) for start in starts]


def _sum(one: MonthTotals | None, other: MonthTotals) -> MonthTotals:
    if one is None:
        return other
    return MonthTotals(
        one.month, one.lines + other.lines, one.orders + other.orders, one.units + other.units,
        one.revenue + other.revenue,
    )  # fmt: skip


def _or_null(names: tuple[str, ...], name: str) -> str:
    return name if name in names else "NULL"


def _written(instant: int | None) -> str | None:
    return None if instant is None else format_instant(instant)
