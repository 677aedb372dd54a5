"""Which staged versions of items, customers and orders say something new, and which links are new.

A version is known by its keys and `valid_from`. One that equals the version in force at its moment adds nothing; one
with the same moment and other content is a collision. Columns that the import does not fill keep what the version in
force says, so a price list does not wipe out titles.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from features import columns as c
from features.dataset import KEYS
from features.importing.identity import content_of, quoted, sql_type
from features.importing.reconcile_events import COLLAPSED, COLLISION, NEW, THERE
from features.schemas import IDENTITIES, TABLES


@dataclass(frozen=True, slots=True)
class VersionPlan:
    """How versions of an import are told apart.

    Args:
        table: items, customers or orders.
        source: name of the source.
        names: columns of ours that the staged rows have.
        undated: `static` or `now`, for rows without valid_from.
        now: the import's moment.
        seen_before: whether this very file was imported before (its old versions are then no news).
    """

    table: str
    source: str
    names: tuple[str, ...]
    undated: str
    now: int
    seen_before: bool


def judge_versions(duck: duckdb.DuckDBPyConnection, plan: VersionPlan) -> None:
    """Make table `judged_<table>`: the staged rows in the table's schema, with `at` and `action`."""
    keys = ", ".join(KEYS[plan.table])
    names = TABLES[plan.table].names
    filled = [name for name in names if name not in (*KEYS[plan.table], c.VALID_FROM, c.SOURCE)]
    duck.execute(f"""
        CREATE OR REPLACE TABLE known_version AS
        SELECT {", ".join(names)} FROM {plan.table} WHERE ({keys}) IN (SELECT ({keys}) FROM staged_{plan.table})""")
    kept = ", ".join(f"{_or_before(name, plan)} AS {name}" for name in filled)
    duck.execute(f"""
        CREATE OR REPLACE TABLE judged_{plan.table} AS
        WITH mine AS (SELECT s.row_at, {_mine(plan)} FROM staged_{plan.table} s {_join_known(plan)}),
        everything AS (SELECT NULL::BIGINT AS row_at, * FROM known_version UNION ALL BY NAME SELECT * FROM mine),
        complete AS (
            SELECT row_at, {keys}, {c.VALID_FROM}, {c.SOURCE}, {kept} FROM everything
            WINDOW so_far AS (PARTITION BY {keys} ORDER BY {c.VALID_FROM}, row_at IS NOT NULL
                              RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)),
        hashed AS (SELECT *, md5({content_of(plan.table, filled)}) AS content FROM complete),
        compared AS (
            SELECT *, lag(content) OVER line AS before, lag({c.VALID_FROM}) OVER line AS before_from,
                   lag(row_at) OVER line AS before_at, row_number() OVER line AS place,
                   {_said_before(plan, keys)} AS said_before
            FROM hashed
            WINDOW line AS (PARTITION BY {keys} ORDER BY {c.VALID_FROM}, row_at IS NOT NULL, content, row_at))
        SELECT * EXCLUDE (before, before_from, before_at, place, content, said_before),
               CASE WHEN place = 1 THEN '{NEW}'
                    WHEN content = before AND before_at IS NOT NULL AND {c.VALID_FROM} = before_from THEN '{COLLAPSED}'
                    WHEN content = before OR said_before THEN '{THERE}'
                    WHEN {c.VALID_FROM} = before_from THEN '{COLLISION}' ELSE '{NEW}' END AS action
        FROM compared WHERE row_at IS NOT NULL""")


def _said_before(plan: VersionPlan, keys: str) -> str:
    if not plan.seen_before:
        return "false"
    return f"list_contains(list(content) FILTER (WHERE row_at IS NULL) OVER (PARTITION BY {keys}), content)"


def _or_before(name: str, plan: VersionPlan) -> str:
    """A column that the import fills, as given; another, as the last known version at that moment has it."""
    if name in plan.names:
        return name
    return f"CASE WHEN row_at IS NULL THEN {name} ELSE last_value({name} IGNORE NULLS) OVER so_far END"


def _mine(plan: VersionPlan) -> str:
    columns = []
    for field in TABLES[plan.table]:
        if field.name == c.VALID_FROM:
            written = _valid_from(plan)
        elif field.name == c.SOURCE:
            written = quoted(plan.source)
        else:
            written = f"s.{field.name}" if field.name in plan.names else f"NULL::{sql_type(field)}"
        columns.append(f"{written} AS {field.name}")
    return ", ".join(columns)


def _valid_from(plan: VersionPlan) -> str:
    """Of a catalogue without history: from ever where nothing was known, else from now on where something changed."""
    now = f"make_timestamptz({plan.now})"
    undated = now if plan.undated == "now" else f"CASE WHEN k.known THEN {now} ELSE make_timestamptz(0) END"
    return f"coalesce(s.{c.VALID_FROM}, {undated})" if c.VALID_FROM in plan.names else undated


def _join_known(plan: VersionPlan) -> str:
    keys = ", ".join(KEYS[plan.table])
    return f"LEFT JOIN (SELECT {keys}, true AS known FROM known_version GROUP BY {keys}) k USING ({keys})"


def judge_links(duck: duckdb.DuckDBPyConnection, source: str) -> None:
    """Make table `judged_identities`: staged links with `at` and `action`."""
    same = f"{c.VISITOR_ID}, {c.CUSTOMER_ID}, {c.LINKED_AT}"
    duck.execute(f"""
        CREATE OR REPLACE TABLE judged_identities AS
        SELECT s.row_at, {same}, {quoted(source)} AS {c.SOURCE},
               CASE WHEN row_number() OVER (PARTITION BY {same} ORDER BY s.row_at) > 1 THEN '{COLLAPSED}'
                    WHEN k.known THEN '{THERE}' ELSE '{NEW}' END AS action
        FROM staged_identities s LEFT JOIN (SELECT {same}, true AS known FROM identities GROUP BY ALL) k
        USING ({same})""")


def select_judged(table: str) -> str:
    """SQL for the rows to add, in the table's schema."""
    names = (IDENTITIES if table == "identities" else TABLES[table]).names
    return f"SELECT {', '.join(names)} FROM judged_{table} WHERE action = '{NEW}'"


def collided_versions(table: str) -> str:
    """SQL for the rows that collided: at, id, and the row as it was understood."""
    keys = " || ' ' || ".join(KEYS[table])
    names = ", ".join(f"'{name}', {name}" for name in TABLES[table].names)
    return (
        f"SELECT row_at, {keys} AS id, json_object({names})::VARCHAR AS raw FROM judged_{table} "
        f"WHERE action = '{COLLISION}' ORDER BY row_at"
    )
