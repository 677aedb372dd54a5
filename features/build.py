"""From a dataset's tables to histories: the one relational step between the two, in DuckDB, out of core."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np

from features import columns as c
from features.dataset import QUERY_MEMORY, Dataset, events_as_of
from features.history import Histories, History
from features.ids import Vocabulary
from features.kinds import EventType

EVERYTHING = 2**62
"""An instant after all events: `histories_as_of(dataset, EVERYTHING)` reads the whole dataset."""
_AS_SENT = f"""
SELECT CASE WHEN {c.CUSTOMER_ID} IS NULL THEN 'v:' || {c.VISITOR_ID} ELSE 'c:' || {c.CUSTOMER_ID} END AS subject,
       * EXCLUDE ({c.CUSTOMER_ID})
FROM source_events WHERE coalesce({c.CUSTOMER_ID}, {c.VISITOR_ID}) IS NOT NULL"""
LAST_INSTANT = 253_402_300_799_000_000  # 9999-12-31T23:59:59Z, the last that DuckDB and Python both print


def resolved_sql(table: str, moment: str, now: int, outs: str = "source_events") -> str:
    """SQL for the rows of a table with their `subject` (`c:<customer>` or `v:<visitor>`) in place of the customer.

    What a visitor did without a name counts for a customer only when the visitor signed in later without signing out
    first (else a family's shared tablet would mix its people).

    Args:
        table: with `customer_id` and `visitor_id`.
        moment: its column of time.
        now: microseconds; later links are not known.
        outs: a table of events, for sign-outs.
    """
    return f"""
WITH visits AS (SELECT * FROM {table}),
outs AS (SELECT {c.VISITOR_ID}, {c.OCCURRED_AT} AS out_at FROM {outs}
         WHERE {c.TYPE} = 'sign_out' AND {c.VISITOR_ID} IS NOT NULL),
links AS (SELECT {c.VISITOR_ID}, min({c.CUSTOMER_ID}) AS linked_customer, {c.LINKED_AT} FROM identities
          WHERE {c.LINKED_AT} <= make_timestamptz({now}) GROUP BY {c.VISITOR_ID}, {c.LINKED_AT}),
anonymous AS (SELECT v.*, l.linked_customer, l.{c.LINKED_AT} FROM visits v
              ASOF LEFT JOIN links l ON v.{c.VISITOR_ID} = l.{c.VISITOR_ID} AND v.{moment} <= l.{c.LINKED_AT}
              WHERE v.{c.CUSTOMER_ID} IS NULL AND v.{c.VISITOR_ID} IS NOT NULL),
resolved AS (SELECT a.*, o.out_at FROM anonymous a
             ASOF LEFT JOIN outs o ON a.{c.VISITOR_ID} = o.{c.VISITOR_ID} AND a.{moment} <= o.out_at)
SELECT 'c:' || {c.CUSTOMER_ID} AS subject, * EXCLUDE ({c.CUSTOMER_ID}) FROM visits WHERE {c.CUSTOMER_ID} IS NOT NULL
UNION ALL BY NAME
SELECT CASE WHEN linked_customer IS NOT NULL AND (out_at IS NULL OR {c.LINKED_AT} <= out_at)
            THEN 'c:' || linked_customer ELSE 'v:' || {c.VISITOR_ID} END AS subject,
       * EXCLUDE ({c.CUSTOMER_ID}, linked_customer, {c.LINKED_AT}, out_at) FROM resolved
"""


def histories_as_of(
    dataset: Dataset, now: int = EVERYTHING, *, memory: str = QUERY_MEMORY, linked: bool = True
) -> Histories:
    """All subjects' histories as known at an instant.

    Args:
        dataset: committed tables.
        now: microseconds; events at or after it, or recorded after it, are not there.
        memory: DuckDB's limit; beyond it sorts spill to disk.
        linked: whether what a visitor did counts for the customer whom he signed in as; else it stays the visitor's.
    """
    now = min(now, LAST_INSTANT)
    with dataset.connect(memory=memory) as connection:
        _collect(connection, events_as_of(now, amended=dataset.manifest().amended), now, linked=linked)
        subjects = _vocabulary(connection, "SELECT DISTINCT subject AS id FROM known")
        items = _vocabulary(
            connection,
            f"SELECT {c.ITEM_ID} AS id FROM items UNION SELECT {c.ITEM_ID} FROM known WHERE {c.ITEM_ID} IS NOT NULL",
        )
        columns = _columns(connection)
    counts = np.bincount(columns.pop("subject"), minlength=len(subjects))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    return Histories(subjects, items, offsets, History(**columns))


def _collect(connection: duckdb.DuckDBPyConnection, known: str, now: int, *, linked: bool) -> None:
    needed = (
        c.EVENT_ID, c.OCCURRED_AT, c.RECORDED_AT, c.CUSTOMER_ID, c.VISITOR_ID,
        c.TYPE, c.ITEM_ID, c.QUANTITY, c.UNIT_PRICE, c.DISCOUNT,
    )  # fmt: skip
    connection.execute(f"CREATE TEMP VIEW source_events AS SELECT {', '.join(needed)} FROM ({known})")
    resolved = resolved_sql("source_events", c.OCCURRED_AT, now) if linked else _AS_SENT
    connection.execute(f"CREATE TEMP TABLE known AS {resolved}")


def _vocabulary(connection: duckdb.DuckDBPyConnection, ids: str) -> Vocabulary:
    name = "subject_rows" if "subject" in ids else "item_rows"
    connection.execute(
        f"CREATE TEMP TABLE {name} AS SELECT id, row_number() OVER (ORDER BY id) - 1 AS row FROM ({ids})"
    )
    listed = connection.sql(f"SELECT id FROM {name} ORDER BY row").to_arrow_table()["id"]
    return Vocabulary.of(listed.to_pylist())


def _columns(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    codes = " ".join(f"WHEN '{kind.name.lower()}' THEN {int(kind)}" for kind in EventType if kind)
    table = connection.sql(f"""
        SELECT s.row::INTEGER AS subject,
               epoch_us({c.OCCURRED_AT}) AS time, epoch_us({c.RECORDED_AT}) AS recorded,
               coalesce(i.row, -1)::INTEGER AS item,
               (CASE {c.TYPE} {codes} ELSE 0 END)::TINYINT AS type,
               coalesce({c.QUANTITY}, 1)::FLOAT AS quantity,
               coalesce({c.UNIT_PRICE} * coalesce({c.QUANTITY}, 1) - coalesce({c.DISCOUNT}, 0), 'NaN')::FLOAT AS value,
               md5_number_lower({c.EVENT_ID}) AS key
        FROM known JOIN subject_rows s ON known.subject = s.id LEFT JOIN item_rows i ON known.{c.ITEM_ID} = i.id
        ORDER BY s.row, time, key""").to_arrow_table()
    return {name: table[name].combine_chunks().to_numpy(zero_copy_only=False) for name in table.column_names}
