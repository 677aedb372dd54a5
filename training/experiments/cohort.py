"""Who stood in which arm of an experiment, and what came of each: one row a subject, from the log of decisions.

A subject enters with its first decision of the experiment. Nothing was done to anybody before that moment, so both
groups enter alike; all that follows counts, whatever the subject saw later (intention to treat).

Who signs in is assigned anew, as a customer, by a hash that knows nothing of the visitor. So a customer enters with the
first decision as a customer, and what the visitor saw before is the same chance for both groups. To leave out everybody
whose two arms differ would not do: of the people who sign in it would keep a fiftieth of a holdout of 2 % and nearly
all of the others, and those who sign in buy more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np
import numpy.typing as npt

from features import columns as c
from features.build import resolved_sql
from features.errors import ConfigError, DataError, NotFoundError
from features.moments import DAY
from serving.experiments import Experiment
from serving.strict import nearest
from training.uplift.reading import NEEDED

Doubles = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Whole = npt.NDArray[np.int64]
HOLDOUT, SERVED = "holdout", "served"
"""The two arms of the permanent holdout; the first is the control."""
LINKED = "were several visitors in different arms, and had no decision as a customer"
SEVERAL = "stood in several arms under one name"
EARLY = "not followed for so many days yet"
TRAITED = (*NEEDED, c.SESSION_ID, c.DEVICE, c.REGION)
"""Columns of events that outcomes and traits are made of."""
_IMPORTED = "starts_with(policy, 'experiment:')"
_OBSERVED = "starts_with(policy, 'observational:')"


@dataclass(frozen=True, slots=True)
class Asked:
    """Which experiment, and how it is read.

    Args:
        experiment: its name; None: the permanent holdout.
        outcomes: the first one carries the verdict; none: the usual ones.
        days: after entering that count, and that a subject must have been followed for; None: all that is known.
        before: days before entering that foretell.
        as_of: microseconds; what was recorded later is not known. None: everything.
        control: name of the arm that others are compared with; None: what the configuration or the log says.
        shares: arm -> declared share, where `shop.toml` does not tell it.
        guards: outcome -> how much of it an arm may add a subject.
    """

    experiment: str | None = None
    outcomes: tuple[str, ...] = ()
    days: float | None = None
    before: float = 28.0
    as_of: int | None = None
    control: str | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    guards: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For runs and headings."""
        return self.experiment or "permanent holdout"


@dataclass(frozen=True, slots=True)
class Entrants:
    """The subjects of an experiment, in the order of the table `entrants` (by `place`).

    Args:
        arms: names; the first is the control.
        arm: int32[n], place among `arms`.
        entered: int64[n], microseconds of the first decision.
        shares: float64[arms], declared shares, in sum 1; None where nobody declared them.
        left_out: why -> how many subjects are not among them.
        imported: whether it came from an experiment's file.
        now: the moment of reading, microseconds.
        switched: subjects that had stood in another arm as visitors before they signed in.
    """

    arms: tuple[str, ...]
    arm: Codes
    entered: Whole
    shares: Doubles | None
    left_out: Mapping[str, int]
    imported: bool
    now: int
    switched: int = 0

    def __len__(self) -> int:
        return len(self.arm)


def enter(
    duck: duckdb.DuckDBPyConnection,
    now: int,
    asked: Asked,
    declared: Mapping[str, Experiment],
    holdout: float,
    erased: Callable[[str], bool] | None = None,
) -> Entrants:
    """Make tables `owned` (decisions with their subject), `entrants` and `known_events` (of those subjects).

    Args:
        duck, now: of `opened`.
        asked: which experiment.
        declared: those of `shop.toml`.
        holdout: share of the permanent holdout in `shop.toml`.
        erased: says of a subject whether it asked to be forgotten.

    Raises:
        NotFoundError: no such experiment.
        DataError: nobody drew its arms, their probabilities differ between subjects, or nobody is left.
        ConfigError: an arm that is named and that is not there.
    """
    imported = _pick(duck, now, asked.experiment, declared)
    duck.execute(f"CREATE TEMP TABLE owned AS {resolved_sql('picked', c.DECIDED_AT, now)}")
    if erased is not None:
        subjects = duck.execute("SELECT DISTINCT subject FROM owned").fetchall()
        gone = [subject for (subject,) in subjects if erased(subject)]
        duck.execute("DELETE FROM owned WHERE subject IN (SELECT unnest($gone::VARCHAR[]))", {"gone": gone})
    left_out, switched = _sort_out(duck, now, asked.days)
    duck.execute(f"""
        CREATE TEMP TABLE known_events AS SELECT e.* FROM ({resolved_sql("source_events", c.OCCURRED_AT, now)}) e
        SEMI JOIN entrants USING (subject)
        QUALIFY row_number() OVER (PARTITION BY {c.EVENT_ID} ORDER BY {c.RECORDED_AT}, {c.SOURCE}) = 1""")
    arms = _arms(duck, asked, declared, imported=imported)
    rows = duck.sql("SELECT arm, epoch_us(entered) AS entered FROM entrants ORDER BY place").to_arrow_table()
    places = {arm: at for at, arm in enumerate(arms)}
    return Entrants(
        arms, np.array([places[arm] for arm in rows["arm"].to_pylist()], np.int32), rows["entered"].to_numpy(),
        _declared_shares(duck, asked, declared, holdout, arms, imported=imported), left_out, imported, now,
        switched,
    )  # fmt: skip


def names(duck: duckdb.DuckDBPyConnection) -> list[tuple[str, bool]]:
    """Experiments in the log, by name, and whether each came from a file."""
    rows = duck.execute(f"""
        SELECT DISTINCT substr(policy, 12) AS name, true FROM decisions WHERE {_IMPORTED}
        UNION SELECT DISTINCT split_part(arm, '/', 1), false FROM decisions
        WHERE contains(arm, '/') AND NOT {_IMPORTED} AND NOT {_OBSERVED} ORDER BY ALL""").fetchall()
    return [(name, bool(imported)) for name, imported in rows]


def _pick(
    duck: duckdb.DuckDBPyConnection, now: int, experiment: str | None, declared: Mapping[str, Experiment]
) -> bool:
    """Make table `picked`: decisions of the experiment with the arm; returns whether they were imported."""
    live = f"NOT {_IMPORTED} AND NOT {_OBSERVED}"
    imported = False
    if experiment is None:
        arm, where = f"CASE WHEN holdout THEN '{HOLDOUT}' ELSE '{SERVED}' END", live
    else:
        found = dict(names(duck))
        _insist_on_name(duck, experiment, found, declared)
        imported = found.get(experiment, False)
        arm, where = f"substr(arm, {len(experiment) + 2})", f"{live} AND starts_with(arm, $name || '/')"
        if imported:
            arm, where = f"coalesce(arm, {c.ACTION_ID}, 'nothing')", "policy = 'experiment:' || $name"
    duck.execute(
        f"""CREATE TEMP TABLE picked AS
            SELECT {c.DECISION_ID}, {c.DECIDED_AT}, {c.CUSTOMER_ID}, {c.VISITOR_ID}, {c.ACTION_ID}, eligible, policy,
                   features, {arm} AS arm, coalesce('c:' || {c.CUSTOMER_ID}, 'v:' || {c.VISITOR_ID}) AS who
            FROM decisions WHERE {where} AND {c.DECIDED_AT} < make_timestamptz({now})""",
        {} if experiment is None else {"name": experiment},
    )
    return imported


def _insist_on_name(
    duck: duckdb.DuckDBPyConnection, name: str, found: Mapping[str, bool], declared: Mapping[str, Experiment]
) -> None:
    if name in found or name in declared:
        return
    observed = duck.execute("SELECT count(*) FROM decisions WHERE policy = 'observational:' || $1", [name]).fetchall()
    if observed[0][0]:
        hint = f"kokyaku train uplift --experiment {name} weighs such data and says what it is worth"
        raise DataError("nobody drew these arms at random", where="--experiment", got=name, hint=hint)
    known = list(dict.fromkeys([*found, *declared]))
    hint = nearest(name, known) if known else "the shop has none; leave it out for the permanent holdout"
    raise NotFoundError("no such experiment", where="--experiment", got=name, hint=hint)


def _sort_out(duck: duckdb.DuckDBPyConnection, now: int, days: float | None) -> tuple[dict[str, int], int]:
    """Make table `entrants`: subjects of one arm, each followed until `until`.

    Returns:
        How many others there are by reason, and how many entrants had another arm as visitors.
    """
    end, window = "make_timestamptz($now)", {} if days is None else {"window": int(days * DAY)}
    until = end if days is None else "entered + to_microseconds($window)"
    first = f"({c.DECIDED_AT}, {c.DECISION_ID})"
    duck.execute(f"""
        CREATE TEMP TABLE everybody AS
        WITH told AS (SELECT *, starts_with(who, 'c:') AS customer,
                             bool_or(starts_with(who, 'c:')) OVER (PARTITION BY subject) AS known FROM owned)
        SELECT subject, min({c.DECIDED_AT}) FILTER (counts) AS entered, arg_min(arm, {first}) FILTER (counts) AS arm,
               arg_min({c.DECISION_ID}, {first}) FILTER (counts) AS first,
               count(DISTINCT arm) FILTER (counts) AS arms, count(DISTINCT who) FILTER (counts) AS names,
               count(DISTINCT arm) AS ever
        FROM (SELECT *, customer OR NOT known AS counts FROM told) GROUP BY subject""")
    duck.execute(
        f"""CREATE TEMP TABLE entrants AS
            SELECT row_number() OVER (ORDER BY subject) - 1 AS place, subject, entered, arm, first, {until} AS until
            FROM everybody WHERE arms = 1 AND {until} <= {end}""",
        {"now": now, **window},
    )
    *counts, switched = duck.execute(
        f"""SELECT count(*) FILTER (arms > 1 AND names > 1), count(*) FILTER (arms > 1 AND names = 1),
                   count(*) FILTER (arms = 1 AND {until} > {end}),
                   count(*) FILTER (arms = 1 AND {until} <= {end} AND ever > 1) FROM everybody""",
        {"now": now, **window},
    ).fetchall()[0]
    found = {why: int(many) for why, many in zip((LINKED, SEVERAL, EARLY), counts, strict=True) if many}
    return found, int(switched)


def _arms(
    duck: duckdb.DuckDBPyConnection, asked: Asked, declared: Mapping[str, Experiment], *, imported: bool
) -> tuple[str, ...]:
    """All arms, the control first: what was asked for, else what is declared, else the arm that did nothing."""
    if asked.experiment is None:
        if asked.control not in (None, HOLDOUT):
            what = "the permanent holdout is what the service is compared with"
            raise ConfigError(what, where="--control", got=asked.control, hint="leave it out")
        return HOLDOUT, SERVED
    seen = [arm for (arm,) in duck.execute("SELECT DISTINCT arm FROM owned ORDER BY arm").fetchall()]
    known = declared.get(asked.experiment) if not imported else None
    every = sorted({*seen, *(known.arms if known else ())})
    idle = duck.execute(f"SELECT DISTINCT arm FROM owned WHERE {c.ACTION_ID} IS NULL").fetchall() if imported else []
    usual = known.control if known else idle[0][0] if len(idle) == 1 else "control"
    control = asked.control or usual
    if control not in every:
        hint = f"name one with --control: {', '.join(every) or 'none was logged yet'}"
        raise ConfigError("no such arm to compare with", where="--control", got=control, hint=hint)
    return control, *(arm for arm in every if arm != control)


def _declared_shares(
    duck: duckdb.DuckDBPyConnection,
    asked: Asked,
    declared: Mapping[str, Experiment],
    holdout: float,
    arms: Sequence[str],
    *,
    imported: bool,
) -> Doubles | None:
    """float64[arms], in sum 1; None where neither the command, nor the file, nor `shop.toml` tells them."""
    for arm in asked.shares:
        if arm not in arms:
            raise ConfigError("no such arm", where="--share", got=arm, hint=nearest(arm, list(arms)))
    given: dict[str, float] = {}
    if asked.experiment is None:
        given = {HOLDOUT: holdout, SERVED: 1 - holdout}
    elif imported:
        given = _recorded_shares(duck)
    elif asked.experiment in declared:
        given = {arm: each.share for arm, each in declared[asked.experiment].arms.items()}
    given = {**given, **asked.shares}
    if asked.experiment is None and len(asked.shares) == 1:  # the other one is what is left
        (arm,) = asked.shares
        given[SERVED if arm == HOLDOUT else HOLDOUT] = 1 - given[arm]
    shares = np.array([given.get(arm, np.nan) for arm in arms])
    return shares / shares.sum() if np.isfinite(shares).all() and (shares > 0).all() else None


def _recorded_shares(duck: duckdb.DuckDBPyConnection) -> dict[str, float]:
    """Arm -> the probability with which it was drawn, as the first decisions recorded it.

    Raises:
        DataError: it was not the same for everybody, so means of the groups cannot be compared.
    """
    rows = duck.execute(f"""
        WITH lists AS (SELECT o.arm, o.{c.ACTION_ID} AS action,
                              unnest(json_extract(o.eligible, '$[*]')) AS pair
                       FROM owned o JOIN entrants e ON o.{c.DECISION_ID} = e.first)
        SELECT arm, min((pair->>1)::DOUBLE), max((pair->>1)::DOUBLE)
        FROM lists WHERE (pair->>0) IS NOT DISTINCT FROM action GROUP BY arm""").fetchall()
    if any(low is None or high - low > 1e-6 for _, low, high in rows):
        hint = "kokyaku replay and kokyaku train uplift weigh such logs"
        raise DataError("arms were not drawn with the same probability for everybody", hint=hint)
    return {arm: float(low) for arm, low, _ in rows}
