"""Feature rows in the JSON of a decision: their bytes in base64, half as long as numbers and a third of the work.

`{"shape": [m, n], "float32": "..."}`, little-endian, row by row. Logs of older programs hold a list of lists of numbers
with null for NaN; whoever reads rows reads both. The row that a policy read of its subject has names and text in it,
and stays a list.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from features.errors import DataError

Floats = npt.NDArray[np.float32]
_TYPE = np.dtype("<f4")


def packed(rows: Floats) -> dict[str, Any]:
    """Rows as a decision's JSON holds them; the encoder makes base64 of bytes.

    Args:
        rows: float32[m, n].
    """
    return {"shape": rows.shape, "float32": rows.astype(_TYPE, copy=False).tobytes()}


def rows_in(told: Any) -> Floats:
    """float32[m, n]: the rows of a decision, as `packed` gave them or as a list of lists; NaN where null stood.

    Args:
        told: `rows` of a decision's features, as its JSON was read.

    Raises:
        DataError: neither of both.
    """
    try:
        if not isinstance(told, Mapping):
            return np.array(told, np.float32)
        raw = told["float32"]
        data = raw if isinstance(raw, bytes) else binascii.a2b_base64(raw, strict_mode=True)
        return np.frombuffer(data, _TYPE).reshape(told["shape"]).astype(np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("feature rows that cannot be read", where="features.rows", got=str(error)) from None


def readable(features: Mapping[str, Any]) -> dict[str, Any]:
    """The features of a decision with their rows as numbers, for people: None where a value is not known."""
    found = dict(features)
    if isinstance(found.get("rows"), Mapping):
        rows = rows_in(found["rows"]).tolist()
        found["rows"] = [[None if value != value else value for value in row] for row in rows]
    if isinstance(found.get("items"), Mapping):
        found["items"] = readable(found["items"])
    return found
