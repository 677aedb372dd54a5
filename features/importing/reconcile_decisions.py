"""Which staged decisions and outcomes are new. The same decision again adds nothing; one that says otherwise collides.

A decision is known by its id, an outcome by decision and reward. Within one file a row that names a decision again is
collapsed where all of it is equal, its results included, and collides where anything differs: the first row stands.
"""

from __future__ import annotations

from typing import Final

import duckdb
import pyarrow as pa

from features import columns as c
from features.importing.identity import content_of, quoted, sql_type
from features.importing.reconcile_events import COLLAPSED, COLLISION, NEW, THERE
from features.importing.staging import MONTH, Staging
from features.schemas import DECISIONS, OUTCOMES

REFUSED: Final = "refused"
"""An outcome whose decision collided."""
_SAME = "{0}.value IS NOT DISTINCT FROM {1}.value AND {0}.margin IS NOT DISTINCT FROM {1}.margin"


def judge_decisions(duck: duckdb.DuckDBPyConnection, source: str, staging: Staging) -> None:
    """Make table `judged_decisions`: the staged rows in the table's schema, with `row_at` and `action`."""
    names = staging.names("decisions")
    typed = ", ".join(f"{_typed(field, names, source)} AS {field.name}" for field in DECISIONS)
    schema = staging.schemas["decisions"].names
    carried = [f"coalesce({name}::VARCHAR, '')" for name in schema if name not in (*DECISIONS.names, "row_at", MONTH)]
    results = f"concat_ws(chr(31), {', '.join(carried)})" if carried else "''"
    content = f"md5({content_of('decisions', names)})"
    duck.execute(f"""
        CREATE OR REPLACE TABLE judged_decisions AS
        WITH mine AS (SELECT s.row_at, {typed}, {results} AS results FROM staged_decisions s),
        hashed AS (SELECT *, {content} AS content, md5({content} || results) AS whole FROM mine),
        known AS (SELECT {c.DECISION_ID}, any_value({content}) AS before FROM decisions
                  WHERE {c.DECISION_ID} IN (SELECT {c.DECISION_ID} FROM staged_decisions) GROUP BY {c.DECISION_ID}),
        compared AS (
            SELECT h.*, k.before, row_number() OVER line AS place, first_value(whole) OVER line AS first
            FROM hashed h LEFT JOIN known k USING ({c.DECISION_ID})
            WINDOW line AS (PARTITION BY {c.DECISION_ID} ORDER BY row_at))
        SELECT * EXCLUDE (results, content, whole, before, place, first),
               CASE WHEN place > 1 AND whole = first THEN '{COLLAPSED}' WHEN place > 1 THEN '{COLLISION}'
                    WHEN before IS NULL THEN '{NEW}' WHEN before = content THEN '{THERE}'
                    ELSE '{COLLISION}' END AS action
        FROM compared""")


def _typed(field: pa.Field, names: list[str], source: str) -> str:
    """A staged column in the schema's type."""
    if field.name == c.SOURCE:
        return quoted(source)
    if field.name not in names:
        return f"NULL::{sql_type(field)}"
    if pa.types.is_integer(field.type):
        return f"s.{field.name}::INTEGER"
    return f"coalesce(s.{field.name}, 'NaN'::DOUBLE)" if field.name == "action_propensity" else f"s.{field.name}"


def select_decisions(month: str) -> str:
    """SQL for one month's decisions to add, in the table's schema."""
    return (
        f"SELECT {', '.join(DECISIONS.names)} FROM judged_decisions "
        f"WHERE action = '{NEW}' AND strftime({c.DECIDED_AT}, '%Y-%m') = {quoted(month)}"
    )


def judge_outcomes(duck: duckdb.DuckDBPyConnection, source: str) -> None:
    """Make table `judged_outcomes`: the staged ones in the table's schema, with `row_at` and `action`."""
    names = ", ".join(_quoted_name(name) for name in OUTCOMES.names if name != c.SOURCE)
    duck.execute(f"""
        CREATE OR REPLACE TABLE judged_outcomes AS
        WITH known AS (SELECT {c.DECISION_ID}, reward, any_value(value) AS value, any_value(margin) AS margin,
                              true AS known FROM outcomes GROUP BY {c.DECISION_ID}, reward)
        SELECT s.row_at, s.* EXCLUDE (row_at, decided_row), {quoted(source)} AS {c.SOURCE},
               CASE WHEN d.action = '{COLLISION}' THEN '{REFUSED}' WHEN d.action = '{COLLAPSED}' THEN '{COLLAPSED}'
                    WHEN NOT coalesce(k.known, false) THEN '{NEW}' WHEN {_SAME.format("s", "k")} THEN '{THERE}'
                    ELSE '{COLLISION}' END AS action
        FROM (SELECT row_at, decided_row, {names} FROM staged_outcomes) s
        JOIN (SELECT row_at AS decided_row, action FROM judged_decisions) d USING (decided_row)
        LEFT JOIN known k ON s.{c.DECISION_ID} = k.{c.DECISION_ID} AND s.reward = k.reward""")


def select_outcomes() -> str:
    """SQL for the outcomes to add, in the table's schema."""
    names = ", ".join(_quoted_name(name) for name in OUTCOMES.names)
    return f"SELECT {names} FROM judged_outcomes WHERE action = '{NEW}'"


def collided_decisions(table: str) -> str:
    """SQL for the rows that collided: at, id, and the row as it was understood."""
    schema = DECISIONS if table == "decisions" else OUTCOMES
    names = ", ".join(f"'{name}', {_quoted_name(name)}" for name in schema.names)
    return (
        f"SELECT row_at, {c.DECISION_ID} AS id, json_object({names})::VARCHAR AS raw FROM judged_{table} "
        f"WHERE action = '{COLLISION}' ORDER BY row_at"
    )


def _quoted_name(name: str) -> str:
    """`at` is a word of SQL's own."""
    return f'"{name}"'
