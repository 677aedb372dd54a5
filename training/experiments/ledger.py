"""What everybody brought in a month: who was held out, what was bought and sent back, which decision came last before.

A subject is a resolved person who was decided for before the month ended, also long before: coming back at all is part
of what personalisation does, so those who did not come back stay in. What counts begins with the first decision.

The permanent holdout is a hash of the customer, or of the visitor while no customer is known. So the group of a person
is that of the decisions made for the customer, where there are any; what the same browser got before is its past.
Imported experiments know no holdout and put nobody into a group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt

from features import columns as c
from features.build import resolved_sql
from features.dataset import Dataset
from features.errors import DataError
from features.moments import DAY, format_instant
from training.experiments.months import Month
from training.session import silent
from training.uplift.outcomes import money_lines
from training.uplift.reading import opened
from training.value.money import COSTED

Doubles = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
LINES: Final = ("sales", "discounts", "returns", "goods", "contact")
"""What the money of a subject is the sum of, without tax: sales at the listed price, discounts and coupons, returns,
what the goods cost, what reaching the subject cost. All but the first are negative where they cost the shop."""
REVENUE: Final = ("sales", "discounts", "returns")
MARGIN: Final = (*REVENUE, "goods")
WINDOW: Final = 7 * DAY
"""How long before a purchase a decision may lie that it is put down to."""
BEFORE: Final = 91 * DAY
"""How long before the first decision the money counts that foretells, so that customers differ less by chance."""
TORN: Final = "their decisions say both groups"
STRANGERS: Final = "only imported experiments decided for them, and these know no holdout"
NOTHING: Final = "nothing"
"""The campaign in which nothing was shown or sent."""
_READING = "reading the books"


@dataclass(frozen=True, slots=True)
class Spot:
    """What a decision was about.

    Args:
        surface: the channel, such as `email` or `page.home`.
        slot: the place on it.
        campaign: the action, after the name of its experiment where it has one; `NOTHING` where there was none.
    """

    surface: str
    slot: str
    campaign: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """The books of a month.

    Args:
        month: which.
        until: microseconds; how far the data reach into it.
        treated: bool[n], by subject; False for the permanent holdout.
        before: float64[n], revenue of the 91 days before the first decision.
        subject: int64[m], whose each entry is.
        spot: int64[m], place among `spots` of the last decision before it; -1: none within the window.
        money: float64[m, 5], columns LINES.
        spots: what decisions were about.
        decisions: int64[spots], how many decisions of treated subjects each had.
        left_out: why -> how many subjects belong to no group.
        costed: share of the sales whose cost of goods is known; NaN without sales.
        untold: line -> why nothing is known of it.
        notes: what to know of these figures, as sentences.
        window: microseconds, `WINDOW` or what was asked.
    """

    month: Month
    until: int
    treated: Mask
    before: Doubles
    subject: Whole
    spot: Whole
    money: Doubles
    spots: tuple[Spot, ...]
    decisions: Whole
    left_out: dict[str, int] = field(default_factory=dict)
    costed: float = float("nan")
    untold: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    window: int = WINDOW

    def of(self, lines: tuple[str, ...], rows: Mask | None = None) -> Doubles:
        """float64[n]: sums of some of LINES by subject, over some of the entries."""
        columns = [LINES.index(line) for line in lines]
        money = self.money[:, columns].sum(axis=1)
        subject = self.subject
        if rows is not None:
            subject, money = subject[rows], money[rows]
        return np.bincount(subject, money, minlength=len(self.treated)).astype(np.float64, copy=False)


def ledger_of(
    dataset: Dataset, month: Month, *, window: int = WINDOW, as_of: int | None = None,
    erased: Callable[[str], bool] | None = None, tell: Callable[[str, int, int], None] = silent,
) -> Ledger:  # fmt: skip
    """Read the books of a month.

    Args:
        dataset: with decisions and events.
        month: which.
        window: microseconds; money is put down to the last decision of its subject, if it lies no longer before.
        as_of: microseconds; what was recorded later is not known. Default: the end of the data.
        erased: says of a subject whether it asked to be forgotten.
        tell: hears the progress.

    Raises:
        DataError: no window, nobody was decided for before the month ended, or the data end before it begins.
    """
    if window <= 0:
        raise DataError("an empty attribution window", where="window", got=window, hint="give a length above 0")
    with opened(dataset, as_of) as (duck, now):
        if now <= month.start:
            what, hint = "the data end before the month begins", "give an earlier --month, or sync what came since"
            raise DataError(what, where=month.name, got=format_instant(now), hint=hint)
        until = min(month.end, now)
        tell(_READING, 0, 4)
        left_out = _people(duck, until, now, erased)
        tell(_READING, 1, 4)
        _sold(duck, month.start, until, now)
        tell(_READING, 2, 4)
        spots, decisions = _touches(duck, month.start, window)
        contacts = _contacts(duck, month.start)
        tell(_READING, 3, 4)
        treated, before = _groups(duck)
        entries, known = _entries(duck, window), _known(duck, contacts)
        tell(_READING, 4, 4)
    return Ledger(month, until, treated, before, *entries, spots, decisions, left_out, *known, window)


def _people(
    duck: duckdb.DuckDBPyConnection, until: int, now: int, erased: Callable[[str], bool] | None
) -> dict[str, int]:
    """Make tables `owned` (decisions with their subject) and `people` (subjects by place); count who has no group.

    Raises:
        DataError: nobody has one.
    """
    imported = "'^(experiment|observational):(.+)$'"
    duck.execute(f"""
        CREATE TEMP VIEW past AS
        SELECT {c.DECISION_ID}, {c.DECIDED_AT}, {c.CUSTOMER_ID}, {c.VISITOR_ID}, {c.CUSTOMER_ID} IS NOT NULL AS named,
               surface, slot, {c.ACTION_ID}, holdout, reused_from, NOT regexp_matches(policy, {imported}) AS served,
               CASE WHEN served THEN '' ELSE regexp_extract(policy, {imported}, 2) || ': ' END
               || coalesce({c.ACTION_ID}, '{NOTHING}') AS campaign
        FROM decisions WHERE {c.DECIDED_AT} < make_timestamptz({until})""")
    duck.execute(f"CREATE TEMP TABLE owned AS {resolved_sql('past', c.DECIDED_AT, now)}")
    duck.execute("DELETE FROM owned WHERE subject IS NULL")
    if erased is not None:
        subjects = duck.execute("SELECT DISTINCT subject FROM owned").fetchall()
        gone = [subject for (subject,) in subjects if erased(subject)]
        duck.execute("DELETE FROM owned WHERE subject IN (SELECT unnest($gone::VARCHAR[]))", {"gone": gone})
    duck.execute(f"""
        CREATE TEMP TABLE marked AS
        SELECT subject, min({c.DECIDED_AT}) AS entry, bool_or(holdout) AS held, bool_and(holdout) AS always
        FROM (SELECT *, bool_or(named) OVER (PARTITION BY subject) AS known FROM owned
              WHERE served OR NOT (SELECT bool_or(served) FROM owned))
        WHERE named = known GROUP BY subject""")
    duck.execute("""
        CREATE TEMP TABLE people AS SELECT row_number() OVER (ORDER BY subject) - 1 AS place, subject, entry, held
        FROM marked WHERE held = always""")
    return _left_out(duck)


def _left_out(duck: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Why -> subjects without a group."""
    people, torn, strangers = duck.execute("""
        SELECT (SELECT count(*) FROM people), (SELECT count(*) FROM marked WHERE held <> always),
               (SELECT count(DISTINCT subject) FROM owned ANTI JOIN marked USING (subject))""").fetchall()[0]
    if not people:
        hint = "customers are compared by the service's logged decisions: kokyaku sync brings them"
        raise DataError("nobody was decided for before the month ended", got=f"{torn} of both groups", hint=hint)
    return {why: int(many) for why, many in {TORN: torn, STRANGERS: strangers}.items() if many}


def _groups(duck: duckdb.DuckDBPyConnection) -> tuple[Mask, Doubles]:
    """Who is treated, and the revenue of everybody's 91 days before the first decision."""
    people = duck.sql("""
        SELECT place, NOT any_value(held) AS treated, coalesce(sum(revenue), 0.0) AS before
        FROM people p LEFT JOIN lines l ON l.subject = p.subject AND l.moment < p.entry AND l.happened < p.entry
             AND epoch_us(l.moment) >= epoch_us(p.entry) - $1
        GROUP BY place ORDER BY place""", params=[BEFORE]).to_arrow_table()  # fmt: skip
    return people["treated"].to_numpy(), people["before"].to_numpy().astype(np.float64)


def _sold(duck: duckdb.DuckDBPyConnection, start: int, until: int, now: int) -> None:
    """Make tables `lines` (of `people`) and `sold`, those that count: in the month, since the subject's first decision.

    A return counts for the month of the order that it undoes.
    """
    duck.execute("CREATE TEMP VIEW moved AS SELECT * FROM source_events WHERE type IN ('purchase', 'return')")
    duck.execute(f"""
        CREATE TEMP TABLE known_events AS SELECT e.* FROM ({resolved_sql("moved", c.OCCURRED_AT, now)}) e
        SEMI JOIN people USING (subject)
        QUALIFY row_number() OVER (PARTITION BY {c.EVENT_ID} ORDER BY {c.RECORDED_AT}, {c.SOURCE}) = 1""")
    money_lines(duck, now, [])
    duck.execute(f"""
        CREATE TEMP TABLE sold AS
        SELECT row_number() OVER () AS line, place, l.{c.TYPE} = 'return' AS back, moment, listed, revenue, margin,
               costed
        FROM lines l JOIN people USING (subject)
        WHERE moment >= entry AND moment >= make_timestamptz({start}) AND moment < make_timestamptz({until})""")


def _touches(duck: duckdb.DuckDBPyConnection, start: int, window: int) -> tuple[tuple[Spot, ...], Whole]:
    """Make table `touches`: decisions that money may be put down to, with their spot; the spots and their decisions."""
    duck.execute(f"""
        CREATE TEMP TABLE touches AS
        SELECT place, held, entry, {c.DECIDED_AT}, {c.DECISION_ID}, {c.ACTION_ID}, reused_from, surface, slot, campaign,
               dense_rank() OVER (ORDER BY surface, slot, campaign) - 1 AS spot
        FROM owned JOIN people USING (subject) WHERE epoch_us({c.DECIDED_AT}) > {start - window}""")
    found = duck.sql("""
        SELECT surface, slot, campaign, count(*) FILTER (NOT held) AS decisions FROM touches
        GROUP BY spot, surface, slot, campaign ORDER BY spot""").to_arrow_table()
    names = zip(*(found[name].to_pylist() for name in ("surface", "slot", "campaign")), strict=True)
    return tuple(Spot(*each) for each in names), found["decisions"].to_numpy().astype(np.int64)


def _contacts(duck: duckdb.DuckDBPyConnection, start: int) -> tuple[int, int]:
    """Make table `contacts`, what reaching subjects cost in the month; actions that were taken with and without a cost.

    A reused decision costs nothing again. Where a channel logs what was sent, only that costs.
    """
    duck.execute(f"""
        CREATE TEMP TABLE contacts AS
        WITH prices AS (SELECT {c.ACTION_ID}, {c.VALID_FROM}, any_value(cost) AS cost FROM actions
                        WHERE cost IS NOT NULL GROUP BY {c.ACTION_ID}, {c.VALID_FROM}),
        oldest AS (SELECT {c.ACTION_ID}, arg_min(cost, {c.VALID_FROM}) AS cost FROM prices GROUP BY {c.ACTION_ID}),
        posted AS (SELECT DISTINCT {c.DECISION_ID} FROM source_events
                   WHERE {c.TYPE} = 'sent' AND {c.DECISION_ID} IS NOT NULL),
        mailing AS (SELECT DISTINCT surface FROM owned SEMI JOIN posted USING ({c.DECISION_ID}))
        SELECT t.place, t.spot, coalesce(p.cost, o.cost) AS cost
        FROM (SELECT * FROM touches WHERE {c.ACTION_ID} IS NOT NULL AND reused_from IS NULL AND {c.DECIDED_AT} >= entry
              AND {c.DECIDED_AT} >= make_timestamptz({start})) t
        LEFT JOIN oldest o USING ({c.ACTION_ID})
        ASOF LEFT JOIN prices p ON t.{c.ACTION_ID} = p.{c.ACTION_ID} AND t.{c.DECIDED_AT} >= p.{c.VALID_FROM}
        WHERE t.surface NOT IN (SELECT surface FROM mailing) OR t.{c.DECISION_ID} IN (FROM posted)""")
    told = duck.execute("SELECT count(cost), count(*) FILTER (cost IS NULL) FROM contacts").fetchall()[0]
    return int(told[0]), int(told[1])


def _entries(duck: duckdb.DuckDBPyConnection, window: int) -> tuple[Whole, Whole, Doubles]:
    """Subject, spot and money of every entry. Slots of one page share a purchase equally: they were shown at once."""
    rows = duck.sql(f"""
        WITH last AS (
            SELECT s.line, s.place, t.{c.DECIDED_AT} FROM sold s
            ASOF JOIN (SELECT DISTINCT place, {c.DECIDED_AT} FROM touches) t
                 ON s.place = t.place AND s.moment >= t.{c.DECIDED_AT}
            WHERE epoch_us(t.{c.DECIDED_AT}) > epoch_us(s.moment) - {window}),
        shared AS (SELECT line, spot, 1.0 / count(*) OVER (PARTITION BY line) AS share
                   FROM last JOIN touches USING (place, {c.DECIDED_AT})),
        parts AS (SELECT place, back, coalesce(spot, -1) AS spot, coalesce(share, 1.0) AS share, listed, revenue, margin
                  FROM sold LEFT JOIN shared USING (line) WHERE revenue IS NOT NULL)
        SELECT place, spot, coalesce(sum(share * listed) FILTER (NOT back), 0) AS sales,
               coalesce(sum(share * (revenue - listed)) FILTER (NOT back), 0) AS discounts,
               coalesce(sum(share * revenue) FILTER (back), 0) AS returns,
               sum(share * (margin - revenue)) AS goods, 0.0 AS contact FROM parts GROUP BY place, spot
        UNION ALL
        SELECT place, spot, 0, 0, 0, 0, -sum(cost) FROM contacts WHERE cost IS NOT NULL GROUP BY place, spot
        ORDER BY place, spot""").to_arrow_table()
    money = np.column_stack([rows[line].to_numpy().astype(np.float64) for line in LINES])
    return rows["place"].to_numpy().astype(np.int64), rows["spot"].to_numpy().astype(np.int64), money


def _known(duck: duckdb.DuckDBPyConnection, contacts: tuple[int, int]) -> tuple[float, dict[str, str], tuple[str, ...]]:
    """Share of sales of known cost, what the data do not record, and what was left out."""
    bought, costed, priceless = duck.execute("""
        SELECT sum(revenue), sum(revenue) FILTER (costed), count(*) FILTER (revenue IS NULL) FROM sold
        WHERE NOT back""").fetchall()[0]
    reduced, returned = duck.execute(f"""
        SELECT count({c.DISCOUNT}) FILTER ({c.TYPE} = 'purchase'), count(*) FILTER ({c.TYPE} = 'return')
        FROM known_events""").fetchall()[0]
    untold = {"points": "the data hold balances of points, not what was paid with them"}
    if not reduced:
        untold["discounts"] = "no purchase says what discount or coupon it had"
    if not returned:
        untold["returns"] = "no return is in the data"
    share = float((costed or 0) / bought) if bought else float("nan")
    if not share >= COSTED:
        untold["goods"] = f"the cost is known of {share:.0%} of the sales" if share > 0 else "no sale says what it cost"
    if not contacts[0]:
        untold["contact"] = "no action that was taken says what taking it costs"
    notes = []
    if priceless:
        notes.append(f"{priceless:,} purchases have no price and bring no money.")
    if contacts[0] and contacts[1]:
        notes.append(f"{contacts[1]:,} of {sum(contacts):,} actions that were taken say no cost and cost nothing here.")
    if share < 1 and "goods" not in untold:
        notes.append(f"Lines without a known cost count as margin whole: {1 - share:.1%} of the sales.")
    return share, untold, tuple(notes)
