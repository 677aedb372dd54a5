"""Feature rows in the JSON of a decision: bytes in base64, a fraction of what numbers would take.

`{"shape": [m, n], "columns": "..."}`: of each column what changes from row to row (`serving.logged_rows_kernel`). Where
there are no kernels it is `"float32"`: all values, little-endian, row by row. Logs of older programs hold that, or a
list of lists of numbers with null for NaN; whoever reads rows reads all three. The row that a policy read of its
subject has names and text in it, and stays a list.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from features.compiled import available, scratch
from features.errors import DataError
from serving import logged_rows_kernel as kernels

Floats = npt.NDArray[np.float32]
_MOST = 1 << 22
"""Values in the rows of a decision: hundreds of times what a long list has. Few bytes may say that they are more."""
_TYPE, _BITS, _SHORT = np.dtype("<f4"), np.dtype("<u4"), np.dtype("<u2")


def packed(rows: Floats) -> dict[str, Any]:
    """Rows as a decision's JSON holds them; the encoder makes base64 of bytes.

    Args:
        rows: float32[m, n].
    """
    count, width = rows.shape
    if not available():
        return {"shape": (count, width), "float32": rows.astype(_TYPE, copy=False).tobytes()}
    room = scratch("logged", width * (5 + count // 8 + 4 * count), np.uint8)
    size = kernels.pack(np.ascontiguousarray(rows), room)
    return {"shape": (count, width), "columns": room[:size].tobytes()}


def rows_in(told: Any) -> Floats:
    """float32[m, n]: the rows of a decision, as `packed` gave them or as a list of lists; NaN where null stood.

    Args:
        told: `rows` of a decision's features, as its JSON was read.

    Raises:
        DataError: none of these, or more than `_MOST` values.
    """
    try:
        if not isinstance(told, Mapping):
            return np.array(told, np.float32)
        count, width = _shape(told["shape"])
        if "columns" in told:
            return _unpacked(_bytes(told["columns"]), count, width)
        return np.frombuffer(_bytes(told["float32"]), _TYPE).reshape(count, width).astype(np.float32)
    except (LookupError, OverflowError, TypeError, ValueError) as error:
        raise DataError("feature rows that cannot be read", where="features.rows", got=str(error)) from None


def _shape(told: Any) -> tuple[int, int]:
    """Rows and columns, before there is room for them; many empty ones take room too where they are read."""
    count, width = told
    if min(count, width) < 0 or max(count, 1) * max(width, 1) > _MOST:
        raise ValueError(f"a shape of {count} rows and {width} columns")
    return count, width


def _bytes(told: Any) -> bytes:
    return told if isinstance(told, bytes) else binascii.a2b_base64(told, strict_mode=True)


def _unpacked(data: bytes, count: int, width: int) -> Floats:
    """What `logged_rows_kernel.pack` was given.

    Args:
        data: what it gave.
        count, width: rows and columns.

    Raises:
        LookupError, ValueError: it never gave that.
    """
    found, at, marks = np.empty((width, count), _BITS), 0, (count + 7) // 8
    for column in found if count else ():
        kind, at = data[at], at + 1
        if kind == kernels.WHOLE:
            column[:] = np.frombuffer(data, _SHORT, count, at).astype(_TYPE).view(_BITS)
            at += _SHORT.itemsize * count
            continue
        which = np.zeros(count, np.intp)
        if kind == kernels.CHANGES:
            changes = np.unpackbits(np.frombuffer(data, np.uint8, marks, at), count=count, bitorder="little")
            which, at = np.cumsum(changes, dtype=np.intp) - 1, at + marks
        if kind > kernels.WHOLE or which[0]:
            raise ValueError("a column of no known kind")
        values = np.frombuffer(data, _BITS, which[-1] + 1, at)
        column[:] = values[which]
        at += values.nbytes
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes too many")
    return found.T.astype(_BITS.newbyteorder("="), order="C").view(np.float32)


def readable(features: Mapping[str, Any]) -> dict[str, Any]:
    """The features of a decision with their rows as numbers, for people: None where a value is not known."""
    found = dict(features)
    if isinstance(found.get("rows"), Mapping):
        rows = rows_in(found["rows"]).tolist()
        found["rows"] = [[None if value != value else value for value in row] for row in rows]
    if isinstance(found.get("items"), Mapping):
        found["items"] = readable(found["items"])
    return found
