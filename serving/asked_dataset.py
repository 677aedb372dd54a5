"""Requests that sync brought from the store into the dataset, the newest first."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

import pyarrow as pa

from features import columns as c
from features.dataset import Dataset
from serving.asked_before import LISTS, Asked, asked_of

_COLUMNS = (
    f"{c.REQUEST_ID}, epoch_us({c.DECIDED_AT}) AS {c.DECIDED_AT}, surface, slot, {c.ACTION_ID}, {c.CUSTOMER_ID},"
    f" {c.VISITOR_ID}, context, holdout, shop_hash, bundle_id"
)
_LATEST = f"""
WITH latest AS (
    SELECT {c.REQUEST_ID}, max({c.DECIDED_AT}) AS asked_at FROM decisions ANTI JOIN seen USING ({c.REQUEST_ID})
    WHERE NOT starts_with(surface, $lists) AND {c.REQUEST_ID} <> ''
    GROUP BY {c.REQUEST_ID} ORDER BY asked_at DESC, {c.REQUEST_ID} LIMIT $last)
SELECT {_COLUMNS} FROM decisions SEMI JOIN latest USING ({c.REQUEST_ID}) ORDER BY {c.REQUEST_ID}, draw_order"""


def asked_in_dataset(dataset: Dataset, last: int, seen: Collection[str] = ()) -> list[Asked]:
    """The latest requests whose decisions the dataset holds.

    Args:
        dataset: of the shop; where there is none yet nothing was asked.
        last: how many at most.
        seen: ids of requests that are known already.
    """
    if not dataset.exists() or last <= 0:
        return []
    with dataset.connect() as duck:
        duck.register("seen", pa.table({c.REQUEST_ID: pa.array(list(seen), pa.string())}))
        rows = duck.sql(_LATEST, params={"lists": LISTS, "last": last}).to_arrow_table().to_pylist()
    return asked_of(list(each) for _, each in groupby(rows, key=lambda row: row[c.REQUEST_ID]))
