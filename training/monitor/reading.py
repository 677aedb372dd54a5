"""What windows are measured on: the dataset's events and decisions in DuckDB, read once for all windows.

`Look` keeps tables of them, each row with who it is about (a number, for clustering), its day where the shop is, and
when it was recorded; `Look.sides` narrows them to one window and its reference, as they were known then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from features import columns as c
from features.dataset import Dataset, events_as_of
from training.monitor.windows import Window

WHO = f"coalesce('c:' || {c.CUSTOMER_ID}, 'v:' || {c.VISITOR_ID})"
"""SQL: the customer, else the visitor, else null."""
EVENTS = (
    c.EVENT_ID, c.TYPE, c.ITEM_ID, c.UNIT_PRICE, c.QUANTITY, c.CHANNEL, c.TRAFFIC_SOURCE, c.DEVICE, c.REGION,
    c.SESSION_ID,
)  # fmt: skip
DECISIONS = (
    c.DECISION_ID, "surface", "slot", "policy", c.ACTION_ID, "items", "action_propensity", "drawn", "reused_from",
    "bundle_id", "holdout", "fallback", "logged", "eligible", c.CUSTOMER_ID,
)  # fmt: skip
PUSHED = ("sent", "delivered", "open", "bounce", "unsubscribe", "complaint")
"""Events that come by the shop's own calendar of mails: a week with a campaign is no drift of its customers."""
ASKED = "(starts_with(surface, 'page.') OR starts_with(surface, 'api.'))"
"""SQL: decisions that somebody's request brought, not a campaign's."""
ACTIVE = 28
"""Days over which it is counted what an active customer did before: all that ever was only grows."""
Erased = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at in the rows of a view.

    Args:
        name, title: for metrics, and for people.
        expression: SQL over the view.
        view: `event`, `person` or `decision`.
        where: SQL, which rows it is about.
        remedy: what to do where it moved.
    """

    name: str
    title: str
    expression: str
    view: str = "event"
    where: str = "true"
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """A connection with tables `base` (events), `days` (customers by active day), `made` (decisions) and `kinds`
    (items); after `sides`, also with views `event`, `person` and `decision`: rows of one window (side 1) and of its
    reference (side 0).
    """

    duck: duckdb.DuckDBPyConnection
    dataset: Dataset
    time_zone: str

    def row(self, query: str) -> tuple[Any, ...]:
        """The one row of a query."""
        (found,) = self.duck.execute(query).fetchall()
        return tuple(found)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query that answers with figures, not with tables."""
        found: list[tuple[Any, ...]] = self.duck.execute(query).fetchall()
        return found

    def table(self, query: str) -> pa.Table:
        """What a query gives, as arrays."""
        return self.duck.sql(query).to_arrow_table()

    def sides(self, window: Window) -> None:
        """Narrow to a window and its reference."""
        listed = ", ".join(map(str, window.weekdays))
        for view, table in (("event", "base"), ("person", "days"), ("decision", "made")):
            self.duck.execute(f"""
                CREATE OR REPLACE TEMP TABLE {view} AS
                SELECT *, (moment >= {window.start})::INT AS side FROM {table}
                WHERE weekday IN ({listed}) AND (
                    (moment >= {window.start} AND moment < {window.end} AND known <= {window.end})
                    OR (moment >= {window.since} AND moment < {window.until} AND known <= {window.until}))""")


@contextmanager
def looking(dataset: Dataset, since: int, until: int, time_zone: str, erased: Erased | None = None) -> Iterator[Look]:
    """Read what windows between two instants need.

    Args:
        dataset: committed tables.
        since: the earliest beginning of a reference.
        until: the latest end of a window.
        time_zone: of the shop.
        erased: whether a subject asked to be forgotten; rows of such are left out.

    Raises:
        DataError: no dataset.
    """
    manifest = dataset.manifest()
    with dataset.connect() as duck:
        duck.execute(f"CREATE TEMP VIEW told AS {events_as_of(until, amended=manifest.amended)}")
        _people(duck, erased)
        _events(duck, since, time_zone)
        _days(duck, since, until, time_zone)
        _decisions(duck, since, until, time_zone)
        duck.execute(f"""
            CREATE TEMP TABLE kinds AS SELECT {c.ITEM_ID}, arg_max({c.CATEGORY}[1], {c.VALID_FROM}) AS department,
                   arg_max({c.BRAND}, {c.VALID_FROM}) AS brand, min(epoch_us({c.VALID_FROM})) AS listed
            FROM items WHERE {c.VALID_FROM} <= make_timestamptz({until}) GROUP BY {c.ITEM_ID}""")
        yield Look(duck, dataset, time_zone)


def _people(duck: duckdb.DuckDBPyConnection, erased: Erased | None) -> None:
    """Make table `people`: a number for each subject that is not erased; the same in every run, as draws go by it."""
    duck.execute(f"""
        CREATE TEMP TABLE people AS SELECT subject, row_number() OVER (ORDER BY subject) AS who FROM (
            SELECT DISTINCT {WHO} AS subject FROM told UNION SELECT DISTINCT {WHO} FROM decisions)
        WHERE subject IS NOT NULL""")
    if erased is None:
        return
    subjects = duck.execute("SELECT subject FROM people").fetchall()
    gone = [subject for (subject,) in subjects if erased(subject)]
    duck.execute("UPDATE people SET who = NULL WHERE subject IN (SELECT unnest($gone::VARCHAR[]))", {"gone": gone})


def _events(duck: duckdb.DuckDBPyConnection, since: int, time_zone: str) -> None:
    """What people did. An event of nobody is a subject of its own; those of the erased are left out."""
    duck.execute(f"""
        CREATE TEMP TABLE base AS
        SELECT {", ".join(f"e.{name}" for name in EVENTS)}, epoch_us({c.OCCURRED_AT}) AS moment,
               epoch_us({c.RECORDED_AT}) AS known, e.{c.CUSTOMER_ID} IS NOT NULL AS named,
               coalesce(p.who, -row_number() OVER (ORDER BY e.{c.EVENT_ID})) AS who, {_local(c.OCCURRED_AT, time_zone)}
        FROM told e LEFT JOIN people p ON p.subject = {WHO}
        WHERE {c.OCCURRED_AT} >= make_timestamptz({since}) AND (p.subject IS NULL OR p.who IS NOT NULL)
          AND e.{c.TYPE} NOT IN ({placeholders(PUSHED)})""")


def _days(duck: duckdb.DuckDBPyConnection, since: int, until: int, time_zone: str) -> None:
    """Customers by day on which they did something: how many events in the weeks before, and how long ago the last."""
    local = f"({c.OCCURRED_AT} AT TIME ZONE '{time_zone}')::DATE"
    duck.execute(f"""
        CREATE TEMP TABLE days AS
        WITH by_day AS (
            SELECT p.who, {local} AS day, count(*) AS n, epoch_us(min({c.OCCURRED_AT})) AS moment,
                   epoch_us(min({c.RECORDED_AT})) AS known
            FROM told e JOIN people p ON p.subject = 'c:' || e.{c.CUSTOMER_ID}
            WHERE p.who IS NOT NULL AND e.{c.TYPE} NOT IN ({placeholders(PUSHED)}) GROUP BY ALL)
        SELECT who, day, isodow(day) AS weekday, moment, known,
               coalesce(sum(n) OVER (
                   earlier RANGE BETWEEN INTERVAL {ACTIVE} DAYS PRECEDING AND INTERVAL 1 DAY PRECEDING), 0) AS lately,
               day - lag(day) OVER earlier AS recency
        FROM by_day WINDOW earlier AS (PARTITION BY who ORDER BY day)
        QUALIFY moment >= {since} AND moment < {until}""")


def _decisions(duck: duckdb.DuckDBPyConnection, since: int, until: int, time_zone: str) -> None:
    """Decisions of the shop's own: what somebody imported as an experiment says nothing of its service."""
    duck.execute(f"""
        CREATE TEMP TABLE made AS
        SELECT {", ".join(f"d.{name}" for name in DECISIONS)}, {ASKED} AS asked, epoch_us({c.DECIDED_AT}) AS moment,
               epoch_us({c.DECIDED_AT}) AS known,
               coalesce(p.who, -row_number() OVER (ORDER BY d.{c.DECISION_ID})) AS who,
               {_local(c.DECIDED_AT, time_zone)}
        FROM decisions d LEFT JOIN people p ON p.subject = {WHO}
        WHERE {c.DECIDED_AT} >= make_timestamptz({since}) AND {c.DECIDED_AT} < make_timestamptz({until})
          AND (p.subject IS NULL OR p.who IS NOT NULL)
          AND NOT starts_with(policy, 'experiment:') AND NOT starts_with(policy, 'observational:')""")


def _local(column: str, time_zone: str) -> str:
    """SQL: day, weekday and hour of a moment where the shop is; the zone is a known name, so it holds no quotes."""
    local = f"({column} AT TIME ZONE '{time_zone}')"
    return f"{local}::DATE AS day, isodow({local}) AS weekday, hour({local}) AS hour"


def placeholders(names: Sequence[str]) -> str:
    """Names as a list of SQL texts."""
    return ", ".join(map(quoted, names))


def quoted(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"
