"""Guessing a mapping from a file's column names, in English and Japanese, and from its first values."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.errors import ConfigError
from features.importing.blocks import open_plain
from features.importing.mapping import AMOUNT, Constant, FormatName, Mapping, TableName, our_columns
from features.importing.sources.files import file_feed, file_names
from features.importing.times import parse_times
from features.importing.values import as_text, flat, mask, parse_numbers
from features.importing.vocabulary import CATEGORY_LEVELS, NAMES, TIME_FORMATS, TYPE_WORDS
from features.kinds import EVENT_TYPES
from features.moments import DAY
from features.schemas import TABLES

SAMPLE_ROWS: Final = 2_000
_PLAUSIBLE = (20 * 365 * DAY, 100 * 365 * DAY)
"""Times of a shop lie between 1990 and 2070; numbers that give others are not Unix times."""
_JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
_NUMBERS = (c.QUANTITY, c.UNIT_PRICE, AMOUNT, c.DISCOUNT, c.PRICE)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A guess, and what a person should look at before believing it."""

    mapping: Mapping
    advice: list[str]


def propose_mapping(path: Path) -> Proposal:
    """The mapping that names and first values suggest; it may be incomplete, and says so.

    Raises:
        DataError: the file cannot be read at all.
    """
    form, delimiter = guess_format(path)
    draft = Mapping(source="shop", format=form, delimiter=delimiter)
    names = file_names(path, draft)
    found = match_names(names)
    table = guess_table(found)
    columns = _columns_for(table, found, names)
    draft = msgspec.structs.replace(draft, table=table, columns=columns)
    rows = _sample(path, draft, names)
    advice = ["source is part of the ids of events without one: give it a name that stays"]
    choices: dict[str, Any] = {}
    for choose in (_times, _numbers, _types, _rest):
        choices |= choose(msgspec.structs.replace(draft, **choices), rows, advice)
    mapping = msgspec.structs.replace(draft, **choices)
    if table == "events" and not mapping.has_id:
        advice.append("no column numbers the events: rows equal in all mapped columns are counted as repeats")
    return Proposal(mapping, advice)


def guess_format(path: Path) -> tuple[FormatName, str]:
    """The format and, of CSV, the delimiter that cuts the first lines most evenly."""
    with open_plain(path) as file:
        start = file.read(1 << 16)
    if start.startswith(b"PAR1"):
        return "parquet", ","
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{"):
        return "jsonl", ","
    lines = [line for line in start.split(b"\n")[:20] if line.strip()]
    if len(lines) > 1 and len(start) == 1 << 16:
        lines = lines[:-1]  # the last one may be cut

    def evenness(delimiter: str) -> tuple[int, int]:
        counts = [line.count(delimiter.encode()) for line in lines]
        return (sum(count == counts[0] > 0 for count in counts), counts[0]) if counts else (0, 0)

    return "csv", max((",", "\t", ";", "|"), key=evenness)


def match_names(names: Sequence[str]) -> dict[str, str]:
    """Ours -> theirs, for names that we have heard of; text in parentheses is ignored."""
    plain = {_plain(name): name for name in reversed(names)}
    found: dict[str, str] = {}
    for ours, words in NAMES.items():
        theirs = next((plain[key] for word in words if (key := _plain(word)) in plain), None)
        if theirs is not None and theirs not in found.values():
            found[ours] = theirs
    return found


def _plain(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"[\W_]+", "", re.sub(r"\(.*?\)|【.*?】|\[.*?\]", "", folded))


def guess_table(found: dict[str, str]) -> TableName:
    """The table that the recognised columns make sense for."""
    if c.LINKED_AT in found and c.VISITOR_ID in found:
        return "identities"
    if "shipment_state" in found and c.ORDER_ID in found:
        return "orders"
    if c.OCCURRED_AT in found and (c.CUSTOMER_ID in found or c.VISITOR_ID in found or c.TYPE in found):
        return "events"
    if c.ITEM_ID in found and c.CUSTOMER_ID not in found:
        return "items"
    return "customers" if c.CUSTOMER_ID in found and c.ITEM_ID not in found else "events"


def _columns_for(table: str, found: dict[str, str], names: Sequence[str]) -> dict[str, str | list[str]]:
    if table == "events" and c.UNIT_PRICE not in found and c.PRICE in found:
        found = {**found, c.UNIT_PRICE: found[c.PRICE]}
    if table == "items" and c.PRICE not in found and c.UNIT_PRICE in found:
        found = {**found, c.PRICE: found[c.UNIT_PRICE]}
    if table == "orders" and c.OCCURRED_AT in found:
        found = {**found, "ordered_at": found[c.OCCURRED_AT]}
    columns: dict[str, str | list[str]] = {name: found[name] for name in our_columns(table) if name in found}
    if c.UNIT_PRICE in columns:
        columns.pop(AMOUNT, None)
    levels = [name for name in names if _plain(name) in map(_plain, CATEGORY_LEVELS)]
    if table == "items" and levels:
        columns[c.CATEGORY] = levels
    return columns


def _sample(path: Path, draft: Mapping, names: tuple[str, ...]) -> pa.Table:
    """The first rows, with all columns."""
    wanted = msgspec.structs.replace(draft, columns={}, attributes={name: name for name in names})
    piece = next(file_feed(path, wanted, keep_all=True).pieces(), None)
    return pa.table({name: [] for name in names}) if piece is None else piece().rows.slice(0, SAMPLE_ROWS)


def _mapped(mapping: Mapping, kind: str) -> list[str]:
    """Their names of the mapped columns of a type (the start of its name in Arrow)."""
    types = {field.name: str(field.type) for field in TABLES[mapping.table]} | {AMOUNT: "double"}
    return [their for ours, their in mapping.columns.items() if isinstance(their, str) and types[ours].startswith(kind)]


def _times(mapping: Mapping, rows: pa.Table, advice: list[str]) -> dict[str, Any]:
    columns = _mapped(mapping, "timestamp")
    if not columns:
        return {}
    zone = "Asia/Tokyo" if any(_JAPANESE.search(name) for name in rows.column_names) else "UTC"
    given = flat(rows[columns[0]])
    if not pa.types.is_temporal(given.type):
        given = as_text(given)
    failures = {form: _unread(given, form) for form in TIME_FORMATS}
    best = min(failures, key=failures.__getitem__)
    perfect = [form for form in TIME_FORMATS if failures[form] == 0]
    if "%d/%m" in best and any("%m/%d" in form for form in perfect):
        advice.append(f"{columns[0]}: days and months could be swapped; check time_formats")
    if failures[best]:
        advice.append(f"{columns[0]}: {failures[best]} of the first {len(rows)} times are not read by {best}")
    if not _names_zone(given, best):
        advice.append(f"{columns[0]} names no time zone: is it {zone}?")
    return {"time_formats": [best], "time_zone": zone}


def _unread(given: pa.Array, form: str) -> int:
    moments, bad = parse_times(given, (form,), "UTC")
    instants = moments.cast(pa.int64())
    strange = mask(pc.or_(pc.less(instants, _PLAUSIBLE[0]), pc.greater(instants, _PLAUSIBLE[1])))
    return int((bad | strange).sum())


def _names_zone(given: pa.Array, form: str) -> bool:
    if form.startswith("unix"):
        return True
    try:
        parse_times(given, (form,), None)
    except ConfigError:
        return False
    return True


def _numbers(mapping: Mapping, rows: pa.Table, advice: list[str]) -> dict[str, Any]:
    columns = [mapping.columns[name] for name in _NUMBERS if name in mapping.columns]
    choices: dict[str, Any] = {}
    bad = {mark: sum(int(parse_numbers(rows[name], decimal=mark)[1].sum()) for name in columns) for mark in ".,"}
    if bad[","] < bad["."]:
        choices["decimal"] = ","
        advice.append('numbers look like 1.980,50: decimal = ","')
    quantity = mapping.columns.get(c.QUANTITY)
    if isinstance(quantity, str) and mapping.table == "events":
        values, _ = parse_numbers(rows[quantity], decimal=choices.get("decimal", "."))
        if pc.any(pc.less(values, 0)).as_py():
            choices["negative_quantity"] = "return"
            advice.append("quantities below zero are read as returns")
    return choices


def _types(mapping: Mapping, rows: pa.Table, advice: list[str]) -> dict[str, Any]:
    if mapping.table != "events":
        return {}
    column = mapping.columns.get(c.TYPE)
    if not isinstance(column, str):
        bought = any(name in mapping.columns for name in (c.QUANTITY, c.UNIT_PRICE, AMOUNT, c.ORDER_ID))
        kind = "purchase" if bought else "view"
        constants: dict[str, Constant] = {c.TYPE: kind}
        advice.append(f"no column says what happened: all rows are read as {kind}")
        return {"constants": constants}
    words = [word for word in pc.unique(as_text(rows[column])).to_pylist() if word is not None]
    types = {word: TYPE_WORDS[word.lower()] for word in words if word.lower() in TYPE_WORDS}
    unknown = [word for word in words if word not in types and word.lower() not in EVENT_TYPES]
    if unknown:
        advice.append(f"{column}: translate these in [types] or declare them: {', '.join(unknown[:10])}")
    return {"types": types}


def _rest(mapping: Mapping, rows: pa.Table, advice: list[str]) -> dict[str, Any]:
    """Columns that found no place: attributes of items and customers, ignored of events."""
    taken = set(mapping.their_columns())
    rest = [name for name in rows.column_names if name not in taken]
    if mapping.table in ("items", "customers"):
        return {"attributes": {name: name for name in rest}}
    if rest:
        advice.append(f"not used: {', '.join(rest)}")
    return {}


def to_toml(mapping: Mapping) -> str:
    """A mapping as a file: what differs from the defaults, scalars before tables."""
    given = {"source": mapping.source, "table": mapping.table}
    given |= {
        name: value
        for name in Mapping.__struct_fields__
        if (value := getattr(mapping, name)) != getattr(_DEFAULTS, name) and name not in given
    }
    given = msgspec.to_builtins(given)
    scalars = [f"{name} = {_value(value)}" for name, value in given.items() if not isinstance(value, dict)]
    tables = [
        f"\n[{name}]\n" + "\n".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items())
        for name, value in given.items()
        if isinstance(value, dict)
    ]
    return "\n".join([*scalars, *tables]) + "\n"


_DEFAULTS = Mapping(source="")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else orjson.dumps(name).decode()


def _value(value: Any) -> str:
    """TOML of plain values; its strings, numbers and lists are written as in JSON, its tables inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return orjson.dumps(value).decode()
