"""From the dataset's customers and orders to the profiles of the history artefact. Offline, like sync."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from features import columns as c
from features.dataset import Dataset
from features.history import customer_subject
from features.moments import CALENDAR
from features.order_reports import Report
from features.schemas import CUSTOMERS, INSTANT, ORDERS
from serving.fields import camel
from serving.profiles import Profile
from serving.sync_consents import Told, told_consents
from serving.sync_rows import JSON_COLUMNS, ORDER_COLUMNS, parsed, streamed

_LATEST = f"""
    SELECT * EXCLUDE ({c.VALID_FROM}, {c.SOURCE}) FROM customers
    QUALIFY row_number() OVER (PARTITION BY {c.CUSTOMER_ID} ORDER BY {c.VALID_FROM} DESC, {c.SOURCE} DESC) = 1
    ORDER BY {c.CUSTOMER_ID}"""
_FIELDS, _ORDERS, _CONSENTS = range(3)
_INSTANTS = [field.name for field in ORDERS if field.type == INSTANT]


def profiles_of(dataset: Dataset) -> Iterator[tuple[str, Profile]]:
    """The profile of each customer who has fields or orders, by subject, ascending; never all of them at once."""
    with dataset.connect() as latest, dataset.connect() as reports:
        parts: Iterator[tuple[str, int, Any]] = heapq.merge(
            ((row[c.CUSTOMER_ID], _FIELDS, _fields(row)) for row in streamed(latest, _LATEST)),
            ((customer, _ORDERS, told) for customer, told in _orders(streamed(reports, _reports()))),
            ((customer, _CONSENTS, told) for customer, told in told_consents(dataset)),
            key=itemgetter(0, 1),
        )
        for customer, each in groupby(parts, key=itemgetter(0)):
            said: dict[int, Any] = {part: value for _, part, value in each}
            fields, consents = said.get(_FIELDS, {}), said.get(_CONSENTS, Told())
            if consents.now:
                fields |= {"consents": consents.now}
            if fields or _ORDERS in said:
                yield customer_subject(customer), Profile(fields, said.get(_ORDERS, ()), tuple(consents.log))


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a version of a customer says, in the words of the wire."""
    named = {name: row[name] for name in CUSTOMERS.names if name in row and name != c.CUSTOMER_ID}
    read = {camel(name): parsed(value) if name in JSON_COLUMNS else value for name, value in named.items()}
    return {name: value for name, value in read.items() if value is not None and value == value}


def _reports() -> str:
    """SQL for all versions of order lines; a version that does not name the customer is that of the line's others."""
    whose = f"coalesce({c.CUSTOMER_ID}, max({c.CUSTOMER_ID}) OVER (PARTITION BY {c.ORDER_ID}, {c.LINE}))"
    since, until = CALENDAR  # a file may say 9999 of what nobody knows
    moments = ", ".join(
        f"CASE WHEN epoch_us({name}) >= {since} AND epoch_us({name}) < {until} THEN epoch_us({name}) END AS {name}"
        for name in _INSTANTS
    )
    return f"""
        SELECT * FROM (SELECT * REPLACE ({whose} AS {c.CUSTOMER_ID}, {moments}) FROM orders)
        WHERE {c.CUSTOMER_ID} IS NOT NULL AND {c.VALID_FROM} IS NOT NULL
        ORDER BY {c.CUSTOMER_ID}, {c.VALID_FROM}, {c.ORDER_ID}, {c.LINE}, {c.SOURCE}"""


def _orders(rows: Iterator[dict[str, Any]]) -> Iterator[tuple[str, tuple[Report, ...]]]:
    for customer, mine in groupby(rows, key=itemgetter(c.CUSTOMER_ID)):
        said = (
            {name: row[column] for name, column in ORDER_COLUMNS.items() if row[column] is not None} for row in mine
        )
        yield customer, tuple(Report(**fields) for fields in said)
