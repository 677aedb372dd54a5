"""The eligible actions of decisions and their probabilities, from the JSON of the log to one matrix."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from features import columns as c
from features.errors import DataError
from training.uplift.log import NULL, Codes, Doubles

TOLERANCE = 1e-6
"""How far written probabilities may be from summing to 1, and from the propensity beside them."""


@dataclass(frozen=True, slots=True)
class Chances:
    """What could have been done.

    Args:
        actions: ids; the first is None.
        action: int32[n], place of what was done.
        propensity: float64[n, k]; as in DecisionLog.
    """

    actions: tuple[str | None, ...]
    action: Codes
    propensity: Doubles


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
    named = pa.compute.unique(ids.flatten()).drop_null().to_pylist()
    actions: tuple[str | None, ...] = (None, *sorted(named))
    written = lists["chances"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    table = np.zeros((len(lists), len(actions)))
    table[np.repeat(np.arange(len(lists)), counts), _places(ids.flatten(), actions)] = written
    propensity = table[texts.indices.to_numpy()]
    action = _places(rows[c.ACTION_ID].combine_chunks(), actions)
    _insist(rows, propensity, action)
    return Chances(actions, action.astype(np.int32), propensity)


def _places(ids: pa.Array, actions: tuple[str | None, ...]) -> np.typing.NDArray[np.int64]:
    """int64[n]: places among the actions; the null action's for null, -1 for what is not there."""
    found = pa.compute.index_in(ids, pa.array(actions[1:], pa.string())).fill_null(-2).to_numpy() + 1
    places: np.typing.NDArray[np.int64] = np.where(ids.is_null().to_numpy(zero_copy_only=False), NULL, found)
    return places.astype(np.int64)


def _insist(rows: pa.Table, propensity: Doubles, action: np.typing.NDArray[np.int64]) -> None:
    """Say what is wrong with the first decision that is wrong.

    Raises:
        DataError: see `chances_of`.
    """
    taken = np.where(action >= 0, propensity[np.arange(len(rows)), np.maximum(action, 0)], 0.0)
    told = rows["action_propensity"].to_numpy()
    sums = np.nansum(propensity, axis=1)
    gaps = np.isnan(propensity).any(axis=1)
    wrong = {
        "an action that was not among the eligible ones": taken == 0,
        "a probability outside (0, 1]": (told <= 0) | (told > 1) | ((propensity < 0) | (propensity > 1)).any(axis=1),
        "probabilities that do not sum to 1": np.where(gaps, sums > 1 + TOLERANCE, np.abs(sums - 1) > TOLERANCE),
        "a propensity other than the listed probability": np.abs(taken - told) > TOLERANCE,
    }
    for what, off in wrong.items():
        if off.any():
            first = int(np.flatnonzero(off)[0])
            raise DataError(
                f"{int(off.sum())} decisions with {what}", where=f"decision {rows[c.DECISION_ID][first].as_py()}",
                got=rows["eligible"][first].as_py(), hint="mend the log; `kokyaku audit` counts such rows",
            )  # fmt: skip
