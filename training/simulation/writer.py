"""Parts of a dataset, written block by block: one row group a block, one file a month where a table is partitioned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.schemas import PARTITIONED, TABLES
from training.simulation.rows import Array


class PartWriter:
    """Open files of one part of the work; memory holds one block at a time.

    Args:
        root: the dataset's folder.
        name: file name without ending; distinct for each part of the work.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.parts: dict[str, list[str]] = {}
        self.counts: dict[str, int] = {}
        self._open: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *error: object) -> None:
        for writer in self._open.values():
            writer.close()

    def write(self, name: str, rows: pa.Table, months: Array | None = None) -> None:
        """Add rows to a table.

        Args:
            name: of the table.
            rows: as `arrow.table` makes them; of a partitioned table in order of time.
            months: int64[rows], months since 1970-01, of a partitioned table.
        """
        self.counts[name] = self.counts.get(name, 0) + len(rows)
        if name not in PARTITIONED:
            if len(rows):
                self._append(name, f"{name}/{self.name}.parquet", rows)
            return
        assert months is not None
        for month in np.unique(months):
            first, last = np.searchsorted(months, [month, month + 1])
            folder = f"{name}/month={np.datetime64(int(month), 'M')}"
            self._append(name, f"{folder}/{self.name}.parquet", rows.slice(int(first), int(last - first)))

    def _append(self, name: str, relative: str, rows: pa.Table) -> None:
        if relative not in self._open:
            path = self.root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            # The stored Arrow schema would say "dictionary"; without it readers see what TABLES says.
            coded = [field.name for field in rows.schema if pa.types.is_dictionary(field.type)]
            writer: Any = pq.ParquetWriter(
                path, rows.schema, compression="zstd", store_schema=False, use_dictionary=coded
            )
            writer.add_key_value_metadata(TABLES[name].metadata)
            self._open[relative] = writer
            self.parts.setdefault(name, []).append(relative)
        self._open[relative].write_table(rows)
