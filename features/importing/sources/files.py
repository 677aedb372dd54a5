"""Files of the general formats, explained by a mapping."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from features.errors import ConfigError, DataError
from features.importing.columnar import parquet_batches, parquet_names
from features.importing.delimited import open_delimited, read_delimited
from features.importing.interpret import Prepare
from features.importing.jsonlines import json_names, open_json_lines, read_json_lines
from features.importing.mapping import Mapping
from features.importing.raw import Raw
from features.importing.source import Feed, Piece, Source


def mapped_source(path: Path, mapping: Mapping) -> Source:
    """One file and its mapping."""
    return Source(name=mapping.source, feeds=(file_feed(path, mapping),), inputs=(path,))


def file_feed(
    path: Path, mapping: Mapping, *, prepare: Prepare | None = None, carry: tuple[str, ...] = (), keep_all: bool = False
) -> Feed:
    """A file as a feed.

    Args:
        path: the file.
        mapping: with its `format`; None is CSV.
        prepare: a named source's own step.
        carry: prepared columns to stage besides.
        keep_all: whether columns are checked by the named source itself, because `prepare` makes the mapped ones.

    Raises:
        ConfigError: the mapping names a column that the file has not.
        DataError: the file cannot be read at all.
    """
    if not path.is_file():
        raise DataError("no such file", where=str(path), hint="check the path")
    names = file_names(path, mapping)
    if not keep_all and mapping.format != "jsonl":
        for name in mapping.their_columns():
            insist_on_column(name, names, str(path))
    return Feed(mapping, partial(_pieces, path, mapping, names), path.name, prepare, carry)


def insist_on_column(name: str, names: tuple[str, ...], where: str) -> None:
    """Raise unless the file has the column.

    Raises:
        ConfigError: with the nearest name.
    """
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"it has: {', '.join(names[:30])}"
        raise ConfigError("the file has no such column", where=where, got=name, hint=hint)


def file_names(path: Path, mapping: Mapping) -> tuple[str, ...]:
    """The columns of a file."""
    if mapping.format == "parquet":
        return parquet_names(path)
    if mapping.format == "jsonl":
        return json_names(path, encoding=mapping.encoding)
    given = None if mapping.header else mapping.column_names
    dialect, _ = open_delimited(path, delimiter=mapping.delimiter, encoding=mapping.encoding, names=given)
    return dialect.names


def _pieces(path: Path, mapping: Mapping, names: tuple[str, ...]) -> Iterator[Piece]:
    if mapping.format == "parquet":
        for raw in parquet_batches(path):
            yield partial(_already, raw)
    elif mapping.format == "jsonl":
        for block in open_json_lines(path, encoding=mapping.encoding):
            yield partial(read_json_lines, block, mapping.their_columns())
    else:
        given = None if mapping.header else mapping.column_names
        dialect, blocks = open_delimited(path, delimiter=mapping.delimiter, encoding=mapping.encoding, names=given)
        for block in blocks:
            yield partial(read_delimited, block, dialect)


def _already(raw: Raw) -> Raw:
    return raw


def with_format(mapping: Mapping, name: str) -> Mapping:
    """The mapping, said to be of that format.

    Raises:
        ConfigError: it says another.
    """
    if mapping.format not in (None, name):
        hint = f"say: kokyaku import {mapping.format}"
        raise ConfigError("the mapping is for another format", where="format", got=mapping.format, hint=hint)
    changed: Mapping = msgspec.structs.replace(mapping, format=name)
    return changed
