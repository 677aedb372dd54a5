"""Checks of the catalogue: are the items known, described, sold, and known as of when?"""

from __future__ import annotations

from features import columns as c
from features.audit.look import Look
from features.audit.people import banded
from features.audit.report import Figures, Finding, Table, Verdict
from features.audit.words import count, number, percent, share
from features.schemas import CUSTOMERS, ITEMS

DESCRIBED = (c.TITLE, c.CATEGORY, c.BRAND, c.PRICE, "unit_cost", "in_stock", "image_url", c.ATTRIBUTES)
"""What modules, filters and pages want to know of an item."""


def coverage(look: Look) -> Finding:
    """Items of events stand in the catalogue."""
    title = "Catalogue coverage"
    listed = look.row(f"SELECT count(DISTINCT {c.ITEM_ID}) FROM items")[0]
    if not listed:
        remedy = "Import an items table: titles, categories and prices make filters, reasons and new items possible."
        sentence = "There is no catalogue."
        return Finding("catalogue", title, Verdict.WARNING, sentence, {"items": 0}, remedy)
    events, unknown, items, strange, bought = look.row(f"""
        SELECT coalesce(sum(n), 0)::BIGINT, coalesce(sum(n) FILTER (NOT known), 0)::BIGINT, count(*),
               count(*) FILTER (NOT known), count(*) FILTER (known AND sold)
        FROM (SELECT count(*) AS n, bool_or({c.TYPE} = 'purchase') AS sold,
                     {c.ITEM_ID} IN (SELECT {c.ITEM_ID} FROM items) AS known
              FROM current WHERE {c.ITEM_ID} IS NOT NULL GROUP BY {c.ITEM_ID})""")
    part = share(unknown, events)
    figures: Figures = {
        "items": listed, "items_with_events": items, "unknown_items": strange, "unknown_share": part,
        "never_sold": listed - bought, "never_sold_share": share(listed - bought, listed),
    }  # fmt: skip
    sentence = (
        f"{count(listed, 'item')}; {percent(unknown, events)} of the events are about items that are not among them; "
        f"{percent(listed - bought, listed)} of the items were never sold."
    )
    verdict = Verdict.FAILED if part > 0.2 else Verdict.WARNING if part > 0.01 else Verdict.OK
    remedy = "Export the catalogue with delisted items, or check that both files write item ids the same way."
    return Finding("catalogue", title, verdict, sentence, figures, remedy if unknown else "")


def described(look: Look) -> Finding:
    """How much is known of each item."""
    title = "What is known of items"
    shares = ", ".join(f"avg(({column} IS NOT NULL)::INT)" for column in DESCRIBED)
    latest = f"QUALIFY row_number() OVER (PARTITION BY {c.ITEM_ID} ORDER BY {c.VALID_FROM} DESC, {c.SOURCE} DESC) = 1"
    total, *known = look.row(f"SELECT count(*), {shares} FROM (SELECT * FROM items {latest})")
    if not total:
        return Finding("catalogue-fields", title, Verdict.OK, "There is no catalogue.", {"items": 0})
    figures = dict(zip(DESCRIBED, known, strict=True))
    missing = [name for name in (c.TITLE, c.CATEGORY, c.PRICE) if figures[name] < 0.5]
    table = Table(("column", "filled"), [(name, percent(part, 1)) for name, part in figures.items()])
    if missing:
        sentence = f"More than half of the items have no {' and no '.join(missing)}."
        remedy = "Pages show titles and prices, and modules choose by category: map these columns."
        return Finding("catalogue-fields", title, Verdict.NOTE, sentence, figures, remedy, table)
    sentence = "Most items have a title, a category and a price."
    return Finding("catalogue-fields", title, Verdict.OK, sentence, figures, "", table)


def items_by_events(look: Look) -> Finding:
    """The long tail: how many items hardly anybody touches."""
    title = "Items by events"
    table = banded(look, c.ITEM_ID)
    items = sum(int(row[1] or 0) for row in table.rows)
    if not items:
        return Finding("items-depth", title, Verdict.WARNING, "No event names an item.", {"items": 0})
    head = look.row(f"""
        SELECT sum(n) FILTER (place <= ceil(total / 100)) / sum(n)
        FROM (SELECT count(*) AS n, row_number() OVER (ORDER BY count(*) DESC) AS place, count(*) OVER () AS total
              FROM current WHERE {c.ITEM_ID} IS NOT NULL GROUP BY {c.ITEM_ID})""")[0]
    few = int(table.rows[0][1] or 0) + int(table.rows[1][1] or 0)
    figures = {"items": items, "top_percent_share": head, "under_five": few, "under_five_share": share(few, items)}
    sentence = (
        f"{count(items, 'item')} with events; the top 1% of them have {percent(head, 1)} of the events; "
        f"{percent(few, items)} have fewer than five."
    )
    return Finding("items-depth", title, Verdict.OK, sentence, figures, "", table)


def static_columns(look: Look) -> Finding:
    """What is told of items and customers was known at the time."""
    title = "Tables without history"
    leaks: list[tuple[str, str]] = []
    if look.manifest.static_catalogue or _one_version(look, "items", c.ITEM_ID):
        leaks += [("items", name) for name in _filled(look, "items", ITEMS.names)]
    if _one_version(look, "customers", c.CUSTOMER_ID):
        leaks += [("customers", name) for name in _filled(look, "customers", CUSTOMERS.names)]
    figures = {"columns": len(leaks)}
    if not leaks:
        sentence = "Items and customers carry versions, or there are none: reads as of a moment are true."
        return Finding("leaks-static", title, Verdict.OK, sentence, figures)
    tables = " and ".join(dict.fromkeys(table for table, _ in leaks))
    return Finding(
        "leaks-static", title, Verdict.NOTE,
        f"{tables.capitalize()} come without history: {count(len(leaks), 'column')} tell of today, also when the "
        "past is asked.", figures,
        "Training may use only those of these columns that never change (brand, category), by name. Dated exports "
        "give the rest a history.", Table(("table", "column"), list(leaks)),
    )  # fmt: skip


def known_in_time(look: Look) -> Finding:
    """Items are in the catalogue when something happens to them."""
    title = "Catalogue in time"
    events, before = look.row(f"""
        SELECT count(*), count(*) FILTER ({c.OCCURRED_AT} < since) FROM current JOIN
        (SELECT {c.ITEM_ID}, min({c.VALID_FROM}) AS since FROM items GROUP BY {c.ITEM_ID}) USING ({c.ITEM_ID})""")
    part = share(before, events)
    figures = {"events": before, "share": part}
    if part < 0.001:
        sentence = "Items are in the catalogue when events happen to them."
        return Finding("catalogue-time", title, Verdict.OK, sentence, figures)
    sentence = f"{percent(before, events)} of the events are about items that the catalogue knew only later."
    remedy = "Give the first version of each item the date of its launch (valid_from); number of events: {}."
    verdict = Verdict.WARNING if part > 0.05 else Verdict.NOTE
    return Finding("catalogue-time", title, verdict, sentence, figures, remedy.format(number(before)))


def _one_version(look: Look, table: str, key: str) -> bool:
    rows, moments = look.row(f"SELECT count(*), count(DISTINCT {c.VALID_FROM}) FROM {table}")
    return bool(rows > 1 and moments == 1)


def _filled(look: Look, table: str, names: list[str]) -> list[str]:
    """Columns that say anything, with the keys of their JSON spelled out."""
    told = [name for name in names if name not in {c.ITEM_ID, c.CUSTOMER_ID, c.VALID_FROM, c.SOURCE}]
    counts = look.row(f"SELECT {', '.join(f'count({name})' for name in told)} FROM {table}")
    filled = [name for name, n in zip(told, counts, strict=True) if n]
    if c.ATTRIBUTES not in filled:
        return filled
    keys = look.rows(f"""
        SELECT DISTINCT unnest(json_keys({c.ATTRIBUTES})) AS key FROM {table}
        WHERE json_valid({c.ATTRIBUTES}) ORDER BY key LIMIT 30""")
    return [name for name in filled if name != c.ATTRIBUTES] + [f"{c.ATTRIBUTES}.{key}" for (key,) in keys]
