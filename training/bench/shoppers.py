"""Real anonymous sessions: who buys, by what is known at landing, months ahead (Sakar, Polat, Katircioglu & Kastro).

12,330 sessions of different people of one shop within a year (UCI Online Shoppers Purchasing Intention). Each month is
judged by what was learned in the months before it. The hour is not recorded, nor is the year; January and April are
missing. Page counts, durations, bounce and exit rates and page values are known only when the session is over: they
are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from features.errors import ConfigError, DataError
from features.moments import season_of
from training.bench.rows import Row
from training.calibration import Scored, recalibration
from training.intervals import Interval, compare, mean_interval, share_interval
from training.meter import Tell
from training.prior import PriorFitted, PriorParams, fit_prior, log_likelihood
from training.prior_rows import Seen
from training.session import silent
from training.uplift.boosting import Shape
from training.uplift.log import Doubles, Mask, Whole

FILE = "online_shoppers_intention.csv.gz"
LANDING = (
    "Region", "Month", "TrafficType", "OperatingSystems", "Browser", "VisitorType", "Weekend", "SpecialDay",
)  # fmt: skip
"""What is known when somebody lands, in the order of backing off; of the month only its season is a dimension."""
AFTER = (
    "Administrative", "Administrative_Duration", "Informational", "Informational_Duration", "ProductRelated",
    "ProductRelated_Duration", "BounceRates", "ExitRates", "PageValues", "Revenue",
)  # fmt: skip
"""What is known only when the session is over."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "June", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NAMES = tuple("Season" if name == "Month" else name for name in LANDING)
PRIOR, OVERALL, SINGLE, TREES = "kokyaku", "overall rate", "best single dimension", "lightgbm"
METHODS = (PRIOR, OVERALL, SINGLE, TREES)
TOP = 0.1
_TREES = 150


@dataclass(frozen=True)
class Sessions:
    """Sessions by what was known at landing.

    Args:
        month: int64[n], from 1.
        codes: int64[n, columns].
        words: the values of each column.
        names: of the columns.
        bought: bool[n].
    """

    month: Whole
    codes: Whole
    words: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    bought: Mask

    @property
    def seen(self) -> Seen:
        """As tries of one arm; everybody is a person of their own."""
        n = len(self.month)
        return Seen(
            np.zeros(n, np.int64), self.bought.astype(np.float64), np.ones(n), self.month, np.arange(n), self.codes,
            ("purchase",), self.names, self.words,
        )  # fmt: skip


def load(path: Path, columns: Sequence[str] = LANDING) -> Sessions:
    """Read the sessions.

    Args:
        path: the folder of the file.
        columns: what to know of a session, of `LANDING`.

    Raises:
        ConfigError: a column that is known only after the session, or none of the file's.
        DataError: the file is not there or is another.
    """
    for name in columns:
        if name in AFTER:
            hint = "a prior is asked when somebody lands"
            raise ConfigError("this column is known only after the session", got=name, hint=hint)
        if name not in LANDING:
            raise ConfigError("no such column", got=name, hint=f"there are: {', '.join(LANDING)}")
    file = path / FILE
    if not file.is_file():
        raise DataError("no such file", where=str(file), hint="--path is the folder that holds it")
    try:
        parse = pa_csv.ParseOptions(delimiter=";")
        convert = pa_csv.ConvertOptions(
            include_columns=[*dict.fromkeys([*columns, "Month", "Revenue"])],
            column_types={name: pa.string() for name in (*columns, "Month", "Revenue")},
        )
        table = pa_csv.read_csv(file, parse_options=parse, convert_options=convert)
        month = np.array([MONTHS.index(each) + 1 for each in table["Month"].to_pylist()], np.int64)
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise DataError("these are not the shoppers' sessions", where=str(file), got=str(error)) from None
    seasons = [season_of(each) for each in month.tolist()]
    texts = [seasons if name == "Month" else table[name].to_pylist() for name in columns]
    coded = [np.unique(np.array(each, str), return_inverse=True) for each in texts]
    return Sessions(
        month, np.column_stack([code for _, code in coded]), tuple(tuple(words.tolist()) for words, _ in coded),
        tuple("Season" if name == "Month" else name for name in columns),
        np.array(table["Revenue"].to_pylist()) == "TRUE",
    )  # fmt: skip


@dataclass(frozen=True)
class Forecast:
    """All judged sessions.

    Args:
        month: int64[m].
        bought: bool[m].
        chance: method -> float64[m].
        notes: what was learned on the way, month by month.
    """

    month: Whole
    bought: Mask
    chance: Mapping[str, Doubles]
    notes: tuple[str, ...]


def forecast(sessions: Sessions, tell: Tell = silent) -> Forecast:
    """Each month from the third on by what the months before it tell.

    Raises:
        DataError: there are fewer than three months.
    """
    months = np.unique(sessions.month).tolist()
    if len(months) < 3:
        raise DataError("too few months to look forward", got=len(months), hint="two to learn from, and one to judge")
    parts: list[dict[str, Doubles]] = []
    notes = []
    for done, month in enumerate(months[2:], start=1):
        past, now = sessions.month < month, sessions.month == month
        chance, note = _month(sessions, past, now)
        parts.append(chance)
        notes.append(f"{MONTHS[month - 1]}: {note}")
        tell("months", done, len(months) - 2)
    judged = np.argsort(sessions.month, kind="stable")
    judged = judged[sessions.month[judged] >= months[2]]
    chances = {name: np.concatenate([part[name] for part in parts]) for name in METHODS}
    return Forecast(sessions.month[judged], sessions.bought[judged], chances, tuple(notes))


def _month(sessions: Sessions, past: Mask, now: Mask) -> tuple[dict[str, Doubles], str]:
    seen, n = sessions.seen.take(past), int(now.sum())
    params = PriorParams(order=sessions.names)
    fitted = fit_prior(seen, params)
    alone = {name: fit_prior(seen, msgspec.structs.replace(params, order=(name,))) for name in sessions.names}
    best = max(alone, key=lambda name: np.nan_to_num(alone[name].gains[1].mean, nan=-np.inf))
    chance = {
        PRIOR: _asked(fitted, sessions, now),
        OVERALL: np.full(n, float(sessions.bought[past].mean())),
        SINGLE: _asked(alone[best], sessions, now),
        TREES: _trees(sessions, past, now),
    }
    kept = [f"{gain.name} ({gain.strength:g})" for gain in fitted.gains if gain.kept and gain.name in sessions.names]
    return chance, f"{', '.join(kept) or 'no dimension helps'}; alone {best} is best"


def _asked(fitted: PriorFitted, sessions: Sessions, rows: Mask) -> Doubles:
    columns = [sessions.names.index(name) for name in fitted.prior.names]
    return fitted.prior.scores(sessions.codes[rows][:, columns])[:, 0]


def _trees(sessions: Sessions, past: Mask, now: Mask) -> Doubles:
    shape, columns = Shape(), list(range(sessions.codes.shape[1]))
    settings = {
        "objective": "binary", "num_leaves": shape.leaves, "min_data_in_leaf": 100, "learning_rate": shape.rate,
        "num_threads": 1, "deterministic": True, "force_row_wise": True, "seed": 0, "verbosity": -1,
    }  # fmt: skip
    data = lightgbm.Dataset(sessions.codes[past].astype(float), sessions.bought[past], categorical_feature=columns)
    booster = lightgbm.train(settings, data, _TREES)
    return np.asarray(booster.predict(sessions.codes[now].astype(float), num_threads=1), np.float64)


def rows_of(found: Forecast, resamples: int = 2000) -> list[Row]:
    """Log loss, AUC within months, calibration, and the top decile, of each method and beside the prior."""
    rows = []
    for name in METHODS:
        chance = found.chance[name]
        slope, intercept = recalibration(Scored(chance, found.bought, np.arange(len(chance), dtype=np.int32)))
        loss = -log_likelihood(chance, found.bought.astype(np.float64))
        figures = {
            "log-loss": mean_interval(loss, resamples=resamples), "auc": auc(chance, found),
            "calibration-slope": slope, "calibration-intercept": intercept,
            "observed/expected": _scaled(mean_interval(found.bought.astype(float), resamples=resamples), chance.mean()),
            "lift@10%": top_decile(chance, found),
        }  # fmt: skip
        if name != PRIOR:
            mine = -log_likelihood(found.chance[PRIOR], found.bought.astype(np.float64))
            figures["log-loss-saved-by-kokyaku"] = compare(loss, mine, resamples=resamples)
            figures["auc-gained-by-kokyaku"] = auc(found.chance[PRIOR], found, chance)
        rows += [_row(name, metric, value) for metric, value in figures.items()]
    return rows


def auc(chance: Doubles, found: Forecast, other: Doubles | None = None) -> Interval:
    """The area under the ROC curve within months, weighted by their sessions, minus another's where one is given.

    Variance by placements (DeLong, DeLong & Clarke-Pearson 1988); months are independent. A month in which all or
    nobody bought says nothing.
    """
    total, variance, weight = 0.0, 0.0, 0
    for month in np.unique(found.month):
        rows = found.month == month
        bought = found.bought[rows]
        if bought.all() or not bought.any():
            continue
        above, below = _placements(chance[rows], bought)
        if other is not None:
            theirs = _placements(other[rows], bought)
            above, below = above - theirs[0], below - theirs[1]
        n = len(bought)
        total, weight = total + n * above.mean(), weight + n
        variance += n**2 * (_variance(above) + _variance(below))
    if not weight:
        return Interval(np.nan, np.nan, np.nan, 0, len(found.month))
    half = 1.96 * np.sqrt(variance) / weight
    value = total / weight
    return Interval(value, value - half, value + half, weight, len(found.month) - weight)


def _variance(placements: Doubles) -> float:
    """Of their mean; NaN with fewer than two."""
    return float(placements.var(ddof=1)) / len(placements) if len(placements) > 1 else np.nan


def _placements(chance: Doubles, bought: Mask) -> tuple[Doubles, Doubles]:
    """Of each buyer the share of others that stand below, of each other the share of buyers that stand above."""
    buyers, others = np.sort(chance[bought]), np.sort(chance[~bought])

    def below(values: Doubles, at: Doubles) -> Doubles:
        return (np.searchsorted(values, at, "left") + np.searchsorted(values, at, "right")) / (2 * len(values))

    return below(others, chance[bought]), 1 - below(buyers, chance[~bought])


def top_decile(chance: Doubles, found: Forecast) -> Interval:
    """The rate of the tenth of each month that is likeliest to buy, over the rate of all; Wilson interval.

    Equal chances are put in a random order, always the same one: sessions lie in the file by month and outcome.
    """
    order = np.random.default_rng(0).permutation(len(chance))
    top = []
    for month in np.unique(found.month):
        rows = order[found.month[order] == month]
        top.append(rows[np.argsort(-chance[rows], kind="stable")][: int(np.ceil(TOP * len(rows)))])
    rows = np.concatenate(top)
    return _scaled(share_interval(found.bought[rows], rows), float(found.bought.mean()))


def _scaled(of: Interval, by: float) -> Interval:
    return Interval(of.value / by, of.low / by, of.high / by, of.n, of.undefined)


def _row(method: str, metric: str, of: Interval) -> Row:
    return Row("context", "online-shoppers", "purchase", method, metric, of.value, of.low, of.high)
