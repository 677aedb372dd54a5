"""Which staged events are new, which are there already, and which change what is known: set-wise, out of core.

Most rows have an id that occurs once in the file and never in the dataset: they are new, and nothing more is asked of
them. The others, the suspects, get a verdict each:

1. Rows are paired with known events of the same base and the same content, one to one: those are there already.
2. What is left over of a base, in the order of its content, meets the known events of that base that are left over,
   in the order of their numbers: the same id with other content, a collision or an amendment.
3. What is still left over is new and takes the next numbers.

So a verdict depends on the set of rows, never on their order, and a file with more rows adds exactly those.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from features import columns as c
from features.importing.identity import HEX_DIGITS, base_of_known, quoted, sql_type
from features.importing.mapping import Mapping
from features.importing.staging import Staging
from features.schemas import EVENTS

NEW, REVISION, THERE, COLLAPSED, COLLISION, OLDER = "new", "revision", "there", "collapsed", "collision", "older"


@dataclass(frozen=True, slots=True)
class EventPlan:
    """How events of an import are told apart.

    Args:
        mapping: its id, natural key and policies.
        source: name of the source.
        names: columns of ours that the staged rows have.
        seen_before: whether this very file was imported before (its old truths are then not amendments).
        amended: whether the dataset holds revisions.
        now: the import's moment, at which amendments without a recorded_at became known.
    """

    mapping: Mapping
    source: str
    names: tuple[str, ...]
    seen_before: bool
    amended: bool
    now: int


def judge_events(duck: duckdb.DuckDBPyConnection, plan: EventPlan) -> None:
    """Make table `verdict`: (row_at, action, number, revision) of every suspect.

    Args:
        duck: has the views `staged_events` and `events`.
        plan: how rows are told apart.
    """
    base = base_of_known(plan.mapping)
    duck.execute(f"""
        CREATE OR REPLACE TEMP VIEW known_events AS
        SELECT {base} AS base, {c.EVENT_ID} AS id, {c.CONTENT_HASH} AS content, {c.REVISION} AS revision,
               epoch_us({c.RECORDED_AT}) AS recorded
        FROM events WHERE {_where_known(duck, plan)}""")
    _find_suspects(duck, amended=plan.amended)
    recorded = f"epoch_us({c.RECORDED_AT})" if c.RECORDED_AT in plan.names else "NULL::BIGINT"
    duck.execute(f"""
        CREATE OR REPLACE TABLE suspect_row AS
        SELECT row_at, base, {c.CONTENT_HASH} AS content, {recorded} AS recorded
        FROM staged_events WHERE hash(base) IN (SELECT key FROM suspect)""")
    duck.execute(f"""
        CREATE OR REPLACE TABLE known AS
        SELECT base, id, {_number_of("id") if not plan.mapping.has_id else "0"} AS number, max(revision) AS revision,
               arg_max(content, revision) AS content, max(recorded) AS recorded, list(content) AS contents
        FROM known_events WHERE hash(base) IN (SELECT key FROM suspect) GROUP BY ALL""")
    duck.execute(f"""
        CREATE OR REPLACE TABLE verdict AS {_verdicts(plan)}
        UNION ALL SELECT row_at, '{THERE}', 0, 0 FROM known_again""")


def _find_suspects(duck: duckdb.DuckDBPyConnection, *, amended: bool) -> None:
    """Tables `known_again`, rows that are there already without any doubt, and `suspect`, hashes of unclear bases.

    The first is a short cut for files that are imported again: a base that occurs once in the file, and in the
    dataset with the same content. It is not taken where contents were amended, because then the latest one counts.
    Hashes stand for bases because they need a fifth of the memory; a suspect too many costs nothing.
    """
    duck.execute("""
        CREATE OR REPLACE TABLE repeated AS
        SELECT key FROM (SELECT hash(base) AS key FROM staged_events) GROUP BY key HAVING count(*) > 1""")
    duck.execute(f"""
        CREATE OR REPLACE TABLE known_again AS
        SELECT row_at, hash(base) AS key FROM staged_events
        WHERE {not amended} AND (hash(base), {c.CONTENT_HASH}) IN (SELECT (hash(base), content) FROM known_events)
          AND hash(base) NOT IN (SELECT key FROM repeated)""")
    duck.execute("""
        CREATE OR REPLACE TABLE suspect AS
        SELECT key FROM repeated UNION
        SELECT hash(base) AS key FROM known_events
        WHERE hash(base) IN (SELECT hash(base) FROM staged_events)
          AND hash(base) NOT IN (SELECT key FROM known_again)""")


def _where_known(duck: duckdb.DuckDBPyConnection, plan: EventPlan) -> str:
    """Which known events can be meant at all: by their id any; by the hash of their content only equal ones."""
    if plan.mapping.has_id:
        return "true"
    same = f"{c.SOURCE} = {quoted(plan.source)}"
    if plan.mapping.natural_key:
        return same
    first, last = duck.execute(
        f"SELECT epoch_us(min({c.OCCURRED_AT})), epoch_us(max({c.OCCURRED_AT})) FROM staged_events"
    ).fetchall()[0]
    if first is None:
        return "false"
    return f"{same} AND {c.OCCURRED_AT} BETWEEN make_timestamptz({first}) AND make_timestamptz({last})"


def _number_of(event_id: str) -> str:
    return f"coalesce(try_cast(substr({event_id}, {HEX_DIGITS + 2}) AS INTEGER), 0)"


def _verdicts(plan: EventPlan) -> str:
    mapping = plan.mapping
    one_copy = mapping.has_id or mapping.duplicates == "collapse"
    amend = mapping.on_change == "amend"
    changed = f"'{REVISION if amend else COLLISION}'"
    return f"""
    WITH mine AS (
        SELECT *, row_number() OVER (PARTITION BY base, content ORDER BY recorded, row_at) - 1 AS copy
        FROM suspect_row),
    theirs AS (
        SELECT *, row_number() OVER (PARTITION BY base, content ORDER BY number) - 1 AS copy FROM known),
    met AS (
        SELECT m.row_at, m.base, m.content, m.recorded,
               CASE WHEN {one_copy} AND m.copy > 0 THEN '{COLLAPSED}'
                    WHEN t.base IS NOT NULL THEN '{THERE}' END AS action
        FROM mine m LEFT JOIN theirs t ON m.base = t.base AND m.content = t.content AND m.copy = t.copy),
    open_known AS (
        SELECT *, row_number() OVER (PARTITION BY base ORDER BY number) - 1 AS place FROM theirs t
        WHERE NOT EXISTS (FROM mine m WHERE m.base = t.base AND m.content = t.content AND m.copy = t.copy)),
    taken AS (SELECT base, max(number) AS last, count(*) AS many FROM known GROUP BY base),
    counted_open AS (SELECT base, count(*) AS many FROM open_known GROUP BY base),
    open_mine AS (
        SELECT *, row_number() OVER (PARTITION BY base ORDER BY recorded, content, row_at) - 1 AS place
        FROM met WHERE action IS NULL),
    matched AS ({_by_id(plan, changed) if mapping.has_id else _by_key(plan, changed)})
    SELECT row_at, action, number::INTEGER AS number, revision::INTEGER AS revision FROM matched
    UNION ALL SELECT row_at, action, 0, 0 FROM met WHERE action IS NOT NULL"""


def _outdated(plan: EventPlan) -> str:
    """SQL: the row says what was known before and has been amended since, so it is no news."""
    said_before = "list_contains(k.contents, o.content)"
    return f"({said_before} AND (o.recorded <= k.recorded OR {plan.seen_before}))"


def _by_key(plan: EventPlan, changed: str) -> str:
    return f"""
        SELECT o.row_at,
               CASE WHEN k.base IS NULL THEN '{NEW}' WHEN {_outdated(plan)} THEN '{THERE}'
                    WHEN o.recorded < k.recorded THEN '{OLDER}' ELSE {changed} END AS action,
               CASE WHEN k.base IS NOT NULL THEN k.number
                    ELSE coalesce(t.last + 1, 0) + o.place - coalesce(n.many, 0) END AS number,
               CASE WHEN k.base IS NULL THEN 0 ELSE k.revision + 1 END AS revision
        FROM open_mine o LEFT JOIN open_known k ON o.base = k.base AND o.place = k.place
        LEFT JOIN taken t ON o.base = t.base LEFT JOIN counted_open n ON o.base = n.base"""


def _by_id(plan: EventPlan, changed: str) -> str:
    """One known event an id at most; further rows with that id and other contents are changes, one after the other."""
    return f"""
        SELECT o.row_at,
               CASE WHEN k.base IS NULL AND o.place = 0 THEN '{NEW}' WHEN {_outdated(plan)} THEN '{THERE}'
                    WHEN o.recorded < k.recorded THEN '{OLDER}' ELSE {changed} END AS action,
               0 AS number, coalesce(k.revision + 1, 0) + o.place AS revision
        FROM open_mine o LEFT JOIN known k ON o.base = k.base"""


def select_events(plan: EventPlan, month: str) -> str:
    """SQL for one month's rows to add, in the schema of events."""
    given = {
        c.EVENT_ID: "CASE WHEN v.number > 0 THEN s.base || '-' || v.number ELSE s.base END",
        c.RECORDED_AT: _recorded_at(plan),
        c.SOURCE: quoted(plan.source),
        c.REVISION: "coalesce(v.revision, 0)::INTEGER",
        c.WITHDRAWN: f"s.{c.WITHDRAWN}" if c.WITHDRAWN in plan.names else "false",
        c.CONTENT_HASH: f"s.{c.CONTENT_HASH}",
    }
    columns = [f"{given.get(name) or _staged(name, plan.names)} AS {name}" for name in EVENTS.names]
    return (
        f"SELECT {', '.join(columns)} FROM staged_events s LEFT JOIN verdict v USING (row_at) "
        f"WHERE s.month = {quoted(month)} AND (v.action IS NULL OR v.action IN ('{NEW}', '{REVISION}'))"
    )


def _staged(name: str, names: tuple[str, ...]) -> str:
    return f"s.{name}" if name in names else f"NULL::{sql_type(EVENTS.field(name))}"


def _recorded_at(plan: EventPlan) -> str:
    amended = f"CASE WHEN v.revision > 0 THEN make_timestamptz({plan.now}) ELSE s.{c.OCCURRED_AT} END"
    return f"coalesce(s.{c.RECORDED_AT}, {amended})" if c.RECORDED_AT in plan.names else amended


def collisions(staging: Staging) -> str:
    """SQL for the rows that collided: at, id, and the row as it was understood."""
    names = ", ".join(f"'{name}', s.{name}" for name in staging.names("events") if name != c.CONTENT_HASH)
    return (
        f"SELECT row_at, s.base AS id, json_object({names})::VARCHAR AS raw "
        f"FROM staged_events s JOIN verdict v USING (row_at) WHERE v.action = '{COLLISION}' ORDER BY row_at"
    )
