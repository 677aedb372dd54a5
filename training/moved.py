"""A shop whose folder was moved or copied: its tracking database follows."""

from __future__ import annotations

import contextlib
import sqlite3

from features.shop import Shop

_ADDRESSES = {"experiments": "artifact_location", "runs": "artifact_uri", "model_versions": "source"}
"""Tables of the tracking database and their columns that hold absolute addresses of artefacts."""


def follow(shop: Shop) -> None:
    """Let the runs of a moved shop find their artefacts in the new place; nothing happens where it was not moved.

    MLflow keeps absolute addresses and offers no way to change them.

    Raises:
        sqlite3.DatabaseError: the file is no tracking database.
    """
    if not shop.mlflow_db.exists():
        return
    with contextlib.closing(sqlite3.connect(shop.mlflow_db)) as database, database:
        here = shop.mlflow_artifacts.as_uri()
        query = "SELECT artifact_location FROM experiments WHERE name IN (?, ?)"
        found = database.execute(query, (shop.experiment, shop.monitor_experiment)).fetchone()
        if found is None or found[0] == here:
            return
        for table, column in _ADDRESSES.items():
            moved = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
            length = len(found[0])
            database.execute(moved, (here, length + 1, length, found[0]))
