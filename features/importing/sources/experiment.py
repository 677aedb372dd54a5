"""Files of experiments: one row a subject and decision, with its arm, its probability, covariates and outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.importing.experiment_mapping import (
    BEFORE,
    SUM_TOLERANCE,
    Covariate,
    Experiment,
    Result,
    covariate_of,
    result_of,
    share_of,
)
from features.importing.mapping import Mapping
from features.importing.reasons import BAD_NUMBER, BAD_PROPENSITY, BAD_TIME, BAD_VALUE, EARLY_OUTCOME, UNKNOWN_ARM
from features.importing.sieve import Sieve
from features.importing.source import Feed, Source
from features.importing.sources.decided import (
    ROW,
    Doubles,
    carried,
    decisions_mapping,
    eligible_lists,
    features_text,
    numbered,
    outcomes_of,
    propensities,
)
from features.importing.sources.files import file_feed, file_names, insist_on_column
from features.importing.times import parse_times
from features.importing.values import as_text, flat, mask, parse_booleans, parse_numbers


def open_file(path: Path, experiment: Experiment) -> Source:
    """A CSV (or CSV in gzip) or Parquet file of an experiment.

    Raises:
        DataError: the file cannot be read.
        ConfigError: the mapping names a column that the file has not.
    """
    results = [result_of(given) for given in experiment.outcomes.values()]
    parts = [_parts(result) for result in results]
    names = [carried(place, part) for place, given in enumerate(parts) for part in given]
    mapping = _mapping(experiment, path)
    feed = file_feed(path, mapping, prepare=partial(_prepare, experiment), carry=tuple(names), keep_all=True)
    known = file_names(path, mapping)
    for name in experiment.their_columns():
        insist_on_column(name, known, str(path))
    notes = []
    if experiment.subject is None:
        feed = Feed(mapping, numbered(feed.pieces), feed.label, feed.prepare, feed.carry)
        notes.append("no subjects are named: each row is its own, known by its place, so rows must keep their order")
    if experiment.observational:
        notes.append("observational: nobody drew the arms, so no probability is recorded")
    derived = (outcomes_of(list(experiment.outcomes), parts),)
    return Source(f"experiment-{experiment.experiment}", (feed,), (path,), derived, tuple(notes))


def _mapping(experiment: Experiment, path: Path) -> Mapping:
    reading = {
        name: getattr(experiment, name)
        for name in ("delimiter", "encoding", "decimal", "nulls", "time_formats", "time_zone")
    }
    form = experiment.format or ("parquet" if path.suffix == ".parquet" else "csv")
    constants = {
        "surface": experiment.surface, "slot": experiment.slot, "position": 0, "drawn": not experiment.observational,
    }  # fmt: skip
    prepared = [_subject_column(experiment), "arm", *(["features"] if experiment.covariates else [])]
    return decisions_mapping(
        f"experiment-{experiment.experiment}", prepared, constants, format=form, **reading
    )  # fmt: skip


def _subject_column(experiment: Experiment) -> str:
    """A row without a name is nobody whom the shop knows."""
    known = experiment.subject is not None and experiment.subject_kind == "customer"
    return c.CUSTOMER_ID if known else c.VISITOR_ID


def _parts(result: Result) -> list[str]:
    return [part for part, name in (("value", result.column), ("margin", result.margin), ("at", result.at)) if name]


def _prepare(experiment: Experiment, rows: pa.Table, sieve: Sieve) -> pa.Table:
    """Our columns in place of theirs."""
    read = _Reader(experiment, rows, sieve)
    arms = pa.array(list(experiment.arms), pa.string())
    arm = read.text(experiment.arm)
    code = pc.index_in(arm, arms)
    sieve.reject(~mask(pc.is_valid(code)), UNKNOWN_ARM, experiment.arm)
    place = pc.fill_null(code, 0).to_numpy(zero_copy_only=False)
    chances = _chances(read, place)
    moment = read.moment()
    made: dict[str, pa.Array] = {
        **_identity(read, moment),
        c.DECIDED_AT: moment,
        "eligible": eligible_lists(list(experiment.arms.values()), chances),
        c.ACTION_ID: pc.take(pa.array(list(experiment.arms.values()), pa.string()), code),
        "action_propensity": propensities(chances[np.arange(len(rows)), place]),
        "policy": pa.repeat(experiment.policy, len(rows)),
        "arm": arm,
        **read.outcomes(moment),
    }
    if experiment.covariates:
        made["features"] = read.covariates()
    return pa.table(list(made.values()), names=list(made))


def _identity(read: _Reader, moment: pa.Array) -> dict[str, pa.Array]:
    """The subject, and the decision's id: experiment, subject and, where decisions are dated one by one, moment."""
    experiment = read.experiment
    subject = flat(read.rows[ROW]) if experiment.subject is None else read.text(experiment.subject)
    parts = [f"{experiment.experiment}/", subject]
    if experiment.moment is not None:
        parts += ["/", moment.cast(pa.int64()).cast(pa.string())]
    decision = pc.binary_join_element_wise(*parts, "")
    named = subject
    if experiment.subject is None:
        named = decision  # a number alone would be the same visitor in every experiment
    return {_subject_column(experiment): named, c.DECISION_ID: decision, c.REQUEST_ID: decision}


def _chances(read: _Reader, place: Any) -> Doubles:
    """float64[n, arms]: probability of each arm; NaN where the file does not tell it."""
    experiment, n, k = read.experiment, len(read.rows), len(read.experiment.arms)
    if experiment.shares:
        shares = [share_of(experiment.shares[arm], arm) for arm in experiment.arms]
        return np.tile(np.array(shares) / sum(shares), (n, 1))
    found = np.full((n, k), np.nan)
    if experiment.propensity is not None:
        taken = read.chance(experiment.propensity)
        found[np.arange(n), place] = taken
        if k == 2:
            found[np.arange(n), 1 - place] = 1 - taken
    for arm, column in experiment.propensities.items():
        found[:, list(experiment.arms).index(arm)] = read.chance(column)
    if experiment.propensities:
        off = ~(np.abs(found.sum(axis=1) - 1) <= SUM_TOLERANCE)
        read.sieve.reject(off, BAD_PROPENSITY, f"{' + '.join(experiment.propensities.values())}: not 1 in sum")
    return found


@dataclass(frozen=True, slots=True)
class _Reader:
    """Columns of one piece, parsed as the experiment's mapping says; what cannot be read is rejected."""

    experiment: Experiment
    rows: pa.Table
    sieve: Sieve

    def text(self, column: str) -> pa.Array:
        return as_text(self.rows[column], tuple(self.experiment.nulls))

    def number(self, column: str) -> pa.Array:
        given, nulls = self.experiment, tuple(self.experiment.nulls)
        values, bad = parse_numbers(self.rows[column], decimal=given.decimal, nulls=nulls)
        self.sieve.reject(bad, BAD_NUMBER, column)
        return values

    def chance(self, column: str) -> Doubles:
        """A probability that must be there."""
        values: Doubles = self.number(column).to_numpy(zero_copy_only=False)
        self.sieve.reject(~((values > 0) & (values <= 1)), BAD_PROPENSITY, column)
        return np.where((values > 0) & (values <= 1), values, np.nan)

    def time(self, column: str) -> pa.Array:
        given = self.experiment
        values, bad = parse_times(self.rows[column], tuple(given.time_formats), given.time_zone, tuple(given.nulls))
        self.sieve.reject(bad, BAD_TIME, column)
        return values

    def moment(self) -> pa.Array:
        if self.experiment.moment is not None:
            return self.time(self.experiment.moment)
        return parse_times(pa.repeat(self.experiment.at, len(self.rows)), ("iso",), "UTC")[0]

    def covariate(self, given: Covariate) -> pa.Array:
        if given.kind == "text":
            return self.text(given.column)
        if given.kind == "number":
            return self.number(given.column)
        values, bad = parse_booleans(self.rows[given.column], tuple(self.experiment.nulls))
        self.sieve.reject(bad, BAD_VALUE, given.column)
        return values

    def covariates(self) -> pa.Array:
        known = {name: covariate_of(given) for name, given in self.experiment.covariates.items()}
        columns = {name: self.covariate(given) for name, given in known.items()}
        return features_text(columns, [given.kind == "text" for given in known.values()], len(self.rows))

    def outcomes(self, moment: pa.Array) -> dict[str, pa.Array]:
        """The parts of every outcome, none of which may be earlier than the decision."""
        made: dict[str, pa.Array] = {}
        for place, (name, given) in enumerate(self.experiment.outcomes.items()):
            result = result_of(given)
            made[carried(place, "value")] = self.number(result.column)
            if result.margin is not None:
                made[carried(place, "margin")] = self.number(result.margin)
            if result.at is not None:
                made[carried(place, "at")] = when = self.time(result.at)
                if not name.startswith(BEFORE):
                    self.sieve.reject(mask(pc.less(when, moment)), EARLY_OUTCOME, result.at)
        return made
