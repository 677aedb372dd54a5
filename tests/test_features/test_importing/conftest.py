"""What the import's tests share: a shop in which lines of text become an import."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from features import columns as c
from features.dataset import Dataset, events_as_of
from features.importing import ImportReport, open_source, parse_mapping, run_import
from features.moments import format_instant, parse_instant

NOW = "2024-06-01T00:00:00Z"
HEADER = "order,time,who,what,qty,price"
COLUMNS = {
    c.ORDER_ID: "order", c.OCCURRED_AT: "time", c.CUSTOMER_ID: "who", c.ITEM_ID: "what", c.QUANTITY: "qty",
    c.UNIT_PRICE: "price",
}  # fmt: skip


class ImportingShop:
    """A dataset and a way to import text into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dataset = Dataset(root / "dataset")
        self._names = itertools.count()

    def file(self, content: str | bytes, suffix: str = ".csv") -> Path:
        """A new file of that content."""
        path = self.root / f"export-{next(self._names)}{suffix}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(self, path: Path, *, form: str = "csv", now: str = NOW, erased: Any = None, **mapping: Any) -> ImportReport:
        """Import a file; the mapping is that of HEADER unless the caller says otherwise."""
        given: dict[str, Any] = {"source": "till", "columns": COLUMNS, "time_zone": "UTC"}
        if mapping.get("table", "events") == "events":
            given["constants"] = {c.TYPE: "purchase"}
        source = open_source(form, path, parse_mapping({**given, **mapping}))
        report = run_import(self.dataset, source, now=parse_instant(now), erased=erased)
        for table, counts in report.tables.items():
            assert counts.read == counts.accounted, (table, counts)  # nothing is dropped in silence
        return report

    def lines(self, *rows: str, header: str = HEADER, **options: Any) -> ImportReport:
        """Import CSV lines."""
        return self.run(self.file("\n".join([header, *rows]) + "\n"), **options)

    def events(
        self, now: str = "2999-01-01", columns: Sequence[str] = (c.CUSTOMER_ID, c.ITEM_ID, c.QUANTITY)
    ) -> list[Any]:
        """Events known at a moment, sorted."""
        if not self.dataset.exists():
            return []
        query = events_as_of(parse_instant(now), amended=self.dataset.manifest().amended)
        with self.dataset.connect() as duck:
            return duck.sql(f"SELECT {', '.join(columns)} FROM ({query}) ORDER BY ALL").fetchall()

    def ids(self) -> list[str]:
        """All event ids, sorted."""
        return (
            sorted(self.dataset.read("events", [c.EVENT_ID])[c.EVENT_ID].to_pylist()) if self.dataset.exists() else []
        )

    def times(self) -> list[str]:
        """All times of events, in the order of time."""
        instants = self.dataset.read("events", [c.OCCURRED_AT])[c.OCCURRED_AT].cast("int64").to_pylist()
        return [format_instant(instant) for instant in sorted(instants)]

    def quarantine(self, report: ImportReport) -> list[dict[str, Any]]:
        """The quarantined rows of an import; raw is decoded."""
        assert report.quarantine is not None
        rows: list[dict[str, Any]] = pq.read_table(self.dataset.root / report.quarantine).to_pylist()
        return [{**row, "raw": orjson.loads(row["raw"])} for row in rows]

    def files(self) -> list[str]:
        """Every file under the dataset's folder that is not a lock."""
        return sorted(
            path.relative_to(self.dataset.root).as_posix()
            for path in self.dataset.root.rglob("*")
            if path.is_file() and not path.name.endswith(".lock") and path.name != ".lock"
        )


@pytest.fixture
def till(tmp_path: Path) -> ImportingShop:
    """An empty shop."""
    return ImportingShop(tmp_path)


@pytest.fixture(scope="session")
def make_till() -> type[ImportingShop]:
    """`make_till(folder)`: an empty shop in a new folder."""

    class Made(ImportingShop):
        def __init__(self, root: Path) -> None:
            root.mkdir(parents=True, exist_ok=True)
            super().__init__(root)

    return Made
