"""A look at an unknown file: which mapping would fit, and what it would make of the rows. Writes nothing."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from features import columns as c
from features.errors import ConfigError
from features.importing.mapping import Mapping, check_mapping
from features.importing.proposal import Proposal, propose_mapping, to_toml
from features.importing.reading import read_feed
from features.importing.sources.files import mapped_source
from features.importing.staging import MONTH, Quarantine, Staging
from features.importing.totals import Totals, totals_of
from features.moments import format_instant

SHOWN_ROWS = 20


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an import with this mapping would see.

    Args:
        mapping_toml: the mapping, proposed or given, as a file.
        names: columns of `rows`.
        rows: the first rows, interpreted.
        totals: of events, by month.
        read: rows in the file.
        reasons: reason -> rows that would go to quarantine.
        advice: what a person should check.
    """

    mapping_toml: str
    names: list[str]
    rows: list[list[Any]]
    totals: Totals
    read: int
    reasons: dict[str, int]
    advice: list[str]


def inspect_file(path: Path, mapping: Mapping | None, *, now: int) -> Inspection:
    """Propose a mapping (unless one is given), read the whole file with it, and forget everything.

    Raises:
        DataError: the file cannot be read.
        ConfigError: a given mapping does not fit.
    """
    proposal = propose_mapping(path) if mapping is None else Proposal(mapping, [])
    try:
        check_mapping(proposal.mapping)
    except ConfigError as error:
        if mapping is not None:
            raise
        advice = [*proposal.advice, f"the mapping is not complete: {error.line()}"]
        return Inspection(to_toml(proposal.mapping), [], [], Totals(), 0, {}, advice)
    with tempfile.TemporaryDirectory(prefix="kokyaku-inspect-") as folder:
        return _look(path, proposal, Path(folder), now)


def _look(path: Path, proposal: Proposal, folder: Path, now: int) -> Inspection:
    mapping = proposal.mapping
    (feed,) = mapped_source(path, mapping).feeds
    with Staging(folder / "staging") as staging, duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        quarantine = Quarantine(folder / "quarantine.parquet")
        reading = read_feed(feed, mapping.source, now, staging, quarantine, workers=os.cpu_count() or 1)
        quarantine.close()
        staging.attach(duck)
        names = staging.names(mapping.table)
        shown = [name for name in names if name != c.CONTENT_HASH]
        rows: list[list[Any]] = []
        if shown:
            order = f"ORDER BY row_at LIMIT {SHOWN_ROWS}"
            first = duck.sql(f"SELECT {', '.join(shown)} FROM staged_{mapping.table} {order}").to_arrow_table()
            rows = _printed(first)
        months = staging.months("events") if mapping.table == "events" else []
        pieces = {month: f"(SELECT * FROM staged_events WHERE {MONTH} = '{month}')" for month in months}
        totals = totals_of(duck, pieces, tuple(names), mapping.time_zone or "UTC")
    reasons = dict(quarantine.reasons.most_common())
    return Inspection(to_toml(mapping), shown, rows, totals, reading.read, reasons, proposal.advice)


def _printed(rows: pa.Table) -> list[list[Any]]:
    columns = []
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if pa.types.is_timestamp(field.type):
            instants = column.cast(pa.int64()).to_pylist()
            columns.append([None if instant is None else format_instant(instant) for instant in instants])
        else:
            columns.append(column.to_pylist())
    return [list(row) for row in zip(*columns, strict=True)]
