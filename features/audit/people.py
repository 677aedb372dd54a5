"""Checks of people: who is known, how well, and who is probably not a person."""

from __future__ import annotations

from features import columns as c
from features.audit.look import LOOKS, SUBJECT, Look
from features.audit.report import Cell, Figures, Finding, Table, Verdict
from features.audit.words import count, number, percent, share
from features.moments import DAY, MINUTE

BANDS = ((1, 1), (2, 4), (5, 9), (10, 49), (50, None))
"""How customers and items are grouped by their number of events: from, to (inclusive)."""

ROBOT_LOOKS_A_DAY = 1_000
"""A view, search or click every half minute for eight hours without a break."""

ROBOT_LOOKS_A_MINUTE = 30
"""One every two seconds. (Times without seconds say nothing: only looks that are spread over the minute count.)"""

MANY_PEOPLE = 0.05
"""A single id with a larger share of all events is a till, a guest account or a test."""


def band_name(low: int, high: int | None) -> str:
    """'1', '2-4', '50+'."""
    return f"{low}+" if high is None else str(low) if low == high else f"{low}-{high}"


def banded(look: Look, column: str) -> Table:
    """How many ids, and how many of all events, lie in each band."""
    cases = " ".join(f"WHEN n >= {low} THEN {place}" for place, (low, _) in reversed(list(enumerate(BANDS))))
    found = {
        place: (ids, events)
        for place, ids, events in look.rows(f"""
            SELECT CASE {cases} END AS band, count(*), sum(n)::BIGINT
            FROM (SELECT count(*) AS n FROM current WHERE {column} IS NOT NULL GROUP BY {column}) GROUP BY band""")
    }
    rows: list[tuple[Cell, ...]] = [(band_name(*band), *found.get(place, (0, 0))) for place, band in enumerate(BANDS)]
    return Table(("events", "ids", "events in all"), rows)


def customers_by_events(look: Look) -> Finding:
    """Enough customers have enough history to learn from."""
    title = "Customers by events"
    table = banded(look, c.CUSTOMER_ID)
    people = sum(int(row[1] or 0) for row in table.rows)
    if not people:
        remedy = "Map the column of the customer id; without it only popularity can be learned."
        sentence = "No event names a customer."
        return Finding("customers-depth", title, Verdict.WARNING, sentence, {"customers": 0}, remedy)
    median = look.row(f"""
        SELECT median(n) FROM (SELECT count(*) AS n FROM current WHERE {c.CUSTOMER_ID} IS NOT NULL
        GROUP BY {c.CUSTOMER_ID})""")[0]
    once = int(table.rows[0][1] or 0)
    figures: Figures = {"customers": people, "median_events": median, "once": once, "once_share": share(once, people)}
    sentence = (
        f"{count(people, 'customer')}, the median one with {count(median, 'event')}; "
        f"{percent(once, people)} were seen once."
    )
    thin = share(once, people) > 0.5
    remedy = (
        "For most customers there is little to learn from: answers will lean on popularity and on the visit itself."
    )
    verdict = Verdict.NOTE if thin else Verdict.OK
    return Finding("customers-depth", title, verdict, sentence, figures, remedy if thin else "", table)


def without_customer(look: Look) -> Finding:
    """Whose events these are."""
    title = "Events without a customer"
    total, visitors, nobody, bought, bought_by_nobody = look.row(f"""
        SELECT count(*), count(*) FILTER ({c.CUSTOMER_ID} IS NULL AND {c.VISITOR_ID} IS NOT NULL),
               count(*) FILTER ({SUBJECT} IS NULL), count(*) FILTER ({c.TYPE} = 'purchase'),
               count(*) FILTER ({c.TYPE} = 'purchase' AND {c.CUSTOMER_ID} IS NULL) FROM current""")
    figures = {
        "share": share(visitors + nobody, total),
        "visitor_only_share": share(visitors, total),
        "nobody_share": share(nobody, total),
        "purchases_without_customer_share": share(bought_by_nobody, bought),
    }
    if not visitors and not nobody:
        return Finding("customers-unknown", title, Verdict.OK, "Every event belongs to a known customer.", figures)
    sentence = f"{percent(visitors + nobody, total)} of the events have no customer"
    sentence += f" ({percent(visitors, total)} an anonymous visitor, {percent(nobody, total)} nobody at all)."
    if bought_by_nobody:
        sentence += f" So do {percent(bought_by_nobody, bought)} of the purchases."
    bad = share(bought_by_nobody, bought) > 0.2 or share(nobody, total) > 0.2
    remedy = "Guest purchases count for popularity but belong to no history; a loyalty card or a sign-in links them."
    return Finding("customers-unknown", title, Verdict.WARNING if bad else Verdict.NOTE, sentence, figures, remedy)


def customers_listed(look: Look) -> Finding:
    """Customers with events stand in the customers table."""
    title = "Customers table"
    listed = look.row(f"SELECT count(DISTINCT {c.CUSTOMER_ID}) FROM customers")[0]
    if not listed:
        sentence = "There is no customers table: regions, tiers and consents are unknown."
        return Finding("customers-listed", title, Verdict.NOTE, sentence, {"listed": 0})
    active, missing = look.row(f"""
        SELECT count(*), count(*) FILTER (id NOT IN (SELECT {c.CUSTOMER_ID} FROM customers))
        FROM (SELECT DISTINCT {c.CUSTOMER_ID} AS id FROM current WHERE {c.CUSTOMER_ID} IS NOT NULL)""")
    figures = {"listed": listed, "active": active, "active_not_listed": missing}
    sentence = f"{count(listed, 'customer')} listed, {number(active)} with events, " + (
        f"{percent(missing, active)} of these not in the list." if missing else "all of these in the list."
    )
    return Finding("customers-listed", title, Verdict.NOTE if missing else Verdict.OK, sentence, figures)


def robots(look: Look) -> Finding:
    """No subject acts faster than a person can."""
    title = "Robots and shared ids"
    total, subjects, heaviest = look.row(f"""
        SELECT coalesce(sum(n), 0)::BIGINT, count(*), coalesce(max(n), 0)
        FROM (SELECT count(*) AS n FROM current WHERE {SUBJECT} IS NOT NULL GROUP BY {SUBJECT})""")
    fast, theirs, in_a_day, in_a_minute = look.row(f"""
        WITH looks AS (SELECT hash({SUBJECT}) AS subject, epoch_us({c.OCCURRED_AT}) AS moment FROM current
                       WHERE {c.TYPE} IN {LOOKS} AND {SUBJECT} IS NOT NULL),
        busy AS (SELECT subject, moment // {DAY} AS day, count(*) AS n FROM looks GROUP BY ALL
                 HAVING n > {ROBOT_LOOKS_A_MINUTE}),
        days AS (SELECT subject, n FROM busy WHERE n > {ROBOT_LOOKS_A_DAY}),
        minutes AS (SELECT subject, count(*) AS n FROM looks SEMI JOIN busy USING (subject)
                    GROUP BY subject, moment // {MINUTE}
                    HAVING n > {ROBOT_LOOKS_A_MINUTE} AND max(moment) > min(moment)),
        fast AS (SELECT subject FROM days UNION SELECT subject FROM minutes)
        SELECT (SELECT count(*) FROM fast), count(*), (SELECT max(n) FROM days), (SELECT max(n) FROM minutes)
        FROM looks WHERE subject IN (FROM fast)""")
    crowd = subjects >= 100 and share(heaviest, total) > MANY_PEOPLE
    figures = {
        "robots": fast, "robot_events": theirs, "robot_share": share(theirs, total), "most_in_a_day": in_a_day,
        "most_in_a_minute": in_a_minute, "heaviest_share": share(heaviest, total),
    }  # fmt: skip
    told = []
    if fast:
        speed = f"{number(in_a_day)} looks in a day" if in_a_day else f"{number(in_a_minute)} looks in a minute"
        who = count(fast, "customer or visitor", "customers or visitors")
        told.append(f"{who} with up to {speed}, {percent(theirs, total)} of all events")
    if crowd:
        told.append(f"one id has {percent(heaviest, total)} of all events")
    if not told:
        return Finding("robots", title, Verdict.OK, "Nobody acts faster than a person can.", figures)
    remedy = "Robots, tills and test accounts: find them by their pace and leave them out of the import."
    verdict = Verdict.WARNING if crowd or share(theirs, total) > 0.01 else Verdict.NOTE
    return Finding("robots", title, verdict, f"{'; '.join(told)}.".capitalize(), figures, remedy)


def shared_devices(look: Look) -> Finding:
    """A visitor is one device, a customer one person."""
    title = "Visitor links"
    links, visitors, crowded = look.row(f"""
        SELECT coalesce(sum(n), 0)::BIGINT, count(*), count(*) FILTER (people > 3)
        FROM (SELECT count(*) AS n, count(DISTINCT {c.CUSTOMER_ID}) AS people
              FROM identities GROUP BY {c.VISITOR_ID})""")
    figures = {"links": links, "visitors": visitors, "shared_by_many": crowded}
    if not links:
        return Finding("links", title, Verdict.OK, "No links: visitors and customers are kept apart.", figures)
    many = number(crowded) if crowded else "none"
    sentence = f"{count(visitors, 'visitor')} linked to customers, {many} of them to more than three."
    bad = share(crowded, visitors) > 0.01
    remedy = "Shared terminals or a visitor id that is not one: their visits mix people. Send sign-outs as events."
    return Finding("links", title, Verdict.WARNING if bad else Verdict.OK, sentence, figures, remedy if bad else "")
