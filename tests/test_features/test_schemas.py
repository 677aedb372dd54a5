"""Schemas: one place, the rules of the contract in every table."""

from __future__ import annotations

import pyarrow as pa
import pytest

from features import columns as c
from features.kinds import EVENT_TYPES, NEEDS_ITEM, EventType, event_code
from features.schemas import INSTANT, PARTITIONED, TABLES, empty

CODES = {
    "other": 0, "view": 1, "search": 2, "cart": 3, "cart_remove": 4, "wishlist": 5, "wishlist_remove": 6, "purchase": 7,
    "return": 8, "review": 9, "rating": 10, "click": 11, "sent": 12, "delivered": 13, "open": 14, "unsubscribe": 15,
    "complaint": 16, "bounce": 17, "support": 18, "survey": 19, "answer": 20, "referral": 21, "impression": 22,
    "sign_in": 23, "sign_out": 24,
}  # fmt: skip


def test_codes_of_event_types_never_change() -> None:
    """Histories on disk hold the codes: an old code keeps its meaning, new types get new codes."""
    assert {name: int(event_code(name)) for name in CODES} == CODES
    assert len({int(kind) for kind in EventType}) == len(EventType)


def test_declared_types_of_a_shop_are_other() -> None:
    """A type of the shop's own is OTHER, which is no declared name itself."""
    assert event_code("test_drive") is EventType.OTHER
    assert "other" not in EVENT_TYPES
    assert set(EVENT_TYPES) >= NEEDS_ITEM


@pytest.mark.parametrize("table", TABLES)
def test_every_table_follows_the_contract(table: str) -> None:
    """Instants are microseconds UTC, ids are text, the source is named, and the schema says its version."""
    schema = TABLES[table]
    assert schema.metadata[b"kokyaku.table"].decode() == table
    assert schema.metadata[b"kokyaku.schema_version"] == b"1"
    assert not schema.field(c.SOURCE).nullable
    assert len(set(schema.names)) == len(schema.names)
    for field in schema:
        if pa.types.is_timestamp(field.type):
            assert field.type == INSTANT
        if field.name.endswith("_id"):
            assert field.type == pa.string()


@pytest.mark.parametrize("table", TABLES)
def test_empty_tables_have_the_schema(table: str) -> None:
    """No rows, all columns."""
    assert len(empty(table)) == 0
    assert empty(table).schema == TABLES[table]


def test_partitions_are_by_an_instant_that_is_never_missing() -> None:
    """A row of a partitioned table always has a month."""
    for table, column in PARTITIONED.items():
        field = TABLES[table].field(column)
        assert field.type == INSTANT
        assert not field.nullable


def test_column_names_are_written_once() -> None:
    """No two constants hold the same name."""
    names = [value for key, value in vars(c).items() if key.isupper()]
    assert len(set(names)) == len(names)
