"""Comparing staged rows with the dataset and writing what is new as parts, in DuckDB, out of core."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from features import columns as c
from features.importing.identity import quoted
from features.importing.reconcile_decisions import (
    REFUSED,
    collided_decisions,
    judge_decisions,
    judge_outcomes,
    select_decisions,
    select_outcomes,
)
from features.importing.reconcile_events import (
    COLLAPSED,
    COLLISION,
    OLDER,
    THERE,
    EventPlan,
    collisions,
    judge_events,
    select_events,
)
from features.importing.reconcile_versions import (
    VersionPlan,
    collided_versions,
    judge_links,
    judge_versions,
    select_judged,
)
from features.importing.staging import MONTH, Staging
from features.importing.totals import Totals, totals_of
from features.schemas import EVENTS

ERASED_RULE = "erased"
OLDER_RULE = "older-revision"
REFUSED_RULE = "of-a-refused-decision"
ROW_GROUP = 61_440
BATCH_ROWS = 10_000
IsErased = Callable[[str | None, str | None], bool]
"""(customer id, visitor id) -> whether rows of these belong to somebody who was erased."""


@dataclass
class Merged:
    """What became of a table's staged rows."""

    parts: list[str] = field(default_factory=list)
    """Files under the output folder, relative to it."""
    actions: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    staged: int = 0

    @property
    def added(self) -> int:
        """Rows written."""
        others = sum(self.actions[name] for name in (THERE, COLLAPSED, COLLISION))
        return self.staged - others - sum(self.skipped.values())


class Merger:
    """Merges one import's tables.

    Args:
        duck: a connection to the dataset (`Dataset.connect`).
        staging: the rows.
        out: folder for the parts, ours alone.
        name: stem of the parts' file names.
        workers: how many months to write at a time.
    """

    def __init__(self, duck: duckdb.DuckDBPyConnection, staging: Staging, out: Path, name: str, workers: int) -> None:
        self.duck, self.staging, self.out, self.name, self.workers = duck, staging, out, name, workers
        duck.execute("SET preserve_insertion_order = false")  # lets sorts and writers stream
        duck.execute(f"SET temp_directory = {quoted(str(staging.folder / 'spill'))}")
        staging.attach(duck)

    def leave_out_erased(self, table: str, erased: IsErased) -> int:
        """Take rows of erased customers and visitors out of the staged ones; returns how many."""
        ids = [name for name in (c.CUSTOMER_ID, c.VISITOR_ID) if name in self.staging.names(table)]
        if not ids:
            return 0
        customer, visitor = (name if name in ids else "NULL::VARCHAR" for name in (c.CUSTOMER_ID, c.VISITOR_ID))
        people = f"SELECT DISTINCT {customer} AS {c.CUSTOMER_ID}, {visitor} AS {c.VISITOR_ID} FROM staged_{table}"
        gone = [pair for pair in self._rows(people) if erased(*pair)]
        if not gone:
            return 0
        columns = {name: [pair[place] for pair in gone] for place, name in enumerate((c.CUSTOMER_ID, c.VISITOR_ID))}
        self.duck.register("gone_people", pa.table({name: pa.array(ids, pa.string()) for name, ids in columns.items()}))
        self.duck.execute(f"CREATE OR REPLACE TABLE erased_{table} AS SELECT * FROM gone_people")
        same = " AND ".join(f"s.{name} IS NOT DISTINCT FROM e.{name}" for name in ids)
        count = self.duck.execute(
            f"SELECT count(*) FROM staged_{table} s SEMI JOIN erased_{table} e ON {same}"
        ).fetchall()[0][0]
        self.duck.execute(f"ALTER VIEW staged_{table} RENAME TO all_{table}")
        self.duck.execute(
            f"CREATE VIEW staged_{table} AS SELECT s.* FROM all_{table} s ANTI JOIN erased_{table} e ON {same}"
        )
        return int(count)

    def _rows(self, sql: str) -> Iterator[Any]:
        """The rows of a query, some thousand at a time."""
        with self.duck.cursor() as duck:
            duck.execute(sql)
            while batch := duck.fetchmany(BATCH_ROWS):
                yield from batch

    def events(self, plan: EventPlan, erased: int = 0) -> Merged:
        """Compare and write events, one folder a month; `erased` were left out of the staged rows."""
        judge_events(self.duck, plan)
        merged = self._merged("events", "verdict", erased)
        months = self.staging.months("events") if merged.added else []
        with ThreadPoolExecutor(self.workers) as pool:  # a month's file is too small to keep all processors busy
            parts = pool.map(
                lambda month: self._copy(select_events(plan, month), Path("events") / f"{MONTH}={month}"), months
            )
            merged.parts = [part for part in parts if part is not None]
        return merged

    def versions(self, plan: VersionPlan, erased: int = 0) -> Merged:
        """Compare and write items, customers or orders."""
        judge_versions(self.duck, plan)
        return self._write_judged(plan.table, erased)

    def links(self, source: str, erased: int = 0) -> Merged:
        """Compare and write identities."""
        judge_links(self.duck, source)
        return self._write_judged("identities", erased)

    def decisions(self, source: str, erased: int = 0) -> Merged:
        """Compare and write decisions, one folder a month."""
        judge_decisions(self.duck, source, self.staging)
        merged = self._merged("decisions", "judged_decisions", erased)
        for month in self.staging.months("decisions") if merged.added else []:
            part = self._copy(select_decisions(month), Path("decisions") / f"{MONTH}={month}")
            merged.parts += [part] if part is not None else []
        return merged

    def outcomes(self, source: str) -> Merged:
        """Compare and write the outcomes of decisions that were compared before."""
        judge_outcomes(self.duck, source)
        merged = self._merged("outcomes", "judged_outcomes", 0)
        part = self._copy(select_outcomes(), Path("outcomes")) if merged.added else None
        merged.parts = [part] if part is not None else []
        return merged

    def _merged(self, table: str, verdicts: str, erased: int) -> Merged:
        rows = self.duck.execute(f"SELECT action, count(*) FROM {verdicts} GROUP BY action").fetchall()
        actions: Counter[str] = Counter(dict(rows))
        skipped = Counter({OLDER_RULE: actions[OLDER], REFUSED_RULE: actions[REFUSED], ERASED_RULE: erased})
        return Merged(actions=actions, skipped=+skipped, staged=self.staging.rows[table])

    def _write_judged(self, table: str, erased: int) -> Merged:
        merged = self._merged(table, f"judged_{table}", erased)
        if merged.added:
            part = self._copy(select_judged(table), Path(table))
            merged.parts = [part] if part is not None else []
        return merged

    def collided(self, table: str) -> Iterator[tuple[int, str, str]]:
        """(row_at, id, row as JSON) of each row that collided, in the order of the file."""
        if table in ("decisions", "outcomes"):
            return self._rows(collided_decisions(table))
        return self._rows(collisions(self.staging) if table == "events" else collided_versions(table))

    def totals(self, merged: Merged, time_zone: str) -> Totals:
        """What the written events say, by months of a zone."""
        pieces = {
            part.split("/")[1].removeprefix(
                f"{MONTH}="
            ): f"(SELECT * FROM read_parquet({quoted(str(self.out / part))}, "
            f"hive_partitioning = false) WHERE NOT {c.WITHDRAWN})"
            for part in merged.parts
        }
        return totals_of(self.duck, pieces, tuple(EVENTS.names), time_zone)

    def _copy(self, sql: str, folder: Path) -> str | None:
        """Write a query's rows as one part; None when there are none."""
        part = folder / f"{self.name}-0.parquet"
        target = self.out / part
        target.parent.mkdir(parents=True)
        options = f"FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {ROW_GROUP}"
        with self.duck.cursor() as duck:
            duck.execute("SET TimeZone = 'UTC'")
            written = duck.execute(f"COPY ({sql}) TO {quoted(str(target))} ({options})").fetchall()[0][0]
        return part.as_posix() if written else None
