"""What came of each subject of an experiment after it entered, and the same of the time before.

- A visit is a session; where none is recorded, what a subject does within half an hour of its last step.
- An order counts while it still holds something: one that was sent back whole is none.
- Money is what was paid, after discounts and without the tax inside the price, less what was sent back: a return
  counts at the order that it undoes.
- `unsubscribe` and `complaint` are 1 where it happened at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import duckdb
import numpy as np

from features import columns as c
from features.errors import DataError, NotFoundError
from features.moments import DAY
from serving.strict import nearest
from training.experiments.cohort import Doubles, Entrants
from training.uplift.log import BEFORE
from training.uplift.outcomes import VISITS, money_lines
from training.value.money import COSTED

COUNTED: Final = ("visits", "orders", "revenue", "margin", "unsubscribe", "complaint")
"""Outcomes that events give."""
GUARDS: Final = ("unsubscribe", "complaint")
"""Outcomes of which nobody wants more."""
FORETELLING: Final = ("visits", "orders", "revenue")
"""What of the time before foretells all that events give."""
PAUSE: Final = "INTERVAL 30 MINUTE"


@dataclass(frozen=True, slots=True)
class Collected:
    """Outcomes of the subjects, by place.

    Args:
        outcomes: name -> float64[n]; NaN where unknown.
        before: name -> float64[n], of the days before entering; only where events are known.
        placebos: name -> float64[n], imported outcomes that are older than the experiment.
        notes: sentences.
    """

    outcomes: dict[str, Doubles]
    before: dict[str, Doubles]
    placebos: dict[str, Doubles]
    notes: tuple[str, ...]


def collect(
    duck: duckdb.DuckDBPyConnection, entrants: Entrants, wanted: Sequence[str], guards: Sequence[str], before: float
) -> Collected:
    """Outcomes of the subjects.

    Args:
        duck: a connection that knows `entrants`, `owned` and `known_events`.
        entrants: the subjects.
        wanted: outcomes in order; none: the usual ones, which are money, orders and visits, or those of the import.
        guards: outcomes that are wanted in any case, as are unsubscriptions and complaints where there are any.
        before: days before entering.

    Raises:
        NotFoundError: an outcome that neither events nor the import give (with the nearest).
        DataError: a guard of margin where the costs are not known.
    """
    imported = _imported_names(duck)
    notes: list[str] = []
    events = bool(duck.execute("SELECT count(*) FROM (SELECT 1 FROM known_events LIMIT 1)").fetchall()[0][0])
    if events:
        _prepare(duck, entrants.now, notes)
    unit = _unit(duck, notes) if events else "revenue"
    usual = [unit, "orders", "visits"] if not entrants.imported or not imported else imported
    happened = [name for name in GUARDS if events and name not in wanted and _any(duck, name)]
    names = list(dict.fromkeys([*(wanted or usual), *guards, *happened]))
    _insist(names, imported)
    if unit == "revenue" and "margin" in names and "margin" not in imported:
        if "margin" in guards:
            hint = "guard revenue, or bring the costs of goods into the dataset"
            raise DataError("too few costs are known for a guard of margin", where="--guard", got="margin", hint=hint)
        names = list(dict.fromkeys("revenue" if name == "margin" else name for name in names))
    foretelling = [*FORETELLING, *(["margin"] if unit == "margin" else [])] if events else []
    return Collected(
        {name: _imported(duck, len(entrants), name) if name in imported else _counted(duck, entrants, name, None)
         for name in names},
        {name: _counted(duck, entrants, name, before) for name in foretelling},
        {name: _imported(duck, len(entrants), name) for name in _imported_names(duck, before=True)},
        tuple(notes),
    )  # fmt: skip


def _imported_names(duck: duckdb.DuckDBPyConnection, *, before: bool = False) -> list[str]:
    kind = f"{'' if before else 'NOT'} starts_with(reward, '{BEFORE}')"
    rows = duck.execute(f"""
        SELECT reward FROM outcomes SEMI JOIN owned USING ({c.DECISION_ID}) WHERE {kind}
        GROUP BY reward ORDER BY reward""").fetchall()
    return [name for (name,) in rows]


def _insist(names: Sequence[str], imported: Sequence[str]) -> None:
    """Raises: NotFoundError: an outcome of that name is not known."""
    for name in names:
        if name not in COUNTED and name not in imported:
            known = list(dict.fromkeys([*imported, *COUNTED]))
            raise NotFoundError("no such outcome", where="--outcome", got=name, hint=nearest(name, known))


def _prepare(duck: duckdb.DuckDBPyConnection, now: int, notes: list[str]) -> None:
    """Make tables `lines`, `kept_orders`, `kept_before` (as it was at entering) and `visits`."""
    money_lines(duck, now, notes)
    kinds = ", ".join(f"'{kind}'" for kind in VISITS)
    bought = f"{c.TYPE} = 'purchase'"
    earlier = f"(SELECT e.* FROM known_events e JOIN entrants d USING (subject) WHERE e.{c.OCCURRED_AT} < d.entered)"
    for table, events in {"kept_orders": "known_events", "kept_before": earlier}.items():
        duck.execute(f"""
            CREATE OR REPLACE TEMP TABLE {table} AS
            SELECT subject, min({c.OCCURRED_AT}) FILTER ({bought}) AS moment FROM {events}
            WHERE {c.TYPE} IN ('purchase', 'return') AND {c.ORDER_ID} IS NOT NULL GROUP BY subject, {c.ORDER_ID}
            HAVING count(*) FILTER ({bought}) > 0
                   AND sum(CASE WHEN {bought} THEN 1 ELSE -1 END * coalesce({c.QUANTITY}, 1)) > 0
            UNION ALL
            SELECT DISTINCT subject, {c.OCCURRED_AT} FROM {events} WHERE {bought} AND {c.ORDER_ID} IS NULL""")
    duck.execute(f"""
        CREATE OR REPLACE TEMP TABLE visits AS
        SELECT subject, min({c.OCCURRED_AT}) AS moment FROM known_events
        WHERE {c.TYPE} IN ({kinds}) AND {c.SESSION_ID} IS NOT NULL GROUP BY subject, {c.SESSION_ID}
        UNION ALL
        (SELECT subject, {c.OCCURRED_AT} FROM known_events WHERE {c.TYPE} IN ({kinds}) AND {c.SESSION_ID} IS NULL
         QUALIFY coalesce({c.OCCURRED_AT} - lag({c.OCCURRED_AT}) OVER
                          (PARTITION BY subject ORDER BY {c.OCCURRED_AT}) > {PAUSE}, true))""")


def _unit(duck: duckdb.DuckDBPyConnection, notes: list[str]) -> str:
    """`margin` where the cost is known for so much of the revenue, else `revenue`; lines without a cost count alike."""
    paid, known, earned = duck.execute("""
        SELECT coalesce(sum(revenue), 0), coalesce(sum(revenue) FILTER (costed), 0),
               coalesce(sum(margin) FILTER (costed), 0)
        FROM lines WHERE type = 'purchase' AND revenue IS NOT NULL""").fetchall()[0]
    share = known / paid if paid > 0 else 0.0
    notes[:] = [note for note in notes if "no known cost" not in note]  # no line's revenue stands for its margin here
    if share < COSTED:
        notes.append(f"Money is revenue: the cost is known for {share:.1%} of it, and margin needs {COSTED:.0%}.")
        return "revenue"
    if share < 1:
        notes.append(
            f"Lines without a cost count {earned / known:.1%} of their price, which is the margin of the others."
        )
    duck.execute("UPDATE lines SET margin = revenue * $rate WHERE NOT costed", {"rate": earned / known})
    return "margin"


def _any(duck: duckdb.DuckDBPyConnection, kind: str) -> bool:
    return bool(duck.execute(f"SELECT 1 FROM known_events WHERE {c.TYPE} = $1 LIMIT 1", [kind]).fetchall())


def _counted(duck: duckdb.DuckDBPyConnection, entrants: Entrants, name: str, before: float | None) -> Doubles:
    """float64[n]: what events give, from entering to the end of following, or in the days before entering."""
    found = np.zeros(len(entrants))
    if not _has(duck, "lines"):
        return found
    table, moment, value = {
        "visits": ("visits", "moment", "count(*)"),
        "orders": ("kept_orders", "moment", "count(*)"),
        "revenue": ("lines", "moment", "coalesce(sum(revenue), 0)"),
        "margin": ("lines", "moment", "coalesce(sum(margin), 0)"),
    }.get(name, (f"(FROM known_events WHERE {c.TYPE} = '{name}')", c.OCCURRED_AT, "1"))
    inside = f"e.{moment} >= d.entered AND e.{moment} < d.until"
    if before is not None:
        inside = f"e.{moment} < d.entered AND e.{moment} >= d.entered - to_microseconds({int(before * DAY)})"
        inside += " AND e.happened < d.entered" if table == "lines" else ""  # later returns are no past
        table = "kept_before" if table == "kept_orders" else table
    rows = duck.sql(f"""
        SELECT place, {value}::DOUBLE AS value FROM entrants d JOIN {table} e USING (subject) WHERE {inside}
        GROUP BY place""").to_arrow_table()
    found[rows["place"].to_numpy()] = rows["value"].to_numpy()
    return found


def _has(duck: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(duck.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = $1", [table]).fetchall())


def _imported(duck: duckdb.DuckDBPyConnection, n: int, name: str) -> Doubles:
    """float64[n]: sums of an imported outcome over the subject's decisions; 0 where no row tells of it.

    An outcome without a time is taken as it was imported; one with a time counts from entering to the end of following.
    """
    inside = 'o."at" IS NULL OR (o."at" >= d.entered AND o."at" < d.until)'
    rows = duck.sql(
        f"""SELECT place, sum(value) AS value
            FROM outcomes o JOIN owned USING ({c.DECISION_ID}) JOIN entrants d USING (subject)
            WHERE o.reward = $1 AND ({inside if not name.startswith(BEFORE) else "true"}) GROUP BY place""",
        params=[name],
    ).to_arrow_table()
    found = np.zeros(n)
    found[rows["place"].to_numpy()] = rows["value"].to_numpy()
    return found
