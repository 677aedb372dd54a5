"""From numbers to Arrow columns, without a Python object a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from features.schemas import INSTANT
from training.simulation.catalogue import NEVER
from training.simulation.rows import Array

_HEX: Final = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)


def hex_ids(prefix: str, numbers: Array, digits: int = 10) -> pa.Array:
    """Strings such as `e00000000ff`: a letter and the last (even) digits of each number."""
    count = len(numbers)
    tail = numbers.astype(">u8").view(np.uint8).reshape(count, 8)[:, 8 - digits // 2 :]
    text = np.empty((count, digits + 1), np.uint8)
    text[:, 0] = ord(prefix)
    text[:, 1:] = _HEX[tail].view(np.uint8).reshape(count, digits)
    offsets = np.arange(count + 1, dtype=np.int32) * (digits + 1)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def words(rows: Array, dictionary: pa.Array | Sequence[str]) -> pa.DictionaryArray:
    """Each row's word; a negative row is null."""
    rows = rows.astype(np.int32)
    values = dictionary if isinstance(dictionary, pa.Array) else pa.array(dictionary, pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(rows, mask=rows < 0), values)


def ids(rows: Array, dictionary: pa.Array) -> pa.Array:
    """Like `words`, as plain strings: for ids so many that a dictionary in each row group would cost more."""
    return words(rows, dictionary).cast(pa.string())


def one_word(count: int, word: str) -> pa.DictionaryArray:
    """The same word for all."""
    return words(np.zeros(count, np.int32), [word])


def instants(at: Array) -> pa.Array:
    """Instants; NEVER is null."""
    return pa.array(at.astype(np.int64), mask=at >= NEVER).cast(INSTANT)


def numbers(values: Array) -> pa.Array:
    """Floats; NaN is null."""
    values = values.astype(np.float64)
    return pa.array(values, mask=np.isnan(values))


def lists(counts: Array, rows: Array, dictionary: Sequence[str]) -> pa.ListArray:
    """A list of words a row; a count of zero is null."""
    offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(counts, dtype=np.int32)])
    values = pa.array(dictionary, pa.string()).take(pa.array(rows.astype(np.int64)))
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(counts == 0))


def table(schema: pa.Schema, count: int, columns: Mapping[str, Any]) -> pa.Table:
    """A table in the order of a schema; nullable columns that are not given are null.

    String columns may be dictionary-encoded: files then hold plain strings all the same.
    """
    unknown = set(columns) - set(schema.names)
    assert not unknown, f"no such columns: {sorted(unknown)}"
    arrays = [columns[field.name] if field.name in columns else pa.nulls(count, field.type) for field in schema]
    fields = [pa.field(f.name, array.type, f.nullable) for f, array in zip(schema, arrays, strict=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
