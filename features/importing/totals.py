"""Totals a shop can hold against its books: month by month, so that memory does not grow with the events."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import msgspec

from features import columns as c
from features.importing.identity import quoted
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
    duck: duckdb.DuckDBPyConnection, pieces: Sequence[str], names: tuple[str, ...], time_zone: str = "UTC"
) -> Totals:
    """Totals of events.

    Args:
        duck: a connection.
        pieces: SQL that can stand after FROM, for the events of one month each; an order that lies in two of them
            counts twice.
        names: the columns that these have; what is not there counts as null.
        time_zone: in which months begin.
    """
    if not pieces:
        return Totals()
    months: dict[str, MonthTotals] = {}
    for rows in pieces:
        for found in _by_month(duck, rows, names, time_zone):
            months[found.month] = _sum(months.get(found.month), found)
    everything = " UNION ALL ".join(
        f"SELECT {_or_null(names, c.CUSTOMER_ID)} AS customer, {_or_null(names, c.ITEM_ID)} AS item, "
        f"{c.OCCURRED_AT} AS moment, {c.TYPE} AS kind FROM {rows}"
        for rows in pieces
    )
    customers, items, first, last = duck.execute(
        f"SELECT count(DISTINCT customer), count(DISTINCT item), epoch_us(min(moment)), epoch_us(max(moment)) "
        f"FROM ({everything})"
    ).fetchall()[0]
    kinds = duck.execute(f"SELECT kind, count(*) AS n FROM ({everything}) GROUP BY 1 ORDER BY n DESC, 1").fetchall()
    listed = [months[month] for month in sorted(months)]
    return Totals(listed, dict(kinds), customers, items, _written(first), _written(last), time_zone)


def _by_month(duck: duckdb.DuckDBPyConnection, rows: str, names: tuple[str, ...], time_zone: str) -> list[MonthTotals]:
    sign = f"CASE {c.TYPE} WHEN 'purchase' THEN 1 WHEN 'return' THEN -1 ELSE 0 END"
    units = f"coalesce({_or_null(names, c.QUANTITY)}, 1)"
    price, discount = (f"coalesce({_or_null(names, name)}, 0)" for name in (c.UNIT_PRICE, c.DISCOUNT))
    found = duck.execute(f"""
        SELECT strftime(date_trunc('month', {c.OCCURRED_AT} AT TIME ZONE {quoted(time_zone)}), '%Y-%m') AS month,
               count(*), count(DISTINCT {_or_null(names, c.ORDER_ID)}), coalesce(sum({sign} * {units}), 0)::DOUBLE,
               coalesce(sum({sign} * ({price} * {units} - {discount})), 0)::DOUBLE
        FROM {rows} GROUP BY 1""").fetchall()
    return [MonthTotals(*row) for row in found]


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
