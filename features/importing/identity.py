"""SQL that gives events an identity: the same row has the same id in every export, wherever it stands in it.

An event's id is the source's own, or `<32 hex digits>` of (source, natural key), followed by `-1`, `-2` ... for
further rows that are equal in that key. The number does not depend on the order of rows (see `reconcile_events`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from features import columns as c
from features.importing.mapping import Mapping
from features.schemas import TABLES

HEX_DIGITS: Final = 32
_NOT_CONTENT: Final = frozenset({c.EVENT_ID, c.RECORDED_AT, c.VALID_FROM, c.SOURCE, c.REVISION, c.CONTENT_HASH})


def content_of(table: str, names: Sequence[str]) -> str:
    """SQL for a row's content as one text: `number=value` of each column that is not null.

    The number is the column's place in the schema (a third less to hash than its name), so new columns are added at
    a schema's end: otherwise every event would get another id.
    """
    schema = TABLES[table]
    written = [
        _written(place, field)
        for place, field in enumerate(schema)
        if field.name in names and field.name not in _NOT_CONTENT
    ]
    return f"concat_ws(chr(31), {', '.join(written)})"


def _written(place: int, field: pa.Field) -> str:
    name, kind = field.name, field.type
    if name == c.WITHDRAWN:  # not withdrawn is what all rows are that say nothing of it
        return f"CASE WHEN {name} THEN '{place}' END"
    if pa.types.is_timestamp(kind):
        return f"'{place}=' || epoch_us({name})"
    if pa.types.is_list(kind):
        return f"'{place}=' || array_to_string({name}, chr(30))"
    return f"'{place}=' || {name}"


def event_identity(mapping: Mapping, source: str, names: Sequence[str]) -> str:
    """SQL columns `base` (the id before repeats are numbered) and `content_hash` of an event.

    The hash is the lower half of an MD5, so that any program can compute it again; it is no defence against forgery.
    """
    content = content_of("events", names)
    if not mapping.has_id and not mapping.natural_key:
        key = f"concat_ws(chr(31), {quoted(source)}, {content})"
        return f"{{key}} AS base, {_low_half('{key}')} AS {c.CONTENT_HASH}".replace("{key}", f"md5({key})")
    base = c.EVENT_ID
    if not mapping.has_id:
        key = content_of("events", [*mapping.natural_key])
        base = f"md5(concat_ws(chr(31), {quoted(source)}, {key}))"
    return f"{base} AS base, {_low_half(f'md5({content})')} AS {c.CONTENT_HASH}"


def _low_half(hex_digits: str) -> str:
    return f"('0x' || right({hex_digits}, 16))::UBIGINT"


def base_of_known(mapping: Mapping) -> str:
    """SQL for the base of an event in the dataset."""
    return c.EVENT_ID if mapping.has_id else f"left({c.EVENT_ID}, {HEX_DIGITS})"


def quoted(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def sql_type(field: pa.Field) -> str:
    """DuckDB's name of a column's type."""
    kind = field.type
    if pa.types.is_list(kind):
        return "VARCHAR[]"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ"
    if pa.types.is_boolean(kind):
        return "BOOLEAN"
    return "DOUBLE" if pa.types.is_floating(kind) else "VARCHAR"
