"""From the store into parts of the dataset: everything after what earlier syncs committed.

How far that is stands in the dataset's own manifest, in the record whose commit made the rows part of it. So there
is no second state that a crash could leave behind or ahead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
import orjson
import pyarrow as pa

from features import columns as c
from features.dataset import KEYS, Dataset, Manifest
from features.moments import to_datetime
from features.order_reports import Report
from serving import store_sql as sql
from serving import sync_rows
from serving.events import decode
from serving.store import Store
from serving.store_upkeep import store_id
from serving.sync_consents import consents_in
from serving.tombstones import Erased

CHUNK_ROWS = 100_000
_NOTE = re.compile(r"store (\w+): (.*)")
_MARK = re.compile(r"(\w+) to (\d+)")


class Progress(msgspec.Struct, frozen=True):
    """Up to which sequence number of a store's tables the dataset has seen."""

    events: int = 0
    decisions: int = 0
    items: int = 0
    customers: int = 0
    rewards: int = 0
    orders: int = 0

    def note(self, store_id: str) -> str:
        """The line that an import record keeps of it."""
        return f"store {store_id}: " + ", ".join(f"{k} to {v}" for k, v in msgspec.structs.asdict(self).items())


def progress_in(manifest: Manifest, store_id: str) -> Progress:
    """How far the committed syncs of a store have come; zeros for a store that was never synced."""
    notes = [note for record in manifest.imports if record.source == sync_rows.SOURCE for note in record.notes]
    for note in reversed(notes):
        found = _NOTE.fullmatch(note)
        if found and found.group(1) == store_id:
            return Progress(**{name: int(value) for name, value in _MARK.findall(found.group(2))})
    return Progress()


def progress_of(store: Store) -> Progress:
    """How far the store itself has come."""
    names = Progress.__struct_fields__
    return Progress(**{name: int(store.database.query(sql.LAST_SEQ, (name,))[0][0]) for name in names})


class Collected:
    """Parts written and not yet committed.

    Args:
        dataset: where they are written.
        name: what their names begin with.
    """

    def __init__(self, dataset: Dataset, name: str) -> None:
        self.dataset = dataset
        self.name = name
        self.parts: dict[str, list[str]] = {}
        self.counts: dict[str, int] = {}
        self._written = 0

    def write(self, table: str, rows: pa.Table) -> None:
        """Write rows as further parts of a table."""
        if len(rows):
            self._written += 1
            self.parts.setdefault(table, []).extend(
                self.dataset.write_part(table, rows, f"{self.name}-{self._written}")
            )
            self.count(table, len(rows))

    def count(self, what: str, number: int) -> None:
        """Add to a count of the report."""
        if number:
            self.counts[what] = self.counts.get(what, 0) + number


def collect(store: Store, into: Collected, since: Progress, until: Progress) -> None:
    """Write what the store received in between; rows of erased subjects and ids that the dataset has are left out."""
    erased = store.erased()
    _events(store, into, (since.events, until.events), erased)
    _decisions(store, into, (since.decisions, until.decisions), erased)
    _links(store, into, (since.events, until.events), erased)
    _orders(store, into, (since.orders, until.orders), erased)
    changes = _changes(store, sql.ITEMS_BETWEEN, (since.items, until.items), lambda _: False)
    into.write("items", sync_rows.items_table(_latest(into.dataset, "items", changes), changes))
    changes = _changes(store, sql.CUSTOMERS_BETWEEN, (since.customers, until.customers), erased.customer)
    latest = _latest_customers(into.dataset, changes)
    into.write("customers", sync_rows.customers_table(latest, _in_force(into.dataset, latest, changes), changes))


def customers_since(store: Store, dataset: Dataset) -> list[tuple[str, dict[str, Any], int]]:
    """What was told of customers and is not in the dataset yet: (customer id, changed fields, instant)."""
    manifest = dataset.manifest() if dataset.exists() else Manifest()
    span = progress_in(manifest, store_id(store)).customers, progress_of(store).customers
    return _changes(store, sql.CUSTOMERS_BETWEEN, span, store.erased().customer)


def rewards_between(store: Store, since: Progress, until: Progress) -> list[tuple[str, str, float, int]]:
    """What erasures left of events since the last sync: (decision id, reward, value, instant)."""
    return [row[1:] for row in store.database.query(sql.REWARDS_BETWEEN, (since.rewards, until.rewards))]


def write_rewards(into: Collected, rewards: Iterable[tuple[str, str, float, int]]) -> None:
    """Write rewards that the dataset does not have yet as outcomes."""
    rows = sync_rows.outcomes_table(sorted(set(rewards)))
    if len(rows):
        with into.dataset.connect() as connection:
            connection.register("fresh", rows)
            same = " AND ".join(f"f.{n} = o.{n}" for n in (c.DECISION_ID, "reward", "value", "at"))
            query = f"SELECT f.* FROM fresh f ANTI JOIN outcomes o ON {same}"
            rows = connection.sql(query).to_arrow_table()
    into.write("outcomes", rows)


def _events(store: Store, into: Collected, span: tuple[int, int], erased: Erased) -> None:
    for rows in _chunks(store, sql.EVENTS_BETWEEN, span):
        events = [decode(payload) for _, payload in rows]
        wanted = [event for event in events if not erased.row(event.customer_id, event.visitor_id)]
        known = _known(into.dataset, "events", c.EVENT_ID, [event.event_id for event in wanted])
        into.count("events already there", len(known))
        into.write("events", sync_rows.events_table(event for event in wanted if event.event_id not in known))


def _decisions(store: Store, into: Collected, span: tuple[int, int], erased: Erased) -> None:
    for rows in _chunks(store, sql.DECISIONS_BETWEEN, span):
        decisions = [orjson.loads(payload) for _, payload in rows]
        wanted = [each for each in decisions if not erased.row(each.get(c.CUSTOMER_ID), each.get(c.VISITOR_ID))]
        known = _known(into.dataset, "decisions", c.DECISION_ID, [each[c.DECISION_ID] for each in wanted])
        fresh = [each for each in wanted if each[c.DECISION_ID] not in known]
        into.write("decisions", sync_rows.decisions_table(fresh))


def _links(store: Store, into: Collected, span: tuple[int, int], erased: Erased) -> None:
    rows = [row[1:] for row in store.database.query(sql.LINKS_BETWEEN, span)]
    into.write("identities", sync_rows.identities_table(row for row in rows if not erased.customer(row[1])))


def _orders(store: Store, into: Collected, span: tuple[int, int], erased: Erased) -> None:
    for rows in _chunks(store, sql.ORDERS_BETWEEN, span):
        reports = ((each, msgspec.json.decode(payload, type=Report)) for _, each, payload in rows)
        into.write("orders", sync_rows.orders_table(row for row in reports if not erased.customer(row[0])))


def _changes(
    store: Store, statement: str, span: tuple[int, int], left_out: Callable[[str], bool]
) -> list[tuple[str, dict[str, Any], int]]:
    rows = store.database.query(statement, span)
    return [(each, orjson.loads(payload), at) for _, each, payload, at in rows if not left_out(each)]


def _chunks(store: Store, statement: str, span: tuple[int, int]) -> Iterator[list[Any]]:
    after, until = span
    while rows := store.database.query(statement, (after, until, CHUNK_ROWS)):
        yield rows
        after = rows[-1][0]


def _known(dataset: Dataset, table: str, column: str, ids: list[str]) -> set[str]:
    """Which of these ids stand in the dataset."""
    if not ids or not dataset.parts(table):
        return set()
    with dataset.connect() as connection:
        connection.register("fresh", pa.table({column: pa.array(ids, pa.string())}))
        query = f"SELECT DISTINCT {column} FROM {table} SEMI JOIN fresh USING ({column})"
        return set(connection.sql(query).to_arrow_table()[column].to_pylist())


def _latest_customers(dataset: Dataset, changes: list[sync_rows.Change]) -> Mapping[str, sync_rows.Row]:
    """With the consents that stand, which the latest version need not repeat."""
    latest = _latest(dataset, "customers", changes)
    told = consents_in(dataset) if latest else {}
    return {
        each: {**row, "consents": orjson.dumps(told[each].now).decode()} if each in told else row
        for each, row in latest.items()
    }


def _in_force(
    dataset: Dataset, latest: Mapping[str, sync_rows.Row], changes: list[sync_rows.Change]
) -> Mapping[str, sync_rows.Row]:
    """The versions that the first change of each customer met, without consents: those are told purpose by purpose."""
    first: dict[str, int] = {}
    for each, _, at in changes:
        if each in latest and to_datetime(at) <= latest[each][c.VALID_FROM]:
            first[each] = min(at, first.get(each, at))
    if not first:
        return {}
    with dataset.connect() as connection:
        connection.register("fresh", pa.table({c.CUSTOMER_ID: list(first), "moment": list(first.values())}))
        rows = connection.sql(f"""
            SELECT customers.* REPLACE (NULL::VARCHAR AS consents) FROM customers JOIN fresh USING ({c.CUSTOMER_ID})
            WHERE {c.VALID_FROM} <= make_timestamptz(moment) QUALIFY row_number() OVER
                (PARTITION BY {c.CUSTOMER_ID} ORDER BY {c.VALID_FROM} DESC, {c.SOURCE} DESC) = 1""").to_arrow_table()
    return {row[c.CUSTOMER_ID]: row for row in rows.to_pylist()}


def _latest(dataset: Dataset, table: str, changes: list[sync_rows.Change]) -> Mapping[str, sync_rows.Row]:
    if not changes or not dataset.parts(table):
        return {}
    (key,) = KEYS[table]
    with dataset.connect() as connection:
        connection.register("fresh", pa.table({key: pa.array(sorted({each for each, _, _ in changes}), pa.string())}))
        query = f"""
            SELECT * FROM {table} SEMI JOIN fresh USING ({key})
            QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {c.VALID_FROM} DESC, {c.SOURCE} DESC) = 1"""
        return {row[key]: row for row in connection.sql(query).to_arrow_table().to_pylist()}
