"""From a file's columns to ours: what a mapping means, applied to one piece at a time, whole columns at a time."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.errors import ConfigError
from features.importing.mapping import AMOUNT, Field, Mapping, field_of
from features.importing.raw import BadRow, Raw
from features.importing.reasons import BAD_NUMBER, BAD_TIME, BAD_VALUE, FUTURE_TIME, MAX_TEXT_LENGTH, TOO_LONG
from features.importing.rules import RULES
from features.importing.sieve import REJECTED, Sieve
from features.importing.times import parse_times
from features.importing.values import (
    as_text,
    flat,
    join_lists,
    json_objects,
    longer_than,
    mask,
    parse_booleans,
    parse_lists,
    parse_numbers,
)
from features.schemas import INSTANT, TABLES
from features.text import MAX_ID_LENGTH

AT = "row_at"
"""Staged rows carry their place in the file under this name."""
MAY_LIE_AHEAD = frozenset({"promised_at", "confirmed_for", "available_from", "available_until"})
"""Times that say what is planned; all others must not be later than the import."""
JSON_COLUMNS = {
    **dict.fromkeys((c.ATTRIBUTES, "answers", "asked", "shown", "consents"), ("OBJECT", "a JSON object")),
    "projects": ("ARRAY", "a JSON list"),
}
"""Columns of open text -> what it must be, in DuckDB's word and in ours."""
WRITTEN_JSON = frozenset({"eligible", "vetoed", "features"})
"""JSON that named sources write themselves, as long as it needs to be."""

Prepare = Callable[[pa.Table, Sieve], pa.Table]
"""A named source's own step: derives columns and skips rows by rule, before the mapping is applied."""


@dataclass(frozen=True, slots=True)
class Typed:
    """One piece, understood.

    Args:
        rows: accepted rows in our columns (and what a source carries besides), each with its place `row_at`.
        rejected: rows of REJECTED; row numbers count within the piece, from 0.
        skipped: rows left out by rule.
        read: records in the piece.
    """

    rows: pa.Table
    rejected: pa.Table
    skipped: Counter[str]
    read: int


class Interpreter:
    """Applies a mapping.

    Args:
        mapping: checked (`check_mapping`).
        now: the import's moment; later times are rejected.
        prepare: a named source's own step.
        carry: columns of the prepared rows to keep as they are, for derived tables.
    """

    def __init__(
        self, mapping: Mapping, now: int, *, prepare: Prepare | None = None, carry: Sequence[str] = ()
    ) -> None:
        self.mapping, self.now, self.prepare, self.carry = mapping, now, prepare, tuple(carry)
        self._nulls = tuple(mapping.nulls)

    def __call__(self, raw: Raw) -> Typed:
        """Parse, check and sieve one piece.

        Raises:
            ConfigError: the mapping does not fit the file (a column that is not there, times without a zone).
        """
        sieve = Sieve(len(raw.rows))
        rows = self.prepare(raw.rows, sieve) if self.prepare else raw.rows
        ours = self._columns(rows, sieve)
        ours = RULES[self.mapping.table](ours, self.mapping, sieve)
        self._attributes(rows, ours, sieve)
        schema = TABLES[self.mapping.table]
        good = pa.array(sieve.good)
        kept = {name: ours[name] for name in schema.names if name in ours}
        kept |= {name: flat(rows[name]) for name in self.carry}
        table = pa.table({AT: pa.array(raw.at), **kept}).filter(good)
        return Typed(table, _rejected(raw, sieve), sieve.skipped(), raw.read)

    def _columns(self, rows: pa.Table, sieve: Sieve) -> dict[str, pa.Array]:
        ours: dict[str, pa.Array] = {}
        for name, given in self.mapping.columns.items():
            theirs = [given] if isinstance(given, str) else given
            ours[name] = self._parse(name, [_column(rows, their) for their in theirs], " + ".join(theirs), sieve)
        for name, value in self.mapping.constants.items():
            one = self._parse(name, [pa.array([str(value)])], "constant", Sieve(1))
            if one.null_count:
                raise ConfigError("a constant that its column does not allow", where=f"[constants] {name}", got=value)
            ours[name] = pa.repeat(one[0], len(rows))
        return ours

    def _parse(self, name: str, theirs: list[pa.Array], label: str, sieve: Sieve) -> pa.Array:
        """One of our columns; what cannot be read is rejected and null."""
        kind = pa.float64() if name == AMOUNT else TABLES[self.mapping.table].field(name).type
        detail = name if label == name else f"{name} ({label})"
        try:
            if pa.types.is_list(kind):
                return self._list(theirs, detail, sieve)
            return self._scalar(kind, theirs[0], name, detail, sieve)
        except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            problem = str(error).splitlines()[0]
            raise ConfigError("a column of an unsuitable type", where=detail, got=problem) from None

    def _scalar(self, kind: pa.DataType, theirs: pa.Array, name: str, detail: str, sieve: Sieve) -> pa.Array:
        if pa.types.is_floating(kind) or pa.types.is_integer(kind):
            return self._number(theirs, detail, sieve)
        if pa.types.is_timestamp(kind):
            return self._time(theirs, detail, sieve, ahead=name in MAY_LIE_AHEAD)
        if pa.types.is_boolean(kind):
            values, bad = parse_booleans(theirs, self._nulls)
            sieve.reject(bad, BAD_VALUE, detail)
            return values
        text = self._text(theirs, name)
        if name in WRITTEN_JSON:
            return text
        if name in JSON_COLUMNS:
            kind, what = JSON_COLUMNS[name]
            sieve.reject(_not_json(text, kind), BAD_VALUE, f"{detail}: not {what}")
            return text
        limit = MAX_ID_LENGTH if name.endswith("_id") or name in (c.LINE, c.TYPE) else MAX_TEXT_LENGTH
        sieve.reject(longer_than(text, limit), TOO_LONG, f"{detail}: more than {limit} characters")
        return text

    def _text(self, theirs: pa.Array, name: str) -> pa.Array:
        text = as_text(theirs, self._nulls)
        words = self.mapping.types if name == c.TYPE else self.mapping.values.get(name)
        if words:
            place = pc.index_in(text, pa.array(list(words), pa.string()))
            text = pc.coalesce(pc.take(pa.array(list(words.values()), pa.string()), place), text)
        if name == c.EVENT_ID and self.mapping.id_prefix:
            text = pc.binary_join_element_wise(self.mapping.id_prefix, text, "")
        return text

    def _number(self, theirs: pa.Array, detail: str, sieve: Sieve) -> pa.Array:
        mapping = self.mapping
        values, bad = parse_numbers(theirs, decimal=mapping.decimal, currency=mapping.currency, nulls=self._nulls)
        sieve.reject(bad, BAD_NUMBER, detail)
        return values

    def _time(self, theirs: pa.Array, detail: str, sieve: Sieve, *, ahead: bool) -> pa.Array:
        mapping = self.mapping
        values, bad = parse_times(theirs, tuple(mapping.time_formats), mapping.time_zone, self._nulls)
        sieve.reject(bad, BAD_TIME, detail)
        if not ahead:
            sieve.reject(mask(pc.greater(values, pa.scalar(self.now, INSTANT))), FUTURE_TIME, detail)
        return values

    def _list(self, theirs: list[pa.Array], detail: str, sieve: Sieve) -> pa.Array:
        one = len(theirs) == 1
        lists = (
            parse_lists(theirs[0], self.mapping.list_separator, self._nulls) if one else join_lists(theirs, self._nulls)
        )
        too_long = longer_than(pc.binary_join(lists, "|"), MAX_TEXT_LENGTH)
        sieve.reject(too_long, TOO_LONG, f"{detail}: more than {MAX_TEXT_LENGTH} characters")
        return lists

    def _attributes(self, rows: pa.Table, ours: dict[str, pa.Array], sieve: Sieve) -> None:
        """Further fields as one JSON object; those of a declared event type only on its events."""
        fields = {name: self._field(rows, name, field, sieve) for name, field in self.mapping.attributes.items()}
        for kind, declared in self.mapping.event_types.items():
            own = pc.fill_null(pc.equal(ours[c.TYPE], kind), False)
            for name, field in declared.fields.items():
                values = self._field(rows, name, field, sieve, where=own)
                fields[name] = pc.coalesce(values, fields[name]) if name in fields else values
        if fields:
            objects = json_objects(fields, len(rows))
            sieve.reject(longer_than(objects, 4 * MAX_TEXT_LENGTH), TOO_LONG, c.ATTRIBUTES)
            ours[c.ATTRIBUTES] = objects

    def _field(
        self, rows: pa.Table, name: str, given: Field | str, sieve: Sieve, where: pa.Array | None = None
    ) -> pa.Array:
        field = field_of(given)
        theirs = _column(rows, field.column)
        if where is not None:
            theirs = pc.if_else(where, theirs, None)
        detail = f"attributes.{name} ({field.column})"
        if field.kind == "number":
            return self._number(theirs, detail, sieve)
        if field.kind == "boolean":
            values, bad = parse_booleans(theirs, self._nulls)
            sieve.reject(bad, BAD_VALUE, detail)
            return values
        if field.kind == "instant":
            return pc.strftime(self._time(theirs, detail, sieve, ahead=True), format="%Y-%m-%dT%H:%M:%SZ")
        return as_text(theirs, self._nulls)


def _column(rows: pa.Table, name: str) -> pa.Array:
    if name not in rows.column_names:
        near = difflib.get_close_matches(name, rows.column_names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"it has: {', '.join(rows.column_names[:30])}"
        raise ConfigError("the file has no such column", got=name, hint=hint)
    return flat(rows[name])


def _not_json(text: pa.Array, kind: str) -> Any:
    """Which texts are not JSON of a kind. A shape test only where all is empty; else DuckDB parses them."""
    import duckdb

    if text.null_count == len(text):
        return None
    with duckdb.connect(config={"threads": 1}) as duck:
        duck.register("texts", pa.table({"t": text}))
        is_other = f"json_type(t) <> '{kind}'"
        query = f"SELECT CASE WHEN json_valid(t) THEN {is_other} ELSE t IS NOT NULL END AS bad FROM texts"
        return mask(duck.sql(query).to_arrow_table()["bad"])


def _rejected(raw: Raw, sieve: Sieve) -> pa.Table:
    """Quarantine rows of a piece: what the reader could not make out and what the sieve kept back."""
    places, reasons, details = sieve.quarantined()
    bad: list[BadRow] = raw.bad
    if not len(places) and not bad:
        return REJECTED.empty_table()
    numbers = [*raw.at[places].tolist(), *(row.at for row in bad)]
    texts = [*_as_json(raw, places), *(row.text for row in bad)]
    columns = [numbers, [*reasons, *(row.reason for row in bad)], [*details, *(row.detail for row in bad)], texts]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, REJECTED, strict=True)]
    return pa.table(arrays, schema=REJECTED).sort_by("row_number")


def _as_json(raw: Raw, places: Any) -> list[str | None]:
    which = pa.array(np.asarray(places, np.int64))
    if raw.lines is not None:
        taken: list[str | None] = raw.lines.take(which).to_pylist()
        return taken
    rows = raw.rows.take(which)
    columns = {name: _printable(flat(rows[name])) for name in rows.column_names}
    written: list[str | None] = pc.fill_null(json_objects(columns, len(rows)), "{}").to_pylist()
    return written


def _printable(column: pa.Array) -> pa.Array:
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
    return column
