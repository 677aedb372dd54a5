"""Checks of volume: how many events there are from month to month, and where they stop."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise

from features import columns as c
from features.audit.look import Look
from features.audit.report import Cell, Finding, Table, Verdict
from features.audit.words import count, day, number, percent, share
from features.moments import DAY, to_instant

COLUMNS_OF_TYPES = 8
"""The table shows so many types; the rest is added up."""
MOST_TYPES = 50
"""Only so many types (the most frequent) are told apart at all: a shop may declare its own."""
MONTHS_SHOWN = 36
SUDDEN = 0.5
"""A month with less than this part of the daily events of the month before is a drop."""
SILENCE = 7
"""Days without any event that are worth a word."""
STARTS_LATE = 60
"""Days after the first (before the last) event at which a type that begins (ends) tells of changed tracking."""
FEW_DAYS = 3
"""A first or last month with fewer days in it is not compared."""
ENOUGH = 100
"""Events of a month or a type below which changes are chance."""


def event_mix(look: Look) -> Finding:
    """Every month has events, about as many as the month before."""
    title = "Events by month"
    months = _months(look)
    if not months:
        remedy = "Import events: kokyaku import --help."
        return Finding("event-mix", title, Verdict.FAILED, "There are no events.", {"events": 0}, remedy)
    types = list(dict.fromkeys(kind for kinds in months.values() for kind in kinds))
    total = {month: sum(kinds.values()) for month, kinds in months.items()}
    gaps = [month for month, n in total.items() if not n]
    drops = _drops(look, total)
    events = sum(total.values())
    figures = {"events": events, "types": len(types), "months": len(months), "gaps": len(gaps), "drops": len(drops)}
    sentence = f"{count(events, 'event')} of {count(len(types), 'type')} in {count(len(months), 'month')}"
    sentence += f"; none in {_listed(gaps)}" if gaps else ""
    sentence += f"; a sudden drop in {_listed(drops)}" if drops else ""
    bad = bool(gaps or drops)
    remedy = "Compare these months with the shop's books: an export that lost rows looks just like this."
    verdict = Verdict.WARNING if bad else Verdict.OK
    return Finding("event-mix", title, verdict, f"{sentence}.", figures, remedy if bad else "", _table(months))


def silence(look: Look) -> Finding:
    """No day after day without a single event."""
    title = "Days without events"
    days, gap, until = look.row(f"""
        SELECT count(*), max(gap), epoch_us(arg_max(day, gap)::TIMESTAMP) FROM
        (SELECT day, date_diff('day', lag(day) OVER (ORDER BY day), day) - 1 AS gap
         FROM (SELECT DISTINCT {c.OCCURRED_AT}::DATE AS day FROM current))""")
    gap = gap or 0
    figures = {"days_with_events": days, "longest_silence": gap}
    if gap < SILENCE:
        sentence = f"At most {count(gap, 'day')} without an event." if gap else "Every day has events."
        return Finding("silence", title, Verdict.OK, sentence, figures)
    sentence = f"{count(gap, 'day')} without a single event, up to {day(until)}."
    remedy = "A closed shop, or a hole in the export? A hole makes customers look lapsed."
    return Finding("silence", title, Verdict.WARNING if gap > 4 * SILENCE else Verdict.NOTE, sentence, figures, remedy)


def changed_tracking(look: Look) -> Finding:
    """Every type of event is there from the beginning to the end."""
    title = "Types that start or stop"
    rows = look.rows(f"""
        SELECT {c.TYPE}, epoch_us(min({c.OCCURRED_AT})), epoch_us(max({c.OCCURRED_AT})), count(*)
        FROM current GROUP BY {c.TYPE} ORDER BY count(*) DESC, {c.TYPE} LIMIT {MOST_TYPES}""")
    begin, end = min((row[1] for row in rows), default=0), max((row[2] for row in rows), default=0)
    late, early = begin + STARTS_LATE * DAY, end - STARTS_LATE * DAY
    starts = [f"{kind} from {day(first)}" for kind, first, _, n in rows if n >= ENOUGH and first > late]
    stops = [f"{kind} until {day(last)}" for kind, _, last, n in rows if n >= ENOUGH and last < early]
    figures = {"starting_late": len(starts), "stopping_early": len(stops)}
    if not starts and not stops:
        return Finding("tracking", title, Verdict.OK, "All types of events run from beginning to end.", figures)
    sentence = f"Not all types run from beginning to end: {_listed([*starts, *stops])}."
    remedy = "Windows across such a date compare two ways of tracking, not two behaviours: train on one side of it."
    return Finding("tracking", title, Verdict.NOTE, sentence, figures, remedy)


def outcome_rates(look: Look) -> Finding:
    """How one step leads to the next: purchases for each view, cart and wish."""
    title = "From looking to buying"
    kinds = dict(look.rows(f"SELECT {c.TYPE}, count(*) FROM current GROUP BY 1"))
    bought = kinds.get("purchase", 0)
    figures = {f"per_{kind}": share(bought, kinds[kind]) for kind in ("view", "cart", "wishlist") if kinds.get(kind)}
    if not bought:
        remedy = "Without purchases there is nothing to predict; check how types are mapped."
        return Finding("outcomes", title, Verdict.FAILED, "There are no purchases.", {"purchases": 0}, remedy)
    if "view" in kinds and bought > kinds["view"]:
        sentence = f"There are more purchases than views ({percent(kinds['view'], bought)} of them)."
        remedy = "Views are sampled or tracked on one channel only: do not read rates of buying from them."
        return Finding("outcomes", title, Verdict.NOTE, sentence, {"purchases": bought, **figures}, remedy)
    sentence = count(bought, "purchase")
    sentence += f", one for every {number(round(kinds['view'] / bought, 1))} views." if kinds.get("view") else "."
    return Finding("outcomes", title, Verdict.OK, sentence, {"purchases": bought, **figures})


def _months(look: Look) -> dict[str, dict[str, int]]:
    """Month -> type -> events, without holes; types in order of their number."""
    rows = look.rows(f"""
        WITH counted AS (SELECT date_trunc('month', {c.OCCURRED_AT}) AS month, {c.TYPE} AS type, count(*) AS n
                         FROM current GROUP BY ALL),
        usual AS (SELECT type FROM counted GROUP BY type ORDER BY sum(n) DESC, type LIMIT {MOST_TYPES})
        SELECT strftime(month, '%Y-%m') AS month, CASE WHEN type IN (FROM usual) THEN type ELSE 'others' END AS kind,
               sum(n)::BIGINT AS n
        FROM counted GROUP BY ALL ORDER BY ALL""")
    if not rows:
        return {}
    totals: dict[str, int] = {}
    for _, kind, n in rows:
        totals[kind] = totals.get(kind, 0) + n
    ordered = sorted(totals, key=lambda kind: (-totals[kind], kind))
    found = {(month, kind): n for month, kind, n in rows}
    months = _range(rows[0][0], rows[-1][0])
    return {month: {kind: found.get((month, kind), 0) for kind in ordered} for month in months}


def _range(first: str, last: str) -> list[str]:
    """All months from one to the other."""
    year, month = map(int, first.split("-"))
    listed = [first]
    while listed[-1] < last:
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        listed.append(f"{year:04d}-{month:02d}")
    return listed


def _drops(look: Look, total: dict[str, int]) -> list[str]:
    """Months with less than half the daily events of the month before; first and last count the days they have."""
    begin, end = look.row(f"SELECT epoch_us(min({c.OCCURRED_AT})), epoch_us(max({c.OCCURRED_AT})) FROM current")
    rates = []
    for month, n in total.items():
        start, stop = _bounds(month)
        days = (min(stop, end + 1) - max(start, begin)) / DAY
        if days >= FEW_DAYS:
            rates.append((month, n, n / days))
    return [month for (_, n, before), (month, _, rate) in pairwise(rates) if n >= ENOUGH and 0 < rate < SUDDEN * before]


def _bounds(month: str) -> tuple[int, int]:
    start = date.fromisoformat(f"{month}-01")
    stop = date(start.year + start.month // 12, start.month % 12 + 1, 1)
    return tuple(to_instant(datetime(d.year, d.month, d.day, tzinfo=UTC)) for d in (start, stop))  # type: ignore[return-value]


def _table(months: dict[str, dict[str, int]]) -> Table:
    types = list(next(iter(months.values())))
    shown, rest = types[:COLUMNS_OF_TYPES], types[COLUMNS_OF_TYPES:]
    rows: list[tuple[Cell, ...]] = [
        (
            month,
            sum(kinds.values()),
            *(kinds[kind] for kind in shown),
            *([sum(kinds[kind] for kind in rest)] if rest else []),
        )
        for month, kinds in list(months.items())[-MONTHS_SHOWN:]
    ]
    return Table(("month", "all", *shown, *(["others"] if rest else [])), rows)


def _listed(words: list[str], most: int = 6) -> str:
    """Some of them, and how many more."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
