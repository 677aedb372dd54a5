"""What came of decisions: outcomes that were imported, and rewards counted from events in an attribution window.

- A click counts for the decision that it names. Everything else counts for the subject, whatever caused it: the effect
  of an action is the difference between those who got it and those who did not (intention to treat).
- Money is what was paid, after discounts and coupons and without the tax inside the price. A return takes its line away
  again, in the window of the order that it undoes, however late it comes; without a known order, in its own.
- A window that had not ended at the moment of reading has no reward yet: NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from features import columns as c
from features.dataset import versions_as_of
from features.errors import DataError
from features.moments import format_instant
from training.uplift.log import BEFORE, Doubles

MARGIN: Final = ":margin"
"""`<outcome>:margin` is the margin of an imported outcome."""
VISITS: Final = (
    "view", "search", "cart", "cart_remove", "wishlist", "wishlist_remove", "purchase", "click", "sign_in", "rating",
)  # fmt: skip
"""Events that a subject makes in the shop."""
EVENT_REWARDS: Final = ("click", "visit", "purchase", "revenue", "margin", "unsubscribe", "complaint")
"""Rewards that events give. The first three and the last two are 1 or 0; the others are in the shop's currency."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Rewards of decisions.

    Args:
        rewards: name -> float64[n]; NaN where not known.
        notes: sentences.
    """

    rewards: dict[str, Doubles]
    notes: tuple[str, ...]


def outcomes_of(
    duck: duckdb.DuckDBPyConnection,
    rows: pa.Table,
    names: Sequence[str],
    *,
    window: int,
    now: int,
    from_events: bool = False,
) -> Outcomes:
    """Rewards of the decisions in `chosen`.

    Args:
        duck: a connection that knows `chosen`, `known_events` and `outcomes`.
        rows: `chosen`, by place.
        names: wanted; none: all imported ones.
        window: microseconds.
        now: the moment of reading, microseconds.
        from_events: count `names` from events, whatever was imported.

    Raises:
        DataError: an unknown name, an outcome before its decision, or no decision whose window has ended.
    """
    imported = [name for name in _imported_names(duck) if not from_events or name.startswith(BEFORE)]
    wanted = list(dict.fromkeys([*(names or imported), *(name for name in imported if name.startswith(BEFORE))]))
    _insist_on_names(wanted, imported)
    _insist_on_order(duck)
    ended = rows[c.DECIDED_AT].cast(pa.int64()).to_numpy() + window <= now
    found: dict[str, Doubles] = {}
    notes: list[str] = []
    for name in wanted:
        if name.removesuffix(MARGIN) in imported:
            found[name] = _imported(duck, name, ended, window=window, now=now)
    rest = [name for name in wanted if name not in found]
    if rest:
        money_lines(duck, now, notes)
        for name in rest:
            found[name] = _counted(duck, name, ended, window)
    _note(found, notes)
    return Outcomes({name: found[name] for name in wanted}, tuple(notes))


def _imported_names(duck: duckdb.DuckDBPyConnection) -> list[str]:
    rows = duck.execute(f"""
        SELECT DISTINCT reward FROM outcomes SEMI JOIN chosen USING ({c.DECISION_ID}) ORDER BY reward""").fetchall()
    return [name for (name,) in rows]


def _insist_on_names(wanted: Iterable[str], imported: Sequence[str]) -> None:
    """Raises: DataError: a reward that neither outcomes nor events give."""
    for name in wanted:
        if name.removesuffix(MARGIN) not in imported and name.removeprefix(BEFORE) not in EVENT_REWARDS:
            have = ", ".join(imported) or "none"
            hint = f"imported with these decisions: {have}; from events: {', '.join(EVENT_REWARDS)}"
            raise DataError("no such reward", where="rewards", got=name, hint=hint)


def _insist_on_order(duck: duckdb.DuckDBPyConnection) -> None:
    """Raises: DataError: an imported outcome is earlier than its decision."""
    early = duck.execute(f"""
        SELECT count(*), any_value({c.DECISION_ID}), any_value(reward) FROM outcomes JOIN chosen USING ({c.DECISION_ID})
        WHERE "at" < {c.DECIDED_AT} AND NOT starts_with(reward, '{BEFORE}')""").fetchall()[0]
    if early[0]:
        hint = f"what happened before is a placebo: name it {BEFORE}{early[2]}, or mend the times"
        raise DataError(f"{early[0]} outcomes before their decision", where=f"decision {early[1]}", hint=hint)


def _imported(
    duck: duckdb.DuckDBPyConnection, name: str, ended: np.typing.NDArray[np.bool_], *, window: int, now: int
) -> Doubles:
    """float64[n]: sums of an imported outcome inside the window. No row is 0 once the window has ended.

    An outcome without a time is taken as it was imported: the file said what came of the decision.
    """
    moment = f"TIMESTAMPTZ '{format_instant(now)}'"
    inside = f"""("at" IS NULL OR ("at" < {moment} AND epoch_us("at") < epoch_us({c.DECIDED_AT}) + {window}))"""
    value = "coalesce(margin, 'NaN'::DOUBLE)" if name.endswith(MARGIN) else "value"
    rows = duck.sql(
        f"""SELECT place, sum({value}) AS value, bool_and("at" IS NULL) AS told
            FROM outcomes JOIN chosen USING ({c.DECISION_ID}) WHERE reward = $1 AND {inside} GROUP BY place""",
        params=[name.removesuffix(MARGIN)],
    ).to_arrow_table()
    place = rows["place"].to_numpy()
    found = np.zeros(len(ended))
    found[place] = rows["value"].to_numpy()
    known = ended.copy()
    known[place[rows["told"].to_numpy()]] = True
    return np.where(known, found, np.nan)


def money_lines(duck: duckdb.DuckDBPyConnection, now: int, notes: list[str]) -> None:
    """Make table `lines`: purchases and returns with their money, at the moment whose window they count for.

    `happened` is when they were seen: what is known before a moment must not hold a later return of an older order.

    Args:
        duck: a connection that knows `known_events` and `items`.
        now: the moment of reading, microseconds.
        notes: what is not known is said here.
    """
    signed = f"CASE WHEN e.{c.TYPE} = 'return' THEN -1 ELSE 1 END"
    duck.execute(f"""
        CREATE OR REPLACE TEMP TABLE lines AS
        WITH taxes AS (SELECT {c.ITEM_ID}, tax_rate FROM ({versions_as_of("items", now)})
                       WHERE tax_included AND tax_rate > 0),
        costs AS (SELECT {c.ITEM_ID}, {c.VALID_FROM}, any_value(unit_cost) AS unit_cost FROM items
                  WHERE unit_cost IS NOT NULL GROUP BY {c.ITEM_ID}, {c.VALID_FROM}),
        oldest AS (SELECT {c.ITEM_ID}, arg_min(unit_cost, {c.VALID_FROM}) AS unit_cost FROM costs GROUP BY {c.ITEM_ID}),
        undone AS (SELECT subject, {c.ORDER_ID}, {c.ITEM_ID}, min({c.OCCURRED_AT}) AS bought_at FROM known_events
                   WHERE {c.TYPE} = 'purchase' AND {c.ORDER_ID} IS NOT NULL GROUP BY ALL),
        sold AS (SELECT subject, {c.TYPE}, {c.ITEM_ID}, {c.ORDER_ID}, {c.OCCURRED_AT},
                        coalesce({c.QUANTITY}, 1) AS units, {c.UNIT_PRICE} * coalesce({c.QUANTITY}, 1) AS listed,
                        {c.UNIT_PRICE} * coalesce({c.QUANTITY}, 1) - coalesce({c.DISCOUNT}, 0) AS paid
                 FROM known_events WHERE {c.TYPE} IN ('purchase', 'return'))
        SELECT e.subject, e.{c.TYPE}, coalesce(u.bought_at, e.{c.OCCURRED_AT}) AS moment,
               e.{c.OCCURRED_AT} AS happened,
               {signed} * e.units AS units,
               {signed} * e.listed / (1 + coalesce(t.tax_rate, 0)) AS listed,
               {signed} * e.paid / (1 + coalesce(t.tax_rate, 0)) AS revenue,
               {signed} * (e.paid / (1 + coalesce(t.tax_rate, 0)) - e.units * coalesce(k.unit_cost, o.unit_cost, 0))
                   AS margin,
               coalesce(k.unit_cost, o.unit_cost) IS NOT NULL AS costed
        FROM sold e LEFT JOIN taxes t USING ({c.ITEM_ID}) LEFT JOIN oldest o USING ({c.ITEM_ID})
        ASOF LEFT JOIN costs k ON e.{c.ITEM_ID} = k.{c.ITEM_ID} AND e.{c.OCCURRED_AT} >= k.{c.VALID_FROM}
        LEFT JOIN undone u ON e.{c.TYPE} = 'return' AND e.subject = u.subject AND e.{c.ORDER_ID} = u.{c.ORDER_ID}
             AND e.{c.ITEM_ID} IS NOT DISTINCT FROM u.{c.ITEM_ID}""")
    priceless, uncosted = duck.execute("""
        SELECT count(*) FILTER (revenue IS NULL), count(*) FILTER (revenue IS NOT NULL AND NOT costed) FROM lines
        """).fetchall()[0]
    if priceless:
        notes.append(f"{priceless:,} lines of these subjects have no price and bring no money.")
    if uncosted:
        notes.append(f"{uncosted:,} lines have no known cost: their revenue stands for their margin.")


def _counted(duck: duckdb.DuckDBPyConnection, name: str, ended: np.typing.NDArray[np.bool_], window: int) -> Doubles:
    """float64[n]: a reward from events. `before:<name>` is the same in the window before the decision."""
    what = name.removeprefix(BEFORE)
    start, end = ("d.at_us", f"d.at_us + {window}") if what == name else (f"d.at_us - {window}", "d.at_us")
    events, moment, value, link = _parts(what)
    seen = "AND epoch_us(e.happened) < d.at_us" if what != name and what in ("revenue", "margin", "purchase") else ""
    joined = f"e.{c.DECISION_ID} = d.{c.DECISION_ID}" if link else "e.subject = d.subject"
    table = duck.sql(f"""
        SELECT place, {value} AS value
        FROM (SELECT place, subject, {c.DECISION_ID}, epoch_us({c.DECIDED_AT}) AS at_us FROM chosen) d
        JOIN (SELECT *, epoch_us({moment}) AS e_us FROM {events}) e
             ON {joined} AND e.e_us >= {start} AND e.e_us < {end} {seen}
        GROUP BY place""").to_arrow_table()
    found = np.zeros(len(ended))
    found[table["place"].to_numpy()] = table["value"].to_numpy()
    return found if what != name else np.where(ended, found, np.nan)


def _parts(what: str) -> tuple[str, str, str, bool]:
    """Of a reward: the events, their moment, what they add up to, and whether they must name the decision."""
    if what in ("revenue", "margin"):
        return "lines", "moment", f"coalesce(sum(e.{what}), 0)", False
    if what == "purchase":
        # A return that names its order counts for it; an order that was sent back whole is none.
        kept = "CASE WHEN sum(e.units) > 0 THEN 1.0 ELSE 0.0 END"
        return "(FROM lines WHERE type = 'purchase' OR moment < happened)", "moment", kept, False
    if what == "click":
        named = f"(FROM source_events WHERE {c.TYPE} = 'click' AND {c.DECISION_ID} IS NOT NULL)"
        return named, c.OCCURRED_AT, "1.0", True
    kinds = VISITS if what == "visit" else (what,)
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    return f"(FROM known_events WHERE {c.TYPE} IN ({listed}))", c.OCCURRED_AT, "1.0", False


def _note(found: dict[str, Doubles], notes: list[str]) -> None:
    """Count what is not known.

    Raises:
        DataError: nothing is known of a reward.
    """
    for name, values in found.items():
        missing = int(np.isnan(values).sum())
        if missing == len(values):
            hint = "read later, or give a shorter window"
            raise DataError("no decision's window has ended, so nothing is known", where=f"reward {name}", hint=hint)
        if missing:
            notes.append(f"{name} is not known yet (or was not told) for {missing:,} of {len(values):,} decisions.")
