"""`kokyaku import sends`: what a mail tool really sent comes back, and caps count it.

Rows become events `sent` or `bounce` of the decision that they carry out. Taking a file again adds nothing. A row that
cannot be taken is kept with its reason, beside those of other imports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from features import columns as c
from features.errors import DataError
from features.history import customer_subject
from features.importing import reasons
from features.moments import format_instant, parse_instant, to_datetime
from features.shop import Shop
from features.text import MAX_ID_LENGTH
from serving.events import StoredEvent
from serving.intake import AHEAD
from serving.store import Store

COLUMNS = (c.CUSTOMER_ID, c.DECISION_ID, "sent_at", "status")
STATUS = {"sent": "sent", "bounced": "bounce", "failed": "bounce"}
"""Status in the file -> event type."""
UNKNOWN_DECISION, OTHER_CUSTOMER, ERASED = "unknown-decision", "other-customer", "erased"
WORDS = {
    **reasons.REASONS,
    UNKNOWN_DECISION: "no message of this shop was decided under that id",
    OTHER_CUSTOMER: "the message was decided for another customer",
    ERASED: "this person asked to be forgotten",
}
REJECTED = pa.schema([("row", pa.int64()), ("reason", pa.string()), *((name, pa.string()) for name in COLUMNS)])
_AT_ONCE = 1_000


@dataclass
class Sends:
    """What became of the rows of a file."""

    read: int = 0
    added: Counter[str] = field(default_factory=Counter)
    """Event type -> new events."""
    already_there: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    quarantine: Path | None = None


def take_sends(shop: Shop, path: Path, *, now: int, done: Callable[[int], None] = lambda count: None) -> Sends:
    """Read a file of sends into the store of a shop, beside a running service or without one.

    Args:
        shop: whose.
        path: CSV or Parquet with the columns `decision_id, customer_id, sent_at, status`.
        now: the moment of the import; what claims to be later is not taken.
        done: hears how many rows each piece had.

    Raises:
        DataError: not there, not such a file, or a column is missing.
        Unavailable: the store refuses; take the file again.
    """
    rows = _rows(path)
    report, rejected = Sends(read=len(rows)), []
    store = Store.of(shop)
    try:
        for start in range(0, len(rows), _AT_ONCE):
            piece = list(enumerate(rows.slice(start, _AT_ONCE).to_pylist(), start=start + 1))
            for number, row, why in _taken(store, piece, now, report):
                report.reasons[why] += 1
                rejected.append({"row": number, "reason": why, **{name: row[name] for name in COLUMNS}})
            done(len(piece))
    finally:
        store.close()
    if rejected:
        stamp = to_datetime(now).strftime("%Y%m%dT%H%M%S")
        report.quarantine = shop.dataset / "quarantine" / f"sends-{path.stem}-{stamp}.parquet"
        report.quarantine.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rejected, schema=REJECTED), report.quarantine, compression="zstd")
    return report


Row = dict[str, str | None]


def _taken(store: Store, piece: list[tuple[int, Row]], now: int, report: Sends) -> Iterator[tuple[int, Row, str]]:
    """Store what can be taken of a piece; the other rows come back with their reasons."""
    good: list[tuple[int, Row, StoredEvent]] = []
    for number, row in piece:
        event = _event(store, row, now)
        if isinstance(event, str):
            yield number, row, event
        else:
            good.append((number, row, event))
    outcomes = store.append_sync([event for _, _, event in good]) if good else []
    for (number, row, event), outcome in zip(good, outcomes, strict=True):
        if outcome == "accepted":
            report.added[event.type] += 1
        elif outcome == "duplicate":
            report.already_there += 1
        else:
            yield number, row, ERASED if outcome == "erased" else reasons.COLLISION


def _event(store: Store, row: Row, now: int) -> StoredEvent | str:
    """A row as an event, or why it is none."""
    customer, decision, sent_at, status = ((row[name] or "").strip() for name in COLUMNS)
    if not customer or not decision:
        return reasons.MISSING_ID
    if max(len(customer), len(decision)) > MAX_ID_LENGTH:
        return reasons.TOO_LONG
    if not sent_at:
        return reasons.MISSING_TIME
    if status not in STATUS:
        return reasons.BAD_VALUE
    try:
        at = parse_instant(sent_at)
    except (DataError, OverflowError):
        return reasons.BAD_TIME
    if at > now + AHEAD:
        return reasons.FUTURE_TIME
    if store.is_erased(customer, None):
        return ERASED
    known = store.shown_under(decision)
    if known is None:
        return UNKNOWN_DECISION
    if known[0] != customer_subject(customer):
        return OTHER_CUSTOMER
    kind = STATUS[status]
    return StoredEvent(
        event_id=f"{kind}:{decision}", occurred_at=min(at, now), recorded_at=now, type=kind, customer_id=customer,
        decision_id=decision, channel=known[1],
    )  # fmt: skip


def _rows(path: Path) -> pa.Table:
    """The columns of a file as texts."""
    if not path.is_file():
        raise DataError("no such file", where=str(path), hint="give --path the report of the mail tool")
    try:
        table = pq.read_table(path) if path.suffix.lower() == ".parquet" else pa.csv.read_csv(
            path, convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()))
        )  # fmt: skip
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise DataError("not a table that can be read", where=str(path), got=str(error).splitlines()[0]) from None
    hint = f"it needs the columns {', '.join(COLUMNS)}"
    for name in COLUMNS:
        times = table.column_names.count(name)
        if times != 1:
            what = f"no column {name}" if not times else f"{times} columns {name}"
            raise DataError(what, where=str(path), got=table.column_names, hint=hint)
    try:
        return pa.table({name: pa.array(_texts(table[name]), pa.string()) for name in COLUMNS})
    except (pa.ArrowException, OverflowError) as error:
        raise DataError("not a table of texts and times", where=str(path), got=str(error), hint=hint) from None


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    if pa.types.is_timestamp(column.type):
        instants = column.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64()).to_pylist()
        return [None if at is None else format_instant(at) for at in instants]
    found: list[str | None] = column.cast(pa.string()).to_pylist()
    return found
