"""The mapping file: which of the shop's columns is which of ours, and how its values are written."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from features import columns as c
from features.dataset import KEYS
from features.errors import ConfigError
from features.importing.values import currency_signs
from features.kinds import EVENT_TYPES
from features.moments import zone
from features.schemas import TABLES

TableName = Literal["events", "items", "customers", "orders", "identities", "decisions"]
FormatName = Literal["csv", "parquet", "jsonl"]
Encoding = Literal["auto", "utf-8", "utf-8-sig", "cp932", "shift_jis", "euc-jp", "cp1252", "latin-1"]
Constant = str | int | float | bool

AMOUNT: Final = "amount"
"""A column of mappings only: what the whole line costs; it becomes unit_price = amount / quantity."""
WRITTEN_BY_IMPORT: Final = frozenset({c.SOURCE, c.REVISION, c.CONTENT_HASH})
UNIX_FORMATS: Final = {"unix": 1_000_000, "unix-ms": 1_000, "unix-us": 1}
"""Times that are numbers -> microseconds of one unit."""

REQUIRED: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "events": ((c.OCCURRED_AT,), (c.TYPE,), (c.CUSTOMER_ID, c.VISITOR_ID)),
    "items": ((c.ITEM_ID,),),
    "customers": ((c.CUSTOMER_ID,),),
    "orders": ((c.ORDER_ID,), (c.LINE,)),
    "identities": ((c.VISITOR_ID,), (c.CUSTOMER_ID,), (c.LINKED_AT,)),
    "decisions": ((c.DECISION_ID,), (c.DECIDED_AT,), (c.CUSTOMER_ID, c.VISITOR_ID)),
}
"""What each table cannot do without; of the names in one group, one is enough."""


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A further field, kept in `attributes` under a name that the shop chose."""

    column: str
    kind: Literal["text", "number", "boolean", "instant"] = "text"


class EventTypeDeclaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event type that the shop adds to ours, with context fields that only its events have."""

    fields: dict[str, Field | str] = {}


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One kind of export file.

    Column names on the left of `columns`, `constants`, `values` and in `natural_key` are ours, those on the right
    are the file's. In JSON lines a name that begins with `/` is a JSON pointer (`/customer/id`).
    """

    source: str
    """Name of the system that writes these files; part of the hash of events without an id, so keep it."""
    table: TableName = "events"
    format: FormatName | None = None
    delimiter: str = ","
    encoding: Encoding = "auto"
    header: bool = True
    column_names: list[str] = []
    """The columns of a file without a header."""
    columns: dict[str, str | list[str]] = {}
    """Ours -> theirs; several columns make one list (a category path, widest first)."""
    constants: dict[str, Constant] = {}
    attributes: dict[str, Field | str] = {}
    types: dict[str, str] = {}
    """Their value -> our event type."""
    values: dict[str, dict[str, str]] = {}
    """Ours -> {their value: our value}, e.g. for shipment_state."""
    event_types: dict[str, EventTypeDeclaration] = {}
    time_formats: list[str] = msgspec.field(default_factory=lambda: ["iso"])
    """Tried in order: `iso`, `unix`, `unix-ms`, `unix-us`, or strptime patterns such as `%Y/%m/%d %H:%M`."""
    time_zone: str | None = None
    """Of times that name none."""
    decimal: Literal[".", ","] = "."
    """The decimal mark; the other one may group thousands."""
    currency: str | None = None
    """ISO code; when given, amounts with another currency's sign are refused."""
    nulls: list[str] = []
    """Values that mean "nothing" besides the empty one, e.g. `NULL`."""
    list_separator: str = "|"
    """Between the values of one list column."""
    natural_key: list[str] = []
    """Ours; rows equal in these are told apart by counting. Default: all mapped columns."""
    id_prefix: str = ""
    """Put before the source's ids, where two systems number alike."""
    duplicates: Literal["keep", "collapse"] = "keep"
    """Whether rows equal in everything are repeated events or one."""
    on_change: Literal["quarantine", "amend"] = "quarantine"
    """What a later row with a known id and other content is: suspicious, or the new truth."""
    negative_quantity: Literal["reject", "return"] = "reject"
    """Whether a purchase with a negative quantity is a mistake or a return."""
    undated: Literal["static", "now"] = "static"
    """Versions without valid_from: of a catalogue without history, or in force from the import on."""

    @property
    def has_id(self) -> bool:
        """Whether the source numbers its events itself."""
        return c.EVENT_ID in self.columns

    @property
    def known_types(self) -> tuple[str, ...]:
        """Our event types and the declared ones."""
        return (*EVENT_TYPES, *self.event_types)

    def their_columns(self) -> list[str]:
        """All columns of the file that the mapping names, each once."""
        mapped = [name for given in self.columns.values() for name in ([given] if isinstance(given, str) else given)]
        fields = [*self.attributes.values(), *(f for e in self.event_types.values() for f in e.fields.values())]
        return list(dict.fromkeys([*mapped, *(field_of(field).column for field in fields)]))


def field_of(given: Field | str) -> Field:
    """The long form of a field."""
    return Field(given) if isinstance(given, str) else given


def our_columns(table: str) -> tuple[str, ...]:
    """The columns of a table that a mapping may fill."""
    names = tuple(name for name in TABLES[table].names if name not in WRITTEN_BY_IMPORT)
    return (*names, AMOUNT) if table == "events" else names


def load_mapping(path: Path) -> Mapping:
    """Read `mapping.toml`.

    Raises:
        ConfigError: not readable, not TOML, or it does not make sense; says where and what to write.
    """
    return parse_mapping(read_toml(path), where=str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The plain values of a mapping file.

    Raises:
        ConfigError: not readable, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError("cannot read the mapping", where=str(path), got=error.strerror) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("not a TOML file in UTF-8", where=str(path), got=str(error)) from None


def parse_mapping(raw: dict[str, Any], *, where: str = "mapping") -> Mapping:
    """A checked mapping from plain values.

    Raises:
        ConfigError: as `load_mapping`.
    """
    refuse_unknown(raw, Mapping.__struct_fields__, where)
    for place, given in _fields_in(raw):
        if isinstance(given, dict):
            refuse_unknown(given, Field.__struct_fields__, f"{where} {place}")
    if "source" not in raw:
        hint = 'add source = "..."; it is part of the hash of events without an id'
        raise ConfigError("the mapping names no source", where=where, hint=hint)
    try:
        mapping = msgspec.convert(raw, Mapping)
    except msgspec.ValidationError as error:
        raise ConfigError("the mapping does not make sense", where=where, got=str(error)) from None
    check_mapping(mapping, where=where)
    return mapping


def check_mapping(mapping: Mapping, *, where: str = "mapping") -> None:
    """Everything that can be wrong before the file is opened.

    Raises:
        ConfigError: unknown names, missing columns, policies that contradict each other.
    """
    if mapping.table == "decisions":
        hint = "say: kokyaku import experiment, whose mapping has arms and outcomes"
        raise ConfigError("decisions have a mapping of their own", where=where, got=mapping.table, hint=hint)
    allowed = our_columns(mapping.table)
    for part in ("columns", "constants", "values"):
        refuse_unknown(getattr(mapping, part), allowed, f"{where} [{part}]")
    mapped = [*mapping.columns, *mapping.constants]
    refuse_unknown(mapping.natural_key, mapped, f"{where} natural_key")
    refuse_unknown(mapping.types.values(), mapping.known_types, f"{where} [types]", what="event type")
    for name in mapping.columns.keys() & mapping.constants.keys():
        raise ConfigError("both a column and a constant", where=where, got=name, hint="keep one of them")
    for group in REQUIRED[mapping.table]:
        if not any(name in mapped for name in group):
            hint = f"add it to [columns]; {mapping.table} cannot do without"
            raise ConfigError("a column is missing", where=where, got=" or ".join(group), hint=hint)
    _check_policies(mapping, where)


def _check_policies(mapping: Mapping, where: str) -> None:
    if mapping.time_zone is not None:
        zone(mapping.time_zone)
    currency_signs(mapping.currency)
    for name in mapping.event_types.keys() & set(EVENT_TYPES):
        raise ConfigError("a declared event type is ours already", where=where, got=name, hint="use attributes for it")
    if len(mapping.delimiter) != 1 or mapping.delimiter in '"\r\n':
        raise ConfigError("the delimiter is one character", where=where, got=mapping.delimiter)
    if not mapping.header and not mapping.column_names:
        raise ConfigError("no header and no column_names", where=where, hint="list the file's columns in column_names")
    if not mapping.time_formats:
        raise ConfigError("no time_formats", where=where, hint='write e.g. time_formats = ["iso"]')
    if mapping.on_change == "amend" and mapping.table == "events" and not (mapping.has_id or mapping.natural_key):
        hint = "map event_id, or name the natural_key that stays when the rest changes"
        raise ConfigError("amendments need an id or a natural key", where=where, hint=hint)
    lists = {name for name, given in mapping.columns.items() if not isinstance(given, str)}
    for name in lists - _list_columns(mapping.table):
        raise ConfigError("several columns for one value", where=f"{where} [columns]", got=name)


def _list_columns(table: str) -> set[str]:
    return {field.name for field in TABLES[table] if str(field.type).startswith("list")}


def _fields_in(raw: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    attributes = raw.get("attributes")
    for name, given in attributes.items() if isinstance(attributes, dict) else ():
        yield f"[attributes] {name}", given
    declared = raw.get("event_types")
    for kind, body in declared.items() if isinstance(declared, dict) else ():
        fields = body.get("fields") if isinstance(body, dict) else None
        for name, given in fields.items() if isinstance(fields, dict) else ():
            yield f"[event_types.{kind}] {name}", given


def refuse_unknown(given: Iterable[str], allowed: Iterable[str], where: str, *, what: str = "name") -> None:
    """Raise for the first name that is not allowed, with the nearest that is.

    Raises:
        ConfigError: naming both.
    """
    choices = list(allowed)
    for name in given:
        if name not in choices:
            near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(choices[:30])}"
            raise ConfigError(f"unknown {what}", where=where, got=name, hint=hint)


def versioned(table: str) -> bool:
    """Whether a table keeps versions by valid_from."""
    return table in KEYS
