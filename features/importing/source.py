"""What an import reads: feeds of rows with the mapping that explains them, and tables derived from those."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from features.importing.interpret import Prepare
from features.importing.mapping import Mapping
from features.importing.raw import Raw

Piece = Callable[[], Raw]
"""Reads one piece of a file; called in a worker thread."""


@dataclass(frozen=True, slots=True)
class Feed:
    """The rows of one file for one table.

    Args:
        mapping: says the table and what the columns mean.
        pieces: the file as pieces, in order; called once.
        label: the file's name, for quarantine.
        prepare: a step of the source's own before the mapping.
        carry: prepared columns that derived tables need besides; they are staged but not imported.
    """

    mapping: Mapping
    pieces: Callable[[], Iterator[Piece]]
    label: str
    prepare: Prepare | None = None
    carry: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Derived:
    """A versioned table, or outcomes, computed from staged rows.

    Args:
        table: items, customers, orders or outcomes (each with `decided_row`, the `row_at` of its decision).
        sql: a DuckDB query over `staged_<table>` (all rows that were accepted, before duplicates are taken out) that
            gives columns of that table. Where a feed fills the same table, its rows are only this query's input.
        undated: as in mappings.
    """

    table: str
    sql: str
    undated: Literal["static", "now"] = "static"


@dataclass(frozen=True, slots=True)
class Source:
    """Everything one import reads.

    Args:
        name: stands in the `source` column and in the hash of events without an id.
        feeds: at most one a table.
        derived: computed after the feeds are read.
        inputs: the files, recorded with their hashes.
        notes: what a reader of the dataset should know of how it was read.
    """

    name: str
    feeds: tuple[Feed, ...]
    inputs: tuple[Path, ...]
    derived: tuple[Derived, ...] = ()
    notes: tuple[str, ...] = ()
