"""From a dataset to a log of decisions: who was decided for, what could have been done, what was, and what came of it.

    log = read_log(dataset, experiment="hillstrom", rewards=("visit", "spend"))
    log = read_log(dataset, surface="email", rewards=("purchase", "margin", "unsubscribe"), window=14 * DAY)

All relational work is DuckDB's; no row is looked at alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import duckdb
import numpy as np
import pyarrow as pa

from features import columns as c
from features.build import resolved_sql
from features.dataset import Dataset, events_as_of
from features.errors import DataError
from features.moments import DAY, format_instant
from serving.decide import POLICY
from training.uplift.chances import Chances, chances_of
from training.uplift.covariates import Covariates, covariates_of
from training.uplift.log import DecisionLog, Mask, Whole
from training.uplift.outcomes import Outcomes, outcomes_of

WINDOW = 14 * DAY
"""Attribution window where none is given: as long as the mail experiment's of Hillstrom (2008)."""
NEEDED = (
    c.EVENT_ID, c.OCCURRED_AT, c.RECORDED_AT, c.CUSTOMER_ID, c.VISITOR_ID, c.TYPE, c.ITEM_ID, c.QUANTITY, c.UNIT_PRICE,
    c.DISCOUNT, c.ORDER_ID, c.DECISION_ID, c.SOURCE,
)  # fmt: skip
"""Columns of events that rewards and history are made of."""
ARMS_DIFFER = "subjects whose arms differ across a link"
FALLBACK = "fallback after an error"
HOLDOUT = "permanent holdout"
NOT_DRAWN = "neither drawn nor reused from a draw"
OFF_LIST = "reused when its action was no longer eligible"
UNLOGGED = "answered without being logged"


def read_log(
    dataset: Dataset,
    *,
    experiment: str | None = None,
    surface: str | None = None,
    slot: str | None = None,
    rewards: Sequence[str] = (),
    window: int = WINDOW,
    since: int | None = None,
    as_of: int | None = None,
    history: bool | None = None,
    from_events: bool = False,
    erased: Callable[[str], bool] | None = None,
) -> DecisionLog:
    """Logged decisions with what came of them.

    Args:
        dataset: with `decisions`; nothing is written.
        experiment: name of an experiment or of a kind of campaign (`experiment:<name>`, `observational:<name>`).
        surface: where it was decided, such as `email`.
        slot: which place on the surface.
        rewards: names; those of imported outcomes (`<name>:margin` for their margin), or of EVENT_REWARDS, counted from
            events. Without any, all imported outcomes of these decisions; rewards `before:...` always come along.
        window: microseconds after the decision in which what happens is put down to it, `[decided_at, + window)`.
        since: microseconds; only decisions from then on. Default: all.
        as_of: microseconds; what was recorded later is not known. Default: the end of the data.
        history: whether to add what the subject had done before (see `covariates`). Default: where decisions carry no
            features of their own, or nobody drew them.
        from_events: whether `rewards` are counted from events also where outcomes of these names were imported.
        erased: says of a subject whether it asked to be forgotten: gone at once, not when the dataset is rewritten.

    Returns:
        One row a decision, in order of time, `usable` where it was drawn, or reused from a draw, and no fallback after
        an error (or where nobody drew and the log is observational). `left_out` counts the others by reason.

    Raises:
        DataError: no such decisions, an unknown reward, an outcome before its decision, a window in which nothing can
            be known yet, probabilities that are none, or an action that was not among the eligible ones.
    """
    if window <= 0:
        raise DataError("an empty attribution window", where="window", got=window, hint="give a length above 0")
    with opened(dataset, as_of) as (duck, now):
        left_out = _choose(duck, since, now, experiment, surface, slot, erased)
        keyed = f"SELECT *, md5_number_lower({c.DECISION_ID}) AS key FROM chosen ORDER BY place"
        rows = duck.sql(keyed).to_arrow_table()
        chances = chances_of(duck, rows)
        covariates = covariates_of(duck, rows, history=history)
        outcomes = outcomes_of(duck, rows, rewards, window=window, now=now, from_events=from_events)
    return _log(rows, chances, covariates, outcomes, left_out)


@contextmanager
def opened(
    dataset: Dataset, as_of: int | None, needed: Sequence[str] = NEEDED
) -> Iterator[tuple[duckdb.DuckDBPyConnection, int]]:
    """A connection that knows `source_events` (those known at the moment), and the moment.

    Args:
        dataset: with events or decisions.
        as_of: microseconds; None: just after the last that is in the data.
        needed: columns of the events.
    """
    amended = dataset.manifest().amended
    with dataset.connect() as duck:
        latest = duck.execute(f"""
            SELECT max(m) FROM (SELECT epoch_us(max({c.OCCURRED_AT})) AS m FROM events
                                UNION ALL SELECT epoch_us(max({c.DECIDED_AT})) FROM decisions
                                UNION ALL SELECT epoch_us(max("at")) FROM outcomes)""").fetchall()[0][0]
        now = as_of if as_of is not None else (latest or 0) + 1
        known = events_as_of(now, amended=amended)
        duck.execute(f"CREATE TEMP VIEW source_events AS SELECT {', '.join(needed)} FROM ({known})")
        yield duck, now


def _choose(
    duck: duckdb.DuckDBPyConnection,
    since: int | None,
    now: int,
    experiment: str | None,
    surface: str | None,
    slot: str | None,
    erased: Callable[[str], bool] | None,
) -> dict[str, int]:
    """Make tables `chosen` (decisions by `place`, with their subject) and `known_events` (events of those subjects)."""
    asked = {"experiment": experiment, "surface": surface, "slot": slot}
    given = {name: value for name, value in asked.items() if value is not None}
    if not given:
        raise DataError("which decisions?", where="--experiment", hint="name an experiment, a surface or a slot")
    policies = "policy IN ('experiment:' || $experiment, 'observational:' || $experiment)"
    begun = "" if since is None else f" AND {c.DECIDED_AT} >= make_timestamptz({since})"
    wanted = " AND ".join(policies if name == "experiment" else f"{name} = ${name}" for name in given)
    duck.execute(
        f"""CREATE TEMP TABLE picked AS SELECT * FROM decisions
            WHERE {wanted} AND {c.DECIDED_AT} < make_timestamptz({now}){begun}""",
        given,
    )
    if not duck.execute("SELECT count(*) FROM picked").fetchall()[0][0]:
        raise DataError("no such decisions", got=given, hint=_there_are(duck, now))
    duck.execute(f"CREATE TEMP TABLE owned AS {resolved_sql('picked', c.DECIDED_AT, now)}")
    if erased is not None:
        subjects = duck.execute("SELECT DISTINCT subject FROM owned WHERE subject IS NOT NULL").fetchall()
        gone = [subject for (subject,) in subjects if erased(subject)]
        duck.execute("DELETE FROM owned WHERE subject IN (SELECT unnest($gone::VARCHAR[]))", {"gone": gone})
    differing = _differing(duck)
    duck.execute(f"""
        CREATE TEMP TABLE chosen AS
        SELECT row_number() OVER (ORDER BY o.{c.DECIDED_AT}, o.{c.DECISION_ID}) - 1 AS place, o.*,
               root.drawn AND root.fallback IS NULL AS root_drawn
        FROM owned o LEFT JOIN (SELECT {c.DECISION_ID}, drawn, fallback FROM decisions) root
             ON o.reused_from = root.{c.DECISION_ID}
        ANTI JOIN mixed USING (subject)""")
    if not duck.execute("SELECT count(*) FROM chosen").fetchall()[0][0]:
        raise DataError(f"no decision is left: {ARMS_DIFFER}", got=given)
    duck.execute(f"""
        CREATE TEMP TABLE known_events AS SELECT e.* FROM ({resolved_sql("source_events", c.OCCURRED_AT, now)}) e
        SEMI JOIN chosen USING (subject)""")
    twice = duck.execute(f"SELECT count(*) - count(DISTINCT {c.EVENT_ID}) FROM known_events").fetchall()[0][0]
    if twice:  # the same event from two sources
        duck.execute(f"""
            CREATE OR REPLACE TEMP TABLE known_events AS SELECT * FROM known_events
            QUALIFY row_number() OVER (PARTITION BY {c.EVENT_ID} ORDER BY {c.RECORDED_AT}, {c.SOURCE}) = 1""")
    return {ARMS_DIFFER: differing} if differing else {}


def _differing(duck: duckdb.DuckDBPyConnection) -> int:
    """Make table `mixed`: people who stood in several arms because they were not known to be one; their decisions."""
    duck.execute(f"""
        CREATE TEMP TABLE mixed AS SELECT DISTINCT o.subject FROM (
            SELECT owned.subject, owned.policy, owned.slot FROM owned JOIN picked USING ({c.DECISION_ID})
            WHERE owned.arm IS NOT NULL GROUP BY ALL
            HAVING count(DISTINCT owned.arm) > 1
               AND count(DISTINCT coalesce(picked.{c.CUSTOMER_ID}, 'v:' || picked.{c.VISITOR_ID})) > 1) o""")
    return int(duck.execute("SELECT count(*) FROM owned SEMI JOIN mixed USING (subject)").fetchall()[0][0])


def _there_are(duck: duckdb.DuckDBPyConnection, now: int) -> str:
    """What could have been asked for."""
    found = duck.execute(f"""
        SELECT DISTINCT surface || ' / ' || slot || ' (' || policy || ')' AS name FROM decisions
        WHERE {c.DECIDED_AT} < make_timestamptz({now}) ORDER BY 1 LIMIT 12""").fetchall()
    names = ", ".join(name for (name,) in found)
    return f"before {format_instant(now)} there are: {names or 'none; import an experiment or simulate a shop'}"


def _log(
    rows: pa.Table, chances: Chances, covariates: Covariates, outcomes: Outcomes, left_out: dict[str, int]
) -> DecisionLog:
    slots, slot = coded(rows["slot"])
    observational = bool(pa.compute.any(pa.compute.starts_with(rows["policy"], "observational:")).as_py())
    usable = _usable(rows, chances, left_out, observational=observational)
    return DecisionLog(
        subject=coded(rows["subject"])[1], request=coded(rows[c.REQUEST_ID])[1],
        decided_at=rows[c.DECIDED_AT].cast(pa.int64()).to_numpy(), slot=slot.astype(np.int32),
        position=rows["position"].to_numpy().astype(np.int32), action=chances.action, propensity=chances.propensity,
        features=covariates.values, rewards=outcomes.rewards, usable=usable, holdout=_flags(rows, "holdout"),
        slots=tuple(slots), actions=chances.actions, names=covariates.names, categorical=covariates.categorical,
        observational=observational, covariates_as_of=covariates.as_of, drawn=_flags(rows, "drawn"),
        words=covariates.words, left_out=left_out, notes=(*covariates.notes, *outcomes.notes),
        keys=rows["key"].to_numpy(),
    )  # fmt: skip


def coded(column: pa.ChunkedArray) -> tuple[list[str], Whole]:
    """Distinct texts in order, and int64[n] codes."""
    found = column.combine_chunks().dictionary_encode()
    words = found.dictionary.to_pylist()
    order = sorted(range(len(words)), key=words.__getitem__)
    rank = np.empty(len(words), np.int64)
    rank[order] = np.arange(len(words))
    return [words[place] for place in order], rank[found.indices.to_numpy()]


def _flags(rows: pa.Table, name: str) -> np.typing.NDArray[np.bool_]:
    found: np.typing.NDArray[np.bool_] = rows[name].fill_null(False).to_numpy()
    return found


def _usable(rows: pa.Table, chances: Chances, left_out: dict[str, int], *, observational: bool) -> Mask:
    """Rows that count for estimates; why the others do not is counted, the first reason that holds."""
    drawn = _flags(rows, "drawn") | _flags(rows, "root_drawn")
    if observational:
        drawn |= pa.compute.starts_with(rows["policy"], "observational:").to_numpy()
    # A slot without a policy says there why its first module was not taken; its propensity is 1 all the same.
    failed = rows["fallback"].is_valid().to_numpy() & (rows["policy"].to_numpy() != POLICY)
    reasons = {
        HOLDOUT: _flags(rows, "holdout"), FALLBACK: failed,
        UNLOGGED: ~_flags(rows, "logged"), NOT_DRAWN: ~drawn, OFF_LIST: chances.lost,
    }  # fmt: skip
    usable = np.ones(len(rows), bool)
    for reason, off in reasons.items():
        if count := int((usable & off).sum()):
            left_out[reason] = count
        usable &= ~off
    return usable
