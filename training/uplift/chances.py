"""The eligible actions of decisions and their probabilities, from the JSON of the log to one matrix."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from features import columns as c
from features.errors import DataError
from training.uplift.log import NULL, Codes, Doubles, Mask

TOLERANCE = 1e-6
"""How far written probabilities may be from summing to 1, and from the propensity beside them."""


@dataclass(frozen=True, slots=True)
class Chances:
    """What could have been done.

    Args:
        actions: ids; the first is None.
        action: int32[n], place of what was done.
        propensity: float64[n, k]; as in DecisionLog.
        lost: bool[n], rows that were not drawn and do not fit their list: reused when their action was off it.
    """

    actions: tuple[str | None, ...]
    action: Codes
    propensity: Doubles
    lost: Mask


def chances_of(duck: duckdb.DuckDBPyConnection, rows: pa.Table) -> Chances:
    """The matrix of some decisions; each distinct list of eligible actions is read once.

    Args:
        duck: a connection.
        rows: with `eligible`, `action_id`, `action_propensity` and `decision_id`.

    Raises:
        DataError: a list that cannot be read, an action that was not eligible, a probability outside (0, 1], or
            probabilities that do not sum to 1 or contradict the propensity beside them.
    """
    texts = rows["eligible"].combine_chunks().dictionary_encode()
    duck.register("eligible_texts", pa.table({"text": texts.dictionary}))
    lists = duck.sql("""
        SELECT json_extract_string(text, '$[*][0]') AS ids, json_extract(text, '$[*][1]')::DOUBLE[] AS chances
        FROM eligible_texts""").to_arrow_table()
    duck.unregister("eligible_texts")
    ids, counts = lists["ids"].combine_chunks(), lists["ids"].combine_chunks().value_lengths().to_numpy()
    taken = rows[c.ACTION_ID].combine_chunks()
    named = pa.compute.unique(pa.concat_arrays([ids.flatten(), taken])).drop_null().to_pylist()
    actions: tuple[str | None, ...] = (None, *sorted(named))
    written = lists["chances"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    table = np.zeros((len(lists), len(actions)))
    table[np.repeat(np.arange(len(lists)), counts), _places(ids.flatten(), actions)] = written
    propensity = table[texts.indices.to_numpy()]
    action = _places(taken, actions)
    return Chances(actions, action.astype(np.int32), propensity, _lost(rows, propensity, action))


def _places(ids: pa.Array, actions: tuple[str | None, ...]) -> np.typing.NDArray[np.int64]:
    """int64[n]: places among the actions; the null action's for null."""
    found = pa.compute.index_in(ids, pa.array(actions[1:], pa.string())).fill_null(NULL - 1).to_numpy() + 1
    places: np.typing.NDArray[np.int64] = found.astype(np.int64)
    return places


def _lost(rows: pa.Table, propensity: Doubles, action: np.typing.NDArray[np.int64]) -> Mask:
    """bool[n]: rows that do not fit their list and were not drawn from it.

    Raises:
        DataError: the first drawn one that does not; see `chances_of`.
    """
    taken = propensity[np.arange(len(rows)), action]
    told = rows["action_propensity"].to_numpy()
    sums = np.nansum(propensity, axis=1)
    gaps = np.isnan(propensity).any(axis=1)
    wrong = {
        "an action that was not among the eligible ones": taken == 0,
        "a probability outside (0, 1]": (told <= 0) | (told > 1) | ((propensity < 0) | (propensity > 1)).any(axis=1),
        "probabilities that do not sum to 1": np.where(gaps, sums > 1 + TOLERANCE, np.abs(sums - 1) > TOLERANCE),
        "a propensity other than the listed probability": np.abs(taken - told) > TOLERANCE,
    }
    drawn = rows["drawn"].to_numpy()
    for what, each in wrong.items():
        off = each & drawn
        if off.any():
            first = int(np.flatnonzero(off)[0])
            raise DataError(
                f"{int(off.sum())} decisions with {what}", where=f"decision {rows[c.DECISION_ID][first].as_py()}",
                got=rows["eligible"][first].as_py(), hint="mend the log; `kokyaku audit` counts such rows",
            )  # fmt: skip
    found: Mask = np.logical_or.reduce(list(wrong.values()))
    return found
