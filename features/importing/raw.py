"""Rows as a reader found them, before anything is understood."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa


class BadRow(NamedTuple):
    """A record that the reader could not make out."""

    at: int
    """Its place in the piece, counting all records."""
    reason: str
    detail: str
    text: str


@dataclass(frozen=True, slots=True)
class Raw:
    """A piece of a file.

    Args:
        rows: the file's columns (text from CSV and JSON, typed from Parquet).
        at: int64[len(rows)], each row's place in the piece.
        bad: records that are not in `rows`.
        lines: the rows as they stand in the file, where that is JSON already.
    """

    rows: pa.Table
    at: npt.NDArray[np.int64]
    bad: list[BadRow] = field(default_factory=list)
    lines: pa.Array | None = None

    @property
    def read(self) -> int:
        """Records in the piece, good and bad."""
        return len(self.at) + len(self.bad)


def places(count: int, bad: list[BadRow]) -> npt.NDArray[np.int64]:
    """The places of `count` good rows among the bad ones."""
    if not bad:
        return np.arange(count, dtype=np.int64)
    taken = np.array([row.at for row in bad], np.int64)
    return np.setdiff1d(np.arange(count + len(bad), dtype=np.int64), taken, assume_unique=True)


def json_text(text: str) -> str:
    """A text as a JSON string."""
    return orjson.dumps(text).decode()
