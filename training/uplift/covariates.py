"""What was known of a subject before a decision: the features that the log carries, and what the subject had done.

The log's own features are taken as they were recorded. History is counted from events that were known at the moment of
each decision, so that a decision's own consequences can never be among its causes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from features import columns as c
from features.covariates import LOOKS, PAST, SPANS
from features.moments import DAY
from training.uplift.log import Floats


@dataclass(frozen=True, slots=True)
class Covariates:
    """As the fields of DecisionLog.

    Args:
        values: float32[n, p].
        names: of the columns.
        categorical: which are codes.
        words: their values by code.
        as_of: a sentence.
        notes: sentences.
    """

    values: Floats
    names: tuple[str, ...]
    categorical: tuple[bool, ...]
    words: tuple[tuple[str, ...], ...]
    as_of: str
    notes: tuple[str, ...] = ()


def covariates_of(duck: duckdb.DuckDBPyConnection, rows: pa.Table, *, history: bool | None) -> Covariates:
    """Features of decisions.

    Args:
        duck: a connection that knows `chosen` and `known_events`.
        rows: `chosen`, by place.
        history: whether to add what the subject had done; None: where rows carry no features, or nobody drew them.
    """
    recorded = _recorded(duck, rows)
    observed = pa.compute.any(pa.compute.starts_with(rows["policy"], "observational:")).as_py()
    if not (bool(observed) or not recorded.names if history is None else history):
        return recorded
    past = _history(duck, rows)
    kept = [place for place, name in enumerate(PAST) if name not in recorded.names]
    return Covariates(
        np.hstack([recorded.values, past[:, kept]]), (*recorded.names, *(PAST[place] for place in kept)),
        (*recorded.categorical, *[False] * len(kept)), (*recorded.words, *[()] * len(kept)),
        f"{recorded.as_of} What the subject had done is as of each decision.".strip(), recorded.notes,
    )  # fmt: skip


def _recorded(duck: duckdb.DuckDBPyConnection, rows: pa.Table) -> Covariates:
    """The features in the log; columns of several layouts stand side by side, NaN where a row's layout lacks one."""
    duck.register("feature_rows", pa.table({"place": pa.array(range(len(rows))), "features": rows["features"]}))
    layouts = duck.execute("""
        SELECT json_extract(features, '$.names')::VARCHAR AS layout,
               any_value(json_extract_string(features, '$.names[*]')) AS names, min(place) AS first,
               any_value(json_extract(features, '$.categorical')::BOOLEAN[]) AS marks
        FROM feature_rows WHERE json_array_length(features, '$.rows') = 1 AND json_exists(features, '$.names')
        GROUP BY layout ORDER BY first""").fetchall()
    names = list(dict.fromkeys(name for _, listed, _, _ in layouts for name in listed))
    columns: dict[str, list[tuple[np.typing.NDArray[np.int64], pa.Array]]] = {name: [] for name in names}
    marked = {
        name: bool(mark) for _, listed, _, marks in layouts if marks for name, mark in zip(listed, marks, strict=False)
    }
    for layout, listed, _, _ in layouts:
        found = duck.sql(
            """SELECT place, json_extract_string(features, '$.rows[0][*]') AS cells FROM feature_rows
               WHERE json_extract(features, '$.names')::VARCHAR = $1 AND json_array_length(features, '$.rows') = 1""",
            params=[layout],
        ).to_arrow_table()
        places, cells = found["place"].to_numpy(), found["cells"].combine_chunks().flatten()
        for at, name in enumerate(listed):
            columns[name].append((places, cells.take(pa.array(np.arange(at, len(cells), len(listed))))))
    duck.unregister("feature_rows")
    made = [_column(len(rows), pieces, marked.get(name)) for name, pieces in columns.items()]
    values = np.column_stack([each for each, _ in made]) if made else np.zeros((len(rows), 0), np.float32)
    words = tuple(words for _, words in made)
    return Covariates(
        values.astype(np.float32), tuple(names), tuple(bool(listed) for listed in words), words,
        "Recorded features are as they were at the decision." if names else "", _unread(rows, layouts),
    )  # fmt: skip


def _unread(rows: pa.Table, layouts: Iterable[object]) -> tuple[str, ...]:
    given = len(rows) - rows["features"].null_count
    if given and not list(layouts):
        return (f"{given:,} decisions carry features of the items shown and none of the subject; they are not read.",)
    return ()


def _column(
    n: int, pieces: list[tuple[np.typing.NDArray[np.int64], pa.Array]], categorical: bool | None
) -> tuple[np.typing.NDArray[np.float64], tuple[str, ...]]:
    """float64[n] of one feature, and its words where it is categorical: declared so, or not all numbers."""
    texts = pa.concat_arrays([cells for _, cells in pieces])
    places = np.concatenate([where for where, _ in pieces])
    values = np.full(n, np.nan)
    numbers = pa.compute.case_when(
        pa.compute.make_struct(pa.compute.equal(texts, "true"), pa.compute.equal(texts, "false")), "1", "0", texts
    )
    if not categorical:
        try:
            values[places] = numbers.cast(pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            categorical = True
        else:
            return values, ()
    found = texts.dictionary_encode()
    words = found.dictionary.to_pylist()
    order = sorted(range(len(words)), key=words.__getitem__)
    rank = np.empty(max(len(words), 1))
    rank[order] = np.arange(len(words))
    codes = found.indices.fill_null(0).to_numpy()
    values[places] = np.where(texts.is_null().to_numpy(zero_copy_only=False), np.nan, rank[codes])
    return values, tuple(words[place] for place in order)


def _history(duck: duckdb.DuckDBPyConnection, rows: pa.Table) -> Floats:
    """float32[n, len(PAST)]: running sums of each subject's events, taken at the decision and at days before it.

    An event counts from when it was known (`recorded_at`), which may be after it happened.
    """
    looks = ", ".join(f"'{name}'" for name in LOOKS)
    bought = f"{c.TYPE} = 'purchase'"
    paid = f"coalesce({c.UNIT_PRICE} * coalesce({c.QUANTITY}, 1) - coalesce({c.DISCOUNT}, 0), 0)"
    duck.execute(f"""
        CREATE OR REPLACE TEMP TABLE running AS
        WITH told AS (
            SELECT subject, greatest({c.OCCURRED_AT}, {c.RECORDED_AT}) AS since, {c.OCCURRED_AT} AS happened,
                   {bought} AS bought, CASE WHEN {bought} THEN {paid} ELSE 0 END AS paid,
                   {c.TYPE} IN ({looks}) AS looked,
                   {bought} AND row_number() OVER (PARTITION BY subject, {c.TYPE}, {c.OCCURRED_AT}
                                                   ORDER BY {c.RECORDED_AT}) = 1 AS ordered
            FROM known_events)
        SELECT DISTINCT subject, since, sum(ordered::INT) OVER line AS orders, sum(bought::INT) OVER line AS lines,
               sum(paid) OVER line AS paid, sum(looked::INT) OVER line AS looks,
               max(happened) FILTER (bought) OVER line AS last_order, min(happened) OVER line AS first
        FROM told WINDOW line AS (PARTITION BY subject ORDER BY since RANGE UNBOUNDED PRECEDING)""")
    at = [_running(duck, days) for days in (0, *SPANS)]
    now = rows[c.DECIDED_AT].cast(pa.int64()).to_numpy()
    columns = [(now - at[0][name]) / DAY for name in ("last_order", "first")]
    for what in ("orders", "lines", "paid", "looks"):
        columns += [np.nan_to_num(at[0][what]) - np.nan_to_num(before[what]) for before in at[1:]]
    return np.column_stack(columns).astype(np.float32)


def _running(duck: duckdb.DuckDBPyConnection, days: int) -> dict[str, np.typing.NDArray[np.float64]]:
    """The running sums some days before each decision, by place; NaN where nothing had happened."""
    found = duck.sql(f"""
        SELECT orders::DOUBLE AS orders, lines::DOUBLE AS lines, paid, looks::DOUBLE AS looks,
               epoch_us(last_order)::DOUBLE AS last_order, epoch_us(first)::DOUBLE AS first
        FROM (SELECT place, subject, {c.DECIDED_AT} - INTERVAL {days} DAY AS moment FROM chosen) d
        ASOF LEFT JOIN running r ON d.subject = r.subject AND d.moment > r.since
        ORDER BY place""").to_arrow_table()
    return {
        name: found[name].to_numpy().astype(np.float64, copy=False) for name in found.column_names
    }  # fmt: skip
