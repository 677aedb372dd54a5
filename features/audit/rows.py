"""Checks of rows and ids: what stands twice, what was refused, which ids look like one another."""

from __future__ import annotations

from features import columns as c
from features.audit.look import Look
from features.audit.report import Finding, Table, Verdict
from features.audit.words import count, percent, share
from features.kinds import NEEDS_ITEM

CONTENT = (
    c.CUSTOMER_ID, c.VISITOR_ID, c.SESSION_ID, c.TYPE, c.ITEM_ID, c.OCCURRED_AT, c.QUANTITY, c.UNIT_PRICE,
    c.DISCOUNT, c.ORDER_ID, c.LINE, c.CHANNEL, c.DECISION_ID, c.ATTRIBUTES,
)  # fmt: skip
"""Two events that agree in all of these are the same row with two ids."""


def exact_duplicates(look: Look) -> Finding:
    """The same row stands once."""
    title = "Exact duplicates"
    columns = ", ".join(CONTENT)
    # Hashes instead of rows: 16 bytes an event, and two of them so that chance makes no duplicates.
    total, distinct = look.row(f"""
        SELECT count(*), count(DISTINCT (hash({columns}), hash('again', {columns}))) FROM current""")
    again = total - distinct
    part = share(again, total)
    figures = {"events": again, "share": part}
    if not again:
        return Finding("duplicates", title, Verdict.OK, "No two events are equal in every column.", figures)
    return Finding(
        "duplicates", title, Verdict.NOTE if part < 0.01 else Verdict.WARNING,
        f"{count(again, 'event')} ({percent(again, total)}) repeat another in every column but their id.", figures,
        "If the shop's system writes one row a unit, this is right. If an export was joined or read twice, declare in "
        "the mapping that exact duplicates collapse.",
    )  # fmt: skip


def repeated_ids(look: Look) -> Finding:
    """An event id stands once in each revision."""
    title = "Event ids"
    total, distinct = look.row(f"""
        SELECT count(*), count(DISTINCT (hash({c.EVENT_ID}, {c.REVISION}), hash({c.REVISION}, {c.EVENT_ID})))
        FROM events""")
    amended = look.row(f"SELECT count(DISTINCT {c.EVENT_ID}) FROM events WHERE {c.REVISION} > 0")[0]
    again = total - distinct
    figures = {"repeated": again, "amended": amended}
    if again:
        remedy = "Two imports brought the same rows as new ones: import them again into an empty shop."
        return Finding("event-ids", title, Verdict.FAILED, f"{count(again, 'event id')} twice.", figures, remedy)
    later = f"; {count(amended, 'event')} amended or cancelled later" if amended else ""
    return Finding("event-ids", title, Verdict.OK, f"Every event has its own id{later}.", figures)


def quarantine(look: Look) -> Finding:
    """What imports refused, by reason."""
    title = "Quarantine"
    files = [look.root / record.quarantine for record in look.manifest.imports if record.quarantine]
    files = [file for file in files if file.exists()]
    if not files:
        return Finding("quarantine", title, Verdict.OK, "No row was refused by an import.", {"rows": 0, "share": 0.0})
    listed = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    reasons = look.rows(f"""
        SELECT reason, count(*) AS n FROM read_parquet([{listed}], union_by_name = true)
        GROUP BY reason ORDER BY n DESC, reason LIMIT 30""")
    refused = look.count(f"read_parquet([{listed}], union_by_name = true)")
    total = refused + look.count("events")
    part = share(refused, total)
    clashes = sum(n for reason, n in reasons if "collision" in str(reason))
    figures = {"rows": refused, "share": part, "collisions": clashes}
    if not refused:
        return Finding("quarantine", title, Verdict.OK, "No row was refused by an import.", figures)
    verdict = Verdict.FAILED if part > 0.2 else Verdict.WARNING if part > 0.01 or clashes else Verdict.NOTE
    sentence = f"{count(refused, 'row')} ({percent(refused, total)}) were refused by imports and wait in quarantine."
    if clashes:
        sentence += f" {count(clashes, 'row')} came with the id of another event but other content."
    remedy = "Read the files in quarantine/, mend the rows or the mapping, and import again: good rows are not doubled."
    return Finding("quarantine", title, verdict, sentence, figures, remedy, Table(("reason", "rows"), list(reasons)))


_FULL_WIDTH = "".join(chr(code) for code in range(0xFF10, 0xFF5B) if chr(code).isalnum()) + "－　"
_HALF_WIDTH = "".join(chr(code - 0xFEE0) for code in range(0xFF10, 0xFF5B) if chr(code).isalnum()) + "- "


def lookalike_ids(look: Look) -> Finding:
    """Ids differ by more than case, width, outer spaces or leading zeros."""
    title = "Ids that look alike"
    figures: dict[str, int | float | str | None] = {}
    for name, column in (("customers", c.CUSTOMER_ID), ("items", c.ITEM_ID)):
        plain = f"lower(trim(translate(nfc_normalize(id), '{_FULL_WIDTH}', '{_HALF_WIDTH}')))"
        known = f"SELECT {column} AS id FROM current UNION SELECT {column} FROM {name}"
        ids, plainly, shortly = look.row(f"""
            SELECT count(*), count(DISTINCT {plain}), count(DISTINCT coalesce(nullif(ltrim({plain}, '0'), ''), '0'))
            FROM ({known}) WHERE id IS NOT NULL""")
        figures[f"{name}_written"] = ids - plainly
        figures[f"{name}_zeros"] = plainly - shortly
    written = int(figures["customers_written"] or 0) + int(figures["items_written"] or 0)
    zeros = int(figures["customers_zeros"] or 0) + int(figures["items_zeros"] or 0)
    if not written and not zeros:
        return Finding("ids-alike", title, Verdict.OK, "No two ids differ in writing only.", figures)
    told = []
    if written:
        told.append(f"{count(written, 'id')} differ from another only in case, width or outer spaces")
    if zeros:
        told.append(f"{count(zeros, 'id')} differ from another only in leading zeros")
    return Finding(
        "ids-alike", title, Verdict.WARNING if written else Verdict.NOTE, f"{' and '.join(told)}.", figures,
        "Spreadsheets drop leading zeros and forms change case. If these are the same customers or items, write their "
        "ids one way before the import: Kokyaku never guesses that two ids are one.",
    )  # fmt: skip


def events_without_item(look: Look) -> Finding:
    """Events that mean nothing without an item have one."""
    title = "Events without an item"
    kinds = ", ".join(f"'{kind}'" for kind in sorted(NEEDS_ITEM))
    total, bare = look.row(
        f"SELECT count(*), count(*) FILTER ({c.ITEM_ID} IS NULL) FROM current WHERE {c.TYPE} IN ({kinds})"
    )
    figures = {"events": bare, "share": share(bare, total)}
    if not bare:
        return Finding("item-missing", title, Verdict.OK, "Every event that needs an item names one.", figures)
    sentence = f"{count(bare, 'event')} ({percent(bare, total)}) of types that need an item name none."
    remedy = "Map the column of the item id; until then these events teach nothing."
    return Finding("item-missing", title, Verdict.WARNING, sentence, figures, remedy)
