"""Small datasets and logs whose answers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from features.dataset import Dataset, ImportRecord
from features.moments import DAY, parse_instant
from features.schemas import TABLES
from training.uplift.log import DecisionLog

START = parse_instant("2024-03-01")
DEFAULTS: dict[str, dict[str, Any]] = {
    "decisions": {
        "surface": "email", "slot": "campaign", "position": 0, "draw_order": 0, "vetoed": "[]", "drawn": True,
        "policy": "experiment:mail", "bundle_id": "none", "shop_hash": "none", "holdout": False, "logged": True,
        "source": "test", "action_propensity": 0.5, "eligible": '[[null,0.5],["a",0.5]]',
    },
    "events": {"source": "test", "revision": 0, "withdrawn": False, "content_hash": 0},
    "outcomes": {"source": "test", "value": 1.0},
    "identities": {"source": "test"},
    "customers": {"source": "test", "valid_from": 0},
    "items": {"source": "test", "valid_from": 0},
}  # fmt: skip


def dataset(root: Path, **tables: Sequence[dict[str, Any]]) -> Dataset:
    """A dataset with these rows; what a row does not say is as in DEFAULTS. Times are microseconds."""
    made = Dataset(root)
    parts = {}
    for table, given in tables.items():
        rows = [{**DEFAULTS[table], **row} for row in given]
        for number, row in enumerate(rows):
            if table == "decisions":
                row.setdefault("decision_id", f"d{number}")
                row.setdefault("request_id", row["decision_id"])
            if table == "events":
                row.setdefault("event_id", f"e{number}")
                row.setdefault("recorded_at", row["occurred_at"])
        columns = [pa.array([row.get(field.name) for row in rows], _plain(field.type)).cast(field.type)
                   for field in TABLES[table]]  # fmt: skip
        parts[table] = made.write_part(table, pa.table(columns, schema=TABLES[table]), f"test-{table}")
    made.commit(ImportRecord(id="test", source="test", at="2024-06-01T00:00:00Z", parts=parts))
    return made


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.int64() if pa.types.is_timestamp(kind) else kind


def features(**values: Any) -> str:
    """The text of a feature row."""
    return orjson.dumps({"names": list(values), "rows": [list(values.values())]}).decode()


def randomised(n: int = 3_000, *, seed: int = 0, p: int = 3, share: float = 0.5, **changes: Any) -> DecisionLog:
    """Two actions drawn with one share, features and reward that know nothing of the draw; reward from the first."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, p)).astype(np.float32)
    action = (random.random(n) < share).astype(np.int32)
    fields: dict[str, Any] = {
        "subject": np.arange(n), "request": np.arange(n), "decided_at": np.full(n, START) + DAY * (np.arange(n) % 3),
        "slot": np.zeros(n, np.int32), "position": np.zeros(n, np.int32), "action": action,
        "propensity": np.tile([1 - share, share], (n, 1)), "features": x,
        "rewards": {"visit": (random.random(n) < 1 / (1 + np.exp(-x[:, 0]))).astype(float)},
        "usable": np.ones(n, bool), "holdout": np.zeros(n, bool), "slots": ("email",), "actions": (None, "a"),
        "names": tuple(f"x{place}" for place in range(p)), "categorical": (False,) * p,
    }  # fmt: skip
    return DecisionLog(**{**fields, **changes})
