"""What was known of each subject when it entered: groups to look at apart, and columns that foretell the outcome.

Everything is from before entering, so that no group and no column can be a consequence of an arm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from features import columns as c
from training.experiments.cohort import Codes, Doubles, Entrants
from training.experiments.collected import PAUSE
from training.uplift.covariates import covariates_of
from training.uplift.reading import coded

MOST_LEVELS: Final = 12
"""A column with more values is no slice; beyond the most frequent ones a slice's values stand together."""
OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Traits:
    """What was known at entering.

    Args:
        slices: name -> int32[n] code (-1: unknown) and its words.
        columns: float64[n, p], numbers, and categories as 0 and 1; NaN where unknown.
        names: of the columns.
    """

    slices: dict[str, tuple[Codes, tuple[str, ...]]]
    columns: Doubles
    names: tuple[str, ...]


def traits_of(duck: duckdb.DuckDBPyConnection, entrants: Entrants, known: Mapping[str, Doubles]) -> Traits:
    """Slices and columns of the subjects.

    Args:
        duck: a connection that knows `entrants`, `owned` and `known_events`.
        entrants: the subjects.
        known: further columns by name, such as what they brought before.
    """
    rows = duck.sql(f"""
        SELECT o.features, o.policy FROM entrants e JOIN owned o ON e.first = o.{c.DECISION_ID}
        ORDER BY e.place""").to_arrow_table()
    slices: dict[str, tuple[Codes, tuple[str, ...]]] = {}
    names, columns = list(known), [values[:, None] for values in known.values()]
    if len(rows):
        recorded = covariates_of(duck, rows, history=False)
        for place, name in enumerate(recorded.names):
            values, words = recorded.values[:, place].astype(np.float64), recorded.words[place]
            if words:
                codes, levels = _common(np.where(np.isnan(values), -1, values).astype(np.int32), words)
                slices[name] = codes, levels
                columns.append((codes[:, None] == np.arange(1, len(levels))).astype(np.float64))
                names += [f"{name}={level}" for level in levels[1:]]
            elif name not in known:
                columns.append(values[:, None])
                names.append(name)
    for name, found in _of_customers(duck, len(entrants)).items():
        slices.setdefault(name, found)
    several = {name: each for name, each in slices.items() if len(np.unique(each[0][each[0] >= 0])) > 1}
    table = np.hstack(columns) if columns else np.zeros((len(entrants), 0))
    return Traits(several, table, tuple(names))


def _common(codes: Codes, words: tuple[str, ...]) -> tuple[Codes, tuple[str, ...]]:
    """The most frequent values by their own code, all others under one."""
    if len(words) <= MOST_LEVELS:
        return codes, words
    counts = np.bincount(codes[codes >= 0], minlength=len(words))
    kept = np.sort(np.argsort(-counts, kind="stable")[: MOST_LEVELS - 1])
    again = np.full(len(words) + 1, len(kept), np.int32)
    again[kept] = np.arange(len(kept), dtype=np.int32)
    again[-1] = -1  # unknown stays unknown
    return again[codes], (*(words[place] for place in kept), OTHER)


def _of_customers(duck: duckdb.DuckDBPyConnection, n: int) -> dict[str, tuple[Codes, tuple[str, ...]]]:
    """Segment, tier, region and device: from the customer's record and from events before entering."""
    rows = duck.sql(f"""
        WITH told AS (
            SELECT place, arg_max(k.tier, k.{c.VALID_FROM}) AS tier, arg_max(k.{c.REGION}, k.{c.VALID_FROM}) AS home
            FROM entrants d JOIN customers k ON d.subject = 'c:' || k.{c.CUSTOMER_ID} AND k.{c.VALID_FROM} <= d.entered
            GROUP BY place),
        past AS (
            SELECT place, bool_or({c.TYPE} = 'purchase' AND {c.OCCURRED_AT} < d.entered) AS bought,
                   bool_or({c.OCCURRED_AT} < d.entered - {PAUSE}) AS came,
                   arg_max({c.DEVICE}, {c.OCCURRED_AT}) FILTER ({c.DEVICE} IS NOT NULL) AS device,
                   arg_max({c.REGION}, {c.OCCURRED_AT}) FILTER ({c.REGION} IS NOT NULL) AS place_of
            FROM entrants d JOIN known_events e USING (subject) WHERE e.{c.OCCURRED_AT} <= d.entered GROUP BY place)
        SELECT CASE WHEN bought THEN 'bought before' WHEN came THEN 'came before' ELSE 'new' END AS segment,
               tier, coalesce(home, place_of) AS region, device
        FROM entrants LEFT JOIN told USING (place) LEFT JOIN past USING (place) ORDER BY place""").to_arrow_table()
    return {name: _slice(rows[name], n) for name in rows.column_names}


def _slice(column: pa.ChunkedArray, n: int) -> tuple[Codes, tuple[str, ...]]:
    known = column.is_valid().to_numpy()
    words, places = coded(column.drop_null()) if known.any() else ([], np.empty(0, np.int64))
    codes = np.full(n, -1, np.int32)
    codes[known] = places
    return _common(codes, tuple(words))
