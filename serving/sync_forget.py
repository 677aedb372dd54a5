"""Erasure in the dataset: parts that contain an erased subject are written anew without it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import columns as c
from features.dataset import Dataset
from features.files import write_atomically
from features.history import visitor_subject
from serving.store_erasure import random_token
from serving.sync_collect import Collected
from serving.tombstones import Erased, token_of

_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SEPARATORS = re.compile(r"[\s,;|:\"{}\[\]]+")
CUSTOMER_TABLES = ("customers", "identities", "orders")
"""Tables whose rows of an erased customer go."""


@dataclass
class Subjects:
    """The erased subjects of whom rows stand in the dataset."""

    customers: list[str] = field(default_factory=list)
    visitors: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.customers or self.visitors)


def erased_in(dataset: Dataset, erased: Erased) -> Subjects:
    """Who of the erased is still in the committed tables. Reads every distinct id."""
    if not erased or not dataset.exists():
        return Subjects()
    customers = " UNION ".join(
        f"SELECT {c.CUSTOMER_ID} AS id FROM {table}" for table in ("events", "decisions", *CUSTOMER_TABLES)
    )
    anonymous = " UNION ".join(
        f"SELECT {c.VISITOR_ID} AS id FROM {table} WHERE {c.CUSTOMER_ID} IS NULL" for table in ("events", "decisions")
    )
    return Subjects(
        [each for each in _ids(dataset, customers) if erased.customer(each)],
        [each for each in _ids(dataset, anonymous) if erased.visitor(each)],
    )


def linked_visitors(dataset: Dataset, erased: Erased, secret: bytes) -> list[bytes]:
    """Tombstones for the visitors whom the dataset knows to be erased customers."""
    if not erased or not dataset.exists():
        return []
    links = dataset.read("identities", [c.CUSTOMER_ID, c.VISITOR_ID])
    customers = [each for each in links[c.CUSTOMER_ID].unique().to_pylist() if erased.customer(each)]
    theirs = links.filter(pc.is_in(links[c.CUSTOMER_ID], value_set=pa.array(customers, pa.string())))
    return [token_of(secret, visitor_subject(visitor)) for visitor in theirs[c.VISITOR_ID].unique().to_pylist()]


@dataclass
class Rewritten:
    """What rewriting gave.

    Args:
        replaces: for `Dataset.commit`: old part -> new part, or None where nothing is left.
        rewards: what the removed events brought to decisions: (decision id, reward, value, instant).
    """

    replaces: dict[str, str | None] = field(default_factory=dict)
    rewards: list[tuple[str, str, float, int]] = field(default_factory=list)


def rewrite(dataset: Dataset, gone: Subjects, into: Collected) -> Rewritten:
    """Write the parts that contain erased subjects anew, not yet committed."""
    done = Rewritten()
    tokens = {subject: random_token() for subject in (*gone.customers, *gone.visitors)}
    lines = _lines(dataset, gone)
    for table in ("events", "decisions", *CUSTOMER_TABLES):
        for part in dataset.manifest().parts(table):
            rows = pq.read_table(dataset.root / part, partitioning=None)
            theirs = _theirs(rows, gone, anonymous=table in ("events", "decisions"))
            if table == "orders":
                theirs = pc.or_(theirs, _unnamed(rows, lines))
            if not pc.any(theirs).as_py():
                continue
            into.count(f"{table} {'made anonymous' if table == 'decisions' else 'erased'}", pc.sum(theirs).as_py())
            if table == "events":
                done.rewards += _rewards(rows.filter(theirs))
            kept = _anonymised(rows, theirs, tokens) if table == "decisions" else rows.filter(pc.invert(theirs))
            done.replaces[part] = _write(dataset, table, kept, f"{into.name}-without-{len(done.replaces)}")
    return done


def scrub_quarantine(dataset: Dataset, erased: Erased) -> int:
    """Drop quarantined rows in which an erased customer's or visitor's id stands as a value, in whatever column.

    Returns:
        How many rows went.
    """
    count = 0
    for path in sorted((dataset.root / "quarantine").glob("*.parquet")):
        rows = pq.read_table(path)
        texts = [rows[field.name].to_pylist() for field in rows.schema if pa.types.is_string(field.type)]
        lines = (" ".join(map(str, row)) for row in zip(*texts, strict=True))
        clean = pa.array([not any(map(erased.anyone, _values(line))) for line in lines], pa.bool_())
        gone = len(rows) - pc.sum(clean.cast(pa.int64())).as_py() if len(rows) else 0
        if gone:
            buffer = pa.BufferOutputStream()
            pq.write_table(rows.filter(clean), buffer, compression="zstd")
            write_atomically(path, buffer.getvalue().to_pybytes())
            count += gone
    return count


def _values(text: str) -> set[str]:
    """What might be an id in a row that could not be read: whole JSON strings, and the pieces between separators."""
    strings = [_said(found) for found in _JSON_STRING.findall(text)]
    return {*strings, *(piece for string in (text, *strings) for piece in _SEPARATORS.split(string))} - {""}


def _said(quoted: str) -> str:
    """What a JSON string says; what only looks like one (a path, a tab between quotes) is text like any other."""
    try:
        return str(orjson.loads(quoted))
    except orjson.JSONDecodeError:
        return quoted[1:-1].replace("\\", " ")


def _ids(dataset: Dataset, query: str) -> list[str]:
    with dataset.connect() as connection:
        found: list[str] = (
            connection.sql(f"SELECT id FROM ({query}) WHERE id IS NOT NULL").to_arrow_table()["id"].to_pylist()
        )
    return found


def _theirs(rows: pa.Table, gone: Subjects, *, anonymous: bool) -> Any:
    customers = pa.array(gone.customers, pa.string())
    theirs = pc.is_in(rows[c.CUSTOMER_ID], value_set=customers, skip_nulls=True)
    if anonymous:
        visitors = pc.is_in(rows[c.VISITOR_ID], value_set=pa.array(gone.visitors, pa.string()), skip_nulls=True)
        theirs = pc.or_(theirs, pc.and_(visitors, pc.is_null(rows[c.CUSTOMER_ID])))
    return theirs


def _lines(dataset: Dataset, gone: Subjects) -> set[tuple[str, str]]:
    """The order lines of erased customers."""
    orders = dataset.read("orders", [c.CUSTOMER_ID, c.ORDER_ID, c.LINE])
    theirs = orders.filter(_theirs(orders, gone, anonymous=False))
    return set(zip(theirs[c.ORDER_ID].to_pylist(), theirs[c.LINE].to_pylist(), strict=True))


def _unnamed(rows: pa.Table, lines: set[tuple[str, str]]) -> Any:
    """Reports of these lines that name no customer, such as a carrier's: the parcel is theirs all the same."""
    columns = (rows[name].to_pylist() for name in (c.ORDER_ID, c.LINE, c.CUSTOMER_ID))
    found = [customer is None and (order, line) in lines for order, line, customer in zip(*columns, strict=True)]
    return pa.chunked_array([pa.array(found, pa.bool_())])


def _write(dataset: Dataset, table: str, rows: pa.Table, name: str) -> str | None:
    written = dataset.write_part(table, rows, name)
    assert len(written) <= 1, "a part lies within one month"
    return written[0] if written else None


def _rewards(rows: pa.Table) -> list[tuple[str, str, float, int]]:
    rows = rows.filter(pc.is_valid(rows[c.DECISION_ID]))
    money = pc.subtract(
        pc.multiply(rows[c.UNIT_PRICE], pc.fill_null(rows[c.QUANTITY], 1.0)), pc.fill_null(rows[c.DISCOUNT], 0.0)
    )
    columns = (rows[c.DECISION_ID], rows[c.TYPE], pc.fill_null(money, 1.0), rows[c.OCCURRED_AT].cast(pa.int64()))
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def _anonymised(rows: pa.Table, theirs: Any, tokens: dict[str, str]) -> pa.Table:
    """Decisions with a random token for their subject, and without what was known of it."""
    flags = theirs.to_pylist()
    who = zip(flags, rows[c.CUSTOMER_ID].to_pylist(), rows[c.VISITOR_ID].to_pylist(), strict=True)
    customers = [
        tokens.get(customer or visitor, random_token()) if gone else customer for gone, customer, visitor in who
    ]
    text = pa.string()
    for name, column in (
        (c.CUSTOMER_ID, pa.array(customers, text)),
        (c.VISITOR_ID, pc.if_else(theirs, pa.scalar(None, text), rows[c.VISITOR_ID])),
        ("features", pc.if_else(theirs, pa.scalar(None, text), rows["features"])),
        ("vetoed", pc.if_else(theirs, pa.scalar("[]", text), rows["vetoed"])),
    ):
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows
