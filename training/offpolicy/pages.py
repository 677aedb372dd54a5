"""Pages as they were logged: who asked, when and from where, and of each slot what could have been shown, what was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import orjson
import pyarrow as pa

from features import columns as c
from features.dataset import Dataset
from serving.decide import POLICY
from serving.query import Context
from training.uplift.log import Keys

READ = ("region", "device", "traffic_source")
"""Fields of the context that learned policies read: earlier logs know no others."""
_WANTED = f"""
WITH asked AS (SELECT DISTINCT {c.REQUEST_ID} FROM decisions d
               SEMI JOIN wanted ON md5_number_lower(d.{c.DECISION_ID}) = wanted.key),
roots AS (SELECT DISTINCT d.reused_from AS id FROM decisions d SEMI JOIN asked USING ({c.REQUEST_ID})
          WHERE d.reused_from IS NOT NULL),
more AS (SELECT DISTINCT d.{c.REQUEST_ID} FROM decisions d SEMI JOIN roots ON d.{c.DECISION_ID} = roots.id)
SELECT md5_number_lower({c.DECISION_ID}) AS key, md5_number_lower(reused_from) AS root, {c.REQUEST_ID} AS request,
       epoch_us({c.DECIDED_AT}) AS "at", surface, slot, {c.ACTION_ID} AS action, items, eligible, bundle_id, shop_hash,
       drawn AND NOT holdout AND (fallback IS NULL OR policy = $rule) AS drawn, {c.CUSTOMER_ID} AS customer,
       {c.VISITOR_ID} AS visitor, context,
       CASE WHEN json_exists(features, '$.names')
            THEN json_object('names', features -> '$.names', 'row', features -> '$.rows[0]') END AS told
FROM decisions SEMI JOIN (SELECT * FROM asked UNION SELECT * FROM more) USING ({c.REQUEST_ID})
ORDER BY "at", request, draw_order"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A slot of a page as it was logged.

    Args:
        key: hash of the decision's id.
        root: that of the decision which it repeats; None where it was decided here.
        slot: its name.
        action: what took it; None for nothing.
        items: ids of what was shown, in order.
        chances: action -> probability; None where nobody recorded one.
        drawn: whether the slot's own rule decided it at this moment: no reuse, no failure, no holdout.
    """

    key: int
    root: int | None
    slot: str
    action: str | None
    items: tuple[str, ...]
    chances: dict[str | None, float | None]
    drawn: bool


@dataclass(frozen=True, slots=True)
class Request:
    """A page that somebody asked for.

    Args:
        at: microseconds; what was known before it was known to the page.
        page: its name in `shop.toml`; None where it was no page.
        customer, visitor: who asked, as the request said it.
        context: where from; what no slot logged is not known any more.
        told: whether a slot logged it.
        bundle, config: id and hash of what served.
        slots: in the order in which they were decided.
    """

    at: int
    page: str | None
    customer: str | None
    visitor: str | None
    context: Context
    told: bool
    bundle: str
    config: str
    slots: tuple[Shown, ...]


def read_requests(dataset: Dataset, keys: Keys) -> list[Request]:
    """The whole pages on which some decisions were made, and those whose decisions they repeat, in order of time.

    Args:
        dataset: with `decisions`.
        keys: uint64[n], `DecisionLog.keys`.
    """
    with dataset.connect() as duck:
        duck.register("wanted", pa.table({"key": pa.array(keys, pa.uint64())}))
        rows = duck.sql(_WANTED, params={"rule": POLICY}).to_arrow_table()
    return [_request(list(slots)) for _, slots in groupby(_rows(rows), key=lambda row: row["request"])]


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def _request(rows: list[dict[str, Any]]) -> Request:
    first = rows[0]
    told = next((orjson.loads(row["told"]) for row in rows if row["told"]), None)
    known = dict(zip(told["names"], told["row"], strict=True)) if told else {}
    where = orjson.loads(first["context"]) if first["context"] else None
    page = first["surface"].removeprefix("page.") if first["surface"].startswith("page.") else None
    return Request(
        at=first["at"], page=page, customer=first["customer"], visitor=first["visitor"],
        context=Context(**({name: known.get(name) for name in READ} if where is None else where)),
        told=told is not None or where is not None, bundle=first["bundle_id"], config=first["shop_hash"],
        slots=tuple(map(_shown, rows)),
    )  # fmt: skip


def _shown(row: dict[str, Any]) -> Shown:
    return Shown(
        row["key"], row["root"], row["slot"], row["action"], tuple(row["items"] or ()),
        dict(orjson.loads(row["eligible"])), bool(row["drawn"]) and row["root"] is None,
    )  # fmt: skip
