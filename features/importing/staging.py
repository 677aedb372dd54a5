"""Where an import's rows wait between reading and committing: Parquet files beside the dataset, one a piece.

Pieces are written by the threads that read them, so nothing here is in order; each row carries its place in the file
as `row_at` = piece number x 2^32 + place in the piece.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from types import TracebackType

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import columns as c
from features.importing.identity import event_identity, quoted
from features.importing.interpret import AT, Typed
from features.importing.mapping import Mapping
from features.importing.sieve import REJECTED
from features.importing.values import flat
from features.schemas import PARTITIONED, TABLES

PIECE_SHIFT = 32
MONTH = "month"
_NO_DICTIONARY = frozenset({AT, "base", c.EVENT_ID, c.CONTENT_HASH, c.OCCURRED_AT, c.RECORDED_AT, c.ORDER_ID})
QUARANTINE = pa.schema([*REJECTED, pa.field("file", pa.string())])
"""The columns of a quarantine file."""


class Staging:
    """A folder of one import's rows; removed when the import ends, however it ends.

    Args:
        folder: ours alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._local = threading.local()
        self.schemas: dict[str, pa.Schema] = {}
        """Table -> schema of its staged rows."""
        self.rows: Counter[str] = Counter()
        """Table -> number of its staged rows."""
        self._lock = threading.Lock()

    def __enter__(self) -> Staging:
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        rmtree(self.folder, ignore_errors=True)

    def write(self, mapping: Mapping, source: str, typed: Typed, piece: int) -> None:
        """Keep one piece's accepted rows; events get the base of their id and the hash of their content."""
        place = typed.rows.column_names.index(AT)
        shifted = pc.add(typed.rows[AT], piece << PIECE_SHIFT)
        rows = typed.rows.set_column(place, AT, shifted)
        if mapping.table == "events":
            rows = self._identified(rows, event_identity(mapping, source, rows.column_names))
        with self._lock:
            self.schemas.setdefault(mapping.table, rows.schema)
            self.rows[mapping.table] += len(rows)
        if len(rows):
            self._write(mapping.table, rows, piece)

    def derive(self, duck: duckdb.DuckDBPyConnection, table: str, sql: str) -> int:
        """Keep a query's rows, instead of what was staged for the table before; returns how many they are."""
        draft = self.folder / f"{table}.parquet"
        duck.execute(f"COPY (SELECT row_number() OVER () - 1 AS {AT}, * FROM ({sql})) TO {quoted(str(draft))}")
        rmtree(self.folder / table, ignore_errors=True)
        (self.folder / table).mkdir()
        draft.rename(self.folder / table / draft.name)
        file = pq.ParquetFile(self.folder / table / draft.name)
        self.schemas[table] = file.schema_arrow
        self.rows[table] = file.metadata.num_rows
        self.attach(duck, table)
        return self.rows[table]

    def _identified(self, rows: pa.Table, identity: str) -> pa.Table:
        duck = getattr(self._local, "duck", None)
        if duck is None:
            duck = self._local.duck = duckdb.connect(config={"threads": 1})
            duck.execute("SET TimeZone = 'UTC'")
        duck.register("piece", rows)
        found = duck.sql(f"SELECT {identity} FROM piece").to_arrow_table()
        duck.unregister("piece")
        for name in found.column_names:
            rows = rows.append_column(name, found[name])
        return rows

    def _write(self, table: str, rows: pa.Table, piece: int) -> None:
        """One file a piece; where the table is partitioned one a month, so that months can be written one by one."""
        repeating = [name for name in rows.column_names if name not in _NO_DICTIONARY]
        for folder, part in self._parts(table, rows):
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{piece:08d}.parquet"
            pq.write_table(part, file, compression="lz4", use_dictionary=repeating, write_statistics=False)

    def _parts(self, table: str, rows: pa.Table) -> Iterator[tuple[Path, pa.Table]]:
        column = PARTITIONED.get(table)
        if column is None:
            yield self.folder / table, rows
            return
        months = flat(rows[column]).cast(pa.int64()).to_numpy().astype("datetime64[us]").astype("datetime64[M]")
        for month in np.unique(months):
            this = months == month
            yield self.folder / table / f"month={month}", rows if this.all() else rows.filter(pa.array(this))

    def attach(self, duck: duckdb.DuckDBPyConnection, *tables: str) -> None:
        """Make staged rows known to a connection as `staged_<table>`; without names those of all tables."""
        for table in tables or self.schemas:
            schema = self.schemas[table]
            if any((self.folder / table).rglob("*.parquet")):
                files = quoted(str(self.folder / table / "**" / "*.parquet"))
                hive = f"true, hive_types = {{{MONTH}: VARCHAR}}" if table in PARTITIONED else "false"
                files = f"read_parquet({files}, hive_partitioning = {hive})"
            else:
                duck.register("nothing", schema.empty_table())
                files = f"nothing_{table}"  # a table, because what is registered is unknown to cursors
                duck.execute(f"CREATE OR REPLACE TABLE {files} AS SELECT * FROM nothing")
            duck.execute(f"CREATE OR REPLACE VIEW staged_{table} AS SELECT * FROM {files}")

    def months(self, table: str) -> list[str]:
        """The months of a partitioned table's staged rows, as `2017-01`."""
        return sorted(folder.name.removeprefix(f"{MONTH}=") for folder in (self.folder / table).glob(f"{MONTH}=*"))

    def names(self, table: str) -> list[str]:
        """The columns of a table of ours that its staged rows have."""
        staged = self.schemas[table].names if table in self.schemas else []
        return [name for name in TABLES[table].names if name in staged]


class Quarantine:
    """Writes rejected rows as they come.

    Args:
        path: where; the file appears with the first row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reasons: Counter[str] = Counter()
        self._writer: pq.ParquetWriter | None = None

    def add(self, rejected: pa.Table, file: str) -> None:
        """Append rows of REJECTED."""
        if not len(rejected):
            return
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self.path, QUARANTINE, compression="zstd")
        for reason in pc.value_counts(rejected["reason"]):
            self.reasons[reason["values"].as_py()] += reason["counts"].as_py()
        self._writer.write_table(rejected.append_column("file", pa.repeat(file, len(rejected))).cast(QUARANTINE))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
