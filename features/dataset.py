"""A dataset: a folder of typed Parquet tables and the manifest that says which parts are in it.

    dataset/manifest.json
    dataset/events/month=2017-01/<import id>-0.parquet
    dataset/items/<import id>-0.parquet
    dataset/quarantine/<import id>.parquet

A part counts only when the manifest lists it, and the manifest is replaced atomically: an import is there
whole or not at all, and a killed one leaves files that nobody reads and the next commit removes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from features import columns as c
from features.errors import ConfigError, DataError
from features.files import exclusive, write_atomically
from features.moments import format_instant
from features.schemas import PARTITIONED, SCHEMA_VERSION, TABLES

MEMORY_VARIABLE = "KOKYAKU_QUERY_MEMORY"
QUERY_MEMORY = os.environ.get(MEMORY_VARIABLE, "4GB")
"""What a query over the dataset may take; beyond it what can be put aside goes to the disk."""
KEYS: dict[str, tuple[str, ...]] = {
    "items": (c.ITEM_ID,),
    "customers": (c.CUSTOMER_ID,),
    "orders": (c.ORDER_ID, c.LINE),
    "actions": (c.ACTION_ID,),
}
"""Versioned tables: a read as of T takes the latest `valid_from` at or before T for each key."""


class InputFile(msgspec.Struct, frozen=True):
    """A file that an import read."""

    path: str
    sha256: str
    bytes: int


class ImportRecord(msgspec.Struct, frozen=True):
    """One committed import (or sync, or simulation)."""

    id: str
    source: str
    at: str
    parts: dict[str, list[str]]
    counts: dict[str, int] = {}
    inputs: list[InputFile] = []
    notes: list[str] = []
    quarantine: str | None = None
    amends: bool = False
    """Some of its events are revisions of earlier ones."""
    static_catalogue: bool = False
    """Its items carry no history: as-of reads may leak, and the audit says so."""


class Manifest(msgspec.Struct, frozen=True):
    """What is in the dataset."""

    version: int = SCHEMA_VERSION
    imports: list[ImportRecord] = []

    def parts(self, table: str) -> list[str]:
        """Relative paths of the committed parts of a table."""
        return [part for record in self.imports for part in record.parts.get(table, ())]

    @property
    def amended(self) -> bool:
        """Whether any event has later revisions."""
        return any(record.amends for record in self.imports)

    @property
    def static_catalogue(self) -> bool:
        """Whether items come without history."""
        return any(record.static_catalogue for record in self.imports)


class Dataset:
    """Reading and committing; all relational work happens in DuckDB over the committed parts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._writing = False

    @property
    def manifest_path(self) -> Path:
        """Where the manifest lies."""
        return self.root / "manifest.json"

    def exists(self) -> bool:
        """Whether anything was ever committed here."""
        return self.manifest_path.exists()

    def manifest(self) -> Manifest:
        """The committed state.

        Raises:
            DataError: no dataset here, or one written by a newer Kokyaku.
        """
        if not self.exists():
            hint = "import something first: kokyaku import --help"
            raise DataError("no dataset here", where=str(self.root), hint=hint)
        try:
            manifest = msgspec.json.decode(self.manifest_path.read_bytes(), type=Manifest)
        except msgspec.DecodeError as error:
            hint = "restore manifest.json from a backup"
            raise DataError("a damaged manifest", where=str(self.manifest_path), got=str(error), hint=hint) from None
        if manifest.version > SCHEMA_VERSION:
            hint = "update Kokyaku"
            raise DataError(
                "the dataset is newer than this program",
                where=str(self.root),
                got=manifest.version,
                hint=hint,
            )
        return manifest

    def parts(self, table: str) -> list[Path]:
        """The committed Parquet files of a table."""
        return [self.root / part for part in self.manifest().parts(table)] if self.exists() else []

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A whole table, every version of every row, in the schema of today."""
        schema = TABLES[table]
        names = list(columns) if columns is not None else schema.names
        wanted = pa.schema([schema.field(name) for name in names], metadata=schema.metadata)
        pieces = [_conform(pq.read_table(part, partitioning=None), wanted) for part in self.parts(table)]
        return pa.concat_tables(pieces) if pieces else wanted.empty_table()

    def connect(self, *, memory: str = QUERY_MEMORY, threads: int | None = None) -> duckdb.DuckDBPyConnection:
        """An in-memory DuckDB with one view per table, spilling beside the dataset rather than failing."""
        connection = duckdb.connect()
        spill = self.root / ".spill"
        try:
            connection.execute("SET memory_limit = $memory", {"memory": memory})
        except duckdb.Error:
            raise ConfigError(
                "not an amount of memory", where=MEMORY_VARIABLE, got=memory, hint="such as 8GB"
            ) from None
        connection.execute(f"SET temp_directory = '{_quoted(spill)}'")
        connection.execute("SET TimeZone = 'UTC'")
        with suppress(duckdb.InvalidInputException):  # where nothing can draw one, that cannot be set either
            connection.execute("SET enable_progress_bar = false")  # it would be drawn over ours, and into files
        if threads:
            connection.execute(f"SET threads = {threads}")
        for table, schema in TABLES.items():
            connection.register(f"empty_{table}", schema.empty_table())
            parts = ", ".join(f"'{_quoted(part)}'" for part in self.parts(table))
            files = f"SELECT * FROM read_parquet([{parts}], union_by_name = true, hive_partitioning = false)"
            union = f" UNION ALL BY NAME {files}" if parts else ""
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM empty_{table}{union}")
        return connection

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer, from the first part to the commit.

        A commit removes parts that no manifest lists: one that takes long to write its parts holds this lock
        meanwhile, so that no other command's commit can sweep them away.

        Raises:
            DataError: another command is writing to this dataset.
        """
        if self._writing:
            yield
            return
        with exclusive(self.root / ".lock", busy="another command is writing to this dataset"):
            self._writing = True
            try:
                yield
            finally:
                self._writing = False

    def commit(self, record: ImportRecord, *, replaces: Mapping[str, str | None] | None = None) -> None:
        """Make an import part of the dataset, all at once.

        Args:
            record: its parts must lie under the root already.
            replaces: relative paths of older parts -> the rewritten part, or None to drop it (erasure).

        Raises:
            DataError: the import id is taken, a part is not there, or another command is writing.
        """
        with self.writing():
            manifest = self.manifest() if self.exists() else Manifest()
            if any(old.id == record.id for old in manifest.imports):
                raise DataError("this import id is already committed", where=str(self.root), got=record.id)
            old_imports = [_replace_parts(old, replaces or {}) for old in manifest.imports]
            committed = Manifest(imports=[*old_imports, record])
            self._insist_on_parts(committed)
            pretty = msgspec.json.format(msgspec.json.encode(committed), indent=1)
            write_atomically(self.manifest_path, pretty)
            self._sweep(committed)

    def write_part(self, table: str, rows: pa.Table, name: str) -> list[str]:
        """Write rows as uncommitted parts named `name-*`, one a month where the table is partitioned.

        Returns:
            Relative paths for `ImportRecord.parts`.
        """
        rows = _conform(rows, TABLES[table])
        column = PARTITIONED.get(table)
        if column is None:
            return [self._write(rows, Path(table) / f"{name}.parquet")] if len(rows) else []
        months = pa.compute.strftime(rows[column], format="%Y-%m")
        return [
            self._write(
                rows.filter(pa.compute.equal(months, month)),
                Path(table) / f"month={month}" / f"{name}.parquet",
            )
            for month in sorted(pa.compute.unique(months).to_pylist())
        ]

    def _write(self, rows: pa.Table, relative: Path) -> str:
        target = self.root / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, target, compression="zstd")
        return relative.as_posix()

    def _insist_on_parts(self, manifest: Manifest) -> None:
        """A manifest never lists what is not there."""
        for part in (part for table in TABLES for part in manifest.parts(table)):
            if not (self.root / part).is_file():
                raise DataError("a part of the dataset is missing", where=str(self.root), got=part)

    def _sweep(self, manifest: Manifest) -> None:
        """Remove part files that no committed import lists: what a killed import left behind."""
        listed = {self.root / part for table in TABLES for part in manifest.parts(table)}
        for table in TABLES:
            for path in (self.root / table).rglob("*.parquet"):
                if path not in listed:
                    path.unlink(missing_ok=True)


def short_of_memory(error: Exception) -> DataError | None:
    """The error to show where a query had too little memory; None where something else is wrong."""
    if not isinstance(error, duckdb.OutOfMemoryException):
        return None
    hint = f"allow it more, such as {MEMORY_VARIABLE}=8GB, and see that there is room on the disk of the dataset"
    return DataError("a query over the dataset needs more memory", got=str(error).split("\n", 1)[0], hint=hint)


def events_as_of(now: int, *, amended: bool) -> str:
    """SQL for the events known at an instant: `occurred_at < now and recorded_at <= now`.

    Args:
        now: microseconds.
        amended: whether revisions exist (`Manifest.amended`); without them the window function is saved.
    """
    moment = f"TIMESTAMPTZ '{format_instant(now)}'"
    known = f"SELECT * FROM events WHERE {c.RECORDED_AT} <= {moment}"
    if amended:
        latest = f"PARTITION BY {c.EVENT_ID} ORDER BY {c.REVISION} DESC, {c.RECORDED_AT} DESC"
        known += f" QUALIFY row_number() OVER ({latest}) = 1"
    return f"SELECT * FROM ({known}) WHERE {c.OCCURRED_AT} < {moment} AND NOT {c.WITHDRAWN}"


def versions_as_of(table: str, now: int) -> str:
    """SQL for the latest version of each row of a versioned table at an instant."""
    keys = ", ".join(KEYS[table])
    return (
        f"SELECT * FROM {table} WHERE {c.VALID_FROM} <= TIMESTAMPTZ '{format_instant(now)}' "
        f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {c.VALID_FROM} DESC, {c.SOURCE} DESC) = 1"
    )


def _replace_parts(record: ImportRecord, replaces: Mapping[str, str | None]) -> ImportRecord:
    if not any(part in replaces for parts in record.parts.values() for part in parts):
        return record
    parts = {
        table: [new for part in listed if (new := replaces.get(part, part)) is not None]
        for table, listed in record.parts.items()
    }
    return msgspec.structs.replace(record, parts=parts)


def _conform(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Today's columns in today's order; a column that an older file lacks becomes null."""
    missing: Iterable[pa.Field] = [field for field in schema if field.name not in rows.column_names]
    for field in missing:
        rows = rows.append_column(field.name, pa.nulls(len(rows), field.type))
    return rows.select(schema.names).cast(schema)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
