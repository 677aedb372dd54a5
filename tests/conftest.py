"""What tests share: a builder of small hand-made datasets, and one Hypothesis profile.

    dataset = make_dataset(
        tmp_path,
        events=[{"customer_id": "ann", "item_id": "tea", "at": "2017-03-01"}],
        items=[{"item_id": "tea", "title": "Green tea", "category": ["drinks", "tea"]}],
    )

Rows are dicts of schema columns; what a row leaves out gets the plainest value (see `DEFAULTS` and
`_row`). Times are instants or ISO text. Calling it again on the same folder commits another import.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import settings

from features import columns as c
from features.dataset import Dataset, ImportRecord
from features.moments import parse_instant
from features.schemas import INSTANT, TABLES
from features.text import stable_hash

for name in ("KOKYAKU_STORE", "KOKYAKU_SECRET_FILE"):
    os.environ.pop(name, None)  # tests do not write into the store of whoever runs them

settings.register_profile("kokyaku", deadline=None, print_blob=True)  # a busy machine is not a wrong answer
settings.load_profile("kokyaku")

Row = Mapping[str, Any]
MakeDataset = Callable[..., Dataset]

DEFAULTS: dict[str, dict[str, Any]] = {
    "events": {c.TYPE: "purchase", c.QUANTITY: 1.0, c.REVISION: 0, c.WITHDRAWN: False},
    "items": {c.VALID_FROM: 0},
    "customers": {c.VALID_FROM: 0},
    "orders": {c.LINE: "1", c.VALID_FROM: 0},
    "actions": {c.VALID_FROM: 0, "kind": "content"},
    "decisions": {
        c.REQUEST_ID: "r", "surface": "page.home", "slot": "hero", "position": 0, "draw_order": 0, "vetoed": "[]",
        "eligible": "[[null, 1.0]]", "action_propensity": 1.0, "drawn": True, "policy": "fixed", "bundle_id": "b",
        "shop_hash": "h", "holdout": False, "logged": True,
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def make_dataset() -> MakeDataset:
    """`make_dataset(folder, events=[...], items=[...], ..., **fields of ImportRecord) -> Dataset`."""
    return _make_dataset


def _make_dataset(root: Path, **given: Any) -> Dataset:
    """Commit rows as one import and return the dataset in `root`.

    Args:
        root: its folder; an existing dataset gets one more import.
        given: rows by table; other names are fields of ImportRecord (`amends=True`, `quarantine=...`).
    """
    dataset = Dataset(root)
    committed = len(dataset.manifest().imports) if dataset.exists() else 0
    name = str(given.pop("id", f"import-{committed}"))
    tables: dict[str, Sequence[Row]] = {table: given.pop(table) for table in TABLES if table in given}
    parts = {table: dataset.write_part(table, table_of(table, rows, name), name) for table, rows in tables.items()}
    given.setdefault("source", "test")
    dataset.commit(ImportRecord(id=name, at="2020-01-01T00:00:00Z", parts=parts, **given))
    return dataset


def table_of(table: str, rows: Sequence[Row], prefix: str) -> pa.Table:
    """Rows as an Arrow table in the schema of `table`, with defaults filled in."""
    schema, numbers = TABLES[table], (f"{prefix}:{n}" for n in itertools.count())
    full = [_row(table, row, numbers) for row in rows]
    unknown = {key for row in full for key in row} - set(schema.names)
    assert not unknown, f"no such columns in {table}: {sorted(unknown)}"
    return pa.Table.from_pylist(full, schema=schema)


def _row(table: str, row: Row, numbers: Iterator[str]) -> dict[str, Any]:
    """One complete row: `at` is the time of an event or decision; ids count up where none is given."""
    full = {**DEFAULTS.get(table, {}), c.SOURCE: "test", **row}
    at = full.pop("at", "2017-01-01")
    if table == "events":
        full.setdefault(c.OCCURRED_AT, at)
        full.setdefault(c.RECORDED_AT, full[c.OCCURRED_AT])
        full.setdefault(c.EVENT_ID, next(numbers))
        full.setdefault(c.CONTENT_HASH, stable_hash(repr(sorted(row.items()))))
    elif table == "decisions":
        full.setdefault(c.DECIDED_AT, at)
        full.setdefault(c.DECISION_ID, next(numbers))
    for field in TABLES[table]:
        if field.type == INSTANT and isinstance(full.get(field.name), str):
            full[field.name] = parse_instant(full[field.name])
    return full
