"""The mapping file: typing errors are answered with the nearest name, contradictions before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from features.errors import ConfigError
from features.importing.mapping import Mapping, load_mapping, parse_mapping
from features.importing.proposal import to_toml

MINIMAL: dict[str, Any] = {
    "source": "till",
    "columns": {"occurred_at": "time", "customer_id": "who", "type": "kind"},
}


def problem(**changes: Any) -> str:
    """The message for a mapping with these changes."""
    with pytest.raises(ConfigError) as caught:
        parse_mapping({**MINIMAL, **changes})
    return caught.value.line()


def test_the_smallest_mapping_is_enough() -> None:
    """Everything else has a default that is written in the class."""
    assert parse_mapping(MINIMAL) == Mapping(**MINIMAL)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"time_zome": "UTC"}, "'time_zome'; did you mean time_zone?"),
        ({"columns": {**MINIMAL["columns"], "quantty": "q"}}, "'quantty'; did you mean quantity?"),
        ({"types": {"sold": "purchas"}}, "unknown event type; got 'purchas'; did you mean purchase?"),
        ({"natural_key": ["order_id"]}, "unknown name; got 'order_id'"),
        ({"attributes": {"shop": {"colum": "s"}}}, "'colum'; did you mean column?"),
        ({"event_types": {"test_drive": {"fields": {"x": {"column": "x", "kin": "text"}}}}}, "did you mean kind?"),
        ({"columns": {"occurred_at": "t", "type": "k"}}, "got 'customer_id or visitor_id'; add it to [columns]"),
        ({"constants": {"type": "view"}}, "both a column and a constant; got 'type'"),
        ({"delimiter": ";;"}, "the delimiter is one character"),
        ({"time_zone": "Tokyo"}, "unknown time zone; got 'Tokyo'"),
        ({"duplicates": "drop"}, "does not make sense"),
        ({"on_change": "amend"}, "amendments need an id or a natural key"),
        ({"header": False}, "no header and no column_names"),
        ({"time_formats": []}, "no time_formats"),
        ({"event_types": {"view": {}}}, "a declared event type is ours already; got 'view'"),
        ({"columns": {**MINIMAL["columns"], "item_id": ["a", "b"]}}, "several columns for one value; got 'item_id'"),
        ({"table": "item"}, "does not make sense"),
        ({"table": "decisions"}, "say: kokyaku import experiment"),
        ({"currency": "YEN"}, "unknown currency"),
    ],
)
def test_what_does_not_make_sense_is_said_in_one_line(changes: dict[str, Any], words: str) -> None:
    """What is wrong, where, what was got, and the nearest that is right."""
    message = problem(**changes)
    assert words in message
    assert "\n" not in message


def test_a_source_is_needed() -> None:
    """It is part of the ids, so it cannot be the file's name of the day."""
    with pytest.raises(ConfigError, match="names no source"):
        parse_mapping({"columns": {}})


def test_files_that_are_no_mappings(tmp_path: Path) -> None:
    """Missing, not TOML, not UTF-8."""
    path = tmp_path / "mapping.toml"
    with pytest.raises(ConfigError, match="cannot read the mapping"):
        load_mapping(path)
    for content in (b"source = ", "source = '茶'".encode("cp932")):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="not a TOML file"):
            load_mapping(path)


def test_a_mapping_survives_being_written(tmp_path: Path) -> None:
    """Japanese names, quotes, declared types with fields: the file says the same as the object."""
    mapping = parse_mapping(
        {
            **MINIMAL,
            "format": "csv",
            "delimiter": "\t",
            "types": {'"購入"': "purchase", "試乗": "test_drive"},
            "attributes": {"店舗": "店", "age": {"column": "年齢", "kind": "number"}},
            "event_types": {"test_drive": {"fields": {"minutes": {"column": "分", "kind": "number"}}}},
            "values": {"channel": {"Web": "web"}},
            "nulls": ["NULL", "\\N"],
        }
    )
    path = tmp_path / "mapping.toml"
    path.write_text(to_toml(mapping), encoding="utf-8")
    assert load_mapping(path) == mapping
