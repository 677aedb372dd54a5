"""What a check may look at: a DuckDB connection over the committed tables, and the moment that counts as now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from features import columns as c
from features.dataset import Dataset, Manifest

MOST_ROWS = 5_000
"""No answer of a check's query is longer: checks ask for figures, not for tables."""

SUBJECT = f"coalesce('c:' || {c.CUSTOMER_ID}, 'v:' || {c.VISITOR_ID})"
"""SQL: the customer, else the visitor, else null."""

LOOKS = "('view', 'search', 'click')"
"""SQL: what people do one at a time (lines of an order come together, mails come by themselves)."""


@dataclass(frozen=True, slots=True)
class Look:
    """Args:
    connection: has the views `events` (every revision) and `current` (the latest of each, cancelled lines gone).
    manifest: the committed imports.
    root: the dataset's folder.
    now: instant; what lies after it has not happened yet.
    """

    connection: duckdb.DuckDBPyConnection
    manifest: Manifest
    root: Path
    now: int

    def row(self, query: str, *parameters: object) -> tuple[Any, ...]:
        """The one row of a query.

        Raises:
            AssertionError: it has none, or several.
        """
        rows = self.rows(query, *parameters)
        assert len(rows) == 1, f"{len(rows)} rows for: {query}"
        return rows[0]

    def rows(self, query: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        """The few rows of a query.

        Raises:
            AssertionError: it answers with a table instead.
        """
        rows: list[tuple[Any, ...]] = self.connection.execute(query, parameters).fetchmany(MOST_ROWS + 1)
        assert len(rows) <= MOST_ROWS, f"more than {MOST_ROWS} rows for: {query}"
        return rows

    def count(self, table: str) -> int:
        """Rows of a table or view."""
        return int(self.row(f"SELECT count(*) FROM {table}")[0])


@contextmanager
def looking(dataset: Dataset, now: int, *, memory: str) -> Iterator[Look]:
    """A look at a dataset; DuckDB spills to disk beyond `memory`."""
    manifest = dataset.manifest()
    with dataset.connect(memory=memory) as connection:
        if manifest.amended:  # computed once: every check would pay for the window function again
            latest = f"PARTITION BY {c.EVENT_ID} ORDER BY {c.REVISION} DESC, {c.RECORDED_AT} DESC"
            connection.execute(f"""
                CREATE TEMP TABLE current AS SELECT * FROM
                (SELECT * FROM events QUALIFY row_number() OVER ({latest}) = 1) WHERE NOT {c.WITHDRAWN}""")
        else:
            connection.execute(f"CREATE TEMP VIEW current AS SELECT * FROM events WHERE NOT {c.WITHDRAWN}")
        yield Look(connection, manifest, dataset.root, now)
