"""Checks of time: what happened before what, and whether the times mean anything."""

from __future__ import annotations

from features import columns as c
from features.audit.look import Look
from features.audit.report import Finding, Verdict
from features.audit.words import count, day, percent, share
from features.moments import DAY, HOUR

ONE_INSTANT = 0.05
"""A single instant with a larger share of all events is a default value, not a moment."""
FEW = 20
"""Below so many events, shares say nothing."""


def recorded_order(look: Look) -> Finding:
    """Nothing is recorded before it happens."""
    total, early = look.row(
        f"SELECT count(*), count(*) FILTER ({c.RECORDED_AT} < {c.OCCURRED_AT}) FROM events"
    )  # fmt: skip
    verdict = Verdict.OK if not early else Verdict.WARNING if share(early, total) < 0.01 else Verdict.FAILED
    sentence = (
        f"{count(early, 'event')} ({percent(early, total)}) recorded before they occurred."
        if early
        else "No event was recorded before it occurred."
    )
    remedy = "Compare the clocks and zones of the shop and of the system that records; then import again."
    figures = {"events": early, "share": share(early, total)}
    return Finding("time-order", "Order of time", verdict, sentence, figures, remedy if early else "")


def future(look: Look) -> Finding:
    """Nothing lies after now."""
    late, latest = look.row(
        f"""SELECT count(*), max(epoch_us({c.OCCURRED_AT})) FROM events
            WHERE {c.OCCURRED_AT} > make_timestamptz(?) OR {c.RECORDED_AT} > make_timestamptz(?)""",
        look.now,
        look.now,
    )
    if not late:
        return Finding("time-future", "Times in the future", Verdict.OK, "No event lies in the future.", {"events": 0})
    return Finding(
        "time-future", "Times in the future", Verdict.FAILED,
        f"{count(late, 'event')} after the moment of this audit, the last on {day(latest)}.", {"events": late},
        "Check the zone in the mapping and the clock of this machine, or name the right moment with --now.",
    )  # fmt: skip


def one_timestamp(look: Look) -> Finding:
    """Times differ from event to event."""
    title = "One time for many events"
    total, distinct = look.row(f"SELECT count(*), approx_count_distinct({c.OCCURRED_AT}) FROM current")
    if total < FEW:
        return Finding("time-single", title, Verdict.OK, "Too few events to tell.", {"share": 0.0})
    most, instant = look.row(f"""
        SELECT count(*) AS n, epoch_us({c.OCCURRED_AT}) AS moment FROM current
        GROUP BY {c.OCCURRED_AT} ORDER BY n DESC, moment LIMIT 1""")
    part = share(most, total)
    figures = {"share": part, "distinct_times": min(distinct, total)}
    if part <= ONE_INSTANT:
        sentence = f"The most frequent instant has {percent(most, total)} of the events."
        return Finding("time-single", title, Verdict.OK, sentence, figures)
    sentence = f"{percent(most, total)} of the events have the same time ({day(instant)})."
    remedy = (
        "Times are missing in the source or were filled with a default. Without them nothing can be trained as of a "
        "moment and no result says anything about the future: map the column with the real time."
    )
    return Finding("time-single", title, Verdict.FAILED if part > 0.5 else Verdict.WARNING, sentence, figures, remedy)


def resolution(look: Look) -> Finding:
    """Times are times of day, not bare dates."""
    title = "Time of day"
    total = look.count("current")
    if total < FEW:
        return Finding("time-of-day", title, Verdict.OK, "Too few events to tell.", {"share": 0.0})
    # Midnight in any zone lies on a quarter of an hour; two values, because of summer time.
    usual = look.rows(f"""
        SELECT count(*) AS n, epoch_us({c.OCCURRED_AT}) % {DAY} AS clock FROM current
        GROUP BY clock ORDER BY n DESC, clock LIMIT 2""")
    part = share(sum(n for n, clock in usual if clock % (HOUR // 4) == 0), total)
    if part < 0.5:
        return Finding("time-of-day", title, Verdict.OK, "Events carry their time of day.", {"share": part})
    return Finding(
        "time-of-day", title, Verdict.NOTE,
        f"{percent(part, 1)} of the events stand at midnight: the source knows dates only.", {"share": part},
        "Hour features and the order within a day mean nothing here; export times of day if the shop has them.",
    )  # fmt: skip


def lateness(look: Look) -> Finding:
    """How long after it occurred an event is known; nothing, in a historical import."""
    title = "When it was known"
    total, same, median, late = look.row(f"""
        SELECT count(*), count(*) FILTER ({c.RECORDED_AT} = {c.OCCURRED_AT}),
               quantile_cont(delay, 0.5), quantile_cont(delay, 0.99)
        FROM (SELECT *, epoch_us({c.RECORDED_AT}) - epoch_us({c.OCCURRED_AT}) AS delay FROM events)""")
    if not total:
        return Finding("time-recorded", title, Verdict.OK, "There are no events.", {"same": 0.0})
    figures = {"same": share(same, total), "median_hours": median / HOUR, "p99_hours": late / HOUR}
    if same == total:
        return Finding(
            "time-recorded", title, Verdict.NOTE,
            "A historical import: every event counts as known the moment it occurred.", figures,
            "Reality was later than that. Results on this data are a little kinder than live ones; events that the "
            "service receives itself carry both times.",
        )  # fmt: skip
    sentence = f"{percent(total - same, total)} of the events became known later; 99% within {_span(late)}."
    return Finding("time-recorded", title, Verdict.OK, sentence, figures)


def _span(microseconds: float) -> str:
    hours = max(microseconds, 0) / HOUR
    if hours < 2:
        return f"{hours * 60:.0f} minutes"
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
