"""Reading Parquet files as a stream of batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import DataError
from features.importing.raw import Raw

BATCH_ROWS = 65_536


def parquet_names(path: Path) -> tuple[str, ...]:
    """The columns of a Parquet file.

    Raises:
        DataError: not a Parquet file.
    """
    return tuple(_open(path).schema_arrow.names)


def parquet_batches(path: Path) -> Iterator[Raw]:
    """The file's rows, some thousand at a time.

    Raises:
        DataError: not a Parquet file, or a damaged one.
    """
    file = _open(path)
    try:
        for batch in file.iter_batches(BATCH_ROWS):
            yield Raw(pa.Table.from_batches([batch]), np.arange(len(batch), dtype=np.int64))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError("a damaged Parquet file", where=str(path), got=str(error)) from None


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError("not a readable Parquet file", where=str(path), got=str(error)) from None
