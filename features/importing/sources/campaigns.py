"""Campaigns of The Complete Journey as decisions that nobody drew: coupons by mail, to whom the shop chose to send.

- One decision a campaign and household that could have been mailed: one that had bought before the campaign began, or
  that was mailed. What it got is `campaign-<id>`, or nothing. Its moment is the first day of the campaign.
- Who was mailed was decided by the shop for reasons that no file tells. So no probability is recorded; the policy is
  `observational:<campaign type>`, and whatever is estimated from these rows leans on assumptions.
- Campaigns that began before the first purchase of the data are left out: nothing was known before them.
- Outcome `redemption`: whether the household redeemed a coupon of that campaign from its first day on. Who was not
  mailed can have none, so it tells how far a campaign was taken up, never what it changed: purchases do.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.errors import DataError
from features.importing.identity import quoted
from features.importing.raw import Raw
from features.importing.sieve import Sieve
from features.importing.source import Feed, Piece, Source
from features.importing.sources.decided import carried, decisions_mapping, features_text, outcomes_of
from features.importing.values import as_text, flat, mask

NAME: Final = "complete-journey-campaigns"
FILES: Final = (
    "campaigns.parquet", "campaign_descriptions.parquet", "coupon_redemptions.parquet", "transactions.parquet",
    "demographics.parquet",
)  # fmt: skip
HOUSEHOLD: Final = (
    "age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count",
)  # fmt: skip


def open_folder(folder: Path) -> Source:
    """The package's files of campaigns.

    Raises:
        DataError: one of them is not there.
    """
    files = tuple(folder / name for name in FILES)
    for file in files:
        if not file.is_file():
            raise DataError("no such file", where=str(file), hint="--path names the package's data folder")
    prepared = [c.CUSTOMER_ID, "slot", "arm", "features"]
    constants = {"surface": "mail", "position": 0, "drawn": False}
    mapping = decisions_mapping(NAME, prepared, constants, format="parquet", time_zone="UTC")
    results = (carried(0, "value"), carried(0, "at"))
    feed = Feed(mapping, partial(_pieces, files), FILES[0], _prepare, results)
    notes = (
        "observational: the shop chose whom to mail, so no probability is recorded",
        "a household in two campaigns at once is in the decisions of both",
    )
    return Source(NAME, (feed,), files, (outcomes_of(["redemption"], [["value", "at"]]),), notes)


def _pieces(files: tuple[Path, ...]) -> Iterator[Piece]:
    campaigns, described, redeemed, bought, people = (f"read_parquet({quoted(str(file))})" for file in files)
    with duckdb.connect(config={"threads": 1}) as duck:
        rows = duck.sql(f"""
            WITH mailed AS (SELECT DISTINCT campaign_id, household_id, true AS mailed FROM {campaigns}),
            known AS (SELECT household_id, min(transaction_timestamp) AS since FROM {bought} GROUP BY household_id),
            could AS (
                SELECT d.campaign_id, k.household_id FROM {described} d JOIN known k ON k.since < d.start_date
                UNION SELECT campaign_id, household_id FROM mailed),
            used AS (
                SELECT r.campaign_id, r.household_id, min(r.redemption_date) AS used_at
                FROM {redeemed} r JOIN {described} d USING (campaign_id)
                WHERE r.redemption_date >= d.start_date GROUP BY ALL)
            SELECT campaign_id::VARCHAR AS campaign, household_id::VARCHAR AS household,
                   d.campaign_type, d.start_date::TIMESTAMP AS start, coalesce(m.mailed, false) AS mailed,
                   u.used_at::TIMESTAMP AS used_at, d.start_date < (SELECT min(since) FROM known) AS before_the_data,
                   {", ".join(HOUSEHOLD)}
            FROM could JOIN {described} d USING (campaign_id) LEFT JOIN mailed m USING (campaign_id, household_id)
            LEFT JOIN used u USING (campaign_id, household_id) LEFT JOIN {people} p USING (household_id)
            ORDER BY d.start_date, campaign_id, household_id""").to_arrow_table()
    yield partial(Raw, rows, np.arange(len(rows), dtype=np.int64))


def _prepare(rows: pa.Table, sieve: Sieve) -> pa.Table:
    sieve.skip(mask(rows["before_the_data"]), "before-the-data")
    mailed = flat(rows["mailed"])
    action = pc.binary_join_element_wise("campaign-", flat(rows["campaign"]), "")
    decision = pc.binary_join_element_wise(action, flat(rows["household"]), "/")
    demographics = {name: as_text(rows[name]) for name in HOUSEHOLD}
    used = flat(rows["used_at"])
    made = {
        c.DECISION_ID: decision, c.REQUEST_ID: decision, c.CUSTOMER_ID: flat(rows["household"]),
        c.DECIDED_AT: flat(rows["start"]), "slot": action, "arm": pc.if_else(mailed, "mailed", "not mailed"),
        c.ACTION_ID: pc.if_else(mailed, action, None), "action_propensity": pa.nulls(len(rows), pa.float64()),
        "eligible": pc.binary_join_element_wise('[[null,null],["', action, '",null]]', ""),
        "policy": pc.binary_join_element_wise("observational:", flat(rows["campaign_type"]), ""),
        "features": features_text(demographics, [True] * len(demographics), len(rows)),
        carried(0, "value"): pc.is_valid(used).cast(pa.float64()), carried(0, "at"): _utc(used),
    }  # fmt: skip
    return pa.table(list(made.values()), names=list(made))


def _utc(times: pa.Array) -> pa.Array:
    return times.cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
