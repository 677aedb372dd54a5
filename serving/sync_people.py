"""From the dataset's customers and orders to the profiles of the history artefact. Offline, like sync."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from features import columns as c
from features.dataset import Dataset
from features.history import customer_subject
from features.moments import CALENDAR
from features.order_reports import Report
from features.schemas import CUSTOMERS, INSTANT, ORDERS
from serving.fields import camel
from serving.profiles import Profile
from serving.sync_consents import consents_in
from serving.sync_rows import JSON_COLUMNS, ORDER_COLUMNS, parsed

_LATEST = f"""
    SELECT * EXCLUDE ({c.VALID_FROM}, {c.SOURCE}) FROM customers
    QUALIFY row_number() OVER (PARTITION BY {c.CUSTOMER_ID} ORDER BY {c.VALID_FROM} DESC, {c.SOURCE} DESC) = 1"""
_INSTANTS = [field.name for field in ORDERS if field.type == INSTANT]
_ROWS = 50_000


def profiles_of(dataset: Dataset) -> dict[str, Profile]:
    """The profile of each customer who has fields or orders, by subject."""
    with dataset.connect() as connection:
        fields = {row[c.CUSTOMER_ID]: _fields(row) for row in _rows(connection, _LATEST)}
        orders = _orders(_rows(connection, _reports()))
    consents = consents_in(dataset)
    for customer, told in consents.items():
        fields[customer] |= {"consents": told.now} if told.now else {}
    known = sorted({customer for customer, said in fields.items() if said} | orders.keys())
    return {
        customer_subject(each): Profile(
            fields.get(each, {}), tuple(orders.get(each, ())), tuple(consents[each].log if each in consents else ())
        )
        for each in known
    }  # fmt: skip


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[dict[str, Any]]:
    for batch in connection.sql(query).to_arrow_table().to_batches(_ROWS):
        yield from batch.to_pylist()


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
        WHERE {c.CUSTOMER_ID} IS NOT NULL AND {c.VALID_FROM} IS NOT NULL ORDER BY {c.CUSTOMER_ID}, {c.VALID_FROM}"""


def _orders(rows: Iterator[dict[str, Any]]) -> dict[str, list[Report]]:
    found: dict[str, list[Report]] = {}
    for row in rows:
        said = {name: row[column] for name, column in ORDER_COLUMNS.items() if row[column] is not None}
        found.setdefault(row[c.CUSTOMER_ID], []).append(Report(**said))
    return found
