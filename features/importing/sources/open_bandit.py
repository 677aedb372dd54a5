"""The Open Bandit Dataset: fashion items shown on three places of a shop's page, by two logging policies.

Saito, Aihara, Matsutani, Narita (2021), "Open Bandit Dataset and Pipeline", NeurIPS Datasets and Benchmarks. A folder
`<policy>/<campaign>/<campaign>.csv` (or `.csv.gz`) for each of the policies `random` and `bts` (Bernoulli Thompson
sampling) and the campaigns `all`, `men` and `women`.

- One row is one item on one place: a decision with slot left, center or right (places 1, 2 and 3).
- The probability is recorded of the item that was shown and of no other. The random policy draws evenly, so the others
  are known all the same; those of Thompson sampling are not, and stay unknown.
- Nobody is named: each row is its own subject. Times are UTC.
- Actions are items, `<campaign>/<item>`: the campaigns number their items separately.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.errors import DataError
from features.importing.delimited import open_delimited, read_delimited
from features.importing.raw import Raw
from features.importing.reasons import BAD_NUMBER, BAD_PROPENSITY, UNKNOWN_ARM
from features.importing.sieve import Sieve
from features.importing.source import Feed, Piece, Source
from features.importing.sources.decided import (
    ROW,
    carried,
    decisions_mapping,
    eligible_lists,
    features_text,
    numbered,
    outcomes_of,
    propensities,
)
from features.importing.sources.files import insist_on_column
from features.importing.values import as_text, flat, mask, parse_numbers

NAME: Final = "open-bandit"
POLICIES: Final = ("random", "bts")
ACTIONS: Final = {"all": 80, "men": 34, "women": 46}
"""Campaign -> how many items it draws from."""
SLOTS: Final = ("left", "center", "right")
COLUMNS: Final = ("timestamp", "item_id", "position", "click", "propensity_score")
_FOLDER, _CAMPAIGN = "kokyaku policy", "kokyaku campaign"


def open_folder(folder: Path) -> Source:
    """All policies and campaigns of the folder that are there.

    Raises:
        DataError: none is there.
        ConfigError: a file lacks a column.
    """
    found = {
        (policy, campaign): path
        for policy in POLICIES
        for campaign in ACTIONS
        for path in (folder / policy / campaign / f"{campaign}.csv{end}" for end in ("", ".gz"))
        if path.is_file()
    }
    if not found:
        hint = "--path names the folder that holds random/all/all.csv and so on"
        raise DataError("no Open Bandit files", where=str(folder), hint=hint)
    for path in found.values():
        dialect, _ = open_delimited(path)
        for name in COLUMNS:
            insist_on_column(name, dialect.names, str(path))
    prepared = [c.VISITOR_ID, "surface", "slot", "position", "features"]
    mapping = decisions_mapping(NAME, prepared, {"drawn": True}, time_zone="UTC")
    feed = Feed(mapping, partial(_pieces, found), str(folder), _prepare, (carried(0, "value"),))
    notes = (
        "the files name nobody: each row is its own subject, so intervals cannot cluster by person",
        "of Thompson sampling only the probability of what was shown is recorded",
    )
    return Source(NAME, (feed,), tuple(found.values()), (outcomes_of(["click"], [["value"]]),), notes)


def _pieces(found: dict[tuple[str, str], Path]) -> Iterator[Piece]:
    for (policy, campaign), path in found.items():
        for piece in numbered(partial(_file, path))():
            yield partial(_placed, piece, policy, campaign)


def _file(path: Path) -> Iterator[Piece]:
    dialect, blocks = open_delimited(path)
    for block in blocks:
        yield partial(read_delimited, block, dialect)


def _placed(piece: Piece, policy: str, campaign: str) -> Raw:
    raw = piece()
    rows = raw.rows
    for name, value in ((_FOLDER, policy), (_CAMPAIGN, campaign)):
        rows = rows.append_column(name, pa.repeat(value, len(rows)))
    return Raw(rows, raw.at, raw.bad, raw.lines)


def _prepare(rows: pa.Table, sieve: Sieve) -> pa.Table:
    n = len(rows)
    policy, campaign = (rows[name][0].as_py() if n else "" for name in (_FOLDER, _CAMPAIGN))
    actions = [f"{campaign}/{item}" for item in range(ACTIONS.get(campaign, 1))]
    item, position, click, chance = (_whole(rows, name, sieve) for name in COLUMNS[1:])
    known = (item >= 0) & (item < len(actions)) & (item == np.floor(item))
    sieve.reject(~known, UNKNOWN_ARM, f"item_id: campaign {campaign} has items 0 to {len(actions) - 1}")
    sieve.reject(~np.isin(position, (1, 2, 3)), BAD_NUMBER, "position is 1, 2 or 3")
    sieve.reject(~((chance > 0) & (chance <= 1)), BAD_PROPENSITY, "propensity_score")
    place = np.where(known, item, 0).astype(np.int64)
    chances = np.full((n, len(actions)), 1 / len(actions) if policy == "random" else np.nan)
    chances[np.arange(n), place] = chance
    name = f"open-bandit-{campaign}-{policy}"
    decision = pc.binary_join_element_wise(f"{name}/", flat(rows[ROW]), "")
    where = np.where(np.isin(position, (1, 2, 3)), position - 1, 0).astype(np.int64)
    made = {
        c.DECISION_ID: decision, c.REQUEST_ID: decision, c.VISITOR_ID: decision, c.DECIDED_AT: flat(rows["timestamp"]),
        "surface": pa.repeat(f"open-bandit.{campaign}", n), "slot": pc.take(pa.array(SLOTS), pa.array(where)),
        "position": pa.array(where), "eligible": eligible_lists(actions, chances),
        c.ACTION_ID: pc.take(pa.array(actions), pa.array(place)), "action_propensity": propensities(chance),
        "policy": pa.repeat(f"experiment:{name}", n), "features": _features(rows, sieve),
        carried(0, "value"): pa.array(click, from_pandas=True),
    }  # fmt: skip
    return pa.table(list(made.values()), names=list(made))


def _whole(rows: pa.Table, name: str, sieve: Sieve) -> np.typing.NDArray[np.float64]:
    values, bad = parse_numbers(rows[name])
    sieve.reject(bad | ~mask(pc.is_valid(values)), BAD_NUMBER, name)
    found: np.typing.NDArray[np.float64] = values.to_numpy(zero_copy_only=False)
    return found


def _features(rows: pa.Table, sieve: Sieve) -> pa.Array:
    """The user's four coded features, and how much they liked each item before."""
    columns: dict[str, pa.Array] = {}
    for name in rows.column_names:
        if name.startswith("user_feature_"):
            columns[name] = as_text(rows[name])
        elif name.startswith("user-item_affinity_"):
            columns[name], bad = parse_numbers(rows[name])
            sieve.reject(bad, BAD_NUMBER, name)
    return features_text(columns, [name.startswith("user_feature_") for name in columns], len(rows))
